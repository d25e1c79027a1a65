// The read-out: what is under the cursor, in one line.

import { number, time } from "../shared/format.js";

/**
 * @typedef {import("./place.js").Place} Place
 * @typedef {import("../shared/connection.js").PictureHead} PictureHead
 * @typedef {import("../shared/connection.js").Pose} Pose
 */

const DEGREES = 180 / Math.PI;
const METRES_PER_DEGREE = 111_195; // of latitude, on a sphere of 6371 km: right to 0.6 %

/**
 * Latitude and longitude of a place in sonar coordinates; null where the sonar's own are not known.
 * @param {Pose | undefined} pose
 * @param {number} x_m
 * @param {number} y_m
 */
export function positionOf(pose, x_m, y_m) {
  const { latitude_deg, longitude_deg, heading_rad } = pose ?? {};
  if (latitude_deg === undefined || longitude_deg === undefined || heading_rad === undefined) return null;
  const north = y_m * Math.cos(heading_rad) - x_m * Math.sin(heading_rad);
  const east = y_m * Math.sin(heading_rad) + x_m * Math.cos(heading_rad);
  return {
    latitude_deg: latitude_deg + north / METRES_PER_DEGREE,
    longitude_deg: longitude_deg + east / (METRES_PER_DEGREE * Math.cos(latitude_deg / DEGREES)),
  };
}

/**
 * What is under a pixel, in parts; empty outside of the picture.
 * @param {Place} place
 * @param {PictureHead} head of the picture
 * @param {number | null} level_db there
 * @param {number} x
 * @param {number} y
 * @returns {string[]}
 */
export function readAt(place, head, level_db, x, y) {
  const level = level_db === null ? [] : [`${level_db <= head.db_min ? "≤ " : ""}${number(level_db, 1, "dB")}${head.quantity === "Sv" ? " Sv" : ""}`];
  if (place.kind === "echogram") {
    const found = place.toRange(x, y);
    return found ? [number(found.range_m, 2, "m"), time(found.column.time_s, { zoned: false }), ...level] : [];
  }
  const polar = place.toPolar(x, y);
  if (!polar) return [];
  const { range_m, bearing_rad } = polar;
  const [x_m, y_m] = [range_m * Math.sin(bearing_rad), range_m * Math.cos(bearing_rad)];
  const position = positionOf(head.pose, x_m, y_m);
  return [
    number(range_m, 2, "m"),
    `${number(bearing_rad * DEGREES, 1)}°`,
    `x ${number(x_m, 2)}  y ${number(y_m, 2, "m")}`,
    ...level,
    ...(position ? [`${number(position.latitude_deg, 6)}°, ${number(position.longitude_deg, 6)}°`] : []),
  ];
}
