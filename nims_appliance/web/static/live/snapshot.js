// The picture of a pane as a PNG: with its scale, its time, the sonar's name and what the colours mean.

import { context2d } from "../shared/elements.js";
import { colour } from "../shared/theme.js";
import { echoColours } from "./colormap.js";

/**
 * @typedef {object} Subject
 * @property {HTMLCanvasElement} picture
 * @property {HTMLCanvasElement} overlay
 * @property {import("../shared/connection.js").PictureHead} head
 * @property {import("./view.js").Look} look
 * @property {string} title
 * @property {number} width in CSS pixels
 * @property {number} height
 * @property {number} ratio
 */

const FOOT_PX = 56;
const EDGE_PX = 16;
const BAR_PX = { width: 150, height: 8 };
const FONT = 'px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

/**
 * @param {Subject} subject what is on the screen now
 * @returns {HTMLCanvasElement}
 */
export function drawSnapshot({ picture, overlay, head, look, title, width, height, ratio }) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round((height + FOOT_PX) * ratio);
  const context = context2d(canvas);
  context.scale(ratio, ratio);
  context.fillStyle = colour("view");
  context.fillRect(0, 0, width, height + FOOT_PX);
  context.drawImage(picture, 0, 0, width, height);
  context.drawImage(overlay, 0, 0, width, height);

  context.fillStyle = colour("line");
  context.fillRect(0, height, width, 1);
  const barLeft = width - EDGE_PX - BAR_PX.width;
  context.textBaseline = "alphabetic";
  context.font = `600 14${FONT}`;
  context.fillStyle = colour("text");
  context.fillText(title, EDGE_PX, height + 23, barLeft - 2 * EDGE_PX);
  context.font = `12${FONT}`;
  context.fillStyle = colour("quiet");
  const time = new Date(head.time_s * 1000).toISOString().replace("T", " ").replace("Z", " UTC");
  context.fillText(`${time}, ping ${head.ping}`, EDGE_PX, height + 42, barLeft - 2 * EDGE_PX);

  const colours = echoColours(look.map, look.palette);
  for (let x = 0; x < BAR_PX.width; x++) {
    const i = Math.round((x / (BAR_PX.width - 1)) * 255) * 4;
    context.fillStyle = `rgb(${colours[i]} ${colours[i + 1]} ${colours[i + 2]})`;
    context.fillRect(barLeft + x, height + 14, 1.5, BAR_PX.height);
  }
  context.fillStyle = colour("quiet");
  context.textAlign = "left";
  context.fillText(look.low_db.toFixed(0), barLeft, height + 38);
  context.textAlign = "right";
  context.fillText(look.high_db.toFixed(0), barLeft + BAR_PX.width, height + 38);
  context.textAlign = "center";
  context.font = `11${FONT}`;
  const unit = head.quantity === "Sv" ? `Sv, ${head.unit}` : head.unit;
  context.fillText(unit, barLeft + BAR_PX.width / 2, height + 38, BAR_PX.width - 60);
  return canvas;
}

/**
 * Hands a canvas to the browser as a file to keep.
 * @param {HTMLCanvasElement} canvas
 * @param {string} name of the file
 */
export async function saveCanvas(canvas, name) {
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  if (!(blob instanceof Blob)) throw new Error("the browser made no PNG of the picture");
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
