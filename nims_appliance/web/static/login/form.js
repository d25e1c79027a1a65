// The form of a login: name, password, what is wrong.

import { element } from "../shared/elements.js";
import { RequestError, logIn } from "../shared/session.js";

const LAST_NAME = "nims.login.name";
const FIRST_NAME = "admin"; // the user that the first start makes
const TEXT = { required: true, maxLength: 200 };

/**
 * Returns the form.
 * @param {{ why?: string, onLogin: () => void }} options
 * @returns {HTMLFormElement}
 */
export function makeForm({ why = "", onLogin }) {
  const name = element("input", { ...TEXT, autocomplete: "username", spellcheck: false, autocapitalize: "none" });
  const password = element("input", { ...TEXT, type: "password", autocomplete: "current-password" });
  const shown = element("input", { type: "checkbox" });
  const complaint = element("p", { className: "error", hidden: true, role: "alert" });
  const enter = element("button", { className: "primary", textContent: "Log in" });
  const form = element(
    "form",
    { className: "login-form" },
    element("h2", { id: "login-title", textContent: "Log in" }),
    element("p", { className: "why", textContent: why, hidden: !why }),
    element("label", {}, "Name", name),
    element("label", {}, "Password", password),
    element("label", { className: "show" }, shown, "Show the password"),
    complaint,
    element("p", { className: "buttons" }, enter),
  );
  name.value = remembered();
  shown.onchange = () => (password.type = shown.checked ? "text" : "password");
  form.onsubmit = async (event) => {
    event.preventDefault();
    enter.disabled = true;
    complaint.hidden = true;
    try {
      await logIn(name.value.trim(), password.value);
    } catch (error) {
      complaint.textContent = error instanceof RequestError ? error.message : "the server does not answer";
      complaint.hidden = false;
      password.select();
      return;
    } finally {
      enter.disabled = false;
    }
    remember(name.value.trim());
    onLogin();
  };
  return form;
}

function remembered() {
  try {
    return localStorage.getItem(LAST_NAME) ?? FIRST_NAME;
  } catch {
    return FIRST_NAME; // a browser that stores nothing
  }
}

/** @param {string} name */
function remember(name) {
  try {
    localStorage.setItem(LAST_NAME, name);
  } catch {
    // Nothing is stored: the name is typed the next time.
  }
}
