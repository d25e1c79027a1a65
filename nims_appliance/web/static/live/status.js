// What a pane tells of its sonar: rate, age, how much of it this viewer sees.

import { duration, number } from "../shared/format.js";

/**
 * @typedef {import("../shared/connection.js").PictureHead} PictureHead
 * @typedef {{frame: number, received_utc_s: number, atS: number}} Arrival a picture that was drawn
 */

const WINDOW_S = 5; // over which rates are told
const STALE_S = 2;

/** Counts the pictures that were drawn, and the pings that they stand for. */
export class Arrivals {
  /** @type {Arrival[]} */
  #arrivals = [];
  #counting = false;

  /**
   * @param {PictureHead} head of a picture that was drawn
   * @param {number} nowS
   */
  add({ frame, received_utc_s }, nowS) {
    // The first one may have been kept for late viewers: nothing was missed between it and the next.
    if (this.#counting) this.#arrivals.push({ frame, received_utc_s, atS: nowS });
    this.#counting = true;
  }

  /** The page was hidden, so pings were not shown on purpose: begin to count anew. */
  clear() {
    this.#arrivals = [];
    this.#counting = false;
  }

  /**
   * Pings of the last seconds, how long they took, and how many of them were shown.
   * @param {number} nowS
   */
  count(nowS) {
    const newestUtcS = this.#arrivals.at(-1)?.received_utc_s ?? 0;
    // By both clocks: what was kept for late viewers came all at once.
    this.#arrivals = this.#arrivals.filter(
      ({ atS, received_utc_s }) => nowS - atS <= WINDOW_S && newestUtcS - received_utc_s <= WINDOW_S,
    );
    const [first, newest] = [this.#arrivals[0], this.#arrivals[this.#arrivals.length - 1]];
    if (!first) return { pings: 0, elapsedS: 0, shown: 0 };
    return {
      pings: newest.frame - first.frame,
      elapsedS: newest.received_utc_s - first.received_utc_s,
      shown: this.#arrivals.length - 1,
    };
  }
}

/**
 * @typedef {object} Told
 * @property {{text: string, level: string}} rate
 * @property {{text: string, level: string}} age
 * @property {{text: string, level: string}} shown
 * @property {boolean} stale
 */

/**
 * @param {{pings: number, elapsedS: number, shown: number}} counted
 * @param {number | null} ageS of the newest ping; null: there was none
 * @param {boolean} connected
 * @param {number} mostPerSecond the operator's limit of pictures
 * @returns {Told}
 */
export function tellArrivals({ pings, elapsedS, shown }, ageS, connected, mostPerSecond) {
  const intervalS = pings > 0 ? elapsedS / pings : 0;
  const stale = ageS !== null && (!connected || ageS > Math.max(STALE_S, 3 * intervalS));
  const old = ageS !== null && ageS > 1 + 2 * intervalS;
  // Fewer than the operator's limit allows: this viewer or its link is slow.
  const slow = shown < Math.min(pings, elapsedS * mostPerSecond) * 0.9 - 1;
  return {
    rate: { text: pings > 0 && elapsedS > 0 ? `${(pings / elapsedS).toFixed(1)}/s` : stale ? "0/s" : "–", level: "" },
    age: { text: ageS === null ? "–" : seconds(ageS), level: stale ? "bad" : old ? "warn" : "" },
    shown: { text: pings > 0 ? `${shown} of ${pings}` : "–", level: slow ? "warn" : "" },
    stale,
  };
}

/** An age that does not change its unit at every ping. @param {number} value */
export function seconds(value) {
  return value < 10 ? number(value, 1, "s") : duration(value);
}
