// How several sonars share the page: so that their pictures are as large as can be.

const WIDE = 1.5; // of a usual picture, for its height
const HEAD_PX = 64; // of a pane
const LEAST_PX = 288; // height of a pane; more of them scroll

/**
 * In how many columns a number of panes lies best.
 * @param {number} panes
 * @param {number} width of what they share
 * @param {number} height
 */
export function columnsFor(panes, width, height) {
  let best = 1;
  let largest = 0;
  for (let columns = 1; columns <= panes; columns++) {
    const cell = Math.max(height / Math.ceil(panes / columns), LEAST_PX) - HEAD_PX;
    const size = Math.min(width / columns / WIDE, cell);
    if (size > largest * 1.02) [best, largest] = [columns, size];
  }
  return best;
}
