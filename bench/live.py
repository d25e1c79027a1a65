"""Browsers on the LAN: what each costs the appliance, how old the picture is, and what the page costs the browser.

The clock is stopped as in endtoend.py: from before the last piece of a ping is given to the kernel until a viewer has
read the last byte of its picture. The viewers share the machine with the appliance and are part of what is measured.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from nims_appliance.plugin_host.host import PluginHost

from .endtoend import SETTLE_S, Sonar
from .processes import Appliance, Viewers
from .report import Report, percentile

GROUP = "Live pictures, 10 Hz, 256 x 1500"
RATE_HZ = 10.0
CHROMIUM = os.environ.get("NIMS_CHROMIUM") or shutil.which("chromium")
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-background-networking"]


def measure(report: Report, plugins: PluginHost, quick: bool) -> None:
    """Add the rows of this module."""
    duration_s = 6.0 if quick else 20.0
    with tempfile.TemporaryDirectory(prefix="nims-bench-") as folder:
        sonar = Sonar(plugins)
        link = f"pen=tcp://127.0.0.1:{sonar.port},profile=kongsberg-m3"
        try:
            with Appliance(Path(folder) / "data", "--sonar", link) as appliance:
                sonar.accept()
                sonar.play(RATE_HZ, SETTLE_S)
                cpu_s = appliance.cpu_s()
                sonar.play(RATE_HZ, duration_s)
                alone_s = appliance.cpu_s() - cpu_s
                report.add(GROUP, "nobody: processor", 100 * alone_s / duration_s, "% of one")
                for viewers, hindered in ((1, False), (20, False), (50, False), (50, True)):
                    _phase(report, sonar, appliance, viewers, hindered, duration_s, alone_s)
                _page(report, sonar, appliance, duration_s)
        finally:
            sonar.close()


def _phase(
    report: Report, sonar: Sonar, appliance: Appliance, viewers: int, hindered: bool, duration_s: float, alone_s: float
) -> None:
    with Viewers(appliance.web_port, viewers, stalled=int(hindered), slow=int(hindered)) as watching:
        sonar.play(RATE_HZ, SETTLE_S)
        before = watching.state()
        cpu_s = appliance.cpu_s()
        numbers = set(sonar.play(RATE_HZ, duration_s))
        cpu_s = appliance.cpu_s() - cpu_s
        state = watching.state()
    delays_s = [at_s - sonar.sent_s[ping] for ping, at_s in state["arrivals"] if ping in numbers]
    where = f"{viewers} viewers" + (", one stalled and one at 60 kB/s beside them" if hindered else "")
    if not delays_s:
        report.problem(GROUP, f"{where}: no picture came")
        return
    pictures = state["pictures"] - before["pictures"]
    report.add(GROUP, f"{where}: p50", percentile(delays_s, 0.50) * 1e3, "ms")
    note = f"most {max(delays_s) * 1e3:.1f} ms; {len(delays_s)} of {len(numbers) * viewers} pictures"
    report.add(GROUP, f"{where}: p99", percentile(delays_s, 0.99) * 1e3, "ms", note=note)
    report.add(GROUP, f"{where}: processor", 100 * cpu_s / duration_s, "% of one")
    each_ms = 1e3 * (cpu_s - alone_s) / pictures
    report.add(GROUP, f"{where}: processor for each viewer and ping", each_ms, "ms")
    if hindered:
        note = f"each of its pictures joins {state['slow_reductions']} rows and columns to one"
        report.add(GROUP, "pictures to the slow one", state["slow_pictures"] / (duration_s + SETTLE_S), "Hz", note=note)
    else:
        size_kb = (state["picture_bytes"] - before["picture_bytes"]) / pictures / 1e3
        report.add(GROUP, f"{where}: bytes for each viewer and ping", size_kb, "kB")


LONG_TASKS = """() => {
    window.longTasks = [];
    new PerformanceObserver((list) => longTasks.push(...list.getEntries().map((entry) => entry.duration)))
        .observe({ type: "longtask" });
}"""


def _page(report: Report, sonar: Sonar, appliance: Appliance, duration_s: float) -> None:
    """The live page in Chromium without a graphics chip: what its main thread does for each picture."""
    if not CHROMIUM:
        report.problem(GROUP, "the page: no chromium on this machine")
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"http://127.0.0.1:{appliance.web_port}/")
        sonar.play(RATE_HZ, SETTLE_S)
        devtools = page.context.new_cdp_session(page)
        devtools.send("Performance.enable")

        def busy_s() -> dict[str, float]:
            return {item["name"]: item["value"] for item in devtools.send("Performance.getMetrics")["metrics"]}

        page.evaluate(LONG_TASKS)
        before = busy_s()
        pings = len(sonar.play(RATE_HZ, duration_s))
        after = busy_s()
        long_tasks = page.evaluate("longTasks")
        browser.close()
    for name, metric in (("main thread", "TaskDuration"), ("of it, scripts", "ScriptDuration")):
        report.add(GROUP, f"the page: {name}, for each ping", 1e3 * (after[metric] - before[metric]) / pings, "ms")
    note = f"longest {max(long_tasks, default=0):.0f} ms"
    report.add(GROUP, "the page: tasks longer than 50 ms", len(long_tasks), "", note=note)
