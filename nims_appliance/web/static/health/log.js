// The last records of the log: asked for piece by piece, kept as long as the page is open, filtered here.

import { byId, element } from "../shared/elements.js";
import { count, dateTime, time } from "../shared/format.js";
import { may, onSession } from "../shared/session.js";
import { fetchAsOperator } from "./support.js";

/** @typedef {{number: number, time_utc_s: number, level: string, source: string, text: string}} LogRecord */

const INTERVAL_MS = 2000;
const KEPT = 2000;
const RANK = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"];

/** The log at the foot of the health page. */
export class Log {
  /** @type {LogRecord[]} */
  #records = [];
  #allowed = false;
  #paused = false;
  #place = byId("log");
  #note = byId("log-note");
  #level = byId("log-level", HTMLSelectElement);
  #filter = byId("log-filter", HTMLInputElement);

  constructor() {
    const pause = byId("log-pause", HTMLButtonElement);
    this.#level.onchange = () => this.#draw();
    this.#filter.oninput = () => this.#draw();
    pause.onclick = () => {
      this.#paused = !this.#paused;
      pause.setAttribute("aria-pressed", String(this.#paused));
      pause.textContent = this.#paused ? "Go on" : "Pause";
      this.#draw();
    };
    onSession(async () => {
      this.#allowed = await may("operator");
      this.#draw();
      this.#ask();
    });
    setInterval(() => this.#ask(), INTERVAL_MS);
  }

  async #ask() {
    if (!this.#allowed || document.hidden) return;
    const newest = this.#records.at(-1)?.number ?? 0;
    try {
      const response = await fetch(`/api/v1/log?after=${newest}`);
      if (response.status === 401 || response.status === 403) this.#allowed = false;
      if (!response.ok) return;
      const { records, newest: newestThere } = await response.json();
      // The appliance was started anew: its records are counted from 1 again.
      if (newestThere < newest) {
        this.#records = [];
        return;
      }
      const fresh = records.filter((/** @type {LogRecord} */ { number }) => number > (this.#records.at(-1)?.number ?? 0));
      if (!fresh.length) return;
      this.#records = [...this.#records, ...fresh].slice(-KEPT);
      if (!this.#paused) this.#draw();
    } catch {
      // The page says itself that the appliance does not answer.
    }
  }

  #draw() {
    if (!this.#allowed) {
      const enter = element("button", { type: "button", textContent: "Log in" });
      enter.onclick = () => fetchAsOperator("/api/v1/log");
      this.#place.replaceChildren(element("p", { className: "quiet", textContent: "The log is shown to operators." }), enter);
      this.#note.textContent = "";
      return;
    }
    const least = RANK.indexOf(this.#level.value);
    const wanted = this.#filter.value.trim().toLowerCase();
    const shown = this.#records.filter(
      ({ level, source, text }) => RANK.indexOf(level) >= least && (!wanted || `${source} ${text}`.toLowerCase().includes(wanted)),
    );
    const place = this.#place;
    const atEnd = place.scrollHeight - place.scrollTop - place.clientHeight < 30;
    place.replaceChildren(...shown.map((record) => this.#line(record)));
    if (!shown.length) place.append(element("p", { className: "quiet", textContent: this.#records.length ? "No record is like that." : "Nothing has been logged." }));
    if (atEnd) place.scrollTop = place.scrollHeight;
    this.#note.textContent = `${count(shown.length)} of ${count(this.#records.length)} records${this.#paused ? "; paused" : ""}`;
  }

  /** @param {LogRecord} record */
  #line({ time_utc_s: when, level, source, text }) {
    const line = element(
      "p", {},
      element("time", { textContent: time(when, { zoned: false }), title: dateTime(when) }),
      element("b", { textContent: level.toLowerCase() }),
      element("span", { textContent: `${source.replace("nims_appliance.", "")}: ${text}` }),
    );
    line.dataset.level = RANK.indexOf(level) >= 3 ? "bad" : level === "WARNING" ? "warn" : "";
    return line;
  }
}
