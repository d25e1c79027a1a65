// Who uses this page, and requests in that name. The server decides everything; this only asks and shows.

/**
 * @typedef {"viewer" | "operator" | "admin"} Role
 * @typedef {object} Session
 * @property {string} name of the user; empty: nobody is logged in
 * @property {Role | ""} role what this browser may do; empty: nothing before a login
 * @property {boolean} login_needed whether a login is needed to see anything
 * @property {string} csrf proves that a change comes from a page of this server
 * @property {string} problem why nobody can log in at present; usually empty
 */

const RANK = { "": 0, viewer: 1, operator: 2, admin: 3 };
const CHECK_INTERVAL_MS = 5 * 60 * 1000;

/** @type {Promise<Session> | null} */
let asked = null;
/** @type {string | null} */
let knownAs = null;
/** @type {Set<(session: Session) => void>} */
const listeners = new Set();

/** An answer of the server that is not the one wished for. */
export class RequestError extends Error {
  /**
   * @param {number} status
   * @param {any} body
   */
  constructor(status, body) {
    super(body?.error ?? `the server answered ${status}`);
    this.status = status;
    /** @type {string[]} */
    this.errors = body?.errors ?? [this.message];
    this.body = body;
  }
}

/**
 * Who uses this page; asked once.
 * @returns {Promise<Session>}
 */
export function session() {
  return (asked ??= ask());
}

/**
 * Asks the server again: after the connection came back, or when something was refused.
 * @returns {Promise<Session>}
 */
export function refreshSession() {
  asked = null;
  return session();
}

/**
 * Calls `listener` with the session now and whenever it becomes another.
 * @param {(session: Session) => void} listener
 * @returns {() => void} call it to hear no more
 */
export function onSession(listener) {
  listeners.add(listener);
  session().then((known) => listeners.has(listener) && listener(known), () => {});
  return () => listeners.delete(listener);
}

/**
 * Whether this browser may do what `role` may.
 * @param {Role} role
 */
export async function may(role) {
  return RANK[(await session()).role] >= RANK[role];
}

/**
 * Sends a request in the user's name. Where a login is needed, asks for it and tries once more.
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body] sent as JSON; a Blob is sent as it is
 * @returns {Promise<any>} the JSON that came back
 * @throws {RequestError} the server refused; its message is the server's sentence
 */
export async function request(method, path, body) {
  for (let attempt = 0; ; attempt++) {
    const { csrf } = await session();
    const response = await send(method, path, body, csrf);
    const answer = await read(response);
    if (response.ok) return answer;
    const error = new RequestError(response.status, answer);
    if (attempt > 0 || ![401, 403].includes(response.status)) throw error;
    const now = await refreshSession();
    if (response.status === 401 && !(await login(error.message))) throw error;
    if (response.status === 403 && now.csrf === csrf) throw error; // else the login changed in another tab
  }
}

/**
 * @param {string} method
 * @param {string} path
 * @param {unknown} body
 * @param {string} csrf
 */
function send(method, path, body, csrf) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json", "X-NIMS-CSRF": csrf };
  const raw = body instanceof Blob;
  if (body !== undefined) headers["Content-Type"] = raw ? "application/octet-stream" : "application/json";
  return fetch(path, { method, headers, body: body === undefined ? undefined : raw ? body : JSON.stringify(body) });
}

/** @param {Response} response */
async function read(response) {
  const json = response.headers.get("Content-Type")?.startsWith("application/json");
  return json ? response.json() : null;
}

/** @returns {Promise<Session>} */
async function ask() {
  try {
    const response = await fetch("/api/v1/session", { headers: { Accept: "application/json" } });
    if (!response.ok) throw new RequestError(response.status, await read(response));
    return tell(await response.json());
  } catch (error) {
    asked = null; // the next one asks again
    throw error;
  }
}

/**
 * @param {Session} known
 * @returns {Session}
 */
function tell(known) {
  const as = JSON.stringify([known.name, known.role]);
  if (as !== knownAs) {
    knownAs = as;
    document.documentElement.dataset.role = known.role;
    for (const listener of listeners) listener(known);
  }
  return known;
}

/**
 * Logs in.
 * @param {string} name
 * @param {string} password
 * @returns {Promise<Session>}
 * @throws {RequestError} with the server's sentence
 */
export async function logIn(name, password) {
  const response = await send("POST", "/api/v1/session", { name, password }, "");
  const answer = await read(response);
  if (!response.ok) throw new RequestError(response.status, answer);
  tell(answer);
  asked = Promise.resolve(answer);
  return answer;
}

/** Logs out; the pages of other tabs notice by themselves. */
export async function logOut() {
  await request("DELETE", "/api/v1/session");
  const known = await refreshSession();
  if (known.login_needed) toLoginPage();
}

function toLoginPage() {
  if (location.pathname === "/login") return;
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}

/** @type {Promise<boolean> | null} */
let shown = null;

/**
 * Shows the login dialog; several callers share one.
 * @param {string} [why] what needs it
 * @returns {Promise<boolean>} whether somebody logged in
 */
export function login(why = "") {
  if (location.pathname === "/login") return Promise.resolve(false);
  shown ??= import("../login/dialog.js").then(({ showLogin }) => showLogin(why)).finally(() => (shown = null));
  return shown;
}

// A session that ended elsewhere (logout, new password, long absence) shows here too. Asking also keeps it alive while
// a page is looked at.
setInterval(async () => {
  if (document.hidden) return;
  try {
    const known = await refreshSession();
    if (known.login_needed && !known.role) toLoginPage();
  } catch {
    // The server does not answer: the page's own connection says so.
  }
}, CHECK_INTERVAL_MS);
