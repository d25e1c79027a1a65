// How fast counters rise, from one look to the next.

/** Keeps what counters were, and tells their rates. */
export class Rates {
  /** @type {Map<string, {value: number, atS: number, rate: number | null}>} */
  #known = new Map();

  /**
   * The rate of a counter, per second; null before the second look, and after a counter has begun anew.
   * @param {string} name
   * @param {number} value
   * @param {number} atS  of the server's clock
   */
  of(name, value, atS) {
    const before = this.#known.get(name);
    if (before && atS <= before.atS) return before.rate;
    const rate = before && value >= before.value ? (value - before.value) / (atS - before.atS) : null;
    this.#known.set(name, { value, atS, rate });
    return rate;
  }
}
