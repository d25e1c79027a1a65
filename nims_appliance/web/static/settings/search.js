// Finding a setting: words, what differs from the default, and a table of contents.

import { byId, element } from "../shared/elements.js";

/** The search box, the switch beside it, and the contents at the side. */
export class Search {
  #form;
  #words = byId("search", HTMLInputElement);
  #differs = byId("differs", HTMLButtonElement);
  #note = byId("search-note");
  /** @type {Map<HTMLDetailsElement, boolean>} */
  #folded = new Map(); // how groups stood before the search

  /** @param {HTMLElement} form */
  constructor(form) {
    this.#form = form;
    this.#words.oninput = () => this.apply();
    this.#words.onkeydown = ({ key }) => {
      if (key !== "Escape") return;
      this.#words.value = "";
      this.apply();
    };
    this.#differs.onclick = () => {
      this.#differs.setAttribute("aria-pressed", String(this.#differs.getAttribute("aria-pressed") !== "true"));
      this.apply();
    };
  }

  focus() {
    this.#words.focus();
    this.#words.select();
  }

  /** Shows what is searched for; called again when the form was drawn anew. */
  apply() {
    const words = this.#words.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const differing = this.#differs.getAttribute("aria-pressed") === "true";
    const searching = words.length > 0 || differing;
    let found = 0;
    for (const row of /** @type {NodeListOf<HTMLElement>} */ (this.#form.querySelectorAll(".field"))) {
      const fits = words.every((word) => row.dataset.words?.includes(word)) && (!differing || row.matches(".differs, .changed"));
      row.hidden = !fits;
      if (fits) found += 1;
    }
    for (const group of this.#form.querySelectorAll("details")) {
      group.hidden = searching && !group.querySelector(".field:not([hidden])");
      if (searching) {
        if (!this.#folded.has(group)) this.#folded.set(group, group.open);
        group.open = true;
      } else if (this.#folded.has(group)) {
        group.open = /** @type {boolean} */ (this.#folded.get(group));
      }
    }
    if (!searching) this.#folded.clear();
    this.#note.textContent = !searching ? "" : found ? `${found} ${found === 1 ? "setting" : "settings"}` : "No setting is like that.";
  }

  /** Lists the groups at the side. */
  listContents() {
    const groups = /** @type {HTMLDetailsElement[]} */ ([...this.#form.querySelectorAll(":scope > details, :scope > details > details")]);
    byId("contents").replaceChildren(
      ...groups.map((group) => {
        const inner = group.parentElement !== this.#form;
        const link = element("a", { href: "#", className: inner ? "inner" : "", textContent: group.dataset.title ?? "" });
        link.onclick = (event) => {
          event.preventDefault();
          const above = group.parentElement;
          if (above instanceof HTMLDetailsElement) above.open = true;
          group.open = true;
          group.scrollIntoView();
          group.querySelector("summary")?.focus({ preventScroll: true });
        };
        const set = group.querySelectorAll(".field.differs").length;
        return element("li", {}, link, set ? element("span", { className: "count", textContent: String(set), title: `${set} differ from the default` }) : null);
      }),
    );
  }
}
