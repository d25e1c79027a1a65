// Who changed what and when; and a button at each change that takes it back.

import { byId, element, find } from "../shared/elements.js";
import { ago, dateTime } from "../shared/format.js";
import { setText, showKeyed } from "../shared/keyed.js";
import { request } from "../shared/session.js";
import { textOf } from "./schema.js";

/**
 * @typedef {object} Entry
 * @property {number} number
 * @property {number} time_utc_s
 * @property {string} author
 * @property {string} source
 * @property {number | null} undoes
 * @property {{key: string, old: any, new: any}[]} rows
 * @property {string} undo_problem
 */

const FIRST = 8;
const SHOWN_ROWS = 6;

/** The list at the foot of the settings page. */
export class History {
  /** @type {Entry[]} */
  #entries = [];
  #all = false;
  #place = byId("history");
  #more = byId("history-more", HTMLButtonElement);
  #complaint = byId("history-error");

  constructor() {
    this.#more.onclick = () => {
      this.#all = true;
      this.#draw();
    };
  }

  async load() {
    const response = await fetch("/api/v1/config/history");
    if (!response.ok) return;
    this.#entries = (await response.json()).history;
    this.#draw();
  }

  #draw() {
    const shown = this.#all ? this.#entries : this.#entries.slice(0, FIRST);
    this.#more.hidden = shown.length === this.#entries.length;
    setText(this.#more, `Show all ${this.#entries.length}`);
    byId("history-none").hidden = this.#entries.length > 0;
    showKeyed(
      this.#place,
      shown,
      ({ number }) => String(number),
      (entry) => this.#make(entry),
      (item, entry) => {
        setText(find(item, "time"), ago(entry.time_utc_s, Date.now() / 1000));
        const undo = find(item, "button", HTMLButtonElement);
        undo.disabled = entry.undo_problem !== "";
        undo.title = entry.undo_problem;
      },
    );
  }

  /** @param {Entry} entry */
  #make(entry) {
    const { number, time_utc_s: when, author, source, undoes, rows } = entry;
    const undo = element("button", { type: "button", textContent: "Undo" });
    undo.setAttribute("aria-label", `Undo change ${number}`);
    undo.onclick = () => this.#undo(number);
    const time = element("time", { title: dateTime(when), dateTime: new Date(when * 1000).toISOString() });
    const who = author ? `${author}, ${source}` : `edited: ${source}`;
    const more = rows.length - SHOWN_ROWS;
    return element(
      "li", {},
      element("div", { className: "who" }, element("b", { textContent: who }), time, undoes ? element("span", { textContent: `undid change ${undoes}` }) : null),
      element(
        "ul", {},
        ...rows.slice(0, SHOWN_ROWS).map(({ key, old, new: now }) =>
          element("li", {}, element("span", { className: "key", textContent: key }), " ", element("del", { textContent: textOf(old) }), " → ", element("ins", { textContent: textOf(now) })),
        ),
        more > 0 ? element("li", { className: "quiet", textContent: `and ${more} more` }) : null,
      ),
      undo,
    );
  }

  /** @param {number} number */
  async #undo(number) {
    try {
      await request("POST", "/api/v1/config/undo", { number });
      this.#complaint.hidden = true;
    } catch (error) {
      this.#complaint.textContent = error instanceof Error ? error.message : String(error);
      this.#complaint.hidden = false;
    }
  }
}
