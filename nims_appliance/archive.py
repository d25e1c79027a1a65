"""Archive: tracks that have ended, a row each, in SQLite."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import struct
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgspec
import trio

from .bus import Bus, all_within
from .health import Part
from .outputs.track_summary import describe_summary
from .pipeline.results import PingResult, TrackSummary

log = logging.getLogger(__name__)

FILE_NAME = "nims.sqlite3"
SCHEMA_VERSION = 2
BACKLOG = 10_000
"""Tracks kept in memory while the file cannot be written; beyond that the oldest are lost, and counted."""
BUSY_TIMEOUT_S = 1.0
RETRY_S = 5.0
GATHER_S = 0.2
"""Tracks that end within so long are written together."""

_COLUMNS = {
    "id": "INTEGER PRIMARY KEY",
    "sonar": "TEXT NOT NULL",
    "channel": "TEXT NOT NULL",
    "first_time": "TEXT",
    "last_time": "TEXT",
    "first_time_s": "REAL NOT NULL",
    "last_time_s": "REAL NOT NULL",
    "hits": "INTEGER NOT NULL",
    "pings": "INTEGER NOT NULL",
    "mean_speed_m_s": "REAL",
    "peak_speed_m_s": "REAL",
    "path_m": "REAL",
    "net_m": "REAL",
    "straightness": "REAL",
    "heading_deg": "REAL",
    "min_range_m": "REAL",
    "max_range_m": "REAL",
    "min_bearing_deg": "REAL",
    "max_bearing_deg": "REAL",
    "min_elevation_deg": "REAL",
    "max_elevation_deg": "REAL",
    "mean_length_m": "REAL",
    "mean_width_m": "REAL",
    "mean_area_m2": "REAL",
    "strength_db": "REAL",
    "calibrated": "INTEGER NOT NULL",
    "quality": "REAL",
    "label": "TEXT NOT NULL",
    "probability": "REAL",
    "positions": "BLOB NOT NULL",
    # since schema 2
    "duration_s": "REAL",
    "mean_speed_through_water_m_s": "REAL",
    "drifting": "INTEGER",
    "net_sd_m": "REAL",
    "farthest_m": "REAL",
    "min_z_m": "REAL",
    "max_z_m": "REAL",
    "zones": "TEXT NOT NULL DEFAULT '[]'",
}
"""A column that was added later must have a default or be NULL in the rows of older versions."""
_CREATE = (
    f"CREATE TABLE IF NOT EXISTS tracks ({', '.join(f'{name} {kind}' for name, kind in _COLUMNS.items())})",
    "CREATE INDEX IF NOT EXISTS tracks_by_time ON tracks (last_time_s)",
)
_INSERT = f"INSERT OR REPLACE INTO tracks ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
_POSITION = struct.Struct("<dfff")
"""One position: time_s as float64, x_m, y_m, z_m as float32, little-endian."""


class Archive:
    """Writes ended tracks to `nims.sqlite3`; whatever happens to the file, the appliance goes on."""

    def __init__(self, data: Path, part: Part) -> None:
        self.path = data / FILE_NAME
        self.written = 0
        self.lost = 0
        """Tracks that could not be written and no longer be kept."""
        self._part = part
        self._waiting: deque[tuple[str, TrackSummary]] = deque()
        self._database: sqlite3.Connection | None = None
        part.statistics = self.statistics

    async def run(
        self, results: Bus[PingResult], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Write the tracks that end, until the bus is closed and everything is written; then close the file.

        When the file cannot be written the tracks wait, up to a limit, and it is tried again.
        """
        gathered = trio.Event()
        ended = trio.Event()

        async def gather() -> None:
            with results.subscribe("archive", all_within(1000)) as pings:
                task_status.started()
                async for result in pings:
                    for track in result.ended:
                        self._keep(result.sonar_id, track)
                        gathered.set()
            ended.set()
            gathered.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(gather)
            try:
                await self._write()  # creates the file, or shows at once that it cannot be
                while self._waiting or not ended.is_set():
                    await gathered.wait()
                    with trio.move_on_after(GATHER_S):
                        await ended.wait()
                    gathered, last_try = trio.Event(), ended.is_set()
                    if not await self._write():
                        if last_try:
                            break
                        with trio.move_on_after(RETRY_S):
                            await ended.wait()
                        gathered.set()
                    elif ended.is_set():
                        gathered.set()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self._close)
            if self._waiting:
                log.error("archive: %d tracks could not be written: %s", len(self._waiting), self._part.last_error)
            self._part.set("stopped", f"{self.written} tracks written")

    def _keep(self, sonar: str, track: TrackSummary) -> None:
        if len(self._waiting) >= BACKLOG:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append((sonar, track))

    async def _write(self) -> bool:
        batch = list(self._waiting)
        error = await trio.to_thread.run_sync(self._try_to_write, [_row(*item) for item in batch])
        if error:
            if error != self._part.last_error:
                log.error("archive: %s", error)
            self._part.last_error = error
            self._part.set("failed", f"{error}; {len(self._waiting)} tracks wait, {self.lost} lost")
            return False
        # While the thread wrote, new tracks may have come and the oldest may have been dropped.
        done = {id(item) for item in batch}
        while self._waiting and id(self._waiting[0]) in done:
            self._waiting.popleft()
        self.written += len(batch)
        if self._part.state == "failed":
            log.info("archive: %s can be written again", self.path)
        self._part.set("running", str(self.path))
        return True

    def _try_to_write(self, rows: list[tuple]) -> str:
        """Write in a worker thread; return what went wrong, "" for nothing."""
        try:
            database = self._open()
            with database:
                database.executemany(_INSERT, rows)
        except (sqlite3.Error, OSError) as error:
            self._close()
            return f"cannot write {self.path}: {error}"
        return ""

    def _open(self) -> sqlite3.Connection:
        if self._database is not None and self.path.exists():
            return self._database
        self._close()
        try:
            self._database = _connect(self.path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # locked, read-only, full: the file itself may be good
            aside = self.path.with_name(f"{FILE_NAME}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
            log.error("archive: %s is damaged (%s): moved to %s, starting a new one", self.path, error, aside.name)
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{self.path}{suffix}").rename(f"{aside}{suffix}")
            self._database = _connect(self.path)
        return self._database

    def _close(self) -> None:
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def recent_tracks(self, limit: int = 100) -> list[dict[str, Any]]:
        """Return the tracks that ended last, newest first, without their positions. Blocks: call it in a thread.

        Returns: JSON-able values by column name; an empty list while there is no file.
        """
        names = [name for name in _COLUMNS if name != "positions"]
        try:
            uri = f"{self.path.absolute().as_uri()}?mode=ro"
            with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S)) as database:
                rows = database.execute(
                    f"SELECT {', '.join(names)} FROM tracks ORDER BY last_time_s DESC LIMIT ?", (max(limit, 0),)
                ).fetchall()
        except sqlite3.Error as error:
            log.warning("archive: cannot read %s: %s", self.path, error)
            return []
        return [_values(dict(zip(names, row, strict=True))) for row in rows]

    def statistics(self) -> dict[str, Any]:
        """Return counters since the start, as JSON-able values."""
        return {"written_tracks": self.written, "waiting_tracks": len(self._waiting), "lost_tracks": self.lost}


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Used by one worker thread at a time, not always the same.
    database = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        # A power cut may cost the last tracks, never the file.
        database.execute("PRAGMA synchronous = NORMAL")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise sqlite3.OperationalError(
                f"a newer version of the appliance wrote it (schema {version}, this one knows {SCHEMA_VERSION})"
            )
        with database:
            database.execute("BEGIN IMMEDIATE")  # Python begins no transaction of its own for these
            for statement in _CREATE:
                database.execute(statement)
            present = {name for _, name, *_ in database.execute("PRAGMA table_info(tracks)")}
            for name in _COLUMNS.keys() - present:
                database.execute(f"ALTER TABLE tracks ADD COLUMN {name} {_COLUMNS[name]}")
            if version == 1:
                database.execute("UPDATE tracks SET duration_s = last_time_s - first_time_s")
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    except BaseException:
        database.close()
        raise
    return database


def _row(sonar: str, track: TrackSummary) -> tuple:
    values = describe_summary(sonar, track)
    values["zones"] = msgspec.json.encode(values["zones"]).decode()
    values["positions"] = pack_positions(track.positions)
    return tuple(values[name] for name in _COLUMNS)


def _values(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as `describe_summary` gave it."""
    drifting = row["drifting"]
    return row | {
        "calibrated": bool(row["calibrated"]),
        "drifting": None if drifting is None else bool(drifting),
        "zones": msgspec.json.decode(row["zones"]),
    }


def pack_positions(positions: tuple[tuple[float, float, float, float], ...]) -> bytes:
    """Return positions as the column `positions` holds them: 20 bytes each, `_POSITION`."""
    return b"".join(_POSITION.pack(*position) for position in positions)


def unpack_positions(packed: bytes) -> list[tuple[float, float, float, float]]:
    """Return (time_s, x_m, y_m, z_m) of each position."""
    return list(_POSITION.iter_unpack(packed))
