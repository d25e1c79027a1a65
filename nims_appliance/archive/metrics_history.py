"""Histories of echo metrics: the bins of a series over hours or a year, as few points that keep their peaks."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .downsample import Buckets, Points, bucket_length_s
from .schema import BINS

METRICS = (
    "sv_db",
    "sa_db",
    "nasc_m2_nmi2",
    "center_of_mass_m",
    "inertia_m2",
    "proportion_occupied",
    "equivalent_area_m",
    "aggregation_index_per_m",
    "layers",
    "noise_db",
)
"""Columns that can be asked for."""
assert set(METRICS) <= set(BINS)
_CHUNK = 5000

Series = tuple[str, str, int]
"""Sonar, channel, and layer; 0: the whole column."""


@dataclass(frozen=True, slots=True, eq=False)
class MetricsHistory:
    """Metrics of one series over some time."""

    bucket_s: float
    """Length of a bucket; 0: every point is a bin."""
    points: Points
    """Columns as asked for."""
    calibrated: bool | None
    """Of the newest bin; None: there is none."""
    layer_m: tuple[float, float] | None
    """Near and far edge of what the newest bin covers."""
    tracks_bucket_s: float
    tracks_time_s: np.ndarray
    """Middle of each bucket in which the sonar was heard or a track ended, shape (buckets,)."""
    tracks_per_minute: np.ndarray


def all_series(database: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return whose metrics there are: sonar, channel, layer, and what the newest bin says of it."""
    query = (
        "SELECT sonar, channel, layer, calibrated, start_s, end_s, top_m, bottom_m FROM series "
        "JOIN metrics_bins ON metrics_bins.series = series.id AND end_s = "
        "(SELECT MAX(end_s) FROM metrics_bins WHERE metrics_bins.series = series.id) ORDER BY sonar, channel, layer"
    )
    names = ("sonar", "channel", "layer", "calibrated", "start_s", "end_s", "top_m", "bottom_m")
    found = [dict(zip(names, row, strict=True)) for row in database.execute(query)]
    return [entry | {"calibrated": bool(entry["calibrated"])} for entry in found]


def series_number(database: sqlite3.Connection, series: Series) -> int | None:
    """Return the number under which the bins of a series are kept; None: there are none."""
    row = database.execute("SELECT id FROM series WHERE sonar = ? AND channel = ? AND layer = ?", series).fetchone()
    return row[0] if row else None


def history(
    database: sqlite3.Connection | None,
    series: Series,
    columns: tuple[str, ...],
    from_s: float,
    to_s: float,
    *,
    points: int,
    bucket_s: float | None,
) -> MetricsHistory:
    """Return the bins that ended in that time; see `ArchiveReader.metrics`. None: a database without any."""
    assert set(columns) <= set(METRICS), columns
    in_db = np.array([name.endswith("_db") for name in columns], dtype=bool)
    number = None if database is None else series_number(database, series)
    chosen = (number, from_s, to_s)
    if bucket_s is None:
        within = "SELECT 1 FROM metrics_bins WHERE series = ? AND end_s >= ? AND end_s < ? LIMIT ?"
        count = 0
        if database is not None and number is not None:
            ((count,),) = database.execute(f"SELECT COUNT(*) FROM ({within})", (*chosen, points + 1))
        bucket_s = 0.0 if count <= points else bucket_length_s(to_s - from_s, points)
    newest = None
    collected = Buckets(bucket_s, in_db) if bucket_s else _EveryBin(len(columns))
    if database is not None and number is not None:
        newest = database.execute(
            "SELECT calibrated, top_m, bottom_m FROM metrics_bins WHERE series = ? AND end_s < ? "
            "ORDER BY end_s DESC LIMIT 1",
            (number, to_s),
        ).fetchone()
        for end_s, pings, values in _bins(database, columns, chosen):
            collected.add(end_s, pings, values)
    found = collected.finish()
    tracks_bucket_s = max(bucket_s, 60.0)
    counts = {} if database is None else _tracks_by_bucket(database, series[0], from_s, to_s, tracks_bucket_s)
    buckets = np.array(sorted({*counts, *np.floor(found.time_s / tracks_bucket_s)}), dtype=np.float64)
    return MetricsHistory(
        bucket_s=bucket_s,
        points=found,
        calibrated=None if newest is None else bool(newest[0]),
        layer_m=None if newest is None or None in newest[1:] else (newest[1], newest[2]),
        tracks_bucket_s=tracks_bucket_s,
        tracks_time_s=(buckets + 0.5) * tracks_bucket_s,
        tracks_per_minute=np.array([counts.get(bucket, 0) * 60.0 / tracks_bucket_s for bucket in buckets]),
    )


class _EveryBin:
    """Takes the place of Buckets where there are few bins."""

    def __init__(self, columns: int) -> None:
        self._parts = [(np.empty(0), np.empty(0), np.empty((0, columns)))]

    def add(self, end_s: np.ndarray, pings: np.ndarray, values: np.ndarray) -> None:
        self._parts.append((end_s, pings, values))

    def finish(self) -> Points:
        end_s, pings, values = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        return Points(end_s, pings, values, values, values)


def _bins(
    database: sqlite3.Connection, columns: tuple[str, ...], chosen: tuple
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield ends (bins,), pings (bins,) and values (bins, columns), NaN for NULL, some thousand at a time."""
    cursor = database.execute(
        f"SELECT end_s, pings, {', '.join(columns)} FROM metrics_bins "
        "WHERE series = ? AND end_s >= ? AND end_s < ? ORDER BY end_s",
        chosen,
    )
    while rows := cursor.fetchmany(_CHUNK):
        table = np.array(rows, dtype=np.float64)  # None becomes NaN
        yield table[:, 0], table[:, 1], table[:, 2:]


def _tracks_by_bucket(
    database: sqlite3.Connection, sonar: str, from_s: float, to_s: float, bucket_s: float
) -> dict[float, int]:
    """Return how many tracks of a sonar ended in each bucket."""
    counts: dict[float, int] = {}
    ends = database.execute(
        "SELECT last_time_s FROM tracks WHERE sonar = ? AND last_time_s >= ? AND last_time_s < ?",
        (sonar, from_s, to_s),
    )
    for (end_s,) in ends:
        bucket = float(math.floor(end_s / bucket_s))
        counts[bucket] = counts.get(bucket, 0) + 1
    return counts
