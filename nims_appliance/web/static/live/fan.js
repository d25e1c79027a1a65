// Fan view: a multibeam ping in its true geometry, from the beam angles and ranges as sent.

import { context2d } from "../shared/elements.js";
import { coloursOfBytes, echoColours } from "./colormap.js";

/**
 * @typedef {import("../shared/connection.js").Picture} Picture
 * @typedef {import("../shared/connection.js").PictureHead} PictureHead
 */

/**
 * Limits of bearing (rad) and range (m), and the bounding box in metres.
 * @typedef {object} FanGeometry
 * @property {number} minBearing
 * @property {number} maxBearing
 * @property {number} minRange
 * @property {number} maxRange
 * @property {number} left
 * @property {number} right
 * @property {number} bottom
 * @property {number} top
 */

/**
 * From metres to pixels.
 * @typedef {object} FanTransform
 * @property {number} scale pixels per metre
 * @property {number} x0
 * @property {number} y0
 * @property {(metres: number) => number} x
 * @property {(metres: number) => number} y
 */

/** @typedef {{geometry: FanGeometry, transform: FanTransform}} FanPlace */

const TABLE = 1024;

/**
 * Where the fan lies: limits of bearing and range, and its bounding box in metres (x right, y ahead).
 * @param {PictureHead} head
 * @returns {FanGeometry}
 */
export function fanGeometry(head) {
  const bearings = head.bearing_rad;
  const last = bearings.length - 1;
  const half = (/** @type {number} */ at, /** @type {number} */ other) => (
    last > 0 ? Math.abs(bearings[at] - bearings[other]) / 2 : head.beam_width_rad / 2
  );
  const minBearing = bearings[0] - half(0, Math.min(1, last));
  const maxBearing = bearings[last] + half(last, Math.max(last - 1, 0));
  const minRange = Math.max(0, head.range_first_m);
  const maxRange = head.range_last_m;
  const corners = [[0, 0]];
  const angles = [minBearing, maxBearing];
  for (const quarter of [-1, -0.5, 0, 0.5, 1]) {
    if (quarter * Math.PI > minBearing && quarter * Math.PI < maxBearing) angles.push(quarter * Math.PI);
  }
  for (const angle of angles) corners.push([maxRange * Math.sin(angle), maxRange * Math.cos(angle)]);
  const xs = corners.map(([x]) => x);
  const ys = corners.map(([, y]) => y);
  return {
    minBearing, maxBearing, minRange, maxRange,
    left: Math.min(...xs), right: Math.max(...xs), bottom: Math.min(...ys), top: Math.max(...ys),
  };
}

/**
 * The transform from metres to pixels that fits the fan into a view with room for the labels.
 * @param {FanGeometry} geometry
 * @param {number} width
 * @param {number} height
 * @returns {FanTransform}
 */
