// The settings page: shows the configuration, checks what is typed, saves it, and follows the changes of other pages.

import { drawForm } from "./form.js";

const form = document.getElementById("form");
const pendingElement = document.getElementById("pending");
const pendingText = pendingElement.querySelector("p");
const problemsElement = document.getElementById("problems");
const connectionElement = document.getElementById("connection");
const pending = new Map(); // dotted key -> value as typed; null: take the override back
let fields = new Map();
let socket = null;
let saveNumber = 0;
let saving = null;

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const show = (value) => (value === null ? "value below" : typeof value === "object" ? JSON.stringify(value) : String(value));

let loading = null;

/** Loads and draws the configuration; calls that come while it loads share the next run. */
async function load() {
  if (loading) return (loading.again ??= loading.run.then(load));
  loading = { run: null, again: null };
  loading.run = draw().finally(() => (loading = null));
  return loading.run;
}

async function draw() {
  const response = await fetch("/api/v1/config");
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
    } else if (before.has(key) && !same(before.get(key).saved, field.saved)) {
      field.row.classList.add("pushed");
    }
  }
  offerProfiles(config.profiles);
  const problems = [...config.errors, ...config.warnings];
  problemsElement.hidden = !problems.length;
  const list = document.createElement("ul");
  list.append(...problems.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  problemsElement.replaceChildren(config.errors.length ? "Safe mode: no sonar runs until this is repaired." : "Ignored:", list);
  tellPending();
  if (location.hash === "#add" && !before.size) addForm.scrollIntoView();
}

function typed(field) {
  pending.set(field.key, undefined);
  check(field);
  tellPending();
}

/** Reads a field into `pending`; a value that is not one stays there as undefined and cannot be saved. */
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
    field.complain(error.message);
  }
  field.row.classList.toggle("changed", pending.has(field.key));
}

function takeBack(field) {
  pending.set(field.key, null);
  field.complain("");
  field.row.classList.add("changed");
  tellPending();
}

function tellPending(problem = "") {
  pendingElement.hidden = pending.size === 0 && !problem;
  const invalid = [...pending.values()].includes(undefined);
  pendingElement.querySelector(".primary").disabled = invalid || saving !== null || socket?.readyState !== WebSocket.OPEN;
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
  if (!pending.size || [...pending.values()].includes(undefined)) return;
  saving = { id: ++saveNumber, keys: [...pending.keys()] };
  socket.send(JSON.stringify({ type: "change", id: saving.id, changes: Object.fromEntries(pending) }));
  tellPending();
});

document.getElementById("discard").onclick = () => {
  for (const key of pending.keys()) {
    const field = fields.get(key);
    field?.write(field.saved);
    field?.complain("");
    field?.row.classList.remove("changed");
  }
  pending.clear();
  tellPending();
};

const addForm = document.getElementById("add");

/** Offers the known profiles; the link that a profile usually has is proposed. */
function offerProfiles(profiles) {
  const { profile, link } = addForm.elements;
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
  const { name, profile, link } = addForm.elements;
  const key = `sonars.${name.value.trim()}`;
  const response = await patch({ [`${key}.profile`]: profile.value, [`${key}.link`]: link.value.trim() });
  const complaint = addForm.querySelector(".error");
  complaint.hidden = response.ok;
  if (response.ok) addForm.reset();
  else complaint.textContent = (await response.json()).error;
});

async function addItem(changes) {
  const response = await patch(changes);
  return response.ok ? "" : (await response.json()).error;
}

async function removeItem(what, key) {
  if (!confirm(`Remove the ${what} and its settings? What was recorded stays.`)) return;
  const response = await patch({ [key]: null });
  if (!response.ok) return tellPending(`Not removed: ${(await response.json()).error}`);
  for (const name of pending.keys()) if (name.startsWith(`${key}.`)) pending.delete(name);
  tellPending();
}

function patch(changes) {
  return fetch("/api/v1/config", {
    method: "PATCH",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ changes }),
  });
}

addEventListener("beforeunload", (event) => pending.size && event.preventDefault());

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  socket = new WebSocket(`${scheme}://${location.host}/pagesocket`);
  socket.onmessage = async ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "config") {
      connectionElement.dataset.state = "live";
      connectionElement.textContent = "connected";
      await load();
    } else if (message.id === saving?.id) {
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
    connectionElement.dataset.state = "lost";
    connectionElement.textContent = "connection lost, trying again";
    tellPending();
    setTimeout(connect, 2000);
  };
}

connect();
