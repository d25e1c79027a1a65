// Paints pictures without WebGL2: the cell under each pixel is looked up once per place, then copied ping by ping.

import { context2d } from "../shared/elements.js";
import { KEPT_COLUMNS } from "./columns.js";
import { cellAt, rowAt } from "./mesh.js";

/**
 * @typedef {import("../shared/connection.js").Picture} Picture
 * @typedef {import("./columns.js").ColumnStore} ColumnStore
 * @typedef {import("./place.js").FanPlace} FanPlace
 * @typedef {import("./place.js").BscanPlace} BscanPlace
 * @typedef {import("./place.js").EchogramPlace} EchogramPlace
 */

export class CanvasPainter {
  /** @type {"canvas2d"} */
  renderer = "canvas2d";
  #canvas;
  #context;
  /** @type {Uint32Array} */
  #colours = new Uint32Array(256);
  #image = new ImageData(1, 1);
  #pixels = new Uint32Array(1);
  /** @type {FanPlace | BscanPlace | null} */
  #place = null;
  #cells = new Int32Array(0);

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = context2d(canvas, { willReadFrequently: true });
  }

  /** @param {Uint32Array<ArrayBuffer>} colours of the 256 bytes */
  setColours(colours) {
    this.#colours = colours;
  }

  /** True when the canvas has another size than what was painted last. */
  #resize() {
    const { width, height } = this.#canvas;
    if (this.#image.width === width && this.#image.height === height) return false;
    this.#image = new ImageData(width, height);
    this.#pixels = new Uint32Array(this.#image.data.buffer);
    return true;
  }

  /**
   * @param {Picture} picture
   * @param {FanPlace | BscanPlace} place
   * @param {number} ratio
   */
  paintPing({ head, bytes }, place, ratio) {
    const resized = this.#resize();
    const { width, height } = this.#image;
    if (resized || this.#place !== place) {
      this.#place = place;
      this.#cells = new Int32Array(width * height);
      for (let row = 0; row < height; row++) {
        for (let column = 0; column < width; column++) {
          const polar = place.toPolar((column + 0.5) / ratio, (row + 0.5) / ratio);
          this.#cells[row * width + column] = polar ? cellAt(head, polar.range_m, polar.bearing_rad) : -1;
        }
      }
    }
    const [pixels, cells, colours] = [this.#pixels, this.#cells, this.#colours];
    for (let i = 0; i < cells.length; i++) pixels[i] = cells[i] < 0 ? 0 : colours[bytes[cells[i]]];
    this.#context.putImageData(this.#image, 0, 0);
  }

  /**
   * @param {ColumnStore} store
   * @param {EchogramPlace} place
   * @param {number} ratio
   */
  paintColumns(store, place, ratio) {
    this.#resize();
    this.#place = null;
    const { width } = this.#image;
    const pixels = this.#pixels.fill(0);
    const { area, columns, columnPx, head } = place;
    const { rows } = head;
    const left = columns.length ? columns[0].x - columnPx / 2 : 0;
    const [firstX, lastX] = [Math.round(area.left * ratio), Math.round((area.left + area.width) * ratio)];
    const [firstY, lastY] = [Math.round(area.top * ratio), Math.round((area.top + area.height) * ratio)];
    for (let y = firstY; y < lastY; y++) {
      const range = ((y + 0.5) / ratio - place.yOf(0)) / place.scale;
      const row = Math.min(Math.max(Math.floor(rowAt(head, range)), 0), rows - 1);
      for (let x = firstX; x < lastX; x++) {
        const i = Math.floor(((x + 0.5) / ratio - left) / columnPx);
        if (i < 0 || i >= columns.length) continue;
        pixels[y * width + x] = this.#colours[store.bytes[((place.firstNumber + i) % KEPT_COLUMNS) * rows + row]];
      }
    }
    this.#context.putImageData(this.#image, 0, 0);
  }

  clear() {
    this.#context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
  }
}
