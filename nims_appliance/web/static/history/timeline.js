// The timeline: how many tracks ended when, by class; a stretch of it is chosen with the pointer or by keys.

import { classOf, inkOf } from "../live/classes.js";
import { FONT, ink } from "../live/ink.js";
import { context2d } from "../shared/elements.js";
import { colour } from "../shared/theme.js";

/**
 * What `/api/v1/tracks/counts` answers.
 * @typedef {object} Counts
 * @property {number} bucket_s
 * @property {number | null} first_s
 * @property {number | null} last_s
 * @property {number[]} time_s where each bucket begins
 * @property {Record<string, number[]>} labels
 */

/** @typedef {{from: number, to: number}} Span seconds since 1970 */

const AXIS_PX = 20;
const LEFT_PX = 34;
const LEAST_DRAG_PX = 4;
const LEAST_SPAN_S = 60;
const STEPS_S = [60, 300, 900, 1800, 3600, 10800, 21600, 43200, 86400, 2 * 86400, 7 * 86400, 14 * 86400, 30 * 86400, 91 * 86400, 365 * 86400];

export class Timeline {
  /** What is in view. @type {Span} */
  view = { from: 0, to: 1 };
  /** What is chosen; null: all that is in view. @type {Span | null} */
  chosen = null;
  #canvas;
  #context;
  #changed;
  /** @type {Counts | null} */
  #counts = null;
  /** @type {number | null} */
  #dragFrom = null;
  #dragX = 0;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {(what: "view" | "chosen") => void} changed
   */
  constructor(canvas, changed) {
    this.#canvas = canvas;
    this.#context = context2d(canvas);
    this.#changed = changed;
    canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", () => this.#end());
    canvas.addEventListener("pointercancel", () => this.#end());
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  /** What lists and maps show. */
  get span() {
    return this.chosen ?? this.view;
  }

  /** Buckets that there is room for. */
  get points() {
    return Math.max(20, Math.floor((this.#canvas.clientWidth - LEFT_PX) / 6));
  }

  /** @param {Counts} counts */
  show(counts) {
    this.#counts = counts;
    this.draw();
  }

  /**
   * @param {Span} view
   * @param {Span | null} [chosen]
   */
  look(view, chosen = null) {
    const span = Math.max(view.to - view.from, LEAST_SPAN_S);
    this.view = { from: view.from, to: view.from + span };
    this.chosen = chosen;
    this.#changed("view");
  }

  /**
   * Zooms about a time; below 1: closer.
   * @param {number} factor
   * @param {number} [aroundS]
   */
  zoom(factor, aroundS = (this.span.from + this.span.to) / 2) {
    const { from, to } = this.view;
    const wanted = Math.max((to - from) * factor, LEAST_SPAN_S);
    const share = (aroundS - from) / (to - from);
    this.look({ from: aroundS - share * wanted, to: aroundS + (1 - share) * wanted }, this.chosen);
  }

  /** @param {number} x */
  #timeAt(x) {
    const width = Math.max(1, this.#canvas.clientWidth - LEFT_PX);
    return this.view.from + (Math.min(Math.max(x - LEFT_PX, 0), width) / width) * (this.view.to - this.view.from);
  }

  /** @param {number} timeS */
  #xOf(timeS) {
    return LEFT_PX + ((timeS - this.view.from) / (this.view.to - this.view.from)) * (this.#canvas.clientWidth - LEFT_PX);
  }

  /** @param {PointerEvent} event */
  #begin(event) {
    if (event.button) return;
    this.#canvas.setPointerCapture(event.pointerId);
    this.#dragX = event.offsetX;
    this.#dragFrom = this.#timeAt(event.offsetX);
  }

  /** @param {PointerEvent} event */
  #move(event) {
    if (this.#dragFrom === null || Math.abs(event.offsetX - this.#dragX) < LEAST_DRAG_PX) return;
    const other = this.#timeAt(event.offsetX);
    const [from, to] = [Math.min(this.#dragFrom, other), Math.max(this.#dragFrom, other)];
    this.chosen = { from, to: Math.max(to, from + 1) };
    this.draw();
  }

  #end() {
    if (this.#dragFrom === null) return;
    const { chosen } = this;
    // A press without a drag lets go of what was chosen.
    if (chosen && (this.#dragFrom < chosen.from || this.#dragFrom > chosen.to)) this.chosen = null;
    else if (chosen && this.#dragFrom !== chosen.from && this.#dragFrom !== chosen.to) this.chosen = null;
    this.#dragFrom = null;
    this.draw();
    this.#changed("chosen");
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    event.preventDefault();
    this.zoom(Math.exp(event.deltaY / 400), this.#timeAt(event.offsetX));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const { from, to } = this.span;
    const step = this.#counts?.bucket_s ?? (this.view.to - this.view.from) / 20;
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (way !== undefined) {
      const begin = this.chosen ?? { from: this.view.from, to: this.view.from + step };
      const moved = this.chosen ? way * step : 0;
      this.chosen = { from: event.shiftKey ? begin.from : begin.from + moved, to: Math.max(begin.to + moved, begin.from + step) };
      this.draw();
      this.#changed("chosen");
    } else if (event.key === "Escape" && this.chosen) {
      this.chosen = null;
      this.draw();
      this.#changed("chosen");
    } else if (event.key === "Enter") {
      this.look({ from, to });
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    if (!width || !height) return;
    this.#canvas.width = Math.round(width * ratio);
    this.#canvas.height = Math.round(height * ratio);
    const context = this.#context;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = FONT;
    const bottom = height - AXIS_PX;
    this.#drawAxis(bottom, width);
    if (this.#counts) this.#drawBars(this.#counts, bottom);
    if (!this.chosen) return;
    const [left, right] = [this.#xOf(this.chosen.from), this.#xOf(this.chosen.to)];
    context.fillStyle = colour("mask");
    context.fillRect(LEFT_PX, 0, Math.max(left - LEFT_PX, 0), bottom);
    context.fillRect(right, 0, Math.max(width - right, 0), bottom);
    context.strokeStyle = colour("accent");
    context.lineWidth = 1.5;
    context.strokeRect(left, 0.75, Math.max(right - left, 1), bottom - 1.5);
  }

  /**
   * @param {Counts} counts
   * @param {number} bottom
   */
  #drawBars({ bucket_s, time_s, labels }, bottom) {
    const context = this.#context;
    const names = Object.keys(labels).sort((a, b) => Number(!a) - Number(!b) || a.localeCompare(b));
    const totals = time_s.map((_, i) => names.reduce((sum, name) => sum + labels[name][i], 0));
    const most = Math.max(1, ...totals);
    const scale = (bottom - 10) / most;
    context.save();
    context.beginPath();
    context.rect(LEFT_PX, 0, this.#canvas.clientWidth - LEFT_PX, bottom);
    context.clip();
    const gap = this.#xOf(bucket_s) - this.#xOf(0) > 4 ? 1 : 0;
    time_s.forEach((begin, i) => {
      const x = this.#xOf(begin);
      const wide = Math.max(this.#xOf(begin + bucket_s) - x - gap, 0.6);
      let y = bottom;
      for (const name of names) {
        const tall = labels[name][i] * scale;
        context.fillStyle = inkOf(classOf(name));
        context.fillRect(x, y - tall, wide, tall);
        y -= tall;
      }
    });
    context.restore();
    context.fillStyle = ink().label;
    context.textAlign = "right";
    context.textBaseline = "top";
    context.fillText(String(most), LEFT_PX - 6, 4);
    context.textBaseline = "bottom";
    context.fillText("0", LEFT_PX - 6, bottom);
  }

  /**
   * @param {number} bottom
   * @param {number} width
   */
  #drawAxis(bottom, width) {
    const context = this.#context;
    const { from, to } = this.view;
    const apart = (110 / Math.max(1, width - LEFT_PX)) * (to - from);
    const step = STEPS_S.find((one) => one >= apart) ?? STEPS_S[STEPS_S.length - 1] * Math.ceil(apart / STEPS_S[STEPS_S.length - 1]);
    const shift = new Date(from * 1000).getTimezoneOffset() * 60;
    context.strokeStyle = ink().grid;
    context.lineWidth = 1;
    context.fillStyle = ink().label;
    context.textAlign = "left";
    context.textBaseline = "middle";
    for (let at = Math.ceil((from - shift) / step) * step + shift; at < to; at += step) {
      const x = Math.round(this.#xOf(at)) + 0.5;
      context.beginPath();
      context.moveTo(x, 0);
      context.lineTo(x, bottom + 6);
      context.stroke();
      if (x < width - 60) context.fillText(tick(at, step), x + 4, bottom + AXIS_PX / 2 + 1);
    }
    context.beginPath();
    context.moveTo(LEFT_PX, bottom + 0.5);
    context.lineTo(width, bottom + 0.5);
    context.stroke();
  }
}

/**
 * @param {number} timeS
 * @param {number} stepS
 */
function tick(timeS, stepS) {
  const date = new Date(timeS * 1000);
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}`;
  if (stepS >= 86400) return day;
  return clock === "00:00" ? day : clock;
}
