// The tracks page: live and ended tracks of all sonars in one table.

import { Connection } from "../shared/connection.js";
import { byId, element, find } from "../shared/elements.js";
import { count, zoneNow } from "../shared/format.js";
import { mountShell } from "../shared/shell.js";
import { showCard } from "./card.js";
import { COLUMNS, isLive, sorted } from "./columns.js";

/** @typedef {import("./columns.js").Row} Row */

const PAGE = 100;
const MOST_ROWS = 3000;
const DRAW_MS = 500;
const TYPED_MS = 400;

const form = byId("filter", HTMLFormElement);
const card = byId("card");
const scroll = byId("scroll");
const more = byId("more", HTMLButtonElement);
const NUMBERS = ["min_length_m", "min_speed_m_s", "min_duration_s"];

/** Live tracks by id. @type {Map<string, Row>} */
const live = new Map();
/** Ended ones as the server gave them. @type {Row[]} */
let ended = [];
/** @type {string | null} */
let next = null;
let sort = "last_time_s";
let descending = true;
let chosen = "";
let problem = "";
/** The live track that the card showed last. */
let followed = "";
let loading = new AbortController();
let busy = false;
let newlyEnded = false;

const shell = mountShell({
  follow: false,
  keys: [
    { keys: "s", does: "All ended tracks that fit, as CSV", run: () => byId("csv").click() },
    { keys: "/", does: "Filter", run: () => field("sonar").focus() },
    { keys: ["j", "ArrowDown"], does: "Next track", run: () => step(1) },
    { keys: ["k", "ArrowUp"], does: "Track before", run: () => step(-1) },
    { keys: "Escape", does: "Close the card", run: close, when: () => !card.hidden },
  ],
});

/** @param {string} name */
function field(name) {
  return /** @type {HTMLInputElement | HTMLSelectElement} */ (form.elements.namedItem(name));
}

/** What the server is asked for. */
function query() {
  const asked = new URLSearchParams({ sort, order: descending ? "desc" : "asc" });
  if (field("sonar").value) asked.set("sonar", field("sonar").value);
  if (field("label").value !== "any") asked.set("label", field("label").value);
  if (field("within").value) asked.set("from", String(Math.floor(Date.now() / 1000) - Number(field("within").value)));
  for (const name of NUMBERS) if (field(name).value && Number(field(name).value) > 0) asked.set(name, field(name).value);
  return asked;
}

/**
 * Asks for a page of ended tracks.
 * @param {boolean} further  the one after those that are there
 */
async function load(further) {
  loading.abort();
  const mine = (loading = new AbortController());
  busy = true;
  const asked = query();
  asked.set("limit", String(PAGE));
  asked.set("state", "ended");
  if (further && next) asked.set("after", next);
  try {
    if (field("state").value === "live") {
      [ended, next] = [[], null];
    } else {
      const response = await fetch(`/api/v1/tracks?${asked}`, { signal: mine.signal, headers: { Accept: "application/json" } });
      const answer = await response.json();
      if (!response.ok) throw new Error(answer.error);
      ended = further ? [...ended, ...answer.ended] : answer.ended;
      next = answer.next;
    }
    problem = "";
  } catch (error) {
    if (mine.signal.aborted) return;
    problem = error instanceof Error ? error.message : String(error);
  }
  busy = false;
  draw();
}

/** Live tracks that fit the filter. */
function liveRows() {
  if (field("state").value === "ended") return [];
  const label = field("label").value;
  const sonar = field("sonar").value;
  const [length, speed, duration] = NUMBERS.map((name) => Number(field(name).value) || 0);
  const least = (/** @type {number | null} */ value, /** @type {number} */ limit) => !limit || (value !== null && value >= limit);
  const fitting = [...live.values()].filter((row) => (!sonar || row.sonar === sonar) && ["any", row.label].includes(label) && least(row.length_m, length) && least(row.speed_m_s, speed) && least(row.duration_s, duration));
  const column = COLUMNS.find(({ key }) => key === sort) ?? COLUMNS[1];
  return sorted(fitting, column, descending);
}

