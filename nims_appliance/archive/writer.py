"""The archive's writer: one task, batches, and a backlog for as long as the file cannot be written."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import trio

from ..bus import Bus, all_within
from ..data_folder import is_at
from ..health import Part
from ..pipeline.metrics import MetricsBin
from ..pipeline.results import PingResult, TrackSummary
from ..times import iso_time
from . import tallies
from .poses import PoseRow, PoseTrail, insert_poses
from .queries import ArchiveReader
from .retention import Forgotten, Oldest, forget_batch
from .rows import Event, bin_rows, event_row, track_row
from .schema import BINS, EVENTS, FILE_NAME, TRACKS, connect

log = logging.getLogger(__name__)

T = TypeVar("T")
BACKLOG = 10_000
"""Tracks kept in memory while the file cannot be written; beyond that the oldest are lost, and counted."""
BINS_BACKLOG = 3000
"""The same for bins of metrics with all their layers: four hours of one sonar."""
EVENTS_BACKLOG = 1000
POSES_BACKLOG = 50_000
RETRY_S = 5.0
GATHER_S = 0.2
"""What comes within so long is written together."""
FORGET_PAUSE_S = 0.2
"""Between two batches of old rows: months of them take an hour, and nothing waits for it."""

_INSERT_TRACK = f"INSERT OR REPLACE INTO tracks ({', '.join(TRACKS)}) VALUES ({', '.join('?' * len(TRACKS))})"
# A recording that is played again brings the same bins again.
_INSERT_BIN = f"INSERT OR REPLACE INTO metrics_bins ({', '.join(BINS)}) VALUES ({', '.join('?' * len(BINS))})"
_INSERT_EVENT = f"INSERT INTO events ({', '.join([*EVENTS][1:])}) VALUES ({', '.join('?' * (len(EVENTS) - 1))})"
_INSERT_SERIES = "INSERT OR IGNORE INTO series (sonar, channel, layer) VALUES (?, ?, ?)"


class _Backlog(Generic[T]):
    """What waits to be written, of one kind; the oldest goes when it is full."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[T] = deque()
        self._gone = 0
        """How many have left, written or lost."""
        self.written = 0
        self.lost = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, item: T) -> None:
        if len(self._waiting) >= self._limit:
            self._waiting.popleft()
            self._gone += 1
            self.lost += 1
        self._waiting.append(item)

    def batch(self) -> tuple[list[T], int]:
        """Return all that waits, and the number of the last of them, for `done`."""
        return list(self._waiting), self._gone + len(self._waiting)

    def done(self, last: int, written: int, refused: int) -> None:
        """Forget a batch. While it was written more may have come, and the oldest may have been dropped."""
        while self._gone < last:
            self._waiting.popleft()
            self._gone += 1
        self.written += written
        self.lost += refused


