// Tracks over the pictures: tails, symbols, speed arrows and short labels.

import { classOf, inkOf, shapePath } from "./classes.js";
import { FONT, ink, strokeCased, textCased } from "./ink.js";
import { labelOf, shortId } from "./tracks.js";

/**
 * @typedef {import("./place.js").Place} Place
 * @typedef {import("./place.js").Point} Point
 * @typedef {import("./tracks.js").ShownTrack} ShownTrack
 * @typedef {import("./labels.js").Labels} Labels
 */

/**
 * Where a track was drawn, to find it under a finger.
 * @typedef {{id: string, x: number, y: number, path: Point[]}} DrawnTrack
 */

const ARROW_S = 2; // an arrow ends where the animal is then
const ARROW_LEAST_PX = 10;
const SYMBOL_PX = 5;
const STEP_PX = 3; // points nearer to each other are one
const ROOM_PX = 80; // in the width of the picture for each track: then their labels tell speeds too
const TAIL_PARTS = 3; // a tail gets paler towards its end in so many steps

/**
 * Draws tracks, with labels where there is room; returns where they are.
 * @param {CanvasRenderingContext2D} context
 * @param {Place} place
 * @param {ShownTrack[]} tracks
 * @param {Labels} labels
 * @param {string | null} chosen id
 * @returns {DrawnTrack[]}
 */
export function drawTracks(context, place, tracks, labels, chosen) {
  const { left, top, width, height } = place.area;
  context.save();
  context.beginPath();
  context.rect(left, top, width, height);
  context.clip();
  context.font = FONT;
  context.textBaseline = "middle";
  context.textAlign = "left";
  context.lineCap = "round";
  context.lineJoin = "round";
  // The chosen one gets the first place for its label, then those seen longest.
  const order = [...tracks].sort((a, b) => (
    Number(b.known.id === chosen) - Number(a.known.id === chosen) || b.known.newest.hits - a.known.newest.hits
  ));
  /** @type {DrawnTrack[]} */
  const drawn = [];
  for (const track of order.slice().reverse()) {
    const at = headOf(place, track);
    if (!at) continue;
    context.globalAlpha = track.fade;
    const isChosen = track.known.id === chosen;
    const path = drawTail(context, place, track, at, isChosen);
    const tip = track.ended || place.kind === "echogram" ? null : drawArrow(context, place, track, at);
    for (let t = 0.25; tip && t <= 1; t += 0.25) labels.keepFree(at.x + t * (tip.x - at.x), at.y + t * (tip.y - at.y), 4);
    if (place.kind !== "echogram" || !track.ended) drawSymbol(context, track, at, isChosen);
    else if (path.length) drawDot(context, inkOf(classOf(labelOf(track.known))), path[0]);
    labels.keepFree(at.x, at.y, SYMBOL_PX + 2);
    drawn.push({ id: track.known.id, x: at.x, y: at.y, path });
  }
  const places = new Map(drawn.map((one) => [one.id, one]));
  for (const track of order) {
    const at = places.get(track.known.id);
    if (!at) continue;
    context.globalAlpha = track.fade;
    const isChosen = track.known.id === chosen;
    // On an echogram a track's number stands at its beginning, where it stays.
    const { x, y } = place.kind === "echogram" && at.path.length ? at.path[0] : at;
    const colour = isChosen ? ink().tool : inkOf(classOf(labelOf(track.known)));
    drawLabel(context, labels, track, x, y, colour, place.kind !== "echogram" && (tracks.length * ROOM_PX <= width || isChosen));
  }
  context.restore();
  return drawn;
}

/**
 * Where a track's symbol is; null: outside of the stretch that is shown.
 * @param {Place} place
 * @param {ShownTrack} track
 * @returns {Point | null}
 */
function headOf(place, { head }) {
  if (place.kind !== "echogram") return place.xyToScreen(head.x_m, head.y_m);
  const x = place.xOf(head.frame);
  return x === null ? null : { x, y: place.yOf(head.range_m) };
}

