"""The system clock is set forth and back while everything runs (libfaketime, where it is installed)."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from nims_appliance.archive import FILE_NAME

from ..processes import Appliance
from ..report import Report
from .appliance import LOAD, Listener, check, wait_until

GROUP = "clock set while running"
LIBRARIES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib*/faketime/libfaketime.so.1")
STEPS = ("+0", "+3600s", "-86400s", "+34560000s", "+0")
"""The first is none: what follows is held against it, for the library itself makes the appliance slow."""
STEP_S = 5.0
DELAYED_S = 30.0


def run(report: Report, folder: Path, command: list[str]) -> list[str]:
    """Set the clock of one appliance again and again; return what did not hold."""
    library = next((path for pattern in LIBRARIES for path in Path("/").glob(pattern[1:])), None)
    if library is None:
        report.problem(GROUP, "libfaketime is not installed (apt-get install faketime)")
        return []
    offset, data = folder / "clock", folder / "clocks"
    offset.write_text("+0\n")
    environment = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    failures: list[str] = []
    arguments = (*LOAD, "--set", "storage.recordings_days=1", "--set", "storage.tracks_days=1")
    with Appliance(data, *arguments, started_with=command, environment=environment) as appliance:
        listener = Listener(appliance.tracks_port)
        if not wait_until(lambda: len(listener.told().pings) == 2, DELAYED_S):
            return ["clock: no pings before the first step"]
        usual = 0
        for step in STEPS:
            offset.write_text(f"{step}\n")
            before = len(listener.told().pings["pen"]) + len(listener.told().pings["fan"])
            time.sleep(STEP_S)
            now = listener.told().pings
            count = len(now["pen"]) + len(now["fan"]) - before
            if not appliance.is_alive:
                return [f"clock {step}: the appliance ended"]
            usual = usual or count
            found = [f"clock {step}: {count} pings in {STEP_S:.0f} s, {usual} before"] if count < usual / 2 else []
            report.add(GROUP, f"set to {step}: pings told in the {STEP_S:.0f} s after it", count, "")
            failures += found
        told = listener.told()
        time.sleep(1.0)
        listener.close()
    with sqlite3.connect(data / FILE_NAME) as database:
        tracks = {number for (number,) in database.execute("SELECT id FROM tracks")}
        steps = database.execute(
            "SELECT count(*) FROM events WHERE kind LIKE '%clock%' OR text LIKE '%clock%'"
        ).fetchone()[0]
    database.close()
    if absent := told.ended.keys() - tracks:
        failures.append(f"clock: {len(absent)} of {len(told.ended)} tracks are not in the archive")
    code, text = check(command, data)
    if code:
        failures.append(f"clock: nims check ended with {code}: {text}")
    report.add(GROUP, "tracks ended and archived", len(told.ended.keys() & tracks), "", note=f"of {len(told.ended)}")
    report.add(GROUP, "steps told in the journal", steps, "", note=f"of {len(STEPS) - 1}, and the sonars'")
    if not steps:
        failures.append("clock: no step is in the journal")
    return failures
