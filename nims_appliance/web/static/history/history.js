// The history page: when tracks ended, where they went, and each of them with its clip.

import { DEFAULT_MAP, cssGradient, echoColours } from "../live/colormap.js";
import { classOf, inkOf } from "../live/classes.js";
import { byId, element, find } from "../shared/elements.js";
import { bytes, count, dateTime, duration, number } from "../shared/format.js";
import { mountShell } from "../shared/shell.js";
import { palette } from "../shared/theme.js";
import { Card } from "./card.js";
import { HeatMapView } from "./heatmap.js";
import { Timeline } from "./timeline.js";

const PAGE = 100;
const FIRST_SPAN_S = 7 * 86400;
const SETTLE_MS = 150;

/** @typedef {"tracks" | "clips"} Which */

const form = byId("filter", HTMLFormElement);
const rows = byId("rows");
const more = byId("more", HTMLButtonElement);
const empty = byId("empty");
const heat = new HeatMapView(byId("heat", HTMLCanvasElement));
const timeline = new Timeline(byId("timeline", HTMLCanvasElement), (what) => (what === "view" ? loadSoon() : loadSelection()));
const card = new Card(byId("card"), () => (heat.mark(null), mark("")), () => void loadList(true));

mountShell({
  onPalette: () => (showLegend(), timeline.draw(), heat.draw(), card.player?.redraw()),
  keys: [
    { keys: "+", does: "Zoom into the time", group: "History", run: () => timeline.zoom(0.5) },
    { keys: "-", does: "Zoom out of the time", group: "History", run: () => timeline.zoom(2) },
    { keys: "Space", does: "Play or pause the clip", group: "History", run: () => card.player?.toggle() },
    { keys: ",", does: "One ping back", group: "History", run: () => card.player?.step(-1) },
    { keys: ".", does: "One ping forward", group: "History", run: () => card.player?.step(1) },
    { keys: "Escape", does: "Close the card", group: "History", run: () => card.isOpen && card.close() },
  ],
});

/** @type {Which} */
let which = "tracks";
/** @type {string | null} */
let next = null;
/** Counts up with each question: only the newest answer is shown. */
const asked = { counts: 0, map: 0, list: 0 };
/** @type {{first: number, last: number} | null} */
let archived = null;
/** @type {string[]} */
let labels = [];
/** @type {ReturnType<typeof setTimeout> | undefined} */
let soon;

/** @param {string} name */
const field = (name) => String(new FormData(form).get(name) ?? "");

/** What is asked for, as arguments. @param {string[]} names of fields */
function asks(...names) {
  const query = new URLSearchParams({ from: String(timeline.span.from), to: String(timeline.span.to) });
  for (const name of names) {
    const value = field(name);
    if (name === "label" ? value !== "any" : value) query.set(name, value);
  }
  return query;
}

/** @param {string} path */
async function ask(path) {
  const response = await fetch(path, { headers: { Accept: "application/json" } });
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new Error(answer?.error ?? `the server answered ${response.status}`);
  return answer;
}

/** @param {string} text */
function say(text) {
  const notice = byId("notice");
  notice.textContent = text;
  notice.hidden = !text;
}

/**
 * Runs what may fail, and says why it did.
 * @param {() => Promise<void>} load
 */
async function guarded(load) {
  try {
    await load();
    say("");
  } catch (error) {
    say(error instanceof Error ? error.message : String(error));
  }
}

function loadSoon() {
  timeline.draw();
  clearTimeout(soon);
  soon = setTimeout(() => (loadCounts(), loadSelection()), SETTLE_MS);
}

function loadCounts() {
  const ticket = ++asked.counts;
  return guarded(async () => {
    const { from, to } = timeline.view;
    const query = new URLSearchParams({ from: String(from), to: String(to), points: String(timeline.points) });
    if (field("sonar")) query.set("sonar", field("sonar"));
    const counts = await ask(`/api/v1/tracks/counts?${query}`);
    if (ticket !== asked.counts) return;
    timeline.show(counts);
    labels = Object.keys(counts.labels);
    showLegend();
    byId("bucket").textContent = `tracks per ${duration(counts.bucket_s).replace(/^1(\.0)? /, "").replace("60 min", "h")}`;
  });
}

