// The login dialog that any page shows when something needs a login.

import { makeForm } from "./form.js";
import { ready } from "./style.js";

/**
 * Shows the dialog until somebody has logged in or gives up.
 * @param {string} why
 * @returns {Promise<boolean>} whether somebody logged in
 */
export async function showLogin(why) {
  await ready();
  const dialog = document.createElement("dialog");
  dialog.className = "login";
  dialog.setAttribute("aria-labelledby", "login-title");
  const cancel = Object.assign(document.createElement("button"), { type: "button", textContent: "Cancel" });
  return new Promise((done) => {
    let loggedIn = false;
    const form = makeForm({
      why,
      onLogin() {
        loggedIn = true;
        dialog.close();
      },
    });
    form.querySelector(".buttons")?.prepend(cancel);
    cancel.onclick = () => dialog.close();
    dialog.onclose = () => {
      dialog.remove();
      done(loggedIn);
    };
    dialog.append(form);
    document.body.append(dialog);
    dialog.showModal();
    /** @type {HTMLInputElement | null} */ (form.querySelector("input[type=password]"))?.focus();
  });
}
