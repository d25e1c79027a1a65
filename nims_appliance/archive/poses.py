"""Poses: where each sonar was and where its axis pointed, kept so that straight lines between them tell any moment.

A pose is kept when the line from the last one that was kept would be off by more than the tolerances; what lies still
is kept every ten minutes. Times are on the sonar's clock, as those of tracks are.
"""

from __future__ import annotations

import bisect
import math
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..frame import Pose

if TYPE_CHECKING:
    from .queries import ArchiveReader

POSITION_TOLERANCE_M = 0.2
HEADING_TOLERANCE_DEG = 0.2
KEPT_EVERY_S = 600.0
HELD_S = 2 * KEPT_EVERY_S
"""A kept pose says nothing of moments farther from it: the appliance did not run, or knew no pose."""
WINDOW_S = 3600.0
DEGREE_M = 111_320.0

_INSERT = (
    "INSERT OR REPLACE INTO poses (sonar, time_s, latitude_deg, longitude_deg, heading_deg, tilt_deg) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)
_SONARS = (
    "WITH RECURSIVE names (name) AS (SELECT MIN(sonar) FROM poses UNION ALL "
    "SELECT (SELECT MIN(sonar) FROM poses WHERE sonar > name) FROM names WHERE name IS NOT NULL) "
    "SELECT name FROM names WHERE name IS NOT NULL"
)


@dataclass(frozen=True, slots=True)
class PoseRow:
    """A pose as the archive has it; None where it is not known."""

    time_s: float
    latitude_deg: float | None
    longitude_deg: float | None
    heading_deg: float | None
    tilt_deg: float = 0.0


def pose_row(time_s: float, pose: Pose | None) -> PoseRow:
    """Return what of a pose is kept."""
    known = pose or Pose()
    has_position = math.isfinite(known.latitude_deg) and math.isfinite(known.longitude_deg)
    return PoseRow(
        time_s,
        known.latitude_deg if has_position else None,
        known.longitude_deg if has_position else None,
        math.degrees(known.heading_rad) % 360.0 if math.isfinite(known.heading_rad) else None,
        math.degrees(known.tilt_rad),
    )


class PoseTrail:
    """Chooses, ping by ping, which poses of one sonar are to be kept."""

    def __init__(self) -> None:
        self._kept: PoseRow | None = None
        self._last: PoseRow | None = None
        """Newest pose, when it is not kept itself."""
        self._slopes: list[tuple[float, float]] = []
        """Of each value: the slopes of the lines from the kept pose that pass all poses since near enough."""

    def add(self, time_s: float, pose: Pose | None) -> list[PoseRow]:
        """Take the pose of the next ping; return what is to be kept now."""
        row = pose_row(time_s, pose)
        if not math.isfinite(time_s):
            return []
        before = self._last or self._kept
        if self._kept is None or before is None:
            return [] if _is_unknown(row) else [self._keep(row)]
        if row.time_s == before.time_s:
            return []  # another channel of the same ping
        away = not 0 < row.time_s - before.time_s <= KEPT_EVERY_S
        if away or _known(row) != _known(self._kept) or row.tilt_deg != self._kept.tilt_deg:
            return [*self.flush(), self._keep(row)]
        if _is_unknown(row):
            return []
        kept = []
        if row.time_s - self._kept.time_s > KEPT_EVERY_S or not self._is_on_the_way(row):
            kept = [self._keep(before)] if before is not self._kept else []
        self._narrow(row)
        self._last = row
        return kept

    def flush(self) -> list[PoseRow]:
        """Return the newest pose, if what is kept does not tell it: moments up to now are asked for."""
        last, kept = self._last, self._kept
        if last is None or kept is None or _is_unknown(last):
            return []
        moved = _differences(kept, last)
        if all(abs(value) <= tolerance for value, tolerance in moved) and last.time_s - kept.time_s < KEPT_EVERY_S:
            return []
        return [self._keep(last)]

    def _keep(self, row: PoseRow) -> PoseRow:
        self._kept, self._last, self._slopes = row, None, []
        return row

    def _is_on_the_way(self, row: PoseRow) -> bool:
        assert self._kept is not None
        elapsed_s = row.time_s - self._kept.time_s
        values = _differences(self._kept, row)
        return all(
            least <= value / elapsed_s <= most
            for (value, _), (least, most) in zip(values, self._slopes or [(-math.inf, math.inf)] * 3, strict=True)
        )

    def _narrow(self, row: PoseRow) -> None:
        assert self._kept is not None
        elapsed_s = row.time_s - self._kept.time_s
        slopes = self._slopes or [(-math.inf, math.inf)] * 3
        self._slopes = [
            (max(least, (value - tolerance) / elapsed_s), min(most, (value + tolerance) / elapsed_s))
            for (value, tolerance), (least, most) in zip(_differences(self._kept, row), slopes, strict=True)
        ]


def _known(row: PoseRow) -> tuple[bool, bool]:
    return row.latitude_deg is not None, row.heading_deg is not None


def _is_unknown(row: PoseRow) -> bool:
    return not any(_known(row))


def _differences(before: PoseRow, row: PoseRow) -> list[tuple[float, float]]:
    """Return (difference, tolerance) to north and east in metres and of the heading in degrees; 0 where not known."""
    north_m = east_m = turned_deg = 0.0
    if before.latitude_deg is not None and row.latitude_deg is not None:
        assert before.longitude_deg is not None
        assert row.longitude_deg is not None
        north_m = (row.latitude_deg - before.latitude_deg) * DEGREE_M
        east_m = _turn_deg(before.longitude_deg, row.longitude_deg) * DEGREE_M
        east_m *= math.cos(math.radians(before.latitude_deg))
    if before.heading_deg is not None and row.heading_deg is not None:
        turned_deg = _turn_deg(before.heading_deg, row.heading_deg)
    return [(north_m, POSITION_TOLERANCE_M), (east_m, POSITION_TOLERANCE_M), (turned_deg, HEADING_TOLERANCE_DEG)]


def _turn_deg(before_deg: float, after_deg: float) -> float:
    return (after_deg - before_deg + 180.0) % 360.0 - 180.0


def insert_poses(database: sqlite3.Connection, rows: list[tuple[str, PoseRow]]) -> None:
    """Write poses of sonars, inside the caller's transaction."""
    database.executemany(
        _INSERT,
        [
            (sonar, row.time_s, row.latitude_deg, row.longitude_deg, row.heading_deg, row.tilt_deg)
            for sonar, row in rows
        ],
    )


def forget_poses(database: sqlite3.Connection, oldest_s: float, batch: int) -> int:
    """Remove up to `batch` poses of each sonar that no moment from `oldest_s` on needs; return how many."""
    query = (
        "DELETE FROM poses WHERE sonar = ? AND time_s IN "
        "(SELECT time_s FROM poses WHERE sonar = ? AND time_s < ? ORDER BY time_s LIMIT ?)"
    )
    names = [name for (name,) in database.execute(_SONARS)]
    return sum(database.execute(query, (name, name, oldest_s - HELD_S, batch)).rowcount for name in names)


class PoseLookup:
    """Tells where sonars were at moments that come in any order, fastest when near each other. For one thread."""

    def __init__(self, reader: ArchiveReader) -> None:
        self._reader = reader
        self._windows: dict[str, tuple[float, float, list[PoseRow], list[float]]] = {}

    def __call__(self, sonar: str, time_s: float) -> Pose | None:
        """Return the pose at a time of the sonar's clock, None where none is known.

        Raises:
          ArchiveError: the archive cannot be read.
        """
        from_s, to_s, rows, times_s = self._windows.get(sonar, (math.inf, -math.inf, [], []))
        if not from_s <= time_s <= to_s:
            from_s, to_s = time_s - WINDOW_S / 4, time_s + WINDOW_S
            rows = self._reader.poses(sonar, from_s - HELD_S, to_s + HELD_S)
            times_s = [row.time_s for row in rows]
            self._windows[sonar] = from_s, to_s, rows, times_s
        return _pose_after(rows, bisect.bisect_right(times_s, time_s), time_s)


def pose_at(rows: list[PoseRow], time_s: float) -> Pose | None:
    """Return the pose at a time between kept ones, ordered by time; None where none is known."""
    return _pose_after(rows, bisect.bisect_right(rows, time_s, key=lambda row: row.time_s), time_s)


def _pose_after(rows: list[PoseRow], number: int, time_s: float) -> Pose | None:
    """Return the pose at a time; `number`: of the first row after it."""
    before = rows[number - 1] if number else None
    if before is None or time_s - before.time_s > HELD_S or _is_unknown(before):
        return None
    after = rows[number] if number < len(rows) else before
    if after.time_s - before.time_s > HELD_S or _known(after) != _known(before):
        after = before  # it was held until more, or less, was known
    span_s = after.time_s - before.time_s
    share = (time_s - before.time_s) / span_s if span_s > 0 else 0.0
    values = {"tilt_rad": math.radians(before.tilt_deg)}
    if before.latitude_deg is not None and after.latitude_deg is not None:
        assert before.longitude_deg is not None
        assert after.longitude_deg is not None
        values["latitude_deg"] = before.latitude_deg + share * (after.latitude_deg - before.latitude_deg)
        longitude_deg = before.longitude_deg + share * _turn_deg(before.longitude_deg, after.longitude_deg)
        values["longitude_deg"] = (longitude_deg + 180.0) % 360.0 - 180.0
    if before.heading_deg is not None and after.heading_deg is not None:
        turned_deg = share * _turn_deg(before.heading_deg, after.heading_deg)
        values["heading_rad"] = math.radians((before.heading_deg + turned_deg) % 360.0)
    return Pose(**values)
