// A form drawn from a JSON Schema: nested groups of fields, one for each setting.

import { element, find } from "../shared/elements.js";
import { request } from "../shared/session.js";

/**
 * The part of JSON Schema that settings use, with `unit` and `restart` added.
 * @typedef {object} Schema
 * @property {string} [$ref]
 * @property {Record<string, Schema>} [$defs]
 * @property {Record<string, Schema>} [properties]
 * @property {Schema | boolean} [additionalProperties]
 * @property {string[]} [required]
 * @property {string | string[]} [type]
 * @property {string[]} [enum]
 * @property {string} [pattern]
 * @property {string} [title]
 * @property {string} [description]
 * @property {string} [unit]
 * @property {"sonar" | "appliance"} [restart]
 * @property {boolean} [secret] never shown: dots stand for it
 * @property {any} [default]
 * @property {number} [minimum]
 * @property {number} [maximum]
 * @property {number} [exclusiveMinimum]
 * @property {number} [exclusiveMaximum]
 */

/**
 * What /api/v1/config gives.
 * @typedef {object} Configuration
 * @property {Schema} schema
 * @property {Record<string, any>} values
 * @property {Record<string, string>} origins of each dotted key that is not a default
 * @property {Record<string, Profile>} profiles
 * @property {string[]} errors
 * @property {string[]} warnings
 * @property {boolean} edited  whether config.yaml is another than at the start
 */

/** @typedef {{title: string, driver: string, default_link?: string}} Profile */

/**
 * @typedef {object} Actions
 * @property {(field: Field) => void} onInput
 * @property {(field: Field) => void} onReset
 * @property {(changes: Record<string, any>) => Promise<string>} onAdd gets the values to begin with by key; gives what is wrong
 * @property {(what: string, key: string) => void} onRemove
 */

/**
 * Follows $ref.
 * @param {Schema} schema
 * @param {Schema} root
 * @returns {Schema}
 */
function resolve(schema, root) {
  while (schema.$ref) {
    const name = decodeURIComponent(schema.$ref.replace("#/$defs/", "")).replaceAll("~1", "/").replaceAll("~0", "~");
    schema = { ...root.$defs?.[name], ...schema, $ref: undefined };
  }
  return schema;
}

