"""Start-up, size, and the batch command."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

from nims_appliance.plugin_host.host import PluginHost

from .processes import ZIPAPP, Appliance, Viewers, command
from .report import ROOT, Report

GROUP = "Start and size"
PROCESS_GROUP = "nims process, M3 256 x 1500"


def measure(report: Report, plugins: PluginHost, quick: bool) -> None:
    """Add the rows of this module."""
    with tempfile.TemporaryDirectory(prefix="nims-bench-") as folder:
        _start(report, Path(folder))
    with tempfile.TemporaryDirectory(prefix="nims-bench-") as folder:
        _process(report, plugins, Path(folder), (20, 80) if quick else (20, 220))


def _start(report: Report, folder: Path) -> None:
    data = folder / "data"
    rounds = ["first start, unpacking", "warm start"] if ZIPAPP.exists() else ["warm start (checkout, not the zipapp)"]
    if ZIPAPP.exists():
        report.add(GROUP, "dist/nims.pyz", ZIPAPP.stat().st_size / 1e6, "MB")
    else:
        report.problem(GROUP, f"there is no {ZIPAPP.relative_to(ROOT)}: make appliance")
    for name in rounds:
        with Appliance(data, "--demo") as appliance:
            report.add(GROUP, f"{name}: address printed", appliance.address_s - appliance.started_s, "s")
            with Viewers(appliance.web_port, 1) as viewer:
                deadline = time.monotonic() + 20
                while not (state := viewer.state())["pictures"] and time.monotonic() < deadline:
                    time.sleep(0.02)
            if state["pictures"]:
                first_s = state["first_picture_s"] - appliance.started_s
                report.add(GROUP, f"{name}: first picture in a browser", first_s, "s", note="demo, simulator included")
            else:
                report.problem(GROUP, f"{name}: no picture within 20 s")


def _process(report: Report, plugins: PluginHost, folder: Path, counts: tuple[int, int]) -> None:
    """Two files of different length, so that the start of the process drops out of the rate."""
    device = plugins.simulators["kongsberg-m3"].make(rate_hz=10.0, beams=256, samples=1500, seed=1)
    files = [folder / f"{count}.imb" for count in counts]
    with files[0].open("wb") as few, files[1].open("wb") as many:
        for number in range(1, counts[1] + 1):
            packet = b"".join(device.encode(device.ping(number, 1e9 + number / 10)))
            many.write(packet)
            if number <= counts[0]:
                few.write(packet)
    seconds = []
    for file in files:
        # The shorter of two runs: other programs only ever make it longer.
        runs = []
        for _ in range(2):
            before = time.monotonic()
            done = subprocess.run(
                [
                    *command(),
                    "process",
                    str(file),
                    "--profile",
                    "kongsberg-m3",
                    "--tracks",
                    str(folder / "tracks.jsonl"),
                ],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            runs.append(time.monotonic() - before)
            if done.returncode:
                report.problem(PROCESS_GROUP, (done.stderr or done.stdout).strip()[-300:])
                return
        seconds.append(min(runs))
    note = f"{counts[1]} pings in {seconds[1]:.2f} s, start included"
    if seconds[1] < 1.1 * seconds[0]:
        report.problem(PROCESS_GROUP, f"the computer is too busy: {note}, {counts[0]} in {seconds[0]:.2f} s")
        return
    rate = (counts[1] - counts[0]) / (seconds[1] - seconds[0])
    report.add(PROCESS_GROUP, "decode, detect, track, write", rate, "pings/s", note=note)
