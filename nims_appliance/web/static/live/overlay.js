// What lies over the picture of a pane: grid, zones, tracks with their card, and the tools that use the pointer.

import { context2d, element, find } from "../shared/elements.js";
import { onSession } from "../shared/session.js";
import { TrackCard } from "./card.js";
import { drawLegend, legendOf } from "./classes.js";
import { drawGrid } from "./grid.js";
import { ink, strokeCased } from "./ink.js";
import { Labels } from "./labels.js";
import { endAt, Measure } from "./measure.js";
import { readAt } from "./readout.js";
import { TrackList } from "./tracklist.js";
import { TrackHistory } from "./tracks.js";
import { drawTracks, trackAt } from "./trails.js";
import { ZoneEditor } from "./zoneeditor.js";
import { drawZones } from "./zones.js";

/**
 * @typedef {import("./place.js").Scene} Scene
 * @typedef {import("../shared/connection.js").Zone} Zone
 * @typedef {import("../shared/connection.js").TracksMessage} TracksMessage
 * @typedef {"none" | "measure" | "zones"} Tool
 */

const REACH_PX = { mouse: 14, touch: 24 };
const TAP_PX = 6;
const STEP_PX = 10; // of the cursor that keys move

export class Overlay {
  /** Of this sonar. */
  tracks = new TrackHistory();
  /** @type {Tool} */
  tool = "none";
  canvas;
  #grid = true;
  #legend = true;
  #view;
  #context;
  #redraw;
  #levelAt;
  /** @type {Scene | null} */
  #scene = null;
  /** @type {Zone[]} */
  #zones = [];
  #labels = new Labels();
  /** @type {import("./trails.js").DrawnTrack[]} */
  #drawn = [];
  /** @type {string | null} */
  #chosen = null;
  #card = new TrackCard(() => this.choose(null));
  #measure = new Measure();
  #editor;
  #list;
  #readout = element("p", { className: "readout", hidden: true });
  #measured = element("p", { className: "hidden measured" }); // for screen readers: on the picture it stands beside its line
  #measureButton;
  #zonesButton;
  /** @type {import("./place.js").Point | null} */
  #cursor = null;
  /** Whether keys move the cursor. */
  #isKeyed = false;
  /** @type {number | null} of the pointer that a tool has for itself */
  #pointer = null;
  #downAt = { x: 0, y: 0 };