/**
 * Puts rows into a body: those that are there stay, with their new values.
 * @param {HTMLElement} body
 * @param {Row[]} rows
 */
function fill(body, rows) {
  const there = new Map([...body.children].map((row) => [/** @type {HTMLElement} */ (row).dataset.id, /** @type {HTMLTableRowElement} */ (row)]));
  rows.forEach((row, i) => {
    let shown = there.get(row.id);
    there.delete(row.id);
    if (!shown) {
      shown = element("tr", { tabIndex: -1 }, ...COLUMNS.map((column) => element("td", { className: column.number ? "number" : "" })));
      shown.dataset.id = row.id;
      shown.title = row.channel ?? "";
      shown.onclick = () => choose(row.id);
      // The one way in for the keyboard and for screen readers.
      const open = element("button", { type: "button", className: "open" });
      shown.cells[1].append(open);
    }
    shown.classList.toggle("live", isLive(row));
    shown.classList.toggle("coasting", row.state === "coasting");
    if (row.id === chosen) shown.setAttribute("aria-current", "true");
    else shown.removeAttribute("aria-current");
    COLUMNS.forEach((column, k) => {
      const place = k === 1 ? find(/** @type {HTMLTableRowElement} */ (shown).cells[1], "button") : /** @type {HTMLTableRowElement} */ (shown).cells[k];
      const text = column.text(row);
      if (place.textContent !== text) place.textContent = text;
    });
    if (body.children[i] !== shown) body.insertBefore(shown, body.children[i] ?? null);
  });
  for (const gone of there.values()) gone.remove();
}

function draw() {
  const rows = liveRows();
  fill(byId("live-rows"), rows);
  fill(byId("ended-rows"), ended);
  more.hidden = !next || ended.length >= MOST_ROWS;
  const filtered = [...query().keys()].length > 2 || field("state").value !== "all";
  const nothing = rows.length + ended.length === 0;
  const words = problem || (busy ? "" : filtered ? "No track fits. Clear the filter to see all." : "No tracks yet. A track appears here when an animal has been followed for some pings; it stays when it has ended.");
  byId("empty").hidden = !nothing || !words;
  byId("empty").textContent = words;
  const shown = `${count(rows.length)} live, ${count(ended.length)}${next ? " or more" : ""} ended`;
  const told = problem && !nothing ? problem : ended.length >= MOST_ROWS && next ? `${shown}; narrow the filter for others, or take the CSV` : shown;
  if (byId("count").textContent !== told) byId("count").textContent = told;
  byId("csv", HTMLAnchorElement).href = `/api/v1/tracks?${query()}&format=csv`;
  byId("geojson", HTMLAnchorElement).href = `/api/v1/export/tracks.geojson?${query()}`;
}

function drawHead() {
  byId("head").replaceChildren(
    ...COLUMNS.map(({ key, title, unit, number }) => {
      const name = key === "last_time_s" ? `${title} (${zoneNow()})` : unit ? `${title} (${unit})` : title;
      const button = element("button", { type: "button", textContent: name });
      const head = element("th", { scope: "col", className: number ? "number" : "" }, button);
      head.setAttribute("aria-sort", key !== sort ? "none" : descending ? "descending" : "ascending");
      button.onclick = () => {
        descending = key === sort ? !descending : Boolean(number) || key === "last_time_s";
        sort = key;
        drawHead();
        scroll.scrollTop = 0;
        remember();
        load(false);
      };
      return head;
    }),
  );
}

/** @param {string} id */
async function choose(id) {
  chosen = id;
  draw();
  const row = live.get(id) ?? ended.find((track) => track.id === id);
  if (row) showCard(card, row, close);
  remember();
  if (live.has(id)) return;
  try {
    const response = await fetch(`/api/v1/tracks/${id}`, { headers: { Accept: "application/json" } });
    if (response.ok && chosen === id) showCard(card, await response.json(), close);
  } catch {
    // The connection is lost, as the bar says; the card has what the table had.
  }
}

function close() {
  chosen = "";
  card.hidden = true;
  remember();
  draw();
}

