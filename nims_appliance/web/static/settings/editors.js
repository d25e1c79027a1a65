// What a setting is typed into: a box, a choice, a line of text, a list of lines.

import { element } from "../shared/elements.js";
import { choices, kindOf } from "./schema.js";

/** @typedef {import("./schema.js").Schema} Schema */

/**
 * @typedef {object} Editor
 * @property {HTMLElement} element fires "input" when what is in it has changed
 * @property {(value: any) => void} write
 * @property {() => any} read throws with a sentence when what is typed cannot be a value
 * @property {(disabled: boolean) => void} disable
 * @property {(text: string) => void} complain marks what is wrong; empty: nothing is
 */

/**
 * @param {string} id of the control that a label is for
 * @param {string} label
 * @param {Schema} schema
 * @returns {Editor}
 */
export function editorFor(id, label, schema) {
  const kind = kindOf(schema, schema.default);
  const options = choices(schema);
  if (options) return new LineEditor(element("select", { id }, ...options.map((option) => new Option(option, option))), schema, "string");
  if (kind === "boolean") return new BoxEditor(element("input", { id, type: "checkbox" }));
  if (kind === "object") return new ObjectEditor(element("textarea", { id, rows: 3, spellcheck: false }));
  if (kind === "array") return new ListEditor(id, label, schema);
  return new LineEditor(lineInput(id, schema, kind), schema, kind);
}

/**
 * @param {string} id
 * @param {Schema} schema
 * @param {string} kind
 */
function lineInput(id, schema, kind) {
  const inputMode = kind === "integer" || kind === "number" ? "decimal" : "text";
  const input = element("input", { id, type: "text", spellcheck: false, autocomplete: "off", inputMode, placeholder: schema.examples?.[0] ?? "" });
  if (schema.secret) Object.assign(input, { type: "password", autocomplete: "new-password" });
  return input;
}

/**
 * The value of a text as it was typed; throws with a sentence when it cannot be one.
 * @param {string} text
 * @param {Schema} schema
 * @param {string} kind
 */
function valueOf(text, { minimum, maximum, exclusiveMinimum, exclusiveMaximum, pattern }, kind) {
  if (kind !== "integer" && kind !== "number") {
    if (pattern && !new RegExp(pattern).test(text)) throw new Error("not a valid value");
    return text;
  }
  const value = Number(text.trim().replace(",", "."));
  if (text.trim() === "" || !Number.isFinite(value)) throw new Error("expected a number");
  if (kind === "integer" && !Number.isInteger(value)) throw new Error("expected a whole number");
  if (minimum !== undefined && value < minimum) throw new Error(`at least ${minimum}`);
  if (maximum !== undefined && value > maximum) throw new Error(`at most ${maximum}`);
  if (exclusiveMinimum !== undefined && value <= exclusiveMinimum) throw new Error(`more than ${exclusiveMinimum}`);
  if (exclusiveMaximum !== undefined && value >= exclusiveMaximum) throw new Error(`less than ${exclusiveMaximum}`);
  return value;
}

/** @template {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} E */
class OneControl {
  element;

  /** @param {E} control */
  constructor(control) {
    this.element = control;
  }

  /** @param {boolean} disabled */
  disable(disabled) {
    this.element.disabled = disabled;
  }

  /** @param {string} text */
  complain(text) {
    this.element.setAttribute("aria-invalid", String(Boolean(text)));
  }
}

/** @extends {OneControl<HTMLInputElement>} */
class BoxEditor extends OneControl {
  /** @param {any} value */
  write(value) {
    this.element.checked = Boolean(value);
  }

  read() {
    return this.element.checked;
  }
}

/** @extends {OneControl<HTMLTextAreaElement>} */
class ObjectEditor extends OneControl {
  /** @param {any} value */
  write(value) {
    this.element.value = JSON.stringify(value ?? {}, null, 1);
  }

  read() {
    try {
      return JSON.parse(this.element.value);
    } catch {
      throw new Error("expected JSON, such as {\"key\": 1}");
    }
  }
}

