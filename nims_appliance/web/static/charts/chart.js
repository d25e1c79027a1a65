// One chart: a line in its band of extremes, limits of alarms, a cursor that all charts share.

import plots from "../vendor/uPlot.js";
import { element } from "../shared/elements.js";
import { dateTime, time } from "../shared/format.js";
import { colour } from "../shared/theme.js";
import { shown, unitOf } from "./quantities.js";

/**
 * @typedef {import("uplot")} uPlot
 * @typedef {import("uplot").Options} Options
 * @typedef {import("./quantities.js").Quantity} Quantity
 * @typedef {import("./history.js").History} History
 * @typedef {{name: string, when: "above" | "below", limit: number, raised: boolean}} Limit
 * @typedef {{timeS: number, raised: boolean}} Mark
 */

/** With the types of the package that it is made from. @type {typeof import("uplot")} */
const UPlot = /** @type {any} */ (plots);
const HEIGHT = 150;
const NEAR = 1.5; // a limit is in view when it is no farther than so many heights of the data
const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';

/**
 * A colour that lets through what is below it.
 * @param {string} name
 * @param {number} share
 */
const faint = (name, share) => `color-mix(in srgb, ${colour(name)} ${100 * share}%, transparent)`;

export class Chart {
  element;
  #quantity;
  #plot;
  #value;
  #unit;
  #host;
  /** @type {Limit[]} */
  #limits = [];
  /** @type {Mark[]} */
  #marks = [];
  #range = { fromS: 0, toS: 1 };
  #newest = 0;

