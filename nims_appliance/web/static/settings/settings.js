// The settings page: shows the configuration, checks what is typed, saves it, and follows the changes of other pages.

import { byId, find } from "../shared/elements.js";
import { mountShell } from "../shared/shell.js";
import { drawForm } from "./form.js";

/**
 * @typedef {import("./form.js").Field} Field
 * @typedef {import("./form.js").Configuration} Configuration
 */

const form = byId("form", HTMLFormElement);
const pendingElement = byId("pending");
const pendingText = find(pendingElement, "p");
const saveButton = find(pendingElement, ".primary", HTMLButtonElement);
const shell = mountShell({ follow: false });
/** @type {Map<string, any>} */
const pending = new Map(); // dotted key -> value as typed; null: take the override back
/** @type {Map<string, Field>} */
let fields = new Map();
/** @type {WebSocket | null} */
let socket = null;
let saveNumber = 0;
/** @type {{id: number, keys: string[]} | null} */
let saving = null;

const same = (/** @type {any} */ a, /** @type {any} */ b) => JSON.stringify(a) === JSON.stringify(b);
/** @param {any} value */
function show(value) {
  if (value === null) return "value below";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
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
  const before = fields;
  fields = drawForm(form, config, { onInput: typed, onReset: takeBack, onAdd: addItem, onRemove: removeItem });
  for (const group of form.querySelectorAll("details")) group.open = open.get(group.dataset.key) ?? group.open;
  for (const [key, field] of fields) {
    if (pending.has(key)) {
      if (pending.get(key) !== null) field.write(pending.get(key));
      check(field);
    } else if (before.has(key) && !same(before.get(key)?.saved, field.saved)) {
      field.row.classList.add("pushed");
    }
  }
  offerProfiles(config.profiles);
  const problems = [...config.errors, ...config.warnings];
  shell.setProblems(config.errors.length ? "Safe mode: no sonar runs until this is repaired." : "Ignored:", problems);
  tellPending();
  if (location.hash === "#add" && !before.size) addForm.scrollIntoView();
}

/** @param {Field} field */
function typed(field) {
  pending.set(field.key, undefined);
  check(field);
  tellPending();
}

/**
 * Reads a field into `pending`; a value that is not one stays there as undefined and cannot be saved.
 * @param {Field} field
 */
function check(field) {
  if (pending.get(field.key) === null) {
    field.row.classList.add("changed");
    return;
  }
  try {
    const value = field.read();
    field.complain("");
    if (same(value, field.saved)) pending.delete(field.key);
    else pending.set(field.key, value);
  } catch (error) {
    pending.set(field.key, undefined);
    field.complain(error instanceof Error ? error.message : String(error));
  }
  field.row.classList.toggle("changed", pending.has(field.key));
}

/** @param {Field} field */
function takeBack(field) {
  pending.set(field.key, null);
  field.complain("");
  field.row.classList.add("changed");
  tellPending();
}

function tellPending(problem = "") {
  pendingElement.hidden = pending.size === 0 && !problem;
  const invalid = [...pending.values()].includes(undefined);
  saveButton.disabled = invalid || saving !== null || socket?.readyState !== WebSocket.OPEN;
  pendingText.classList.toggle("bad", Boolean(problem));
  if (problem) {
    pendingText.textContent = problem;
    return;
  }
  const parts = [...pending].slice(0, 4).flatMap(([key, value], i) => [
    i ? ", " : "",
    `${key.replace(/^sonars\./, "")} `,
    Object.assign(document.createElement("del"), { textContent: show(fields.get(key)?.saved) }),
    " ",
    Object.assign(document.createElement("ins"), { textContent: value === undefined ? "?" : show(value) }),
  ]);
  pendingText.replaceChildren(...parts, pending.size > 4 ? ` and ${pending.size - 4} more` : "");
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!socket || !pending.size || [...pending.values()].includes(undefined)) return;
  saving = { id: ++saveNumber, keys: [...pending.keys()] };
  socket.send(JSON.stringify({ type: "change", id: saving.id, changes: Object.fromEntries(pending) }));
  tellPending();
});

byId("discard").onclick = () => {
  for (const key of pending.keys()) {
    const field = fields.get(key);
    field?.write(field.saved);
    field?.complain("");
    field?.row.classList.remove("changed");
  }
  pending.clear();
  tellPending();
};

const addForm = byId("add", HTMLFormElement);
const nameInput = find(addForm, "[name=name]", HTMLInputElement);
const profileSelect = find(addForm, "[name=profile]", HTMLSelectElement);
const linkInput = find(addForm, "[name=link]", HTMLInputElement);

/**
 * Offers the known profiles; the link that a profile usually has is proposed.
 * @param {Configuration["profiles"]} profiles
 */
function offerProfiles(profiles) {
  const [profile, link] = [profileSelect, linkInput];
  const chosen = profile.value;
  const options = Object.entries(profiles).sort().map(([name, { title }]) => new Option(title, name));
  profile.replaceChildren(...options);
  if (chosen in profiles) profile.value = chosen;
  const propose = () => {
    if (!link.value || link.dataset.proposed === link.value) {
      link.value = link.dataset.proposed = profiles[profile.value]?.default_link ?? "";
    }
  };
  profile.onchange = propose;
  propose();
}

addForm.addEventListener("submit", async (event) => {
  event.preventDefault();
  const key = `sonars.${nameInput.value.trim()}`;
  const response = await patch({ [`${key}.profile`]: profileSelect.value, [`${key}.link`]: linkInput.value.trim() });
  const complaint = find(addForm, ".error");
  complaint.hidden = response.ok;
  if (response.ok) addForm.reset();
  else complaint.textContent = (await response.json()).error;
});

/** @param {Record<string, any>} changes */
async function addItem(changes) {
  const response = await patch(changes);
  return response.ok ? "" : (await response.json()).error;
}

/**
 * @param {string} what
 * @param {string} key
 */
async function removeItem(what, key) {
  if (!confirm(`Remove the ${what} and its settings? What was recorded stays.`)) return;
  const response = await patch({ [key]: null });
  if (!response.ok) return tellPending(`Not removed: ${(await response.json()).error}`);
  for (const name of pending.keys()) if (name.startsWith(`${key}.`)) pending.delete(name);
  tellPending();
}

/** @param {Record<string, any>} changes */
function patch(changes) {
  return fetch("/api/v1/config", {
    method: "PATCH",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ changes }),
  });
}

addEventListener("beforeunload", (event) => {
  if (pending.size) event.preventDefault();
});

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  socket = new WebSocket(`${scheme}://${location.host}/pagesocket`);
  socket.onmessage = async ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "config") {
      shell.setConnection("live");
      await load();
    } else if (saving && message.id === saving.id) {
      const { keys } = saving;
      saving = null;
      if (message.type === "saved") {
        keys.forEach((key) => pending.delete(key));
        await load();
      } else {
        for (const text of message.errors) {
          const key = keys.find((name) => text.includes(name));
          if (key) fields.get(key)?.complain(text);
        }
        tellPending(`Not saved: ${message.error}`);
      }
    }
  };
  socket.onclose = () => {
    saving = null;
    shell.setConnection("lost");
    tellPending();
    setTimeout(connect, 2000);
  };
}

connect();