/**
 * Draws where a track was seen, and dashed what is predicted since; returns the points in pixels.
 * @param {CanvasRenderingContext2D} context
 * @param {Place} place
 * @param {ShownTrack} track
 * @param {Point} at
 * @param {boolean} isChosen
 */
function drawTail(context, place, track, at, isChosen) {
  const colour = inkOf(classOf(labelOf(track.known)));
  /** @type {(Point & {afterGap: boolean})[]} */
  const path = [];
  let gap = false;
  track.points.forEach((point, i) => {
    gap ||= point.afterGap;
    const spot = place.kind === "echogram" ? echogramPoint(place, point) : place.xyToScreen(point.x_m, point.y_m);
    if (!spot) return;
    const before = path[path.length - 1];
    const isLast = i === track.points.length - 1;
    if (before && !isLast && Math.abs(spot.x - before.x) + Math.abs(spot.y - before.y) < STEP_PX) return;
    // Several pings in one column of an echogram: the newest counts.
    if (before && place.kind === "echogram" && spot.x === before.x && !gap) Object.assign(before, spot);
    else path.push({ ...spot, afterGap: gap });
    gap = false;
  });
  const width = isChosen ? 2.4 : 1.6;
  if (path.length > 1) {
    context.lineJoin = "bevel"; // a round one costs twice the time, and nobody sees it
    // A tail of an echogram is the track's history: it does not fade.
    const parts = place.kind === "echogram" || path.length < 2 * TAIL_PARTS ? 1 : TAIL_PARTS;
    const alpha = context.globalAlpha;
    context.globalAlpha = 0.7 * alpha;
    context.strokeStyle = ink().casing;
    context.lineWidth = width + 2;
    tracePath(context, path, Math.floor((path.length - 1) / (2 * parts)), path.length); // the palest end needs none
    context.stroke();
    context.strokeStyle = colour;
    context.lineWidth = width;
    for (let part = 0; part < parts; part++) {
      context.globalAlpha = (alpha * (part + 1)) / parts;
      const from = Math.floor((part * (path.length - 1)) / parts);
      tracePath(context, path, from, Math.floor(((part + 1) * (path.length - 1)) / parts) + 1);
      context.stroke();
    }
    context.globalAlpha = alpha;
    context.lineJoin = "round";
  }
  const last = path[path.length - 1];
  if (track.coasting && last) {
    context.beginPath();
    context.moveTo(last.x, last.y);
    context.lineTo(at.x, at.y);
    context.setLineDash([3, 5]);
    strokeCased(context, colour, width);
    context.setLineDash([]);
  }
  return path;
}

/**
 * @param {import("./place.js").EchogramPlace} place
 * @param {{frame: number, range_m: number}} point
 * @returns {Point | null}
 */
