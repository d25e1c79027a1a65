// One setting: what it is typed into, and what is said about it.

import { element } from "../shared/elements.js";
import { editorFor } from "./editors.js";
import { helpOf, textOf, title } from "./schema.js";

/** @typedef {import("./schema.js").Schema} Schema */

export class Field {
  /** @type {any} */
  saved;
  #editor;

  /**
   * @param {string} key
   * @param {string} name
   * @param {Schema} schema
   * @param {(field: Field) => void} onInput
   * @param {(field: Field) => void} onReset
   */
  constructor(key, name, schema, onInput, onReset) {
    this.key = key;
    this.schema = schema;
    const id = `setting-${key}`;
    const label = schema.title ?? title(name);
    this.#editor = editorFor(id, label, schema);
    const control = this.#editor.element;
    this.error = element("p", { className: "error", id: `${id}-error`, hidden: true });
    this.origin = element("span", { className: "origin" });
    this.reset = element("button", { type: "button", className: "plain", textContent: "Reset", title: "Back to what config.yaml, the profile or the default says" });
    this.reset.onclick = () => onReset(this);
    this.reset.setAttribute("aria-label", `Reset ${label}`);
    this.conflict = element("p", { className: "conflict", role: "status", hidden: true });
    const unit = schema.unit ? element("span", { className: "unit", textContent: schema.unit }) : null;
    const help = element("p", { className: "help", id: `${id}-help`, textContent: helpOf(schema) });
    const isList = control.matches(".list");
    this.row = element(
      "div", { className: "field" },
      element("div", {}, isList ? element("span", { className: "label", textContent: label }) : element("label", { htmlFor: id, textContent: label }), element("p", { className: "from" }, this.origin, this.reset)),
      element("div", { className: "control" }, control, unit),
      help, this.error, this.conflict,
    );
    // Addresses are long: they get the room of the help, which then stands below.
    this.row.classList.toggle("wide", isList || Boolean(schema.examples));
    this.row.dataset.words = `${key} ${label} ${schema.description ?? ""}`.toLowerCase();
    control.setAttribute("aria-describedby", `${help.id} ${this.error.id}`);
    control.addEventListener("input", () => onInput(this));
  }

  /**
   * Shows the saved value and where it comes from.
   * @param {any} value
   * @param {string} origin
   */
  show(value, origin) {
    this.saved = value;
    this.write(value);
    const differs = origin !== "default" && !origin.startsWith("profile");
    const held = /^(environment|command line)/.test(origin);
    this.#editor.disable(held || this.schema.restart === "appliance");
    this.origin.textContent = origin === "default" ? "" : held ? `held by the ${origin}` : origin;
    const { default: usual } = this.schema;
    this.origin.title = differs && usual !== undefined ? `default: ${textOf(usual)}` : "";
    this.row.classList.toggle("differs", differs);
    this.reset.hidden = !origin.startsWith("overrides");
  }

  /**
   * Says that somebody else has changed the setting while another value is typed here.
   * @param {string} text  empty: nobody has
   * @param {() => void} [onTake]
   */
  tellConflict(text, onTake) {
    this.conflict.hidden = !text;
    this.conflict.replaceChildren(text);
    if (!text) return;
    const take = element("button", { type: "button", className: "plain", textContent: "Take theirs" });
    take.onclick = () => onTake?.();
    this.conflict.append(" ", take);
  }

  /** @param {any} value */
  write(value) {
    this.#editor.write(value);
  }

  /**
   * The value as typed; throws with a sentence when it cannot be one.
   * @returns {any}
   */
  read() {
    return this.#editor.read();
  }

  /** @param {string} text what is wrong; empty: nothing */
  complain(text) {
    this.error.textContent = text;
    this.error.hidden = !text;
    this.#editor.complain(text);
  }
}
