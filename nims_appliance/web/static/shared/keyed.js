// Lists that are shown again and again: elements stay, so that focus, selection and what is unfolded stay too.

/**
 * Makes the children of `parent` show `items`, in their order: known ones are updated, new ones made, others removed.
 * @template T
 * @template {HTMLElement} E
 * @param {HTMLElement} parent  that holds nothing else
 * @param {T[]} items
 * @param {(item: T) => string} keyOf
 * @param {(item: T) => E} make
 * @param {(element: E, item: T) => void} update  also called after `make`
 */
export function showKeyed(parent, items, keyOf, make, update) {
  const known = new Map([...parent.children].map((child) => [/** @type {HTMLElement} */ (child).dataset.key, /** @type {E} */ (child)]));
  /** @type {E | null} */
  let before = null;
  for (const item of items) {
    const key = keyOf(item);
    let shown = known.get(key);
    if (shown) {
      known.delete(key);
    } else {
      shown = make(item);
      shown.dataset.key = key;
    }
    /** @type {Element | null} */
    const place = before ? before.nextElementSibling : parent.firstElementChild;
    if (place !== shown) parent.insertBefore(shown, place);
    update(shown, item);
    before = shown;
  }
  for (const gone of known.values()) gone.remove();
}

/**
 * Writes a text where it is another than before; what has not changed is not selected away.
 * @param {Element} place
 * @param {string} text
 */
export function setText(place, text) {
  if (place.textContent !== text) place.textContent = text;
}
