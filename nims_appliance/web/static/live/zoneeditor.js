// The zone editor: zones are drawn and moved on the picture, named and saved in a small form beside it.

import { element } from "../shared/elements.js";
import { request } from "../shared/session.js";
import { moveEdges, moveZone, regionBetween, ZoneDraft } from "./zonedraft.js";
import { drawHandles, drawZones, handlesOf, limitsOf, nearestPolar, tracePart, zoneAt } from "./zones.js";
import { ink, strokeCased } from "./ink.js";

/**
 * @typedef {import("../shared/connection.js").Zone} Zone
 * @typedef {import("./place.js").Place} Place
 * @typedef {import("./place.js").Polar} Polar
 * @typedef {import("./zones.js").Edge} Edge
 */

/**
 * What a pointer that is down does.
 * @typedef {{does: "add", from: Polar, to: Polar} | {does: "edges", edges: Edge[]} | {does: "move", from: Polar, before: Zone}} Drag
 */

const REACH_PX = { mouse: 9, touch: 22 };
const LEAST_PX = 8; // a smaller region is a slip, not a zone
const DEGREE = Math.PI / 180;
/** @type {[Edge, string, string][]} */
const FIELDS = [
  ["min_range_m", "Range from", "m"], ["max_range_m", "to", "m"],
  ["min_bearing_deg", "Bearing from", "°"], ["max_bearing_deg", "to", "°"],
];

export class ZoneEditor {
  element;
  isOpen = false;
  #sonar;
  #onChange;
  #onClose;
  #draft = new ZoneDraft();
  /** @type {Zone | null} */
  #chosen = null;
  /** @type {Drag | null} */
  #drag = null;
  #downAt = { x: 0, y: 0 };
  /** @type {Place | null} */
  #place = null;
  #list = element("div", { className: "zones" });
  #form = element("form", { noValidate: true });
  #hint = element("p", { className: "hint" });
  #error = element("p", { className: "error", hidden: true });
  #undo = element("button", { type: "button", textContent: "Undo" });
  #save = element("button", { type: "button", className: "primary", textContent: "Save" });
  #isSaving = false;