/** @param {string} name of a setting */
function title(name) {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/**
 * A pattern like ^(a|b)$ is a choice.
 * @param {Schema} schema
 */
function choices(schema) {
  if (schema.enum) return schema.enum;
  const match = /^\^\(([\w|-]+)\)\$$/.exec(schema.pattern ?? "");
  return match ? match[1].split("|") : null;
}

/**
 * @param {Schema} schema
 * @param {any} value
 */
function kindOf(schema, value) {
  const type = [schema.type].flat().find((name) => name !== "null");
  return type ?? (Array.isArray(value) ? "array" : value === null ? "string" : typeof value);
}

/** One setting: its input, and what it says about it. */
export class Field {
  /** @type {any} */
  saved;

  /**
   * @param {string} key
   * @param {string} name
   * @param {Schema} schema
   * @param {Actions["onInput"]} onInput
   * @param {Actions["onReset"]} onReset
   */
  constructor(key, name, schema, onInput, onReset) {
    this.key = key;
    this.schema = schema;
    const id = `setting-${key}`;
    const options = choices(schema);
    this.kind = kindOf(schema, schema.default);
    this.input = inputFor(id, this.kind, options);
    if (schema.secret) Object.assign(this.input, { type: "password", autocomplete: "new-password" });
    this.error = element("p", { className: "error", id: `${id}-error`, hidden: true });
    this.origin = element("span", { className: "origin" });
    this.reset = element("button", { type: "button", className: "plain", textContent: "Reset", title: "Back to what config.yaml, the profile or the default says" });
    this.reset.onclick = () => onReset(this);
    this.reset.setAttribute("aria-label", `Reset ${schema.title ?? title(name)}`);
    this.conflict = element("p", { className: "conflict", role: "status", hidden: true });
    const unit = schema.unit ? element("span", { className: "unit", textContent: schema.unit }) : null;
    const help = element("p", { className: "help", id: `${id}-help`, textContent: helpOf(schema) });
    this.row = element(
      "div", { className: "field" },
      element("div", {}, element("label", { htmlFor: id, textContent: schema.title ?? title(name) }), element("p", { className: "from" }, this.origin, this.reset)),
      element("div", { className: "control" }, this.input, unit),
      help, this.error, this.conflict,
    );
    this.row.dataset.words = `${key} ${schema.title ?? title(name)} ${schema.description ?? ""}`.toLowerCase();
    this.input.setAttribute("aria-describedby", `${help.id} ${this.error.id}`);
    this.input.addEventListener("input", () => onInput(this));
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
    this.input.disabled = held || this.schema.restart === "appliance";
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
    if (isCheckbox(this.input)) this.input.checked = Boolean(value);
    else if (this.kind === "object") this.input.value = JSON.stringify(value ?? {}, null, 1);
    else if (this.kind === "array") this.input.value = (value ?? []).join(", ");
    else this.input.value = value ?? "";
  }

  /**
   * The value as typed; throws with a sentence when it cannot be one.
   * @returns {any}
   */
  read() {
    const text = this.input.value;
    const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, pattern } = this.schema;
    if (isCheckbox(this.input)) return this.input.checked;
    switch (this.kind) {
      case "array":
        return text.split(",").map((part) => part.trim()).filter(Boolean);
      case "object":
        try {
          return JSON.parse(text);
        } catch {
          throw new Error("expected JSON, such as {\"key\": 1}");
        }
      case "integer":
      case "number": {
        const value = Number(text.trim().replace(",", "."));
        if (text.trim() === "" || !Number.isFinite(value)) throw new Error("expected a number");
        if (this.kind === "integer" && !Number.isInteger(value)) throw new Error("expected a whole number");
        if (minimum !== undefined && value < minimum) throw new Error(`at least ${minimum}`);
        if (maximum !== undefined && value > maximum) throw new Error(`at most ${maximum}`);
        if (exclusiveMinimum !== undefined && value <= exclusiveMinimum) throw new Error(`more than ${exclusiveMinimum}`);
        if (exclusiveMaximum !== undefined && value >= exclusiveMaximum) throw new Error(`less than ${exclusiveMaximum}`);
        return value;
      }
      default:
        if (pattern && !new RegExp(pattern).test(text)) throw new Error("not a valid value");
        return text;
    }
  }

  /** @param {string} text what is wrong; empty: nothing */
  complain(text) {
    this.error.textContent = text;
    this.error.hidden = !text;
    this.input.setAttribute("aria-invalid", text ? "true" : "false");
  }
}

/**
 * A value as people read it.
 * @param {any} value
 * @returns {string}
 */
export function textOf(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return value ? "on" : "off";
  if (Array.isArray(value)) return value.length ? value.map(textOf).join(", ") : "none";
  if (typeof value === "object") return Object.entries(value).map(([key, item]) => `${key} ${textOf(item)}`).join(", ") || "none";
  return value === "" ? "empty" : String(value);
}

/**
 * @param {HTMLElement} input
 * @returns {input is HTMLInputElement}
 */
function isCheckbox(input) {
  return input instanceof HTMLInputElement && input.type === "checkbox";
}

/**
 * @param {string} id
 * @param {string} kind
 * @param {string[] | null} options
 */
function inputFor(id, kind, options) {
  if (options) return element("select", { id }, ...options.map((option) => new Option(option, option)));
  if (kind === "boolean") return element("input", { id, type: "checkbox" });
  if (kind === "object") return element("textarea", { id, rows: 3, spellcheck: false });
  const inputMode = kind === "integer" || kind === "number" ? "decimal" : "text";
  return element("input", { id, type: "text", spellcheck: false, autocomplete: "off", inputMode });
}

