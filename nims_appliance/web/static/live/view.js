// The picture in a pane: a canvas, what paints on it, and how far it is zoomed.

import { coloursOfBytes, echoColours } from "./colormap.js";
import { sameAxes } from "./mesh.js";
import { CanvasPainter } from "./painter_2d.js";
import { GlPainter } from "./painter_gl.js";
import { BscanPlace, EchogramPlace, FanPlace, geometryOf, Viewport } from "./place.js";

/**
 * @typedef {import("../shared/connection.js").Picture} Picture
 * @typedef {import("../shared/connection.js").PictureHead} PictureHead
 * @typedef {import("./columns.js").ColumnStore} ColumnStore
 * @typedef {import("./place.js").Place} Place
 * @typedef {Place["kind"]} ViewKind
 * @typedef {{width: number, height: number, ratio: number}} Size in CSS pixels; ratio: of the screen's to them
 */

/**
 * How echoes look: a colour map from dark to bright between two levels.
 * @typedef {object} Look
 * @property {string} map
 * @property {import("./colormap.js").Palette} palette
 * @property {number} low_db
 * @property {number} high_db
 */

export class PictureView {
  /** @type {Record<ViewKind, Viewport>} */
  viewports = { fan: new Viewport(), bscan: new Viewport(), echogram: new Viewport() };
  /** @type {Place | null} of what was painted last */
  place = null;
  /** @type {HTMLCanvasElement} */
  canvas;
  /** @type {GlPainter | CanvasPainter} */
  #painter;
  #colours = new Uint32Array(256);
  #colouredAs = "";
  /** What the place was made for; made anew when that changes. */
  #placeKey = "";
  /** @type {PictureHead | null} */
  #head = null;
  #onLost;

  /**
   * @param {HTMLCanvasElement} canvas in the page; replaced when its graphics context is lost
   * @param {boolean} withoutGl
   * @param {() => void} onLost called when it must be painted again
   */
  constructor(canvas, withoutGl, onLost) {
    this.canvas = canvas;
    this.#onLost = onLost;
    this.#painter = this.#newPainter(withoutGl);
  }

  get renderer() {
    return this.#painter.renderer;
  }

  /** @param {boolean} withoutGl */
  #newPainter(withoutGl) {
    if (!withoutGl) {
      try {
        const painter = new GlPainter(this.canvas);
        this.canvas.addEventListener("webglcontextlost", () => this.#replace(), { once: true });
        return painter;
      } catch (error) {
        console.info(`drawing without WebGL2: ${error instanceof Error ? error.message : error}`);
        if (this.canvas.getContext("2d") === null) this.#replaceCanvas();
      }
    }
    return new CanvasPainter(this.canvas);
  }

  #replaceCanvas() {
    // A canvas keeps the kind of context that it was first asked for.
    const fresh = /** @type {HTMLCanvasElement} */ (this.canvas.cloneNode());
    this.canvas.replaceWith(fresh);
    this.canvas = fresh;
  }

  #replace() {
    this.#replaceCanvas();
    this.#painter = this.#newPainter(true);
    this.#colouredAs = "";
    this.#onLost();
  }

  /**
   * Paints a multibeam ping.
   * @param {"fan" | "bscan"} kind
   * @param {Picture} picture
   * @param {Look} look
   * @param {Size} size
   */
  paintPing(kind, picture, look, size) {
    const { head } = picture;
    this.#fit(size);
    this.#colour(head, look);
    const key = this.#keyOf(kind, size);
    let place = this.place;
    if (key !== this.#placeKey || !place || place.kind === "echogram" || !sameAxes(this.#head, head)) {
      const make = kind === "fan" ? FanPlace : BscanPlace;
      place = new make(head, geometryOf(head), size.width, size.height, this.viewports[kind]);
      this.#placeKey = key;
      this.#head = head;
    }
    place.head = head;
    this.#painter.paintPing(picture, place, size.ratio);
    return (this.place = place);
  }

  /**
   * Paints columns, up to one of them.
   * @param {ColumnStore} store with at least one column
   * @param {number} last index of the ping at the right
   * @param {Look} look
   * @param {Size} size
   */
  paintColumns(store, last, look, size) {
    const head = /** @type {PictureHead} */ (store.head);
    this.#fit(size);
    this.#colour(head, look);
    const viewport = this.viewports.echogram;
    const place = new EchogramPlace(head, size.width, size.height, viewport, store.pings, last, store.first);
    this.#painter.paintColumns(store, place, size.ratio);
    return (this.place = place);
  }

  /** @param {Size} size */
  #fit({ width, height, ratio }) {
    const { canvas } = this;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  }

  /**
   * @param {ViewKind} kind
   * @param {Size} size
   */
  #keyOf(kind, { width, height, ratio }) {
    const { zoomX, zoomY, x, y } = this.viewports[kind];
    return `${kind} ${width} ${height} ${ratio} ${zoomX} ${zoomY} ${x} ${y}`;
  }

  /**
   * @param {PictureHead} head
   * @param {Look} look
   */
  #colour({ db_min, db_max }, { map, palette, low_db, high_db }) {
    const key = `${map} ${palette} ${low_db} ${high_db} ${db_min} ${db_max}`;
    if (key === this.#colouredAs) return;
    coloursOfBytes(echoColours(map, palette), { db_min, db_max }, low_db, high_db, this.#colours);
    this.#painter.setColours(this.#colours);
    this.#colouredAs = key;
  }
}
