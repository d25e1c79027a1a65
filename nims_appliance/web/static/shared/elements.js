// Elements that must be there: a page without one is a mistake of ours, told at once and by name.

/**
 * The element of an id, of the class that it must have.
 * @template {HTMLElement} E
 * @param {string} id
 * @param {new () => E} [type]
 * @returns {E}
 */
export function byId(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof (type ?? HTMLElement))) throw new Error(`the page has no ${type?.name ?? "element"} #${id}`);
  return /** @type {E} */ (found);
}

/**
 * The first element inside another that a selector finds.
 * @template {HTMLElement} E
 * @param {ParentNode} parent
 * @param {string} selector
 * @param {new () => E} [type]
 * @returns {E}
 */
export function find(parent, selector, type) {
  const found = parent.querySelector(selector);
  if (!(found instanceof (type ?? HTMLElement))) throw new Error(`there is no ${type?.name ?? "element"} ${selector}`);
  return /** @type {E} */ (found);
}

/**
 * A new element with properties and children; null children are left out.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Partial<HTMLElementTagNameMap[T]>} [properties]
 * @param {(Node | string | null)[]} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/**
 * The 2D context of a canvas.
 * @param {HTMLCanvasElement} canvas
 * @param {CanvasRenderingContext2DSettings} [settings]
 */
export function context2d(canvas, settings) {
  const context = canvas.getContext("2d", settings);
  if (!context) throw new Error("this browser does not draw on a canvas");
  return context;
}

/**
 * A copy of what a template holds.
 * @param {string} id of the template
 */
export function copyOf(id) {
  return document.importNode(byId(id, HTMLTemplateElement).content, true);
}
