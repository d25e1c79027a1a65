// The player of a clip: its pictures with its tracks, played, stepped, slower and faster.

import { loadChoices } from "../live/choices.js";
import { ColumnStore } from "../live/columns.js";
import { drawGrid } from "../live/grid.js";
import { Labels } from "../live/labels.js";
import { drawTracks } from "../live/trails.js";
import { PictureView } from "../live/view.js";
import { context2d, copyOf, find } from "../shared/elements.js";
import { time } from "../shared/format.js";
import { palette } from "../shared/theme.js";
import { fetchPictures, tracksAt } from "./clip.js";

/**
 * @typedef {import("./clip.js").Clip} Clip
 * @typedef {import("../shared/connection.js").Picture} Picture
 */

const PLAY = "M8 5l11 7-11 7z";
const PAUSE = "M9 6v12M15 6v12";
const LONGEST_WAIT_S = 2; // between two pictures of the recording

export class Player {
  element;
  #clip;
  #chosen;
  #view;
  #overlay;
  #slider;
  #moment;
  #notice;
  #playButton;
  #speed;
  #labels = new Labels();
  #columns = new ColumnStore();
  /** @type {Picture[]} */
  #pictures = [];
  #at = 0;
  #playing = true;
  /** When the picture that is shown came onto the screen. */
  #sinceMs = performance.now();
  #stop = new AbortController();
  #dirty = true;

  /**
   * @param {Clip} clip
   * @param {string | null} chosen id of the track that is looked at
   */
  constructor(clip, chosen) {
    this.#clip = clip;
    this.#chosen = chosen;
    this.element = find(copyOf("player"), ".player");
    const canvas = find(this.element, ".picture", HTMLCanvasElement);
    canvas.setAttribute("aria-label", `Clip of ${clip.sonar}`);
    this.#view = new PictureView(canvas, new URLSearchParams(location.search).get("renderer") === "2d", () => this.redraw());
    this.#overlay = find(this.element, ".overlay", HTMLCanvasElement);
    this.#slider = find(this.element, "input", HTMLInputElement);
    this.#moment = find(this.element, "output");
    this.#notice = find(this.element, ".notice");
    this.#playButton = find(this.element, ".play", HTMLButtonElement);
    this.#speed = find(this.element, "select", HTMLSelectElement);
    this.#playButton.onclick = () => this.toggle();
    find(this.element, ".back").onclick = () => this.step(-1);
    find(this.element, ".forward").onclick = () => this.step(1);
    this.#slider.oninput = () => this.#go(Number(this.#slider.value));
    new ResizeObserver(() => this.redraw()).observe(this.element);
    this.#load();
    this.#frame();
  }

  /** Ends it; nothing more is fetched. */
  close() {
    this.#stop.abort();
  }

  toggle() {
    this.#setPlaying(!this.#playing);
    if (this.#playing && this.#at >= this.#pictures.length - 1) this.#show(0);
  }

  /**
   * Pauses and goes so many pictures on.
   * @param {number} pictures
   */
  step(pictures) {
    this.#go(this.#at + pictures);
  }

  redraw() {
    this.#dirty = true;
  }

  /** @param {number} at */
  #go(at) {
    this.#setPlaying(false);
    this.#show(at);
  }

  /** @param {number} at */
  #show(at) {
    this.#at = Math.min(Math.max(at, 0), Math.max(this.#pictures.length - 1, 0));
    this.#sinceMs = performance.now();
    this.#dirty = true;
  }

  /** @param {boolean} playing */
  #setPlaying(playing) {
    this.#playing = playing;
    this.#sinceMs = performance.now();
    const words = playing ? "Pause" : "Play";
    this.#playButton.setAttribute("aria-label", words);
    this.#playButton.title = `${words} (Space)`;
    find(this.#playButton, "path", /** @type {any} */ (SVGPathElement)).setAttribute("d", playing ? PAUSE : PLAY);
  }

  async #load() {
    this.#say("Decoding …");
    try {
      const missing = await fetchPictures(this.#clip, this.#stop.signal, (picture) => this.#take(picture));
      this.#say(missing && `This is not all of it: ${missing}.`);
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#say(error instanceof Error ? error.message : String(error));
    }
  }

  /** @param {Picture} picture */
  #take(picture) {
    if (this.#pictures.length && picture.head.kind !== this.#pictures[0].head.kind) return;
    this.#pictures.push(picture);
    if (picture.head.kind === "echogram") this.#columns.add(picture);
    this.#slider.max = String(this.#pictures.length - 1);
    if (this.#pictures.length === 1) this.redraw();
    this.#say("");
  }

  /** @param {string} text */
  #say(text) {
    this.#notice.textContent = text;
    this.#notice.hidden = !text;
  }

  #frame() {
    if (this.#stop.signal.aborted) return;
    this.#advance();
    if (this.#dirty && this.#pictures.length) {
      this.#dirty = false;
      this.#paint();
    }
    requestAnimationFrame(() => this.#frame());
  }

  #advance() {
    if (!this.#playing) return;
    let next = this.#pictures[this.#at + 1];
    while (next) {
      const lasts = Math.min(Math.max(next.head.time_s - this.#pictures[this.#at].head.time_s, 0.01), LONGEST_WAIT_S);
      const lastsMs = (1000 * lasts) / Number(this.#speed.value);
      if (performance.now() - this.#sinceMs < lastsMs) return;
      this.#at++;
      this.#sinceMs += lastsMs;
      this.#dirty = true;
      next = this.#pictures[this.#at + 1];
    }
    // It waits at the end until more has come; once all is there it stays.
    this.#sinceMs = performance.now();
  }

  #paint() {
    const { clientWidth: width, clientHeight: height } = this.#overlay;
    if (!width || !height) return;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const size = { width, height, ratio };
    const picture = this.#pictures[this.#at];
    const { map, low_db, high_db } = loadChoices(this.#clip.sonar);
    const look = { map, palette: palette(), low_db: low_db ?? picture.head.low_db, high_db: high_db ?? picture.head.high_db };
    const isFan = picture.head.kind === "fan";
    const last = this.#columns.pings.findIndex(({ frame }) => frame === picture.head.frame);
    const place = isFan ? this.#view.paintPing("fan", picture, look, size) : this.#view.paintColumns(this.#columns, Math.max(last, 0), look, size);
    this.#overlay.width = Math.round(width * ratio);
    this.#overlay.height = Math.round(height * ratio);
    const context = context2d(this.#overlay);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.#labels.begin(place.area, drawGrid(context, place, null));
    drawTracks(context, place, tracksAt(this.#clip.described ?? [], this.#pictures, this.#at), this.#labels, this.#chosen);
    this.#slider.value = String(this.#at);
    this.#slider.setAttribute("aria-valuetext", time(picture.head.time_s));
    this.#moment.textContent = `${time(picture.head.time_s, { zoned: false })} · ${this.#at + 1} of ${this.#pictures.length}`;
  }
}
