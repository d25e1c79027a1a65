// The keyboard: what each page's keys do, and the list of them on "?".

import { byId, element, find } from "./elements.js";

/**
 * @typedef {object} Key
 * @property {string | string[]} keys  "p", "Shift+ArrowLeft", "Ctrl+s"; "g l" is one after the other; a list: any of them
 * @property {string} does  for the list
 * @property {string} [shown]  in the list instead of the keys, where they are many: "arrows"
 * @property {(event: KeyboardEvent) => void} run
 * @property {string} [group]  under which heading of the list; the page's own by default
 * @property {() => boolean} [when]  passed over while this says no
 */

const SEQUENCE_MS = 1500;
/** @type {Record<string, string>} */
const SHOWN = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "Space", Escape: "Esc", Space: "Space" };

/** @type {Key[]} */
const known = [];
let started = "";
let startedAtMs = 0;

/**
 * Adds keys; returns what takes them away again. What was added last goes first.
 * @param {Key[]} keys
 */
export function addKeys(keys) {
  known.unshift(...keys);
  return () => {
    for (const key of keys) if (known.includes(key)) known.splice(known.indexOf(key), 1);
  };
}

/** @param {Key} key */
const choices = ({ keys }) => [keys].flat();

/** The name of what was pressed, as keys are written above. @param {KeyboardEvent} event */
function nameOf(event) {
  const key = event.key === " " ? "Space" : event.key;
  const shift = event.shiftKey && key.length > 1; // a character tells it by itself
  return `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.altKey ? "Alt+" : ""}${shift ? "Shift+" : ""}${key}`;
}

/** Whether a key belongs to what has the focus. @param {KeyboardEvent} event */
function isTaken(event) {
  const { target } = event;
  if (event.defaultPrevented || event.isComposing || !(target instanceof Element)) return true;
  if (target.closest("dialog[open]")) return true;
  const typed = event.key.length === 1 || /^(Arrow|Home|End|Page|Enter|Backspace|Delete)/.test(event.key);
  if (target.closest("textarea, select, [contenteditable]")) return !event.ctrlKey && !event.metaKey && typed;
  if (target instanceof HTMLInputElement && !["checkbox", "radio", "range", "button"].includes(target.type)) {
    return !event.ctrlKey && !event.metaKey && typed;
  }
  if (event.key === " " || event.key === "Enter") return target.closest("a, button, summary, input") !== null;
  return target instanceof HTMLInputElement && ["radio", "range"].includes(target.type) && event.key.startsWith("Arrow");
}

/** @param {KeyboardEvent} event */
function pressed(event) {
  if (isTaken(event) || ["Shift", "Control", "Alt", "Meta"].includes(event.key)) return;
  const name = nameOf(event);
  const sequence = started && event.timeStamp - startedAtMs < SEQUENCE_MS ? `${started} ${name}` : "";
  const active = known.filter((key) => !key.when || key.when());
  const wanted = (sequence && active.find((key) => choices(key).includes(sequence))) || active.find((key) => choices(key).includes(name));
  started = "";
  if (wanted) {
    event.preventDefault();
    wanted.run(event);
  } else if (active.some((key) => choices(key).some((choice) => choice.startsWith(`${name} `)))) {
    started = name;
    startedAtMs = event.timeStamp;
  }
}

/** Shows what the keys do. */
export function showKeys() {
  const dialog = byId("help", HTMLDialogElement);
  /** @type {Map<string, Key[]>} */
  const groups = new Map();
  for (const key of known) {
    const group = key.group ?? "This page";
    groups.set(group, [...(groups.get(group) ?? []), key]);
  }
  const shown = [...groups].map(([group, keys]) => element(
    "section", {},
    element("h3", { textContent: group }),
    element("dl", {}, ...keys.flatMap((key) => [element("dt", {}, ...shownKeys(key)), element("dd", { textContent: key.does })])),
  ));
  find(dialog, "div").replaceChildren(...shown);
  if (!dialog.open) dialog.showModal();
}

/** @param {Key} key */
function shownKeys(key) {
  return (key.shown ? [key.shown] : choices(key)).flatMap((choice, i) => [
    i ? " or " : "",
    ...choice.split(" ").flatMap((one, k) => [k ? " then " : "", ...one.split(/(?<=.)\+/).flatMap((part, n) => [n ? "+" : "", element("kbd", { textContent: SHOWN[part] ?? part })])]),
  ]);
}

document.addEventListener("keydown", pressed);
