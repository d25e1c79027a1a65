// The triangles that lay a ping's cells on the screen in their true geometry, whatever the spacing of beams and rows.
// A vertex is five numbers: where it is (metres, or bearing and range), and u q, v, q: within a triangle u q and q are
// linear, so that u = (u q) / q keeps its beam along the whole of a wedge.

/** @typedef {import("../shared/connection.js").PictureHead} PictureHead */
/** @typedef {import("./place.js").Geometry} Geometry */
/** @typedef {{at: number, texture: number}[]} Knots increasing `at`, and the texture coordinate there */

const WIDEST_WEDGE_RAD = 0.5 * (Math.PI / 180); // its chord is within 1e-5 of its arc
const RANGE_KNOTS = 64;

/**
 * Where two pictures have the same axes, all that was made from the axes of one serves the other.
 * @param {PictureHead | null} a
 * @param {PictureHead} b
 */
export function sameAxes(a, b) {
  return (
    a !== null && a.rows === b.rows && a.columns === b.columns && a.range_first_m === b.range_first_m &&
    a.range_last_m === b.range_last_m && a.beam_width_rad === b.beam_width_rad && a.kind === b.kind &&
    sameNumbers(a.bearing_rad, b.bearing_rad) && sameNumbers(a.range_m ?? [], b.range_m ?? [])
  );
}

/**
 * @param {number[]} a
 * @param {number[]} b
 */
function sameNumbers(a, b) {
  return a === b || (a.length === b.length && a.every((value, i) => value === b[i]));
}

/**
 * @param {PictureHead} head
 * @param {Geometry} geometry
 * @returns {Knots}
 */
function bearingKnots(head, { minBearing, maxBearing }) {
  const centres = head.bearing_rad.map((at, i) => ({ at, texture: (i + 0.5) / head.columns }));
  const coarse = [{ at: minBearing, texture: 0 }, ...centres, { at: maxBearing, texture: 1 }];
  const fine = [coarse[0]];
  for (let i = 1; i < coarse.length; i++) {
    const [from, to] = [coarse[i - 1], coarse[i]];
    const pieces = Math.max(1, Math.ceil((to.at - from.at) / WIDEST_WEDGE_RAD));
    for (let k = 1; k <= pieces; k++) {
      const part = k / pieces;
      fine.push({ at: from.at + part * (to.at - from.at), texture: from.texture + part * (to.texture - from.texture) });
    }
  }
  return fine;
}

/**
 * @param {PictureHead} head
 * @param {Geometry} geometry
 * @returns {Knots}
 */
function rangeKnots(head, { minRange, maxRange }) {
  const { range_m, rows, range_first_m: first, range_last_m: last } = head;
  if (!range_m) {
    const textureOf = (/** @type {number} */ range) => (range - first) / (last - first);
    return [minRange, maxRange].map((at) => ({ at, texture: textureOf(at) }));
  }
  const knots = [{ at: minRange, texture: 0 }];
  const step = Math.max(1, Math.floor(rows / RANGE_KNOTS));
  for (let row = 0; row < rows; row += step) {
    if (range_m[row] > minRange) knots.push({ at: range_m[row], texture: (row + 0.5) / rows });
  }
  knots.push({ at: maxRange, texture: 1 });
  return knots;
}

/**
 * @param {PictureHead} head
 * @param {Geometry} geometry
 * @param {boolean} polar a fan in metres; else a rectangle of bearing and range
 */
export function pingMesh(head, geometry, polar) {
  const bearings = bearingKnots(head, geometry);
  const ranges = rangeKnots(head, geometry);
  const vertices = new Float32Array((bearings.length - 1) * (ranges.length - 1) * 6 * 5);
  let next = 0;
  const add = (/** @type {Knots[0]} */ bearing, /** @type {Knots[0]} */ range) => {
    const q = polar ? Math.max(range.at, 1e-6) : 1;
    vertices[next++] = polar ? range.at * Math.sin(bearing.at) : bearing.at;
    vertices[next++] = polar ? range.at * Math.cos(bearing.at) : range.at;
    vertices[next++] = bearing.texture * q;
    vertices[next++] = range.texture;
    vertices[next++] = q;
  };
  for (let i = 1; i < bearings.length; i++) {
    for (let k = 1; k < ranges.length; k++) {
      const [left, right, near, far] = [bearings[i - 1], bearings[i], ranges[k - 1], ranges[k]];
      add(left, near), add(right, near), add(left, far);
      add(right, near), add(right, far), add(left, far);
    }
  }
  return vertices;
}

/**
 * The row of cells of a range; not rounded, not limited to those that there are.
 * @param {PictureHead} head
 * @param {number} range_m
 */
export function rowAt(head, range_m) {
  if (head.range_m) return indexOn(head.range_m, range_m) + 0.5;
  return ((range_m - head.range_first_m) / (head.range_last_m - head.range_first_m)) * head.rows;
}

/**
 * The cell of a ping at a range and bearing: its index into the bytes; -1 outside of all.
 * @param {PictureHead} head
 * @param {number} range_m
 * @param {number} bearing_rad
 */
export function cellAt(head, range_m, bearing_rad) {
  const row = Math.floor(rowAt(head, range_m));
  const column = head.columns > 1 ? Math.floor(indexOn(head.bearing_rad, bearing_rad) + 0.5) : 0;
  if (row < 0 || row >= head.rows || column < 0 || column >= head.columns) return -1;
  return row * head.columns + column;
}

/**
 * The level of a cell in dB: what the byte stands for.
 * @param {PictureHead} head
 * @param {number} byte
 */
export function levelOf(head, byte) {
  return head.db_min + (byte * (head.db_max - head.db_min)) / 255;
}

/**
 * Fractional index into an increasing axis, extrapolated by its end spacing.
 * @param {number[]} axis
 * @param {number} value
 */
function indexOn(axis, value) {
  if (axis.length < 2) return 0;
  let low = 0;
  let high = axis.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (axis[middle] <= value) low = middle;
    else high = middle;
  }
  return low + (value - axis[low]) / (axis[low + 1] - axis[low]);
}
