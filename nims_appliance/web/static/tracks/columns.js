// The columns of the table: what of a live track and of an ended one stands in each, and by what the archive sorts.

import { dateTime, number } from "../shared/format.js";

/**
 * @typedef {Record<string, any>} Row  a track as the API gives it; live ones have `state`
 * @typedef {object} Column
 * @property {string} key  by which the archive sorts
 * @property {string} title
 * @property {string} [unit]
 * @property {boolean} [number]
 * @property {(row: Row) => number | string | null | undefined} value  by which live ones are sorted
 * @property {(row: Row) => string} text
 */

/** @param {Row} row */
export const isLive = (row) => row.state !== undefined;

/** @type {Column[]} */
export const COLUMNS = [
  { key: "sonar", title: "Sonar", value: (row) => row.sonar, text: (row) => row.sonar },
  { key: "last_time_s", title: "Last seen", value: (row) => row.last_time_s ?? row.time_s, text: (row) => (isLive(row) ? "now" : dateTime(row.last_time_s, { zoned: false })) },
  { key: "label", title: "Class", value: (row) => row.label, text: (row) => row.label || "–" },
  { key: "duration_s", title: "Lasted", unit: "s", number: true, value: (row) => row.duration_s, text: (row) => number(row.duration_s, 1) },
  { key: "mean_length_m", title: "Length", unit: "m", number: true, value: (row) => row.mean_length_m ?? row.length_m, text: (row) => number(row.mean_length_m ?? row.length_m, 2) },
  { key: "mean_speed_m_s", title: "Speed", unit: "m/s", number: true, value: (row) => row.mean_speed_m_s ?? row.speed_m_s, text: (row) => number(row.mean_speed_m_s ?? row.speed_m_s, 2) },
  { key: "min_range_m", title: "Range", unit: "m", number: true, value: (row) => row.min_range_m ?? row.range_m, text: (row) => (isLive(row) ? number(row.range_m, 1) : `${number(row.min_range_m, 1)}–${number(row.max_range_m, 1)}`) },
  { key: "strength_db", title: "Strength", unit: "dB", number: true, value: (row) => row.strength_db, text: (row) => number(row.strength_db, 1) },
  { key: "hits", title: "Seen", unit: "pings", number: true, value: (row) => row.hits, text: (row) => String(row.hits ?? "–") },
  { key: "quality", title: "Quality", number: true, value: (row) => row.quality, text: (row) => number(row.quality, 2) },
];

/**
 * Sorts as the archive does: tracks without a value last, equal ones by id.
 * @param {Row[]} rows
 * @param {Column} column
 * @param {boolean} descending
 */
export function sorted(rows, column, descending) {
  const way = descending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [one, other] = [column.value(a) ?? null, column.value(b) ?? null];
    if (one === null || other === null) return Number(one === null) - Number(other === null);
    if (one !== other) return one < other ? -way : way;
    return BigInt(a.id) < BigInt(b.id) ? -way : way;
  });
}
