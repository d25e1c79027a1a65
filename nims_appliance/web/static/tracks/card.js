// The card of one track: where it went, and all that is known of it.

import { element } from "../shared/elements.js";
import { dateTime, number, UNKNOWN } from "../shared/format.js";
import { isLive } from "./columns.js";

/** @typedef {import("./columns.js").Row} Row */

const SVG = "http://www.w3.org/2000/svg";
const SIZE = 260;
const MARGIN = 22;

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 */
function svg(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}

/**
 * The path seen from above, the sonar at the bottom and both axes of one scale.
 * @param {[number, number, number, number][]} positions  time, x, y, z
 */
export function drawPath(positions) {
  const picture = svg("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, class: "path", role: "img", "aria-label": "Its path from above" });
  const xs = positions.map(([, x]) => x);
  const ys = positions.map(([, , y]) => y);
  const [left, right, near, far] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const reach = Math.max(right - left, far - near, 0.2);
  const scale = (SIZE - 2 * MARGIN) / reach;
  const [middleX, middleY] = [(left + right) / 2, (near + far) / 2];
  const place = (/** @type {number} */ x, /** @type {number} */ y) => [SIZE / 2 + (x - middleX) * scale, SIZE / 2 - (y - middleY) * scale];
  const points = positions.map(([, x, y]) => place(x, y).map((v) => v.toFixed(1)).join(",")).join(" ");
  const [startX, startY] = place(xs[0], ys[0]);
  const [endX, endY] = place(xs[xs.length - 1], ys[ys.length - 1]);
  const step = 10 ** Math.floor(Math.log10(reach / 1.5));
  const bar = [5, 2, 1].map((k) => k * step).find((k) => k <= reach / 1.5) ?? step;
  const words = svg("text", { x: MARGIN, y: SIZE - 12 });
  words.textContent = `${bar >= 1 ? bar : bar.toFixed(2).replace(/0+$/, "")} m`;
  picture.append(
    svg("polyline", { points, class: "way" }),
    svg("circle", { cx: startX, cy: startY, r: 4, class: "begin" }),
    svg("circle", { cx: endX, cy: endY, r: 4.5, class: "end" }),
    svg("path", { d: `M${MARGIN} ${SIZE - 6}h${bar * scale}`, class: "scale" }),
    words,
  );
  return picture;
}

/**
 * @param {Row} row
 * @returns {[string, string][]}
 */
function figures(row) {
  const range = (/** @type {number} */ low, /** @type {number} */ high, /** @type {string} */ unit) => (low === undefined || low === null ? UNKNOWN : `${number(low, 1)} to ${number(high, 1)} ${unit}`);
  if (isLive(row)) {
    return [
      ["Since", dateTime(row.first_time_s)],
      ["Lasts", number(row.duration_s, 1, "s")],
      ["Length", number(row.length_m, 2, "m")],
      ["Speed", number(row.speed_m_s, 2, "m/s")],
      ["Range", number(row.range_m, 1, "m")],
      ["Strength", number(row.strength_db, 1, row.calibrated ? "dB re 1 m²" : "dB, relative")],
      ["Zones", row.zones?.join(", ") || UNKNOWN],
    ];
  }
  return [
    ["Class", row.label ? `${row.label}${row.probability === null ? "" : `, ${number(100 * row.probability)} %`}` : UNKNOWN],
    ["First seen", dateTime(row.first_time_s)],
    ["Last seen", dateTime(row.last_time_s)],
    ["Lasted", number(row.duration_s, 1, "s")],
    ["Seen in", `${row.hits} of ${row.pings} pings`],
    ["Speed", `${number(row.mean_speed_m_s, 2)} m/s, at most ${number(row.peak_speed_m_s, 2)} m/s`],
    ["Way", `${number(row.path_m, 1)} m, ${number(row.net_m, 1)} m from begin to end`],
    ["Heading", number(row.heading_deg, 0, "°").replace(" °", "°")],
    ["Range", range(row.min_range_m, row.max_range_m, "m")],
    ["Bearing", range(row.min_bearing_deg, row.max_bearing_deg, "°")],
    ["Size", `${number(row.mean_length_m, 2)} m × ${number(row.mean_width_m, 2)} m`],
    ["Strength", number(row.strength_db, 1, row.calibrated ? "dB re 1 m²" : "dB, relative")],
    ["Quality", number(row.quality, 2)],
    ["Drifting", row.drifting === null ? UNKNOWN : row.drifting ? "yes" : "no"],
    ...row.zones.map((/** @type {any} */ zone) => [`Zone ${zone.name}`, zone.closest_m === 0 ? `inside for ${number(zone.inside_s, 1, "s")}` : `passed at ${number(zone.closest_m, 1, "m")}`]),
  ];
}

/**
 * Shows a track in the card.
 * @param {HTMLElement} card
 * @param {Row} row  with `positions` where they are known
 * @param {() => void} close
 */
export function showCard(card, row, close) {
  const button = element("button", { type: "button", className: "icon", textContent: "✕", title: "Close (Esc)" });
  button.setAttribute("aria-label", "Close");
  button.onclick = close;
  const address = new URLSearchParams({ sonar: row.sonar, track: row.id });
  card.replaceChildren(
    element("header", {}, element("h2", { textContent: isLive(row) ? "Live track" : "Track" }), button),
    element("p", { className: "id", textContent: [row.sonar, row.channel, row.id].filter(Boolean).join(" · ") }),
    ...(row.positions?.length ? [drawPath(row.positions)] : []),
    element("dl", {}, ...figures(row).map(([name, value]) => element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value })))),
    element("a", { className: "button primary", href: `/#${address}`, textContent: isLive(row) ? "Show in the picture" : "Show its sonar" }),
  );
  card.hidden = false;
}
