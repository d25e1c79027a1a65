// The measure tool: distance and bearing between two places, or time and range between two pings.

import { duration, number } from "../shared/format.js";
import { FONT, ink, strokeCased, textCased } from "./ink.js";

/**
 * @typedef {import("./place.js").Place} Place
 * @typedef {import("./place.js").Point} Point
 */

/**
 * An end: in metres on fans and B-scans, at a ping and a range on echograms.
 * @typedef {{x_m: number, y_m: number} | {time_s: number, frame: number, range_m: number}} End
 */

/**
 * What is at a pixel, as an end; null outside of the picture.
 * @param {Place} place
 * @param {number} x
 * @param {number} y
 * @returns {End | null}
 */
export function endAt(place, x, y) {
  if (place.kind === "echogram") {
    const found = place.toRange(x, y);
    return found && { time_s: found.column.time_s, frame: found.column.frame, range_m: found.range_m };
  }
  const polar = place.toPolar(x, y);
  return polar && { x_m: polar.range_m * Math.sin(polar.bearing_rad), y_m: polar.range_m * Math.cos(polar.bearing_rad) };
}

/**
 * @param {Place} place
 * @param {End} end
 * @returns {Point | null}
 */
function toScreen(place, end) {
  if ("x_m" in end) return place.kind === "echogram" ? null : place.xyToScreen(end.x_m, end.y_m);
  if (place.kind !== "echogram") return null;
  const x = place.xOf(end.frame);
  return x === null ? null : { x, y: place.yOf(end.range_m) };
}

/**
 * What lies between two ends: "3.42 m  57°" or "0.80 m in 12 s (0.07 m/s)"; empty where they do not belong together.
 * The bearing is that of the way from `a` to `b`, 0 along the sonar's axis.
 * @param {End} a
 * @param {End} b
 */
export function between(a, b) {
  if ("x_m" in a && "x_m" in b) {
    const [x, y] = [b.x_m - a.x_m, b.y_m - a.y_m];
    return `${number(Math.hypot(x, y), 2, "m")}  ${number((Math.atan2(x, y) * 180) / Math.PI)}°`;
  }
  if (!("time_s" in a && "time_s" in b)) return "";
  const [seconds, metres] = [Math.abs(b.time_s - a.time_s), Math.abs(b.range_m - a.range_m)];
  const speed = seconds > 0 ? `  ${number(metres / seconds, 2, "m/s")}` : "";
  return `${number(metres, 2, "m")}  ${duration(seconds)}${speed}`;
}

export class Measure {
  /** @type {End | null} */
  #from = null;
  /** @type {End | null} */
  #to = null;
  #isSet = false; // the second end stays where it is

  /** Takes a tap: the first end, then the second, then a new first one. @param {End} end */
  tap(end) {
    if (!this.#from || this.#isSet) {
      [this.#from, this.#to, this.#isSet] = [end, null, false];
    } else {
      [this.#to, this.#isSet] = [end, true];
    }
  }

  /** Moves the second end while it is not set. @param {End} end */
  hover(end) {
    if (this.#from && !this.#isSet) this.#to = end;
  }

  /** Begins a line that follows a finger until `finish`. @param {End} end */
  begin(end) {
    [this.#from, this.#to, this.#isSet] = [end, null, false];
  }

  finish() {
    this.#isSet = this.#to !== null;
  }

  /** Whether the first end waits for the second. */
  get isOpen() {
    return this.#from !== null && !this.#isSet;
  }

  clear() {
    this.#from = this.#to = null;
    this.#isSet = false;
  }

  /** What it measures now, in words. */
  get text() {
    return this.#from && this.#to ? between(this.#from, this.#to) : "";
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Place} place
   */
  draw(context, place) {
    if (this.#from && "x_m" in this.#from === (place.kind === "echogram")) this.clear(); // the view is another
    const from = this.#from && toScreen(place, this.#from);
    if (!from) return;
    const to = this.#to && toScreen(place, this.#to);
    context.save();
    context.font = FONT;
    context.lineCap = context.lineJoin = "round";
    context.textBaseline = "middle";
    for (const end of [from, to]) {
      if (!end) continue;
      context.beginPath();
      context.moveTo(end.x - 5, end.y);
      context.lineTo(end.x + 5, end.y);
      context.moveTo(end.x, end.y - 5);
      context.lineTo(end.x, end.y + 5);
      strokeCased(context, ink().tool, 1.5);
    }
    if (to) {
      context.beginPath();
      context.moveTo(from.x, from.y);
      context.lineTo(to.x, to.y);
      strokeCased(context, ink().tool, 1.2);
      // Beside the line, so far out that even a wide text does not touch it.
      const [right, down] = [to.x - from.x, to.y - from.y];
      const length = Math.hypot(right, down) || 1;
      const half = context.measureText(this.text).width / 2;
      const out = 11 + (half * Math.abs(down)) / length;
      const side = right > 0 === down > 0 ? 1 : -1;
      const { left, width } = place.area;
      const x = (from.x + to.x) / 2 + (side * out * Math.abs(down)) / length;
      context.textAlign = "center";
      textCased(
        context, this.text, Math.min(Math.max(x, left + half + 4), left + width - half - 4),
        (from.y + to.y) / 2 - (out * Math.abs(right)) / length, ink().tool,
      );
    }
    context.restore();
  }
}
