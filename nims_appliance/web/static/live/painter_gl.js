// Paints pictures with WebGL2: cells are a texture that triangles lay on the screen, colours a table of 256 entries.

import { KEPT_COLUMNS } from "./columns.js";
import { pingMesh, sameAxes } from "./mesh.js";

/**
 * @typedef {import("../shared/connection.js").Picture} Picture
 * @typedef {import("../shared/connection.js").PictureHead} PictureHead
 * @typedef {import("./columns.js").ColumnStore} ColumnStore
 * @typedef {import("./place.js").FanPlace} FanPlace
 * @typedef {import("./place.js").BscanPlace} BscanPlace
 * @typedef {import("./place.js").EchogramPlace} EchogramPlace
 * @typedef {import("./place.js").Box} Box
 */

const MOST_TAPS = 6;
/** Colours between those of two bytes: looking up one of many is much cheaper than mixing two, without a graphics chip. */
const FINER = 4;

const VERTEX = `#version 300 es
uniform vec4 map;    // clip coordinates = position * map.xy + map.zw
in vec2 position;
in vec3 texturing;   // u q, v, q
out vec3 at;
void main() {
  at = texturing;
  gl_Position = vec4(position * map.xy + map.zw, 0.0, 1.0);
}`;

// Where several rows fall into one pixel, the strongest is shown: no echo is lost to a small screen.
const FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D cells, colours;
const float LAST = ${256 * FINER - 1}.0;
uniform vec2 apart;  // of the samples that one pixel takes
uniform int taps;
in vec3 at;
out vec4 colour;
void main() {
  vec2 middle = vec2(at.x / at.z, at.y);
  float echo = texture(cells, middle).r;
  if (taps > 1) {
    vec2 from = middle - 0.5 * float(taps - 1) * apart;
    for (int i = 0; i < taps; i++) echo = max(echo, texture(cells, from + float(i) * apart).r);
  }
  colour = texelFetch(colours, ivec2(int(echo * LAST + 0.5), 0), 0);
}`;

const FLOAT_BYTES = 4;

export class GlPainter {
  /** @type {"webgl2"} */
  renderer = "webgl2";
  #canvas;
  #gl;
  /** @type {Record<string, WebGLUniformLocation | null>} */
  #uniforms = {};
  #vertexCount = 0;
  #textureSize = "";
  /** What the mesh was made for. @type {{head: PictureHead, kind: "fan" | "bscan"} | null} */
  #meshOf = null;
  /** What the texture holds. @type {Picture | ColumnStore | null} */
  #holds = null;
  #columnsHeld = 0;
  #columnsVersion = 0;
  #column = new Float32Array(6 * 5);

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
    const gl = canvas.getContext("webgl2", { alpha: true, antialias: false, depth: false, premultipliedAlpha: true });
    if (!gl) throw new Error("no WebGL2");
    this.#gl = gl;
    const program = gl.createProgram();
    for (const [type, source] of /** @type {[number, string][]} */ ([[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]])) {
      const shader = gl.createShader(type);
      if (!shader) throw new Error("no shader");
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) ?? "no program");
    gl.useProgram(program);
    for (const name of ["map", "cells", "colours", "apart", "taps"]) this.#uniforms[name] = gl.getUniformLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    for (const [name, size, first] of /** @type {[string, number, number][]} */ ([["position", 2, 0], ["texturing", 3, 2]])) {
      const attribute = gl.getAttribLocation(program, name);
      gl.enableVertexAttribArray(attribute);
      gl.vertexAttribPointer(attribute, size, gl.FLOAT, false, 5 * FLOAT_BYTES, first * FLOAT_BYTES);
    }
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.enable(gl.SCISSOR_TEST);
    this.#newTexture(1, "colours", gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256 * FINER, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
    // The ring of an echogram goes round in the direction of its columns.
    this.#newTexture(0, "cells", gl.REPEAT);
  }

  /**
   * @param {number} unit
   * @param {string} name
   * @param {number} wrap
   */
  #newTexture(unit, name, wrap) {
    const gl = this.#gl;
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, wrap);
    gl.uniform1i(this.#uniforms[name], unit);
  }

  /**
   * @param {Uint32Array<ArrayBuffer>} colours of the 256 bytes
   */
  setColours(colours) {
    const gl = this.#gl;
    const bytes = new Uint8Array(colours.buffer);
    const finer = new Uint8Array(256 * FINER * 4);
    for (let i = 0; i < 256 * FINER; i++) {
      const at = (i / (256 * FINER - 1)) * 255;
      const low = Math.min(Math.floor(at), 254);
      for (let k = 0; k < 4; k++) {
        const [from, to] = [bytes[low * 4 + k], bytes[low * 4 + 4 + k]];
        finer[i * 4 + k] = Math.round(from + (at - low) * (to - from));
      }
    }
    gl.activeTexture(gl.TEXTURE1);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, 256 * FINER, 1, gl.RGBA, gl.UNSIGNED_BYTE, finer);
    gl.activeTexture(gl.TEXTURE0);
  }

  /**
   * The texture of the cells, of a size; true when it is a new, empty one.
   * @param {number} width
   * @param {number} height
   * @param {number} wrap
   */
  #sizeTexture(width, height, wrap) {
    const size = `${width} ${height} ${wrap}`;
    if (size === this.#textureSize) return;
    const gl = this.#gl;
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R8, width, height, 0, gl.RED, gl.UNSIGNED_BYTE, null);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, wrap);
    this.#textureSize = size;
    this.#holds = null;
  }

  /**
   * @param {Picture} picture
   * @param {FanPlace | BscanPlace} place
   * @param {number} ratio
   */
  paintPing(picture, place, ratio) {
    const gl = this.#gl;
    const { head, bytes } = picture;
    if (this.#meshOf?.kind !== place.kind || !sameAxes(this.#meshOf.head, head)) {
      const vertices = pingMesh(head, place.geometry, place.kind === "fan");
      gl.bufferData(gl.ARRAY_BUFFER, vertices, gl.STATIC_DRAW);
      this.#vertexCount = vertices.length / 5;
      this.#meshOf = { head, kind: place.kind };
    }
    this.#sizeTexture(head.columns, head.rows, gl.CLAMP_TO_EDGE);
    if (this.#holds !== picture) {
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, head.columns, head.rows, gl.RED, gl.UNSIGNED_BYTE, bytes);
      this.#holds = picture;
    }
    const scaleX = place.kind === "fan" ? place.scale : place.bearingScale;
    const origin = place.kind === "fan" ? place.xyToScreen(0, 0) : place.toScreen(0, 0);
    const rowsPerPixel = head.rows / ((head.range_last_m - head.range_first_m) * place.scale * ratio);
    this.#draw(place.area, ratio, scaleX, -place.scale, origin.x, origin.y, 0, 1 / head.rows, rowsPerPixel);
  }

  /**
   * @param {ColumnStore} store
   * @param {EchogramPlace} place
   * @param {number} ratio
   */
  paintColumns(store, place, ratio) {
    const gl = this.#gl;
    const head = place.head;
    const { rows } = head;
    this.#sizeTexture(rows, KEPT_COLUMNS, gl.REPEAT);
    const known = this.#holds === store && this.#columnsVersion === store.version;
    const fresh = known ? store.count - this.#columnsHeld : Infinity;
    if (fresh > 16) {
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, rows, KEPT_COLUMNS, gl.RED, gl.UNSIGNED_BYTE, store.bytes);
    } else {
      // One more than are new: the newest is repeated beside itself.
      for (let number = this.#columnsHeld; fresh > 0 && number <= store.count; number++) {
        const at = number % KEPT_COLUMNS;
        const column = store.bytes.subarray(at * rows, (at + 1) * rows);
        gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, at, rows, 1, gl.RED, gl.UNSIGNED_BYTE, column);
      }
    }
    this.#holds = store;
    this.#columnsHeld = store.count;
    this.#columnsVersion = store.version;
    const { columns, columnPx } = place;
    if (!columns.length) return this.clear();
    const left = columns[0].x - columnPx / 2;
    const right = columns[columns.length - 1].x + columnPx / 2;
    const first = place.firstNumber % KEPT_COLUMNS;
    const [from, to] = [first / KEPT_COLUMNS, (first + columns.length) / KEPT_COLUMNS];
    const [near, far] = [head.range_first_m, head.range_last_m];
    const corners = [[left, near, 0, from], [right, near, 0, to], [left, far, 1, from], [right, far, 1, to]];
    [0, 1, 2, 1, 3, 2].forEach((corner, i) => this.#column.set([...corners[corner], 1], i * 5));
    gl.bufferData(gl.ARRAY_BUFFER, this.#column, gl.DYNAMIC_DRAW);
    this.#meshOf = null;
    this.#vertexCount = 6;
    const rowsPerPixel = rows / ((far - near) * place.scale * ratio);
    this.#draw(place.area, ratio, 1, place.scale, 0, place.yOf(0), 1 / rows, 0, rowsPerPixel);
  }

  /**
   * @param {Box} area
   * @param {number} ratio
   * @param {number} scaleX CSS pixels of one unit of a vertex
   * @param {number} scaleY
   * @param {number} x0 CSS pixel of 0
   * @param {number} y0
   * @param {number} rowU from a row to the next, in the texture
   * @param {number} rowV
   * @param {number} rowsPerPixel
   */
  #draw(area, ratio, scaleX, scaleY, x0, y0, rowU, rowV, rowsPerPixel) {
    const gl = this.#gl;
    this.clear();
    const { width, height } = this.#canvas;
    gl.scissor(
      Math.round(area.left * ratio), height - Math.round((area.top + area.height) * ratio),
      Math.round(area.width * ratio), Math.round(area.height * ratio),
    );
    const [across, up] = [(2 * ratio) / width, (-2 * ratio) / height];
    gl.uniform4f(this.#uniforms.map, scaleX * across, scaleY * up, x0 * across - 1, y0 * up + 1);
    const taps = Math.min(Math.ceil(rowsPerPixel - 0.25), MOST_TAPS);
    gl.uniform1i(this.#uniforms.taps, taps);
    const apart = rowsPerPixel / Math.max(taps, 1);
    gl.uniform2f(this.#uniforms.apart, rowU * apart, rowV * apart);
    gl.drawArrays(gl.TRIANGLES, 0, this.#vertexCount);
  }

  clear() {
    const gl = this.#gl;
    const { width, height } = this.#canvas;
    gl.viewport(0, 0, width, height);
    gl.scissor(0, 0, width, height);
    gl.clear(gl.COLOR_BUFFER_BIT);
  }
}
