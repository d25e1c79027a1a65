// The live tracks of a sonar as a list for the keyboard and for screen readers; the picture shows which one is chosen.

import { element } from "../shared/elements.js";
import { number } from "../shared/format.js";
import { labelOf, shortId } from "./tracks.js";

/** @typedef {import("./tracks.js").KnownTrack} KnownTrack */

let lists = 0;

export class TrackList {
  /** Out of sight; the view shows its focus. */
  element = element("div", { className: "track-list hidden", tabIndex: -1 });
  #onChoose;
  #prefix = `track-${++lists}-`;
  /** @type {string[]} */
  #ids = [];
  /** @type {string | null} */
  #chosen = null;

  /**
   * @param {string} sonar
   * @param {(id: string) => void} onChoose
   */
  constructor(sonar, onChoose) {
    this.#onChoose = onChoose;
    this.element.setAttribute("role", "listbox");
    this.element.setAttribute("aria-label", `Tracks of ${sonar}`);
    this.element.addEventListener("keydown", (event) => this.#pressed(event));
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const at = this.#chosen === null ? -1 : this.#ids.indexOf(this.#chosen);
    const last = this.#ids.length - 1;
    /** @type {Record<string, number>} */
    const targets = {
      ArrowRight: at + 1, ArrowDown: at + 1, Enter: Math.max(at, 0),
      ArrowLeft: at < 0 ? last : at - 1, ArrowUp: at < 0 ? last : at - 1, Home: 0, End: last,
    };
    if (!(event.key in targets) || last < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.#onChoose(this.#ids[(targets[event.key] + this.#ids.length) % this.#ids.length]);
  }

  /**
   * @param {KnownTrack[]} tracks
   * @param {string | null} chosen
   */
  show(tracks, chosen) {
    this.#chosen = chosen;
    const list = this.element;
    const ids = tracks.map(({ id }) => id);
    const hasFocus = document.activeElement === list;
    list.tabIndex = ids.length || hasFocus ? 0 : -1;
    if (ids.join() !== this.#ids.join()) {
      this.#ids = ids;
      list.replaceChildren(...ids.map((id) => {
        const option = element("div", { id: this.#prefix + id });
        option.setAttribute("role", "option");
        return option;
      }));
    }
    tracks.forEach((known, i) => {
      const option = list.children[i];
      option.setAttribute("aria-selected", String(known.id === chosen));
      // Words are read aloud when it is chosen: only then they are needed.
      if (known.id !== chosen && option.textContent) return;
      const { speed_m_s, range_m } = known.newest;
      const text = [`Track ${shortId(known.id)}`, labelOf(known), number(speed_m_s, 1, "m/s"), `at ${number(range_m, 1, "m")}`].filter(Boolean).join(", ");
      if (option.textContent !== text) option.textContent = text;
    });
    if (chosen !== null && ids.includes(chosen)) list.setAttribute("aria-activedescendant", this.#prefix + chosen);
    else list.removeAttribute("aria-activedescendant");
  }
}
