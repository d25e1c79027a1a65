// Where animals were: how many tracks went through each part of the view, drawn as a fan.

import { echoColours, DEFAULT_MAP } from "../live/colormap.js";
import { drawGrid } from "../live/grid.js";
import { strokeCased } from "../live/ink.js";
import { FanPlace, geometryOf, Viewport } from "../live/place.js";
import { context2d } from "../shared/elements.js";
import { colour, palette } from "../shared/theme.js";

/**
 * What `/api/v1/tracks/map` answers.
 * @typedef {object} HeatMap
 * @property {number[]} ring
 * @property {number[]} sector
 * @property {number[]} tracks
 * @property {number[]} ring_edges_m
 * @property {number} sectors
 * @property {number | null} from_s
 * @property {number | null} to_s
 */

const MARGIN_SECTORS = 1;
const LEAST_SECTORS = 8;
const FAR_SHARE = 0.999; // farther rings with the last of the tracks do not make all others small

export class HeatMapView {
  #canvas;
  #context;
  /** @type {HeatMap | null} */
  #map = null;
  /** @type {[number, number, number, number][] | null} */
  #path = null;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = context2d(canvas);
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  /** @param {HeatMap} map */
  show(map) {
    this.#map = map;
    this.draw();
  }

  /**
   * Draws one track over it.
   * @param {[number, number, number, number][] | null} positions time, x, y, z
   */
  mark(positions) {
    this.#path = positions;
    this.draw();
  }

  /** How many tracks the brightest cell stands for. */
  get most() {
    return Math.max(0, ...(this.#map?.tracks ?? []));
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    if (!width || !height || !this.#map) return;
    this.#canvas.width = Math.round(width * ratio);
    this.#canvas.height = Math.round(height * ratio);
    const context = this.#context;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!this.#map.ring.length) return;
    const place = placeOf(this.#map, width, height);
    this.#drawCells(this.#map, place);
    drawGrid(context, place, null);
    if (this.#path?.length) this.#drawPath(place, this.#path);
  }

  /**
   * @param {HeatMap} map
   * @param {FanPlace} place
   */
  #drawCells({ ring, sector, tracks, ring_edges_m, sectors }, place) {
    const context = this.#context;
    const colours = echoColours(DEFAULT_MAP, palette());
    const scale = Math.log1p(this.most);
    const turn = (2 * Math.PI) / sectors;
    const lap = 0.4 / Math.max(place.scale, 1e-9); // metres: no seams between cells
    const { minBearing, maxBearing, minRange, maxRange } = place.geometry;
    context.save();
    context.beginPath();
    context.moveTo(place.x0, place.y0);
    context.arc(place.x0, place.y0, maxRange * place.scale, minBearing - Math.PI / 2, maxBearing - Math.PI / 2);
    context.closePath();
    context.fillStyle = colour("view");
    context.fill();
    context.clip();
    for (let i = 0; i < ring.length; i++) {
      const from = sector[i] * turn - Math.PI - Math.PI / 2;
      const [near, far] = [Math.max(ring_edges_m[ring[i]], minRange), Math.min(ring_edges_m[ring[i] + 1], maxRange)];
      if (far <= near) continue;
      const at = 4 * Math.round(40 + (215 * Math.log1p(tracks[i])) / scale);
      context.fillStyle = `rgb(${colours[at]} ${colours[at + 1]} ${colours[at + 2]})`;
      context.beginPath();
      context.arc(place.x0, place.y0, (far + lap) * place.scale, from, from + turn + lap / far);
      context.arc(place.x0, place.y0, near * place.scale, from + turn + lap / far, from, true);
      context.closePath();
      context.fill();
    }
    context.restore();
  }

  /**
   * @param {FanPlace} place
   * @param {[number, number, number, number][]} positions
   */
  #drawPath(place, positions) {
    const context = this.#context;
    context.beginPath();
    for (const [, x, y] of positions) {
      const at = place.xyToScreen(x, y);
      context.lineTo(at.x, at.y);
    }
    context.lineJoin = context.lineCap = "round";
    strokeCased(context, colour("track"), 2);
    const [, x, y] = positions[positions.length - 1];
    const end = place.xyToScreen(x, y);
    context.beginPath();
    context.arc(end.x, end.y, 4, 0, 2 * Math.PI);
    context.fillStyle = colour("track");
    context.fill();
  }
}

/**
 * The fan that holds what was seen.
 * @param {HeatMap} map
 * @param {number} width
 * @param {number} height
 */
export function placeOf({ ring, sector, tracks, ring_edges_m, sectors }, width, height) {
  const total = tracks.reduce((sum, count) => sum + count, 0);
  const byRing = new Map();
  ring.forEach((number, i) => byRing.set(number, (byRing.get(number) ?? 0) + tracks[i]));
  let farthest = 0;
  let seen = 0;
  for (const [number, count] of [...byRing].sort(([a], [b]) => a - b)) {
    if (seen < FAR_SHARE * total) farthest = number;
    seen += count;
  }
  const middle = sectors / 2;
  let first = Math.min(...sector) - MARGIN_SECTORS;
  let last = Math.max(...sector) + MARGIN_SECTORS;
  first = Math.max(0, Math.min(first, middle - LEAST_SECTORS / 2));
  last = Math.min(sectors - 1, Math.max(last, middle + LEAST_SECTORS / 2 - 1));
  const turn = (2 * Math.PI) / sectors;
  const bearings = Array.from({ length: last - first + 1 }, (_, i) => (first + i + 0.5) * turn - Math.PI);
  const head = /** @type {import("../shared/connection.js").PictureHead} */ ({
    kind: "fan", bearing_rad: bearings, beam_width_rad: turn, range_first_m: 0, range_last_m: ring_edges_m[farthest + 1],
    rows: 1, columns: bearings.length,
  });
  return new FanPlace(head, geometryOf(head), width, height, new Viewport());
}
