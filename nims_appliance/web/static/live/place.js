// Where things are on the screen: each view has a place, which turns metres, bearings and pings into pixels and back.
// All pixels are CSS pixels of the view, from its upper left corner.

/**
 * @typedef {import("../shared/connection.js").PictureHead} PictureHead
 * @typedef {{x: number, y: number}} Point
 * @typedef {{range_m: number, bearing_rad: number}} Polar
 * @typedef {{left: number, top: number, width: number, height: number}} Box
 * @typedef {{x: number, frame: number, time_s: number}} Column a ping of an echogram and the middle of its column
 */

/**
 * Limits of bearing (rad) and range (m), and the bounding box in metres (x right, y ahead).
 * @typedef {object} Geometry
 * @property {number} minBearing
 * @property {number} maxBearing
 * @property {number} minRange
 * @property {number} maxRange
 * @property {number} left
 * @property {number} right
 * @property {number} bottom
 * @property {number} top
 */

const FAN_MARGIN = { side: 46, above: 30, below: 16 };
const AXES_MARGIN = { left: 46, right: 50, top: 14, bottom: 28 };
const COLUMN_PX = 2; // of an echogram, before it is zoomed
const LARGEST_ZOOM = 40;

/**
 * The limits of a multibeam ping: half a beam outside of the outermost ones, where the rows begin and end.
 * @param {PictureHead} head
 * @returns {Geometry}
 */
export function geometryOf(head) {
  const bearings = head.bearing_rad;
  const last = bearings.length - 1;
  const first = last > 0 ? (bearings[1] - bearings[0]) / 2 : head.beam_width_rad / 2;
  const final = last > 0 ? (bearings[last] - bearings[last - 1]) / 2 : first;
  const minBearing = bearings[0] - first;
  const maxBearing = bearings[last] + final;
  const minRange = Math.max(0, head.range_first_m);
  const maxRange = head.range_last_m;
  const xs = [0];
  const ys = [0];
  const add = (/** @type {number} */ angle) => {
    xs.push(maxRange * Math.sin(angle));
    ys.push(maxRange * Math.cos(angle));
  };
  add(minBearing);
  add(maxBearing);
  for (const extreme of [-Math.PI, -Math.PI / 2, 0, Math.PI / 2, Math.PI]) {
    if (extreme > minBearing && extreme < maxBearing) add(extreme);
  }
  return {
    minBearing, maxBearing, minRange, maxRange,
    left: Math.min(...xs), right: Math.max(...xs), bottom: Math.min(...ys), top: Math.max(...ys),
  };
}

/** How far a view is zoomed, and what is in its middle; 1 and 0: all of the picture. */
export class Viewport {
  zoomX = 1;
  zoomY = 1;
  /** Shift of the picture, in widths and heights of its area. */
  x = 0;
  y = 0;

  get isWhole() {
    return this.zoomX === 1 && this.zoomY === 1 && this.x === 0 && this.y === 0;
  }

  reset() {
    this.zoomX = this.zoomY = 1;
    this.x = this.y = 0;
  }

  /**
   * Zooms about a point of the area, which stays where it is.
   * @param {number} factorX
   * @param {number} factorY
   * @param {number} atX from the middle of the area, in widths
   * @param {number} atY in heights
   */
  zoom(factorX, factorY, atX, atY) {
    const zoomX = Math.min(Math.max(this.zoomX * factorX, 1), LARGEST_ZOOM);
    const zoomY = Math.min(Math.max(this.zoomY * factorY, 1), LARGEST_ZOOM);
    this.x = atX - ((atX - this.x) * zoomX) / this.zoomX;
    this.y = atY - ((atY - this.y) * zoomY) / this.zoomY;
    this.zoomX = zoomX;
    this.zoomY = zoomY;
    this.#keepInside();
  }

  /**
   * @param {number} byX in widths of the area
   * @param {number} byY in heights
   */
  pan(byX, byY) {
    this.x += byX;
    this.y += byY;
    this.#keepInside();
  }

  #keepInside() {
    // The picture always covers the area.
    const [mostX, mostY] = [(this.zoomX - 1) / 2, (this.zoomY - 1) / 2];
    this.x = Math.min(Math.max(this.x, -mostX), mostX);
    this.y = Math.min(Math.max(this.y, -mostY), mostY);
  }
}

