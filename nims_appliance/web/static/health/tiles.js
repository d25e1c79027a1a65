// Tiles: the computer at a glance.

import { element, find } from "../shared/elements.js";
import { bytes, count, duration, number } from "../shared/format.js";
import { setText, showKeyed } from "../shared/keyed.js";

/**
 * @typedef {import("./types.js").Health} Health
 * @typedef {{id: string, label: string, value: string, notes: string[], level: string}} Tile
 */

/**
 * @param {HTMLElement} place
 * @param {Health} health
 */
export function showTiles(place, health) {
  showKeyed(
    place,
    tilesOf(health),
    ({ id }) => id,
    ({ id, label }) => element("article", { id, className: "tile" }, element("h2", { textContent: label }), element("p", { className: "value" }), element("p", { className: "note" })),
    (shown, { value, notes, level }) => {
      shown.dataset.level = level;
      setText(find(shown, ".value"), value);
      setText(find(shown, ".note"), notes.filter(Boolean).join(" · "));
    },
  );
}

/**
 * @param {Health} health
 * @returns {Tile[]}
 */
function tilesOf(health) {
  const part = (/** @type {string} */ name) => health.parts.find((one) => one.name === name);
  const [clock, disk, process] = [part("clock"), part("disk"), part("process")];
  const tiles = [];
  if (clock) tiles.push(clockTile(clock));
  if (disk) {
    const { free_bytes: free, total_bytes: total, left_s: left, filling_bytes_s: filling } = disk.statistics;
    tiles.push({
      id: "disk",
      label: "Disk",
      value: `${bytes(free)} free`,
      notes: [disk.warning || disk.last_error, `of ${bytes(total)}`, fillingText(filling, left)],
      level: disk.state === "failed" ? "bad" : disk.warning ? "warn" : "",
    });
  }
  tiles.push(recordingTile(health));
  if (process) {
    const told = process.statistics;
    const used = told.memory_total_bytes ? 1 - told.memory_available_bytes / told.memory_total_bytes : null;
    tiles.push({
      id: "memory",
      label: "Memory",
      value: bytes(told.resident_bytes),
      notes: [`${number(used === null ? null : used * 100, 0, "%")} of the computer's ${bytes(told.memory_total_bytes)} in use`],
      level: used !== null && used > 0.95 ? "warn" : "",
    });
    tiles.push({
      id: "processor",
      label: "Processor",
      value: number(told.processor_share * 100, 0, "%"),
      notes: [`of one of ${told.processors}`, `load of the computer ${number(told.load_1min, 1)}`],
      level: "",
    });
  }
  const { WARNING: warnings = 0, ERROR: errors = 0 } = health.log_counts;
  tiles.push({
    id: "logged",
    label: "Logged",
    value: errors === 1 ? "1 error" : `${count(errors)} errors`,
    notes: [warnings === 1 ? "1 warning" : `${count(warnings)} warnings`, "since the start"],
    level: "",
  });
  tiles.push({ id: "viewers", label: "Viewers", value: count(health.viewers), notes: ["browsers on the live page"], level: "" });
  return tiles;
}

/**
 * @param {number | null} filling bytes a second
 * @param {number | null} left seconds
 */
function fillingText(filling, left) {
  if (filling === null) return "";
  if (filling < 1000) return "not filling";
  return `filling by ${bytes(filling * 3600)} an hour${left === null ? "" : `, full in ${duration(left)}`}`;
}

/**
 * @param {import("./types.js").Part} clock
 * @returns {Tile}
 */
function clockTile({ statistics, warning }) {
  const { synchronised, estimated_error_s: error, steps = [], sonar_offset_s: offsets = {} } = statistics;
  const value = synchronised === null ? "unknown" : synchronised ? `±${duration(error)}` : "not synced";
  const told = Object.entries(offsets).map(([name, offset]) => `${duration(Math.abs(offset))} ${offset < 0 ? "behind" : "ahead of"} ${name}`);
  return {
    id: "clock",
    label: "Clock",
    value,
    notes: [
      warning,
      synchronised ? "set by a time server" : synchronised === false ? "no time server (NTP or GPS) sets it" : "the computer does not tell",
      told.join(", "),
      steps.length ? `${steps.length === 1 ? "1 jump" : `${steps.length} jumps`}, last ${steps.at(-1).clock === "system" ? "this computer's" : `that of ${steps.at(-1).clock}`} by ${signed(steps.at(-1).step_s)}` : "no jumps",
    ],
    level: warning ? "warn" : "",
  };
}

/** @param {number} seconds */
function signed(seconds) {
  return `${seconds > 0 ? "+" : "−"}${duration(Math.abs(seconds))}`;
}

/**
 * @param {Health} health
 * @returns {Tile}
 */
function recordingTile({ parts }) {
  const recorders = parts.filter(({ statistics }) => "recording" in statistics);
  const on = recorders.filter(({ statistics }) => statistics.recording);
  const sum = (/** @type {string} */ key) => recorders.reduce((total, { statistics }) => total + (statistics[key] ?? 0), 0);
  const failed = on.find(({ state }) => state === "failed");
  return {
    id: "recording",
    label: "Recording",
    value: on.length ? `${on.length} of ${recorders.length}` : "off",
    notes: [failed?.last_error ?? "", sum("written_bytes") ? `${bytes(sum("written_bytes"))} written` : "", sum("lost_bytes") ? `${bytes(sum("lost_bytes"))} lost` : ""],
    level: failed ? "bad" : sum("lost_bytes") ? "warn" : "",
  };
}
