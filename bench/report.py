"""What was measured: rows with units, as a table for people and JSON for the history in bench/results/."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent


@dataclass(slots=True)
class Row:
    """One figure."""

    group: str
    name: str
    value: float
    unit: str
    note: str = ""
    ratio: float | None = None
    """Of a peer's figure: its time over ours, so more is better for us."""


class Report:
    """Collects rows, prints each as it comes."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._started = time.monotonic()

    def add(
        self, group: str, name: str, value: float, unit: str, *, note: str = "", ratio: float | None = None
    ) -> None:
        """Add and print one figure."""
        if not self.rows or self.rows[-1].group != group:
            print(f"\n{group}", flush=True)
        self.rows.append(Row(group, name, value, unit, note, ratio))
        shown_ratio = f"{ratio:8.1f} x ours" if ratio is not None else " " * 15
        print(f"  {name:<58}{value:>11.3f} {unit:<9}{shown_ratio}  {note}".rstrip(), flush=True)

    def problem(self, group: str, text: str) -> None:
        """Say what could not be measured; the rest goes on."""
        print(f"\n{group}\n  not measured: {text}", flush=True)

    def write(self, folder: Path) -> Path:
        """Write the figures and what they were measured on; return the file."""
        now = datetime.now(UTC)
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout.strip()
        document = {
            "time": now.isoformat(timespec="seconds"),
            "commit": commit,
            "python": platform.python_version(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, {_processor()}",
            "load_average": os.getloadavg()[0],
            "seconds": round(time.monotonic() - self._started, 1),
            "arguments": sys.argv[1:],
            "rows": [asdict(row) for row in self.rows],
        }
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{now:%Y-%m-%dT%H%M%S}.json"
        path.write_text(json.dumps(document, indent=1) + "\n")
        return path


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def median_ms(calls: list[Callable[[], object]]) -> float:
    """Return the median time of the calls, each made once, in milliseconds."""
    times = []
    for call in calls:
        before = time.perf_counter()
        call()
        times.append(time.perf_counter() - before)
    return statistics.median(times) * 1e3


def percentile(values: list[float], fraction: float) -> float:
    """Return the value that `fraction` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(int(fraction * len(ordered)), len(ordered) - 1)]
