// Pause, and the way back through the last minute: one moment for all sonars of the page.

import { byId, find } from "../shared/elements.js";
import { time } from "../shared/format.js";
import { lastUntil } from "./moments.js";

/** @typedef {import("./pane.js").Pane} Pane */

const NOTHING_EARLIER_S = 0.05;

export class Timeline {
  /** The moment that is shown: time of arrival on the server's clock; null: live. @type {number | null} */
  atS = null;
  #element = byId("timeline");
  #range = find(this.#element, "input", HTMLInputElement);
  #when = find(this.#element, "output");
  #panes;
  #onChange;
  /** @type {Pane | null} the one whose pings are stepped through */
  #leader = null;

  /**
   * @param {() => Iterable<Pane>} panes
   * @param {(paused: boolean) => void} onChange
   */
  constructor(panes, onChange) {
    this.#panes = panes;
    this.#onChange = onChange;
    this.#range.oninput = () => this.#goTo(Number(this.#range.value));
    find(this.#element, ".back").onclick = () => this.step(-1);
    find(this.#element, ".forward").onclick = () => this.step(1);
    find(this.#element, ".live").onclick = () => this.live();
  }

  get paused() {
    return this.atS !== null;
  }

  /**
   * Pauses, or goes on.
   * @param {Pane} [leader] whose pings are stepped through
   */
  toggle(leader) {
    if (this.paused) this.live();
    else this.pause(leader);
  }

  /** @param {Pane} [leader] */
  pause(leader) {
    const panes = [...this.#panes()].filter((pane) => pane.moments().length);
    if (this.paused || !panes.length) return;
    this.#leader = leader?.moments().length ? leader : panes[0];
    const times = panes.flatMap((pane) => pane.moments().map(({ received_utc_s }) => received_utc_s));
    this.#range.min = String(Math.min(...times));
    this.#range.max = String(Math.max(...times));
    this.#element.hidden = false;
    this.#goTo(Math.max(...times));
  }

  /**
   * One ping of the leading sonar back or forward; pauses first.
   * @param {number} by -1 or 1
   * @param {Pane} [leader]
   */
  step(by, leader) {
    if (!this.paused) this.pause(leader);
    if (this.atS === null || !this.#leader) return;
    const pings = this.#leader.moments();
    const next = pings[lastUntil(pings, this.atS) + by];
    if (next) this.#goTo(next.received_utc_s);
  }

  live() {
    if (!this.paused) return;
    this.atS = null;
    this.#leader = null;
    this.#element.hidden = true;
    this.#onChange(false);
  }

  /** @param {number} utcS */
  #goTo(utcS) {
    this.atS = utcS;
    this.#range.value = String(utcS);
    const before = Number(this.#range.max) - utcS;
    const clock = `${time(utcS, { zoned: false })}.${Math.floor((utcS * 10) % 10)}`;
    const text = before < NOTHING_EARLIER_S ? `paused at ${clock}` : `${clock}, ${before.toFixed(1)} s before the pause`;
    this.#when.textContent = text;
    this.#range.setAttribute("aria-valuetext", text);
    this.#onChange(true);
  }
}
