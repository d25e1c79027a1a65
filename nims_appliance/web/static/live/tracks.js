// The tracks of one sonar as the page has seen them: live ones, and ended ones while a picture may still show them.

/**
 * @typedef {import("../shared/connection.js").Track} Track
 * @typedef {import("../shared/connection.js").TracksMessage} TracksMessage
 * @typedef {import("../shared/connection.js").TrackDescription} TrackDescription
 */

/**
 * Where a track was at one ping.
 * @typedef {object} TrackPoint
 * @property {number} frame
 * @property {number} time_s
 * @property {number} x_m
 * @property {number} y_m
 * @property {number} vx_m_s
 * @property {number} vy_m_s
 * @property {number} range_m
 * @property {boolean} afterGap it was not seen for several pings before this one
 */

/**
 * @typedef {object} KnownTrack
 * @property {string} id
 * @property {string} channel
 * @property {TrackPoint[]} points where it was seen; never empty
 * @property {number} coasted pings since it was seen
 * @property {Track} newest
 * @property {number} newestFrame
 * @property {number} newestTimeS on the sonar's clock
 * @property {number | null} endedS on this page's clock
 * @property {number} endedFrame Infinity: it is live
 * @property {TrackDescription | null} description once it has ended
 */

/**
 * A track as it is drawn: as of the moment that is shown.
 * @typedef {object} ShownTrack
 * @property {KnownTrack} known
 * @property {TrackPoint[]} points oldest first; never empty
 * @property {{x_m: number, y_m: number, vx_m_s: number, vy_m_s: number, range_m: number, frame: number}} head
 * @property {boolean} coasting
 * @property {boolean} ended
 * @property {number} fade 1: live, towards 0: ended and going
 */

export const TAIL_S = 12;
export const FADE_S = 4;
const KEPT_POINTS = 2000;
const BRIDGED_PINGS = 3; // so many missed pings in a row are drawn as a line

/**
 * The last digits are enough to tell the tracks of one picture apart.
 * @param {string} id
 */
export function shortId(id) {
  return String(Number(BigInt(id) % 10000n));
}

/**
 * What a classifier calls it by now; empty: nothing yet.
 * @param {KnownTrack} known
 */
export function labelOf({ description, newest }) {
  return (description ?? newest).label ?? "";
}

export class TrackHistory {
  /** @type {Map<string, KnownTrack>} */
  #tracks = new Map();
  /** The newest frame of each channel. @type {Map<string, number>} */
  #frames = new Map();

