// The palette: day, dusk or night; kept by the browser, and the same in all its tabs.

/** @typedef {"day" | "dusk" | "night"} Palette */

const KEY = "nims.palette"; // also in palette.js
/** @type {Palette[]} */
export const PALETTES = ["day", "dusk", "night"];

/** @type {Set<(palette: Palette) => void>} */
const listeners = new Set();

/** @returns {Palette} */
export function palette() {
  const name = /** @type {Palette} */ (document.documentElement.dataset.palette);
  return PALETTES.includes(name) ? name : "dusk";
}

/**
 * Calls back whenever the palette has changed, also from another tab. Returns what ends that.
 * @param {(palette: Palette) => void} listener
 */
export function onPalette(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** @param {Palette} name */
export function setPalette(name) {
  try {
    localStorage.setItem(KEY, name);
  } catch {
    // Not kept then; it holds for this page.
  }
  apply(name);
}

/** @param {Palette} name */
function apply(name) {
  if (!PALETTES.includes(name) || name === palette()) return;
  document.documentElement.dataset.palette = name;
  for (const listener of listeners) listener(name);
}

/**
 * A colour of the palette as CSS gives it, for what is drawn on a canvas.
 * @param {string} name such as "track" for --track
 */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

addEventListener("storage", ({ key, newValue }) => {
  if (key === KEY && newValue) apply(/** @type {Palette} */ (newValue));
});