/** @param {number} by */
function step(by) {
  const rows = [...document.querySelectorAll("tbody tr")].map((row) => /** @type {HTMLElement} */ (row));
  const at = rows.findIndex(({ dataset }) => dataset.id === chosen);
  const row = rows[at < 0 ? 0 : Math.min(Math.max(at + by, 0), rows.length - 1)];
  if (!row?.dataset.id) return;
  row.scrollIntoView({ block: "nearest" });
  choose(row.dataset.id);
}

/** Keeps what is chosen in the address. */
function remember() {
  const state = query();
  state.delete("from");
  for (const name of ["state", "within"]) if (field(name).value && field(name).value !== "all") state.set(name, field(name).value);
  if (chosen) state.set("track", chosen);
  history.replaceState(null, "", `#${state}`);
}

function recall() {
  const state = new URLSearchParams(location.hash.slice(1));
  for (const name of ["sonar", "state", "label", "within", ...NUMBERS]) {
    const value = state.get(name);
    if (value === null) continue;
    const choice = field(name);
    if (choice instanceof HTMLSelectElement && ![...choice.options].some((option) => option.value === value)) choice.append(element("option", { value, textContent: value || "none" }));
    choice.value = value;
  }
  if (COLUMNS.some(({ key }) => key === state.get("sort"))) sort = state.get("sort") ?? sort;
  descending = state.get("order") !== "asc";
  const track = /^#\d+$/.test(location.hash) ? location.hash.slice(1) : (state.get("track") ?? "");
  if (/^\d{1,19}$/.test(track)) choose(track);
}

/**
 * @param {string} name
 * @param {string[]} values
 */
function offer(name, values) {
  const choice = field(name);
  if (!(choice instanceof HTMLSelectElement)) return;
  for (const value of values) {
    if (![...choice.options].some((option) => option.value === value)) choice.append(element("option", { value, textContent: value || "none" }));
  }
}

async function askLabels() {
  const response = await fetch("/api/v1/tracks/labels", { headers: { Accept: "application/json" } });
  if (response.ok) offer("label", (await response.json()).labels);
}

/** @param {import("../shared/connection.js").TracksMessage} message */
function takeTracks(message) {
  const present = new Set(message.tracks.map(({ id }) => id));
  for (const [id, row] of live) {
    if (row.sonar === message.sonar && row.channel === message.channel && !present.has(id)) live.delete(id);
  }
  for (const track of message.tracks) {
    live.set(track.id, { ...track, sonar: message.sonar, channel: message.channel, time_s: message.time_s, duration_s: message.time_s - track.first_time_s });
  }
  if (message.ended.length) newlyEnded = true;
}

/** Draws what has changed; new ended tracks are asked for while the top of the newest is looked at. */
function refresh() {
  if (document.hidden) return;
  const top = scroll.scrollTop < 200 && ended.length <= PAGE;
  if (newlyEnded && top && !busy) {
    newlyEnded = false;
    setTimeout(() => load(false), 600); // the archive writes a moment later
  }
  draw();
  const row = live.get(chosen);
  if (row && !card.contains(document.activeElement)) showCard(card, row, close);
  if (followed && !row && chosen === followed) setTimeout(choose, 1000, followed); // it has ended: now with its path
  followed = row ? chosen : "";
}

let typed = 0;
form.oninput = () => {
  clearTimeout(typed);
  draw();
  typed = setTimeout(() => {
    remember();
    load(false);
  }, TYPED_MS);
};
form.onreset = () => setTimeout(() => form.oninput?.(new InputEvent("input")));
form.onsubmit = (event) => event.preventDefault();
more.onclick = () => load(true);
new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && !busy && next && load(true), { root: null, rootMargin: "400px" }).observe(more);

drawHead();
recall();
new Connection({
  state: (connected) => {
    shell.setConnection(connected ? "live" : "lost");
    if (!connected) return;
    live.clear();
    load(false);
    askLabels().catch(() => {});
  },
  message: (message) => {
    if (message.type === "state") {
      shell.takeState(message);
      offer("sonar", message.sonars.map(({ name }) => name));
    } else if (message.type === "tracks") {
      takeTracks(message);
    }
  },
});
setInterval(refresh, DRAW_MS);
