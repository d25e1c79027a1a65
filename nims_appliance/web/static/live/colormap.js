// Colour maps for echoes: lightness rises evenly (OKLab), so equal steps of dB look like equal steps.

// [lightness, a, b] in OKLab at equal distances; hue turns from deep blue over teal to warm white.
/** @type {[number, number, number][]} */
const ECHO = [
  [0.17, 0.0, -0.025],
  [0.33, -0.02, -0.07],
  [0.5, -0.06, -0.045],
  [0.66, -0.07, 0.01],
  [0.82, -0.035, 0.07],
  [0.97, 0.0, 0.045],
];

/** @param {number[]} colour in OKLab */
function toSrgb([lightness, a, b]) {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  return linear.map((value) => {
    const light = Math.min(Math.max(value, 0), 1);
    return Math.round(255 * (light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055));
  });
}

/** The echo colour map: 256 x RGBA bytes. */
export function echoColours() {
  const colours = new Uint8Array(256 * 4);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (ECHO.length - 1);
    const low = Math.min(Math.floor(at), ECHO.length - 2);
    const mixed = ECHO[low].map((value, k) => value + (at - low) * (ECHO[low + 1][k] - value));
    colours.set([...toSrgb(mixed), 255], i * 4);
  }
  return colours;
}

/**
 * The colour of each of the 256 bytes of a picture, as RGBA in a Uint32Array, for its levels.
 * @param {Uint8Array} colours 256 x RGBA
 * @param {import("../shared/connection.js").PictureHead} head
 */
export function coloursOfBytes(colours, head) {
  const words = new Uint32Array(colours.buffer);
  const out = new Uint32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    const db = head.db_min + (byte * (head.db_max - head.db_min)) / 255;
    const t = (db - head.low_db) / (head.high_db - head.low_db);
    out[byte] = words[Math.round(255 * Math.min(Math.max(t, 0), 1))];
  }
  return out;
}
