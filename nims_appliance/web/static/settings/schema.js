// The schema of the settings: what a form needs to know of each, and how values are read by people.

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
 * @property {Schema} [items]
 * @property {any[]} [examples]
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
 * Follows $ref.
 * @param {Schema} schema
 * @param {Schema} root
 * @returns {Schema}
 */
export function resolve(schema, root) {
  while (schema.$ref) {
    const name = decodeURIComponent(schema.$ref.replace("#/$defs/", "")).replaceAll("~1", "/").replaceAll("~0", "~");
    schema = { ...root.$defs?.[name], ...schema, $ref: undefined };
  }
  return schema;
}

/** @param {string} name of a setting */
export function title(name) {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/**
 * A pattern like ^(a|b)$ is a choice.
 * @param {Schema} schema
 */
export function choices(schema) {
  if (schema.enum) return schema.enum;
  const match = /^\^\(([\w|-]+)\)\$$/.exec(schema.pattern ?? "");
  return match ? match[1].split("|") : null;
}

/**
 * @param {Schema} schema
 * @param {any} value
 */
export function kindOf(schema, value) {
  const type = [schema.type].flat().find((name) => name !== "null");
  return type ?? (Array.isArray(value) ? "array" : value === null ? "string" : typeof value);
}

/** @param {Schema} schema */
export function helpOf(schema) {
  const parts = [(schema.description ?? "").replaceAll("`", "")];
  const { minimum, maximum, exclusiveMinimum } = schema;
  const from = minimum ?? exclusiveMinimum;
  if (from !== undefined && maximum !== undefined) parts.push(`${from} to ${maximum}.`);
  if (schema.restart === "appliance") parts.push("Set in config.yaml; needs a restart of the appliance.");
  if (schema.restart === "sonar") parts.push("The sonar starts anew.");
  return parts.filter(Boolean).map((part) => (/[.!?]$/.test(part) ? part : `${part}.`)).join(" ");
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
