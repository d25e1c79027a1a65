// Classes of tracks: each has a shape and a colour, so that it is told apart without seeing colours.

import { CLASS_INKS, FONT, ink, strokeCased, textCased } from "./ink.js";
import { labelOf } from "./tracks.js";

/** @typedef {"ring" | "disc" | "diamond" | "square" | "up" | "down"} Shape */
/** @typedef {{label: string, shape: Shape, ink: number}} TrackClass ink: number of its colour; -1: that of no class */

/** @type {TrackClass} */
const NONE = { label: "", shape: "ring", ink: -1 };
/** Labels of the built-in classifier. @type {TrackClass[]} */
const BUILT_IN = [
  { label: "probable animal", shape: "disc", ink: 0 },
  { label: "possible animal", shape: "ring", ink: 1 },
  { label: "drifting", shape: "diamond", ink: 2 },
  { label: "structure", shape: "square", ink: 3 },
];
/** For what classifiers of plugins say, in the order of its coming. @type {[Shape, number][]} */
const OTHERS = [["up", 4], ["down", 5], ["disc", 4], ["diamond", 5], ["square", 4], ["ring", 5]];

/** @type {Map<string, TrackClass>} */
const classes = new Map(BUILT_IN.map((known) => [known.label, known]));

/**
 * How tracks of a label are drawn; the empty one is that of tracks that have no class (yet).
 * @param {string} label
 */
export function classOf(label) {
  if (!label) return NONE;
  let known = classes.get(label);
  if (!known) {
    const [shape, number] = OTHERS[(classes.size - BUILT_IN.length) % OTHERS.length];
    known = { label, shape, ink: number % CLASS_INKS };
    classes.set(label, known);
  }
  return known;
}

/** @param {TrackClass} known */
export function inkOf(known) {
  return known.ink < 0 ? ink().track : ink().classes[known.ink];
}

/**
 * Makes the path of a shape around a point.
 * @param {CanvasRenderingContext2D} context
 * @param {Shape} shape
 * @param {number} x
 * @param {number} y
 * @param {number} size about the radius
 */
export function shapePath(context, shape, x, y, size) {
  context.beginPath();
  const corners = {
    ring: null, disc: null,
    diamond: [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]],
    square: [[-1, -1], [1, -1], [1, 1], [-1, 1]],
    up: [[0, -1.3], [1.2, 0.9], [-1.2, 0.9]],
    down: [[0, 1.3], [1.2, -0.9], [-1.2, -0.9]],
  }[shape];
  if (!corners) {
    context.arc(x, y, size, 0, 2 * Math.PI);
    return;
  }
  corners.forEach(([right, down], i) => context[i ? "lineTo" : "moveTo"](x + right * size, y + down * size));
  context.closePath();
}

/**
 * What the shapes of the tracks in a picture mean, and where it is written; null: there are none.
 * @typedef {{entries: TrackClass[], box: import("./labels.js").Box}} Legend
 */

/**
 * @param {CanvasRenderingContext2D} context
 * @param {import("./place.js").Place} place
 * @param {import("./tracks.js").ShownTrack[]} tracks
 * @returns {Legend | null}
 */
export function legendOf(context, { area: { left, top } }, tracks) {
  const shown = new Map(tracks.map(({ known }) => [labelOf(known), classOf(labelOf(known))]));
  shown.delete("");
  const entries = [...shown.values()].sort((a, b) => a.label.localeCompare(b.label));
  if (!entries.length) return null;
  context.font = FONT;
  const width = Math.max(...entries.map(({ label }) => context.measureText(label).width));
  return { entries, box: [left + 9, top + 9, left + 29 + width, top + 9 + 18 * entries.length] };
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Legend} legend
 */
export function drawLegend(context, { entries, box: [left, top] }) {
  context.save();
  context.font = FONT;
  context.textBaseline = "middle";
  context.textAlign = "left";
  entries.forEach((known, i) => {
    const [x, y] = [left + 7, top + 9 + 18 * i];
    shapePath(context, known.shape, x, y, 4.5);
    if (known.shape === "disc") {
      context.fillStyle = inkOf(known);
      context.fill();
    }
    strokeCased(context, inkOf(known), 1.8);
    textCased(context, known.label, x + 13, y, ink().label);
  });
  context.restore();
}