  /**
   * @param {string} sonar
   * @param {HTMLElement} pane with a canvas, its view and its tools
   * @param {() => void} redraw called when the overlay must be drawn again
   * @param {(x: number, y: number) => number | null} levelAt the level in dB at a pixel
   */
  constructor(sonar, pane, redraw, levelAt) {
    this.#redraw = redraw;
    this.#levelAt = levelAt;
    this.canvas = find(pane, ".overlay", HTMLCanvasElement);
    // Drawn by the processor: for a few lines and labels a browser without a graphics chip would emulate one, at 50 ms each.
    this.#context = context2d(this.canvas, { willReadFrequently: true });
    this.#view = find(pane, ".view");
    this.#view.tabIndex = -1; // what was clicked has the keys
    this.#measureButton = find(pane, ".measure", HTMLButtonElement);
    this.#zonesButton = find(pane, ".edit-zones", HTMLButtonElement);
    this.#measureButton.onclick = () => this.toggle("measure");
    this.#zonesButton.onclick = () => this.toggle("zones");
    this.#editor = new ZoneEditor(sonar, redraw, () => this.#setTool("none"));
    this.#list = new TrackList(sonar, (id) => this.choose(id));
    this.#measured.setAttribute("role", "status");
    this.#view.append(this.#list.element, this.#readout, this.#measured, this.#card.element, this.#editor.element);
    this.#listen();
    onSession(({ role }) => {
      this.#zonesButton.hidden = role !== "operator" && role !== "admin";
      if (this.#zonesButton.hidden) this.#editor.close();
    });
  }

  /** Whether zones may be edited here. */
  get mayEdit() {
    return !this.#zonesButton.hidden;
  }

  get chosen() {
    return this.#chosen;
  }

  get isCursorKeyed() {
    return this.#isKeyed;
  }

  get editor() {
    return this.#editor;
  }

  /**
   * @param {TracksMessage} message
   * @param {number} nowS
   */
  takeTracks(message, nowS) {
    this.tracks.take(message, nowS);
  }

  /** @param {Zone[]} zones as saved */
  setZones(zones) {
    if (JSON.stringify(zones) === JSON.stringify(this.#zones)) return;
    this.#zones = zones;
    this.#redraw();
  }

  /** Settings were changed, here or elsewhere. */
  settingsChanged() {
    if (this.#editor.isOpen) this.#editor.refresh();
  }

  /** Whether it looks different now though nothing has arrived. @param {number} nowS */
  isMoving(nowS) {
    return this.tracks.fading(nowS);
  }

  /**
   * Draws everything that lies over the picture.
   * @param {Scene} scene
   * @param {number} ratio of the screen's pixels to those of the page
   */
  draw(scene, ratio) {
    this.#scene = scene;
    const { place, picture, width, height, channel, oldestFrame } = scene;
    const { canvas } = this;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const context = this.#context;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const tracks = this.#shownTracks(scene);
    const legend = this.#legend ? legendOf(context, place, tracks) : null;
    const taken = this.#grid ? drawGrid(context, place, picture.head.pose?.heading_rad ?? null, legend?.box) : [];
    if (this.#editor.isOpen) this.#editor.draw(context, place);
    else drawZones(context, place, this.#zones.filter((zone) => zone.enabled !== false));
    this.#labels.begin(place.area, taken);
    this.#drawn = drawTracks(context, place, tracks, this.#labels, this.#chosen);
    if (legend) drawLegend(context, legend);
    this.#measure.draw(context, place);
    if (this.#isKeyed && this.#cursor) drawCrosshair(context, this.#cursor);
    this.#tellCursor();
    this.tracks.prune(channel, oldestFrame, this.#chosen);
  }

  /** @param {Scene} scene */
  #shownTracks({ place, picture, live, channel, nowS }) {
    if (place.kind === "echogram") {
      const { columns } = place;
      return columns.length ? this.tracks.between(columns[0].frame, columns[columns.length - 1].frame, channel) : [];
    }
    return live ? this.tracks.recent(nowS, channel, this.#chosen) : this.tracks.at(picture.head.frame, channel);
  }

  /** Brings card, list and read-out up to date; called a few times a second. @param {number} nowS */
  tell(nowS) {
    this.#list.show(this.tracks.alive(), this.#chosen);
    const known = this.#chosen === null ? undefined : this.tracks.get(this.#chosen);
    if (known) this.#card.show(known, nowS);
    else if (this.#chosen !== null) this.choose(null);
  }

  toggleGrid() {
    this.#grid = !this.#grid;
    this.#redraw();
  }

  toggleLegend() {
    this.#legend = !this.#legend;
    this.#redraw();
  }

  // Choosing a track

  /** Shows the card of a track; null: hides it. @param {string | null} id */
  choose(id) {
    this.#chosen = id;
    if (id === null) this.#card.hide();
    else if (this.tool === "zones") this.#editor.close();
    this.tell(performance.now() / 1000);
    this.#redraw();
  }

  /** @param {number} step 1: the next of the live tracks, -1: the one before */
  chooseNext(step) {
    const ids = this.tracks.alive().map(({ id }) => id);
    if (!ids.length) return;
    const at = this.#chosen === null ? (step > 0 ? -1 : 0) : ids.indexOf(this.#chosen);
    this.choose(ids[(at + step + ids.length) % ids.length]);
  }

  /** Goes to the chosen track on the page of tracks. */
  openChosen() {
    if (this.#chosen !== null) location.assign(`/tracks#${this.#chosen}`);
  }

  // Tools

  /** @param {Tool} tool */
  toggle(tool) {
    this.#setTool(this.tool === tool ? "none" : tool);
  }

  /** @param {Tool} tool */
  #setTool(tool) {
    if (tool === this.tool || (tool === "zones" && !this.mayEdit)) return;
    this.tool = tool;
    this.#pointer = null;
    if (tool !== "measure") this.#measure.clear();
    if (tool === "zones") {
      this.choose(null);
      this.#editor.open(this.#zones);
    } else if (this.#editor.isOpen) {
      this.#editor.close();
    }
    this.#view.dataset.tool = tool;
    this.#view.style.cursor = "";
    this.#measureButton.setAttribute("aria-pressed", String(tool === "measure"));
    this.#zonesButton.setAttribute("aria-pressed", String(tool === "zones"));
    this.#redraw();
  }

  /** Ends the innermost thing that is open; false: there was none. */
  escape() {
    if (this.#measure.isOpen) this.#measure.clear();
    else if (this.tool !== "none") this.#setTool("none");
    else if (this.#isKeyed) this.keyCursor(false);
    else if (this.#chosen !== null) this.choose(null);
    else return false;
    this.#redraw();
    return true;
  }

  // The cursor, moved by a pointer or by keys

  /** Lets keys move the cursor, from the middle or where it was. @param {boolean} [wanted] */
  keyCursor(wanted = !this.#isKeyed) {
    this.#isKeyed = wanted;
    const { width, height } = this.#scene ?? { width: 0, height: 0 };
    this.#cursor = wanted ? this.#cursor ?? { x: width / 2, y: height / 2 } : null;
    this.#redraw();
  }

  /**
   * @param {number} right in steps
   * @param {number} down
   * @param {boolean} fine
   */
  moveCursor(right, down, fine) {
    if (!this.#cursor || !this.#scene) return;
    const step = fine ? 1 : STEP_PX;
    const { width, height } = this.#scene;
    const { x, y } = this.#cursor;
    this.#cursor = { x: Math.min(Math.max(x + right * step, 0), width), y: Math.min(Math.max(y + down * step, 0), height) };
    this.#moved();
  }

  /** Does at the cursor what a click there does; of the zone tool, the first one begins a region and the second ends it. */
  pressCursor() {
    if (!this.#cursor) return;
    const { x, y } = this.#cursor;
    if (this.tool === "measure") this.#tapMeasure(x, y);
    else if (this.tool !== "zones") this.#chooseAt(x, y, REACH_PX.touch);
    else if (this.#pointer === null) {
      if (this.#editor.press(x, y, "mouse")) this.#pointer = -1;
    } else {
      this.#pointer = null;
      this.#editor.release(x, y);
    }
    this.#redraw();
  }

  #moved() {
    const [cursor, scene] = [this.#cursor, this.#scene];
    if (!cursor || !scene) return;
    if (this.tool === "measure" && this.#measure.isOpen) {
      const end = endAt(scene.place, cursor.x, cursor.y);
      if (end) this.#measure.hover(end);
    } else if (this.tool === "zones" && this.#pointer !== null) {
      this.#editor.drag(cursor.x, cursor.y);
    }
    if (this.#isKeyed || this.tool !== "none") this.#redraw();
    this.#tellCursor();
  }

  #tellCursor() {
    const [cursor, scene] = [this.#cursor, this.#scene];
    const parts = cursor && scene ? readAt(scene.place, scene.picture.head, this.#levelAt(cursor.x, cursor.y), cursor.x, cursor.y) : [];
    const text = parts.join("   ");
    if (this.#readout.textContent !== text) this.#readout.textContent = text;
    this.#readout.hidden = !text;
    const measured = this.#measure.isOpen ? "" : this.#measure.text;
    if (this.#measured.textContent !== measured) this.#measured.textContent = measured;
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  #tapMeasure(x, y) {
    const end = this.#scene && endAt(this.#scene.place, x, y);
    if (end) this.#measure.tap(end);
  }

  /**
   * @param {number} x
   * @param {number} y
   * @param {number} reachPx
   */
  #chooseAt(x, y, reachPx) {
    this.choose(trackAt(this.#drawn, x, y, reachPx));
  }

  #listen() {
    const view = this.#view;
    const at = (/** @type {MouseEvent} */ { clientX, clientY }) => {
      const box = view.getBoundingClientRect();
      return { x: clientX - box.left, y: clientY - box.top };
    };
    const isOwn = (/** @type {Event} */ { target }) => target instanceof Element && target.closest(".float, .panel, button, input, a") === null;

    view.addEventListener("pointerdown", (event) => {
      if (!isOwn(event) || this.tool === "none" || (event.pointerType === "mouse" && event.button !== 0)) return;
      const { x, y } = at(event);
      if (this.#pointer !== null) {
        // A second finger: the two zoom.
        this.#pointer = null;
        if (this.tool === "zones") this.#editor.cancelDrag();
        else this.#measure.clear();
        this.#redraw();
        return;
      }
      this.#isKeyed = false;
      this.#cursor = { x, y };
      if (this.tool === "zones" && !this.#editor.press(x, y, event.pointerType)) return;
      this.#pointer = event.pointerId;
      this.#downAt = { x, y };
      event.preventDefault(); // no pan with it
      view.setPointerCapture(event.pointerId);
    }, { capture: true });

    view.addEventListener("pointermove", (event) => {
      if (this.#isKeyed && event.pointerId !== this.#pointer && !(event.movementX || event.movementY)) return;
      if (!isOwn(event) && event.pointerId !== this.#pointer) {
        this.#leave();
        return;
      }
      this.#isKeyed = false;
      this.#cursor = at(event);
      const { x, y } = this.#cursor;
      const isDragged = event.pointerId === this.#pointer && Math.hypot(x - this.#downAt.x, y - this.#downAt.y) > TAP_PX;
      if (this.tool === "measure" && isDragged && !this.#measure.isOpen) {
        const end = this.#scene && endAt(this.#scene.place, this.#downAt.x, this.#downAt.y);
        if (end) this.#measure.begin(end);
      }
      this.#moved();
      if (event.pointerType !== "mouse" || event.buttons) return;
      if (this.tool === "zones") view.style.cursor = this.#editor.cursorAt(x, y);
      else if (this.tool === "none") view.style.cursor = trackAt(this.#drawn, x, y, REACH_PX.mouse) === null ? "" : "pointer";
    });

    const end = (/** @type {PointerEvent} */ event) => {
      if (event.pointerId !== this.#pointer) return;
      this.#pointer = null;
      const { x, y } = at(event);
      const isTap = Math.hypot(x - this.#downAt.x, y - this.#downAt.y) <= TAP_PX;
      if (event.type === "pointercancel") this.#editor.cancelDrag();
      else if (this.tool === "zones") this.#editor.release(x, y);
      else if (isTap) this.#tapMeasure(x, y);
      else this.#measure.finish();
      this.#redraw();
    };
    view.addEventListener("pointerup", end);
    view.addEventListener("pointercancel", end);
    view.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse" && this.#pointer === null) this.#leave();
    });
    view.addEventListener("click", (event) => {
      if (!isOwn(event) || this.tool !== "none") return;
      const { x, y } = at(event);
      const isMouse = event instanceof PointerEvent && event.pointerType === "mouse";
      this.#chooseAt(x, y, isMouse ? REACH_PX.mouse : REACH_PX.touch);
    });
    // Zooming out fully by a double click is not meant while a tool takes clicks.
    view.addEventListener("dblclick", (event) => {
      if (this.tool !== "none") event.preventDefault();
    }, { capture: true });
  }

  #leave() {
    if (this.#isKeyed || !this.#cursor) return;
    this.#cursor = null;
    this.#tellCursor();
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {import("./place.js").Point} at
 */
function drawCrosshair(context, { x, y }) {
  context.beginPath();
  for (const [right, down] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    context.moveTo(x + 5 * right, y + 5 * down);
    context.lineTo(x + 16 * right, y + 16 * down);
  }
  strokeCased(context, ink().tool, 1.5);
}