  /**
   * @param {Quantity} quantity
   * @param {object} on
   * @param {(fromS: number, toS: number) => void} on.zoom
   * @param {(timeS: number | null) => void} on.moment
   * @param {() => void} on.reset
   * @param {(quantity: Quantity) => void} on.limit
   */
  constructor(quantity, on) {
    this.#quantity = quantity;
    this.#value = element("output", { className: "value" });
    this.#unit = element("span", { className: "unit" });
    this.#host = element("div", { className: "plot" });
    const limit = element("button", { type: "button", className: "plain operator", textContent: "Alarm", title: `Add an alarm for ${quantity.title}` });
    limit.onclick = () => on.limit(quantity);
    const title = element("h2", { textContent: quantity.title, title: quantity.about });
    const readout = element("p", { className: "readout" }, this.#value, " ", this.#unit);
    this.element = element("article", { className: "chart" }, element("header", {}, title, quantity.key === "tracks" ? null : limit, readout), this.#host);
    this.element.dataset.quantity = quantity.key;
    this.#plot = new UPlot(this.#options(on), [[], [], [], []], this.#host);
    this.#plot.over.addEventListener("dblclick", on.reset);
    this.recolour();
  }

  /** @param {ConstructorParameters<typeof Chart>[1]} on @returns {Options} */
  #options(on) {
    const { key, decimals } = this.#quantity;
    const steps = key === "layers" ? (UPlot.paths.stepped?.({ align: 1 }) ?? undefined) : undefined;
    const bars = key === "tracks" ? (UPlot.paths.bars?.({ size: [0.8, 24, 1], align: 0 }) ?? undefined) : undefined;
    const line = () => colour(this.#quantity.colour);
    const quiet = () => colour("quiet");
    const grid = { stroke: () => colour("line"), width: 1 };
    return {
      width: 300,
      height: HEIGHT,
      legend: { show: false },
      cursor: { sync: { key: "nims charts" }, drag: { x: true, y: false, setScale: false }, points: { size: 7, width: 1, stroke: line, fill: () => colour("ground") }, y: false },
      scales: {
        x: { time: true, range: () => [this.#range.fromS, this.#range.toS] },
        y: { range: (_, low, high) => this.#heights(low, high) },
      },
      axes: [
        { stroke: quiet, grid, ticks: { show: false }, font: FONT, size: 26, gap: 4, space: 64, values: (_, splits, __, ___, step) => splits.map((split) => moment(split, step)) },
        { stroke: quiet, grid, ticks: { show: false }, font: FONT, size: 54, gap: 6, space: 32, values: (_, splits) => splits.map((split) => label(split, splits, decimals)) },
      ],
      series: [
        {},
        { stroke: line, width: bars ? 0 : 1.5, fill: bars ? line : undefined, paths: bars ?? steps, points: { show: false }, spanGaps: false },
        { stroke: "transparent", width: 0, points: { show: false } },
        { stroke: "transparent", width: 0, points: { show: false } },
      ],
      bands: [{ series: [3, 2], fill: () => faint(this.#quantity.colour, 0.25) }],
      hooks: {
        drawAxes: [(plot) => this.#drawLimits(plot, true)],
        draw: [(plot) => this.#drawLimits(plot, false)],
        setCursor: [(plot) => this.#read(plot, on.moment)],
        setSelect: [
          (plot) => {
            const { left, width } = plot.select;
            plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            if (width > 4) on.zoom(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
          },
        ],
      },
    };
  }

  /**
   * Shows a stretch of time.
   * @param {History} history
   * @param {{fromS: number, toS: number}} range
   * @param {Limit[]} limits
   * @param {Mark[]} marks
   */
  show(history, range, limits, marks) {
    [this.#range, this.#limits, this.#marks] = [range, limits, marks];
    const columns = history.columns(this.#quantity.key);
    this.#newest = columns[1].length - 1;
    while (this.#newest > 0 && columns[1][this.#newest] === null) this.#newest--;
    this.#unit.textContent = unitOf(this.#quantity, history.calibrated);
    this.element.classList.toggle("raised", limits.some(({ raised }) => raised));
    this.element.classList.toggle("empty", !columns[1].some((value) => value !== null));
    this.#plot.setData(columns);
    this.#read(this.#plot, null);
  }

  /** Fits the width that the page gives. */
  fit() {
    const width = this.#host.clientWidth;
    if (width && width !== this.#plot.width) this.#plot.setSize({ width, height: HEIGHT });
  }

  recolour() {
    this.#plot.redraw(false, true);
  }

  /**
   * @param {number | null} low of the data
   * @param {number | null} high
   * @returns {[number, number]}
   */
  #heights(low, high) {
    if (low === null || high === null || !Number.isFinite(low) || !Number.isFinite(high)) return [0, 1];
    const { key } = this.#quantity;
    const least = key.endsWith("_db") ? 1 : 10 ** -this.#quantity.decimals;
    const height = Math.max(high - low, least);
    for (const { limit } of this.#limits) {
      if (limit < low && low - limit < NEAR * height) low = limit;
      if (limit > high && limit - high < NEAR * height) high = limit;
    }
    if (["layers", "tracks", "proportion_occupied"].includes(key)) low = Math.min(low, 0);
    const margin = Math.max(0.08 * (high - low), (least - (high - low)) / 2);
    return [low >= 0 && low - margin < 0 ? 0 : low - margin, high + margin];
  }

  /**
   * @param {uPlot} plot
   * @param {((timeS: number | null) => void) | null} tell
   */
  #read(plot, tell) {
    const at = plot.cursor.idx ?? null;
    const [times, mean, min, max] = plot.data;
    const index = at ?? this.#newest;
    const value = mean[index] ?? null;
    const extremes = at !== null && min[index] !== max[index] ? ` (${shown(this.#quantity, min[index])} to ${shown(this.#quantity, max[index])})` : "";
    this.#value.textContent = shown(this.#quantity, value) + extremes;
    if (tell && plot.over.matches(":hover")) tell(at === null ? null : times[at]);
  }

  /**
   * Draws limits: what lies beyond them below the data, their lines and names above.
   * @param {uPlot} plot
   * @param {boolean} beyond
   */
  #drawLimits(plot, beyond) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    const ratio = devicePixelRatio || 1;
    for (const { name, when, limit, raised } of this.#limits) {
      const y = plot.valToPos(limit, "y", true);
      const tint = colour(raised ? "bad" : "warn");
      if (beyond) {
        ctx.fillStyle = faint(raised ? "bad" : "warn", raised ? 0.18 : 0.07);
        const edge = Math.min(Math.max(y, bbox.top), bbox.top + bbox.height);
        if (when === "above") ctx.fillRect(bbox.left, bbox.top, bbox.width, edge - bbox.top);
        else ctx.fillRect(bbox.left, edge, bbox.width, bbox.top + bbox.height - edge);
        continue;
      }
      ctx.strokeStyle = ctx.fillStyle = tint;
      ctx.lineWidth = ratio;
      ctx.setLineDash([5 * ratio, 4 * ratio]);
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      ctx.setLineDash([]);
      ctx.font = `${11 * ratio}px system-ui, sans-serif`;
      ctx.textAlign = "left";
      const above = y > bbox.top + bbox.height ? " ↓" : y < bbox.top ? " ↑" : "";
      const words = `${name} ${shown(this.#quantity, limit)}${above}`;
      const place = Math.min(Math.max(y - 4 * ratio, bbox.top + 12 * ratio), bbox.top + bbox.height - 4 * ratio);
      ctx.lineWidth = 3 * ratio;
      ctx.strokeStyle = colour("raised");
      ctx.strokeText(words, bbox.left + 6 * ratio, place);
      ctx.fillText(words, bbox.left + 6 * ratio, place);
    }
    if (!beyond) this.#drawMarks(plot, ratio);
    ctx.restore();
  }

  /**
   * When alarms were raised (filled) and ended (open).
   * @param {uPlot} plot
   * @param {number} ratio
   */
  #drawMarks(plot, ratio) {
    const { ctx, bbox } = plot;
    const bottom = bbox.top + bbox.height;
    ctx.strokeStyle = ctx.fillStyle = colour("bad");
    ctx.lineWidth = 1.5 * ratio;
    for (const { timeS, raised } of this.#marks) {
      if (timeS < this.#range.fromS || timeS > this.#range.toS) continue;
      const x = plot.valToPos(timeS, "x", true);
      ctx.beginPath();
      ctx.moveTo(x - 4 * ratio, bottom);
      ctx.lineTo(x + 4 * ratio, bottom);
      ctx.lineTo(x, bottom - 8 * ratio);
      ctx.closePath();
      if (raised) ctx.fill();
      else ctx.stroke();
    }
  }

  /** What a screen reader hears of it. */
  describe() {
    const times = this.#plot.data[0];
    const last = times[this.#newest];
    this.#host.setAttribute("role", "img");
    this.#host.setAttribute("aria-label", `${this.#quantity.title}: ${this.#value.textContent} ${this.#unit.textContent}${last ? ` at ${dateTime(last)}` : ""}`);
  }
}

/**
 * A label of the axis of time: the time of day, at midnight the date.
 * @param {number} timeS
 * @param {number} stepS
 */
function moment(timeS, stepS) {
  const midnight = new Date(timeS * 1000).setHours(0, 0, 0, 0) === timeS * 1000;
  return midnight ? dateTime(timeS).slice(5, 10) : time(timeS, { zoned: false, seconds: stepS < 60 });
}

/**
 * A label of the vertical axis, with as many decimals as tell it from its neighbours.
 * @param {number} split
 * @param {number[]} splits
 * @param {number} decimals
 */
function label(split, splits, decimals) {
  if (decimals === 0 && !Number.isInteger(split)) return "";
  const step = splits.length > 1 ? splits[1] - splits[0] : 1;
  let digits = 0;
  while (digits < 6 && Math.abs(step * 10 ** digits - Math.round(step * 10 ** digits)) > 1e-6) digits++;
  return split.toFixed(digits).replace("-", "−");
}
