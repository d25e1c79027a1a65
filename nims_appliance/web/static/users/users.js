// The users page: who may log in, tokens for programs, plugins and profiles.

import { byId, element } from "../shared/elements.js";
import { request, RequestError, session } from "../shared/session.js";
import { mountShell } from "../shared/shell.js";
import { Files } from "./files.js";

/**
 * @typedef {"viewer" | "operator" | "admin"} Role
 * @typedef {{ name: string, role: Role, changed_s: number }} User
 * @typedef {{ id: string, name: string, role: Role, created_s: number, created_by: string, last_used_s: number | null }} Token
 */

const ROLES = /** @type {const} */ (["viewer", "operator", "admin"]);

mountShell();
const files = new Files(byId("file-rows"), action);

/** Loads and draws both lists. */
async function load() {
  /** @type {{ users: User[], tokens: Token[] }} */
  const { users, tokens } = await request("GET", "/api/v1/users");
  const { name } = await session();
  byId("user-rows").replaceChildren(...users.map((user) => userRow(user, user.name === name)));
  byId("token-rows").replaceChildren(...tokens.map(tokenRow));
  byId("no-tokens").hidden = tokens.length > 0;
  await files.load();
}

/**
 * @param {User} user
 * @param {boolean} self whether it is who looks at the page
 */
function userRow(user, self) {
  const role = element("select", { ariaLabel: `Role of ${user.name}` }, ...ROLES.map((name) => new Option(name)));
  role.value = user.role;
  const path = `/api/v1/users/${encodeURIComponent(user.name)}`;
  role.onchange = () => tried(async () => {
    await request("PATCH", path, { role: role.value });
    tell(`${user.name} is ${role.value} now, and has to log in again.`);
  });
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, user.name, self ? element("span", { className: "self", textContent: "you" }) : null),
    element("td", {}, role),
    element("td", { textContent: date(user.changed_s) }),
    element(
      "td",
      { className: "actions" },
      action("New password", `New password for ${user.name}`, `Give ${user.name} a new password? The old one and all logins end.`, async () => {
        const { password } = await request("PATCH", path, { password: "" });
        showSecret(`Password of ${user.name}`, password);
      }),
      action("Remove", `Remove ${user.name}`, `Remove ${user.name}? All logins end.`, async () => {
        await request("DELETE", path);
        tell(`${user.name} is removed.`);
      }),
    ),
  );
}

/** @param {Token} token */
function tokenRow(token) {
  return element(
    "tr",
    {},
    element("th", { scope: "row", textContent: token.name }),
    element("td", { textContent: token.role }),
    element("td", { textContent: `${date(token.created_s)} by ${token.created_by}` }),
    element("td", { textContent: token.last_used_s ? date(token.last_used_s) : "never" }),
    element(
      "td",
      { className: "actions" },
      action("Revoke", `Revoke ${token.name}`, `Revoke ${token.name}? Programs that use it are refused at once.`, async () => {
        await request("DELETE", `/api/v1/tokens/${token.id}`);
        tell(`${token.name} is revoked.`);
      }),
    ),
  );
}

/**
 * A button that asks before it does something.
 * @param {string} text
 * @param {string} label
 * @param {string} question
 * @param {() => Promise<void>} run
 */
function action(text, label, question, run) {
  const button = element("button", { type: "button", className: "plain", textContent: text, ariaLabel: label });
  button.onclick = async () => {
    if (await confirmed(question, text)) await tried(run);
  };
  return button;
}

/**
 * @param {string} question
 * @param {string} answer
 * @returns {Promise<boolean>}
 */
function confirmed(question, answer) {
  const dialog = element(
    "dialog",
    { className: "question" },
    element("p", { textContent: question }),
    element(
      "form",
      { method: "dialog", className: "buttons" },
      element("button", { value: "", textContent: "Cancel" }),
      element("button", { value: "yes", className: "primary", textContent: answer }),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((done) => {
    dialog.onclose = () => {
      dialog.remove();
      done(dialog.returnValue === "yes");
    };
  });
}

/**
 * Does something and shows the lists as they are then.
 * @param {() => Promise<void>} run
 * @returns {Promise<boolean>} whether it succeeded
 */
async function tried(run) {
  tell("");
  try {
    await run();
    return true;
  } catch (error) {
    tell(error instanceof RequestError ? error.message : "The server does not answer: try again.", true);
    return false;
  } finally {
    await load().catch(() => {});
  }
}

/**
 * @param {string} text
 * @param {boolean} [bad]
 */
function tell(text, bad = false) {
  const place = byId("told");
  place.textContent = text;
  place.classList.toggle("bad", bad);
  byId("secret").hidden = true;
}

/**
 * Shows what is shown once.
 * @param {string} title
 * @param {string} secret
 */
function showSecret(title, secret) {
  const place = byId("secret");
  const copy = element("button", { type: "button", textContent: "Copy" });
  copy.hidden = !navigator.clipboard; // browsers have it over https and on this computer only
  copy.onclick = () => navigator.clipboard.writeText(secret).then(() => (copy.textContent = "Copied"));
  place.replaceChildren(
    element("p", { textContent: `${title}: note it now, it is not shown again.` }),
    element("p", { className: "value" }, element("output", { textContent: secret }), copy),
  );
  place.hidden = false;
  place.scrollIntoView({ block: "nearest" });
}

/** @param {number} timeS */
function date(timeS) {
  return new Date(timeS * 1000).toISOString().slice(0, 16).replace("T", " ") + " UTC";
}

const addUser = byId("add-user", HTMLFormElement);
addUser.onsubmit = async (event) => {
  event.preventDefault();
  const { name, role } = /** @type {Record<string, string>} */ (Object.fromEntries(new FormData(addUser)));
  const done = await tried(async () => {
    const { password } = await request("POST", "/api/v1/users", { name: name.trim(), role });
    showSecret(`Password of ${name.trim()}`, password);
  });
  if (done) addUser.reset();
};

const addToken = byId("add-token", HTMLFormElement);
addToken.onsubmit = async (event) => {
  event.preventDefault();
  const { name, role } = /** @type {Record<string, string>} */ (Object.fromEntries(new FormData(addToken)));
  const done = await tried(async () => {
    const { token } = await request("POST", "/api/v1/tokens", { name: name.trim(), role });
    showSecret(`Token ${name.trim()}`, token);
  });
  if (done) addToken.reset();
};

const addFile = byId("add-file", HTMLInputElement);
addFile.onchange = () => tried(async () => {
  const [file] = addFile.files ?? [];
  if (file) tell(await files.send(file));
  addFile.value = "";
});

load().catch((error) => tell(error instanceof RequestError ? error.message : "The server does not answer: load the page again.", true));
