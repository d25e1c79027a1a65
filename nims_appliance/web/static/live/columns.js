// The last minutes of a sonar as columns, one a ping: of a single beam its samples, of many the strongest in each row.

import { sameAxes } from "./mesh.js";

/**
 * @typedef {import("../shared/connection.js").Picture} Picture
 * @typedef {import("../shared/connection.js").PictureHead} PictureHead
 * @typedef {{frame: number, time_s: number, received_utc_s: number}} ColumnPing
 */

/** Columns that are kept. One place more stays free: it repeats the newest, so that nothing old shines in at its edge. */
export const KEPT_COLUMNS = 2048;
const LEVEL_FOLLOWS = 0.05;

export class ColumnStore {
  /** @type {PictureHead | null} of the newest column; its db_min and db_max hold for all columns */
  head = null;
  /** The ring, column after column: that of ping number n (counted from the first) lies at n mod KEPT_COLUMNS. */
  bytes = new Uint8Array(0);
  /** @type {ColumnPing[]} oldest first */
  pings = [];
  /** How many columns were ever added. */
  count = 0;
  /** Changes when columns that were there before have changed. */
  version = 0;
  #low = NaN;
  #shownLow = NaN; // in whole dB, with a dead band: the picture must not flicker

  /** Number of the oldest column that is there. */
  get first() {
    return this.count - this.pings.length;
  }

  /**
   * Takes a ping; false when it is there already: after a lost connection the last minutes are sent again.
   * @param {Picture} picture
   */
  add({ head, bytes }) {
    const last = this.pings.at(-1);
    if (last && head.frame <= last.frame && head.received_utc_s <= last.received_utc_s) return false;
    // Another range or another run of the sonar: columns beside each other would not fit.
    if (!last || head.frame <= last.frame || !sameRows(this.head, head)) this.#begin(head);
    if (this.head && (this.head.db_min !== head.db_min || this.head.db_max !== head.db_max)) this.#quantiseAnew(head);
    const { rows, columns } = head;
    const at = (this.count % KEPT_COLUMNS) * rows;
    strongest(bytes, rows, columns, this.bytes, at);
    this.bytes.copyWithin(((this.count + 1) % KEPT_COLUMNS) * rows, at, at + rows);
    if (columns > 1) this.#follow(head, at);
    this.head = head;
    this.pings.push({ frame: head.frame, time_s: head.time_s, received_utc_s: head.received_utc_s });
    if (this.pings.length > KEPT_COLUMNS - 1) this.pings.shift();
    this.count++;
    return true;
  }

  /**
   * Takes the pings before those that are there, as the appliance has kept them.
   * @param {Picture[]} past oldest first, of one column each
   */
  addPast(past) {
    const own = this.pings.map((ping, i) => this.#copy(ping, this.first + i));
    const first = own[0]?.head.frame ?? Infinity;
    const older = past.filter(({ head }) => head.frame < first && (!this.head || sameRows(this.head, head)));
    if (!older.length) return;
    this.head = null;
    this.pings = [];
    for (const picture of [...older, ...own]) this.add(picture);
  }

  /** The levels for dark and bright. The strongest of many beams lie over what is proposed for all of their cells. */
  get levels() {
    const { low_db, high_db } = /** @type {PictureHead} */ (this.head);
    const low = Number.isNaN(this.#shownLow) ? low_db : Math.max(this.#shownLow, low_db);
    return { low_db: low, high_db: Math.max(high_db, low + 20) };
  }

  /**
   * The byte of a row of the column of a frame.
   * @param {number} frame
   * @param {number} row
   */
  byteAt(frame, row) {
    const i = this.pings.findIndex((ping) => ping.frame === frame);
    const rows = this.head?.rows ?? 0;
    if (i < 0 || row < 0 || row >= rows) return 0;
    return this.bytes[((this.first + i) % KEPT_COLUMNS) * rows + row];
  }

  /**
   * @param {ColumnPing} ping
   * @param {number} number
   * @returns {Picture}
   */
  #copy(ping, number) {
    const head = /** @type {PictureHead} */ (this.head);
    const at = (number % KEPT_COLUMNS) * head.rows;
    return { head: { ...head, ...ping, columns: 1 }, bytes: this.bytes.slice(at, at + head.rows) };
  }

  /** @param {PictureHead} head */
  #begin(head) {
    this.bytes = new Uint8Array(KEPT_COLUMNS * head.rows);
    this.pings = [];
    this.count = 0;
    this.head = null;
    this.#low = this.#shownLow = NaN;
    this.version++;
  }

  /** @param {PictureHead} head with other limits of dB */
  #quantiseAnew(head) {
    const old = /** @type {PictureHead} */ (this.head);
    const steps = 255 / (head.db_max - head.db_min);
    const table = new Uint8ClampedArray(256);
    for (let byte = 1; byte < 256; byte++) {
      table[byte] = (old.db_min + (byte * (old.db_max - old.db_min)) / 255 - head.db_min) * steps;
    }
    for (let i = 0; i < this.bytes.length; i++) this.bytes[i] = table[this.bytes[i]];
    this.version++;
  }

  /**
   * @param {PictureHead} head
   * @param {number} at of the newest column
   */
  #follow(head, at) {
    const sorted = this.bytes.slice(at, at + head.rows).sort();
    const median = head.db_min + (sorted[head.rows >> 1] * (head.db_max - head.db_min)) / 255;
    const jump = Number.isNaN(this.#low) || Math.abs(median - this.#low) > 12;
    this.#low = jump ? median : this.#low + LEVEL_FOLLOWS * (median - this.#low);
    if (!(Math.abs(this.#low - this.#shownLow) < 1)) this.#shownLow = Math.round(this.#low);
  }
}

/**
 * @param {PictureHead | null} a
 * @param {PictureHead} b
 */
function sameRows(a, b) {
  return a === b || (a !== null && sameAxes({ ...a, columns: 1, bearing_rad: [], beam_width_rad: 0, kind: "fan" }, {
    ...b, columns: 1, bearing_rad: [], beam_width_rad: 0, kind: "fan",
  }));
}

/**
 * The largest of each row.
 * @param {Uint8Array} cells rows x columns
 * @param {number} rows
 * @param {number} columns
 * @param {Uint8Array} out
 * @param {number} at
 */
function strongest(cells, rows, columns, out, at) {
  let cell = 0;
  for (let row = 0; row < rows; row++) {
    let most = 0;
    for (const end = cell + columns; cell < end; cell++) if (cells[cell] > most) most = cells[cell];
    out[at + row] = most;
  }
}
