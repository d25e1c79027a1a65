// A form drawn from a JSON Schema: nested groups of fields, one for each setting.

/** Follows $ref and the one real branch of an anyOf. */
function resolve(schema, root) {
  while (schema.$ref) {
    const name = decodeURIComponent(schema.$ref.replace("#/$defs/", "")).replaceAll("~1", "/").replaceAll("~0", "~");
    schema = { ...root.$defs[name], ...schema, $ref: undefined };
  }
  return schema;
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function title(name) {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** A pattern like ^(a|b)$ is a choice. */
function choices(schema) {
  if (schema.enum) return schema.enum;
  const match = /^\^\(([\w|-]+)\)\$$/.exec(schema.pattern ?? "");
  return match ? match[1].split("|") : null;
}

function kindOf(schema, value) {
  const type = [schema.type].flat().find((name) => name !== "null");
  return type ?? (Array.isArray(value) ? "array" : value === null ? "string" : typeof value);
}

/** One setting: its input, and what it says about it. */
class Field {
  constructor(key, name, schema, onInput, onReset) {
    this.key = key;
    this.schema = schema;
    const id = `setting-${key}`;
    const options = choices(schema);
    this.kind = kindOf(schema, schema.default);
    if (options) {
      this.input = element("select", { id }, ...options.map((option) => new Option(option, option)));
    } else if (this.kind === "boolean") {
      this.input = element("input", { id, type: "checkbox" });
    } else if (this.kind === "object") {
      this.input = element("textarea", { id, rows: 3, spellcheck: false });
    } else {
      this.input = element("input", { id, type: "text", spellcheck: false, autocomplete: "off" });
      if (this.kind === "integer" || this.kind === "number") this.input.inputMode = "decimal";
    }
    this.input.disabled = schema.restart === "appliance";
    this.error = element("p", { className: "error", id: `${id}-error`, hidden: true });
    this.origin = element("span", { className: "origin" });
    this.reset = element("button", { type: "button", className: "plain", textContent: "undo", title: "Back to the value below" });
    this.reset.onclick = () => onReset(this);
    const unit = schema.unit ? element("span", { className: "unit", textContent: ` ${schema.unit}` }) : null;
    const help = element("p", { className: "help", id: `${id}-help`, textContent: helpOf(schema) });
    this.row = element(
      "div", { className: "field" },
      element("div", {}, element("label", { htmlFor: id, textContent: schema.title ?? title(name) }), unit, element("p", { className: "from" }, this.origin, this.reset)),
      this.input, help, this.error,
    );
    this.input.setAttribute("aria-describedby", `${help.id} ${this.error.id}`);
    this.input.addEventListener("input", () => onInput(this));
  }

  /** Shows the saved value and where it comes from. */
  show(value, origin) {
    this.saved = value;
    this.write(value);
    this.origin.textContent = origin;
    const own = origin.startsWith("overrides");
    this.row.classList.toggle("differs", origin !== "default" && !origin.startsWith("profile"));
    this.reset.hidden = !own;
  }

  write(value) {
    if (this.kind === "boolean") this.input.checked = Boolean(value);
    else if (this.kind === "object") this.input.value = JSON.stringify(value ?? {}, null, 1);
    else if (this.kind === "array") this.input.value = (value ?? []).join(", ");
    else this.input.value = value ?? "";
  }

  /** The value as typed; throws with a sentence when it cannot be one. */
  read() {
    const text = this.input.value;
    const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, pattern } = this.schema;
    switch (this.kind) {
      case "boolean":
        return this.input.checked;
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
        if (value < minimum) throw new Error(`at least ${minimum}`);
        if (value > maximum) throw new Error(`at most ${maximum}`);
        if (value <= exclusiveMinimum) throw new Error(`more than ${exclusiveMinimum}`);
        if (value >= exclusiveMaximum) throw new Error(`less than ${exclusiveMaximum}`);
        return value;
      }
      default:
        if (pattern && !new RegExp(pattern).test(text)) throw new Error("not a valid value");
        return text;
    }
  }

  complain(text) {
    this.error.textContent = text;
    this.error.hidden = !text;
    this.input.setAttribute("aria-invalid", text ? "true" : "false");
  }
}

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
 * removed there: `onRemove` gets what it is, and its key. Named things inside a sonar are added by `onAdd`, which gets the
 * values to begin with by key, and returns what is wrong with them.
 */
export function drawForm(parent, config, { onInput, onReset, onAdd, onRemove }) {
  const fields = new Map();
  const root = config.schema;

  function draw(container, schema, values, prefix, depth) {
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
      } else {
        const item = resolve(own.additionalProperties, root);
        for (const [itemName, itemValue] of Object.entries(value ?? {})) {
          const label = `${title(name).replace(/s$/, "")} ${itemName}`;
          const itemKey = `${key}.${itemName}`;
          const group = addGroup(container, label, null, depth, itemKey);
          draw(group, withDriver(item, itemValue), itemValue, `${itemKey}.`, depth + 1);
          if (item.required.some((needed) => config.origins[`${itemKey}.${needed}`]?.startsWith("overrides"))) {
            const remove = element("button", { type: "button", className: "remove", textContent: `Remove ${itemName}` });
            remove.onclick = () => onRemove(label.toLowerCase().replace(itemName.toLowerCase(), itemName), itemKey);
            group.append(remove);
          }
        }
        if (depth > 0) addAdder(container, name.replace(/s$/, ""), key, item);
      }
    }
  }

  /** The settings of a sonar's driver have a schema of their own, once it is known which driver it is. */
  function withDriver(schema, value) {
    const driver = config.profiles[value.profile]?.driver;
    const own = driver && root.$defs[`driver ${driver}`];
    if (!own || !schema.properties?.driver) return schema;
    return { ...schema, properties: { ...schema.properties, driver: { ...own, title: "Driver" } } };
  }

  function addGroup(container, label, about, depth, key) {
    const count = element("span", { className: "count" });
    const summary = element("summary", { textContent: label });
    if (about) summary.append(element("span", { className: "about", textContent: about }));
    summary.append(count);
    const group = element("details", { className: "group", open: depth === 0 }, summary);
    group.dataset.key = key;
    container.append(group);
    return group;
  }

  /** A name, and a button that makes a thing of this name with the first choice of each setting that it needs. */
  function addAdder(container, what, key, item) {
    const input = element("input", { type: "text", spellcheck: false, autocomplete: "off", placeholder: "name" });
    const button = element("button", { type: "button", textContent: `Add ${what}` });
    const complaint = element("p", { className: "error", hidden: true });
    input.setAttribute("aria-label", `Name of a new ${what}`);
    button.onclick = async () => {
      const needed = item.required.map((name) => [`${key}.${input.value.trim()}.${name}`, choices(item.properties[name])[0]]);
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
    group.querySelector(":scope > summary > .count").textContent = own ? `${own} set` : "";
  }
  return fields;
}
