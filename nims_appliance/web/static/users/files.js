// Plugins and profiles of one's own, in the data folder.

import { element } from "../shared/elements.js";
import { request } from "../shared/session.js";

/**
 * @typedef {{ folder: "plugins" | "profiles", name: string, size_bytes: number, changed_s: number }} StoredFile
 * @typedef {(text: string, label: string, question: string, run: () => Promise<void>) => HTMLElement} Action
 */

/** The rows of the table of files. */
export class Files {
  #rows;
  #action;

  /**
   * @param {HTMLElement} rows
   * @param {Action} action makes a button that asks before it does something
   */
  constructor(rows, action) {
    this.#rows = rows;
    this.#action = action;
  }

  async load() {
    /** @type {{ files: StoredFile[] }} */
    const { files } = await request("GET", "/api/v1/files");
    this.#rows.replaceChildren(...files.map((file) => this.#row(file)));
  }

  /**
   * Stores a file where its name says that it belongs.
   * @param {File} file
   * @returns {Promise<string>} what the server says
   */
  async send(file) {
    const folder = /\.ya?ml$/.test(file.name) ? "profiles" : "plugins";
    const { note } = await request("PUT", `/api/v1/files/${folder}/${encodeURIComponent(file.name)}`, file);
    return `${file.name} is stored, and ${note}.`;
  }

  /** @param {StoredFile} file */
  #row({ folder, name, size_bytes, changed_s }) {
    const path = `/api/v1/files/${folder}/${encodeURIComponent(name)}`;
    const remove = this.#action("Remove", `Remove ${name}`, `Remove ${name}? That takes effect at the next start.`, () => request("DELETE", path));
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, element("a", { href: path, textContent: name })),
      element("td", { textContent: folder === "plugins" ? "plugin" : "profile" }),
      element("td", { textContent: new Date(changed_s * 1000).toISOString().slice(0, 10) }),
      element("td", { className: "number", textContent: `${Math.ceil(size_bytes / 1024)} KiB` }),
      element("td", { className: "actions" }, remove),
    );
  }
}
