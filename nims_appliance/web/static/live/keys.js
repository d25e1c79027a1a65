// The keys of the live page: one table of what each does. Those of the bar are in the shell.

/**
 * @typedef {import("../shared/keys.js").Key} Key
 * @typedef {import("./pane.js").Pane} Pane
 */

/**
 * What keys act on.
 * @typedef {object} Page
 * @property {() => Pane | undefined} pane that keys act on
 * @property {(step: number) => void} nextPane
 * @property {() => void} pause or go on
 * @property {(pings: number) => void} step
 * @property {() => void} enlarge
 */

/**
 * @param {Page} page
 * @returns {Key[]}
 */
export function keysOf(page) {
  const overlay = () => page.pane()?.overlay;
  const isKeyed = () => overlay()?.isCursorKeyed ?? false;
  const isEditing = () => overlay()?.tool === "zones";
  /** @type {(group: string, keys: Key[]) => Key[]} */
  const group = (name, keys) => keys.map((key) => ({ ...key, group: name }));
  /** @type {[string, number, number][]} */
  const ways = [["ArrowLeft", -1, 0], ["ArrowRight", 1, 0], ["ArrowUp", 0, -1], ["ArrowDown", 0, 1]];
  const arrows = ways.map(([name]) => name);
  const by = (/** @type {KeyboardEvent} */ { key }) => ways.find(([name]) => name === key) ?? ["", 0, 0];
  return [
    ...group("Time", [
      { keys: "Space", does: "Pause, and go on", run: page.pause },
      { keys: ",", does: "One ping back", run: () => page.step(-1) },
      { keys: ".", does: "One ping forward", run: () => page.step(1) },
    ]),
    ...group("Picture", [
      { keys: "v", does: "Next view: fan, B-scan, range over time", run: () => page.pane()?.nextView() },
      { keys: "+", does: "Larger", run: () => page.pane()?.zoomBy(1) },
      { keys: "-", does: "Smaller", run: () => page.pane()?.zoomBy(-1) },
      { keys: "0", does: "All of the picture", run: () => page.pane()?.zoomWhole() },
      {
        keys: arrows, shown: "arrows", does: "Move the enlarged picture",
        run: (event) => page.pane()?.panBy(-by(event)[1], -by(event)[2]), when: () => !isKeyed(),
      },
      { keys: "c", does: "Colours and levels", run: () => page.pane()?.togglePanel() },
      { keys: "r", does: "Range rings and bearing lines", run: () => overlay()?.toggleGrid() },
      { keys: "l", does: "What the shapes of tracks mean", run: () => overlay()?.toggleLegend() },
      { keys: "s", does: "Save the picture", run: () => page.pane()?.save() },
      { keys: "f", does: "Enlarge one sonar, and put it back", run: page.enlarge },
      { keys: "]", does: "Next sonar", run: () => page.nextPane(1) },
      { keys: "[", does: "Sonar before", run: () => page.nextPane(-1) },
    ]),
    ...group("Tracks", [
      { keys: "t", does: "Next track, with its card", run: () => overlay()?.chooseNext(1) },
      { keys: "T", does: "Track before", run: () => overlay()?.chooseNext(-1) },
      { keys: "o", does: "Open the chosen one on the Tracks page", run: () => overlay()?.openChosen() },
    ]),
    ...group("Tools", [
      { keys: "x", does: "Cursor by keys, and away", run: () => overlay()?.keyCursor() },
      { keys: arrows, shown: "arrows", does: "Move it", run: (event) => overlay()?.moveCursor(by(event)[1], by(event)[2], false), when: isKeyed },
      {
        keys: arrows.map((name) => `Shift+${name}`), shown: "Shift+arrows", does: "Move it by little",
        run: (event) => overlay()?.moveCursor(by(event)[1], by(event)[2], true), when: isKeyed,
      },
      { keys: "Enter", does: "As a click there: choose a track, set an end or a corner", run: () => overlay()?.pressCursor(), when: isKeyed },
      { keys: "m", does: "Measure", run: () => overlay()?.toggle("measure") },
      { keys: "z", does: "Zones", run: () => overlay()?.toggle("zones"), when: () => overlay()?.mayEdit ?? false },
      { keys: "j", does: "Next zone", run: () => overlay()?.editor.chooseNext(1), when: isEditing },
      { keys: "Delete", does: "Delete the chosen zone", run: () => overlay()?.editor.removeChosen(), when: isEditing },
      { keys: "Ctrl+z", does: "Undo a change of zones", run: () => overlay()?.editor.undo(), when: isEditing },
      { keys: "Ctrl+s", does: "Save the zones", run: () => overlay()?.editor.save(), when: isEditing },
      { keys: "Escape", does: "Close the tool or the card", run: () => overlay()?.escape() },
    ]),
  ];
}