  /**
   * @param {string} sonar
   * @param {() => void} onChange called when what is drawn has changed
   * @param {() => void} onClose
   */
  constructor(sonar, onChange, onClose) {
    this.#sonar = sonar;
    this.#onChange = onChange;
    this.#onClose = onClose;
    this.#error.setAttribute("role", "alert");
    this.#undo.onclick = () => this.undo();
    this.#save.onclick = () => this.save();
    this.#form.onsubmit = (event) => {
      event.preventDefault();
      this.save();
    };
    const close = element("button", { type: "button", className: "icon close", title: "Close (Esc)", onclick: () => this.close() }, "×");
    close.setAttribute("aria-label", "Close");
    const add = element("button", { type: "button", textContent: "Add", onclick: () => this.#addInMiddle() });
    this.element = element(
      "section", { className: "float zone-editor", hidden: true },
      element("header", {}, element("h3", { textContent: "Zones" }), add, close),
      this.#hint, this.#list, this.#form, this.#error,
      element("footer", {}, this.#undo, this.#save),
    );
    this.element.setAttribute("aria-label", `Zones of ${sonar}`);
  }

  /** @param {Zone[]} zones as they are drawn: shown until the settings are there */
  async open(zones) {
    this.isOpen = true;
    this.element.hidden = false;
    this.#tellError("");
    this.#draft.takeSaved(zones);
    this.#show();
    await this.refresh();
    this.#show();
  }

  /** Closes; changes that were not saved stay in the draft until the page is left. */
  close() {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.#drag = null;
    this.element.hidden = true;
    this.#onClose();
    this.#onChange();
  }

  /** Asks for the settings anew: they were changed, here or in another page. */
  async refresh() {
    try {
      const { values } = await request("GET", "/api/v1/config");
      const settings = values.sonars?.[this.#sonar]?.zones ?? {};
      this.#draft.takeSaved(Object.entries(settings).map(([name, zone]) => ({ name, ...zone })));
    } catch (error) {
      this.#tellError(error instanceof Error ? error.message : String(error));
    }
    this.#keepChoice();
    this.#show();
  }

  undo() {
    if (!this.#draft.canUndo) return;
    this.#draft.undo();
    this.#keepChoice();
    this.#show();
  }

  removeChosen() {
    const zone = this.#chosen;
    if (!zone) return;
    this.#draft.remove(zone);
    this.#chosen = null;
    this.#show();
  }

  /** @param {number} step 1: the next zone, -1: the one before */
  chooseNext(step) {
    const { zones } = this.#draft;
    if (!zones.length) return;
    const at = this.#chosen ? zones.indexOf(this.#chosen) : -1;
    this.#choose(zones[(at + step + zones.length) % zones.length]);
  }

  async save() {
    const problem = this.#draft.problem();
    this.#tellError(problem);
    const changes = this.#draft.changes(`sonars.${this.#sonar}.zones.`);
    if (problem || this.#isSaving || !Object.keys(changes).length) return;
    this.#isSaving = true;
    this.#show();
    try {
      await request("PATCH", "/api/v1/config", { changes });
    } catch (error) {
      this.#tellError(error instanceof Error ? error.message : String(error));
    }
    this.#isSaving = false;
    await this.refresh();
  }

  /** After an undo or new settings the objects are others: the choice follows the name. */
  #keepChoice() {
    const name = this.#chosen?.name;
    this.#chosen = this.#draft.zones.find((zone) => zone.name === name) ?? null;
  }

  /** @param {Zone | null} zone */
  #choose(zone) {
    this.#chosen = zone;
    this.#show();
  }

  #addInMiddle() {
    if (!this.#place) return;
    const { near, far, left, right } = limitsOf(this.#place);
    const at = (/** @type {number} */ t) => ({ range_m: near + t * (far - near), bearing_rad: left + t * (right - left) });
    this.#choose(this.#draft.add(this.#regionOf(at(0.4), at(0.6))));
    this.#form.querySelector("input")?.focus();
  }

  /**
   * @param {Polar} a
   * @param {Polar} b
   */
  #regionOf(a, b) {
    const region = regionBetween(a, b);
    if (this.#place?.kind !== "echogram") return region;
    const { min_range_m, max_range_m } = region;
    return { min_range_m, max_range_m };
  }

  // The pointer, while the editor is open. Each returns whether the editor takes the pointer for itself.

  /**
   * @param {number} x
   * @param {number} y
   * @param {string} pointerType
   */
  press(x, y, pointerType) {
    const place = this.#place;
    if (!place) return false;
    const reach = pointerType === "mouse" ? REACH_PX.mouse : REACH_PX.touch;
    const here = nearestPolar(place, x, y);
    this.#downAt = { x, y };
    if (this.#chosen) {
      const handles = handlesOf(place, this.#chosen).map((handle) => ({ handle, apart: Math.hypot(handle.x - x, handle.y - y) }));
      const nearest = handles.sort((a, b) => a.apart - b.apart)[0];
      if (nearest && nearest.apart < reach) {
        this.#draft.mark();
        this.#chosen = this.#draft.zones.find(({ name }) => name === this.#chosen?.name) ?? this.#chosen;
        this.#drag = { does: "edges", edges: nearest.handle.edges };
        return true;
      }
    }
    const zone = zoneAt(place, this.#draft.zones, x, y);
    if (zone && zone === this.#chosen) {
      this.#draft.mark();
      this.#drag = { does: "move", from: here, before: { ...zone } };
      return true;
    }
    const isOutside = place.kind === "echogram" ? !place.toRange(x, y) : !place.toPolar(x, y);
    if (isOutside) return false;
    this.#drag = { does: "add", from: here, to: here };
    return true;
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  drag(x, y) {
    const [place, drag, zone] = [this.#place, this.#drag, this.#chosen];
    if (!place || !drag) return;
    const here = nearestPolar(place, x, y);
    if (drag.does === "add") drag.to = here;
    else if (zone && drag.does === "edges") moveEdges(zone, drag.edges, here);
    else if (zone && drag.does === "move") moveZone(zone, drag.before, drag.from, here, place.kind !== "echogram");
    this.#onChange();
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  release(x, y) {
    const [place, drag] = [this.#place, this.#drag];
    this.#drag = null;
    if (!place || !drag) return;
    const isClick = Math.max(Math.abs(x - this.#downAt.x), Math.abs(y - this.#downAt.y)) < LEAST_PX;
    if (drag.does === "add") {
      if (isClick) this.#choose(zoneAt(place, this.#draft.zones, x, y));
      else this.#choose(this.#draft.add(this.#regionOf(drag.from, drag.to)));
    } else {
      if (isClick && drag.does === "move") this.#draft.undo();
      this.#keepChoice();
      this.#show();
    }
  }

  /** A second finger came: what the first one did was meant otherwise. */
  cancelDrag() {
    if (this.#drag && this.#drag.does !== "add") this.#draft.undo();
    this.#drag = null;
    this.#keepChoice();
    this.#show();
  }

  /**
   * What the cursor should look like there.
   * @param {number} x
   * @param {number} y
   */
  cursorAt(x, y) {
    const place = this.#place;
    if (!place) return "";
    if (this.#chosen && handlesOf(place, this.#chosen).some((handle) => Math.hypot(handle.x - x, handle.y - y) < REACH_PX.mouse)) return "grab";
    const zone = zoneAt(place, this.#draft.zones, x, y);
    return zone ? (zone === this.#chosen ? "move" : "pointer") : "crosshair";
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Place} place
   */
  draw(context, place) {
    this.#place = place;
    drawZones(context, place, this.#draft.zones, this.#chosen);
    if (this.#chosen) drawHandles(context, handlesOf(place, this.#chosen));
    if (this.#drag?.does !== "add") return;
    const { min_range_m: near, max_range_m: far, min_bearing_deg, max_bearing_deg } = regionBetween(this.#drag.from, this.#drag.to);
    const limits = limitsOf(place);
    const isBand = place.kind === "echogram";
    tracePart(context, place, {
      near, far, left: isBand ? limits.left : min_bearing_deg * DEGREE, right: isBand ? limits.right : max_bearing_deg * DEGREE,
    });
    context.setLineDash([4, 4]);
    strokeCased(context, ink().tool, 1);
    context.setLineDash([]);
  }

  // The form

  /** @param {string} text empty: no error */
  #tellError(text) {
    this.#error.textContent = text;
    this.#error.hidden = !text;
  }

  #show() {
    const draft = this.#draft;
    const isChanged = draft.isChanged;
    this.#undo.disabled = !draft.canUndo;
    this.#save.disabled = !isChanged || this.#isSaving;
    this.#save.textContent = this.#isSaving ? "Saving" : "Save";
    this.#hint.textContent = isChanged
      ? "Not saved yet. Saving ends the tracks of this moment; they begin anew."
      : "Drag over the picture to add a zone, or choose one.";
    this.#list.replaceChildren(...draft.zones.map((zone) => {
      const button = element(
        "button", { type: "button", className: `zone ${zone.kind}`, onclick: () => this.#choose(zone === this.#chosen ? null : zone) },
        zone.name, element("small", { textContent: zone.enabled === false ? "off" : zone.kind }),
      );
      button.setAttribute("aria-pressed", String(zone === this.#chosen));
      return button;
    }));
    this.#showForm();
    this.#onChange();
  }

  #showForm() {
    const zone = this.#chosen;
    const active = document.activeElement;
    const focused = active instanceof HTMLElement && this.#form.contains(active) ? active.dataset.key : undefined;
    this.#form.hidden = !zone;
    if (!zone) {
      this.#form.replaceChildren();
      return;
    }
    const change = (/** @type {(zone: Zone) => void} */ apply) => {
      this.#draft.mark();
      apply(zone);
      this.#tellError(this.#draft.problem());
      this.#show();
    };
    const name = element("input", {
      value: zone.name, maxLength: 32, spellcheck: false,
      onchange: () => change((one) => (one.name = name.value.trim())),
    });
    name.dataset.key = "name";
    const kind = element("select", { onchange: () => change((one) => (one.kind = kind.value)) }, new Option("watched", "watched"), new Option("ignored", "ignored"));
    kind.value = zone.kind;
    kind.dataset.key = "kind";
    const on = element("input", { type: "checkbox", checked: zone.enabled !== false, onchange: () => change((one) => (one.enabled = on.checked)) });
    on.dataset.key = "enabled";
    const fields = FIELDS.map(([key, title, unit]) => {
      const input = element("input", { type: "number", step: "any", value: String(zone[key]) });
      input.dataset.key = key;
      // 1e6 m is the schema's way of saying that there is no limit.
      if (key === "max_range_m" && zone[key] >= 1e6) [input.value, input.placeholder] = ["", "no limit"];
      input.onchange = () => {
        const value = input.value === "" && key === "max_range_m" ? 1e6 : input.valueAsNumber;
        if (Number.isFinite(value)) change((one) => (one[key] = value));
        else this.#show();
      };
      input.setAttribute("aria-label", `${title === "to" ? (key === "max_range_m" ? "Range to" : "Bearing to") : title}, ${unit === "m" ? "metres" : "degrees"}`);
      return element("label", {}, element("span", { textContent: title }), input, element("span", { className: "unit", textContent: unit }));
    });
    const meaning = zone.kind === "ignored"
      ? "Nothing in it is detected."
      : "Tracks tell when they are inside, and how near they came.";
    this.#form.replaceChildren(
      element("label", { className: "wide" }, element("span", { textContent: "Name" }), name),
      element("label", { className: "wide" }, element("span", { textContent: "Kind" }), kind),
      element("p", { className: "hint", textContent: meaning }),
      ...fields,
      element("label", { className: "wide on" }, on, "In use"),
      element("button", { type: "button", className: "wide", textContent: `Delete ${zone.name}`, onclick: () => this.removeChosen() }),
    );
    const again = focused ? this.#form.querySelector(`[data-key="${focused}"]`) : null;
    if (again instanceof HTMLElement) again.focus();
  }
}
