// A pane: the picture of one sonar with its tracks and its line of state.

import { context2d, copyOf, find } from "../shared/elements.js";
import { EchogramView } from "./echogram.js";
import { FanView } from "./fan.js";
import { drawEchogramGrid, drawEchogramTracks, drawFanGrid, drawFanTracks, drawFanZones } from "./overlay.js";
import { TrackHistory } from "./tracks.js";

/**
 * @typedef {import("../shared/connection.js").Picture} Picture
 * @typedef {import("../shared/connection.js").PictureHead} PictureHead
 * @typedef {import("../shared/connection.js").ServerClock} ServerClock
 */

/**
 * @typedef {object} Channel
 * @property {FanView | EchogramView} view
 * @property {HTMLCanvasElement} canvas
 * @property {Picture | null} picture the newest drawn
 * @property {Picture[]} waiting fan pictures to draw
 */

/** A picture that was drawn. @typedef {{frame: number, received_utc_s: number, atS: number}} Arrival */

const WINDOW_S = 5; // over which rates are told
const STALE_S = 2;
const FAN_KEEPS_S = 60;
const ECHOGRAM_KEEPS_S = 3600;

const parameters = new URLSearchParams(location.search);

export class Pane {
  element;
  #title;
  #device;
  #select;
  #view;
  #notice;
  /** @type {Record<string, HTMLElement>} */
  #figures = {};
  #name;
  /** @type {Map<string, Channel>} */
  #channels = new Map();
  /** @type {string | null} */
  #channel = null;
  #chosen = false; // by a person; until then the channel that is searched for tracks is shown
  #tracks = new TrackHistory();
  #counting = false;
  /** @type {Arrival[]} */
  #arrivals = [];
  #overlay;
  #context;
  /** @type {import("../shared/connection.js").Zone[]} */
  #zones = [];
  #size = { width: 0, height: 0 };
  #dirty = true;
  /** @type {PictureHead | null} */
  #last = null; // of the newest picture
  #told = "";
  #onSeen;

  /**
   * @param {string} name
   * @param {(sonar: string, frame: number) => void} onSeen
   */
  constructor(name, onSeen) {
    this.#name = name;
    this.#onSeen = onSeen;
    this.element = find(copyOf("pane"), "article");
    this.#title = find(this.element, "h2");
    this.#device = find(this.element, ".device");
    this.#select = find(this.element, ".channel", HTMLSelectElement);
    this.#view = find(this.element, ".view");
    this.#notice = find(this.element, ".notice");
    for (const figure of this.element.querySelectorAll("[data-is]")) {
      if (figure instanceof HTMLElement) this.#figures[figure.dataset.is ?? ""] = figure;
    }
    this.#title.textContent = name;
    this.element.dataset.sonar = name;
    this.#select.onchange = () => {
      this.#chosen = true;
      this.#show(this.#select.value);
    };
    this.#overlay = document.createElement("canvas");
    this.#overlay.setAttribute("aria-hidden", "true");
    // Drawn by the processor: for a few lines and labels a browser without a graphics chip would emulate one, at 50 ms each.
    this.#context = context2d(this.#overlay, { willReadFrequently: true });
    this.#view.append(this.#overlay);
    new ResizeObserver(() => {
      const { clientWidth: width, clientHeight: height } = this.#view;
      this.#size = { width, height };
      this.#dirty = true;
    }).observe(this.#view);
  }