/** @extends {OneControl<HTMLInputElement | HTMLSelectElement>} */
class LineEditor extends OneControl {
  #schema;
  #kind;

  /**
   * @param {HTMLInputElement | HTMLSelectElement} control
   * @param {Schema} schema
   * @param {string} kind
   */
  constructor(control, schema, kind) {
    super(control);
    this.#schema = schema;
    this.#kind = kind;
  }

  /** @param {any} value */
  write(value) {
    this.element.value = value ?? "";
  }

  read() {
    return valueOf(this.element.value, this.#schema, this.#kind);
  }
}

/** A line for each value of a list, in their order; empty lines do not count. */
class ListEditor {
  element;
  #id;
  #label;
  #schema;
  #kind;
  #lines = element("ol");
  #add = element("button", { type: "button", textContent: "Add" });
  #disabled = false;

  /**
   * @param {string} id
   * @param {string} label
   * @param {Schema} schema
   */
  constructor(id, label, schema) {
    this.#id = id;
    this.#label = label;
    this.#schema = schema;
    this.#kind = kindOf(schema.items ?? {}, "");
    this.#add.setAttribute("aria-label", `Add to ${label}`);
    this.#add.onclick = () => this.#insert(this.#inputs().length).focus();
    this.element = element("div", { className: "list", id }, this.#lines, this.#add);
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", label);
  }

  /** @param {any} value */
  write(value) {
    this.#lines.replaceChildren();
    for (const one of value ?? []) this.#insert(this.#inputs().length, String(one));
  }

  read() {
    const typed = this.#inputs().filter(({ value }) => value.trim() !== "");
    return typed.map((input, index) => {
      try {
        return valueOf(input.value.trim(), this.#schema.items ?? {}, this.#kind);
      } catch (error) {
        throw new Error(`line ${index + 1}: ${error instanceof Error ? error.message : error}`);
      }
    });
  }

  /** @param {boolean} disabled */
  disable(disabled) {
    this.#disabled = disabled;
    for (const control of this.element.querySelectorAll("input, button")) /** @type {HTMLInputElement} */ (control).disabled = disabled;
  }

  /** @param {string} text */
  complain(text) {
    const inputs = this.#inputs();
    const named = inputs.filter(({ value }, index) => value.trim() && (text.includes(`'${value.trim()}'`) || text.startsWith(`line ${index + 1}:`)));
    for (const input of inputs) input.setAttribute("aria-invalid", String(Boolean(text) && (!named.length || named.includes(input))));
  }

  #inputs() {
    return [...this.#lines.querySelectorAll("input")];
  }

  /**
   * @param {number} index
   * @param {string} value
   */
  #insert(index, value = "") {
    const input = lineInput("", { ...this.#schema.items, examples: this.#schema.examples?.[0] }, this.#kind);
    input.value = value;
    input.disabled = this.#disabled;
    input.setAttribute("aria-describedby", `${this.#id}-help ${this.#id}-error`);
    input.onkeydown = (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault(); // it would save the form
      this.#insert(this.#inputs().indexOf(input) + 1).focus();
    };
    const remove = element("button", { type: "button", className: "icon", title: "Remove", textContent: "×", disabled: this.#disabled });
    const line = element("li", {}, input, remove);
    remove.onclick = () => {
      const at = this.#inputs().indexOf(input);
      line.remove();
      this.#number();
      (this.#inputs()[Math.max(0, at - 1)] ?? this.#add).focus();
      this.element.dispatchEvent(new Event("input"));
    };
    this.#lines.insertBefore(line, this.#lines.children[index] ?? null);
    this.#number();
    return input;
  }

  /** Names the lines: what reads them aloud, and the page when it is drawn anew, find them by that. */
  #number() {
    for (const [index, line] of [...this.#lines.children].entries()) {
      const [input, remove] = line.children;
      input.id = `${this.#id}-${index + 1}`;
      input.setAttribute("aria-label", `${this.#label} ${index + 1}`);
      remove.setAttribute("aria-label", `Remove ${this.#label} ${index + 1}`);
    }
  }
}