/** A multibeam ping in its true geometry; y ahead is up. */
export class FanPlace {
  /** @type {"fan"} */
  kind = "fan";
  head;
  geometry;
  /** @type {Box} what may be drawn into */
  area;
  /** Pixels per metre. */
  scale;
  /** The sonar. */
  x0;
  y0;

  /**
   * @param {PictureHead} head
   * @param {Geometry} geometry
   * @param {number} width
   * @param {number} height
   * @param {Viewport} viewport
   */
  constructor(head, geometry, width, height, viewport) {
    this.head = head;
    this.geometry = geometry;
    this.area = { left: 0, top: 0, width, height };
    const side = Math.min(FAN_MARGIN.side, width * 0.09);
    const { above, below } = FAN_MARGIN;
    const fit = Math.max(
      1e-6,
      Math.min(
        (width - 2 * side) / (geometry.right - geometry.left),
        (height - above - below) / (geometry.top - geometry.bottom),
      ),
    );
    this.scale = fit * viewport.zoomX;
    const middleX = (geometry.left + geometry.right) / 2;
    const middleY = (geometry.top + geometry.bottom) / 2;
    this.x0 = width * (0.5 + viewport.x) - this.scale * middleX;
    this.y0 = height * (0.5 + viewport.y) + this.scale * middleY + ((above - below) / 2) * viewport.zoomY;
  }

  /**
   * @param {number} range_m
   * @param {number} bearing_rad
   * @returns {Point}
   */
  toScreen(range_m, bearing_rad) {
    return this.xyToScreen(range_m * Math.sin(bearing_rad), range_m * Math.cos(bearing_rad));
  }

  /**
   * @param {number} x_m
   * @param {number} y_m
   * @returns {Point}
   */
  xyToScreen(x_m, y_m) {
    return { x: this.x0 + this.scale * x_m, y: this.y0 - this.scale * y_m };
  }

  /**
   * What is at a pixel; null outside of the picture.
   * @param {number} x
   * @param {number} y
   * @returns {Polar | null}
   */
  toPolar(x, y) {
    const [x_m, y_m] = [(x - this.x0) / this.scale, (this.y0 - y) / this.scale];
    return inside(this.geometry, Math.hypot(x_m, y_m), Math.atan2(x_m, y_m));
  }
}

/** A multibeam ping as a rectangle: bearing to the right, range up. */
export class BscanPlace {
  /** @type {"bscan"} */
  kind = "bscan";
  head;
  geometry;
  /** @type {Box} */
  area;
  /** Pixels per metre of range. */
  scale;
  /** Pixels per radian of bearing. */
  bearingScale;
  #x0; // pixel of bearing 0
  #y0; // pixel of range 0

  /**
   * @param {PictureHead} head
   * @param {Geometry} geometry
   * @param {number} width
   * @param {number} height
   * @param {Viewport} viewport
   */
  constructor(head, geometry, width, height, viewport) {
    this.head = head;
    this.geometry = geometry;
    const area = (this.area = insideOfAxes(width, height));
    const { minBearing, maxBearing, minRange, maxRange } = geometry;
    this.bearingScale = (area.width * viewport.zoomX) / (maxBearing - minBearing);
    this.scale = (area.height * viewport.zoomY) / (maxRange - minRange);
    this.#x0 = area.left + area.width * (0.5 + viewport.x) - (this.bearingScale * (minBearing + maxBearing)) / 2;
    this.#y0 = area.top + area.height * (0.5 + viewport.y) + (this.scale * (minRange + maxRange)) / 2;
  }