function showLegend() {
  byId("legend").replaceChildren(...labels.filter(Boolean).sort().map((label) => {
    const swatch = element("i");
    swatch.style.setProperty("background", inkOf(classOf(label)));
    return element("span", {}, swatch, label);
  }));
  byId("ramp").style.setProperty("background", cssGradient(echoColours(DEFAULT_MAP, palette()).subarray(0), "to right"));
}

function loadSelection() {
  const { from, to } = timeline.span;
  byId("span").textContent = `${dateTime(from, { seconds: false, zoned: false })} to ${dateTime(to, { seconds: false })}`;
  byId("zoom", HTMLButtonElement).disabled = !timeline.chosen;
  loadMap();
  return loadList(true);
}

function loadMap() {
  const ticket = ++asked.map;
  return guarded(async () => {
    const map = await ask(`/api/v1/tracks/map?${asks("sonar", "label")}`);
    if (ticket !== asked.map) return;
    heat.show(map);
    byId("heat-empty").hidden = map.ring.length > 0;
    byId("heat-scale").hidden = !map.ring.length;
    byId("most").textContent = count(heat.most);
  });
}

/** @param {boolean} anew */
function loadList(anew) {
  const ticket = ++asked.list;
  return guarded(async () => {
    const query = which === "tracks" ? asks("sonar", "label", "zone", "min_length_m", "min_speed_m_s") : asks("sonar");
    query.set("limit", String(PAGE));
    if (!anew && next) query.set("after", next);
    const answer = await ask(which === "tracks" ? `/api/v1/tracks?state=ended&${query}` : `/api/v1/clips?${query}`);
    if (ticket !== asked.list) return;
    const found = which === "tracks" ? answer.ended.map(trackRow) : answer.clips.map(clipRow);
    next = answer.next;
    if (anew) rows.replaceChildren(...found);
    else rows.append(...found);
    more.hidden = !next;
    empty.hidden = rows.childElementCount > 0;
    empty.textContent = which === "tracks"
      ? archived ? "No track ended in this time that fits." : "Nothing has been seen yet. Tracks come here as they end."
      : "No clip of this time. Clips are kept for sonars whose switch “clips” is on.";
    if (which === "tracks") byId("csv", HTMLAnchorElement).href = `/api/v1/tracks?format=csv&${asks("sonar", "label", "zone", "min_length_m", "min_speed_m_s")}`;
    mark(card.isOpen ? shownKey : "");
  });
}

let shownKey = "";

/** @param {string} key of the row that the card shows */
function mark(key) {
  shownKey = key;
  for (const row of rows.querySelectorAll("tr")) row.toggleAttribute("aria-current", row.dataset.key === key);
}

/**
 * @param {string} key
 * @param {string} name of what it opens
 * @param {(string | Node)[]} cells the first opens it
 * @param {() => void} open
 */
function makeRow(key, name, cells, open) {
  const button = element("button", { type: "button", className: "open" }, cells[0]);
  button.setAttribute("aria-label", name);
  const row = element("tr", {}, element("td", {}, button), ...cells.slice(1).map((cell) => element("td", {}, cell)));
  row.dataset.key = key;
  row.onclick = () => {
    mark(key);
    open();
  };
  return row;
}

/** @param {any} track */
function trackRow(track) {
  const swatch = element("i");
  swatch.style.setProperty("background", inkOf(classOf(track.label)));
  const when = dateTime(track.last_time_s, { zoned: false });
  return makeRow(
    track.id,
    `Track of ${when}`,
    [
      when,
      element("span", { className: "class" }, swatch, track.label || "–"),
      track.sonar,
      duration(track.duration_s),
      number(track.mean_length_m, 2, "m"),
      number(track.mean_speed_m_s, 2, "m/s"),
      track.clip ? element("span", { className: "has-clip", title: "There is a clip" }, "▶", element("span", { className: "hidden", textContent: "clip" })) : "",
    ],
    () => void openTrack(track.id),
  );
}

