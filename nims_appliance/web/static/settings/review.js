// What is about to be saved: each change with its old and new value, at the foot of the page.

import { byId, element, find } from "../shared/elements.js";
import { textOf } from "./schema.js";

/**
 * @typedef {import("./field.js").Field} Field
 * @typedef {{key: string, value: any, field: Field | undefined}} Change
 */

const bar = byId("pending");
const list = find(bar, "ul");
const note = find(bar, "p");
const save = find(bar, ".primary", HTMLButtonElement);

/**
 * @param {Change[]} changes  a value of undefined cannot be saved, null takes the override back
 * @param {{problem: string, ready: boolean}} state
 */
export function showReview(changes, { problem, ready }) {
  bar.hidden = !changes.length && !problem;
  document.body.classList.toggle("reviewing", !bar.hidden);
  save.disabled = !ready || !changes.length;
  list.replaceChildren(...changes.map(line));
  const anew = new Set(changes.filter(({ field }) => field?.schema.restart === "sonar").map(({ key }) => key.split(".")[1]));
  const restarts = anew.size ? `${[...anew].map((name) => `Sonar ${name}`).join(", ")} will start anew.` : "";
  note.classList.toggle("bad", Boolean(problem));
  note.textContent = problem || restarts;
  note.hidden = !note.textContent;
}

/** @param {Change} change */
function line({ key, value, field }) {
  const unit = field?.schema.unit ? ` ${field.schema.unit}` : "";
  const now = value === undefined ? "not valid" : value === null ? "back to what lies below" : `${textOf(value)}${unit}`;
  const place = key.split(".");
  const name = place.pop() ?? "";
  return element(
    "li", {},
    element("span", { className: "key" }, `${place.filter((part) => part !== "sonars").join(" › ")} › `, element("b", { textContent: field?.schema.title ?? name })),
    element("span", {}, element("del", { textContent: `${textOf(field?.saved)}${unit}` }), " → ", element("ins", { textContent: now })),
  );
}
