// Range over time from before this page was opened, and for what it did not see: the appliance keeps the last minutes.

/**
 * @typedef {import("../shared/connection.js").Picture} Picture
 * @typedef {import("../shared/connection.js").PictureHead} PictureHead
 * @typedef {import("./columns.js").ColumnStore} ColumnStore
 */

const AGAIN_S = 3; // for viewers who do not see each ping
const RETRY_S = 10;
const TIMEOUT_MS = 15_000;

export class Past {
  #sonar;
  #channel;
  #store;
  /** @type {number | null} when to ask next; null: there is no need to */
  #dueS = 0;
  #asking = false;
  #filled = false;

  /**
   * @param {string} sonar
   * @param {string} channel
   * @param {ColumnStore} store that is filled
   */
  constructor(sonar, channel, store) {
    this.#sonar = sonar;
    this.#channel = channel;
    this.#store = store;
  }

  /** Pings were missed. */
  missed() {
    this.#dueS ??= 0;
  }

  /**
   * Asks for what is missing, when it is time to. True: columns have come.
   * @param {number} nowS
   * @param {boolean} missing pings are missed all the time, because this viewer is slow
   */
  async fill(nowS, missing) {
    if (missing) this.#dueS ??= nowS + AGAIN_S;
    if (this.#asking || this.#dueS === null || nowS < this.#dueS) return false;
    this.#asking = true;
    try {
      const path = `/api/v1/sonars/${encodeURIComponent(this.#sonar)}/columns?channel=${encodeURIComponent(this.#channel)}`;
      const after = this.#filled ? this.#store.firstGap() : 0;
      const answer = await fetch(`${path}&after=${after}`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
      if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
      this.#dueS = null;
      this.#filled = true;
      if (answer.status === 204) return false;
      return this.#store.merge(readColumns(await answer.arrayBuffer()));
    } catch (error) {
      // The picture goes on without; it is tried again.
      console.info(`no earlier pings of ${this.#sonar}: ${error instanceof Error ? error.message : error}`);
      this.#dueS = nowS + RETRY_S;
      return false;
    } finally {
      this.#asking = false;
    }
  }
}

/**
 * Takes an answer apart, into pictures of one column.
 * @param {ArrayBuffer} buffer
 * @returns {Picture[]}
 */
function readColumns(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const { frames, times_s, received_utc_s, ...shared } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const { rows } = shared;
  return frames.map((/** @type {number} */ frame, /** @type {number} */ i) => ({
    head: { ...shared, columns: 1, frame, time_s: times_s[i], received_utc_s: received_utc_s[i] },
    bytes: new Uint8Array(buffer, 4 + length + i * rows, rows),
  }));
}
