// A track's card: what is known of it now, its path as a small picture, and how it ended.

import { context2d, element } from "../shared/elements.js";
import { duration, number, time } from "../shared/format.js";
import { classOf, inkOf, shapePath } from "./classes.js";
import { ink } from "./ink.js";
import { labelOf, shortId } from "./tracks.js";

/**
 * @typedef {import("./tracks.js").KnownTrack} KnownTrack
 * @typedef {import("./tracks.js").TrackPoint} TrackPoint
 * @typedef {import("../shared/connection.js").TrackDescription} TrackDescription
 */

const DEGREES = 180 / Math.PI;

/** @param {number} radians */
const degrees = (radians) => `${number(radians * DEGREES, 1)}°`;

/** Where a velocity or a way leads, 0 to 360 degrees from the sonar's axis. @param {number} x @param {number} y */
function heading(x, y) {
  return `${Math.round(((Math.atan2(x, y) * DEGREES) + 360) % 360)}°`;
}

/**
 * A strength, with what it is of: a calibrated target strength, or a level that only compares with its like.
 * @param {number} value
 * @param {boolean} calibrated
 */
function strength(value, calibrated) {
  return `${number(value, 1, "dB")} ${calibrated ? "TS" : "relative"}`;
}

/**
 * What is told of a live track.
 * @param {KnownTrack} known
 * @returns {[string, string][]}
 */
function ofLive({ newest: track, newestTimeS }) {
  /** @type {[string, string][]} */
  const told = [
    ["Since", `${time(track.first_time_s, { zoned: false })}, ${duration(newestTimeS - track.first_time_s)}`],
    ["Speed", number(track.speed_m_s, 2, "m/s")],
    ["Heading", track.speed_m_s > 0.05 ? heading(track.vx_m_s, track.vy_m_s) : "holds its place"],
    ["Range", number(track.range_m, 2, "m")],
    ["Bearing", degrees(track.bearing_rad)],
    ["Strength", strength(track.strength_db, track.calibrated)],
    ["Length", `${number(track.length_m, 2, "m")}, ${number(track.width_m, 2)} across`],
    ["Seen", `${track.hits} pings${track.state === "coasting" ? ", predicted now" : ""}`],
  ];
  if (track.zones.length) told.push(["In", track.zones.join(", ")]);
  return told;
}

/**
 * What is told of a track that has ended.
 * @param {TrackDescription} track
 * @returns {[string, string][]}
 */
function ofEnded(track) {
  /** @type {[string, string][]} */
  const told = [
    ["Lived", `${time(track.first_time_s, { zoned: false })}, ${duration(track.duration_s)}`],
    ["Speed", `${number(track.mean_speed_m_s, 2)}, at most ${number(track.peak_speed_m_s, 2, "m/s")}`],
    ["Way", `${number(track.path_m, 1, "m")}, net ${number(track.net_m, 1, "m")} to ${Math.round(((track.heading_deg ?? 0) + 360) % 360)}°`],
    ["Range", `${number(track.min_range_m, 1)} to ${number(track.max_range_m, 1, "m")}`],
    ["Bearing", `${number(track.min_bearing_deg)}° to ${number(track.max_bearing_deg)}°`],
    ["Strength", strength(track.strength_db, track.calibrated)],
    ["Length", `${number(track.mean_length_m, 2, "m")}, ${number(track.mean_width_m, 2)} across`],
    ["Seen", `${track.hits} of ${track.pings} pings`],
    ["Quality", number(track.quality, 2)],
  ];
  if (track.drifting !== null) told.push(["In the water", track.drifting ? "drifts" : "swims"]);
  for (const zone of track.zones) {
    const inside = zone.inside_s > 0 ? `inside for ${duration(zone.inside_s)}` : `${number(zone.closest_m, 1, "m")} at its nearest`;
    told.push([zone.name, inside]);
  }
  return told;
}

export class TrackCard {
  /** The card; hidden while no track is chosen. */
  element;
  #title = element("h3");
  #symbol = element("canvas", { className: "symbol" });
  #class = element("p", { className: "class" });
  #figures = element("dl");
  #path = element("canvas", { className: "path" });
  #link = element("a", { textContent: "Open in Tracks" });
  #told = "";

