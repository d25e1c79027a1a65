// Colour maps for echoes: lightness changes evenly (OKLab), so equal steps of dB look like equal steps, to colour-blind
// people too. On light ground strong echoes are dark; at night everything is red, for eyes that are used to the dark.

/** @typedef {"day" | "dusk" | "night"} Palette */
/** @typedef {[number, number, number]} Oklab lightness, a, b */

/**
 * [lightness, a, b] at equal distances, from weak to strong echoes on dark ground.
 * @type {Record<string, Oklab[]>}
 */
const MAPS = {
  // Deep blue over teal to warm white.
  lagoon: [
    [0.17, 0.0, -0.025], [0.33, -0.02, -0.07], [0.49, -0.055, -0.045], [0.65, -0.07, 0.01], [0.81, -0.035, 0.07],
    [0.97, 0.0, 0.045],
  ],
  // Blue over grey to yellow: the two colours that red-green blindness leaves apart.
  dune: [
    [0.17, 0.0, -0.04], [0.33, -0.005, -0.075], [0.49, -0.005, -0.02], [0.65, 0.0, 0.035], [0.81, 0.0, 0.1],
    [0.97, -0.02, 0.1],
  ],
  // Violet over red and orange to pale yellow.
  ember: [
    [0.15, 0.015, -0.04], [0.31, 0.08, -0.07], [0.48, 0.15, 0.03], [0.64, 0.125, 0.1], [0.81, 0.035, 0.13],
    [0.97, -0.01, 0.07],
  ],
  ice: [[0.15, -0.005, -0.02], [0.42, -0.02, -0.09], [0.7, -0.045, -0.065], [0.98, -0.005, -0.005]],
  grey: [[0.14, 0, 0], [0.99, 0, 0]],
};
/** Names of the maps and how people call them. @type {Record<string, string>} */
export const MAP_NAMES = { lagoon: "Lagoon", dune: "Dune", ember: "Ember", ice: "Ice", grey: "Grey" };
export const DEFAULT_MAP = "lagoon";
const DARKEST_RED = 0.1; // of the lightness of full red
const COLOURLESS = 0.3; // of a map by day, at its weak end: colours fade into the light ground

/** @param {Oklab} colour */
function toSrgb([lightness, a, b]) {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    gamma(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
    gamma(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
    gamma(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s),
  ];
}

/** @param {number} linear */
function gamma(linear) {
  const light = Math.min(Math.max(linear, 0), 1);
  return Math.round(255 * (light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055));
}

/** @type {Map<string, Uint8Array<ArrayBuffer>>} */
const made = new Map();

/**
 * A colour map: 256 x RGBA bytes, from weak to strong echoes. An unknown name gives the default map.
 * @param {string} map
 * @param {Palette} palette
 */
export function echoColours(map, palette) {
  const name = Object.hasOwn(MAPS, map) ? map : DEFAULT_MAP;
  const key = palette === "night" ? palette : `${name} ${palette}`;
  let colours = made.get(key);
  if (!colours) {
    colours = new Uint8Array(256 * 4);
    for (let i = 0; i < 256; i++) {
      const t = i / 255;
      const rgb = palette === "night" ? red(t) : toSrgb(palette === "day" ? byDay(MAPS[name], t) : onPath(MAPS[name], t));
      colours.set(rgb, i * 4);
      colours[i * 4 + 3] = 255;
    }
    made.set(key, colours);
  }
  return colours;
}

/** Red alone: its lightness grows with the cube root of its light. @param {number} t */
function red(t) {
  return [gamma((DARKEST_RED + (1 - DARKEST_RED) * t) ** 3), 0, 0];
}

/**
 * @param {Oklab[]} path
 * @param {number} t
 * @returns {Oklab}
 */
function byDay(path, t) {
  const [lightness, a, b] = onPath(path, 1 - t);
  const colour = Math.min(t / COLOURLESS, 1);
  return [lightness, a * colour, b * colour];
}

/**
 * @param {Oklab[]} path
 * @param {number} t 0..1
 * @returns {Oklab}
 */
function onPath(path, t) {
  const at = t * (path.length - 1);
  const low = Math.min(Math.floor(at), path.length - 2);
  const mix = (/** @type {number} */ k) => path[low][k] + (at - low) * (path[low + 1][k] - path[low][k]);
  return [mix(0), mix(1), mix(2)];
}

/**
 * Fills `out` with the colour of each of the 256 bytes of a picture (RGBA as the machine orders bytes).
 * @param {Uint8Array<ArrayBuffer>} colours 256 x RGBA
 * @param {{db_min: number, db_max: number}} head
 * @param {number} lowDb where the map begins
 * @param {number} highDb where it ends
 * @param {Uint32Array} out
 */
export function coloursOfBytes(colours, head, lowDb, highDb, out) {
  const words = new Uint32Array(colours.buffer);
  for (let byte = 0; byte < 256; byte++) {
    const db = head.db_min + (byte * (head.db_max - head.db_min)) / 255;
    const t = (db - lowDb) / Math.max(highDb - lowDb, 1e-3);
    out[byte] = words[Math.round(255 * Math.min(Math.max(t, 0), 1))];
  }
}

/**
 * A colour map as a CSS gradient.
 * @param {Uint8Array} colours 256 x RGBA
 * @param {string} direction
 */
export function cssGradient(colours, direction) {
  const stops = [];
  for (let i = 0; i < 256; i += 15) stops.push(`rgb(${colours[i * 4]} ${colours[i * 4 + 1]} ${colours[i * 4 + 2]})`);
  return `linear-gradient(${direction}, ${stops.join(", ")})`;
}