  /**
   * @param {Picture} picture
   * @param {number} nowS
   */
  takePicture(picture, nowS) {
    const { head } = picture;
    let channel = this.#channels.get(head.channel);
    if (channel && channel.view instanceof FanView !== (head.kind === "fan")) {
      channel.canvas.remove();
      channel = undefined;
    }
    channel ??= this.#addChannel(head);
    if (channel.view instanceof EchogramView) {
      if (channel.view.add(picture)) {
        channel.picture = picture;
        this.#count(head, nowS);
      }
    } else {
      // Each is drawn, one a frame of the screen. The appliance sends no more than a few ahead of those drawn.
      channel.waiting.push(picture);
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
    const newest = channel.waiting.at(-1);
    if (!newest) return;
    channel.picture = newest;
    channel.waiting = [];
    this.#onSeen(this.#name, newest.head.frame);
  }

  /**
   * @param {PictureHead} head of a picture that was drawn
   * @param {number} nowS
   */
  #count({ frame, received_utc_s }, nowS) {
    // The first one may have been kept for late viewers: nothing was missed between it and the next.
    if (this.#counting) this.#arrivals.push({ frame, received_utc_s, atS: nowS });
    this.#counting = true;
  }

  /** @param {PictureHead} head */
  #addChannel(head) {
    const canvas = document.createElement("canvas");
    canvas.className = "picture";
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${head.kind === "fan" ? "Fan picture" : "Echogram"} of ${this.#name}`);
    this.#view.insertBefore(canvas, this.#overlay);
    const view = head.kind === "fan" ? new FanView(canvas, parameters.get("renderer") === "2d") : new EchogramView(canvas);
    /** @type {Channel} */
    const channel = { view, canvas, picture: null, waiting: [] };
    this.#channels.set(head.channel, channel);
    this.element.dataset.renderer = view.renderer;
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
    for (const [key, channel] of this.#channels) {
      channel.canvas.hidden = key !== name;
      if (key !== name) this.#passOver(channel);
    }
    this.#dirty = true;
  }

  /**
   * @param {import("../shared/connection.js").TracksMessage} message
   * @param {number} nowS
   */
  takeTracks(message, nowS) {
    this.#tracks.take(message, nowS);
    if (!this.#chosen && message.channel !== this.#channel && this.#channels.has(message.channel)) this.#show(message.channel);
    this.#dirty = true;
  }

  /**
   * Draws if something has changed; called for every frame of the screen.
   * @param {number} nowS
   * @param {number} ratio of the screen's pixels to those of the page
   */
  draw(nowS, ratio) {
    const channel = this.#shown();
    const { width, height } = this.#size;
    if (!channel || !width || !height) return;
    const fresh = channel.waiting.shift();
    if (fresh) channel.picture = fresh;
    if (!channel.picture) return;
    const tracks = channel.view instanceof FanView ? this.#tracks.recent(nowS) : [];
    if (!this.#dirty && !tracks.some(({ ended }) => ended)) return;
    this.#dirty = channel.waiting.length > 0;
    const isFan = channel.view instanceof FanView;
    this.#fitOverlay(width, height, ratio);
    const context = this.#context;
    if (channel.view instanceof FanView) {
      const place = channel.view.draw(channel.picture, width, height, ratio, Boolean(fresh));
      drawFanGrid(context, place);
      drawFanZones(context, place, this.#zones);
      drawFanTracks(context, place, tracks, width);
    } else {
      const place = channel.view.draw(channel.picture, width, height, ratio);
      drawEchogramGrid(context, place);
      drawEchogramTracks(context, place, this.#tracks.since(place.columns[0]?.frame ?? Infinity, this.#channel));
    }
    this.#tracks.prune(nowS, isFan ? FAN_KEEPS_S : ECHOGRAM_KEEPS_S);
    if (fresh) {
      this.#onSeen(this.#name, fresh.head.frame);
      this.#count(fresh.head, nowS);
    }
  }

  #shown() {
    return this.#channel === null ? undefined : this.#channels.get(this.#channel);
  }

  /**
   * @param {number} width
   * @param {number} height
   * @param {number} ratio
   */
  #fitOverlay(width, height, ratio) {
    const overlay = this.#overlay;
    if (overlay.width !== Math.round(width * ratio)) overlay.width = Math.round(width * ratio);
    if (overlay.height !== Math.round(height * ratio)) overlay.height = Math.round(height * ratio);
    this.#context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.#context.clearRect(0, 0, width, height);
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
    if (JSON.stringify(sonar.zones) !== JSON.stringify(this.#zones)) {
      this.#zones = sonar.zones;
      this.#dirty = true;
    }
    const head = this.#last;
    const shownHead = this.#shown()?.picture?.head;
    const device = [shownHead?.device || sonar.title, shownHead && frequency(shownHead.frequency_hz)].filter(Boolean).join(" · ");
    if (this.#device.textContent !== device) this.#device.textContent = device;
    this.#forgetOldArrivals(nowS);
    const [first, newest] = [this.#arrivals[0], this.#arrivals[this.#arrivals.length - 1]];
    const pings = first ? newest.frame - first.frame : 0;
    const elapsedS = first ? newest.received_utc_s - first.received_utc_s : 0;
    const ageS = head ? clock.age(head.received_utc_s, nowS) : null;
    const intervalS = pings > 0 ? elapsedS / pings : 0;
    const stale = ageS !== null && (!connected || ageS > Math.max(STALE_S, 3 * intervalS));
    this.#write("rate", pings > 0 && elapsedS > 0 ? `${(pings / elapsedS).toFixed(1)}/s` : stale ? "0/s" : "–");
    this.#write("age", ageS === null ? "–" : seconds(ageS), stale ? "bad" : (ageS ?? 0) > 1 + 2 * intervalS ? "warn" : "");
    const shown = this.#arrivals.length - 1;
    // Fewer than the operator's limit allows: this viewer or its link is slow.
    const expected = Math.min(pings, elapsedS * pictureRateHz * (this.#channels.size || 1));
    this.#write("shown", pings > 0 ? `${shown} of ${pings}` : "–", shown < expected * 0.9 - 1 ? "warn" : "");
    this.#write("tracks", head ? String(this.#tracks.live) : "–");
    this.element.classList.toggle("stale", stale);
    const waiting = part && part.state !== "running" ? [part.detail, part.last_error].find(Boolean) ?? part.state : "";
    let notice = "";
    if (stale) notice = [`no ping for ${seconds(ageS)}`, connected ? waiting : "no connection to the appliance"].filter(Boolean).join("\n");
    else if (!head) notice = waiting || "waiting for the first ping";
    if (notice !== this.#told) this.#notice.textContent = this.#told = notice;
  }

  /** @param {number} nowS */
  #forgetOldArrivals(nowS) {
    const newestUtcS = this.#arrivals.at(-1)?.received_utc_s ?? 0;
    // By both clocks: what was kept for late viewers came all at once.
    this.#arrivals = this.#arrivals.filter(
      ({ atS, received_utc_s }) => nowS - atS <= WINDOW_S && newestUtcS - received_utc_s <= WINDOW_S,
    );
  }

  /**
   * @param {string} name of a figure
   * @param {string} text
   * @param {string} level
   */
  #write(name, text, level = "") {
    const part = this.#figures[name];
    if (part.textContent !== text) part.textContent = text;
    if ((part.dataset.level ?? "") !== level) part.dataset.level = level;
  }

  /** The page was hidden, so pings were not shown on purpose: begin to count anew. */
  forgetArrivals() {
    this.#arrivals = [];
    this.#counting = false;
  }

  redraw() {
    this.#dirty = true;
  }
}

/** @param {number} value */
function seconds(value) {
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 120) return `${Math.round(value)} s`;
  if (value < 7200) return `${Math.round(value / 60)} min`;
  return value < 172800 ? `${Math.round(value / 3600)} h` : `${Math.round(value / 86400)} d`;
}

/** @param {number} hz */
function frequency(hz) {
  if (!(hz > 0)) return "";
  return hz >= 1e6 ? `${(hz / 1e6).toFixed(2)} MHz` : `${Math.round(hz / 1e3)} kHz`;
}
