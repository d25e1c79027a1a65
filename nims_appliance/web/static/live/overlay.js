// What is drawn over the pictures: grids with labels, and tracks.

/**
 * @typedef {import("../shared/connection.js").Zone} Zone
 * @typedef {{scale: number, x0: number, y0: number, x: (metres: number) => number, y: (metres: number) => number}} Transform
 * @typedef {{geometry: import("./place.js").Geometry, transform: Transform}} FanPlace
 * @typedef {import("./place.js").Box & {head: import("../shared/connection.js").PictureHead,
 *   columns: import("./place.js").Column[], xOf: (frame: number) => number | null}} EchogramPlace
 * @typedef {import("./tracks.js").FanTrack} FanTrack
 * @typedef {import("./tracks.js").EchogramTrack} EchogramTrack
 */

const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
const GRID = "rgb(217 225 232 / 0.16)";
const LABEL = "#93a1af";
const TRACK = "#ff8a5c";
const ZONE = "#7fc8e8";
const IGNORED = "rgb(8 11 15 / 0.45)";
const CASING = "rgb(8 11 15 / 0.8)";

/**
 * A round step (1, 2 or 5 times a power of ten) that divides `span` into at most `parts`.
 * @param {number} span
 * @param {number} parts
 */
export function roundStep(span, parts) {
  const raw = span / parts;
  const power = 10 ** Math.floor(Math.log10(raw));
  return power * ([1, 2, 5].find((factor) => factor * power >= raw * 0.999) ?? 10);
}

/**
 * @param {number} value
 * @param {number} step
 */
function metres(value, step) {
  return value.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
}

/**
 * The last digits are enough to tell the tracks of one picture apart.
 * @param {string} id
 */
export function shortId(id) {
  return String(Number(BigInt(id) % 10000n));
}

/**
 * Range rings and bearing lines with their labels.
 * @param {CanvasRenderingContext2D} context
 * @param {FanPlace} place
 */
export function drawFanGrid(context, { geometry, transform }) {
  const { minBearing, maxBearing, minRange, maxRange } = geometry;
  const { x0, y0, scale } = transform;
  // Canvas angles run clockwise from +x; a bearing runs clockwise from straight up.
  const from = minBearing - Math.PI / 2;
  const to = maxBearing - Math.PI / 2;
  context.save();
  context.font = FONT;
  context.lineWidth = 1;
  context.strokeStyle = GRID;
  context.fillStyle = LABEL;
  context.textBaseline = "middle";
  context.textAlign = "left";
  const step = roundStep(maxRange, Math.min(6, Math.max(2, (scale * maxRange) / 70)));
  const fits = maxBearing - minBearing < 1.9 * Math.PI;
  for (let range = step; range < maxRange * 1.0001; range += step) {
    if (range < minRange) continue;
    context.beginPath();
    context.arc(x0, y0, range * scale, from, to);
    context.stroke();
    // The outermost corner belongs to the bearing's label.
    if (!fits || (maxRange - range) * scale < 18) continue;
    const text = metres(range, step) + (range === step ? " m" : "");
    const gap = 7;
    const x = x0 + scale * range * Math.sin(maxBearing) + gap * Math.cos(maxBearing);
    const y = y0 - scale * range * Math.cos(maxBearing) + gap * Math.max(0.4, Math.sin(maxBearing));
    context.fillText(text, x, y);
  }
  context.textAlign = "center";
  const degrees = 180 / Math.PI;
  const spread = (maxBearing - minBearing) * degrees;
  const across = scale * maxRange * (maxBearing - minBearing);
  const bearingStep = [5, 10, 15, 30, 45, 90].find((candidate) => (across * candidate) / spread > 90) ?? 90;
  const first = Math.ceil((minBearing * degrees) / bearingStep - 1e-6);
  for (let k = first; k * bearingStep <= maxBearing * degrees + 1e-6; k++) {
    const bearing = (k * bearingStep) / degrees;
    const [sin, cos] = [Math.sin(bearing), Math.cos(bearing)];
    context.beginPath();
    context.moveTo(x0 + scale * minRange * sin, y0 - scale * minRange * cos);
    context.lineTo(x0 + scale * maxRange * sin, y0 - scale * maxRange * cos);
    context.stroke();
    const out = scale * maxRange + 14;
    context.fillText(`${k * bearingStep}°`, x0 + out * sin, y0 - out * cos);
  }
  context.restore();
}

