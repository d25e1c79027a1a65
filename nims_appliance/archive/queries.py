"""Questions to the archive, each answered from a connection of its own beside the writer's.

All of `ArchiveReader` but `run` blocks: it is called in a thread, by `run`.
"""

from __future__ import annotations

import contextlib
import logging
import math
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import trio

from ..errors import NimsError
from . import tallies
from .downsample import Buckets, Points, bucket_length_s
from .poses import PoseRow
from .rows import track_values, unpack_positions
from .schema import BINS, EVENTS, TRACKS, open_read_only

log = logging.getLogger(__name__)

T = TypeVar("T")
QUERY_S = 20.0
"""A question that takes longer is given up."""
READERS = 2
"""Questions answered at a time: readers of a year must not take the processor from the pings."""
_CHUNK = 5000

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
_HAS_POSES = "SELECT 1 FROM sqlite_master WHERE name = 'poses'"
"""An older version may have written the file, and nobody has opened it for writing since."""
_DESCRIPTION = tuple(name for name in TRACKS if name != "positions")
SORTED_BY = tuple(name for name in _DESCRIPTION if name not in ("zones", "first_time", "last_time"))
"""Columns by which tracks can be sorted; those of time and sonar have an index."""


class ArchiveError(NimsError):
    """The archive cannot be read now."""


@dataclass(frozen=True, slots=True)
class TrackFilter:
    """Which tracks; None and empty texts ask for nothing."""

    sonar: str = ""
    label: str | None = None
    """Class; an empty text asks for tracks without one."""
    from_s: float | None = None
    """Tracks that ended then or later, by the sonar's clock."""
    to_s: float | None = None
    """Tracks that ended before."""
    min_length_m: float | None = None
    min_speed_m_s: float | None = None
    """Of the mean speed."""
    min_duration_s: float | None = None
    max_length_m: float | None = None
    max_speed_m_s: float | None = None
    zone: str = ""
    """Tracks that were inside this watched zone."""

    def clauses(self) -> tuple[list[str], list[Any]]:
        """Return conditions in SQL and their values."""
        wanted = {
            "sonar = ?": self.sonar or None,
            "label = ?": self.label,
            "last_time_s >= ?": self.from_s,
            "last_time_s < ?": self.to_s,
            "mean_length_m >= ?": self.min_length_m,
            "mean_speed_m_s >= ?": self.min_speed_m_s,
            "duration_s >= ?": self.min_duration_s,
            "mean_length_m <= ?": self.max_length_m,
            "mean_speed_m_s <= ?": self.max_speed_m_s,
        }
        asked = {clause: value for clause, value in wanted.items() if value is not None}
        return [*asked], [*asked.values()]


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