/** @param {any} clip */
function clipRow(clip) {
  const when = dateTime(clip.start_s, { zoned: false });
  return makeRow(
    clip.name,
    `Clip of ${when}`,
    [
      when,
      clip.reason === "track" ? "track" : clip.reason,
      clip.sonar,
      clip.end_s > clip.start_s ? duration(clip.end_s - clip.start_s) : "–",
      `${clip.tracks.length} ${clip.tracks.length === 1 ? "track" : "tracks"}`,
      bytes(clip.bytes),
      clip.keep ? element("span", { className: "kept", textContent: "kept" }) : "",
    ],
    () => void card.showClip(clip.name),
  );
}

/** @param {string} id */
function openTrack(id) {
  return guarded(async () => {
    const track = await ask(`/api/v1/tracks/${id}`);
    heat.mark(track.positions);
    await card.showTrack(track);
  });
}

/** @param {Which} wanted */
function showList(wanted) {
  which = wanted;
  const heads = {
    tracks: ["Ended", "Class", "Sonar", "Lasted", "Length", "Speed", "Clip"],
    clips: ["Begins", "Of", "Sonar", "Length", "Tracks", "Size", "Keep"],
  };
  for (const name of /** @type {Which[]} */ (["tracks", "clips"])) byId(`show-${name}`).setAttribute("aria-pressed", String(name === wanted));
  byId("csv").hidden = wanted !== "tracks";
  byId("head").replaceChildren(...heads[wanted].map((text) => element("th", { scope: "col", textContent: text })));
  return loadList(true);
}

/** @param {number} spanS 0: everything */
function showLast(spanS) {
  const last = archived ? archived.last + 1 : Date.now() / 1000;
  timeline.look({ from: spanS || !archived ? last - (spanS || FIRST_SPAN_S) : archived.first - 1, to: last });
}

/** @param {string} name @param {string[]} values */
function offer(name, values) {
  find(form, `[name=${name}]`, HTMLSelectElement).append(...values.map((value) => new Option(value || "without", value)));
}

async function begin() {
  const [counts, known, { sonars }] = await Promise.all([
    ask("/api/v1/tracks/counts?points=1"),
    ask("/api/v1/tracks/labels"),
    ask("/api/v1/sonars"),
  ]);
  archived = counts.first_s === null ? null : { first: counts.first_s, last: counts.last_s };
  offer("sonar", sonars.map((/** @type {any} */ sonar) => sonar.name));
  offer("label", known.labels);
  const zones = sonars.flatMap((/** @type {any} */ sonar) => sonar.zones.filter((/** @type {any} */ zone) => zone.kind === "watched"));
  offer("zone", [...new Set(zones.map((/** @type {any} */ zone) => zone.name))].sort());
  find(form, "label:has([name=zone])").hidden = !zones.length;
  const wanted = new URLSearchParams(location.hash.slice(1));
  if (wanted.get("clip")) {
    await showList("clips");
    void card.showClip(String(wanted.get("clip")));
  } else {
    if (wanted.get("track")) void openTrack(String(wanted.get("track")));
  }
  const short = archived && archived.last - archived.first < FIRST_SPAN_S;
  showLast(short ? 0 : FIRST_SPAN_S);
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", loadSoon);
form.addEventListener("reset", () => setTimeout(loadSoon));
more.onclick = () => loadList(false);
byId("show-tracks").onclick = () => showList("tracks");
byId("show-clips").onclick = () => showList("clips");
byId("zoom").onclick = () => timeline.look(timeline.span);
byId("closer").onclick = () => timeline.zoom(0.5);
byId("farther").onclick = () => timeline.zoom(2);
byId("ranges").addEventListener("click", ({ target }) => {
  if (target instanceof HTMLButtonElement) showLast(Number(target.value));
});
void showList("tracks").then(() => guarded(begin));
