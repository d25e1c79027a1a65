// Numbers and times as people read them, with units. What is not known is a dash.

export const UNKNOWN = "–";

/** @param {number | null | undefined} value @returns {value is number} */
function known(value) {
  return typeof value === "number" && Number.isFinite(value);
}

/**
 * A number with a fixed count of decimals; a real minus sign.
 * @param {number | null | undefined} value
 * @param {number} [decimals]
 * @param {string} [unit] put behind it, with a space
 */
export function number(value, decimals = 0, unit = "") {
  if (!known(value)) return UNKNOWN;
  const text = value.toFixed(decimals);
  const shown = Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
  return unit ? `${shown} ${unit}` : shown;
}

/**
 * A count, its thousands apart: "12 345".
 * @param {number | null | undefined} value
 */
export function count(value) {
  return known(value) ? String(Math.round(value)).replace("-", "−").replace(/\B(?=(\d{3})+$)/g, "\u202f") : UNKNOWN;
}

/**
 * A length of time in the unit that suits it: "0.3 s", "45 s", "12 min", "3 h", "5 d".
 * @param {number | null | undefined} seconds
 */
export function duration(seconds) {
  if (!known(seconds)) return UNKNOWN;
  const size = Math.abs(seconds);
  if (size < 0.1 && size > 0) return number(seconds * 1000, size < 0.01 ? 1 : 0, "ms");
  if (size < 10) return number(seconds, 1, "s");
  if (size < 120) return number(seconds, 0, "s");
  if (size < 7200) return number(seconds / 60, 0, "min");
  return size < 172800 ? number(seconds / 3600, 0, "h") : number(seconds / 86400, 0, "d");
}

/**
 * A long stretch of time in two units: "3 d 4 h", "2 h 10 min", "45 s".
 * @param {number | null | undefined} seconds
 */
export function span(seconds) {
  if (!known(seconds)) return UNKNOWN;
  const total = Math.max(0, Math.round(seconds));
  const [days, hours, minutes] = [Math.floor(total / 86400), Math.floor(total / 3600) % 24, Math.floor(total / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${total % 60} s` : `${total} s`;
}

/**
 * A count of bytes: "512 B", "1.4 MB", "12 GB" (powers of 1000, as disks are sold).
 * @param {number | null | undefined} value
 */
export function bytes(value) {
  if (!known(value)) return UNKNOWN;
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let size = value;
  let unit = 0;
  while (Math.abs(size) >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return number(size, unit && Math.abs(size) < 9.95 ? 1 : 0, units[unit]);
}

/**
 * @param {number | null | undefined} value
 * @param {number} [decimals]
 */
export function db(value, decimals = 1) {
  return number(value, decimals, "dB");
}

/**
 * A frequency: "500 kHz", "1.20 MHz"; empty where it is not known.
 * @param {number | null | undefined} hz
 */
export function frequency(hz) {
  if (!known(hz) || hz <= 0) return "";
  return hz >= 1e6 ? `${(hz / 1e6).toFixed(2)} MHz` : `${Math.round(hz / 1e3)} kHz`;
}

/** @param {number} value */
const two = (value) => String(value).padStart(2, "0");

/** The zone of this computer's clock at a time, as "UTC+2" or "UTC−3:30". @param {Date} date */
function zone(date) {
  const minutes = -date.getTimezoneOffset();
  if (!minutes) return "UTC";
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `UTC${minutes < 0 ? "−" : "+"}${hours}${rest ? `:${two(rest)}` : ""}`;
}

/**
 * The time of day with its zone: "14:03:07 UTC+2"; `zoned: false` leaves the zone out, for columns that name it at the top.
 * @param {number | null | undefined} utcS seconds since 1970
 * @param {{ zoned?: boolean, utc?: boolean, seconds?: boolean }} [options]
 */
export function time(utcS, { zoned = true, utc = false, seconds = true } = {}) {
  if (!known(utcS)) return UNKNOWN;
  const date = new Date(utcS * 1000);
  if (Number.isNaN(date.getTime())) return UNKNOWN;
  const parts = utc
    ? [date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()]
    : [date.getHours(), date.getMinutes(), date.getSeconds()];
  const text = parts.slice(0, seconds ? 3 : 2).map(two).join(":");
  return zoned ? `${text} ${utc ? "UTC" : zone(date)}` : text;
}

/**
 * Date and time with the zone: "2026-03-01 14:03:07 UTC+2".
 * @param {number | null | undefined} utcS seconds since 1970
 * @param {{ zoned?: boolean, utc?: boolean, seconds?: boolean }} [options]
 */
export function dateTime(utcS, options = {}) {
  if (!known(utcS)) return UNKNOWN;
  const date = new Date(utcS * 1000);
  if (Number.isNaN(date.getTime())) return UNKNOWN;
  const [year, month, day] = options.utc
    ? [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate()]
    : [date.getFullYear(), date.getMonth(), date.getDate()];
  return `${year}-${two(month + 1)}-${two(day)} ${time(utcS, options)}`;
}

/** The zone that `time` and `dateTime` tell now, for heads of columns. */
export function zoneNow() {
  return zone(new Date());
}

/**
 * How long ago, by the server's clock: "just now", "40 s ago", "3 h ago".
 * @param {number | null | undefined} utcS seconds since 1970
 * @param {number} nowUtcS
 */
export function ago(utcS, nowUtcS) {
  if (!known(utcS)) return UNKNOWN;
  const seconds = nowUtcS - utcS;
  return seconds < 2 ? "just now" : `${duration(Math.round(seconds))} ago`;
}
