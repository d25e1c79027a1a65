// What a pane tells of its sonar: rate, age, how much of it this viewer sees.

import { find } from "../shared/elements.js";
import { duration, number, UNKNOWN } from "../shared/format.js";

/**
 * @typedef {import("../shared/connection.js").PictureHead} PictureHead
 * @typedef {{frame: number, received_utc_s: number, reduction: number, atS: number}} Arrival a picture that was drawn
 * @typedef {{pings: number, elapsedS: number, shown: number, reduction: number}} Count of the last seconds
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
  add({ frame, received_utc_s, reduction }, nowS) {
    // The first one may have been kept for late viewers: nothing was missed between it and the next.
    if (this.#counting) this.#arrivals.push({ frame, received_utc_s, reduction, atS: nowS });
    this.#counting = true;
  }

  /** The page was hidden, so pings were not shown on purpose: begin to count anew. */
  clear() {
    this.#arrivals = [];
    this.#counting = false;
  }

  /**
   * Pings of the last seconds, how long they took, how many of them were shown, and how small the newest is.
   * @param {number} nowS
   * @returns {Count}
   */
  count(nowS) {
    const newestUtcS = this.#arrivals.at(-1)?.received_utc_s ?? 0;
    // By both clocks: what was kept for late viewers came all at once.
    this.#arrivals = this.#arrivals.filter(
      ({ atS, received_utc_s }) => nowS - atS <= WINDOW_S && newestUtcS - received_utc_s <= WINDOW_S,
    );
    const [first, newest] = [this.#arrivals[0], this.#arrivals[this.#arrivals.length - 1]];
    if (!first) return { pings: 0, elapsedS: 0, shown: 0, reduction: 1 };
    return {
      pings: newest.frame - first.frame,
      elapsedS: newest.received_utc_s - first.received_utc_s,
      shown: this.#arrivals.length - 1,
      reduction: newest.reduction,
    };
  }
}

/**
 * What a line of state is told from.
 * @typedef {object} Facts
 * @property {string} device
 * @property {Count} counted
 * @property {number | null} ageS of the newest ping; null: there was none
 * @property {number} tracks that are live
 * @property {boolean} connected
 * @property {number} mostPerSecond the operator's limit of pictures
 * @property {string} waiting what the sonar waits for; empty: nothing
 * @property {boolean} isOff whether it does not run, because nobody wants it to
 */

/** The line of state of a pane, and the words over its picture when that is old or not there. */
export class StatusLine {
  #pane;
  #device;
  #notice;
  /** @type {Record<string, HTMLElement>} */
  #figures = {};

  /** @param {HTMLElement} pane */
  constructor(pane) {
    this.#pane = pane;
    this.#device = find(pane, ".device");
    this.#notice = find(pane, ".notice span");
    for (const name of ["rate", "age", "shown", "tracks"]) this.#figures[name] = find(pane, `[data-is="${name}"]`);
  }

  /**
   * True: this viewer sees fewer pings than it could.
   * @param {Facts} facts
   */
  tell({ device, counted: { pings, elapsedS, shown, reduction }, ageS, tracks, connected, mostPerSecond, waiting, isOff }) {
    const intervalS = pings > 0 ? elapsedS / pings : 0;
    const isStale = ageS !== null && (!connected || ageS > Math.max(STALE_S, 3 * intervalS));
    const isOld = ageS !== null && ageS > 1 + 2 * intervalS;
    // Fewer than the operator's limit allows: this viewer or its link is slow.
    const isSlow = shown < Math.min(pings, elapsedS * mostPerSecond) * 0.9 - 1;
    this.#write("rate", pings > 0 && elapsedS > 0 ? `${(pings / elapsedS).toFixed(1)}/s` : isStale ? "0/s" : UNKNOWN);
    this.#write("age", ageS === null ? UNKNOWN : seconds(ageS), isStale ? "bad" : isOld ? "warn" : "");
    // The appliance sends smaller pictures where the link is slow.
    const size = { 2: ", half size", 4: ", quarter size" }[reduction] ?? "";
    this.#write("shown", pings > 0 ? `${shown} of ${pings}${size}` : UNKNOWN, isSlow || size ? "warn" : "");
    this.#write("tracks", ageS === null ? UNKNOWN : String(tracks));
    this.#pane.classList.toggle("stale", isStale);
    this.#pane.classList.toggle("blank", ageS === null);
    setText(this.#device, device);
    let notice = ageS === null ? waiting || "waiting for the first ping" : "";
    if (isStale && isOff && connected) notice = waiting;
    else if (isStale) {
      notice = [`no ping for ${seconds(ageS)}`, connected ? waiting.replace(/, no ping yet$/, "") : "no connection to the appliance"].filter(Boolean).join("\n");
    }
    setText(this.#notice, notice);
    return isSlow;
  }

  /**
   * @param {string} name of a figure
   * @param {string} text
   * @param {string} level
   */
  #write(name, text, level = "") {
    const part = this.#figures[name];
    setText(part, text);
    if ((part.dataset.level ?? "") !== level) part.dataset.level = level;
  }
}

/**
 * @param {HTMLElement} part
 * @param {string} text
 */
function setText(part, text) {
  if (part.textContent !== text) part.textContent = text;
}

/** An age that does not change its unit at every ping. @param {number} value */
function seconds(value) {
  return value < 10 ? number(value, 1, "s") : duration(value);
}
