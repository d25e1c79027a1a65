// A clip: its pictures as they come from the appliance, and its tracks as they are drawn over them.

import { readPicture } from "../shared/connection.js";

/**
 * @typedef {import("../shared/connection.js").Picture} Picture
 * @typedef {import("../live/tracks.js").ShownTrack} ShownTrack
 * @typedef {import("../live/tracks.js").TrackPoint} TrackPoint
 */

/**
 * What `/api/v1/clips/NAME` answers.
 * @typedef {object} Clip
 * @property {string} name
 * @property {string} sonar
 * @property {number} start_s
 * @property {number} end_s
 * @property {number} bytes
 * @property {string} reason
 * @property {boolean} keep
 * @property {string[]} tracks
 * @property {any[]} [described]
 */

const MOST_BYTES = 96e6; // of pictures in memory
const MOST_PICTURES = 600;
const SHORT_S = 15; // longer ones are fetched at half the size
const FADE_S = 1.5;
const GAP_S = 1.0;

/** The address of a clip. @param {string} name */
export const clipPath = (name) => `/api/v1/clips/${encodeURIComponent(name)}`;

/**
 * Takes a stream of pictures apart, each after its length.
 * @param {ReadableStreamDefaultReader<Uint8Array>} reader
 * @param {(picture: Picture) => boolean} take false: no more are wanted
 * @returns {Promise<boolean>} whether the end was there
 */
export async function readPictures(reader, take) {
  let rest = new Uint8Array(0);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return false;
    const joined = new Uint8Array(rest.length + value.length);
    joined.set(rest);
    joined.set(value, rest.length);
    let at = 0;
    while (joined.length - at >= 4) {
      const length = new DataView(joined.buffer).getUint32(at, true);
      if (!length) return true;
      if (joined.length - at - 4 < length) break;
      if (!take(readPicture(joined.slice(at + 4, at + 4 + length).buffer))) return true;
      at += 4 + length;
    }
    rest = joined.slice(at);
  }
}

/**
 * Fetches the pictures of a clip, as many as memory is for.
 * @param {Clip} clip
 * @param {AbortSignal} signal
 * @param {(picture: Picture) => void} take
 * @returns {Promise<string>} why some are missing; empty: none is
 */
export async function fetchPictures(clip, signal, take) {
  const length_s = Math.max(clip.end_s - clip.start_s, 1);
  const asked = new URLSearchParams({
    rate_hz: String(Math.min(20, MOST_PICTURES / length_s)),
    reduction: length_s > SHORT_S ? "2" : "1",
  });
  const response = await fetch(`${clipPath(clip.name)}/pictures?${asked}`, { signal });
  if (!response.ok || !response.body) throw new Error((await response.json().catch(() => null))?.error ?? `the server answered ${response.status}`);
  const reader = response.body.getReader();
  let [taken, full] = [0, false];
  const whole = await readPictures(reader, (picture) => {
    taken += picture.bytes.buffer.byteLength;
    full = taken > MOST_BYTES;
    if (!full) take(picture);
    return !full;
  });
  if (full) await reader.cancel();
  if (full) return "only its beginning: the rest is too much for this browser";
  return whole ? "" : "it breaks off: the connection ended, or its file is damaged";
}

/**
 * The tracks of a clip as they were at a picture.
 * @param {any[]} described with positions
 * @param {Picture[]} pictures oldest first
 * @param {number} at number of the picture
 * @returns {ShownTrack[]}
 */
export function tracksAt(described, pictures, at) {
  const now = pictures[at].head;
  /** @type {ShownTrack[]} */
  const shown = [];
  for (const track of described) {
    const points = pointsOf(track.positions, pictures).filter(({ time_s }) => time_s <= now.time_s + 0.01);
    const last = points[points.length - 1];
    if (!last) continue;
    const goneS = now.time_s - track.last_time_s;
    if (goneS > FADE_S) continue;
    const newest = /** @type {any} */ ({ hits: track.hits, speed_m_s: Math.hypot(last.vx_m_s, last.vy_m_s), label: track.label });
    shown.push({
      known: {
        id: track.id, channel: track.channel, points, coasted: 0, newest, newestFrame: last.frame, newestTimeS: last.time_s,
        endedS: null, endedFrame: Infinity, description: track,
      },
      points,
      head: last,
      coasting: now.time_s - last.time_s > 0.05 && goneS < 0,
      ended: goneS > 0,
      fade: goneS > 0 ? 1 - goneS / FADE_S : 1,
    });
  }
  return shown;
}

/**
 * @param {[number, number, number, number][]} positions
 * @param {Picture[]} pictures
 * @returns {TrackPoint[]}
 */
function pointsOf(positions, pictures) {
  let frame = 0;
  return positions.map(([time_s, x_m, y_m, z_m], i) => {
    while (frame + 1 < pictures.length && pictures[frame + 1].head.time_s <= time_s + 0.005) frame++;
    const [beforeS, beforeX, beforeY] = positions[Math.max(0, i - 3)];
    const lasted = time_s - beforeS;
    return {
      frame: pictures[frame].head.frame,
      time_s,
      x_m,
      y_m,
      vx_m_s: lasted > 0 ? (x_m - beforeX) / lasted : 0,
      vy_m_s: lasted > 0 ? (y_m - beforeY) / lasted : 0,
      range_m: Math.hypot(x_m, y_m, z_m),
      afterGap: i > 0 && time_s - positions[i - 1][0] > GAP_S,
    };
  });
}
