"""A year in the archive: a million tracks, and how long each question of the page History takes."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nims_appliance.archive import ArchiveReader, TrackFilter, pack_positions, tallies
from nims_appliance.archive.schema import FILE_NAME, TRACKS, connect
from nims_appliance.plugin_host.host import PluginHost

from .report import Report, median_ms

GROUP = "Archive of {} tracks over a year"
YEAR_S = 365 * 86400.0
START_S = 1_700_000_000.0
POSITIONS = 40
"""Of each track; most tracks are short."""
REPEATS = 7
LABELS = ("possible animal", "probable animal", "drifting", "structure")


def fill(path: Path, count: int, seed: int = 1) -> None:
    """Write an archive of so many tracks of two sonars; one in a hundred was in the zone "turbine"."""
    rng = np.random.default_rng(seed)
    ended_s = np.sort(START_S + rng.uniform(0, YEAR_S, count))
    label = rng.choice(len(LABELS), count, p=(0.6, 0.3, 0.0999, 0.0001))
    length_m, speed_m_s = rng.lognormal(-1, 0.5, count), rng.lognormal(-0.5, 0.5, count)
    duration_s, zone = rng.exponential(10, count), rng.random(count) < 0.01
    way = [(START_S + n / 10, n * 0.1, 10.0 + n * 0.05, 0.0) for n in range(POSITIONS)]
    positions = pack_positions(tuple(way))

    def row(n: int) -> tuple[Any, ...]:
        given = {
            "id": n + 1,
            "sonar": "pen" if n % 3 else "dam",
            "first_time_s": ended_s[n] - duration_s[n],
            "last_time_s": ended_s[n],
            "duration_s": duration_s[n],
            "mean_length_m": length_m[n],
            "mean_speed_m_s": speed_m_s[n],
            "label": LABELS[label[n]],
            "positions": positions,
            "zones": '[{"name": "turbine", "closest_m": 0}]' if zone[n] else "[]",
        }
        blank = {"TEXT": "", "INTEGER": 1, "REAL": 0.5, "BLOB": b""}
        return tuple(given.get(name, blank[kind.split()[0]]) for name, kind in TRACKS.items())

    with contextlib.closing(connect(path)) as database, database:
        database.executemany(f"INSERT INTO tracks VALUES ({', '.join('?' * len(TRACKS))})", map(row, range(count)))
        tallies.count_all(database)


def measure(report: Report, plugins: PluginHost, quick: bool) -> None:
    """Add the rows of this module."""
    count = 100_000 if quick else 1_000_000
    group = GROUP.format(f"{count:,}")
    with tempfile.TemporaryDirectory(prefix="nims-bench-") as folder:
        path = Path(folder) / FILE_NAME
        fill(path, count)
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
        report.add(group, "size of a track", size / count, "bytes", note=f"{POSITIONS} positions each")
        reader = ArchiveReader(path)
        for name, ask in questions(reader).items():
            report.add(group, name, median_ms([ask] * REPEATS), "ms")


def questions(reader: ArchiveReader) -> dict[str, Callable[[], object]]:
    """Return what the page History asks, by what it is for."""
    end_s = START_S + YEAR_S
    day = TrackFilter(from_s=end_s - 86400, to_s=end_s)
    return {
        "first and last track": reader.span_s,
        "classes": reader.labels,
        "timeline of the year, a day each": lambda: reader.track_counts("", START_S, end_s, 86400),
        "timeline of two days, ten minutes each": lambda: reader.track_counts("", end_s - 172800, end_s, 600),
        "map of the year": lambda: reader.cell_counts("", None, START_S, end_s),
        "map of one class and sonar": lambda: reader.cell_counts("pen", LABELS[0], START_S, end_s),
        "newest tracks": lambda: reader.tracks(),
        "tracks of a day, longest first": lambda: reader.tracks(day, sort="mean_length_m"),
        "longest of the year": lambda: reader.tracks(sort="mean_length_m"),
        "longest of one class": lambda: reader.tracks(TrackFilter(label=LABELS[0]), sort="mean_length_m"),
        "tracks of one sonar": lambda: reader.tracks(TrackFilter(sonar="dam")),
        "tracks in a zone": lambda: reader.tracks(TrackFilter(zone="turbine")),
        "a class that one in ten thousand has": lambda: reader.tracks(TrackFilter(label=LABELS[3])),
        "a length that none has": lambda: reader.tracks(TrackFilter(min_length_m=100.0)),
        "fast and long ones of one sonar": lambda: reader.tracks(
            TrackFilter(sonar="pen", min_length_m=3.0, min_speed_m_s=3.0)
        ),
        "one track with its way": lambda: reader.track(1 << 16),
    }