  /** @param {() => void} close */
  constructor(close) {
    this.#path.setAttribute("role", "img");
    this.#symbol.setAttribute("aria-hidden", "true");
    const button = element("button", { type: "button", className: "icon close", title: "Close (Esc)", onclick: close }, "×");
    button.setAttribute("aria-label", "Close");
    this.element = element(
      "section", { className: "float card", hidden: true },
      element("header", {}, this.#symbol, this.#title, button),
      this.#class, this.#path, this.#figures, element("footer", {}, this.#link),
    );
  }

  hide() {
    this.element.hidden = true;
    this.#told = "";
  }

  /**
   * Shows a track, or brings what is shown up to date.
   * @param {KnownTrack} known
   * @param {number} nowS
   */
  show(known, nowS) {
    const { description, newest } = known;
    const ended = known.endedS !== null;
    const name = `Track ${shortId(known.id)}`;
    const label = labelOf(known);
    const probability = description ? description.probability : newest.probability;
    const said = label ? `${label}${typeof probability === "number" ? `, ${Math.round(100 * probability)} %` : ""}${ended ? "" : " so far"}` : ended ? "no class" : "no class yet";
    const state = ended ? ` · ended ${duration(Math.round(nowS - (known.endedS ?? nowS)))} ago` : "";
    const figures = ended && description ? ofEnded(description) : ofLive(known);
    this.element.hidden = false;
    const told = JSON.stringify([known.id, said, state, figures]);
    if (told === this.#told) return;
    this.#told = told;
    this.element.setAttribute("aria-label", name);
    this.element.classList.toggle("ended", ended);
    this.#title.textContent = name;
    this.#class.textContent = said + state;
    this.#figures.replaceChildren(...figures.map(([term, value]) => (
      element("div", {}, element("dt", { textContent: term }), element("dd", { textContent: value }))
    )));
    this.#link.href = `/tracks#${known.id}`;
    this.#drawSymbol(label);
    this.#drawPath(known.points, ended);
  }

  /** @param {string} label */
  #drawSymbol(label) {
    const context = fitted(this.#symbol, 18, 18);
    const shown = classOf(label);
    shapePath(context, shown.shape, 9, 9, 5);
    context.strokeStyle = context.fillStyle = inkOf(shown);
    context.lineWidth = 2;
    context.stroke();
    if (shown.shape === "disc") context.fill();
  }

  /**
   * The path to scale, its newest end marked; the grey dot is where it began.
   * @param {TrackPoint[]} points
   * @param {boolean} ended
   */
  #drawPath(points, ended) {
    const { clientWidth: width, clientHeight: height } = this.#path;
    const context = fitted(this.#path, width, height);
    const xs = points.map(({ x_m }) => x_m);
    const ys = points.map(({ y_m }) => y_m);
    const [left, right, bottom, top] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const across = Math.max(right - left, 0.2);
    const along = Math.max(top - bottom, 0.2);
    const scale = Math.min((width - 24) / across, (height - 24) / along);
    const x = (/** @type {number} */ metres) => width / 2 + scale * (metres - (left + right) / 2);
    const y = (/** @type {number} */ metres) => height / 2 - scale * (metres - (bottom + top) / 2);
    const colour = ink().track;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    points.forEach((point, i) => context[i && !point.afterGap ? "lineTo" : "moveTo"](x(point.x_m), y(point.y_m)));
    context.strokeStyle = colour;
    context.lineWidth = 1.6;
    context.stroke();
    const last = points[points.length - 1];
    context.fillStyle = ink().label;
    context.beginPath();
    context.arc(x(points[0].x_m), y(points[0].y_m), 2.5, 0, 2 * Math.PI);
    context.fill();
    context.beginPath();
    context.arc(x(last.x_m), y(last.y_m), 4, 0, 2 * Math.PI);
    context.lineWidth = 2;
    context.stroke();
    const size = `${number(right - left, 1, "m")} by ${number(top - bottom, 1, "m")}`;
    context.font = '11px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';
    context.fillText(size, 6, height - 6);
    this.#path.setAttribute("aria-label", `Path, ${size}${ended ? "" : " so far"}`);
  }
}

/**
 * Makes a canvas crisp on this screen, and empty.
 * @param {HTMLCanvasElement} canvas
 * @param {number} width in CSS pixels
 * @param {number} height
 */
function fitted(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = context2d(canvas);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}
