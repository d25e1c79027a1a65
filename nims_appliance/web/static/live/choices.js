// What a viewer has chosen for a sonar; kept by the browser.

/**
 * Levels that are null follow the sonar.
 * @typedef {object} Choices
 * @property {"fan" | "bscan" | "echogram"} view
 * @property {string} map
 * @property {number | null} low_db
 * @property {number | null} high_db
 */

import { DEFAULT_MAP } from "./colormap.js";

/** @type {Choices} */
const DEFAULTS = { view: "fan", map: DEFAULT_MAP, low_db: null, high_db: null };

/**
 * @param {string} sonar
 * @returns {Choices}
 */
export function loadChoices(sonar) {
  try {
    const { view, map, low_db, high_db } = JSON.parse(localStorage.getItem(keyOf(sonar)) ?? "{}");
    const levels = Number.isFinite(low_db) && Number.isFinite(high_db) && low_db < high_db ? { low_db, high_db } : {};
    return {
      ...DEFAULTS,
      ...(["fan", "bscan", "echogram"].includes(view) ? { view } : {}),
      ...(typeof map === "string" ? { map } : {}),
      ...levels,
    };
  } catch {
    return { ...DEFAULTS }; // storage is switched off, or holds something that is not ours
  }
}

/**
 * @param {string} sonar
 * @param {Choices} choices
 */
export function saveChoices(sonar, choices) {
  try {
    localStorage.setItem(keyOf(sonar), JSON.stringify(choices));
  } catch {
    // Not kept then; they hold for this page.
  }
}

/** @param {string} sonar */
function keyOf(sonar) {
  return `nims.live.${sonar}`;
}