/**
 * Zones: thin outlines with their names; what is ignored is dimmed.
 * @param {CanvasRenderingContext2D} context
 * @param {FanPlace} place
 * @param {Zone[]} zones
 */
export function drawFanZones(context, { geometry, transform }, zones) {
  const { minBearing, maxBearing, minRange, maxRange } = geometry;
  const { x0, y0, scale } = transform;
  const radians = Math.PI / 180;
  context.save();
  context.font = FONT;
  context.lineWidth = 1;
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (const zone of zones) {
    const near = Math.max(zone.min_range_m, minRange);
    const far = Math.min(zone.max_range_m, maxRange);
    const left = Math.max(zone.min_bearing_deg * radians, minBearing);
    const right = Math.min(zone.max_bearing_deg * radians, maxBearing);
    if (near >= far || left >= right) continue;
    const ignored = zone.kind === "ignored";
    context.beginPath();
    context.arc(x0, y0, far * scale, left - Math.PI / 2, right - Math.PI / 2);
    context.arc(x0, y0, near * scale, right - Math.PI / 2, left - Math.PI / 2, true);
    context.closePath();
    context.fillStyle = IGNORED;
    if (ignored) context.fill();
    context.strokeStyle = context.fillStyle = ignored ? LABEL : ZONE;
    context.setLineDash(ignored ? [2, 4] : []);
    context.stroke();
    context.setLineDash([]);
    const [middle, edge] = [(left + right) / 2, far * scale - 11];
    textTwice(context, zone.name, x0 + edge * Math.sin(middle), y0 - edge * Math.cos(middle));
  }
  context.restore();
}

/**
 * Strokes the path in the colour of tracks, with a dark casing around it.
 * @param {CanvasRenderingContext2D} context
 * @param {number} width
 */
function strokeTwice(context, width) {
  context.lineCap = "round";
  context.lineJoin = "round";
  context.strokeStyle = CASING;
  context.lineWidth = width + 2.5;
  context.stroke();
  context.strokeStyle = TRACK;
  context.lineWidth = width;
  context.stroke();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} x
 * @param {number} y
 */
function textTwice(context, text, x, y) {
  context.strokeStyle = CASING;
  context.lineWidth = 3;
  context.lineJoin = "round";
  context.strokeText(text, x, y);
  context.fillText(text, x, y);
}

/** @typedef {[number, number, number, number]} Box left, top, right, bottom */

/** Finds room for labels: `place` draws a text beside a point where no other stands, or not at all. */
class Labels {
  /** @type {Box[]} */
  #taken = [];
  #spots;

