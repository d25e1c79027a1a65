// The pictures of the last minute, so that one can stop and step back.

/** @typedef {import("../shared/connection.js").Picture} Picture */

const KEPT_S = 60;
const ON_SMALL_MACHINES_BYTES = 32 * 2 ** 20;
const ON_OTHERS_BYTES = 96 * 2 ** 20;
const OVERHEAD_BYTES = 16 * 1024; // of a picture's head

/** What the page may keep in all, shared out among its sonars. */
export function memoryBudget() {
  return matchMedia("(pointer: coarse)").matches ? ON_SMALL_MACHINES_BYTES : ON_OTHERS_BYTES;
}

export class Moments {
  /** @type {Picture[]} oldest first */
  pictures = [];
  #bytes = 0;

  /**
   * Keeps a picture; lets go of those that are older than a minute, and of the oldest that would take too much memory.
   * @param {Picture} picture
   * @param {number} budgetBytes
   */
  add(picture, budgetBytes) {
    const newestS = picture.head.received_utc_s;
    if (this.pictures.length && newestS < this.pictures[this.pictures.length - 1].head.received_utc_s) this.clear();
    this.pictures.push(picture);
    this.#bytes += picture.bytes.length + OVERHEAD_BYTES;
    let gone = 0;
    while (gone < this.pictures.length - 1) {
      const { head, bytes } = this.pictures[gone];
      if (newestS - head.received_utc_s <= KEPT_S && this.#bytes <= budgetBytes) break;
      this.#bytes -= bytes.length + OVERHEAD_BYTES;
      gone++;
    }
    if (gone) this.pictures.splice(0, gone);
  }

  /**
   * The newest picture that had arrived at a time; the oldest when all came later.
   * @param {number} utcS
   */
  at(utcS) {
    return this.pictures[lastUntil(this.pictures.map(({ head }) => head), utcS)] ?? null;
  }

  clear() {
    this.pictures = [];
    this.#bytes = 0;
  }
}

/**
 * Index of the last ping that had arrived at a time; 0 when all came later, -1 when there is none.
 * @param {{received_utc_s: number}[]} pings oldest first
 * @param {number} utcS
 */
export function lastUntil(pings, utcS) {
  let low = 0;
  let high = pings.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (pings[middle].received_utc_s <= utcS) low = middle;
    else high = middle - 1;
  }
  return high < 0 ? -1 : low;
}
