// The text for support: to the clipboard, or, where a browser does not let a page, selected in a dialog.

import { byId, find } from "../shared/elements.js";
import { login } from "../shared/session.js";

/**
 * Fetches what only an operator may see; asks for a login once.
 * @param {string} path
 * @returns {Promise<Response | null>} null: nobody logged in
 */
export async function fetchAsOperator(path) {
  const response = await fetch(path);
  if (response.status !== 401 && response.status !== 403) return response;
  return (await login("The log and the text for support are for operators.")) ? fetch(path) : null;
}

/** @param {HTMLButtonElement} button  which tells what has come of it */
export async function copyForSupport(button) {
  const response = await fetchAsOperator("/api/v1/support");
  if (!response) return;
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  if (await copied(text)) {
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = before), 2500);
    return;
  }
  const dialog = byId("support", HTMLDialogElement);
  const shown = find(dialog, "textarea", HTMLTextAreaElement);
  shown.value = text;
  dialog.showModal();
  shown.select();
}

/** @param {string} text */
async function copied(text) {
  try {
    // There is no clipboard on pages without TLS, except on the computer itself.
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
