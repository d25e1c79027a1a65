// Finds room for labels beside points, so that none covers another.

/** @typedef {[number, number, number, number]} Box left, top, right, bottom */

const HALF_HEIGHT = 8;

/** Where a label goes, from its point: which of its sides is at which offset. Tried in this order. */
const SPOTS = /** @type {const} */ ([
  [12, 0], [-12, 0], [9, -14], [9, 14], [-9, -14], [-9, 14], [12, -26], [12, 26], [-12, -26], [-12, 26],
]);

/**
 * @param {Box} a
 * @param {Box} b
 */
export function overlap(a, b) {
  return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
}

export class Labels {
  /** @type {Box[]} */
  #taken = [];
  /** Where each label was in the last drawing: it stays there if it can. @type {Map<string, number>} */
  #before = new Map();
  /** @type {Map<string, number>} */
  #now = new Map();
  /** @type {Box} */
  #view = [0, 0, 0, 0];

  /**
   * Begins a drawing.
   * @param {import("./place.js").Box} area that they stay in
   * @param {Box[]} taken where others write
   */
  begin({ left, top, width, height }, taken = []) {
    this.#view = [left, top, left + width, top + height];
    this.#taken = [...taken];
    this.#before = this.#now;
    this.#now = new Map();
  }

  /**
   * Keeps labels away from a point.
   * @param {number} x
   * @param {number} y
   * @param {number} radius
   */
  keepFree(x, y, radius) {
    this.#taken.push([x - radius, y - radius, x + radius, y + radius]);
  }

  /**
   * The left end and the middle line of a label beside a point; null where there is no room.
   * @param {string} key what is labelled
   * @param {number} width of the text
   * @param {number} x
   * @param {number} y
   * @returns {{left: number, middle: number} | null}
   */
  place(key, width, x, y) {
    const before = this.#before.get(key);
    const order = SPOTS.map((_, i) => i);
    if (before) order.unshift(before);
    for (const spot of order) {
      const [right, down] = SPOTS[spot];
      const [left, middle] = [right < 0 ? x + right - width : x + right, y + down];
      /** @type {Box} */
      const box = [left - 2, middle - HALF_HEIGHT, left + width + 2, middle + HALF_HEIGHT];
      const [viewLeft, viewTop, viewRight, viewBottom] = this.#view;
      if (box[0] < viewLeft || box[1] < viewTop || box[2] > viewRight || box[3] > viewBottom) continue;
      if (this.#taken.some((other) => overlap(box, other))) continue;
      this.#taken.push(box);
      this.#now.set(key, spot);
      return { left, middle };
    }
    return null;
  }
}
