// Zones on the pictures: their outlines, and the handles by which they are edited.

import { FONT, ink, strokeCased, textCased } from "./ink.js";

/**
 * @typedef {import("../shared/connection.js").Zone} Zone
 * @typedef {import("./place.js").Place} Place
 * @typedef {import("./place.js").Polar} Polar
 * @typedef {import("./place.js").Point} Point
 */

/** @typedef {"min_range_m" | "max_range_m" | "min_bearing_deg" | "max_bearing_deg"} Edge */

/** A place that moves edges of a zone. @typedef {Point & {edges: Edge[]}} Handle */

/** The part of a zone that a picture can show. @typedef {{near: number, far: number, left: number, right: number}} Part */

const DEGREE = Math.PI / 180;
const HANDLE_PX = 5;

/**
 * The limits of what a place shows; an echogram has no bearings.
 * @param {Place} place
 * @returns {Part}
 */
export function limitsOf(place) {
  if (place.kind === "echogram") {
    return { near: place.head.range_first_m, far: place.head.range_last_m, left: -Math.PI, right: Math.PI };
  }
  const { minRange, maxRange, minBearing, maxBearing } = place.geometry;
  return { near: minRange, far: maxRange, left: minBearing, right: maxBearing };
}

/**
 * What of a zone is in the picture; null: nothing.
 * @param {Place} place
 * @param {Zone} zone
 * @returns {Part | null}
 */
export function partOf(place, zone) {
  const limits = limitsOf(place);
  const near = Math.max(zone.min_range_m, limits.near);
  const far = Math.min(zone.max_range_m, limits.far);
  const left = Math.max(zone.min_bearing_deg * DEGREE, limits.left);
  const right = Math.min(zone.max_bearing_deg * DEGREE, limits.right);
  return near < far && left < right ? { near, far, left, right } : null;
}

/**
 * The range and bearing at a pixel, kept inside the picture. On an echogram the bearing is 0.
 * @param {Place} place
 * @param {number} x
 * @param {number} y
 * @returns {Polar}
 */
export function nearestPolar(place, x, y) {
  const { near, far, left, right } = limitsOf(place);
  const clamp = (/** @type {number} */ value, /** @type {number} */ low, /** @type {number} */ high) => Math.min(Math.max(value, low), high);
  if (place.kind === "echogram") return { range_m: clamp((y - place.yOf(0)) / place.scale, near, far), bearing_rad: 0 };
  const origin = place.toScreen(0, 0);
  if (place.kind === "bscan") {
    return {
      range_m: clamp((origin.y - y) / place.scale, near, far),
      bearing_rad: clamp((x - origin.x) / place.bearingScale, left, right),
    };
  }
  const [x_m, y_m] = [(x - origin.x) / place.scale, (origin.y - y) / place.scale];
  return { range_m: clamp(Math.hypot(x_m, y_m), near, far), bearing_rad: clamp(Math.atan2(x_m, y_m), left, right) };
}

/**
 * Makes the path around a part of the picture.
 * @param {CanvasRenderingContext2D} context
 * @param {Place} place
 * @param {Part} part
 */
export function tracePart(context, place, { near, far, left, right }) {
  context.beginPath();
  if (place.kind === "fan") {
    const { x0, y0, scale } = place;
    context.arc(x0, y0, far * scale, left - Math.PI / 2, right - Math.PI / 2);
    context.arc(x0, y0, near * scale, right - Math.PI / 2, left - Math.PI / 2, true);
    context.closePath();
  } else if (place.kind === "bscan") {
    const [a, b] = [place.toScreen(far, left), place.toScreen(near, right)];
    context.rect(a.x, a.y, b.x - a.x, b.y - a.y);
  } else {
    const { left: x, width } = place.area;
    context.rect(x - 4, place.yOf(near), width + 8, (far - near) * place.scale);
  }
}

/**
 * Zones: thin outlines with their names; what is ignored is dimmed. One that is switched off is hardly there.
 * @param {CanvasRenderingContext2D} context
 * @param {Place} place
 * @param {Zone[]} zones
 * @param {Zone | null} chosen
 */
