// A pane: the picture of one sonar with its tracks and its line of state.

import { EchogramView } from "./echogram.js";
import { FanView } from "./fan.js";
import { drawEchogramGrid, drawEchogramTracks, drawFanGrid, drawFanTracks, drawFanZones } from "./overlay.js";
import { TrackHistory } from "./tracks.js";

const WINDOW_S = 5; // over which rates are told
const STALE_S = 2;
const ECHOGRAM_KEEPS_S = 3600;

const parameters = new URLSearchParams(location.search);

export class Pane {
  element;
  #parts = {};
  #name;
  #channels = new Map(); // channel -> {kind, view, canvas, picture: the newest drawn, waiting: fan pictures to draw}
  #channel = null;
  #chosen = false; // by a person; until then the channel that is searched for tracks is shown
  #tracks = new TrackHistory();
  #counting = false;
  #arrivals = []; // of pictures that were drawn: {frame, received_utc_s, atS}
  #overlay;
  #context;
  #zones = [];
  #size = { width: 0, height: 0 };
  #dirty = true;
  #last = null; // head of the newest picture
  #told = "";
  #onSeen;

  constructor(name, onSeen) {
    this.#name = name;
    this.#onSeen = onSeen;
    this.element = document.getElementById("pane").content.firstElementChild.cloneNode(true);
    const find = (selector) => this.element.querySelector(selector);
    this.#parts = {
      title: find("h2"), device: find(".device"), channel: find(".channel"), view: find(".view"), notice: find(".notice"),
      ...Object.fromEntries([...this.element.querySelectorAll("[data-is]")].map((part) => [part.dataset.is, part])),
    };
    this.#parts.title.textContent = name;
    this.element.dataset.sonar = name;
    this.#parts.channel.onchange = () => {
      this.#chosen = true;
      this.#show(this.#parts.channel.value);
    };
    this.#overlay = document.createElement("canvas");
    this.#overlay.setAttribute("aria-hidden", "true");
    // Drawn by the processor: for a few lines and labels a browser without a graphics chip would emulate one, at 50 ms each.
    this.#context = this.#overlay.getContext("2d", { willReadFrequently: true });
    this.#parts.view.append(this.#overlay);
    new ResizeObserver(() => {
      const { clientWidth: width, clientHeight: height } = this.#parts.view;
      this.#size = { width, height };
      this.#dirty = true;
    }).observe(this.#parts.view);
  }

  takePicture(picture, nowS) {
    const { head } = picture;
    let channel = this.#channels.get(head.channel);
    if (channel && channel.kind !== head.kind) {
      channel.canvas.remove();
      channel = null;
    }
    if (!channel) channel = this.#addChannel(head);
    if (channel.kind === "fan") {
      // Each is drawn, one a frame of the screen. The appliance sends no more than a few ahead of those drawn.
      channel.waiting.push(picture);
      if (head.channel !== this.#channel) this.#passOver(channel);
    } else if (channel.view.add(picture)) {
      channel.picture = picture;
      this.#count(head, nowS);
    }
    this.#last = head;
    this.#dirty = true;
  }

  /** Pictures of a channel that is not shown count as seen. */
  #passOver(channel) {
    const newest = channel.waiting.at(-1);
    if (!newest) return;
    channel.picture = newest;
    channel.waiting = [];
    this.#onSeen(this.#name, newest.head.frame);
  }

  #count({ frame, received_utc_s }, nowS) {
    // The first one may have been kept for late viewers: nothing was missed between it and the next.
    if (this.#counting) this.#arrivals.push({ frame, received_utc_s, atS: nowS });
    this.#counting = true;
  }

  #addChannel(head) {
    const canvas = document.createElement("canvas");
    canvas.className = "picture";
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${head.kind === "fan" ? "Fan picture" : "Echogram"} of ${this.#name}`);
    this.#parts.view.insertBefore(canvas, this.#overlay);
    const view = head.kind === "fan" ? new FanView(canvas, parameters.get("renderer") === "2d") : new EchogramView(canvas);
    const channel = { kind: head.kind, view, canvas, picture: null, waiting: [] };
    this.#channels.set(head.channel, channel);
    this.element.dataset.renderer = view.renderer;
    const select = this.#parts.channel;
    select.replaceChildren(...[...this.#channels.keys()].sort().map((name) => new Option(name || "default", name)));
    select.hidden = this.#channels.size < 2;
    this.#show(this.#channel ?? head.channel);
    return channel;
  }

  #show(name) {
    this.#channel = name;
    this.#parts.channel.value = name;
    for (const [key, channel] of this.#channels) {
      channel.canvas.hidden = key !== name;
      if (key !== name) this.#passOver(channel);
    }
    this.#dirty = true;
  }

  takeTracks(message, nowS) {
    this.#tracks.take(message, nowS);
    if (!this.#chosen && message.channel !== this.#channel && this.#channels.has(message.channel)) this.#show(message.channel);
    this.#dirty = true;
  }

  /** Draws if something has changed; called for every frame of the screen. */
  draw(nowS, ratio) {
    const channel = this.#channels.get(this.#channel);
    const { width, height } = this.#size;
    if (!channel || !width || !height) return;
    const fresh = channel.waiting.shift();
    if (fresh) channel.picture = fresh;
    if (!channel.picture) return;
    const tracks = channel.kind === "fan" ? this.#tracks.recent(nowS) : [];
    if (!this.#dirty && !tracks.some(({ ended }) => ended)) return;
    this.#dirty = channel.waiting.length > 0;
    const place = channel.view.draw(channel.picture, width, height, ratio, Boolean(fresh));
    if (fresh) {
      this.#onSeen(this.#name, fresh.head.frame);
      this.#count(fresh.head, nowS);
    }
    const overlay = this.#overlay;
    if (overlay.width !== Math.round(width * ratio)) overlay.width = Math.round(width * ratio);
    if (overlay.height !== Math.round(height * ratio)) overlay.height = Math.round(height * ratio);
    const context = this.#context;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    if (channel.kind === "fan") {
      drawFanGrid(context, place);
      drawFanZones(context, place, this.#zones);
      drawFanTracks(context, place, tracks, width);
      this.#tracks.prune(nowS, 60);
    } else {
      drawEchogramGrid(context, place);
      const shown = this.#tracks.since(place.columns[0]?.frame ?? Infinity, this.#channel);
      drawEchogramTracks(context, place, shown);
      this.#tracks.prune(nowS, ECHOGRAM_KEEPS_S);
    }
  }

  /** Writes the line of state; called a few times a second. `part` is the sonar's entry of the health page. */
  tell(sonar, part, clock, nowS, connected, pictureRateHz) {
    if (JSON.stringify(sonar.zones) !== JSON.stringify(this.#zones)) {
      this.#zones = sonar.zones;
      this.#dirty = true;
    }
    const head = this.#last;
    const shownHead = this.#channels.get(this.#channel)?.picture?.head;
    const device = [shownHead?.device || sonar.title, shownHead && frequency(shownHead.frequency_hz)].filter(Boolean).join(" · ");
    if (this.#parts.device.textContent !== device) this.#parts.device.textContent = device;
    const newest = this.#arrivals.at(-1);
    // By both clocks: what was kept for late viewers came all at once.
    const old = ({ atS, received_utc_s }) => nowS - atS > WINDOW_S || newest.received_utc_s - received_utc_s > WINDOW_S;
    this.#arrivals = this.#arrivals.filter((arrival) => !old(arrival));
    const first = this.#arrivals[0];
    const pings = first ? newest.frame - first.frame : 0;
    const elapsedS = first ? newest.received_utc_s - first.received_utc_s : 0;
    const ageS = head ? clock.age(head.received_utc_s, nowS) : null;
    const intervalS = pings > 0 ? elapsedS / pings : 0;
    const stale = head !== null && (!connected || ageS > Math.max(STALE_S, 3 * intervalS));
    this.#write("rate", pings > 0 && elapsedS > 0 ? `${(pings / elapsedS).toFixed(1)}/s` : stale ? "0/s" : "–");
    this.#write("age", ageS === null ? "–" : seconds(ageS), stale ? "bad" : ageS > 1 + 2 * intervalS ? "warn" : "");
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
    if (notice !== this.#told) this.#parts.notice.textContent = this.#told = notice;
  }

  #write(name, text, level = "") {
    const part = this.#parts[name];
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

function seconds(value) {
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 120) return `${Math.round(value)} s`;
  if (value < 7200) return `${Math.round(value / 60)} min`;
  return value < 172800 ? `${Math.round(value / 3600)} h` : `${Math.round(value / 86400)} d`;
}

function frequency(hz) {
  if (!(hz > 0)) return "";
  return hz >= 1e6 ? `${(hz / 1e6).toFixed(2)} MHz` : `${Math.round(hz / 1e3)} kHz`;
}
