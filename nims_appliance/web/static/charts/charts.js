// The charts page: echo metrics of one sonar over the last hours, with their alarms.

import { Connection } from "../shared/connection.js";
import { byId, element } from "../shared/elements.js";
import { dateTime, time } from "../shared/format.js";
import { mountShell } from "../shared/shell.js";
import { Alarms, silence } from "./alarms.js";
import { Chart } from "./chart.js";
import { History, usualStep } from "./history.js";
import { QUANTITIES } from "./quantities.js";

/** @typedef {{sonar: string, channel: string, layer: number, calibrated: boolean, end_s: number, start_s: number, top_m: number | null, bottom_m: number | null}} SeriesEntry */

const REFRESH_MS = 10_000;
const LIVE_LAG_S = 2;

const sonarChoice = byId("sonar", HTMLSelectElement);
const channelChoice = byId("channel", HTMLSelectElement);
const layerChoice = byId("layer", HTMLSelectElement);
const ranges = [...document.querySelectorAll("#ranges button")].map((button) => /** @type {HTMLButtonElement} */ (button));
const notice = byId("notice");
const moment = byId("moment");

/** @type {SeriesEntry[]} */
let known = [];
let series = { sonar: "", channel: "", layer: 0 };
let spanS = 3600;
/** What is shown while time is not followed. @type {{fromS: number, toS: number} | null} */
let held = null;
let history = new History();
let loading = new AbortController();
let heardMs = performance.now();
let problem = "";
/** The alarms of the newest state. */
let raised = "";
/** Whether everything is to be asked for anew. */
let wanted = true;

const alarms = new Alarms(() => draw());
const charts = QUANTITIES.map(
  (quantity) =>
    new Chart(quantity, {
      zoom: (fromS, toS) => hold(fromS, toS),
      reset: follow,
      moment: (timeS) => (moment.textContent = timeS === null ? told() : dateTime(timeS)),
      limit: ({ key }) => alarms.edit(null, { metric: key, layer: series.layer }),
    }),
);
byId("charts").append(...charts.map((chart) => chart.element));

const shell = mountShell({
  onPalette: () => charts.forEach((chart) => chart.recolour()),
  follow: false,
  keys: [
    ...ranges.map((button, i) => ({ keys: String(i + 1), does: `Show ${button.textContent}`, run: () => button.click() })),
    { keys: "ArrowLeft", does: "Earlier", run: () => move(-0.5) },
    { keys: "ArrowRight", does: "Later", run: () => move(0.5) },
    { keys: ["+", "="], does: "Closer", run: () => zoom(0.5) },
    { keys: "-", does: "Farther", run: () => zoom(2) },
    { keys: "l", does: "Follow the newest data", run: follow },
    { keys: "s", does: "What is shown, as CSV", run: () => byId("csv").click() },
    { keys: "a", does: "Add an alarm", run: () => alarms.edit(null, { layer: series.layer }) },
  ],
});

/** The time shown. */
function shownRange() {
  if (held) return held;
  // The last bucket is drawn in its middle, which may be yet to come.
  const toS = Math.max(history.newestS ?? Date.now() / 1000, history.timeS.at(-1) ?? 0);
  return { fromS: toS - spanS, toS };
}

function draw() {
  const range = shownRange();
  for (const [i, chart] of charts.entries()) {
    const mine = alarms.ofChart(QUANTITIES[i].key, series.channel, series.layer);
    const limits = mine.map(({ name, when, limit, state }) => ({ name, when, limit, raised: state === "raised" }));
    chart.show(history, range, limits, mine.flatMap((alarm) => alarms.marksOf(alarm)));
    chart.describe();
  }
  byId("live").setAttribute("aria-pressed", String(held === null));
  for (const button of ranges) button.setAttribute("aria-pressed", String(!held && Number(button.value) === spanS));
  const query = new URL(History.address(series, { fromS: range.fromS, toS: range.toS + 1e-3 }, 1), location.href);
  query.searchParams.delete("points");
  if (history.bucketS) query.searchParams.set("bucket_s", String(history.bucketS));
  query.searchParams.set("format", "csv");
  byId("csv", HTMLAnchorElement).href = query.href;
  tell();
}