  /** @param {[number, number][]} spots offsets that are tried, the best first */
  constructor(spots) {
    this.#spots = spots;
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {string} text
   * @param {number} x
   * @param {number} y
   * @param {number} viewWidth
   */
  place(context, text, x, y, viewWidth) {
    const width = context.measureText(text).width;
    for (const [right, down] of this.#spots) {
      const [left, middle] = [right < 0 ? x + right - width : x + right, y + down];
      /** @type {Box} */
      const box = [left - 2, middle - 8, left + width + 2, middle + 8];
      if (box[0] < 0 || box[2] > viewWidth || this.#taken.some((other) => overlap(box, other))) continue;
      this.#taken.push(box);
      textTwice(context, text, left, middle);
      return;
    }
  }
}

/**
 * @param {Box} a
 * @param {Box} b
 */
function overlap(a, b) {
  return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
}

/**
 * Tracks in metres: a tail, a ring at the newest position, a stroke to where it is in one second.
 * @param {CanvasRenderingContext2D} context
 * @param {FanPlace} place
 * @param {FanTrack[]} tracks
 * @param {number} width
 */
export function drawFanTracks(context, { transform }, tracks, width) {
  context.save();
  context.font = FONT;
  context.textBaseline = "middle";
  context.textAlign = "left";
  const labels = new Labels([[11, 0], [-11, 0], [8, -15], [8, 15]]);
  // The longest seen get their labels first.
  for (const track of [...tracks].sort((a, b) => b.newest.hits - a.newest.hits)) {
    context.globalAlpha = track.fade;
    const points = track.points;
    if (points.length > 1) {
      context.beginPath();
      points.forEach(({ x_m, y_m, afterGap }, i) => {
        context[i && !afterGap ? "lineTo" : "moveTo"](transform.x(x_m), transform.y(y_m));
      });
      strokeTwice(context, 1.6);
    }
    const { x_m, y_m, vx_m_s, vy_m_s, speed_m_s, state } = track.newest;
    const [x, y] = [transform.x(x_m), transform.y(y_m)];
    if (!track.ended && speed_m_s > 0.05) {
      const unit = 1 / Math.hypot(vx_m_s, vy_m_s || 1e-9);
      const length = transform.scale * speed_m_s;
      if (length > 8) {
        context.beginPath();
        context.moveTo(x + 6 * vx_m_s * unit, y - 6 * vy_m_s * unit);
        context.lineTo(transform.x(x_m + vx_m_s), transform.y(y_m + vy_m_s));
        strokeTwice(context, 1.2);
      }
    }
    context.beginPath();
    context.arc(x, y, 5, 0, 2 * Math.PI);
    context.setLineDash(state === "coasting" ? [3, 3] : []);
    strokeTwice(context, 2);
    context.setLineDash([]);
    if (track.ended) continue;
    context.fillStyle = TRACK;
    labels.place(context, `${shortId(track.id)}  ${speed_m_s.toFixed(1)} m/s`, x, y, width);
  }
  context.restore();
}

/**
 * Range and time axes of an echogram.
 * @param {CanvasRenderingContext2D} context
 * @param {EchogramPlace} place
 */
export function drawEchogramGrid(context, { left, top, width, height, head, columns }) {
  context.save();
  context.font = FONT;
  context.lineWidth = 1;
  context.strokeStyle = GRID;
  context.fillStyle = LABEL;
  const near = head.range_first_m;
  const far = head.range_last_m;
  const step = roundStep(far - near, Math.max(2, height / 70));
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (let range = Math.ceil(near / step) * step; range <= far; range += step) {
    const y = top + ((range - near) / (far - near)) * height;
    context.beginPath();
    context.moveTo(left, y);
    context.lineTo(left + width, y);
    context.stroke();
    if (y > top + 6 && y < top + height + 1) context.fillText(metres(range, step), left - 8, y);
  }
  context.fillText("m", left - 8, top + 4);
  context.textAlign = "center";
  context.textBaseline = "top";
  let nextX = left + width - 34;
  for (let i = columns.length - 1; i >= 0; i--) {
    if (columns[i].x > nextX || columns[i].x < left + 30) continue;
    context.fillText(new Date(columns[i].time_s * 1000).toISOString().slice(11, 19), columns[i].x, top + height + 6);
    nextX = columns[i].x - 130;
  }
  context.restore();
}

/**
 * Tracks over pings and range. `xOf(frame)` gives the column, or null left of the picture.
 * @param {CanvasRenderingContext2D} context
 * @param {EchogramPlace} place
 * @param {EchogramTrack[]} tracks
 */
export function drawEchogramTracks(context, { left, top, width, height, head, xOf }, tracks) {
  const y = (/** @type {number} */ range) => top + ((range - head.range_first_m) / (head.range_last_m - head.range_first_m)) * height;
  context.save();
  context.beginPath();
  context.rect(left, top, width, height);
  context.clip();
  context.font = FONT;
  context.textBaseline = "middle";
  context.textAlign = "left";
  const labels = new Labels([[0, -13], [0, 13]]);
  for (const track of tracks) {
    const points = track.points.flatMap(({ frame, range_m, afterGap }) => {
      const x = xOf(frame);
      return x === null ? [] : [{ x, y: y(range_m), afterGap }];
    });
    if (!points.length) continue;
    const [first, last] = [points[0], points[points.length - 1]];
    context.globalAlpha = track.ended ? 0.75 : 1;
    context.beginPath();
    points.forEach(({ x, y, afterGap }, i) => context[i && !afterGap ? "lineTo" : "moveTo"](x, y));
    strokeTwice(context, 1.6);
    context.fillStyle = TRACK;
    labels.place(context, shortId(track.id), first.x, Math.max(top + 14, first.y), left + width);
    if (!track.ended) {
      context.beginPath();
      context.arc(last.x, last.y, 4, 0, 2 * Math.PI);
      strokeTwice(context, 1.6);
    }
  }
  context.restore();
}