export function fanTransform(geometry, width, height) {
  const side = Math.min(46, width * 0.08);
  const above = 30;
  const below = 16;
  const scale = Math.min(
    (width - 2 * side) / (geometry.right - geometry.left),
    (height - above - below) / (geometry.top - geometry.bottom),
  );
  const x0 = width / 2 - (scale * (geometry.left + geometry.right)) / 2;
  const y0 = above + (height - above - below) / 2 + (scale * (geometry.top + geometry.bottom)) / 2;
  return { scale, x0, y0, x: (metres) => x0 + scale * metres, y: (metres) => y0 - scale * metres };
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

/**
 * Two tables of TABLE entries: texture coordinate (0..1) of evenly spaced bearings, and of evenly spaced ranges.
 * @param {PictureHead} head
 * @param {FanGeometry} geometry
 */
function lookupTables(head, geometry) {
  const tables = new Float32Array(2 * TABLE);
  for (let i = 0; i < TABLE; i++) {
    const t = i / (TABLE - 1);
    const bearing = geometry.minBearing + t * (geometry.maxBearing - geometry.minBearing);
    tables[i] = (indexOn(head.bearing_rad, bearing) + 0.5) / head.columns;
    const range = head.range_first_m + t * (head.range_last_m - head.range_first_m);
    tables[TABLE + i] = head.range_m ? (indexOn(head.range_m, range) + 0.5) / head.rows : t;
  }
  return tables;
}

/**
 * @param {PictureHead | null} a
 * @param {PictureHead} b
 */
function sameAxes(a, b) {
  return (
    a !== null && a.rows === b.rows && a.columns === b.columns && a.range_first_m === b.range_first_m &&
    a.range_last_m === b.range_last_m && a.beam_width_rad === b.beam_width_rad &&
    a.bearing_rad.every((value, i) => value === b.bearing_rad[i]) &&
    (a.range_m ?? []).length === (b.range_m ?? []).length
  );
}

const VERTEX = `#version 300 es
in vec2 corner;
void main() { gl_Position = vec4(corner, 0.0, 1.0); }`;

const FRAGMENT = `#version 300 es
precision highp float;
precision highp sampler2D;
uniform sampler2D picture, tables, colours;
uniform vec2 origin;      // pixels, from the lower left corner
uniform float scale;      // pixels per metre
uniform vec4 limits;      // bearing from, to (rad), range from, to (m)
uniform vec4 levels;      // dB of byte 0, of byte 255, of dark, of bright
out vec4 colour;
float lookup(int row, float t) {
  float at = t * float(${TABLE - 1});
  int low = min(int(at), ${TABLE - 2});
  float a = texelFetch(tables, ivec2(low, row), 0).r;
  return mix(a, texelFetch(tables, ivec2(low + 1, row), 0).r, at - float(low));
}
void main() {
  vec2 metres = (gl_FragCoord.xy - origin) / scale;
  float range = length(metres);
  float bearing = atan(metres.x, metres.y);
  float b = (bearing - limits.x) / (limits.y - limits.x);
  float r = (range - limits.z) / (limits.w - limits.z);
  if (b < 0.0 || b > 1.0 || r < 0.0 || r > 1.0 || range <= 0.0) { colour = vec4(0.0); return; }
  float echo = texture(picture, vec2(lookup(0, b), lookup(1, r))).r;
  float level = (mix(levels.x, levels.y, echo) - levels.z) / (levels.w - levels.z);
  colour = vec4(texture(colours, vec2(clamp(level, 0.0, 1.0) * (255.0 / 256.0) + 0.5 / 256.0, 0.5)).rgb, 1.0);
}`;

class FanWebGL {
  #gl;
  /** @type {PictureHead | null} */
  #head = null;
  /** @type {Record<string, WebGLUniformLocation | null>} */
  #uniforms = {};

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    const gl = canvas.getContext("webgl2", { alpha: true, antialias: false, depth: false, premultipliedAlpha: true });
    if (!gl) throw new Error("no WebGL2");
    this.#gl = gl;
    const program = gl.createProgram();
    for (const source of [VERTEX, FRAGMENT]) {
      const shader = gl.createShader(source === VERTEX ? gl.VERTEX_SHADER : gl.FRAGMENT_SHADER);
      if (!shader) throw new Error("no shader");
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) ?? "not linked");
    gl.useProgram(program);
    for (const name of ["picture", "tables", "colours", "origin", "scale", "limits", "levels"]) {
      this.#uniforms[name] = gl.getUniformLocation(program, name);
    }
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 3, -1, -1, 3]), gl.STATIC_DRAW);
    const corner = gl.getAttribLocation(program, "corner");
    gl.enableVertexAttribArray(corner);
    gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 0, 0);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    this.#texture(0, "picture", gl.LINEAR);
    this.#texture(1, "tables", gl.NEAREST);
    this.#texture(2, "colours", gl.LINEAR);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, echoColours());
  }

  /**
   * @param {number} unit
   * @param {string} name of the sampler in the shader
   * @param {number} filter
   */
  #texture(unit, name, filter) {
    const gl = this.#gl;
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, filter);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, filter);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    gl.uniform1i(this.#uniforms[name], unit);
  }

  /**
   * @param {Picture} picture
   * @param {FanGeometry} geometry
   * @param {FanTransform} transform
   * @param {number} ratio
   * @param {boolean} fresh
   */
  draw({ head, bytes }, geometry, transform, ratio, fresh) {
    const gl = this.#gl;
    if (!sameAxes(this.#head, head)) {
      gl.activeTexture(gl.TEXTURE1);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.R32F, TABLE, 2, 0, gl.RED, gl.FLOAT, lookupTables(head, geometry));
      gl.activeTexture(gl.TEXTURE0);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.R8, head.columns, head.rows, 0, gl.RED, gl.UNSIGNED_BYTE, bytes);
    } else if (fresh) {
      gl.activeTexture(gl.TEXTURE0);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, head.columns, head.rows, gl.RED, gl.UNSIGNED_BYTE, bytes);
    }
    this.#head = head;
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.uniform2f(this.#uniforms.origin, transform.x0 * ratio, gl.drawingBufferHeight - transform.y0 * ratio);
    gl.uniform1f(this.#uniforms.scale, transform.scale * ratio);
    const { minBearing, maxBearing } = geometry;
    gl.uniform4f(this.#uniforms.limits, minBearing, maxBearing, head.range_first_m, head.range_last_m);
    gl.uniform4f(this.#uniforms.levels, head.db_min, head.db_max, head.low_db, head.high_db);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}

/** For browsers without WebGL2: the cell under each pixel is looked up once per geometry, then copied per ping. */
class FanCanvas2D {
  #canvas;
  #context;
  #colours = echoColours();
  #key = "";
  /** @type {PictureHead | null} */
  #head = null;
  #cells = new Int32Array(1);
  #image = new ImageData(1, 1);

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = context2d(canvas);
  }

  /**
   * @param {Picture} picture
   * @param {FanGeometry} geometry
   * @param {FanTransform} transform
   * @param {number} ratio
   */
  draw({ head, bytes }, geometry, transform, ratio) {
    const { width, height } = this.#canvas;
    const key = `${width} ${height} ${transform.scale}`;
    if (key !== this.#key || !sameAxes(this.#head, head)) {
      this.#cells = this.#findCells(head, geometry, transform, ratio);
      this.#image = this.#context.createImageData(width, height);
      this.#key = key;
    }
    this.#head = head;
    const colours = coloursOfBytes(this.#colours, head);
    const pixels = new Uint32Array(this.#image.data.buffer);
    const cells = this.#cells;
    for (let i = 0; i < cells.length; i++) pixels[i] = cells[i] < 0 ? 0 : colours[bytes[cells[i]]];
    this.#context.putImageData(this.#image, 0, 0);
  }

  /**
   * The index of the cell under each pixel; -1: none.
   * @param {PictureHead} head
   * @param {FanGeometry} geometry
   * @param {FanTransform} transform
   * @param {number} ratio
   */
  #findCells(head, geometry, transform, ratio) {
    const { width, height } = this.#canvas;
    const cells = new Int32Array(width * height).fill(-1);
    const tables = lookupTables(head, geometry);
    const bearingSteps = (TABLE - 1) / (geometry.maxBearing - geometry.minBearing);
    const rangeSteps = (TABLE - 1) / (head.range_last_m - head.range_first_m);
    for (let row = 0; row < height; row++) {
      const y = (transform.y0 - (row + 0.5) / ratio) / transform.scale;
      for (let column = 0; column < width; column++) {
        const x = ((column + 0.5) / ratio - transform.x0) / transform.scale;
        const b = (Math.atan2(x, y) - geometry.minBearing) * bearingSteps;
        const r = (Math.hypot(x, y) - head.range_first_m) * rangeSteps;
        if (b < 0 || r < 0 || b > TABLE - 1 || r > TABLE - 1) continue;
        const beam = Math.min(Math.max(Math.floor(tables[Math.round(b)] * head.columns), 0), head.columns - 1);
        const sample = Math.min(Math.max(Math.floor(tables[TABLE + Math.round(r)] * head.rows), 0), head.rows - 1);
        cells[row * width + column] = sample * head.columns + beam;
      }
    }
    return cells;
  }
}

/** Draws fan pictures on a canvas; `draw` returns what the overlay needs to draw over it. */
export class FanView {
  renderer = "";
  #canvas;
  #renderer;
  /** @type {PictureHead | null} */
  #head = null;
  /** @type {FanGeometry | null} */
  #geometry = null;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {boolean} forceCanvas2D
   */
  constructor(canvas, forceCanvas2D = false) {
    this.#canvas = canvas;
    this.#renderer = this.#start(forceCanvas2D);
  }

  /** @param {boolean} forceCanvas2D */
  #start(forceCanvas2D) {
    if (!forceCanvas2D) {
      try {
        const renderer = new FanWebGL(this.#canvas);
        this.renderer = "webgl2";
        this.#canvas.addEventListener("webglcontextlost", () => this.#replace(), { once: true });
        return renderer;
      } catch (error) {
        console.info(`drawing without WebGL2: ${error}`);
        if (this.#canvas.getContext("2d") === null) this.#replaceCanvas();
      }
    }
    this.renderer = "canvas2d";
    return new FanCanvas2D(this.#canvas);
  }

  #replaceCanvas() {
    // A canvas keeps the kind of context that it was first asked for.
    const fresh = /** @type {HTMLCanvasElement} */ (this.#canvas.cloneNode());
    this.#canvas.replaceWith(fresh);
    this.#canvas = fresh;
  }

  #replace() {
    this.#replaceCanvas();
    this.#renderer = this.#start(true);
  }

  /**
   * @param {Picture} picture
   * @param {number} width
   * @param {number} height
   * @param {number} ratio
   * @param {boolean} fresh
   * @returns {FanPlace}
   */
  draw(picture, width, height, ratio, fresh) {
    this.#canvas.width !== Math.round(width * ratio) && (this.#canvas.width = Math.round(width * ratio));
    this.#canvas.height !== Math.round(height * ratio) && (this.#canvas.height = Math.round(height * ratio));
    if (!this.#geometry || !sameAxes(this.#head, picture.head)) this.#geometry = fanGeometry(picture.head);
    this.#head = picture.head;
    const geometry = this.#geometry;
    const transform = fanTransform(geometry, width, height);
    this.#renderer.draw(picture, geometry, transform, ratio, fresh);
    return { geometry, transform };
  }
}