class Archive:
    """Writes what has been seen and what has happened; whatever happens to the file, the appliance goes on."""

    def __init__(self, data: Path, part: Part) -> None:
        self.path = data / FILE_NAME
        self.reader = ArchiveReader(self.path)
        self._part = part
        self._tracks: _Backlog[tuple[str, TrackSummary]] = _Backlog(BACKLOG)
        self._bins: _Backlog[MetricsBin] = _Backlog(BINS_BACKLOG)
        self._events: _Backlog[Event] = _Backlog(EVENTS_BACKLOG)
        self._poses: _Backlog[tuple[str, PoseRow]] = _Backlog(POSES_BACKLOG)
        self._wake = trio.Event()
        self._series: dict[tuple[str, str, int], int] = {}
        """Ids of the present file."""
        self._database: sqlite3.Connection | None = None
        self._opened = os.stat_result((0,) * 10)
        """Of the file to which the connection leads."""
        self._gone = ""
        """That this file is no longer where it was; told when the present one has been written."""
        self._one_at_a_time = trio.Lock()
        """Holds the connection: it is used by one worker thread at a time."""
        part.statistics = self.statistics

    @property
    def written(self) -> int:
        """Tracks that have been written."""
        return self._tracks.written

    def event(self, part: str, kind: str, text: str, *, author: str = "", ping_time_s: float = float("nan")) -> None:
        """Keep that something happened now; see `Event`. From the trio thread; never waits."""
        self._put(self._events, Event(time.time(), part, kind, text, author, ping_time_s))

    async def forget(self, oldest: Oldest) -> Forgotten:
        """Remove what is older, in small batches between which what comes is written; return what was removed.

        A file that cannot be written, or that there is none of, keeps what it has.
        """
        removed = Forgotten()
        while self._part.state == "running":
            async with self._one_at_a_time:
                if self._part.state != "running":
                    break  # it was closed meanwhile, and is not to be opened again
                done, error = await trio.to_thread.run_sync(self._try_to_forget, oldest)
            removed.tracks += done.tracks
            removed.bins += done.bins
            removed.events += done.events
            removed.poses += done.poses
            if error:
                log.error("archive: %s", error)
            if not done.total:
                break
            await trio.sleep(FORGET_PAUSE_S)
        return removed

    def _try_to_forget(self, oldest: Oldest) -> tuple[Forgotten, str]:
        """Remove a batch in a worker thread; return what was removed, and what went wrong ("" for nothing)."""
        try:
            database = self._open()
            with database:
                database.execute("BEGIN IMMEDIATE")
                return forget_batch(database, oldest), ""
        except (sqlite3.Error, OSError) as error:
            self._close()
            return Forgotten(), f"cannot remove what is old from {self.path}: {error}"

    async def run(
        self,
        results: Bus[PingResult],
        metrics: Bus[MetricsBin],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Write what comes, until both buses are closed and everything is written; then close the file.

        When the file cannot be written everything waits, up to a limit, and it is tried again.
        """
        ended = trio.Event()

        async def gather_all(*, task_status: trio.TaskStatus[None]) -> None:
            async with trio.open_nursery() as gathering:
                await gathering.start(self._gather_tracks, results)
                await gathering.start(self._gather_bins, metrics)
                task_status.started()
            ended.set()
            self._wake.set()

        async with trio.open_nursery() as nursery:
            await nursery.start(gather_all)
            task_status.started()
            try:
                await self._write()  # creates the file, or shows at once that it cannot be
                while not ended.is_set() or self._anything_waits():
                    await self._wake.wait()
                    with trio.move_on_after(GATHER_S):
                        await ended.wait()
                    self._wake, last_try = trio.Event(), ended.is_set()
                    if not await self._write():
                        if last_try:
                            break
                        with trio.move_on_after(RETRY_S):
                            await ended.wait()
                    if ended.is_set() or self._anything_waits():
                        self._wake.set()
            finally:
                with trio.CancelScope(shield=True):
                    async with self._one_at_a_time:
                        self._part.set("stopped")
                        await trio.to_thread.run_sync(self._close)
            if self._anything_waits():
                log.error("archive: %s could not be written: %s", self._what_waits(), self._part.last_error)
            self._part.set("stopped", f"{self.written} tracks written")

    async def _gather_tracks(self, results: Bus[PingResult], *, task_status: trio.TaskStatus[None]) -> None:
        trails: dict[str, PoseTrail] = {}
        with results.subscribe("archive", all_within(1000)) as pings:
            task_status.started()
            async for result in pings:
                trail = trails.setdefault(result.sonar_id, PoseTrail())
                poses = [] if result.final else trail.add(result.time_s, result.pose)
                for pose in [*poses, *(trail.flush() if result.ended else [])]:
                    self._put(self._poses, (result.sonar_id, pose))
                for track in result.ended:
                    self._put(self._tracks, (result.sonar_id, track))

    async def _gather_bins(self, metrics: Bus[MetricsBin], *, task_status: trio.TaskStatus[None]) -> None:
        with metrics.subscribe("archive", all_within(1000)) as bins:
            task_status.started()
            async for done in bins:
                self._put(self._bins, done)

    def _put(self, backlog: _Backlog[T], item: T) -> None:
        backlog.put(item)
        self._wake.set()

    def _anything_waits(self) -> bool:
        return bool(self._tracks or self._bins or self._events or self._poses)

    def _what_waits(self) -> str:
        return f"{len(self._tracks)} tracks, {len(self._bins)} bins of metrics and {len(self._events)} events"

    async def _write(self) -> bool:
        batches = [(backlog, *backlog.batch()) for backlog in (self._tracks, self._bins, self._events, self._poses)]
        async with self._one_at_a_time:
            error, refused = await trio.to_thread.run_sync(self._try_to_write, [items for _, items, _ in batches])
        if error:
            if error != self._part.last_error:
                log.error("archive: %s", error)
            self._part.last_error = error
            lost = sum(backlog.lost for backlog, _, _ in batches)
            self._part.set("failed", f"{error}; {self._what_waits()} wait, {lost} lost")
            return False
        for (backlog, items, last), bad in zip(batches, refused, strict=True):
            backlog.done(last, len(items) - bad, bad)
        if self._part.state == "failed":
            log.info("archive: %s can be written again", self.path)
        if self._gone:
            log.error("archive: %s", self._gone)
            self.event("archive", "replaced", self._gone)
            self._part.warning, self._gone = self._gone, ""
        self._part.set("running", str(self.path))
        return True

    def _try_to_write(self, batches: Sequence[list]) -> tuple[str, list[int]]:
        """Write in a worker thread; return what went wrong ("" for nothing), and how many rows were no rows."""
        tracks, bins, events, poses = batches
        try:
            database = self._open()
            with database:
                database.execute("BEGIN IMMEDIATE")
                ids = [track.id for _, track in tracks]
                tallies.uncount_tracks(database, ids)  # a recording that is played again replaces its tracks
                refused = [
                    _insert(database, _INSERT_TRACK, [track_row(*item) for item in tracks]),
                    self._insert_bins(database, bins),
                    _insert(database, _INSERT_EVENT, [event_row(item) for item in events]),
                    0,
                ]
                insert_poses(database, poses)
                tallies.count_tracks(database, ids)
        except (sqlite3.Error, OSError) as error:
            self._close()
            return f"cannot write {self.path}: {error}", []
        return "", refused

    def _insert_bins(self, database: sqlite3.Connection, bins: list[MetricsBin]) -> int:
        rows = [item for column in bins for item in bin_rows(column)]
        fresh = {key for key, _ in rows if key not in self._series}
        if fresh:
            database.executemany(_INSERT_SERIES, sorted(fresh))
            found = database.execute("SELECT sonar, channel, layer, id FROM series")
            self._series = {(sonar, channel, layer): number for sonar, channel, layer, number in found}
        bad = _insert(database, _INSERT_BIN, [(self._series[key], *values) for key, values in rows])
        return min(bad, len(bins))

    def _open(self) -> sqlite3.Connection:
        if self._database is not None:
            if is_at(self.path, self._opened):
                return self._database
            # SQLite would go on writing what nobody finds.
            self._gone = (
                f"{self.path} was moved or deleted, or its disk was changed, at {iso_time(time.time())}: "
                "what is there now is used; earlier tracks are where the file was taken to"
            )
        self._close()
        try:
            self._database = connect(self.path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # locked, read-only, full: the file itself may be good
            aside = self.path.with_name(f"{FILE_NAME}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
            log.error("archive: %s is damaged (%s): moved to %s, starting a new one", self.path, error, aside.name)
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{self.path}{suffix}").rename(f"{aside}{suffix}")
            self._database = connect(self.path)
        self._opened = self.path.stat()
        return self._database

    def _close(self) -> None:
        self._series.clear()
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def statistics(self) -> dict[str, Any]:
        """Return counters since the start, as JSON-able values."""
        kinds: dict[str, _Backlog] = {"tracks": self._tracks, "bins": self._bins, "events": self._events}
        written = {f"written_{name}": backlog.written for name, backlog in kinds.items()}
        waiting = {f"waiting_{name}": len(backlog) for name, backlog in kinds.items()}
        return written | waiting | {f"lost_{name}": backlog.lost for name, backlog in kinds.items()}


_NO_ROW = (OverflowError, ValueError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError)
"""What SQLite and Python say of values that no row can hold."""


def _insert(database: sqlite3.Connection, statement: str, rows: list[tuple]) -> int:
    """Insert rows; return how many cannot be (a number beyond 64 bits), which must not keep the others out."""
    database.execute("SAVEPOINT rows")
    try:
        database.executemany(statement, rows)
        return 0
    except _NO_ROW:
        database.execute("ROLLBACK TO rows")
    finally:
        if database.in_transaction:
            database.execute("RELEASE rows")
    bad = 0
    for row in rows:
        try:
            database.execute(statement, row)
        except _NO_ROW as error:
            bad += 1
            log.error("archive: a row was left out: %s: %s", error, row[:8])
    return bad
