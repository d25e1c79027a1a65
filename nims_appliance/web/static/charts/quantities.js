// What is charted: the metrics by their names in the archive, with the words and units of people.

import { number, UNKNOWN } from "../shared/format.js";

/**
 * @typedef {object} Quantity
 * @property {string} key
 * @property {string} title
 * @property {string} about
 * @property {string} unit  of calibrated sonars
 * @property {string} [relative]  of all others, where it is another
 * @property {number} decimals
 * @property {string} colour  of the palette
 */

/** @type {Quantity[]} */
export const QUANTITIES = [
  { key: "sv_db", title: "Sv", about: "Density: mean volume backscattering strength", unit: "dB re 1 m⁻¹", relative: "dB", decimals: 1, colour: "series-1" },
  { key: "sa_db", title: "Sa", about: "Abundance: area backscattering strength", unit: "dB re 1 m² m⁻²", relative: "dB", decimals: 1, colour: "series-1" },
  { key: "tracks", title: "Tracks", about: "Tracks that ended, of the whole sonar", unit: "per minute", decimals: 1, colour: "series-6" },
  { key: "proportion_occupied", title: "Occupied", about: "Share of the column above the threshold", unit: "", decimals: 3, colour: "series-2" },
  { key: "center_of_mass_m", title: "Centre of mass", about: "Mean range of what is there", unit: "m", decimals: 2, colour: "series-4" },
  { key: "inertia_m2", title: "Inertia", about: "How far it is spread around its centre", unit: "m²", decimals: 2, colour: "series-4" },
  { key: "equivalent_area_m", title: "Equivalent area", about: "Height of the column were it evenly filled", unit: "m", decimals: 2, colour: "series-5" },
  { key: "aggregation_index_per_m", title: "Aggregation", about: "How much it is gathered in few places", unit: "1/m", decimals: 3, colour: "series-5" },
  { key: "layers", title: "Layers", about: "Layers of animals", unit: "", decimals: 0, colour: "series-3" },
];

/** Those that the server keeps for each bin. */
export const METRICS = QUANTITIES.filter(({ key }) => key !== "tracks");

/**
 * @param {Quantity} quantity
 * @param {boolean | null} calibrated
 */
export function unitOf(quantity, calibrated) {
  return calibrated === false && quantity.relative ? quantity.relative : quantity.unit;
}

/**
 * A value with as many digits as are of use.
 * @param {Quantity} quantity
 * @param {number | null | undefined} value
 */
export function shown(quantity, value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return UNKNOWN;
  if (Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 10 ** -quantity.decimals / 2)) return value.toPrecision(3).replace("-", "−");
  return number(value, quantity.decimals);
}

/** @param {string} key */
export function quantityOf(key) {
  return QUANTITIES.find((quantity) => quantity.key === key);
}
