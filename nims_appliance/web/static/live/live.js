// The live page: one pane for each sonar, fed by the live socket.

import { Connection, ServerClock } from "../shared/connection.js";
import { byId } from "../shared/elements.js";
import { mountShell } from "../shared/shell.js";
import { keysOf } from "./keys.js";
import { columnsFor } from "./layout.js";
import { Link } from "./link.js";
import { memoryBudget } from "./moments.js";
import { Pane } from "./pane.js";
import { Timeline } from "./timeline.js";

const TELL_MS = 250;
const BAR_PX = 48;

/**
 * @typedef {import("../shared/connection.js").StateMessage} StateMessage
 */

const panesElement = byId("panes");
const clock = new ServerClock();
const link = new Link();
/** @type {Map<string, Pane>} */
const panes = new Map();
const timeline = new Timeline(() => panes.values(), () => panes.forEach((pane) => pane.showMoment(timeline.atS)));
const shell = mountShell({
  follow: false,
  onPalette: () => panes.forEach((pane) => pane.redraw()),
  keys: keysOf({
    pane: leader,
    nextPane,
    pause: () => timeline.toggle(leader()),
    step: (pings) => timeline.step(pings, leader()),
    enlarge: () => enlarge(leader()),
  }),
});
/** @type {StateMessage | null} */
let state = null;
let connected = false;

const now = () => performance.now() / 1000;

/** The pane that keys act on: the one with the focus, else the enlarged one, else the first. */
function leader() {
  const all = [...panes.values()];
  return (
    all.find(({ element }) => element.contains(document.activeElement)) ??
    all.find(({ element }) => element.classList.contains("enlarged")) ??
    all[0]
  );
}

/** Lets keys act on another sonar. @param {number} step */
function nextPane(step) {
  const all = [...panes.values()];
  const pane = leader();
  if (pane) all[(all.indexOf(pane) + step + all.length) % all.length].focus();
}

function arrange() {
  panesElement.classList.toggle("several", panes.size > 1);
  // By the height of the window: panes keep their places when an alarm or the timeline takes some of it.
  const columns = columnsFor(panes.size, panesElement.clientWidth, innerHeight - BAR_PX);
  panesElement.style.setProperty("--columns", String(columns));
  panesElement.style.setProperty("--last", String(columns - ((panes.size - 1) % columns))); // the last one fills its row
  panesElement.style.setProperty("--others", String(Math.max(panes.size - 1, 1)));
}

/** @param {Pane | undefined} pane */
function enlarge(pane) {
  const wanted = panes.size > 1 && pane && !pane.element.classList.contains("enlarged");
  for (const other of panes.values()) other.setEnlarged(Boolean(wanted) && other === pane);
  panesElement.classList.toggle("one-enlarged", Boolean(wanted));
}

/** @param {string} name of a sonar */
function paneOf(name) {
  let pane = panes.get(name);
  if (!pane) {
    pane = new Pane(name, {
      seen: (sonar, frame) => connection.seen(sonar, frame),
      pause: (leading) => timeline.toggle(leading),
      enlarge,
      budgetBytes: () => memoryBudget() / panes.size,
    });
    pane.showMoment(timeline.atS);
    panes.set(name, pane);
    panesElement.querySelector(".empty")?.remove();
    panesElement.append(pane.element);
  }
  return pane;
}

/** @param {StateMessage} message */
function takeState(message) {
  clock.heard(message.time_s, now());
  state = message;
  const names = new Set(message.sonars.map(({ name }) => name));
  for (const [name, pane] of panes) {
    if (!names.has(name)) {
      pane.element.remove();
      panes.delete(name);
      if (panes.size < 2 || pane.element.classList.contains("enlarged")) enlarge(undefined);
    }
  }
  names.forEach(paneOf);
  arrange();
  if (!names.size && !panesElement.querySelector(".empty")) {
    const empty = document.createElement("div");
    empty.className = "empty";
    const text = document.createElement("p");
    text.textContent = message.errors.length ? "No sonar runs until the configuration is repaired." : "No sonar is configured yet.";
    empty.append(text);
    if (!message.errors.length) {
      empty.append(Object.assign(document.createElement("a"), { href: "/settings#add", textContent: "Add a sonar" }));
    }
    panesElement.append(empty);
  }
  shell.takeState(message);
}

/**
 * @param {string} part
 * @param {string} sonar
 */
function isPartOf(part, sonar) {
  return part === sonar || part.endsWith(` ${sonar}`);
}

function tell() {
  shell.setConnection(connected ? "live" : state ? "lost" : "connecting");
  if (!state) return;
  for (const sonar of state.sonars) {
    const part = state.parts.find(({ name }) => isPartOf(name, sonar.name));
    panes.get(sonar.name)?.tell(sonar, part, clock, now(), connected, state.picture_rate_hz);
  }
}

const connection = new Connection({
  state(isConnected) {
    connected = isConnected;
    for (const pane of panes.values()) pane.forgetArrivals();
    tell();
  },
  message(message) {
    if (message.type === "state") takeState(message);
    else if (message.type === "tracks") {
      panes.get(message.sonar)?.takeTracks(message, now());
      link.follow(message.sonar, message.tracks, panes.get(message.sonar));
    }
    else if (message.type === "config") panes.forEach((pane) => pane.overlay.settingsChanged());
  },
  picture(picture) {
    paneOf(picture.head.sonar).takePicture(picture, now());
  },
});

function drawAll() {
  for (const pane of panes.values()) pane.draw(now(), devicePixelRatio || 1);
  requestAnimationFrame(drawAll);
}

document.addEventListener("visibilitychange", () => panes.forEach((pane) => pane.forgetArrivals()));
new ResizeObserver(arrange).observe(panesElement);
setInterval(tell, TELL_MS);
requestAnimationFrame(drawAll);
