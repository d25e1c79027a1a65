// Alarms of one sonar: how they stand, acknowledging, and changing their limits.

import { byId, element, find } from "../shared/elements.js";
import { dateTime, duration, time } from "../shared/format.js";
import { may, request } from "../shared/session.js";
import { METRICS, quantityOf, shown, unitOf } from "./quantities.js";

/**
 * @typedef {object} Alarm
 * @property {string} id
 * @property {string} sonar
 * @property {string} name
 * @property {string} channel
 * @property {string} metric
 * @property {number} layer
 * @property {"above" | "below"} when
 * @property {number} limit
 * @property {number} for_s
 * @property {number} hysteresis
 * @property {string} condition
 * @property {"ok" | "pending" | "raised"} state
 * @property {boolean} silent
 * @property {number | null} value
 * @property {number | null} time_s
 * @property {number | null} raised_at_s
 * @property {number | null} raised_utc_s
 * @property {string} acknowledged_by
 */

/** @typedef {{id: number, time_s: number, ping_time_s: number | null, part: string, kind: string, text: string, author: string}} HappenedEvent */

const WORDS = { ok: "within bounds", pending: "out of bounds", raised: "raised" };
const KINDS = "alarm,alarm ended,acknowledged";

/**
 * @template T
 * @param {string} address
 * @returns {Promise<T>}
 */