/** What the page says of itself while no moment is pointed at. */
function told() {
  const { fromS, toS } = shownRange();
  const apart = history.bucketS ? `, each point ${history.bucketS >= 60 ? `${history.bucketS / 60} min` : `${history.bucketS} s`}` : "";
  if (!held) return history.newestS === null ? "" : `to ${time(toS)}${apart}`;
  return `${dateTime(fromS, { zoned: false, seconds: false })} to ${time(toS, { seconds: false })}${apart}`;
}

function tell() {
  const binS = history.bucketS || usualStep(history.timeS) || 5;
  const silent = silence((performance.now() - heardMs) / 1000, Math.min(binS, 60));
  let text = problem;
  if (!text && !known.length) text = "No echo metrics yet. They appear here a few seconds after a sonar sends its first pings.";
  else if (!text && history.timeS.length === 0) text = held ? "Nothing was heard in this time." : "Nothing was heard in the last hours.";
  else if (!text && silent && !held) text = `${series.sonar}: ${silent}`;
  notice.textContent = text;
  notice.hidden = !text;
  document.body.classList.toggle("silent", Boolean(silent) && !held);
  if (!byId("charts").matches(":hover")) moment.textContent = told();
}

async function load() {
  loading.abort();
  loading = new AbortController();
  const points = Math.min(1500, Math.max(300, Math.round(byId("charts").clientWidth)));
  try {
    history = await History.load(series, held ?? { lastS: spanS }, points, loading.signal);
    problem = "";
  } catch (error) {
    if (error instanceof Error && error.name === "AbortError") return;
    problem = error instanceof Error ? `The history cannot be shown: ${error.message}` : String(error);
  }
  draw();
  remember();
}

/** @param {number} fromS @param {number} toS */
function hold(fromS, toS) {
  held = { fromS, toS: Math.max(toS, fromS + 10) };
  load();
}

function follow() {
  held = null;
  load();
}

/** @param {number} share of what is shown */
function move(share) {
  const { fromS, toS } = shownRange();
  const by = share * (toS - fromS);
  if (history.newestS !== null && toS + by >= history.newestS + LIVE_LAG_S && by > 0) {
    spanS = held ? toS - fromS : spanS;
    follow();
  } else {
    hold(fromS + by, toS + by);
  }
}

/** @param {number} factor */
function zoom(factor) {
  const { fromS, toS } = shownRange();
  const length = (toS - fromS) * factor;
  if (held) {
    const middle = (fromS + toS) / 2;
    hold(middle - length / 2, middle + length / 2);
  } else {
    spanS = Math.min(Math.max(length, 60), 32 * 86400);
    load();
  }
}

/**
 * @param {HTMLSelectElement} choice
 * @param {[string, string][]} options  value and words
 * @param {string} value
 */
function offer(choice, options, value) {
  const told = JSON.stringify(options);
  if (choice.dataset.told !== told) {
    choice.dataset.told = told;
    choice.replaceChildren(...options.map(([name, textContent]) => element("option", { value: name, textContent })));
  }
  choice.value = value;
  choice.hidden = options.length < 2;
}

/** @param {string[]} sonars  that are configured */
function showChoices(sonars) {
  const names = [...new Set([...sonars, ...known.map(({ sonar }) => sonar)])];
  if (!names.includes(series.sonar)) series = { sonar: names.find((name) => known.some(({ sonar }) => sonar === name)) ?? names[0] ?? "", channel: "", layer: 0 };
  offer(sonarChoice, names.map((name) => [name, name]), series.sonar);
  sonarChoice.hidden = !names.length;
  const channels = [...new Set(known.filter(({ sonar }) => sonar === series.sonar).map(({ channel }) => channel))];
  if (channels.length && !channels.includes(series.channel)) series.channel = channels[0];
  offer(channelChoice, channels.map((channel) => [channel, channel || "no name"]), series.channel);
  const layers = known.filter(({ sonar, channel }) => sonar === series.sonar && channel === series.channel);
  if (layers.length && !layers.some(({ layer }) => layer === series.layer)) series.layer = 0;
  offer(
    layerChoice,
    layers.map(({ layer, top_m, bottom_m }) => [String(layer), layer ? `${top_m?.toFixed(0)} to ${bottom_m?.toFixed(0)} m` : "Whole column"]),
    String(series.layer),
  );
  if (series.sonar) alarms.of(series.sonar, layers.map(({ layer }) => layer));
}

