// A pane's tools: which view, how echoes look, pause, save, enlarge.

import { element, find } from "../shared/elements.js";
import { cssGradient, echoColours, MAP_NAMES } from "./colormap.js";

/**
 * @typedef {import("./view.js").Look} Look
 * @typedef {import("./view.js").ViewKind} ViewKind
 * @typedef {{db_min: number, db_max: number, quantity: string, unit: string}} Scale
 */

/**
 * @typedef {object} Actions
 * @property {(kind: ViewKind) => void} view
 * @property {(map: string) => void} map
 * @property {(low_db: number | null, high_db: number | null) => void} levels null: follow the sonar
 * @property {() => void} pause
 * @property {() => void} save
 * @property {() => void} enlarge
 * @property {() => void} whole show all of the picture
 */

const SMALLEST_SPAN_DB = 3;
let panels = 0;

export class Toolbar {
  #pane;
  #views;
  #panel;
  #panelButton;
  #bar;
  #low;
  #high;
  #auto;
  #values;
  #unit;
  #maps;
  #shownBar = "";
  #shownMaps = "";
  #whole;
  #pause;
  #enlarge;

  /**
   * @param {HTMLElement} pane
   * @param {Actions} actions
   */
  constructor(pane, actions) {
    this.#pane = pane;
    this.#views = find(pane, ".views");
    this.#panel = find(pane, ".panel");
    this.#panelButton = find(pane, ".look", HTMLButtonElement);
    this.#bar = find(pane, ".colours", HTMLButtonElement);
    this.#low = find(pane, ".low", HTMLInputElement);
    this.#high = find(pane, ".high", HTMLInputElement);
    this.#auto = find(pane, ".auto", HTMLButtonElement);
    this.#values = find(pane, ".values");
    this.#unit = find(pane, ".unit");
    this.#maps = find(pane, ".maps");
    this.#whole = find(pane, ".whole", HTMLButtonElement);
    this.#fillMaps();
    const number = ++panels;
    for (const radio of this.#views.querySelectorAll("input")) radio.name = `view-${number}`;
    for (const radio of this.#maps.querySelectorAll("input")) radio.name = `map-${number}`;
    this.#panel.id = `look-${number}`;
    for (const button of [this.#panelButton, this.#bar]) button.setAttribute("aria-controls", this.#panel.id);

    this.#views.addEventListener("change", ({ target }) => {
      if (target instanceof HTMLInputElement) actions.view(/** @type {ViewKind} */ (target.value));
    });
    this.#maps.addEventListener("change", ({ target }) => {
      if (target instanceof HTMLInputElement) actions.map(target.value);
    });
    const levels = (/** @type {HTMLInputElement} */ moved) => {
      // One handle pushes the other: it never passes it.
      let [low, high] = [Number(this.#low.value), Number(this.#high.value)];
      if (high - low < SMALLEST_SPAN_DB) {
        if (moved === this.#low) high = Math.min(low + SMALLEST_SPAN_DB, Number(this.#high.max));
        low = Math.min(low, high - SMALLEST_SPAN_DB);
        if (moved === this.#high) low = Math.max(high - SMALLEST_SPAN_DB, Number(this.#low.min));
        high = Math.max(high, low + SMALLEST_SPAN_DB);
      }
      actions.levels(low, high);
    };
    this.#low.addEventListener("input", () => levels(this.#low));
    this.#high.addEventListener("input", () => levels(this.#high));
    this.#auto.onclick = () => actions.levels(null, null);
    this.#panelButton.onclick = () => this.togglePanel();
    this.#bar.onclick = () => this.togglePanel();
    this.#whole.onclick = actions.whole;
    this.#pause = find(pane, ".pause", HTMLButtonElement);
    this.#pause.onclick = actions.pause;
    find(pane, ".save", HTMLButtonElement).onclick = actions.save;
    this.#enlarge = find(pane, ".enlarge", HTMLButtonElement);
    this.#enlarge.onclick = actions.enlarge;
    document.addEventListener("pointerdown", ({ target }) => {
      const own = [this.#panel, this.#panelButton, this.#bar];
      if (!this.#panel.hidden && target instanceof Node && !own.some((part) => part.contains(target))) this.togglePanel(false);
    });
    // On the whole page: a button that was pressed and has nothing more to do has lost the focus.
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || this.#panel.hidden) return;
      event.stopPropagation();
      this.togglePanel(false);
      this.#panelButton.focus();
    }, { capture: true });
  }

  #fillMaps() {
    for (const [name, title] of Object.entries(MAP_NAMES)) {
      const swatch = element("span", { className: "swatch" });
      swatch.dataset.map = name;
      this.#maps.append(element("label", {}, element("input", { type: "radio", value: name }), swatch, title));
    }
  }

  /** @param {boolean} [wanted] */
  togglePanel(wanted = Boolean(this.#panel.hidden)) {
    this.#panel.hidden = !wanted;
    for (const button of [this.#panelButton, this.#bar]) button.setAttribute("aria-expanded", String(wanted));
    if (wanted) this.#low.focus({ preventScroll: true });
  }

  /**
   * @param {ViewKind} kind
   * @param {ViewKind[]} possible
   */
  showView(kind, possible) {
    this.#views.hidden = possible.length < 2;
    for (const radio of this.#views.querySelectorAll("input")) radio.checked = radio.value === kind;
    this.#pane.dataset.view = kind;
  }

  /**
   * @param {boolean} zoomed
   */
  showZoom(zoomed) {
    this.#whole.hidden = !zoomed;
    this.#pane.classList.toggle("zoomed", zoomed);
  }

  /** @param {boolean} paused */
  showPaused(paused) {
    this.#pause.setAttribute("aria-pressed", String(paused));
    this.#pause.setAttribute("aria-label", paused ? "Go on" : "Pause");
    this.#pause.title = paused ? "Go on" : "Pause and step back";
  }

  /** @param {boolean} enlarged */
  showEnlarged(enlarged) {
    this.#enlarge.setAttribute("aria-pressed", String(enlarged));
    this.#enlarge.title = enlarged ? "Put back" : "Enlarge";
    this.#enlarge.setAttribute("aria-label", this.#enlarge.title);
  }

  /**
   * Shows how echoes look; does nothing when nothing has changed.
   * @param {Look} look
   * @param {boolean} automatic
   * @param {Scale} scale
   */
  showLook({ map, palette, low_db, high_db }, automatic, { db_min, db_max, quantity, unit }) {
    const key = `${map} ${palette} ${low_db} ${high_db} ${automatic} ${db_min} ${db_max} ${unit}`;
    if (key === this.#shownBar) return;
    this.#shownBar = key;
    const from = Math.floor(Math.min(db_min, low_db));
    const to = Math.ceil(Math.max(db_max, high_db));
    for (const [input, value] of /** @type {[HTMLInputElement, number][]} */ ([[this.#low, low_db], [this.#high, high_db]])) {
      input.min = String(from);
      input.max = String(to);
      input.value = String(value);
    }
    const part = (/** @type {number} */ value) => `${((value - from) / (to - from)) * 100}%`;
    this.#panel.style.setProperty("--from", part(low_db));
    this.#panel.style.setProperty("--to", part(high_db));
    this.#values.textContent = `${low_db.toFixed(0)} to ${high_db.toFixed(0)} dB`;
    this.#unit.textContent = `${quantity === "Sv" ? "Sv" : "Echo level"}, ${unit}`;
    this.#auto.disabled = automatic;
    this.#auto.textContent = automatic ? "Automatic" : "Back to automatic";
    find(this.#bar, ".top").textContent = `${high_db.toFixed(0)}`;
    find(this.#bar, ".bottom").textContent = `${low_db.toFixed(0)}`;
    this.#bar.title = `${quantity === "Sv" ? "Sv, " : ""}${unit}`;
    const colours = echoColours(map, palette);
    find(this.#bar, ".gradient").style.backgroundImage = cssGradient(colours, "to top");
    find(this.#panel, ".track").style.backgroundImage = cssGradient(colours, "to right");
    this.#showMaps(map, palette);
  }

  /**
   * @param {string} map
   * @param {import("./colormap.js").Palette} palette
   */
  #showMaps(map, palette) {
    const key = `${map} ${palette}`;
    if (key === this.#shownMaps) return;
    this.#shownMaps = key;
    this.#maps.hidden = palette === "night"; // red alone
    for (const radio of this.#maps.querySelectorAll("input")) radio.checked = radio.value === map;
    for (const swatch of this.#maps.querySelectorAll("span")) {
      swatch.style.backgroundImage = cssGradient(echoColours(swatch.dataset.map ?? "", palette), "to right");
    }
  }
}
