// An address that names a sonar, and a track of it: /#sonar=NAME&track=ID, as the track list gives it.

import { element, find } from "../shared/elements.js";
import { shortId } from "./tracks.js";

const TOLD_MS = 15_000;

/** @typedef {import("./pane.js").Pane} Pane */

export class Link {
  /** @type {{sonar: string, track: string} | null} */
  #wanted = null;

  constructor() {
    const read = () => {
      const asked = new URLSearchParams(location.hash.slice(1));
      const sonar = asked.get("sonar");
      this.#wanted = sonar ? { sonar, track: asked.get("track") ?? "" } : null;
    };
    addEventListener("hashchange", read);
    read();
  }

  /**
   * Goes where the address points, once: the first tracks of that sonar tell whether the track still lives.
   * @param {string} sonar whose tracks have come
   * @param {{id: string}[]} tracks
   * @param {Pane | undefined} pane
   */
  follow(sonar, tracks, pane) {
    if (!pane || this.#wanted?.sonar !== sonar) return;
    const { track } = this.#wanted;
    this.#wanted = null;
    pane.focus();
    if (tracks.some(({ id }) => id === track)) pane.overlay.choose(track);
    else if (/^\d+$/.test(track)) tellEnded(pane, track);
  }
}

/**
 * @param {Pane} pane
 * @param {string} track
 */
function tellEnded(pane, track) {
  const link = element("a", { href: `/tracks#${track}` }, "Open in Tracks");
  const told = element("p", { className: "float linked" }, `Track ${shortId(track)} has ended. `, link);
  told.setAttribute("role", "status");
  find(pane.element, ".view").append(told);
  setTimeout(() => told.remove(), TOLD_MS);
}