  /**
   * @param {number} range_m
   * @param {number} bearing_rad
   * @returns {Point}
   */
  toScreen(range_m, bearing_rad) {
    return { x: this.#x0 + this.bearingScale * bearing_rad, y: this.#y0 - this.scale * range_m };
  }

  /**
   * @param {number} x_m
   * @param {number} y_m
   * @returns {Point}
   */
  xyToScreen(x_m, y_m) {
    return this.toScreen(Math.hypot(x_m, y_m), Math.atan2(x_m, y_m));
  }

  /**
   * What is at a pixel; null outside of the picture.
   * @param {number} x
   * @param {number} y
   * @returns {Polar | null}
   */
  toPolar(x, y) {
    if (!contains(this.area, x, y)) return null;
    return inside(this.geometry, (this.#y0 - y) / this.scale, (x - this.#x0) / this.bearingScale);
  }
}

/** Pings as columns, the newest at the right; range down. */
export class EchogramPlace {
  /** @type {"echogram"} */
  kind = "echogram";
  head;
  /** @type {Box} */
  area;
  /** Pixels per metre of range. */
  scale;
  /** Width of a column in pixels. */
  columnPx;
  /** @type {Column[]} those that are seen, the oldest first */
  columns;
  /** Which of all pings, counted from the sonar's first, the first of the columns is. */
  firstNumber;
  #y0; // pixel of range 0

  /**
   * @param {PictureHead} head of the newest column
   * @param {number} width
   * @param {number} height
   * @param {Viewport} viewport
   * @param {{frame: number, time_s: number}[]} pings that there are, oldest first
   * @param {number} last which of them is at the right
   * @param {number} firstNumber of the first of the pings
   */
  constructor(head, width, height, viewport, pings, last, firstNumber) {
    this.head = head;
    const area = (this.area = insideOfAxes(width, height));
    const { range_first_m: near, range_last_m: far } = head;
    this.scale = (area.height * viewport.zoomY) / (far - near);
    this.#y0 = area.top + area.height * (0.5 + viewport.y) - (this.scale * (near + far)) / 2;
    this.columnPx = COLUMN_PX * viewport.zoomX;
    // Zoomed, the newest column may lie right of what is seen: the area is moved back in time.
    const right = area.left + area.width * (1 + viewport.x + (viewport.zoomX - 1) / 2);
    this.columns = [];
    const from = Math.max(0, last - Math.ceil((right - area.left) / this.columnPx));
    this.firstNumber = firstNumber + from;
    for (let i = from; i <= last; i++) {
      const x = right - (last - i + 0.5) * this.columnPx;
      if (x > area.left + area.width + this.columnPx / 2) break;
      this.columns.push({ x, frame: pings[i].frame, time_s: pings[i].time_s });
    }
  }

  /**
   * The pixel of a range.
   * @param {number} range_m
   */
  yOf(range_m) {
    return this.#y0 + this.scale * range_m;
  }

  /**
   * The x of the column of a frame; null where it is older than all that are seen.
   * @param {number} frame
   */
  xOf(frame) {
    const columns = this.columns;
    if (!columns.length || frame < columns[0].frame) return null;
    let low = 0;
    let high = columns.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (columns[middle].frame <= frame) low = middle;
      else high = middle - 1;
    }
    return columns[low].x;
  }

  /**
   * The column and the range at a pixel; null outside of the picture.
   * @param {number} x
   * @param {number} y
   * @returns {{range_m: number, column: Column} | null}
   */
  toRange(x, y) {
    const columns = this.columns;
    if (!contains(this.area, x, y) || !columns.length) return null;
    const i = Math.round((x - columns[0].x) / this.columnPx);
    const range_m = (y - this.#y0) / this.scale;
    if (i < 0 || i >= columns.length || range_m < this.head.range_first_m || range_m > this.head.range_last_m) return null;
    return { range_m, column: columns[i] };
  }
}

/** @typedef {FanPlace | BscanPlace | EchogramPlace} Place */

/**
 * What a pane shows: its overlay is drawn from it. `live` is false while the page is paused at an earlier moment; then
 * `picture` is the one of that moment (`picture.head.frame`, `.ping`, `.time_s`).
 * @typedef {object} Scene
 * @property {Place} place
 * @property {import("../shared/connection.js").Picture} picture
 * @property {boolean} live
 * @property {string} channel
 * @property {number} oldestFrame of the pings that can be stepped back to
 * @property {number} width
 * @property {number} height
 * @property {number} nowS
 */

/**
 * @param {number} width
 * @param {number} height
 * @returns {Box}
 */
function insideOfAxes(width, height) {
  const { left, right, top, bottom } = AXES_MARGIN;
  return { left, top, width: Math.max(1, width - left - right), height: Math.max(1, height - top - bottom) };
}

/**
 * @param {Box} box
 * @param {number} x
 * @param {number} y
 */
function contains(box, x, y) {
  return x >= box.left && x <= box.left + box.width && y >= box.top && y <= box.top + box.height;
}

/**
 * @param {Geometry} geometry
 * @param {number} range_m
 * @param {number} bearing_rad
 * @returns {Polar | null}
 */
function inside(geometry, range_m, bearing_rad) {
  if (range_m < geometry.minRange || range_m > geometry.maxRange) return null;
  if (bearing_rad < geometry.minBearing || bearing_rad > geometry.maxBearing) return null;
  return { range_m, bearing_rad };
}
