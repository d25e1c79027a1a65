// The sections of the health page, each drawn from the same answer of the server.

import { element, find } from "../shared/elements.js";
import { ago, bytes, count, dateTime, duration, number, UNKNOWN } from "../shared/format.js";
import { setText, showKeyed } from "../shared/keyed.js";

/**
 * @typedef {import("./types.js").Health} Health
 * @typedef {import("./types.js").Part} Part
 * @typedef {import("./rates.js").Rates} Rates
 */

/** @param {Part} part */
const problemOf = ({ state, detail, last_error: error }) => (state === "failed" ? error || detail : "");

/** @param {number | null} rate of bytes; null: not known yet */
const perSecond = (rate) => (rate === null ? UNKNOWN : `${bytes(rate)}/s`);

/**
 * What a sonar's part counts, in words and units.
 * @param {Part} part
 * @param {Rates} rates
 * @param {number} nowS
 * @returns {[string, string, string?][]} label, value, level
 */
function figuresOfSonar({ name, statistics: told }, rates, nowS) {
  const dropped = Object.entries(told.dropped_by ?? {}).filter(([, lost]) => lost > 0);
  const errors = Object.values(told.packet_errors ?? {}).reduce((sum, more) => sum + more, 0);
  const failures = (told.pipeline_failures ?? 0) + (told.metrics_failures ?? 0) + (told.display_failures ?? 0) + (told.decoder_crashes ?? 0);
  return [
    ["Pings", `${number(told.rate_hz, 1)}/s`],
    ["Newest ping", told.age_s === null ? UNKNOWN : `${duration(told.age_s)} ago`, told.age_s > 5 ? "warn" : ""],
    ["Bytes", perSecond(rates.of(`${name} bytes`, told.received_bytes ?? 0, nowS))],
    ["Ping to track", `${number(told.latency_p50_ms, 0)} ms (99 %: ${number(told.latency_p99_ms, 0)})`],
    ["Samples × beams", told.samples ? `${count(told.samples)} × ${count(told.beams)}` : UNKNOWN],
    ["Connections", count(told.connects)],
    ["Dropped", dropped.length ? dropped.map(([stage, lost]) => `${count(lost)} by ${stage}`).join(", ") : "none", dropped.length ? "warn" : ""],
    ["Bad packets", errors ? `${count(errors)}: ${Object.keys(told.packet_errors).join(", ")}` : "none", errors ? "warn" : ""],
    ["Unreadable", bytes(told.skipped_bytes), told.skipped_bytes ? "warn" : ""],
    ["Failures", count(failures), failures ? "bad" : ""],
    ["Clock", told.clock_offset_s === null ? UNKNOWN : `${duration(Math.abs(told.clock_offset_s))} ${told.clock_offset_s < 0 ? "ahead" : "behind"}`],
    ["Tracks", count(told.tracks)],
  ];
}

/**
 * @param {HTMLElement} place
 * @param {Health} health
 * @param {Rates} rates
 */
export function showSonars(place, health, rates) {
  if (!health.sonars.length) {
    place.replaceChildren(element("p", { className: "quiet", textContent: health.errors.length ? "None runs until the configuration is repaired." : "No sonar is configured." }));
    return;
  }
  place.querySelector(":scope > p")?.remove();
  showKeyed(
    place,
    health.sonars,
    ({ name }) => name,
    ({ name }) =>
      element(
        "article", { className: "sonar" },
        element("header", {}, element("h3", { textContent: name }), element("p", { className: "state" })),
        element("p", { className: "quiet device" }),
        element("dl", { className: "figures" }),
        element("p", { className: "trouble" }),
      ),
    (shown, { name, title, link }) => {
      const part = health.parts.find((one) => one.name === `sonar ${name}`);
      const told = part?.statistics ?? {};
      showState(find(shown, ".state"), part);
      setText(find(shown, ".device"), [told.device || title, link].filter(Boolean).join(" · "));
      find(shown, "dl").hidden = told.received_bytes === undefined;
      showKeyed(
        find(shown, "dl"),
        told.received_bytes === undefined || !part ? [] : figuresOfSonar(part, rates, health.time_s),
        ([label]) => label,
        ([label]) => element("div", {}, element("dt", { textContent: label }), element("dd")),
        (figure, [, value, level]) => {
          figure.dataset.level = level ?? "";
          setText(find(figure, "dd"), value);
        },
      );
      const trouble = [
        part && part.state !== "running" ? part.detail : "",
        told.link_warning,
        part?.last_error && `${part.last_error} (${ago(part.last_error_utc_s, health.time_s)})`,
        told.last_packet_error && `last bad packet: ${told.last_packet_error}`,
        ...(told.notes ?? []),
      ].filter(Boolean);
      setText(find(shown, ".trouble"), [...new Set(trouble)].join("\n"));
    },
  );
}

/**
 * @param {HTMLElement} place
 * @param {Part | undefined} part
 */
function showState(place, part) {
  place.dataset.state = part?.state ?? "stopped";
  setText(place, part?.state ?? "stopped");
}

/**
 * @param {HTMLElement} place
 * @param {Health} health
 */
