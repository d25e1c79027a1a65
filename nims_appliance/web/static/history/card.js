// The card of a track or a clip: the moving picture, what is known of it, and what can be done with it.

import { element } from "../shared/elements.js";
import { bytes, dateTime, duration } from "../shared/format.js";
import { request } from "../shared/session.js";
import { showCard as showTrack } from "../tracks/card.js";
import { clipPath } from "./clip.js";
import { Player } from "./player.js";

/** @typedef {import("./clip.js").Clip} Clip */

export class Card {
  #element;
  #closed;
  #changed;
  /** @type {Player | null} */
  #player = null;
  #opened = 0;

  /**
   * @param {HTMLElement} place
   * @param {() => void} closed
   * @param {() => void} changed a clip was kept or removed
   */
  constructor(place, closed, changed) {
    this.#element = place;
    this.#closed = closed;
    this.#changed = changed;
  }

  get isOpen() {
    return !this.#element.hidden;
  }

  get player() {
    return this.#player;
  }

  close() {
    this.#opened++;
    this.#player?.close();
    this.#player = null;
    this.#element.hidden = true;
    this.#element.replaceChildren();
    this.#closed();
  }

  /**
   * Shows a track, and its clip if there is one.
   * @param {any} track with its positions
   */
  async showTrack(track) {
    const opened = this.#begin();
    showTrack(this.#element, track, () => this.close());
    if (!track.clip) return;
    const clip = await this.#ask(track.clip);
    if (clip && opened === this.#opened) this.#addClip(clip, track.id);
  }

  /** @param {string} name of a clip */
  async showClip(name) {
    const opened = this.#begin();
    const close = element("button", { type: "button", className: "icon", textContent: "✕", title: "Close (Esc)" });
    close.setAttribute("aria-label", "Close");
    close.onclick = () => this.close();
    this.#element.replaceChildren(element("header", {}, element("h2", { textContent: "Clip" }), close));
    this.#element.hidden = false;
    const clip = await this.#ask(name);
    if (opened !== this.#opened) return;
    if (clip) this.#addClip(clip, clip.tracks.length === 1 ? clip.tracks[0] : null);
    else this.#element.append(element("p", { className: "gone", textContent: "This clip is gone: it was removed to keep the disk from filling, or by somebody." }));
  }

  #begin() {
    this.#player?.close();
    this.#player = null;
    return ++this.#opened;
  }

  /** @param {string} name @returns {Promise<Clip | null>} */
  async #ask(name) {
    const response = await fetch(clipPath(name)).catch(() => null);
    return response?.ok ? response.json() : null;
  }

  /**
   * @param {Clip} clip
   * @param {string | null} chosen
   */
  #addClip(clip, chosen) {
    this.#player = new Player(clip, chosen);
    this.#element.querySelector("header")?.after(this.#player.element, this.#actions(clip));
  }

  /** @param {Clip} clip */
  #actions(clip) {
    const keep = element("input", { type: "checkbox", checked: clip.keep });
    const problem = element("p", { className: "error", hidden: true });
    problem.setAttribute("role", "alert");
    const tried = async (/** @type {Promise<unknown>} */ done) => {
      try {
        await done;
        problem.hidden = true;
        this.#changed();
        return true;
      } catch (error) {
        problem.textContent = error instanceof Error ? error.message : String(error);
        problem.hidden = false;
        return false;
      }
    };
    keep.onchange = async () => {
      const wanted = keep.checked;
      if (!(await tried(request("PATCH", clipPath(clip.name), { keep: wanted })))) keep.checked = !wanted;
    };
    const remove = element("button", { type: "button", className: "operator", textContent: "Delete" });
    remove.onclick = async () => {
      // The second press does it: no question that is answered without being read.
      if (remove.dataset.sure !== "yes") {
        remove.dataset.sure = "yes";
        remove.textContent = "Delete for good";
        setTimeout(() => {
          remove.dataset.sure = "";
          remove.textContent = "Delete";
        }, 4000);
      } else if (await tried(request("DELETE", clipPath(clip.name)))) {
        this.close();
      }
    };
    const download = element("a", { className: "button", href: `${clipPath(clip.name)}/download`, download: "", textContent: "Download" });
    const said = `${dateTime(clip.start_s)} · ${clip.end_s > clip.start_s ? duration(clip.end_s - clip.start_s) : "still growing"} · ${bytes(clip.bytes)} · ${clip.reason === "track" ? "of a track" : `by ${clip.reason}`}`;
    return element(
      "section",
      { className: "clip" },
      element("p", { textContent: said }),
      element("div", { className: "actions" }, element("label", { className: "operator" }, keep, " Keep"), download, remove),
      problem,
    );
  }
}