  /**
   * @param {TracksMessage} message
   * @param {number} nowS
   */
  take(message, nowS) {
    const { frame, time_s } = message;
    // Another run of the sonar: its pings are counted anew.
    if (frame < (this.#frames.get(message.channel) ?? 0)) this.#forget(message.channel);
    this.#frames.set(message.channel, frame);
    const present = new Set();
    for (const track of message.tracks) {
      present.add(track.id);
      let known = this.#tracks.get(track.id);
      if (!known) {
        known = {
          id: track.id, channel: message.channel, points: [], coasted: 0, newest: track, newestFrame: frame,
          newestTimeS: time_s, endedS: null, endedFrame: Infinity, description: null,
        };
        this.#tracks.set(track.id, known);
      }
      known.newest = track;
      known.newestFrame = frame;
      known.newestTimeS = time_s;
      known.endedS = null;
      known.endedFrame = Infinity;
      // A coasting track is predicted: its tail shows only where it was seen, and is broken where it was not for long.
      if (known.points.length && known.points[known.points.length - 1].frame === frame) {
        continue; // said again after a lost connection
      } else if (track.state !== "coasting" || !known.points.length) {
        const { x_m, y_m, vx_m_s, vy_m_s, range_m } = track;
        const afterGap = known.coasted > BRIDGED_PINGS;
        known.points.push({ frame, time_s, x_m, y_m, vx_m_s, vy_m_s, range_m, afterGap });
        known.coasted = 0;
        if (known.points.length > KEPT_POINTS) known.points.shift();
      } else {
        known.coasted++;
      }
    }
    for (const known of this.#tracks.values()) {
      if (known.channel !== message.channel || present.has(known.id) || known.endedS !== null) continue;
      known.endedS = nowS;
      known.endedFrame = frame;
    }
    for (const description of message.descriptions ?? []) {
      const known = this.#tracks.get(description.id);
      if (known) known.description = description;
    }
  }

  /** @param {string} id */
  get(id) {
    return this.#tracks.get(id);
  }

  /** How many are live now. */
  get live() {
    return this.alive().length;
  }

  /** Those that are live, the oldest first. @returns {KnownTrack[]} */
  alive() {
    return [...this.#tracks.values()].filter(({ endedS }) => endedS === null);
  }

  /** Whether any is fading, so that the picture changes without a ping. @param {number} nowS */
  fading(nowS) {
    for (const { endedS } of this.#tracks.values()) if (endedS !== null && nowS - endedS < FADE_S + 0.1) return true;
    return false;
  }

  /**
   * Tracks for a picture of the present: with a tail of the last seconds, and fading once ended.
   * @param {number} nowS
   * @param {string} channel
   * @param {string | null} kept a track that is shown however long ago it ended
   * @returns {ShownTrack[]}
   */
  recent(nowS, channel, kept) {
    /** @type {ShownTrack[]} */
    const shown = [];
    for (const known of this.#tracks.values()) {
      if (known.channel !== channel) continue;
      const ended = known.endedS !== null;
      const fade = known.id === kept || known.endedS === null ? 1 : 1 - (nowS - known.endedS) / FADE_S;
      if (fade <= 0) continue;
      const { newest, points, newestFrame } = known;
      const last = points[points.length - 1];
      const tail = since(points, last.time_s - TAIL_S);
      const coasting = newest.state === "coasting";
      // What an ended one was predicted to do after it was last seen tells nothing.
      const head = ended ? last : { ...newest, frame: newestFrame };
      shown.push({ known, points: tail, head, coasting: coasting && !ended, ended, fade });
    }
    return shown;
  }

  /**
   * Tracks for a picture of the past: as they were at a frame.
   * @param {number} frame
   * @param {string} channel
   * @returns {ShownTrack[]}
   */
  at(frame, channel) {
    /** @type {ShownTrack[]} */
    const shown = [];
    for (const known of this.#tracks.values()) {
      const { points } = known;
      if (known.channel !== channel || points[0].frame > frame || known.endedFrame <= frame) continue;
      const until = lastAt(points, frame);
      const head = points[until];
      const tail = since(points.slice(0, until + 1), head.time_s - TAIL_S);
      shown.push({ known, points: tail, head, coasting: head.frame < frame, ended: false, fade: 1 });
    }
    return shown;
  }

  /**
   * Tracks for pictures of a stretch of time: all with a point between two frames.
   * @param {number} from frame
   * @param {number} to frame
   * @param {string} channel
   * @returns {ShownTrack[]}
   */
  between(from, to, channel) {
    /** @type {ShownTrack[]} */
    const shown = [];
    for (const known of this.#tracks.values()) {
      const { points } = known;
      if (known.channel !== channel || points[0].frame > to || points[points.length - 1].frame < from) continue;
      const ended = known.endedFrame <= to;
      const seen = to < points[points.length - 1].frame ? points.slice(0, lastAt(points, to) + 1) : points;
      const coasting = known.newest.state === "coasting" && !ended && seen === points;
      const head = coasting ? { ...known.newest, frame: known.newestFrame } : seen[seen.length - 1];
      shown.push({ known, points: seen, head, coasting, ended, fade: 1 });
    }
    return shown;
  }

  /**
   * Forgets what no picture shows any more: what had ended before the oldest ping that is kept.
   * @param {string} channel
   * @param {number} oldestFrame
   * @param {string | null} kept
   */
  prune(channel, oldestFrame, kept) {
    for (const [id, known] of this.#tracks) {
      if (known.channel === channel && known.endedFrame < oldestFrame && id !== kept) this.#tracks.delete(id);
    }
  }

  /** @param {string} channel */
  #forget(channel) {
    for (const [id, known] of this.#tracks) if (known.channel === channel) this.#tracks.delete(id);
  }
}

/**
 * @param {TrackPoint[]} points
 * @param {number} timeS
 */
function since(points, timeS) {
  if (points[0].time_s >= timeS) return points;
  let first = points.length - 1;
  while (first > 0 && points[first - 1].time_s >= timeS) first--;
  return points.slice(first);
}

/**
 * The index of the last point at a frame or before; the first one must be.
 * @param {TrackPoint[]} points
 * @param {number} frame
 */
function lastAt(points, frame) {
  let [low, high] = [0, points.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (points[middle].frame <= frame) low = middle;
    else high = middle - 1;
  }
  return low;
}
