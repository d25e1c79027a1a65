// The metrics of one series over the time shown: asked from the server, then carried on with the bins that end live.

import { METRICS } from "./quantities.js";

const TIMEOUT_MS = 20_000;

/**
 * @typedef {import("../shared/connection.js").MetricsBin} MetricsBin
 * @typedef {{sonar: string, channel: string, layer: number}} Series
 * @typedef {(number | null)[]} Values
 * @typedef {{mean: Values, min: Values, max: Values}} Lines  min and max are mean where every point is a bin
 */

/**
 * The mean of two values of so many pings each; of dB, of the linear values.
 * @param {string} key
 * @param {number | null} one
 * @param {number} pings
 * @param {number | null} other
 * @param {number} otherPings
 */
export function meanOf(key, one, pings, other, otherPings) {
  if (one === null || other === null) return one ?? other;
  const share = otherPings / (pings + otherPings);
  if (!key.endsWith("_db")) return one + (other - one) * share;
  const linear = 10 ** (one / 10) * (1 - share) + 10 ** (other / 10) * share;
  return 10 * Math.log10(linear);
}

export class History {
  /** Length of a bucket; 0: every point is a bin. */
  bucketS = 0;
  /** @type {number[]} */
  timeS = [];
  /** @type {number[]} */
  pings = [];
  /** @type {Map<string, Lines>} */
  lines = new Map();
  /** @type {{bucketS: number, timeS: number[], perMinute: number[]}} */
  tracks = { bucketS: 60, timeS: [], perMinute: [] };
  /** @type {boolean | null} */
  calibrated = null;
  /** @type {[number, number] | null} */
  layerM = null;
  /** End of the newest bin, by the sonar's clock; null: there is none. @type {number | null} */
  newestS = null;
  fromS = 0;
  toS = 0;

  /**
   * @param {Series} series
   * @param {{lastS: number} | {fromS: number, toS: number}} range
   * @param {number} points
   */
  static address({ sonar, channel, layer }, range, points) {
    const query = new URLSearchParams({ sonar, channel, layer: String(layer), points: String(points), metrics: METRICS.map(({ key }) => key).join() });
    if ("lastS" in range) {
      query.set("last_s", String(range.lastS));
    } else {
      query.set("from", String(range.fromS));
      query.set("to", String(range.toS));
    }
    return `/api/v1/metrics?${query}`;
  }

