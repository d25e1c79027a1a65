// A pane: the picture of one sonar with its tracks, its tools and its line of state.

import { copyOf, find } from "../shared/elements.js";
import { frequency } from "../shared/format.js";
import { palette } from "../shared/theme.js";
import { Channel } from "./channel.js";
import { Keeping } from "./keeping.js";
import { loadChoices, saveChoices } from "./choices.js";
import { listenToGestures } from "./gestures.js";
import { Overlay } from "./overlay.js";
import { drawSnapshot, saveCanvas } from "./snapshot.js";
import { Arrivals, StatusLine } from "./status.js";
import { Toolbar } from "./toolbar.js";
import { PictureView } from "./view.js";

/**
 * @typedef {import("../shared/connection.js").Picture} Picture
 * @typedef {import("../shared/connection.js").PictureHead} PictureHead
 * @typedef {import("../shared/connection.js").ServerClock} ServerClock
 * @typedef {import("./place.js").Scene} Scene
 * @typedef {import("./view.js").ViewKind} ViewKind
 * @typedef {import("./view.js").Look} Look
 */

/**
 * What a pane asks of its page.
 * @typedef {object} Page
 * @property {(sonar: string, frame: number) => void} seen
 * @property {(pane: Pane) => void} pause or go on
 * @property {(pane: Pane) => void} enlarge or put back
 * @property {() => number} budgetBytes for the pictures of the last minute
 */

const LARGEST_RATIO = 2; // more pixels than that cost time and show nothing
const KEY_ZOOM = 1.25;
const KEY_PAN = 0.1; // of the area

const parameters = new URLSearchParams(location.search);

export class Pane {
  element;
  name;
  #page;
  #select;
  #view;
  #status;
  #toolbar;
  #picture;
  #choices;
  #keeping;
  /** @type {Map<string, Channel>} */
  #channels = new Map();
  /** @type {string | null} */
  #channel = null;
  #chosen = false; // by a person; until then the channel that is searched for tracks is shown
  #arrivals = new Arrivals();
  /** What lies over the picture. */
  overlay;
  #size = { width: 0, height: 0, ratio: 1 };
  #dirty = true;
  /** @type {PictureHead | null} */
  #last = null; // of the newest picture
  /** The moment that is shown; null: the present. @type {number | null} */
  #atS = null;
  /** What is on the screen. @type {Scene | null} */
  #scene = null;
  #device = "";

