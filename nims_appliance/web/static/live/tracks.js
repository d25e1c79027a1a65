// The tracks of one sonar as the page has seen them: live ones, and ended ones while they fade.

/**
 * @typedef {import("../shared/connection.js").Track} Track
 * @typedef {import("../shared/connection.js").TracksMessage} TracksMessage
 */

/** @typedef {{frame: number, time_s: number, x_m: number, y_m: number, range_m: number, afterGap: boolean}} TrackPoint */

/**
 * @typedef {object} KnownTrack
 * @property {string} id
 * @property {string} channel
 * @property {TrackPoint[]} points
 * @property {number} coasted
 * @property {Track} newest
 * @property {number | null} endedS
 */

/** @typedef {{id: string, newest: Track, points: TrackPoint[], fade: number, ended: boolean}} FanTrack */
/** @typedef {{id: string, points: TrackPoint[], ended: boolean}} EchogramTrack */

const TAIL_S = 12;
const FADE_S = 2.5;
const KEPT_POINTS = 2000;
const BRIDGED_PINGS = 3; // so many missed pings in a row are drawn as a line

export class TrackHistory {
  /** How many are live now. */
  live = 0;
  /** @type {Map<string, KnownTrack>} */
  #tracks = new Map();

  /**
   * @param {TracksMessage} message
   * @param {number} nowS
   */
  take(message, nowS) {
    for (const track of message.tracks) {
      let known = this.#tracks.get(track.id);
      if (!known) {
        known = { id: track.id, channel: message.channel, points: [], coasted: 0, newest: track, endedS: null };
        this.#tracks.set(track.id, known);
      }
      known.newest = track;
      known.endedS = null;
      // A coasting track is predicted: its tail shows only where it was seen, and is broken where it was not for long.
      if (track.state !== "coasting" || !known.points.length) {
        const { x_m, y_m, range_m } = track;
        const afterGap = known.coasted > BRIDGED_PINGS;
        known.points.push({ frame: message.frame, time_s: message.time_s, x_m, y_m, range_m, afterGap });
        known.coasted = 0;
      } else {
        known.coasted++;
      }
      if (known.points.length > KEPT_POINTS) known.points.shift();
    }
    this.live = message.tracks.length;
    const present = new Set(message.tracks.map(({ id }) => id));
    for (const known of this.#tracks.values()) {
      if (known.channel === message.channel && !present.has(known.id)) known.endedS ??= nowS;
    }
  }

  /**
   * Tracks for a fan: with a tail of the last seconds, and fading once ended.
   * @param {number} nowS
   */
  recent(nowS) {
    /** @type {FanTrack[]} */
    const shown = [];
    for (const known of this.#tracks.values()) {
      const fade = known.endedS === null ? 1 : 1 - (nowS - known.endedS) / FADE_S;
      if (fade <= 0) continue;
      const from = known.points[known.points.length - 1].time_s - TAIL_S;
      const points = known.points.filter((point) => point.time_s >= from);
      shown.push({ id: known.id, newest: known.newest, points, fade, ended: known.endedS !== null });
    }
    return shown;
  }

  /**
   * Tracks for an echogram: all with a point since a frame; older ones are forgotten.
   * @param {number} frame
   * @param {string | null} channel
   */
  since(frame, channel) {
    /** @type {EchogramTrack[]} */
    const shown = [];
    for (const [id, known] of this.#tracks) {
      if (known.endedS !== null && known.points[known.points.length - 1].frame < frame) this.#tracks.delete(id);
      else if (known.channel === channel) shown.push({ id, points: known.points, ended: known.endedS !== null });
    }
    return shown;
  }

  /**
   * Forgets what no picture shows any more.
   * @param {number} nowS
   * @param {number} keepS
   */
  prune(nowS, keepS) {
    for (const [id, known] of this.#tracks) {
      if (known.endedS !== null && nowS - known.endedS > keepS) this.#tracks.delete(id);
    }
  }

  clear() {
    this.#tracks.clear();
    this.live = 0;
  }
}
