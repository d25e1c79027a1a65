// The form of all settings, drawn from their schema: nested groups, and in them what can be added and removed by name.

import { element, find } from "../shared/elements.js";
import { request } from "../shared/session.js";
import { Field } from "./field.js";
import { choices, resolve, title } from "./schema.js";

/** @typedef {import("./schema.js").Schema} Schema */

/**
 * What /api/v1/config gives.
 * @typedef {object} Configuration
 * @property {Schema} schema
 * @property {Record<string, any>} values
 * @property {Record<string, string>} origins of each dotted key that is not a default
 * @property {Record<string, string>} removed keys of what is removed here, though config.yaml or a profile has it, and where
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
 * @property {(what: string, key: string, place: string) => void} onRemove gets where it comes from
 * @property {(key: string) => void} onRestore
 */

/**
 * Draws all settings into `parent`; returns the fields by dotted key. The groups directly below the root stand open,
 * deeper ones are folded until somebody wants them. What has a name, a sonar or a zone, can be removed and brought back.
 * Named things inside a sonar, and triggers, are added by `onAdd`.
 * @param {HTMLElement} parent
 * @param {Configuration} config
 * @param {Actions} actions
 */
export function drawForm(parent, config, { onInput, onReset, onAdd, onRemove, onRestore }) {
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
          if (item.required?.length) addRemove(group, lowered(label, itemName), itemKey, config.origins[`${itemKey}.${item.required[0]}`] ?? "default");
        }
        for (const [removedKey, place] of Object.entries(config.removed)) {
          const removedName = removedKey.slice(key.length + 1);
          if (removedKey === `${key}.${removedName}` && !removedName.includes(".")) addRestore(container, title(name).replace(/s$/, ""), removedName, removedKey, place);
        }
        if (depth > 0 || key === "triggers") addAdder(container, name.replace(/s$/, ""), key, item);
      }
    }
  }

  /** @param {string} label @param {string} name that stays as it is */
  function lowered(label, name) {
    return label.toLowerCase().replace(name.toLowerCase(), name);
  }

  /**
   * @param {HTMLElement} group
   * @param {string} what
   * @param {string} key
   * @param {string} origin
   */
  function addRemove(group, what, key, origin) {
    if (/^(environment|command line)/.test(origin)) {
      group.append(element("p", { className: "fixed", textContent: `It comes from the ${origin}, and can be removed only there.` }));
      return;
    }
    const remove = element("button", { type: "button", className: "remove", textContent: `Remove ${key.split(".").pop()}` });
    remove.onclick = () => onRemove(what, key, origin);
    group.append(remove);
  }

  /**
   * @param {HTMLElement} container
   * @param {string} kind
   * @param {string} name
   * @param {string} key
   * @param {string} place
   */
  function addRestore(container, kind, name, key, place) {
    const restore = element("button", { type: "button", className: "plain", textContent: "Restore" });
    restore.setAttribute("aria-label", `Restore ${name}`);
    restore.onclick = () => onRestore(key);
    const row = element("p", { className: "gone" }, element("b", { textContent: `${kind} ${name}` }), ` removed here; it stands in ${place} `, restore);
    row.dataset.removed = key;
    container.append(row);
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