/** @param {Schema} schema */
function helpOf(schema) {
  const parts = [schema.description ?? ""];
  const { minimum, maximum, exclusiveMinimum } = schema;
  const from = minimum ?? exclusiveMinimum;
  if (from !== undefined && maximum !== undefined) parts.push(`${from} to ${maximum}.`);
  if (schema.restart === "appliance") parts.push("Set in config.yaml; needs a restart of the appliance.");
  if (schema.restart === "sonar") parts.push("The sonar starts anew.");
  return parts.filter(Boolean).map((part) => (/[.!?]$/.test(part) ? part : `${part}.`)).join(" ");
}

/**
 * Draws all settings into `parent`; returns the fields by dotted key. The groups directly below the root stand open,
 * deeper ones are folded until somebody wants them. What has a name and was added in the browser, a sonar or a zone, can be
 * removed there: `onRemove` gets what it is, and its key. Named things inside a sonar are added by `onAdd`.
 * @param {HTMLElement} parent
 * @param {Configuration} config
 * @param {Actions} actions
 */
export function drawForm(parent, config, { onInput, onReset, onAdd, onRemove }) {
  /** @type {Map<string, Field>} */
  const fields = new Map();
  const root = config.schema;

  /**
   * @param {HTMLElement} container
   * @param {Schema} schema
   * @param {any} values
   * @param {string} prefix
   * @param {number} depth
   */
  function draw(container, schema, values, prefix, depth) {
    /** @type {[string, string, Schema, any][]} */
    const groups = [];
    for (const [name, property] of Object.entries(schema.properties ?? {})) {
      const own = resolve(property, root);
      const key = prefix + name;
      const value = values?.[name];
      if (own.properties || typeof own.additionalProperties === "object") groups.push([name, key, own, value]);
      else addField(container, key, name, own, value);
    }
    for (const [name, key, own, value] of groups) {
      if (own.properties) {
        draw(addGroup(container, own.title && !own.title.endsWith("Settings") ? own.title : title(name), own.description, depth, key), own, value, `${key}.`, depth + 1);
      } else if (typeof own.additionalProperties === "object") {
        const item = resolve(own.additionalProperties, root);
        for (const [itemName, itemValue] of Object.entries(key === "outputs" ? { ...outputs(), ...value } : value ?? {})) {
          const label = `${title(name).replace(/s$/, "")} ${itemName}`;
          const itemKey = `${key}.${itemName}`;
          const group = addGroup(container, label, null, depth, itemKey);
          const own = key === "outputs" ? root.$defs?.[`output ${itemName}`] : withDriver(item, itemValue);
          draw(group, own ?? item, itemValue, `${itemKey}.`, depth + 1);
          if (key === "triggers") addTest(group, itemName);
          if (item.required?.some((needed) => config.origins[`${itemKey}.${needed}`]?.startsWith("overrides"))) {
            const remove = element("button", { type: "button", className: "remove", textContent: `Remove ${itemName}` });
            remove.onclick = () => onRemove(label.toLowerCase().replace(itemName.toLowerCase(), itemName), itemKey);
            group.append(remove);
          } else if (item.required?.length) {
            const origin = config.origins[`${itemKey}.${item.required[0]}`] ?? "default";
            group.append(element("p", { className: "fixed", textContent: `It comes from the ${origin.startsWith("profile") ? "profile" : origin}, and can be removed only there.` }));
          }
        }
        if (depth > 0 || key === "triggers") addAdder(container, name.replace(/s$/, ""), key, item);
      }
    }
  }

  /** The outputs that plugins offer, also those of which nothing is set. @returns {Record<string, any>} */
  function outputs() {
    const names = Object.keys(root.$defs ?? {}).filter((name) => name.startsWith("output "));
    return Object.fromEntries(names.map((name) => [name.slice("output ".length), {}]));
  }

  /**
   * A button that sets off a trigger as it is saved.
   * @param {HTMLElement} group
   * @param {string} name
   */
  function addTest(group, name) {
    const told = element("div", { className: "help" });
    told.setAttribute("role", "status");
    /** @param {string[]} lines */
    const tell = (...lines) => told.replaceChildren(...lines.map((line) => element("p", { textContent: line })));
    const button = element("button", { type: "button", textContent: `Test ${name}` });
    button.onclick = async () => {
      button.disabled = true;
      tell("Set off as it is saved; its message says that it is a test.");
      try {
        const { actions } = await request("POST", `/api/v1/triggers/${encodeURIComponent(name)}/test`);
        /** @param {{ action: string, ok: boolean, told: string }} one */
        const line = ({ action, ok, told }) => `${ok ? "✓" : "✗ failed:"} ${action}: ${told}`;
        tell(...(actions.length ? actions.map(line) : ["It has no action: nothing was done."]));
      } catch (error) {
        tell(error instanceof Error ? error.message : String(error));
      }
      button.disabled = false;
    };
    group.append(element("div", { className: "adder" }, button, told));
  }

  /**
   * The settings of a sonar's driver have a schema of their own, once it is known which driver it is.
   * @param {Schema} schema
   * @param {any} value
   * @returns {Schema}
   */
  function withDriver(schema, value) {
    const driver = config.profiles[value.profile]?.driver;
    const own = driver && root.$defs?.[`driver ${driver}`];
    if (!own || !schema.properties?.driver) return schema;
    return { ...schema, properties: { ...schema.properties, driver: { ...own, title: "Driver" } } };
  }

  /**
   * @param {HTMLElement} container
   * @param {string} label
   * @param {string | null | undefined} about
   * @param {number} depth
   * @param {string} key
   */
  function addGroup(container, label, about, depth, key) {
    const count = element("span", { className: "count" });
    const summary = element("summary", { textContent: label });
    if (about) summary.append(element("span", { className: "about", textContent: about }));
    summary.append(count);
    const group = element("details", { className: "group", open: depth === 0 }, summary);
    group.dataset.key = key;
    group.dataset.title = label;
    container.append(group);
    return group;
  }

  /**
   * A name, and a button that makes a thing of this name with the first choice of each setting that it needs.
   * @param {HTMLElement} container
   * @param {string} what
   * @param {string} key
   * @param {Schema} item
   */
  function addAdder(container, what, key, item) {
    const input = element("input", { type: "text", spellcheck: false, autocomplete: "off", placeholder: "name" });
    const button = element("button", { type: "button", textContent: `Add ${what}` });
    const complaint = element("p", { className: "error", hidden: true });
    input.setAttribute("aria-label", `Name of a new ${what}`);
    button.onclick = async () => {
      const needed = (item.required ?? []).map((name) => {
        const property = item.properties?.[name];
        return [`${key}.${input.value.trim()}.${name}`, property ? choices(property)?.[0] : undefined];
      });
      complaint.textContent = await onAdd(Object.fromEntries(needed));
      complaint.hidden = !complaint.textContent;
    };
    input.onkeydown = (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault(); // it would save the form
      button.click();
    };
    container.append(element("div", { className: "adder" }, input, button, complaint));
  }

  /**
   * @param {HTMLElement} container
   * @param {string} key
   * @param {string} name
   * @param {Schema} schema
   * @param {any} value
   */
  function addField(container, key, name, schema, value) {
    if (/^sonars\.[^.]+\.profile$/.test(key)) schema = { ...schema, enum: Object.keys(config.profiles).sort() };
    const field = new Field(key, name, schema, onInput, onReset);
    field.show(value === undefined ? schema.default : value, config.origins[key] ?? "default");
    fields.set(key, field);
    container.append(field.row);
  }

  parent.replaceChildren();
  draw(parent, resolve(root, root), config.values, "", 0);
  for (const group of parent.querySelectorAll("details")) {
    const own = [...group.querySelectorAll(".field.differs")].length;
    find(group, ":scope > summary > .count").textContent = own ? `${own} set` : "";
  }
  return fields;
}