/** Keeps what is chosen in the address, for bookmarks and for the way back. */
function remember() {
  const state = new URLSearchParams({ sonar: series.sonar });
  if (series.channel) state.set("channel", series.channel);
  if (series.layer) state.set("layer", String(series.layer));
  if (held) {
    state.set("from", held.fromS.toFixed(0));
    state.set("to", held.toS.toFixed(0));
  } else {
    state.set("span", String(spanS));
  }
  window.history.replaceState(null, "", `#${state}`);
}

function recall() {
  const state = new URLSearchParams(location.hash.slice(1));
  const number = (/** @type {string} */ name) => (state.has(name) && Number.isFinite(Number(state.get(name))) ? Number(state.get(name)) : null);
  series = { sonar: state.get("sonar") ?? "", channel: state.get("channel") ?? "", layer: number("layer") ?? 0 };
  spanS = Math.min(Math.max(number("span") ?? 3600, 60), 32 * 86400);
  const [fromS, toS] = [number("from"), number("to")];
  held = fromS !== null && toS !== null && fromS < toS ? { fromS, toS } : null;
}

async function askSeries() {
  const response = await fetch("/api/v1/metrics/series", { headers: { Accept: "application/json" } });
  if (response.ok) known = (await response.json()).series;
}

/** @param {string[]} sonars */
async function start(sonars) {
  wanted = false;
  try {
    await askSeries();
  } catch {
    wanted = true; // the connection is lost again, as the bar says
    return;
  }
  showChoices(sonars);
  await load();
}

/** The alarms, unless the connection is lost, as the bar says. */
function refreshAlarms() {
  if (!document.hidden) alarms.refresh().catch(() => {});
}

/** @param {import("../shared/connection.js").MetricsMessage} message */
function takeBins(message) {
  if (message.sonar !== series.sonar || message.channel !== series.channel) {
    if (!known.some(({ sonar, channel }) => sonar === message.sonar && channel === message.channel)) wanted = true;
    return;
  }
  const bin = message.bins.find(({ layer }) => layer === series.layer);
  if (!bin) return;
  heardMs = performance.now();
  refreshAlarms();
  if (!history.add(bin) || held) return;
  history.trim(shownRange().fromS);
  draw();
}

for (const button of ranges) {
  button.onclick = () => {
    spanS = Number(button.value);
    follow();
  };
}
byId("earlier").onclick = () => move(-0.5);
byId("later").onclick = () => move(0.5);
byId("live").onclick = follow;
for (const choice of [sonarChoice, channelChoice, layerChoice]) {
  choice.onchange = () => {
    series = { sonar: sonarChoice.value, channel: choice === sonarChoice ? "" : channelChoice.value, layer: choice === layerChoice ? Number(layerChoice.value) : 0 };
    heardMs = performance.now();
    showChoices([...sonarChoice.options].map(({ value }) => value));
    load();
  };
}
new ResizeObserver(() => charts.forEach((chart) => chart.fit())).observe(byId("charts"));

recall();
new Connection({
  state: (connected) => {
    shell.setConnection(connected ? "live" : "lost");
    if (connected) wanted = true; // bins have ended while there was no connection
  },
  message: (message) => {
    if (message.type === "state") {
      shell.takeState(message);
      const names = JSON.stringify(message.alarms);
      if (names !== raised) refreshAlarms();
      raised = names;
      if (wanted) start(message.sonars.map(({ name }) => name));
      else tell();
    } else if (message.type === "metrics") {
      takeBins(message);
    } else if (message.type === "tracks" && message.sonar === series.sonar && !held) {
      history.addTracks(message.time_s, message.ended.length);
    } else if (message.type === "config") {
      wanted = true;
    }
  },
});
setInterval(refreshAlarms, REFRESH_MS);
