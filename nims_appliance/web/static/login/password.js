// The dialog in which somebody who is logged in takes another password.

import { element } from "../shared/elements.js";
import { request, RequestError } from "../shared/session.js";
import { ready } from "./style.js";

const PASSWORD = { type: "password", required: true, maxLength: 200 };

/**
 * Shows the dialog.
 * @param {string} name of the user
 */
export async function showPassword(name) {
  await ready();
  const old = element("input", { ...PASSWORD, autocomplete: "current-password" });
  const wanted = element("input", { ...PASSWORD, autocomplete: "new-password", minLength: 10 });
  const complaint = element("p", { className: "error", hidden: true, role: "alert" });
  const cancel = element("button", { type: "button", textContent: "Cancel" });
  const form = element(
    "form",
    { className: "login-form" },
    element("h2", { id: "password-title", textContent: `Password of ${name}` }),
    element("p", { className: "why", textContent: "At least 10 characters. Your logins in other browsers end." }),
    element("input", { hidden: true, autocomplete: "username", value: name, readOnly: true }),
    element("label", {}, "Old", old),
    element("label", {}, "New", wanted),
    complaint,
    element("p", { className: "buttons" }, cancel, element("button", { className: "primary", textContent: "Change" })),
  );
  const dialog = element("dialog", { className: "login" }, form);
  dialog.setAttribute("aria-labelledby", "password-title");
  cancel.onclick = () => dialog.close();
  dialog.onclose = () => dialog.remove();
  form.onsubmit = async (event) => {
    event.preventDefault();
    try {
      await request("PUT", "/api/v1/session/password", { old: old.value, new: wanted.value });
      dialog.close();
    } catch (error) {
      complaint.textContent = error instanceof RequestError ? error.message : "the server does not answer";
      complaint.hidden = false;
    }
  };
  document.body.append(dialog);
  dialog.showModal();
  old.focus();
}
