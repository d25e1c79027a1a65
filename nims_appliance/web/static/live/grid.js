// Grids over the pictures: range rings and bearing lines, axes, a scale bar, north.

import { time } from "../shared/format.js";
import { FONT, ink, textCased } from "./ink.js";
import { overlap } from "./labels.js";

/**
 * @typedef {import("./place.js").Place} Place
 * @typedef {import("./place.js").FanPlace} FanPlace
 * @typedef {import("./place.js").BscanPlace} BscanPlace
 * @typedef {import("./place.js").EchogramPlace} EchogramPlace
 * @typedef {import("./labels.js").Box} LabelBox
 */

const APART_PX = 70; // lines are at least so far apart
const RINGS_PX = [42, 70]; // rings: more of them where the fan is small
const BEARING_STEPS = [1, 2, 5, 10, 15, 30, 45, 90];
const SCALE_BAR_PX = 110;
const DEGREE = Math.PI / 180;

/**
 * The smallest round step (1, 2 or 5 times a power of ten) that is at least so long.
 * @param {number} least
 */
export function roundStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * ([1, 2, 5].find((factor) => factor * power >= least * 0.999) ?? 10);
}

/**
 * The multiples of a step from one value to another.
 * @param {number} from
 * @param {number} to
 * @param {number} step
 */
function multiples(from, to, step) {
  const found = [];
  for (let k = Math.ceil(from / step - 1e-6); k * step <= to + 1e-6 * step; k++) found.push(k * step);
  return found;
}

/**
 * @param {number} value
 * @param {number} step
 */
function metres(value, step) {
  return value.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
}

/** @param {number} degrees */
const bearingText = (degrees) => `${String(Math.round(degrees)).replace("-", "−")}°`;

/**
 * Draws it; returns the boxes of its labels on a fan, for others to keep away from.
 * @param {CanvasRenderingContext2D} context
 * @param {Place} place
 * @param {number | null} headingRad of the sonar, clockwise from north
 * @param {LabelBox | null} [taken] where no label goes
 * @returns {LabelBox[]}
 */
export function drawGrid(context, place, headingRad, taken = null) {
  /** @type {LabelBox[]} */
  const boxes = taken ? [taken] : [];
  context.save();
  context.font = FONT;
  context.lineWidth = 1;
  context.strokeStyle = ink().grid;
  context.lineJoin = "round";
  context.textBaseline = "middle";
  if (place.kind === "fan") {
    drawRings(context, place, boxes);
    drawScaleBar(context, place);
    if (headingRad !== null) drawNorth(context, place, headingRad);
  } else if (place.kind === "bscan") {
    drawRangeAxis(context, place.area, (range) => place.toScreen(range, 0).y, place.scale, place.geometry.minRange, place.geometry.maxRange);
    drawBearingAxis(context, place);
  } else {
    drawRangeAxis(context, place.area, (range) => place.yOf(range), place.scale, place.head.range_first_m, place.head.range_last_m);
    drawTimeAxis(context, place);
  }
  context.restore();
  return boxes;
}

/**
 * Writes a label where there is room for it.
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} x
 * @param {number} y
 * @param {LabelBox[]} boxes of those that are there; gets this one
 */
function writeLabel(context, text, x, y, boxes) {
  const width = context.measureText(text).width;
  const left = context.textAlign === "center" ? x - width / 2 : x;
  /** @type {LabelBox} */
  const box = [left - 2, y - 8, left + width + 2, y + 8];
  if (boxes.some((other) => overlap(other, box))) return;
  textCased(context, text, x, y, ink().label);
  boxes.push(box);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} x0
 * @param {number} y0
 * @param {number} x1
 * @param {number} y1
 */
