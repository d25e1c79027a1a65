// The pictures of one channel of a sonar: those to draw, those of the last minute, and range over time.

import { ColumnStore } from "./columns.js";
import { cellAt, levelOf, rowAt } from "./mesh.js";
import { lastUntil, Moments } from "./moments.js";
import { Past } from "./past.js";

/**
 * @typedef {import("../shared/connection.js").Picture} Picture
 * @typedef {import("../shared/connection.js").PictureHead} PictureHead
 */

export class Channel {
  kind;
  /** The newest picture that was taken. @type {Picture | null} */
  newest = null;
  columns = new ColumnStore();
  /** @type {Picture[]} fans to draw */
  #waiting = [];
  #moments = new Moments();
  #past;

  /**
   * @param {string} sonar
   * @param {PictureHead} head
   */
  constructor(sonar, head) {
    this.kind = head.kind;
    this.#past = new Past(sonar, head.channel, this.columns);
  }

  get isFan() {
    return this.kind === "fan";
  }

  /** Whether more fans wait to be drawn. */
  get hasMore() {
    return this.#waiting.length > 0;
  }

  /**
   * Takes a column; false when it is there already.
   * @param {Picture} picture
   */
  takeColumn(picture) {
    if (!this.columns.add(picture)) return false;
    this.newest = picture;
    return true;
  }

  /**
   * Lets a fan wait until it is drawn, one a frame of the screen. The appliance sends no more than a few ahead of those drawn.
   * @param {Picture} picture
   */
  takeFan(picture) {
    this.#waiting.push(picture);
  }

  /**
   * The next fan to draw.
   * @param {number | null} budgetBytes for the last minute; null: it stays as it is
   */
  next(budgetBytes) {
    const picture = this.#waiting.shift();
    if (!picture) return null;
    const { head } = picture;
    const before = this.newest?.head.bearing_rad;
    // Equal axes are one object, so that comparing them again costs nothing.
    const axis = head.bearing_rad;
    if (before?.length === axis.length && before.every((value, i) => value === axis[i])) head.bearing_rad = before;
    this.newest = picture;
    this.columns.add(picture);
    if (budgetBytes !== null) this.#moments.add(picture, budgetBytes);
    return picture;
  }

  /** The pings that one can step through. @returns {{received_utc_s: number}[]} */
  moments() {
    return this.isFan ? this.#moments.pictures.map(({ head }) => head) : this.columns.pings;
  }

  /**
   * The picture of a moment, and which of the columns belongs to it.
   * @param {number | null} atS null: the present
   */
  at(atS) {
    const { pings } = this.columns;
    const last = atS === null ? pings.length - 1 : lastUntil(pings, atS);
    let picture = /** @type {Picture} */ (this.newest);
    if (atS !== null && this.isFan) picture = this.#moments.at(atS) ?? picture;
    else if (atS !== null) picture = { ...picture, head: { ...picture.head, ...pings[last] } };
    return { picture, last };
  }

  /**
   * The level in dB at a pixel of what is shown; null where there is no picture.
   * @param {import("./place.js").Scene} scene
   * @param {number} x
   * @param {number} y
   */
  levelAt({ place, picture: { head, bytes } }, x, y) {
    if (place.kind === "echogram") {
      const at = place.toRange(x, y);
      if (!at) return null;
      return levelOf(place.head, this.columns.byteAt(at.column.frame, Math.floor(rowAt(place.head, at.range_m))));
    }
    const polar = place.toPolar(x, y);
    const cell = polar ? cellAt(head, polar.range_m, polar.bearing_rad) : -1;
    return cell < 0 ? null : levelOf(head, bytes[cell]);
  }

  /** Pings were missed. */
  missed() {
    this.#past.missed();
  }

  /**
   * Brings range over time of a fan up to date with what the appliance knows. True: columns have come.
   * @param {number} nowS
   * @param {boolean} missing pings are missed all the time
   */
  async fillPast(nowS, missing) {
    return this.isFan && this.#past.fill(nowS, missing);
  }
}
