// What is drawn over pictures with: the palette's colours, read once for each palette, and strokes that show on any echo.

import { colour, onPalette } from "../shared/theme.js";

/**
 * @typedef {object} Ink
 * @property {string} grid
 * @property {string} label
 * @property {string} casing around lines and letters
 * @property {string} track of no class
 * @property {string} zone
 * @property {string} mask what an ignored zone is dimmed with
 * @property {string} tool lines of a tool, handles, the chosen track
 * @property {string[]} classes
 */

export const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';
export const CLASS_INKS = 6;

/** @type {Ink | null} */
let known = null;

/** The colours of the palette that the page has now. @returns {Ink} */
export function ink() {
  known ??= {
    grid: colour("grid"),
    label: colour("label"),
    casing: colour("casing"),
    track: colour("track"),
    zone: colour("zone"),
    mask: colour("mask"),
    tool: colour("text"),
    classes: Array.from({ length: CLASS_INKS }, (_, i) => colour(`class-${i + 1}`)),
  };
  return known;
}

onPalette(() => (known = null));

/**
 * Strokes the path in a colour, with a casing around it.
 * @param {CanvasRenderingContext2D} context
 * @param {string} colour
 * @param {number} width
 */
export function strokeCased(context, colour, width) {
  context.strokeStyle = ink().casing;
  context.lineWidth = width + 2.5;
  context.stroke();
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke();
}

/**
 * Writes a text with a casing around its letters.
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} x
 * @param {number} y
 * @param {string} colour
 */
export function textCased(context, text, x, y, colour) {
  context.strokeStyle = ink().casing;
  context.lineWidth = 3;
  context.strokeText(text, x, y);
  context.fillStyle = colour;
  context.fillText(text, x, y);
}