export function drawZones(context, place, zones, chosen = null) {
  const { left: areaLeft, top, width, height } = place.area;
  context.save();
  context.beginPath();
  context.rect(areaLeft, top, width, height);
  context.clip();
  context.font = FONT;
  context.lineJoin = "round";
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (const zone of zones) {
    const part = partOf(place, zone);
    if (!part) continue;
    const ignored = zone.kind === "ignored";
    const isOn = zone.enabled !== false;
    context.globalAlpha = isOn ? 1 : 0.5;
    tracePart(context, place, part);
    context.fillStyle = ink().mask;
    if (ignored && isOn) context.fill();
    const colour = ignored ? ink().label : ink().zone;
    context.setLineDash(!isOn ? [1, 5] : ignored ? [2, 4] : []);
    strokeCased(context, colour, zone === chosen ? 2 : 1);
    context.setLineDash([]);
    const { x, y } = nameSpot(place, part);
    textCased(context, isOn ? zone.name : `${zone.name} (off)`, x, y, colour);
  }
  context.restore();
}

/**
 * Where the name of a zone stands: inside, at its far edge.
 * @param {Place} place
 * @param {Part} part
 * @returns {Point}
 */
function nameSpot(place, { near, far, left, right }) {
  if (place.kind === "echogram") return { x: place.area.left + place.area.width / 2, y: place.yOf(near) + 11 };
  const middle = (left + right) / 2;
  return place.kind === "fan" ? place.toScreen(Math.max(far - 15 / place.scale, 0), middle) : { ...place.toScreen(far, middle), y: place.toScreen(far, middle).y + 15 };
}

/**
 * The handles of a zone; on an echogram those of its ranges only.
 * @param {Place} place
 * @param {Zone} zone
 * @returns {Handle[]}
 */
export function handlesOf(place, zone) {
  const part = partOf(place, zone);
  if (!part) return [];
  const { near, far, left, right } = part;
  if (place.kind === "echogram") {
    const x = place.area.left + place.area.width / 2;
    return [
      { x, y: place.yOf(near), edges: ["min_range_m"] },
      { x, y: place.yOf(far), edges: ["max_range_m"] },
    ];
  }
  const [middleRange, middleBearing] = [(near + far) / 2, (left + right) / 2];
  return [
    { ...place.toScreen(far, middleBearing), edges: ["max_range_m"] },
    { ...place.toScreen(near, middleBearing), edges: ["min_range_m"] },
    { ...place.toScreen(middleRange, left), edges: ["min_bearing_deg"] },
    { ...place.toScreen(middleRange, right), edges: ["max_bearing_deg"] },
    { ...place.toScreen(far, left), edges: ["max_range_m", "min_bearing_deg"] },
    { ...place.toScreen(far, right), edges: ["max_range_m", "max_bearing_deg"] },
    { ...place.toScreen(near, left), edges: ["min_range_m", "min_bearing_deg"] },
    { ...place.toScreen(near, right), edges: ["min_range_m", "max_bearing_deg"] },
  ];
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Handle[]} handles
 */
export function drawHandles(context, handles) {
  for (const { x, y, edges } of handles) {
    context.beginPath();
    if (edges.length > 1) context.arc(x, y, HANDLE_PX - 1.5, 0, 2 * Math.PI);
    else context.rect(x - HANDLE_PX, y - HANDLE_PX, 2 * HANDLE_PX, 2 * HANDLE_PX);
    context.fillStyle = ink().casing;
    context.fill();
    strokeCased(context, ink().tool, 1.5);
  }
}

/**
 * The topmost zone at a pixel.
 * @param {Place} place
 * @param {Zone[]} zones
 * @param {number} x
 * @param {number} y
 */
export function zoneAt(place, zones, x, y) {
  const { range_m, bearing_rad } = nearestPolar(place, x, y);
  for (const zone of zones.slice().reverse()) {
    const part = partOf(place, zone);
    if (!part || range_m < part.near || range_m > part.far) continue;
    if (place.kind === "echogram" || (bearing_rad >= part.left && bearing_rad <= part.right)) return zone;
  }
  return null;
}
