// Echogram: single-beam pings as columns that scroll to the left, range downwards.

import { context2d } from "../shared/elements.js";
import { coloursOfBytes, echoColours } from "./colormap.js";

/** @typedef {import("../shared/connection.js").Picture} Picture */

/**
 * Where an echogram was drawn: its area in pixels, the head of the newest column, and the columns that are visible.
 * @typedef {object} EchogramPlace
 * @property {number} left
 * @property {number} top
 * @property {number} width
 * @property {number} height
 * @property {Picture["head"]} head
 * @property {Column[]} columns
 * @property {(frame: number) => number | null} xOf
 */

/** @typedef {{x: number, frame: number, time_s: number}} Column */

const COLUMNS = 2048;
const COLUMN_PX = 2;
const MARGIN = { left: 44, right: 12, top: 10, bottom: 26 };

export class EchogramView {
  renderer = "canvas2d";
  #canvas;
  #context;
  #colours = echoColours();
  #ring = document.createElement("canvas"); // column i of the history is drawn at x = i mod COLUMNS
  #ringContext;
  /** @type {Picture[]} */
  #columns = []; // oldest first
  #count = 0; // columns ever added
  #drawn = 0; // of them, how many are in the ring
  #drawnLevels = "";

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = context2d(canvas, { alpha: true });
    this.#ringContext = context2d(this.#ring, { alpha: false });
  }

  /**
   * Takes a column; false when it is there already: after a lost connection the last minutes are sent again.
   * @param {Picture} picture
   */
  add(picture) {
    const { head } = picture;
    const last = this.#columns.at(-1)?.head;
    if (last && head.frame <= last.frame && head.received_utc_s <= last.received_utc_s) return false;
    const changed =
      last &&
      (last.rows !== head.rows || last.range_first_m !== head.range_first_m || last.range_last_m !== head.range_last_m);
    if (!last || changed || head.frame <= last.frame) {
      // Another range or another run of the sonar: columns beside each other would not fit.
      this.#columns = [];
      this.#count = this.#drawn = 0;
      this.#ring.width = COLUMNS;
      this.#ring.height = head.rows;
    }
    this.#columns.push(picture);
    if (this.#columns.length > COLUMNS) this.#columns.shift();
    this.#count++;
    return true;
  }

  /** Brings the ring up to date: with the new columns, or with all when the levels have changed. */
  #drawColumns() {
    const { head } = this.#newest();
    const levels = `${head.low_db} ${head.high_db}`;
    const first = this.#count - this.#columns.length;
    const from = levels === this.#drawnLevels ? Math.max(this.#drawn, first) : first;
    for (let number = from; number < this.#count; number++) this.#drawColumn(this.#columns[number - first], number, head);
    this.#drawn = this.#count;
    this.#drawnLevels = levels;
  }

  #newest() {
    return this.#columns[this.#columns.length - 1];
  }

  /**
   * @param {Picture} column
   * @param {number} number
   * @param {Picture["head"]} newest
   */
  #drawColumn({ head, bytes }, number, { low_db, high_db }) {
    const image = this.#ringContext.createImageData(1, head.rows);
    const pixels = new Uint32Array(image.data.buffer);
    const colours = coloursOfBytes(this.#colours, { ...head, low_db, high_db });
    for (let row = 0; row < head.rows; row++) pixels[row] = colours[bytes[row]];
    this.#ringContext.putImageData(image, number % COLUMNS, 0);
  }

  /**
   * Draws all columns; there must be one.
   * @param {Picture} _picture
   * @param {number} width
   * @param {number} height
   * @param {number} ratio
   * @returns {EchogramPlace}
   */
  draw(_picture, width, height, ratio) {
    this.#drawColumns();
    const canvas = this.#canvas;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const context = this.#context;
    const area = {
      left: MARGIN.left,
      top: MARGIN.top,
      width: Math.max(1, width - MARGIN.left - MARGIN.right),
      height: Math.max(1, height - MARGIN.top - MARGIN.bottom),
    };
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.imageSmoothingEnabled = true;
    const shown = Math.min(this.#columns.length, Math.floor(area.width / COLUMN_PX));
    let x = area.left + area.width - shown * COLUMN_PX;
    let number = this.#count - shown;
    while (number < this.#count) {
      // The ring may break the shown stretch into two pieces.
      const at = number % COLUMNS;
      const piece = Math.min(this.#count - number, COLUMNS - at);
      context.drawImage(this.#ring, at, 0, piece, this.#ring.height, x, area.top, piece * COLUMN_PX, area.height);
      x += piece * COLUMN_PX;
      number += piece;
    }
    const visible = this.#columns.slice(this.#columns.length - shown);
    const firstX = area.left + area.width - shown * COLUMN_PX + COLUMN_PX / 2;
    const columns = visible.map(({ head }, i) => ({ x: firstX + i * COLUMN_PX, frame: head.frame, time_s: head.time_s }));
    return { ...area, head: this.#newest().head, columns, xOf: (frame) => columnAt(columns, frame) };
  }
}

/**
 * The x of the column of a frame number; null when it is older than all of them.
 * @param {Column[]} columns
 * @param {number} frame
 */
function columnAt(columns, frame) {
  if (!columns.length || frame < columns[0].frame) return null;
  let low = 0;
  let high = columns.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (columns[middle].frame <= frame) low = middle;
    else high = middle - 1;
  }
  return columns[low].x;
}