function line(context, x0, y0, x1, y1) {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {FanPlace} place
 * @param {LabelBox[]} boxes
 */
function drawRings(context, place, boxes) {
  const { geometry, scale, x0, y0, area } = place;
  const { minBearing, maxBearing, minRange, maxRange } = geometry;
  const { grid } = ink();
  const isSeen = (/** @type {number} */ x, /** @type {number} */ y) => x > 4 && x < area.width - 30 && y > 8 && y < area.height - 8;
  // Labels are beside the right edge of the fan, or where that is out of sight on the bearing of the middle.
  const middle = Math.min(Math.max(Math.atan2(area.width / 2 - x0, y0 - area.height / 2), minBearing), maxBearing);
  const isRound = maxBearing - minBearing > 1.9 * Math.PI;
  const edgeX = 7 * Math.cos(maxBearing);
  const edgeY = 7 * Math.max(0.4, Math.sin(maxBearing));
  const step = roundStep(Math.min(Math.max((scale * maxRange) / 6, RINGS_PX[0]), RINGS_PX[1]) / scale);
  let unit = " m";
  context.textAlign = "left";
  for (const range of multiples(Math.max(minRange, step / 2), maxRange, step)) {
    context.strokeStyle = grid;
    context.lineWidth = 1;
    context.beginPath();
    // Angles of a canvas run clockwise from +x; a bearing runs clockwise from straight up.
    context.arc(x0, y0, range * scale, minBearing - Math.PI / 2, maxBearing - Math.PI / 2);
    context.stroke();
    // The outermost corner belongs to the bearing's label.
    if ((maxRange - range) * scale < 18) continue;
    const [edge, inside] = [place.toScreen(range, maxBearing), place.toScreen(range, middle)];
    const spots = isRound ? [] : [[edge.x + edgeX, edge.y + edgeY]];
    const spot = [...spots, [inside.x + 4, inside.y - 9]].find(([x, y]) => isSeen(x, y));
    if (!spot) continue;
    writeLabel(context, metres(range, step) + unit, spot[0], spot[1], boxes);
    unit = "";
  }
  context.textAlign = "center";
  const turn = BEARING_STEPS.find((candidate) => scale * maxRange * candidate * DEGREE > APART_PX) ?? 90;
  for (const degrees of multiples(minBearing / DEGREE, maxBearing / DEGREE, turn)) {
    if (isRound && degrees === -180) continue; // as 180
    const [near, far] = [place.toScreen(minRange, degrees * DEGREE), place.toScreen(maxRange, degrees * DEGREE)];
    context.strokeStyle = grid;
    context.lineWidth = 1;
    line(context, near.x, near.y, far.x, far.y);
    const { x, y } = place.toScreen(maxRange + 14 / scale, degrees * DEGREE);
    if (x > 12 && x < area.width - 12 && y > 8 && y < area.height - 8) writeLabel(context, bearingText(degrees), x, y, boxes);
  }
}

/**
 * A bar of a round length in the lower right corner.
 * @param {CanvasRenderingContext2D} context
 * @param {FanPlace} place
 */
function drawScaleBar(context, { scale, area }) {
  const longest = SCALE_BAR_PX / scale;
  const power = 10 ** Math.floor(Math.log10(longest));
  const length_m = power * ([5, 2].find((factor) => factor * power <= longest) ?? 1);
  const right = area.width - 14;
  const left = right - length_m * scale;
  const y = area.height - 12;
  context.beginPath();
  context.moveTo(left, y - 4);
  context.lineTo(left, y);
  context.lineTo(right, y);
  context.lineTo(right, y - 4);
  context.strokeStyle = ink().label;
  context.lineWidth = 1;
  context.stroke();
  context.textAlign = "center";
  textCased(context, `${metres(length_m, length_m)} m`, (left + right) / 2, y - 10, ink().label);
}

/**
 * An arrow to the north in the upper right corner.
 * @param {CanvasRenderingContext2D} context
 * @param {FanPlace} place
 * @param {number} headingRad
 */
function drawNorth(context, { area }, headingRad) {
  const [x, y] = [area.width - 26, 30];
  context.save();
  context.translate(x, y);
  context.rotate(-headingRad);
  context.beginPath();
  context.moveTo(0, -12);
  context.lineTo(4.5, 2);
  context.lineTo(0, -1);
  context.lineTo(-4.5, 2);
  context.closePath();
  context.fillStyle = ink().label;
  context.fill();
  context.restore();
  context.textAlign = "center";
  textCased(context, "N", x + 14 * Math.sin(headingRad), y + 14 * Math.cos(headingRad), ink().label);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {import("./place.js").Box} area
 * @param {(range: number) => number} yOf
 * @param {number} scale pixels per metre
 * @param {number} near
 * @param {number} far
 */
function drawRangeAxis(context, { left, top, width, height }, yOf, scale, near, far) {
  const step = roundStep(APART_PX / scale);
  context.textAlign = "right";
  context.fillStyle = ink().label;
  for (const range of multiples(near, far, step)) {
    const y = yOf(range);
    if (y < top - 0.5 || y > top + height + 0.5) continue;
    line(context, left, y, left + width, y);
    if (y > top + 14) context.fillText(metres(range, step), left - 8, y);
  }
  context.fillText("m", left - 8, top + 4);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {BscanPlace} place
 */
function drawBearingAxis(context, place) {
  const { left, top, width, height } = place.area;
  const { minBearing, maxBearing } = place.geometry;
  const step = BEARING_STEPS.find((candidate) => place.bearingScale * candidate * DEGREE > APART_PX) ?? 90;
  context.textAlign = "center";
  context.fillStyle = ink().label;
  for (const degrees of multiples(minBearing / DEGREE, maxBearing / DEGREE, step)) {
    const { x } = place.toScreen(0, degrees * DEGREE);
    if (x < left - 0.5 || x > left + width + 0.5) continue;
    line(context, x, top, x, top + height);
    context.fillText(bearingText(degrees), x, top + height + 14);
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {EchogramPlace} place
 */
function drawTimeAxis(context, { area, columns }) {
  const { left, top, width, height } = area;
  context.textAlign = "center";
  context.fillStyle = ink().label;
  let nextX = left + width - 34;
  for (let i = columns.length - 1; i >= 0; i--) {
    if (columns[i].x > nextX || columns[i].x < left + 30) continue;
    context.fillText(time(columns[i].time_s, { zoned: false }), columns[i].x, top + height + 14);
    nextX = columns[i].x - 130;
  }
}