function echogramPoint(place, { frame, range_m }) {
  const x = place.xOf(frame);
  return x === null ? null : { x, y: place.yOf(range_m) };
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {(Point & {afterGap: boolean})[]} path
 * @param {number} from
 * @param {number} to the first that is left out
 */
function tracePath(context, path, from, to) {
  context.beginPath();
  for (let i = from; i < to; i++) {
    const { x, y, afterGap } = path[i];
    if (i === from || afterGap) context.moveTo(x, y);
    else context.lineTo(x, y);
  }
}

/**
 * An arrow to where the animal is some seconds later, if it swims on; returns its tip, null: too slow for one.
 * @param {CanvasRenderingContext2D} context
 * @param {import("./place.js").FanPlace | import("./place.js").BscanPlace} place
 * @param {ShownTrack} track
 * @param {Point} at
 */
function drawArrow(context, place, { known, head }, at) {
  const tip = place.xyToScreen(head.x_m + ARROW_S * head.vx_m_s, head.y_m + ARROW_S * head.vy_m_s);
  const [right, down] = [tip.x - at.x, tip.y - at.y];
  const length = Math.hypot(right, down);
  if (!(length > SYMBOL_PX + ARROW_LEAST_PX)) return null;
  const [unitX, unitY] = [right / length, down / length];
  context.beginPath();
  context.moveTo(at.x + (SYMBOL_PX + 2) * unitX, at.y + (SYMBOL_PX + 2) * unitY);
  context.lineTo(tip.x, tip.y);
  for (const side of [-1, 1]) {
    context.moveTo(tip.x - 6 * unitX + side * 3 * unitY, tip.y - 6 * unitY - side * 3 * unitX);
    context.lineTo(tip.x, tip.y);
  }
  strokeCased(context, inkOf(classOf(labelOf(known))), 1.3);
  return tip;
}

/**
 * Where a track of the past began: what its number is beside, however short it was.
 * @param {CanvasRenderingContext2D} context
 * @param {string} colour
 * @param {Point} at
 */
function drawDot(context, colour, { x, y }) {
  context.beginPath();
  context.arc(x, y, 2.2, 0, 2 * Math.PI);
  context.fillStyle = colour;
  context.fill();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {ShownTrack} track
 * @param {Point} at
 * @param {boolean} isChosen
 */
function drawSymbol(context, track, { x, y }, isChosen) {
  const shown = classOf(labelOf(track.known));
  const colour = inkOf(shown);
  shapePath(context, shown.shape, x, y, SYMBOL_PX);
  context.setLineDash(track.coasting ? [3, 3] : []);
  if (shown.shape === "disc" && !track.coasting) {
    context.fillStyle = colour;
    context.fill();
  }
  strokeCased(context, colour, 2);
  context.setLineDash([]);
  if (!isChosen) return;
  context.beginPath();
  context.arc(x, y, SYMBOL_PX + 6, 0, 2 * Math.PI);
  strokeCased(context, ink().tool, 1.5);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Labels} labels
 * @param {ShownTrack} track
 * @param {number} x
 * @param {number} y
 * @param {string} colour
 * @param {boolean} isLong
 */
function drawLabel(context, labels, track, x, y, colour, isLong) {
  const { known } = track;
  const id = shortId(known.id);
  const said = labelOf(known);
  const more = track.ended ? said : `${known.newest.speed_m_s.toFixed(1)} m/s`;
  for (const text of isLong && more ? [`${id}  ${more}`, id] : [id]) {
    const spot = labels.place(known.id, context.measureText(text).width, x, y);
    if (!spot) continue;
    textCased(context, text, spot.left, spot.middle, colour);
    return;
  }
}

/**
 * The track at a pixel: the nearest symbol within `reachPx`, else the nearest tail; null: none.
 * @param {DrawnTrack[]} drawn
 * @param {number} x
 * @param {number} y
 * @param {number} reachPx
 */
export function trackAt(drawn, x, y, reachPx) {
  let found = null;
  let nearest = reachPx;
  for (const track of drawn) {
    const distance = Math.hypot(track.x - x, track.y - y);
    if (distance < nearest) [found, nearest] = [track.id, distance];
  }
  if (found !== null) return found;
  nearest = reachPx / 2;
  for (const { id, path } of drawn) {
    for (let i = 1; i < path.length; i++) {
      const distance = distanceToSegment(x, y, path[i - 1], path[i]);
      if (distance < nearest) [found, nearest] = [id, distance];
    }
  }
  return found;
}

/**
 * @param {number} x
 * @param {number} y
 * @param {Point} a
 * @param {Point} b
 */
export function distanceToSegment(x, y, a, b) {
  const [right, down] = [b.x - a.x, b.y - a.y];
  const square = right * right + down * down;
  const t = square ? Math.min(Math.max(((x - a.x) * right + (y - a.y) * down) / square, 0), 1) : 0;
  return Math.hypot(x - a.x - t * right, y - a.y - t * down);
}
