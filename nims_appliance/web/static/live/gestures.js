// Zoom and pan by wheel, drag and pinch. A tool that takes a pointer for itself prevents its pointerdown's default.

const WHEEL_ZOOM = 0.0015; // of a pixel of the wheel, as an exponent
const LINE_PX = 16;
const CLICK_PX = 4; // that a pointer may move and still click

/**
 * @typedef {object} Target
 * @property {() => {left: number, top: number, width: number, height: number}} area where the picture lies, in CSS pixels
 * @property {(factorX: number, factorY: number, atX: number, atY: number) => void} zoom about a point of the area
 * @property {(byX: number, byY: number) => void} pan in widths and heights of the area
 * @property {() => void} reset
 * @property {() => "both" | "one"} axes what the wheel zooms: both, or range alone and with Shift time alone
 * @property {() => boolean} zoomed
 */

/**
 * @param {HTMLElement} view
 * @param {Target} target
 */
export function listenToGestures(view, target) {
  /** @type {Map<number, {x: number, y: number}>} */
  const pointers = new Map();
  /** Those that a tool has; a second finger zooms all the same. @type {Set<number>} */
  const taken = new Set();
  let moved = false;
  let downAt = { x: 0, y: 0 };

  const at = (/** @type {{clientX: number, clientY: number}} */ { clientX, clientY }) => {
    const box = view.getBoundingClientRect();
    return { x: clientX - box.left, y: clientY - box.top };
  };
  const fromMiddle = (/** @type {{x: number, y: number}} */ { x, y }) => {
    const { left, top, width, height } = target.area();
    return [(x - left) / width - 0.5, (y - top) / height - 0.5];
  };

  view.addEventListener("wheel", (event) => {
    if (event.defaultPrevented) return;
    event.preventDefault();
    const delta = (event.deltaY || event.deltaX) * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE_PX : 1);
    const factor = Math.exp(-Math.max(-240, Math.min(240, delta)) * WHEEL_ZOOM);
    const [x, y] = fromMiddle(at(event));
    if (target.axes() === "both") target.zoom(factor, factor, x, y);
    else if (event.shiftKey) target.zoom(factor, 1, x, y);
    else target.zoom(1, factor, x, y);
  }, { passive: false });

  view.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && (event.defaultPrevented || event.button !== 0)) return;
    if (event.target instanceof Element && event.target.closest("button, input, select, label, a, .panel")) return;
    if (event.defaultPrevented) taken.add(event.pointerId);
    pointers.set(event.pointerId, at(event));
    moved = pointers.size > 1;
    downAt = at(event);
  });

  view.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const here = at(event);
    if (!moved && Math.hypot(here.x - downAt.x, here.y - downAt.y) < CLICK_PX) return;
    if (!moved) {
      moved = true;
      // Only now: a captured pointer would take clicks from what lies below it.
      view.setPointerCapture(event.pointerId);
    }
    pointers.set(event.pointerId, here);
    const { width, height } = target.area();
    if (pointers.size === 1) {
      if (target.zoomed() && !taken.has(event.pointerId)) target.pan((here.x - before.x) / width, (here.y - before.y) / height);
      return;
    }
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1] ?? here;
    const apart = Math.hypot(before.x - other.x, before.y - other.y);
    const factor = apart > 0 ? Math.hypot(here.x - other.x, here.y - other.y) / apart : 1;
    const [x, y] = fromMiddle({ x: (here.x + other.x) / 2, y: (here.y + other.y) / 2 });
    target.zoom(factor, factor, x, y);
    target.pan((here.x - before.x) / 2 / width, (here.y - before.y) / 2 / height);
  });

  const end = (/** @type {PointerEvent} */ { pointerId }) => {
    pointers.delete(pointerId);
    taken.delete(pointerId);
  };
  view.addEventListener("pointerup", end);
  view.addEventListener("pointercancel", end);
  // The end of a drag is no click.
  view.addEventListener("click", (event) => {
    if (moved && event.detail > 0) event.stopImmediatePropagation();
    moved = false;
  }, { capture: true });
  view.addEventListener("dblclick", (event) => {
    if (event.target instanceof Element && event.target.closest("button, input, select, label, a, .panel")) return;
    if (!event.defaultPrevented) target.reset();
  });
}