  /**
   * Asks for a stretch of time.
   * @param {Series} series
   * @param {{lastS: number} | {fromS: number, toS: number}} range
   * @param {number} points
   * @param {AbortSignal} signal
   */
  static async load(series, range, points, signal) {
    const response = await fetch(History.address(series, range, points), {
      headers: { Accept: "application/json" },
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    const history = new History();
    history.bucketS = answer.bucket_s;
    history.timeS = answer.time_s;
    history.pings = answer.pings;
    history.calibrated = answer.calibrated;
    history.layerM = answer.layer_m;
    history.newestS = answer.newest_s;
    [history.fromS, history.toS] = [answer.from_s, answer.to_s];
    for (const { key } of METRICS) {
      const { mean, min = mean, max = mean } = answer.metrics[key];
      history.lines.set(key, { mean, min, max });
    }
    history.tracks = { bucketS: answer.tracks.bucket_s, timeS: answer.tracks.time_s, perMinute: answer.tracks.per_minute };
    return history;
  }

  /**
   * Takes a bin that has just ended; returns whether it is new.
   * @param {MetricsBin} bin
   */
  add(bin) {
    // A recording that begins again brings bins that are there already.
    if (this.newestS !== null && bin.end_s <= this.newestS) return false;
    this.newestS = bin.end_s;
    this.calibrated = bin.calibrated;
    const timeS = this.bucketS ? (Math.floor(bin.end_s / this.bucketS) + 0.5) * this.bucketS : bin.end_s;
    const last = this.timeS.length - 1;
    const joins = this.bucketS > 0 && this.timeS[last] === timeS;
    for (const [key, { mean, min, max }] of this.lines) {
      const value = bin[key] ?? null;
      if (!joins) {
        mean.push(value);
        if (min !== mean) min.push(value);
        if (max !== mean) max.push(value);
      } else if (value !== null) {
        mean[last] = meanOf(key, mean[last], this.pings[last], value, bin.pings);
        min[last] = Math.min(min[last] ?? value, value);
        max[last] = Math.max(max[last] ?? value, value);
      }
    }
    if (joins) {
      this.pings[last] += bin.pings;
    } else {
      this.timeS.push(timeS);
      this.pings.push(bin.pings);
    }
    this.#countTracks(bin.end_s, 0);
    return true;
  }

  /**
   * Counts tracks that have ended at a time of the sonar's clock.
   * @param {number} timeS
   * @param {number} ended
   */
  #countTracks(timeS, ended) {
    const { bucketS, timeS: times, perMinute } = this.tracks;
    const middle = (Math.floor(timeS / bucketS) + 0.5) * bucketS;
    if (times.length && middle < times[times.length - 1]) return;
    if (times[times.length - 1] !== middle) {
      times.push(middle);
      perMinute.push(0);
    }
    perMinute[perMinute.length - 1] += (ended * 60) / bucketS;
  }

  /**
   * @param {number} timeS
   * @param {number} ended
   */
  addTracks(timeS, ended) {
    if (ended && this.newestS !== null) this.#countTracks(timeS, ended);
  }

  /**
   * Forgets what lies before a time.
   * @param {number} fromS
   */
  trim(fromS) {
    const gone = this.timeS.findIndex((timeS) => timeS >= fromS - this.bucketS);
    if (gone > 0) {
      this.timeS.splice(0, gone);
      this.pings.splice(0, gone);
      for (const { mean, min, max } of this.lines.values()) {
        for (const values of new Set([mean, min, max])) values.splice(0, gone);
      }
    }
    const before = this.tracks.timeS.findIndex((timeS) => timeS >= fromS - this.tracks.bucketS);
    if (before > 0) {
      this.tracks.timeS.splice(0, before);
      this.tracks.perMinute.splice(0, before);
    }
  }

  /**
   * Columns of one quantity for a chart, with gaps where nothing was heard.
   * @param {string} key
   * @returns {[number[], Values, Values, Values]}
   */
  columns(key) {
    if (key === "tracks") {
      const { timeS, perMinute, bucketS } = this.tracks;
      return withGaps(timeS, { mean: perMinute, min: perMinute, max: perMinute }, bucketS);
    }
    const lines = this.lines.get(key) ?? { mean: [], min: [], max: [] };
    return withGaps(this.timeS, lines, this.bucketS || usualStep(this.timeS));
  }
}

/**
 * The middle one of the steps between times.
 * @param {number[]} timeS
 */
export function usualStep(timeS) {
  const steps = timeS.slice(1).map((time, i) => time - timeS[i]);
  return steps.sort((a, b) => a - b)[steps.length >> 1] ?? 0;
}

/**
 * The same with an empty point in each gap, so that no line is drawn over it.
 * @param {number[]} timeS
 * @param {Lines} lines
 * @param {number} stepS
 * @returns {[number[], Values, Values, Values]}
 */
export function withGaps(timeS, { mean, min, max }, stepS) {
  /** @type {[number[], Values, Values, Values]} */
  const columns = [[], [], [], []];
  for (let i = 0; i < timeS.length; i++) {
    if (i && timeS[i] - timeS[i - 1] > 2.5 * stepS) {
      columns[0].push(timeS[i - 1] + stepS);
      for (const column of /** @type {Values[]} */ (columns.slice(1))) column.push(null);
    }
    columns[0].push(timeS[i]);
    columns[1].push(mean[i]);
    columns[2].push(min[i]);
    columns[3].push(max[i]);
  }
  return columns;
}
