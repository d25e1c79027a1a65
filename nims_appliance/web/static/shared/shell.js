// What is around every page: bar, menu, connection, problems and alarms, palette, keys.

import { wireAccount } from "./account.js";
import { byId, element, find } from "./elements.js";
import { bytes, duration } from "./format.js";
import { addKeys, showKeys } from "./keys.js";
import { onPalette, palette, PALETTES, setPalette } from "./theme.js";

export { addKeys } from "./keys.js";
export { colour, onPalette, palette } from "./theme.js";

/**
 * @typedef {import("./connection.js").StateMessage} StateMessage
 * @typedef {import("./theme.js").Palette} Palette
 * @typedef {"connecting" | "live" | "lost"} ConnectionState
 */

const STATE_INTERVAL_MS = 2000;
const STATE_TIMEOUT_MS = 8000;
const CONNECTION_TEXT = { connecting: "connecting", live: "connected", lost: "connection lost, trying again" };

/** The bar of the page. Made by `mountShell`, once. */
class Shell {
  /** @type {Set<(state: StateMessage) => void>} */
  #listeners = new Set();
  #told = "";

  /** @param {ConnectionState} state */
  setConnection(state) {
    const shown = byId("connection");
    if (shown.dataset.state === state && shown.textContent === CONNECTION_TEXT[state]) return;
    shown.dataset.state = state;
    shown.textContent = CONNECTION_TEXT[state];
    shown.title = CONNECTION_TEXT[state];
  }

