// The switches of a pane that keep a sonar's bytes: its recording and its clips.

import { find } from "../shared/elements.js";
import { request } from "../shared/session.js";

export class Keeping {
  #pane;
  #boxes;
  #problem;

  /**
   * @param {HTMLElement} pane
   * @param {string} sonar
   */
  constructor(pane, sonar) {
    this.#pane = pane;
    this.#problem = find(pane, ".keeping .error");
    this.#boxes = /** @type {const} */ (["record", "clips"]).map((name) => {
      const box = find(pane, `.keeping [name=${name}]`, HTMLInputElement);
      box.onchange = () => this.#switch(`/api/v1/sonars/${encodeURIComponent(sonar)}/${name}`, box);
      return { name, box };
    });
  }

  /** @param {import("../shared/connection.js").SonarState} sonar */
  tell(sonar) {
    for (const { name, box } of this.#boxes) if (!box.disabled) box.checked = Boolean(sonar[name]);
    this.#pane.classList.toggle("recording", Boolean(sonar.record));
  }

  /**
   * @param {string} path
   * @param {HTMLInputElement} box
   */
  async #switch(path, box) {
    const on = box.checked;
    box.disabled = true; // until the appliance has answered it is not overwritten
    try {
      await request("POST", path, { on });
      this.#problem.hidden = true;
    } catch (error) {
      box.checked = !on;
      this.#problem.textContent = error instanceof Error ? error.message : String(error);
      this.#problem.hidden = false;
    } finally {
      box.disabled = false;
    }
  }
}
