// The settings page: shows the configuration, checks what is typed, saves it, and follows the changes of other pages.

import { byId } from "../shared/elements.js";
import { may, onSession, request, RequestError } from "../shared/session.js";
import { mountShell } from "../shared/shell.js";
import { offerProfiles, wireAdding } from "./adding.js";
import { drawForm } from "./form.js";
import { History } from "./history.js";
import { showReview } from "./review.js";
import { textOf } from "./schema.js";
import { Search } from "./search.js";

/**
 * @typedef {import("./field.js").Field} Field
 * @typedef {import("./form.js").Configuration} Configuration
 */

const CHECK_AFTER_MS = 250;
const RETRY_MS = 2000;

const form = byId("form", HTMLFormElement);
const search = new Search(form);
const history = new History();
/** @type {Map<string, any>} */
const pending = new Map(); // dotted key -> value as typed; undefined: cannot be one; null: take the override back
/** @type {Map<string, any>} */
const seen = new Map(); // dotted key -> what was saved when somebody began to type another value
/** @type {Set<string>} */
const refused = new Set(); // keys that the server complains of
/** @type {Map<string, Field>} */
let fields = new Map();
/** @type {WebSocket | null} */
let socket = null;
let saving = false;
let problem = "";
let checkNumber = 0;
let checkTimer = 0;

const shell = mountShell({
  follow: true,
  keys: [
    { keys: "/", does: "Search", run: () => search.focus() },
    { keys: "Ctrl+s", does: "Save", run: () => form.requestSubmit() },
    { keys: "d", does: "Only what differs from the default", run: () => byId("differs").click() },
    { keys: "o", does: "Open or close all groups", run: foldAll },
    { keys: "h", does: "History of changes", run: () => byId("history-title").scrollIntoView() },
  ],
});

const same = (/** @type {any} */ a, /** @type {any} */ b) => JSON.stringify(a) === JSON.stringify(b);

function foldAll() {
  const groups = [...form.querySelectorAll("details")];
  const open = groups.some((group) => !group.open);
  for (const group of groups) group.open = open;
}

/** @type {Promise<void> | null} */
let loading = null;
/** @type {Promise<void> | null} */
let loadingAgain = null;

/**
 * Loads and draws the configuration; calls that come while it loads share the next run.
 * @returns {Promise<void>}
 */
function load() {
  if (loading) {
    return (loadingAgain ??= loading.catch(() => undefined).then(() => {
      loadingAgain = null;
      return load();
    }));
  }
  loading = draw().finally(() => (loading = null));
  return loading;
}

async function draw() {
  const response = await fetch("/api/v1/config");
  /** @type {Configuration & {error?: string}} */
  const config = await response.json();
  if (!response.ok) throw new Error(config.error);
  const open = new Map([...form.querySelectorAll("details")].map((group) => [group.dataset.key, group.open]));
  const focused = document.activeElement instanceof HTMLElement && form.contains(document.activeElement) ? document.activeElement.id : "";
  const before = fields;
  fields = drawForm(form, config, { onInput: typed, onReset: takeBack, onAdd: change, onRemove: remove, onRestore: restore });
  for (const group of form.querySelectorAll("details")) group.open = open.get(group.dataset.key) ?? group.open;
  for (const key of pending.keys()) if (!fields.has(key)) forget(key);
  for (const [key, field] of fields) {
    if (pending.has(key)) keep(key, field);
    else if (before.has(key) && !same(before.get(key)?.saved, field.saved)) field.row.classList.add("pushed");
  }
  if (focused) document.getElementById(focused)?.focus();
  offerProfiles(config.profiles);
  const notes = [...config.warnings, ...(config.edited ? ["config.yaml was edited since the start: restart the appliance to use it"] : [])];
  const shown = byId("notes");
  shown.hidden = !notes.length;
  shown.textContent = notes.join("\n");
  search.listContents();
  search.apply();
  tell();
  if (location.hash === "#add" && !before.size) byId("add").scrollIntoView();
}

/**
 * Keeps what is typed in a field that was drawn anew, and says so where somebody else has changed it.
 * @param {string} key
 * @param {Field} field
 */
function keep(key, field) {
  const typedValue = pending.get(key);
  if (typedValue !== null && typedValue !== undefined) field.write(typedValue);
  check(field);
  if (!pending.has(key)) return;
  if (!same(seen.get(key), field.saved)) {
    field.tellConflict(`Changed to ${textOf(field.saved)} by somebody else meanwhile.`, () => {
      field.write(field.saved);
      field.tellConflict("");
      typed(field);
    });
  }
}

/** @param {string} key */
function forget(key) {
  pending.delete(key);
  seen.delete(key);
  refused.delete(key);
}

/** @param {Field} field */
function typed(field) {
  problem = "";
  if (!pending.has(field.key)) seen.set(field.key, field.saved);
  pending.set(field.key, undefined);
  check(field);
  if (!pending.has(field.key)) field.tellConflict("");
  tell();
  clearTimeout(checkTimer);
  checkTimer = setTimeout(askServer, CHECK_AFTER_MS);
}

