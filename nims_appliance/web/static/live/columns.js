// The last minutes of a sonar as columns, one a ping: of a single beam its samples, of many the strongest in each row.

import { rowAt } from "./mesh.js";

/**
 * @typedef {import("../shared/connection.js").Picture} Picture
 * @typedef {import("../shared/connection.js").PictureHead} PictureHead
 * @typedef {{frame: number, time_s: number, received_utc_s: number}} ColumnPing
 */

/** Columns of the ring. One of them repeats the newest, so that nothing old shines in at its edge. */
export const KEPT_COLUMNS = 2048;
const MOST_ROWS = 512;
const SAME_RANGE = 0.02; // of the range: a smaller picture of a ping ends within so much of the large one
const LEVEL_FOLLOWS = 0.05;

export class ColumnStore {
  /**
   * Of the newest column, as all columns are kept: their rows, and what their bytes stand for.
   * @type {PictureHead | null}
   */
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
  add(picture) {
    const { head } = picture;
    const last = this.pings[this.pings.length - 1];
    if (last && head.frame <= last.frame && head.received_utc_s <= last.received_utc_s) return false;
    // Another range or another run of the sonar: columns beside each other would not fit.
    if (!this.head || !last || head.frame <= last.frame || !sameRanges(this.head, head)) this.#begin(head);
    const at = this.#append(picture);
    if (head.columns > 1) this.#follow(head, at);
    return true;
  }

  /**
   * Takes pings that this page has not seen, wherever they belong. True: there were some.
   * @param {Picture[]} others oldest first, of one column each
   */
  merge(others) {
    const { head } = this;
    const known = new Set(this.pings.map(({ frame }) => frame));
    const missing = others.filter((other) => !known.has(other.head.frame) && (!head || sameRanges(head, other.head)));
    if (!missing.length) return false;
    const own = this.pings.map((ping, i) => this.#copy(ping, this.first + i));
    const all = [...missing, ...own].sort((a, b) => a.head.frame - b.head.frame);
    const [low, shownLow] = [this.#low, this.#shownLow];
    this.#begin(head ?? all[all.length - 1].head);
    for (const picture of all) this.#append(picture, head);
    [this.#low, this.#shownLow] = [low, shownLow];
    return true;
  }

  /** The frame from which on columns may be missing. */
  firstGap() {
    const { pings } = this;
    // Pictures of a sonar that pings faster than they are drawn leave out some; a real gap is longer than the others.
    const usual = pings.length > 2 ? (pings[pings.length - 1].frame - pings[0].frame) / (pings.length - 1) : Infinity;
    for (let i = 1; i < pings.length; i++) if (pings[i].frame - pings[i - 1].frame > usual) return pings[i - 1].frame + 1;
    return 0;
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
    // As many rows as the largest picture of a ping has; a slow viewer may be sent smaller ones now and then.
    const rows = Math.min(MOST_ROWS, head.rows * (head.reduction ?? 1));
    this.head = { ...head, rows, range_m: undefined }; // rows are equally spaced, whatever those of the sonar are
    this.bytes = new Uint8Array(KEPT_COLUMNS * rows);
    this.pings = [];
    this.count = 0;
    this.#low = this.#shownLow = NaN;
    this.version++;
  }

  /**
   * Adds a column as the newest; returns where its bytes lie.
   * @param {Picture} picture
   * @param {PictureHead | null} scale whose dB all bytes shall stand for; null: those of the picture
   */
  #append({ head, bytes }, scale = null) {
    const kept = /** @type {PictureHead} */ (this.head);
    const { rows } = kept;
    const { db_min, db_max } = scale ?? head;
    if (kept.db_min !== db_min || kept.db_max !== db_max) {
      requantise(this.bytes, kept, { db_min, db_max });
      this.version++;
    }
    const at = (this.count % KEPT_COLUMNS) * rows;
    const column = this.bytes.subarray(at, at + rows);
    strongest(bytes, head, kept, column);
    if (head.db_min !== db_min || head.db_max !== db_max) requantise(column, head, { db_min, db_max });
    this.bytes.copyWithin(((this.count + 1) % KEPT_COLUMNS) * rows, at, at + rows);
    const { range_first_m, range_last_m } = kept;
    this.head = { ...(scale ?? head), rows, range_first_m, range_last_m, range_m: undefined, db_min, db_max };
    this.pings.push({ frame: head.frame, time_s: head.time_s, received_utc_s: head.received_utc_s });
    if (this.pings.length > KEPT_COLUMNS - 1) this.pings.shift();
    this.count++;
    return at;
  }

  /**
   * @param {PictureHead} head
   * @param {number} at of the newest column
   */
  #follow({ db_min, db_max }, at) {
    const rows = /** @type {PictureHead} */ (this.head).rows;
    const sorted = this.bytes.slice(at, at + rows).sort();
    const median = db_min + (sorted[rows >> 1] * (db_max - db_min)) / 255;
    const jump = Number.isNaN(this.#low) || Math.abs(median - this.#low) > 12;
    this.#low = jump ? median : this.#low + LEVEL_FOLLOWS * (median - this.#low);
    if (!(Math.abs(this.#low - this.#shownLow) < 1)) this.#shownLow = Math.round(this.#low);
  }
}

/**
 * @param {PictureHead} a
 * @param {PictureHead} b
 */
function sameRanges(a, b) {
  const most = SAME_RANGE * (a.range_last_m - a.range_first_m);
  return Math.abs(a.range_first_m - b.range_first_m) < most && Math.abs(a.range_last_m - b.range_last_m) < most;
}

/**
 * @param {Uint8Array} bytes
 * @param {{db_min: number, db_max: number}} from what they stand for
 * @param {{db_min: number, db_max: number}} to what they shall stand for
 */
function requantise(bytes, from, to) {
  const steps = 255 / (to.db_max - to.db_min);
  const table = new Uint8ClampedArray(256);
  for (let byte = 1; byte < 256; byte++) {
    table[byte] = (from.db_min + (byte * (from.db_max - from.db_min)) / 255 - to.db_min) * steps;
  }
  for (let i = 0; i < bytes.length; i++) bytes[i] = table[bytes[i]];
}

/**
 * The strongest of all beams, in each row of a store.
 * @param {Uint8Array} cells
 * @param {PictureHead} head of the cells
 * @param {PictureHead} kept
 * @param {Uint8Array} out
 */
function strongest(cells, head, kept, out) {
  const { rows, columns } = head;
  const step_m = (kept.range_last_m - kept.range_first_m) / kept.rows;
  for (let row = 0; row < kept.rows; row++) {
    // A picture with rows of another size or spacing is read where its ranges lie.
    const equal = rows === kept.rows && !head.range_m;
    const from = equal ? row : Math.floor(rowAt(head, kept.range_first_m + (row + 0.5) * step_m));
    let most = 0;
    if (from >= 0 && from < rows) {
      for (let cell = from * columns, end = cell + columns; cell < end; cell++) if (cells[cell] > most) most = cells[cell];
    }
    out[row] = most;
  }
}