export function showParts(place, health) {
  showKeyed(
    place,
    health.parts,
    ({ name }) => name,
    ({ name }) =>
      element(
        "details", { className: "part" },
        element(
          "summary", {},
          element("span", { className: "state" }),
          element("span", { className: "name", textContent: name }),
          element("span", { className: "detail quiet" }),
          element("span", { className: "restarts" }),
          element("span", { className: "since quiet" }),
        ),
        element("p", { className: "trouble" }),
        element("dl", { className: "counters" }),
      ),
    (shown, part) => {
      const { state, detail, restarts, since_utc_s: since, last_error: error, last_error_utc_s: when, warning, statistics } = part;
      showState(find(shown, ".state"), part);
      setText(find(shown, ".detail"), warning || problemOf(part) || detail);
      find(shown, ".detail").dataset.level = state === "failed" ? "bad" : warning ? "warn" : "";
      setText(find(shown, ".restarts"), restarts ? `${count(restarts)} ${restarts === 1 ? "restart" : "restarts"}` : "");
      setText(find(shown, ".since"), `for ${duration(Math.max(0, Math.round(health.time_s - since)))}`);
      setText(find(shown, ".trouble"), error ? `Last error, ${dateTime(when)}: ${error}` : "No error so far.");
      showKeyed(
        find(shown, "dl"),
        Object.entries(statistics),
        ([key]) => key,
        ([key]) => element("div", {}, element("dt", { textContent: key }), element("dd")),
        (figure, [, value]) => setText(find(figure, "dd"), plain(value)),
      );
    },
  );
}

/**
 * A counter of any part, which may be a vendor's.
 * @param {any} value
 * @returns {string}
 */
function plain(value) {
  if (value === null || value === "") return UNKNOWN;
  if (typeof value === "number") return Number.isInteger(value) ? count(value) : String(Number(value.toPrecision(6)));
  if (Array.isArray(value)) return value.length ? value.map(plain).join("; ") : "none";
  if (typeof value === "object") return Object.entries(value).map(([key, item]) => `${key} ${plain(item)}`).join(", ") || "none";
  return String(value);
}

/**
 * @typedef {object} QueueRow
 * @property {string} key
 * @property {string} name
 * @property {boolean} head  whether it is the bus itself
 * @property {number | null} rate
 * @property {number} items
 * @property {number} dropped
 * @property {number | null} queued
 * @property {number | null} lag_s
 * @property {string} policy
 */

/**
 * @param {HTMLElement} place  the body of the table
 * @param {Health} health
 * @param {Rates} rates
 */
export function showQueues(place, health, rates) {
  /** @type {QueueRow[]} */
  const rows = health.buses.flatMap((bus) => {
    const of = (/** @type {string} */ key, /** @type {number} */ value) => rates.of(key, value, health.time_s);
    const head = { key: bus.name, name: bus.name, head: true, rate: of(`bus ${bus.name}`, bus.published), items: bus.published, dropped: bus.dropped, queued: null, lag_s: null, policy: "" };
    const seen = new Map();
    const below = bus.subscribers.map((one) => {
      const n = (seen.get(one.name) ?? 0) + 1; // several may bear one name
      seen.set(one.name, n);
      const key = `${bus.name}/${one.name}/${n}`;
      return { key, name: one.name, head: false, rate: of(key, one.delivered), items: one.delivered, dropped: one.dropped, queued: one.queued, lag_s: one.lag_s, policy: one.policy };
    });
    return [head, ...below];
  });
  showKeyed(
    place,
    rows,
    ({ key }) => key,
    ({ name, head, policy }) => {
      const cells = [0, 1, 2, 3, 4].map(() => element("td", { className: "number" }));
      return element("tr", { className: head ? "bus" : "subscriber" }, element("th", { scope: "row", textContent: name }), ...cells, element("td", { textContent: policyText(policy) }));
    },
    (row, { rate, items, dropped, queued, lag_s: lag }) => {
      const cells = row.querySelectorAll("td");
      const texts = [number(rate, 1), count(items), count(dropped), queued === null ? "" : count(queued), lag === null ? "" : lag ? duration(lag) : "0 s"];
      texts.forEach((text, i) => setText(cells[i], text));
      cells[2].dataset.level = dropped ? "warn" : "";
    },
  );
}

/** @param {string} policy */
function policyText(policy) {
  const depth = /^all_within\((\d+)\)$/.exec(policy)?.[1];
  return depth ? `the last ${depth}` : policy === "latest" ? "the newest" : policy;
}

/**
 * @param {HTMLElement} place  the body of the table
 * @param {HTMLElement} notes  a list below it
 * @param {Health} health
 */
export function showPlugins(place, notes, health) {
  showKeyed(
    place,
    health.plugins.map((plugin, n) => ({ ...plugin, key: `${plugin.name}/${n}` })),
    ({ key }) => key,
    ({ name, version, origin }) =>
      element(
        "tr", {},
        element("th", { scope: "row", textContent: name }),
        element("td", { textContent: version || UNKNOWN }),
        element("td", { textContent: origin }),
        element("td", { className: "quiet offers" }),
        element("td"),
      ),
    (row, { hooks, state, error }) => {
      const [, , offers, told] = row.querySelectorAll("td");
      setText(offers, Object.entries(hooks).flatMap(([hook, names]) => (names.length ? [`${hook.replace("nims_", "")}: ${names.join(", ")}`] : [])).join("; "));
      setText(told, error || state);
      told.className = error ? "trouble" : "";
    },
  );
  const lines = [...health.profile_errors, ...health.notes, ...health.warnings];
  showKeyed(notes, lines, (line) => line, (line) => element("li", { textContent: line }), () => {});
}

/**
 * @param {HTMLElement} place
 * @param {Health} health
 */
export function showVersions(place, { versions, data }) {
  showKeyed(
    place,
    [...Object.entries(versions), ["data folder", data]],
    ([name]) => name,
    ([name]) => element("div", {}, element("dt", { textContent: name }), element("dd")),
    (shown, [, version]) => setText(find(shown, "dd"), version || UNKNOWN),
  );
}