/**
 * Reads a field into `pending`; a value that is not one stays there as undefined and cannot be saved.
 * @param {Field} field
 */
function check(field) {
  if (pending.get(field.key) !== null) {
    try {
      const value = field.read();
      field.complain("");
      if (same(value, field.saved)) forget(field.key);
      else pending.set(field.key, value);
    } catch (error) {
      pending.set(field.key, undefined);
      field.complain(error instanceof Error ? error.message : String(error));
    }
  }
  field.row.classList.toggle("changed", pending.has(field.key));
}

/** Lets the server look at what is typed: it knows what must go together. */
async function askServer() {
  if (socket?.readyState !== WebSocket.OPEN || !pending.size || !(await may("operator"))) return;
  const known = [...pending].filter(([, value]) => value !== undefined);
  checkNumber += 1;
  socket.send(JSON.stringify({ type: "check", id: checkNumber, changes: Object.fromEntries(known) }));
}

/**
 * Shows what the server complains of: at its field, or at one that is typed in below the section that it names.
 * @param {Record<string, string>} problems by dotted key
 */
function showProblems(problems) {
  for (const key of refused) if (pending.get(key) !== undefined) fields.get(key)?.complain("");
  refused.clear();
  const elsewhere = [];
  for (const [key, text] of Object.entries(problems)) {
    const place = pending.has(key) ? key : [...pending.keys()].reverse().find((one) => one.startsWith(`${key}.`));
    if (place !== undefined && fields.has(place)) {
      fields.get(place)?.complain(text);
      refused.add(place);
    } else {
      elsewhere.push(key ? `${key}: ${text}` : text);
    }
  }
  problem = elsewhere.join("; ");
  tell();
}

/** @param {Field} field */
function takeBack(field) {
  seen.set(field.key, field.saved);
  pending.set(field.key, null);
  field.complain("");
  field.row.classList.add("changed");
  tell();
}

function tell() {
  const invalid = [...pending.values()].includes(undefined) || refused.size > 0;
  const changes = [...pending].map(([key, value]) => ({ key, value, field: fields.get(key) }));
  showReview(changes, { problem, ready: !invalid && !saving });
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (saving || !pending.size || [...pending.values()].includes(undefined)) return;
  saving = true;
  tell();
  const changes = Object.fromEntries(pending);
  // What is on the screen: where somebody else was faster still, the server says so.
  const expected = Object.fromEntries([...pending.keys()].map((key) => [key, fields.get(key)?.saved ?? null]));
  try {
    await request("PATCH", "/api/v1/config", { changes, expected });
    for (const key of Object.keys(changes)) forget(key);
    problem = "";
    await load();
  } catch (error) {
    if (error instanceof RequestError && error.body?.problems) showProblems(error.body.problems);
    if (!refused.size) problem = `Not saved: ${error instanceof Error ? error.message : error}`;
  } finally {
    saving = false;
    tell();
  }
});

byId("discard").onclick = () => {
  for (const key of [...pending.keys()]) {
    const field = fields.get(key);
    forget(key);
    if (!field) continue;
    field.write(field.saved);
    field.complain("");
    field.tellConflict("");
    field.row.classList.remove("changed");
  }
  problem = "";
  tell();
};

/**
 * Changes something at once.
 * @param {Record<string, any>} changes
 * @returns {Promise<string>} what is wrong with it
 */
async function change(changes) {
  try {
    await request("PATCH", "/api/v1/config", { changes });
    return "";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/**
 * @param {string} what
 * @param {string} key
 * @param {string} origin
 */
async function remove(what, key, origin) {
  const kept = origin.startsWith("overrides") ? "What was recorded stays." : `It stays in ${origin.split(":")[0]}, and can be restored.`;
  if (!confirm(`Remove the ${what} and its settings? ${kept}`)) return;
  const wrong = await change({ [key]: "removed" });
  problem = wrong && `Not removed: ${wrong}`;
  if (!wrong) for (const name of [...pending.keys()]) if (name.startsWith(`${key}.`)) forget(name);
  tell();
}

/** @param {string} key of what was removed */
async function restore(key) {
  const wrong = await change({ [key]: null });
  problem = wrong && `Not restored: ${wrong}`;
  tell();
}

addEventListener("beforeunload", (event) => {
  if (pending.size) event.preventDefault();
});

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const opened = new WebSocket(`${scheme}://${location.host}/pagesocket`);
  socket = opened;
  opened.onmessage = async ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "config") {
      shell.setConnection("live");
      await Promise.all([load(), history.load()]);
    } else if (message.type === "checked" && message.id === checkNumber) {
      showProblems(message.problems);
    }
  };
  opened.onclose = () => {
    if (socket !== opened) return;
    socket = null;
    shell.setConnection("lost");
    setTimeout(connect, RETRY_MS);
  };
}

/** @type {string | null} */
let openedBy = null;
onSession(async ({ name }) => {
  byId("viewing").hidden = await may("operator");
  // The socket knows who opened it: who has logged in since opens another.
  if (openedBy !== null && openedBy !== name) {
    const old = socket;
    connect();
    old?.close();
  }
  openedBy = name;
});
connect();
wireAdding(change);