  /**
   * @param {string} name
   * @param {Page} page
   */
  constructor(name, page) {
    this.name = name;
    this.#page = page;
    this.element = find(copyOf("pane"), "article");
    this.#select = find(this.element, ".channel", HTMLSelectElement);
    this.#view = find(this.element, ".view");
    this.#status = new StatusLine(this.element);
    find(this.element, "h2").textContent = name;
    this.element.dataset.sonar = name;
    this.element.setAttribute("aria-label", name);
    this.#select.onchange = () => {
      this.#chosen = true;
      this.#show(this.#select.value);
    };
    this.#choices = loadChoices(name);
    this.#keeping = new Keeping(this.element, name);
    this.#toolbar = new Toolbar(this.element, {
      view: (kind) => this.setView(kind),
      map: (map) => this.#choose({ map }),
      levels: (low_db, high_db) => this.#choose({ low_db, high_db }),
      pause: () => page.pause(this),
      save: () => this.save(),
      enlarge: () => page.enlarge(this),
      whole: () => this.zoomWhole(),
    });
    const canvas = find(this.element, ".picture", HTMLCanvasElement);
    this.#picture = new PictureView(canvas, parameters.get("renderer") === "2d", () => this.#tellRenderer());
    this.#tellRenderer();
    this.overlay = new Overlay(name, this.element, () => this.redraw(), (x, y) => this.levelAt(x, y));
    this.#listen();
    new ResizeObserver(() => {
      const { clientWidth: width, clientHeight: height } = this.#view;
      this.#size = { ...this.#size, width, height };
      this.#dirty = true;
    }).observe(this.#view);
  }

  #tellRenderer() {
    this.element.dataset.renderer = this.#picture?.renderer;
    this.#dirty = true;
  }

  #listen() {
    const viewport = () => this.#picture.viewports[this.viewKind];
    const changed = () => this.#afterZoom();
    listenToGestures(this.#view, {
      area: () => this.#area(),
      zoom: (factorX, factorY, atX, atY) => (viewport().zoom(factorX, factorY, atX, atY), changed()),
      pan: (byX, byY) => (viewport().pan(byX, byY), changed()),
      reset: () => this.zoomWhole(),
      axes: () => (this.viewKind === "echogram" ? "one" : "both"),
      zoomed: () => !viewport().isWhole,
    });
  }

  #area() {
    return this.#scene?.place.area ?? { left: 0, top: 0, width: this.#size.width || 1, height: this.#size.height || 1 };
  }

  #afterZoom() {
    this.#toolbar.showZoom(!this.#picture.viewports[this.viewKind].isWhole);
    this.#dirty = true;
  }

  /**
   * Zooms about the middle: in by 1, out by -1.
   * @param {number} steps
   */
  zoomBy(steps) {
    const factor = KEY_ZOOM ** steps;
    this.#picture.viewports[this.viewKind].zoom(factor, factor, 0, 0);
    this.#afterZoom();
  }

  /**
   * Moves the picture by tenths of what is seen.
   * @param {number} stepsX
   * @param {number} stepsY
   */
  panBy(stepsX, stepsY) {
    this.#picture.viewports[this.viewKind].pan(stepsX * KEY_PAN, stepsY * KEY_PAN);
    this.#afterZoom();
  }

  /** Shows all of the picture. */
  zoomWhole() {
    this.#picture.viewports[this.viewKind].reset();
    this.#afterZoom();
  }

  /** The view that is shown: what was chosen, as far as the sonar has it. @returns {ViewKind} */
  get viewKind() {
    return this.#shown()?.isFan === false ? "echogram" : this.#choices.view;
  }

  /** @param {ViewKind} kind */
  setView(kind) {
    this.#choose({ view: kind });
    this.#showTools();
  }

  /** The next of the views that this sonar has. */
  nextView() {
    const kinds = this.#possibleViews();
    if (kinds.length > 1) this.setView(kinds[(kinds.indexOf(this.viewKind) + 1) % kinds.length]);
  }

  /** Opens or closes the panel of colours and levels. */
  togglePanel() {
    this.#toolbar.togglePanel();
  }

  /** @returns {ViewKind[]} */
  #possibleViews() {
    return this.#shown()?.isFan === false ? ["echogram"] : ["fan", "bscan", "echogram"];
  }

  #showTools() {
    this.#toolbar.showView(this.viewKind, this.#possibleViews());
    this.#afterZoom();
    this.#picture.canvas.setAttribute("aria-label", `${{ fan: "Fan", bscan: "B-scan", echogram: "Echogram" }[this.viewKind]} of ${this.name}`);
  }

  /** @param {Partial<import("./choices.js").Choices>} choices */
  #choose(choices) {
    Object.assign(this.#choices, choices);
    saveChoices(this.name, this.#choices);
    this.#dirty = true;
  }

  /**
   * @param {Picture} picture
   * @param {number} nowS
   */
  takePicture(picture, nowS) {
    const { head } = picture;
    let channel = this.#channels.get(head.channel);
    if (channel?.kind !== head.kind) channel = this.#addChannel(head);
    if (!channel.isFan) {
      if (channel.takeColumn(picture)) this.#arrivals.add(head, nowS);
    } else {
      channel.takeFan(picture);
      if (head.channel !== this.#channel) this.#passOver(channel);
    }
    this.#last = head;
    this.#dirty = true;
  }

  /**
   * Pictures of a channel that is not shown count as seen.
   * @param {Channel} channel
   */
  #passOver(channel) {
    let seen = null;
    for (let next = this.#next(channel); next; next = this.#next(channel)) seen = next.head.frame;
    if (seen !== null) this.#page.seen(this.name, seen);
  }

  /** @param {Channel} channel */
  #next(channel) {
    // While an earlier moment is looked at, the minute before it stays.
    return channel.next(this.#atS === null ? this.#page.budgetBytes() : null);
  }

  /** @param {PictureHead} head */
  #addChannel(head) {
    const channel = new Channel(this.name, head);
    this.#channels.set(head.channel, channel);
    const select = this.#select;
    select.replaceChildren(...[...this.#channels.keys()].sort().map((name) => new Option(name || "default", name)));
    select.hidden = this.#channels.size < 2;
    this.#show(this.#channel ?? head.channel);
    return channel;
  }

  /** @param {string} name of a channel */
  #show(name) {
    this.#channel = name;
    this.#select.value = name;
    for (const [key, channel] of this.#channels) if (key !== name) this.#passOver(channel);
    this.#showTools();
  }

  #shown() {
    return this.#channel === null ? undefined : this.#channels.get(this.#channel);
  }

  /**
   * @param {import("../shared/connection.js").TracksMessage} message
   * @param {number} nowS
   */
  takeTracks(message, nowS) {
    this.overlay.takeTracks(message, nowS);
    if (!this.#chosen && message.channel !== this.#channel && this.#channels.has(message.channel)) this.#show(message.channel);
    this.#dirty = true;
  }

  /** @param {boolean} enlarged */
  setEnlarged(enlarged) {
    this.element.classList.toggle("enlarged", enlarged);
    this.#toolbar.showEnlarged(enlarged);
  }

  /** The pings that one can step through. @returns {{received_utc_s: number}[]} */
  moments() {
    return this.#shown()?.moments() ?? [];
  }

  /**
   * Shows an earlier moment; null: the present.
   * @param {number | null} atS
   */
  showMoment(atS) {
    this.#atS = atS;
    this.element.classList.toggle("paused", atS !== null);
    this.#toolbar.showPaused(atS !== null);
    this.#dirty = true;
  }

  /**
   * Draws if something has changed; called for every frame of the screen.
   * @param {number} nowS
   * @param {number} ratio of the screen's pixels to those of the page
   */
  draw(nowS, ratio) {
    const channel = this.#shown();
    const fresh = channel ? this.#next(channel) : null;
    this.#size.ratio = Math.min(ratio, LARGEST_RATIO);
    const { width, height } = this.#size;
    if (channel?.newest && width && height) {
      const fading = this.#atS === null && this.viewKind !== "echogram" && this.overlay.isMoving(nowS);
      if (this.#dirty || fading) {
        this.#dirty = channel.hasMore;
        this.#paint(channel, nowS);
      }
    }
    if (fresh) {
      this.#page.seen(this.name, fresh.head.frame);
      this.#arrivals.add(fresh.head, nowS);
    }
  }

  /**
   * @param {Channel} channel
   * @param {number} nowS
   */
  #paint(channel, nowS) {
    const kind = this.viewKind;
    const { columns } = channel;
    const { picture, last } = channel.at(this.#atS);
    const look = this.#lookOf(channel, picture.head);
    const place = kind === "echogram"
      ? this.#picture.paintColumns(columns, last, look, this.#size)
      : this.#picture.paintPing(kind, picture, look, this.#size);
    const { width, height } = this.#size;
    const oldestFrame = columns.pings[0]?.frame ?? 0;
    this.#scene = { place, picture, live: this.#atS === null, channel: this.#channel ?? "", oldestFrame, width, height, nowS };
    this.#toolbar.showLook(look, this.#choices.low_db === null, picture.head);
    this.overlay.draw(this.#scene, this.#size.ratio);
  }

  /**
   * @param {Channel} channel
   * @param {PictureHead} head
   * @returns {Look}
   */
  #lookOf(channel, head) {
    const { map, low_db, high_db } = this.#choices;
    const proposed = this.viewKind === "echogram" && channel.isFan ? channel.columns.levels : head;
    return {
      map,
      palette: palette(),
      low_db: low_db ?? proposed.low_db,
      high_db: high_db ?? proposed.high_db,
    };
  }

  /**
   * The level in dB at a pixel of the view; null where there is no picture.
   * @param {number} x
   * @param {number} y
   */
  levelAt(x, y) {
    const channel = this.#shown();
    return this.#scene && channel ? channel.levelAt(this.#scene, x, y) : null;
  }

  /** Saves what is shown as a PNG. */
  async save() {
    const channel = this.#shown();
    if (!this.#scene || !channel) return;
    // A canvas of WebGL holds its picture only until the browser has shown it.
    this.#paint(channel, this.#scene.nowS);
    const { head } = this.#scene.picture;
    const stamp = new Date(head.time_s * 1000).toISOString().slice(0, 19).replaceAll(":", "");
    const canvas = drawSnapshot({
      picture: this.#picture.canvas,
      overlay: this.overlay.canvas,
      head,
      look: this.#lookOf(channel, head),
      title: [this.name, this.#device].filter(Boolean).join(" · "),
      ...this.#size,
    });
    await saveCanvas(canvas, `${this.name}-${stamp}Z.png`);
  }

  /**
   * Writes the line of state; called a few times a second.
   * @param {import("../shared/connection.js").SonarState} sonar
   * @param {import("../shared/connection.js").Part | undefined} part the sonar's entry of the health page
   * @param {ServerClock} clock
   * @param {number} nowS
   * @param {boolean} connected
   * @param {number} pictureRateHz
   */
  tell(sonar, part, clock, nowS, connected, pictureRateHz) {
    this.overlay.setZones(sonar.zones);
    this.#keeping.tell(sonar);
    this.overlay.tell(nowS);
    const channel = this.#shown();
    const head = channel?.newest?.head;
    this.#device = [head?.device || sonar.title, head && frequency(head.frequency_hz)].filter(Boolean).join(" · ");
    const isSlow = this.#status.tell({
      device: this.#device,
      counted: this.#arrivals.count(nowS),
      ageS: this.#last ? clock.age(this.#last.received_utc_s, nowS) : null,
      tracks: this.overlay.tracks.live,
      connected,
      mostPerSecond: pictureRateHz * (this.#channels.size || 1),
      isOff: part?.state === "stopped",
      waiting: part && part.state !== "running" ? [part.detail, part.last_error].find(Boolean) ?? part.state : "",
    });
    if (channel && connected && this.viewKind === "echogram") {
      channel.fillPast(nowS, isSlow).then((hasCome) => hasCome && this.redraw());
    }
  }

  /** The page was hidden, so pings were not shown on purpose: begin to count anew. */
  forgetArrivals() {
    this.#arrivals.clear();
    for (const channel of this.#channels.values()) channel.missed();
  }

  /** Gives it the focus: keys act on it. */
  focus() {
    this.#view.focus();
  }

  redraw() {
    this.#dirty = true;
  }
}