class ArchiveReader:
    """Reads one file. An archive that has no file yet is an empty one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._limiter: trio.CapacityLimiter | None = None

    async def run(self, query: Callable[..., T], *args: Any) -> T:
        """Return what `query(*args)` gives, from a worker thread.

        Raises:
          ArchiveError: the file cannot be read, or it takes too long.
        """
        if self._limiter is None:
            self._limiter = trio.CapacityLimiter(READERS)
        return await trio.to_thread.run_sync(query, *args, limiter=self._limiter)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection | None]:
        """Give a connection, or None where there is no file yet."""
        if not self.path.exists():
            yield None
            return
        deadline = time.monotonic() + QUERY_S
        try:
            with contextlib.closing(open_read_only(self.path)) as database:
                database.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
                yield database
        except sqlite3.Error as error:
            if str(error) == "interrupted":
                raise ArchiveError(f"the archive took longer than {QUERY_S:.0f} s: ask for less time") from None
            raise ArchiveError(f"cannot read {self.path}: {error}") from error

    def recent_tracks(self, limit: int = 100) -> list[dict[str, Any]]:
        """Return the tracks that ended last, newest first, without their positions.

        Returns: JSON-able values by column name.
        """
        return self.tracks(limit=limit)[0]

    def tracks(
        self,
        wanted: TrackFilter = TrackFilter(),
        *,
        sort: str = "last_time_s",
        descending: bool = True,
        limit: int = 100,
        after: tuple[Any, int] | None = None,
        positions: bool = False,
    ) -> tuple[list[dict[str, Any]], tuple[Any, int] | None]:
        """Return a page of tracks, and the mark after which the next page begins.

        Tracks have their `positions`, as those of `track` have, only where they are asked for.
        Tracks without a value of the column come last. Marks are of the column's value and the id, so that a page
        is where it was when tracks have been added since; the mark is None after the last page.

        Raises:
          ValueError: they cannot be sorted by that column.
        """
        if sort not in SORTED_BY:
            raise ValueError(f"expected one of {', '.join(SORTED_BY)}, got {sort!r}")
        clauses, values = wanted.clauses()
        way, beyond = ("DESC", "<") if descending else ("ASC", ">")
        if after is not None:
            value, number = after
            if value is None:
                clauses.append(f"({sort} IS NULL AND id {beyond} ?)")
                values.append(number)
            elif "NOT NULL" in TRACKS[sort] or sort == "id":
                # As one comparison of rows the index is used from the mark on.
                clauses.append(f"({sort}, id) {beyond} (?, ?)")
                values += [value, number]
            else:
                clauses.append(f"(({sort}, id) {beyond} (?, ?) OR {sort} IS NULL)")
                values += [value, number]
        source = "tracks"
        if wanted.zone and sort == "last_time_s":
            # In the order of the zone's own tracks, so that a page ends as soon as it is full.
            source = (
                "(SELECT track, last_time_s AS zone_time_s FROM track_zones WHERE zone = ?) "
                "CROSS JOIN tracks ON tracks.id = track"
            )
            clauses = [clause.replace("last_time_s", "zone_time_s").replace("id)", "track)") for clause in clauses]
            values = [wanted.zone, *values]
        elif wanted.zone:
            clauses.append("id IN (SELECT track FROM track_zones WHERE zone = ?)")
            values.append(wanted.zone)
        where = f" WHERE {' AND '.join(clauses)}" if clauses else ""
        order = f"{sort} {way}, id {way}" if source == "tracks" else f"zone_time_s {way}, track {way}"
        if "NOT NULL" not in TRACKS[sort] and sort != "id":
            order = f"{sort} IS NULL, {order}"
        columns = (*_DESCRIPTION, "positions") if positions else _DESCRIPTION
        query = f"SELECT {', '.join(columns)} FROM {source}{where} ORDER BY {order} LIMIT ?"
        with self._open() as database:
            if database is None:
                return [], None
            rows = database.execute(query, (*values, max(limit, 0) + 1)).fetchall()
        found = [track_values(dict(zip(columns, row, strict=True))) for row in rows[:limit]]
        if positions:
            found = [track | {"positions": unpack_positions(track["positions"])} for track in found]
        return found, (found[-1][sort], found[-1]["id"]) if len(rows) > limit and found else None

    def track(self, number: int) -> dict[str, Any] | None:
        """Return one track with its `positions`, (time_s, x_m, y_m, z_m) each; None: there is none of that id."""
        with self._open() as database:
            row = (
                database
                and database.execute(
                    f"SELECT positions, {', '.join(_DESCRIPTION)} FROM tracks WHERE id = ?", (number,)
                ).fetchone()
            )
        if not row:
            return None
        described = track_values(dict(zip(_DESCRIPTION, row[1:], strict=True)))
        return described | {"positions": unpack_positions(row[0])}

    def poses(self, sonar: str, from_s: float, to_s: float) -> list[PoseRow]:
        """Return the poses of a sonar that were kept in that time, by its clock, oldest first."""
        query = (
            "SELECT time_s, latitude_deg, longitude_deg, heading_deg, tilt_deg FROM poses "
            "WHERE sonar = ? AND time_s >= ? AND time_s <= ? ORDER BY time_s"
        )
        with self._open() as database:
            if database is None or not database.execute(_HAS_POSES).fetchone():
                return []
            return [PoseRow(*row) for row in database.execute(query, (sonar, from_s, to_s))]

    def span_s(self) -> tuple[float, float] | None:
        """Return when the first and the last track ended, by their sonars' clocks; None: there are none."""
        with self._open() as database:
            if database is None:
                return None
            first, last = (
                database.execute(f"SELECT {pick}(last_time_s) FROM tracks").fetchone()[0] for pick in ("MIN", "MAX")
            )
            return None if first is None else (first, last)

    def track_counts(self, sonar: str, from_s: float, to_s: float, bucket_s: int) -> list[tuple[int, str, int]]:
        """Return (bucket, label, tracks) of the tracks that ended in that time; bucket n begins at n * bucket_s.

        Buckets of whole hours count whole hours, the first and the last too. An empty `sonar` asks for all.
        """
        with self._open() as database:
            if database is None:
                return []
            if bucket_s % tallies.HOUR_S == 0:
                return tallies.hour_counts(database, sonar, _hours(from_s, to_s), int(bucket_s // tallies.HOUR_S))
            clauses, values = TrackFilter(sonar=sonar, from_s=from_s, to_s=to_s).clauses()
            return database.execute(
                "SELECT CAST(last_time_s / ? AS INTEGER) - (last_time_s < 0) AS bucket, label, COUNT(*) FROM tracks "
                f"WHERE {' AND '.join(clauses)} GROUP BY bucket, label ORDER BY bucket, label",
                (bucket_s, *values),
            ).fetchall()

    def cell_counts(self, sonar: str, label: str | None, from_s: float, to_s: float) -> tuple[np.ndarray, float, float]:
        """Return the tracks of each cell and the time in which they ended; see `tallies.cell_counts`."""
        with self._open() as database:
            if database is None:
                return np.zeros(tallies.RINGS * tallies.SECTORS, np.int64), from_s, to_s
            return tallies.cell_counts(database, sonar, label, from_s, to_s)

    def labels(self) -> list[str]:
        """Return the classes of the last ten thousand tracks."""
        query = "SELECT DISTINCT label FROM (SELECT label FROM tracks ORDER BY last_time_s DESC LIMIT 10000) ORDER BY 1"
        with self._open() as database:
            return [] if database is None else [label for (label,) in database.execute(query)]

    def series(self) -> list[dict[str, Any]]:
        """Return whose metrics there are: sonar, channel, layer, and what the newest bin says of it."""
        query = (
            "SELECT sonar, channel, layer, calibrated, start_s, end_s, top_m, bottom_m FROM series "
            "JOIN metrics_bins ON metrics_bins.series = series.id AND end_s = "
            "(SELECT MAX(end_s) FROM metrics_bins WHERE metrics_bins.series = series.id) ORDER BY sonar, channel, layer"
        )
        names = ("sonar", "channel", "layer", "calibrated", "start_s", "end_s", "top_m", "bottom_m")
        with self._open() as database:
            rows = [] if database is None else database.execute(query).fetchall()
        found = [dict(zip(names, row, strict=True)) for row in rows]
        return [entry | {"calibrated": bool(entry["calibrated"])} for entry in found]

    def metrics(
        self,
        series: tuple[str, str, int],
        columns: tuple[str, ...],
        from_s: float,
        to_s: float,
        *,
        points: int = 600,
        bucket_s: float | None = None,
    ) -> MetricsHistory:
        """Return the bins of (sonar, channel, layer) that ended from `from_s` on and before `to_s`.

        More than `points` bins are gathered in buckets of a length that people count in; `bucket_s` asks for one
        length instead (0: every bin). Columns are of METRICS.
        """
        assert set(columns) <= set(METRICS), columns
        in_db = np.array([name.endswith("_db") for name in columns], dtype=bool)
        with self._open() as database:
            number = database and self._series_number(database, series)
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
        per_minute = np.array([counts.get(bucket, 0) * 60.0 / tracks_bucket_s for bucket in buckets])
        return MetricsHistory(
            bucket_s=bucket_s,
            points=found,
            calibrated=None if newest is None else bool(newest[0]),
            layer_m=None if newest is None or None in newest[1:] else (newest[1], newest[2]),
            tracks_bucket_s=tracks_bucket_s,
            tracks_time_s=(buckets + 0.5) * tracks_bucket_s,
            tracks_per_minute=per_minute,
        )

    def newest_bin_s(self, series: tuple[str, str, int]) -> float | None:
        """Return the end of the newest bin on the sonar's clock; None: there is none."""
        with self._open() as database:
            number = database and self._series_number(database, series)
            if database is None or number is None:
                return None
            return database.execute("SELECT MAX(end_s) FROM metrics_bins WHERE series = ?", (number,)).fetchone()[0]

    def bins(
        self, series: tuple[str, str, int], columns: tuple[str, ...], from_s: float, to_s: float, limit: int
    ) -> list[tuple]:
        """Return (end_s, start_s, pings, calibrated, *columns) of the first `limit` bins that ended in that time."""
        assert set(columns) <= set(BINS), columns
        query = (
            f"SELECT end_s, start_s, pings, calibrated, {', '.join(columns)} FROM metrics_bins "
            "WHERE series = ? AND end_s >= ? AND end_s < ? ORDER BY end_s LIMIT ?"
        )
        with self._open() as database:
            number = database and self._series_number(database, series)
            if database is None or number is None:
                return []
            return database.execute(query, (number, from_s, to_s, limit)).fetchall()

    def events(
        self, *, limit: int = 100, before: int | None = None, kinds: tuple[str, ...] = (), part: str = ""
    ) -> list[dict[str, Any]]:
        """Return what happened, newest first; `before` is the id of the last event of the page before."""
        clauses: list[str] = []
        values: list[Any] = []
        if before is not None:
            clauses.append("id < ?")
            values.append(before)
        if kinds:
            clauses.append(f"kind IN ({', '.join('?' * len(kinds))})")
            values += kinds
        if part:
            clauses.append("part = ?")
            values.append(part)
        where = f" WHERE {' AND '.join(clauses)}" if clauses else ""
        with self._open() as database:
            if database is None:
                return []
            rows = database.execute(
                f"SELECT {', '.join(EVENTS)} FROM events{where} ORDER BY id DESC LIMIT ?", (*values, max(limit, 0))
            ).fetchall()
        return [dict(zip(EVENTS, row, strict=True)) for row in rows]

    @staticmethod
    def _series_number(database: sqlite3.Connection, series: tuple[str, str, int]) -> int | None:
        row = database.execute("SELECT id FROM series WHERE sonar = ? AND channel = ? AND layer = ?", series).fetchone()
        return row[0] if row else None


class _EveryBin:
    """Takes the place of Buckets where there are few bins."""

    def __init__(self, columns: int) -> None:
        self._parts = [(np.empty(0), np.empty(0), np.empty((0, columns)))]

    def add(self, end_s: np.ndarray, pings: np.ndarray, values: np.ndarray) -> None:
        self._parts.append((end_s, pings, values))

    def finish(self) -> Points:
        end_s, pings, values = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        return Points(end_s, pings, values, values, values)


def _hours(from_s: float, to_s: float) -> tuple[int, int]:
    return math.floor(from_s / tallies.HOUR_S), math.ceil(to_s / tallies.HOUR_S)


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


assert set(METRICS) <= set(BINS)