async function ask(address) {
  const response = await fetch(address, { headers: { Accept: "application/json" } });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

export class Alarms {
  /** @type {Alarm[]} */
  all = [];
  /** @type {HappenedEvent[]} */
  events = [];
  #sonar = "";
  #layers = [0];
  /** @type {Alarm | null} */
  #edited = null;
  #changed;
  #dialog = byId("alarm-dialog", HTMLDialogElement);
  #form = byId("alarm-form", HTMLFormElement);
  #shown = "";

  /** @param {() => void} changed  called when alarms or events are others than before */
  constructor(changed) {
    this.#changed = changed;
    byId("add-alarm").onclick = () => this.edit(null);
    const metric = this.#field("metric", HTMLSelectElement);
    metric.append(...METRICS.map(({ key, title, about }) => element("option", { value: key, textContent: title, title: about })));
    metric.onchange = () => this.#showUnits();
    this.#form.onsubmit = (event) => {
      event.preventDefault();
      this.#save();
    };
    find(this.#form, "[value=cancel]").onclick = () => this.#dialog.close();
    find(this.#form, "[value=remove]").onclick = () => this.#remove();
  }

  /**
   * Shows the alarms of a sonar.
   * @param {string} sonar
   * @param {number[]} layers  that it has
   */
  of(sonar, layers) {
    this.#layers = layers;
    if (sonar === this.#sonar) return;
    this.#sonar = sonar;
    this.refresh().catch(() => {}); // asked again soon
  }

  /** Asks how alarms stand, and what happened. */
  async refresh() {
    const [{ alarms }, { events }] = await Promise.all([
      ask("/api/v1/alarms"),
      ask(`/api/v1/events?${new URLSearchParams({ limit: "50", kinds: KINDS, part: `sonar ${this.#sonar}` })}`),
    ]);
    this.all = alarms;
    this.events = events;
    this.#show();
    this.#changed();
  }

  /**
   * Those of a chart.
   * @param {string} metric
   * @param {string} channel
   * @param {number} layer
   */
  ofChart(metric, channel, layer) {
    const found = this.all.filter((alarm) => alarm.sonar === this.#sonar && alarm.metric === metric && alarm.layer === layer);
    return found.filter((alarm) => alarm.channel === channel || (alarm.time_s === null && channel.includes(alarm.channel)));
  }

  /**
   * When an alarm was raised or ended, by the sonar's clock.
   * @param {Alarm} alarm
   */
  marksOf({ name }) {
    return this.events
      .filter(({ kind, text, ping_time_s }) => kind !== "acknowledged" && ping_time_s !== null && (text.startsWith(`${name}:`) || text.startsWith(`${name} (`)))
      .map(({ kind, ping_time_s }) => ({ timeS: Number(ping_time_s), raised: kind === "alarm" }));
  }

  #show() {
    const mine = this.all.filter(({ sonar }) => sonar === this.#sonar);
    const told = JSON.stringify([mine, this.events.map(({ id }) => id)]);
    if (told === this.#shown) return;
    this.#shown = told;
    const list = byId("alarms");
    list.replaceChildren(...mine.map((alarm) => this.#item(alarm)));
    if (!mine.length) list.append(element("li", { className: "empty", textContent: "No alarms yet. An alarm watches one metric and tells all pages when it leaves its bounds." }));
    const events = byId("events");
    events.replaceChildren(
      ...this.events.map(({ kind, text, author, time_s }) =>
        element("li", {}, element("time", { textContent: time(time_s, { zoned: false }), title: dateTime(time_s), dateTime: new Date(time_s * 1000).toISOString() }), element("span", {}, element("b", { className: kind.replace(" ", "-"), textContent: kind === "alarm" ? "raised" : kind.replace("alarm ", "") }), ` ${text}${author ? `, by ${author}` : ""}`)),
      ),
    );
    byId("events-title").hidden = events.hidden = !this.events.length;
  }

  /** @param {Alarm} alarm */
  #item(alarm) {
    const quantity = quantityOf(alarm.metric);
    const value = quantity ? `${shown(quantity, alarm.value)} ${unitOf(quantity, false)}`.trim() : String(alarm.value);
    const edit = element("button", { type: "button", className: "plain operator", textContent: "Change" });
    edit.setAttribute("aria-label", `Change alarm ${alarm.name}`);
    edit.onclick = () => this.edit(alarm);
    const open = alarm.state === "raised" && !alarm.acknowledged_by;
    const acknowledge = element("button", { type: "button", className: "primary operator", textContent: "Acknowledge", hidden: !open });
    acknowledge.onclick = () => this.#acknowledge(alarm, acknowledge);
    const state = [WORDS[alarm.state], alarm.raised_utc_s ? `since ${time(alarm.raised_utc_s, { zoned: false })}` : "", alarm.acknowledged_by && alarm.state === "raised" ? `seen by ${alarm.acknowledged_by}` : ""];
    const item = element(
      "li",
      {},
      element("p", { className: "name" }, element("b", { textContent: alarm.name }), alarm.channel ? ` ${alarm.channel}` : "", edit),
      element("p", { className: "condition", textContent: alarm.condition.replace(/^\w+( \w+)*? (?=above|below|of layer)/, `${quantity?.title ?? alarm.metric} `) }),
      element("p", { className: "standing" }, element("span", { className: "state", textContent: state.filter(Boolean).join(", ") }), alarm.silent ? element("span", { className: "silent", textContent: "no data" }) : element("span", { className: "now", textContent: value })),
      acknowledge,
    );
    item.dataset.state = alarm.state;
    item.dataset.silent = String(alarm.silent);
    return item;
  }

  /**
   * @param {Alarm} alarm
   * @param {HTMLButtonElement} button
   */
  async #acknowledge(alarm, button) {
    button.disabled = true;
    try {
      await request("POST", "/api/v1/alarms/acknowledge", { id: alarm.id });
    } catch (error) {
      button.disabled = false;
      button.textContent = error instanceof Error ? error.message : String(error);
      return;
    }
    await this.refresh().catch(() => {});
  }

  /**
   * Opens the dialog.
   * @param {Alarm | null} alarm  null: a new one
   * @param {Partial<Alarm>} [proposed]
   */
  async edit(alarm, proposed = {}) {
    this.#edited = alarm;
    const values = { name: "", metric: "sv_db", when: "above", limit: "", for_s: 30, hysteresis: 0, layer: 0, ...proposed, ...alarm };
    const layers = [...new Set([...this.#layers, values.layer])].sort((a, b) => a - b);
    this.#field("layer", HTMLSelectElement).replaceChildren(...layers.map((layer) => element("option", { value: String(layer), textContent: layer ? `layer ${layer}` : "the whole column" })));
    for (const name of /** @type {const} */ (["name", "limit", "for_s", "hysteresis"])) this.#field(name, HTMLInputElement).value = String(values[name]);
    for (const name of /** @type {const} */ (["metric", "when", "layer"])) this.#field(name, HTMLSelectElement).value = String(values[name]);
    this.#field("name", HTMLInputElement).disabled = alarm !== null;
    byId("alarm-title").textContent = alarm ? `Alarm ${alarm.name} of ${this.#sonar}` : `New alarm of ${this.#sonar}`;
    find(this.#form, ".remove").hidden = alarm === null;
    this.#complain("");
    this.#showUnits();
    this.#dialog.showModal();
    if (!(await may("operator"))) this.#complain("Saving needs a login as operator.");
  }

  async #save() {
    const name = this.#edited?.name ?? this.#field("name", HTMLInputElement).value.trim();
    if (!this.#edited && this.all.some((alarm) => alarm.sonar === this.#sonar && alarm.name === name)) {
      this.#complain(`There is an alarm ${name} already.`);
      return;
    }
    const key = `sonars.${this.#sonar}.metrics.alarms.${name}`;
    const number = (/** @type {string} */ field) => Number(this.#field(field, HTMLInputElement).value);
    const text = (/** @type {string} */ field) => this.#field(field, HTMLSelectElement).value;
    await this.#change({
      [`${key}.metric`]: text("metric"),
      [`${key}.when`]: text("when"),
      [`${key}.value`]: number("limit"),
      [`${key}.for_s`]: number("for_s"),
      [`${key}.hysteresis`]: number("hysteresis"),
      [`${key}.layer`]: Number(text("layer")),
    });
  }

  async #remove() {
    if (!this.#edited) return;
    await this.#change({ [`sonars.${this.#sonar}.metrics.alarms.${this.#edited.name}`]: "removed" });
  }

  /** @param {Record<string, unknown>} changes */
  async #change(changes) {
    try {
      await request("PATCH", "/api/v1/config", { changes });
    } catch (error) {
      this.#complain(error instanceof Error ? error.message : String(error));
      return;
    }
    this.#dialog.close();
    await this.refresh().catch(() => {});
  }

  /** @param {string} text */
  #complain(text) {
    const place = find(this.#form, ".error");
    place.textContent = text;
    place.hidden = !text;
  }

  #showUnits() {
    const quantity = quantityOf(this.#field("metric", HTMLSelectElement).value);
    for (const unit of this.#form.querySelectorAll(".unit")) unit.textContent = quantity ? unitOf(quantity, false) : "";
  }

  /**
   * @template {HTMLElement} E
   * @param {string} name
   * @param {new () => E} type
   */
  #field(name, type) {
    return find(this.#form, `[name=${name}]`, type);
  }
}

/**
 * How long nothing was heard, in words; empty while all is well.
 * @param {number} silentS
 * @param {number} binS
 */
export function silence(silentS, binS) {
  return silentS > Math.max(10, 3 * binS) ? `no data for ${duration(silentS)}` : "";
}
