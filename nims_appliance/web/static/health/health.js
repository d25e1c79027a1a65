// The health page: asks for everything every two seconds, and shows it.

import { byId } from "../shared/elements.js";
import { span } from "../shared/format.js";
import { setText } from "../shared/keyed.js";
import { mountShell } from "../shared/shell.js";
import { Log } from "./log.js";
import { Rates } from "./rates.js";
import { showParts, showPlugins, showQueues, showSonars, showVersions } from "./sections.js";
import { copyForSupport } from "./support.js";
import { showTiles } from "./tiles.js";

/** @typedef {import("./types.js").Health} Health */

const INTERVAL_MS = 2000;
const TIMEOUT_MS = 8000;

const copyButton = byId("copy", HTMLButtonElement);
const rates = new Rates();
const shell = mountShell({
  follow: false,
  keys: [
    { keys: "c", does: "Copy for support", run: () => copyButton.click() },
    { keys: "/", does: "Filter the log", run: () => byId("log-filter").focus() },
  ],
});

/** @param {Health} health */
function show(health) {
  shell.takeState(/** @type {any} */ (health));
  const failed = health.parts.filter(({ state }) => state === "failed").length;
  const troubles = health.errors.length + failed + (health.alarms?.length ?? 0) + health.plugins.filter(({ error }) => error).length;
  const verdict = byId("verdict");
  verdict.dataset.level = health.errors.length || failed ? "bad" : troubles ? "warn" : "good";
  setText(verdict, health.errors.length ? "Safe mode" : troubles ? `${troubles} ${troubles === 1 ? "thing needs" : "things need"} a look` : "All is well");
  setText(byId("about"), `NIMS ${health.version}, running for ${span(health.uptime_s)}`);
  showTiles(byId("tiles"), health);
  showSonars(byId("sonars"), health, rates);
  showParts(byId("parts"), health);
  showQueues(byId("queues"), health, rates);
  showPlugins(byId("plugins"), byId("plugin-notes"), health);
  showVersions(byId("versions"), health);
}

async function follow() {
  for (;;) {
    if (!document.hidden) {
      try {
        const response = await fetch("/api/v1/health", { signal: AbortSignal.timeout(TIMEOUT_MS) });
        if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
        const health = await response.json();
        shell.setConnection("live");
        document.body.classList.remove("stale");
        show(health);
      } catch (error) {
        if (!(error instanceof Error)) throw error;
        shell.setConnection("lost");
        document.body.classList.add("stale");
      }
    }
    await new Promise((done) => setTimeout(done, INTERVAL_MS));
  }
}

copyButton.onclick = () => copyForSupport(copyButton);
new Log();
follow();