  /**
   * Shows what the appliance tells of itself; a page with a live socket passes each state message on.
   * @param {StateMessage} state
   */
  takeState(state) {
    const { errors = [], parts = [], sonars = [], alarms = [] } = state;
    // A failed sonar is told in its own pane.
    const ofSonar = (/** @type {string} */ part) => sonars.some(({ name }) => part === name || part.endsWith(` ${name}`));
    const failed = parts.filter((part) => part.state === "failed" && !ofSonar(part.name) && part.name !== "configuration");
    this.setProblems(errors.length ? "Safe mode: the configuration has errors, so no sonar runs." : "", [
      ...errors,
      ...failed.map(({ name, last_error, detail }) => `${name}: ${last_error || detail || "failed"}`),
      ...alarms.map(({ text }) => text),
    ]);
    if (state.strip) showStrip(state.strip);
    for (const listener of this.#listeners) listener(state);
  }

  /**
   * Shows problems above the page; none: hides them.
   * @param {string} title may be empty
   * @param {string[]} lines
   */
  setProblems(title, lines) {
    const told = [title, ...lines].join("\n");
    if (told === this.#told) return;
    this.#told = told;
    const list = element("ul", {}, ...lines.map((text) => element("li", { textContent: text })));
    const problems = byId("problems");
    problems.replaceChildren(...(title ? [title] : []), ...(title || lines.length > 1 ? [list] : lines));
    problems.hidden = !lines.length;
  }

  /**
   * Calls back with each state of the appliance.
   * @param {(state: StateMessage) => void} listener
   */
  onState(listener) {
    this.#listeners.add(listener);
  }

  /** Asks for the state again and again, for pages without a live socket. */
  async follow() {
    for (;;) {
      if (!document.hidden) {
        try {
          const response = await fetch("/api/v1/state", { signal: AbortSignal.timeout(STATE_TIMEOUT_MS) });
          if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
          const state = await response.json();
          this.setConnection("live");
          this.takeState(state);
        } catch (error) {
          if (!(error instanceof Error)) throw error;
          this.setConnection("lost");
        }
      }
      await new Promise((done) => setTimeout(done, STATE_INTERVAL_MS));
    }
  }
}

const LONG_S = 60 * 86400;

/** @param {import("./connection.js").Strip} strip */
function showStrip({ disk, clock, recording }) {
  showItem("disk", disk, () => {
    const { free_bytes: free, left_s: left } = /** @type {NonNullable<typeof disk>} */ (disk);
    const ends = left !== null && left < LONG_S;
    return ends ? [`${duration(left)} left`, `${bytes(free)} free; full in ${duration(left)} at the present rate`] : [bytes(free), `${bytes(free)} free`];
  });
  showItem("clock", clock, () => {
    const { synchronised, error_s: error } = /** @type {NonNullable<typeof clock>} */ (clock);
    if (synchronised === null) return ["unknown", "this computer does not tell whether a time server sets its clock"];
    return synchronised
      ? [`±${duration(error)}`, `set by a time server, right within ${duration(error)}`]
      : ["not synced", "no time server (NTP or GPS) sets this computer's clock: it may be wrong, and the times of tracks with it"];
  });
  showItem("recording", recording, () => {
    const { sonars, lost_bytes: lost } = /** @type {NonNullable<typeof recording>} */ (recording);
    byId("strip").dataset.recording = sonars.length ? "on" : "off";
    return [sonars.length ? sonars.join(", ") : "off", `${sonars.length ? `recording ${sonars.join(", ")}` : "not recording"}${lost ? `; ${bytes(lost)} lost` : ""}`];
  });
}

/**
 * @param {string} name
 * @param {{level: string} | null} told
 * @param {() => string[]} write  gives the text and the sentence that explains it
 */
function showItem(name, told, write) {
  const item = find(byId("strip"), `[data-is="${name}"]`);
  item.hidden = !told;
  if (!told) return;
  const [text, sentence] = write();
  const shown = find(item, "b");
  if (shown.textContent !== text) shown.textContent = text;
  if (item.title !== sentence) item.title = sentence;
  item.dataset.level = told.level;
}

/** Wires the three choices of the palette to each other, to other tabs, and to the page. */
function wirePalette() {
  const choices = byId("palettes");
  const show = () => {
    find(choices, `[value="${palette()}"]`, HTMLInputElement).checked = true;
  };
  show();
  choices.addEventListener("change", ({ target }) => {
    if (target instanceof HTMLInputElement) setPalette(/** @type {Palette} */ (target.value));
  });
  onPalette(show);
}

/** On small screens the bar's parts are in a menu. */
function wireMenu() {
  const menu = byId("menu");
  const button = byId("menu-button", HTMLButtonElement);
  const open = (/** @type {boolean} */ wanted) => {
    menu.classList.toggle("open", wanted);
    button.setAttribute("aria-expanded", String(wanted));
  };
  button.onclick = () => open(!menu.classList.contains("open"));
  document.addEventListener("pointerdown", ({ target }) => {
    if (target instanceof Node && !menu.contains(target) && !button.contains(target)) open(false);
  });
  document.addEventListener("keydown", ({ key }) => {
    if (key === "Escape" && menu.classList.contains("open")) {
      open(false);
      button.focus();
    }
  });
}

/**
 * Mounts the shell; every page does that once, before anything else.
 * @param {object} [options]
 * @param {(palette: Palette) => void} [options.onPalette]  called when the palette has changed
 * @param {import("./keys.js").Key[]} [options.keys]  of this page
 * @param {boolean} [options.follow]  false: the page has the state from elsewhere, and tells it by takeState and setConnection
 */
export function mountShell({ onPalette: listener, keys = [], follow = true } = {}) {
  const shell = new Shell();
  wirePalette();
  wireMenu();
  wireAccount(byId("account"));
  if (listener) onPalette(listener);
  byId("help-button").onclick = showKeys;
  const pages = /** @type {HTMLAnchorElement[]} */ ([...document.querySelectorAll(".bar nav a")]);
  /** @type {Map<string, HTMLAnchorElement>} letters of the pages: the first of its title that no other page has */
  const letters = new Map();
  for (const page of pages) {
    const letter = [...(page.textContent?.trim().toLowerCase() ?? "")].find((one) => !letters.has(one));
    if (letter) letters.set(letter, page);
  }
  addKeys([
    ...[...letters].map(([letter, page]) => ({
      keys: `g ${letter}`,
      does: `Go to ${page.textContent?.trim()}`,
      group: "Everywhere",
      run: () => page.click(),
    })),
    {
      keys: "n",
      does: "Next palette: day, dusk, night",
      group: "Everywhere",
      run: () => setPalette(PALETTES[(PALETTES.indexOf(palette()) + 1) % PALETTES.length]),
    },
    { keys: "?", does: "This list", group: "Everywhere", run: showKeys },
  ]);
  addKeys(keys);
  if (follow) shell.follow();
  return shell;
}
