// A draft of a sonar's zones while they are edited: changes that can be undone, and what is to be saved of them.

/**
 * @typedef {import("../shared/connection.js").Zone} Zone
 * @typedef {import("./place.js").Polar} Polar
 * @typedef {import("./zones.js").Edge} Edge
 */

const DEGREE = Math.PI / 180;
/** @type {(keyof Zone)[]} */
const KEYS = ["kind", "enabled", "min_range_m", "max_range_m", "min_bearing_deg", "max_bearing_deg"];
const UNLIMITED = { min_range_m: 0, max_range_m: 1e6, min_bearing_deg: -180, max_bearing_deg: 180 };
const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/;
const MOST_UNDO = 100;

/** @param {number} value @param {number} step */
function rounded(value, step) {
  return Number((Math.round(value / step) * step).toFixed(3));
}

/**
 * Edges of the region between two corners, in steps that suit people.
 * @param {Polar} a
 * @param {Polar} b
 * @returns {Pick<Zone, Edge>}
 */
export function regionBetween(a, b) {
  const ranges = [a.range_m, b.range_m].map((range) => rounded(range, 0.05)).sort((one, other) => one - other);
  const bearings = [a.bearing_rad, b.bearing_rad].map((bearing) => rounded(bearing / DEGREE, 0.5)).sort((one, other) => one - other);
  return { min_range_m: ranges[0], max_range_m: ranges[1], min_bearing_deg: bearings[0], max_bearing_deg: bearings[1] };
}

export class ZoneDraft {
  /** @type {Zone[]} */
  zones = [];
  /** @type {Map<string, Zone>} as saved */
  #saved = new Map();
  /** @type {Zone[][]} */
  #undo = [];

  /**
   * Takes what is saved; a draft that was not changed follows it.
   * @param {Zone[]} zones
   */
  takeSaved(zones) {
    const follows = !this.isChanged;
    this.#saved = new Map(zones.map((zone) => [zone.name, { ...zone }]));
    if (follows) this.zones = zones.map((zone) => ({ ...zone }));
  }

  get isChanged() {
    return Object.keys(this.changes("")).length > 0;
  }

  get canUndo() {
    return this.#undo.length > 0;
  }

  /** Begins a step that `undo` takes back. */
  mark() {
    this.#undo.push(this.zones.map((zone) => ({ ...zone })));
    if (this.#undo.length > MOST_UNDO) this.#undo.shift();
  }

  undo() {
    this.zones = this.#undo.pop() ?? this.zones;
  }

  /** Back to what is saved; that can be undone too. */
  discard() {
    this.mark();
    this.zones = [...this.#saved.values()].map((zone) => ({ ...zone }));
  }

  /**
   * Adds a zone under the first name that is free.
   * @param {Partial<Zone>} edges
   * @returns {Zone}
   */
  add(edges) {
    this.mark();
    const names = new Set([...this.zones.map(({ name }) => name), ...this.#saved.keys()]);
    let number = 1;
    while (names.has(`zone-${number}`)) number++;
    const zone = { name: `zone-${number}`, kind: "watched", enabled: true, ...UNLIMITED, ...edges };
    this.zones.push(zone);
    return zone;
  }

  /** @param {Zone} zone */
  remove(zone) {
    this.mark();
    this.zones = this.zones.filter((other) => other !== zone);
  }

  /**
   * What is wrong with it; empty: nothing.
   * @returns {string}
   */
  problem() {
    const names = new Set();
    for (const zone of this.zones) {
      if (!NAME.test(zone.name)) return `“${zone.name}”: a name has letters, digits, - and _, at most 32`;
      if (names.has(zone.name)) return `there are two zones “${zone.name}”`;
      names.add(zone.name);
      if (!(zone.min_range_m < zone.max_range_m)) return `${zone.name}: its range must end farther than it begins`;
      if (!(zone.min_bearing_deg < zone.max_bearing_deg)) return `${zone.name}: its right bearing must be larger than its left`;
    }
    return "";
  }

  /**
   * The settings that differ from what is saved, by dotted key.
   * @param {string} prefix of the keys, such as "sonars.pen.zones."
   */
  changes(prefix) {
    /** @type {Record<string, unknown>} */
    const changes = {};
    const names = new Set(this.zones.map(({ name }) => name));
    for (const name of this.#saved.keys()) if (!names.has(name)) changes[prefix + name] = "removed";
    for (const zone of this.zones) {
      const saved = this.#saved.get(zone.name);
      for (const key of KEYS) {
        // Of a new one only what is no default: the file stays short.
        const before = saved ? saved[key] : key === "kind" ? undefined : key === "enabled" ? true : UNLIMITED[/** @type {Edge} */ (key)];
        if (zone[key] !== before) changes[`${prefix}${zone.name}.${key}`] = zone[key];
      }
    }
    return changes;
  }
}

/**
 * Moves edges of a zone to a place; an edge does not pass the one across.
 * @param {Zone} zone
 * @param {Edge[]} edges
 * @param {Polar} to
 */
export function moveEdges(zone, edges, to) {
  const range = rounded(to.range_m, 0.05);
  const bearing = rounded(to.bearing_rad / DEGREE, 0.5);
  for (const edge of edges) {
    if (edge === "min_range_m") zone[edge] = Math.max(0, Math.min(range, rounded(zone.max_range_m - 0.05, 0.05)));
    else if (edge === "max_range_m") zone[edge] = Math.max(range, rounded(zone.min_range_m + 0.05, 0.05));
    else if (edge === "min_bearing_deg") zone[edge] = Math.max(-180, Math.min(bearing, zone.max_bearing_deg - 0.5));
    else zone[edge] = Math.min(180, Math.max(bearing, zone.min_bearing_deg + 0.5));
  }
}

/**
 * Moves a whole zone as it was, `before`, by the way from one place to another.
 * @param {Zone} zone
 * @param {Zone} before
 * @param {Polar} from
 * @param {Polar} to
 * @param {boolean} alsoBearing
 */
export function moveZone(zone, before, from, to, alsoBearing) {
  const out = Math.max(to.range_m - from.range_m, -before.min_range_m);
  // An edge without a limit keeps having none.
  const isBand = before.max_range_m >= UNLIMITED.max_range_m;
  zone.min_range_m = rounded(before.min_range_m + out, 0.05);
  zone.max_range_m = isBand ? before.max_range_m : rounded(before.max_range_m + out, 0.05);
  if (!alsoBearing) return;
  const wanted = (to.bearing_rad - from.bearing_rad) / DEGREE;
  const turn = Math.min(Math.max(wanted, -180 - before.min_bearing_deg), 180 - before.max_bearing_deg);
  zone.min_bearing_deg = rounded(before.min_bearing_deg + turn, 0.5);
  zone.max_bearing_deg = rounded(before.max_bearing_deg + turn, 0.5);
}
