"""Questions to the archive, each answered from a connection of its own beside the writer's.

All of `ArchiveReader` but `run` blocks: it is called in a thread, by `run`.
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import trio

from ..errors import NimsError
from . import metrics_history, tallies, track_pages
from .metrics_history import MetricsHistory, Series
from .poses import PoseRow
from .rows import track_values, unpack_positions
from .schema import BINS, EVENTS, open_read_only
from .track_pages import DESCRIPTION, EVERY_TRACK, SORTED_BY, Mark, TrackFilter

T = TypeVar("T")
QUERY_S = 20.0
"""A question that takes longer is given up."""
READERS = 2
"""Questions answered at a time: readers of a year must not take the processor from the pings."""

_HAS_POSES = "SELECT 1 FROM sqlite_master WHERE name = 'poses'"
"""An older version may have written the file, and nobody has opened it for writing since."""


class ArchiveError(NimsError):
    """The archive cannot be read now."""


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
        wanted: TrackFilter = EVERY_TRACK,
        *,
        sort: str = "last_time_s",
        descending: bool = True,
        limit: int = 100,
        after: Mark | None = None,
        positions: bool = False,
    ) -> tuple[list[dict[str, Any]], Mark | None]:
        """Return a page of tracks, and the mark after which the next page begins.

        Tracks have their `positions`, as those of `track` have, only where they are asked for.
        Tracks without a value of the column come last. Marks are of the column's value and the id, so that a page
        is where it was when tracks have been added since; the mark is None after the last page.

        Raises:
          ValueError: they cannot be sorted by that column.
        """
        if sort not in SORTED_BY:
            raise ValueError(f"expected one of {', '.join(SORTED_BY)}, got {sort!r}")
        with self._open() as database:
            if database is None:
                return [], None
            return track_pages.page(
                database, wanted, sort=sort, descending=descending, limit=limit, after=after, positions=positions
            )

    def track(self, number: int) -> dict[str, Any] | None:
        """Return one track with its `positions`, (time_s, x_m, y_m, z_m) each; None: there is none of that id."""
        with self._open() as database:
            row = (
                database
                and database.execute(
                    f"SELECT positions, {', '.join(DESCRIPTION)} FROM tracks WHERE id = ?", (number,)
                ).fetchone()
            )
        if not row:
            return None
        described = track_values(dict(zip(DESCRIPTION, row[1:], strict=True)))
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
                hours = math.floor(from_s / tallies.HOUR_S), math.ceil(to_s / tallies.HOUR_S)
                return tallies.hour_counts(database, sonar, hours, int(bucket_s // tallies.HOUR_S))
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
        with self._open() as database:
            return [] if database is None else metrics_history.all_series(database)

    def metrics(
        self,
        series: Series,
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
        with self._open() as database:
            return metrics_history.history(database, series, columns, from_s, to_s, points=points, bucket_s=bucket_s)

    def newest_bin_s(self, series: Series) -> float | None:
        """Return the end of the newest bin on the sonar's clock; None: there is none."""
        with self._open() as database:
            number = database and metrics_history.series_number(database, series)
            if database is None or number is None:
                return None
            return database.execute("SELECT MAX(end_s) FROM metrics_bins WHERE series = ?", (number,)).fetchone()[0]

    def bins(self, series: Series, columns: tuple[str, ...], from_s: float, to_s: float, limit: int) -> list[tuple]:
        """Return (end_s, start_s, pings, calibrated, *columns) of the first `limit` bins that ended in that time."""
        assert set(columns) <= set(BINS), columns
        query = (
            f"SELECT end_s, start_s, pings, calibrated, {', '.join(columns)} FROM metrics_bins "
            "WHERE series = ? AND end_s >= ? AND end_s < ? ORDER BY end_s LIMIT ?"
        )
        with self._open() as database:
            number = database and metrics_history.series_number(database, series)
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
