"""Tallies: how many tracks ended in each hour, and through which parts of the view they went.

They are kept as tracks are written, so that a year is counted as fast as a day. Parts of the view are cells of a polar
grid that is the same for every sonar: `CELL_RAD` wide, and so much farther from ring to ring, by factor, that every
cell is as long as it is wide. A track counts once in each cell that it was seen in.
"""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec
import numpy as np

SECTORS = 90
CELL_RAD = math.tau / SECTORS
"""Width of a cell; the factor between the far and the near edge of a ring is exp(CELL_RAD)."""
RINGS = 150
NEAREST_M = 0.5
"""Near edge of ring 1 and far edge of ring 0; the last ring ends at 17 km."""
HOUR_S, DAY_S = 3600.0, 86400.0
MOST_LOOKED_AT = 10_000
"""Tracks of days that are asked for in part, whose positions are looked at; of more the whole days are counted."""
_CHUNK = 500

_POSITION = np.dtype([("time_s", "<f8"), ("x_m", "<f4"), ("y_m", "<f4"), ("z_m", "<f4")])
_CELL = np.dtype([("cell", "<u2"), ("tracks", "<u4")])
"""The column `cells` of a day: cells in which there was a track, ascending."""
_ROWS = "SELECT id, sonar, label, last_time_s, zones, positions FROM tracks"
_Row = tuple[int, str, str, float, str, bytes]


def ring_edges_m() -> np.ndarray:
    """Return where the rings begin and end, float64, shape (RINGS + 1,)."""
    edges = NEAREST_M * np.exp(CELL_RAD * np.arange(RINGS + 1.0))
    return np.concatenate(([0.0], edges[:-1]))


def cells_of(tracks: Sequence[bytes]) -> np.ndarray:
    """Return the cells of the packed positions of tracks, ring * SECTORS + sector, each once a track, int64.

    Sector 0 begins at a bearing of -180 degrees.
    """
    positions = np.frombuffer(b"".join(tracks) or bytes(_POSITION.itemsize), _POSITION)
    x_m, y_m, z_m = (positions[name].astype(np.float64) for name in ("x_m", "y_m", "z_m"))
    number = np.repeat(np.arange(len(tracks)), [len(packed) // _POSITION.itemsize for packed in tracks])
    range_m = np.sqrt(x_m**2 + y_m**2 + z_m**2)[: len(number)]
    bearing = np.arctan2(x_m, y_m)[: len(number)]
    known = np.isfinite(range_m)
    ring = np.floor(np.log(np.maximum(range_m[known] / NEAREST_M, 1e-9)) / CELL_RAD) + 1
    sector = np.floor((bearing[known] + math.pi) / CELL_RAD) % SECTORS
    cells = (np.clip(ring, 0, RINGS - 1) * SECTORS + sector).astype(np.int64)
    return np.unique(number[known] * (RINGS * SECTORS) + cells) % (RINGS * SECTORS)


def count_tracks(database: sqlite3.Connection, ids: Iterable[int]) -> None:
    """Count tracks of the archive that are not counted yet."""
    _weigh(database, _rows(database, ids), +1)


def uncount_tracks(database: sqlite3.Connection, ids: Iterable[int]) -> None:
    """Take tracks out of the tallies that are about to be replaced or removed; unknown ones are passed over."""
    _weigh(database, _rows(database, ids), -1)


def count_all(database: sqlite3.Connection) -> None:
    """Make the tallies anew from all tracks, as they are needed after an older version wrote the file."""
    for table in ("track_hours", "track_days", "track_zones", "track_groups"):
        database.execute(f"DELETE FROM {table}")
    cursor = database.execute(_ROWS)
    while rows := cursor.fetchmany(10 * _CHUNK):
        _weigh(database, rows, +1)


def _rows(database: sqlite3.Connection, ids: Iterable[int]) -> Iterator[_Row]:
    wanted = [number for number in dict.fromkeys(ids) if -(2**63) <= number < 2**63]
    for first in range(0, len(wanted), _CHUNK):
        some = wanted[first : first + _CHUNK]
        yield from database.execute(f"{_ROWS} WHERE id IN ({', '.join('?' * len(some))})", some).fetchall()


def _weigh(database: sqlite3.Connection, rows: Iterable[_Row], sign: int) -> None:
    hours: Counter[tuple[int, int]] = Counter()
    days: dict[tuple[int, int], list[bytes]] = {}
    zones: list[tuple[str, float, int]] = []
    groups: dict[tuple[str, str], int] = {}
    for number, sonar, label, last_time_s, described_zones, positions in rows:
        if not math.isfinite(last_time_s):
            continue
        if (sonar, label) not in groups:
            groups[sonar, label] = _group(database, sonar, label)
        group = groups[sonar, label]
        hours[math.floor(last_time_s / HOUR_S), group] += sign
        days.setdefault((math.floor(last_time_s / DAY_S), group), []).append(positions)
        entered = [zone["name"] for zone in msgspec.json.decode(described_zones) if zone["closest_m"] == 0]
        zones += [(name, last_time_s, number) for name in entered]
    for (hour, group), count in hours.items():
        database.execute(
            "INSERT INTO track_hours (hour, track_group, tracks) VALUES (?, ?, ?) "
            "ON CONFLICT (hour, track_group) DO UPDATE SET tracks = tracks + excluded.tracks",
            (hour, group, count),
        )
        database.execute("DELETE FROM track_hours WHERE hour = ? AND track_group = ? AND tracks <= 0", (hour, group))
    for (day, group), tracks in days.items():
        _weigh_cells(database, day, group, cells_of(tracks), sign)
    if sign > 0:
        database.executemany("INSERT OR IGNORE INTO track_zones (zone, last_time_s, track) VALUES (?, ?, ?)", zones)
    else:
        database.executemany("DELETE FROM track_zones WHERE zone = ? AND last_time_s = ? AND track = ?", zones)


def _weigh_cells(database: sqlite3.Connection, day: int, group: int, cells: np.ndarray, sign: int) -> None:
    key = (day, group)
    row = database.execute("SELECT cells FROM track_days WHERE day = ? AND track_group = ?", key).fetchone()
    total = sign * np.bincount(cells, minlength=RINGS * SECTORS)
    if row is not None:
        before = np.frombuffer(row[0], _CELL)
        total[before["cell"]] += before["tracks"]
    filled = np.flatnonzero(total > 0)
    after = np.empty(len(filled), _CELL)
    after["cell"], after["tracks"] = filled, total[filled]
    if len(filled):
        database.execute("INSERT OR REPLACE INTO track_days VALUES (?, ?, ?)", (*key, after.tobytes()))
    else:
        database.execute("DELETE FROM track_days WHERE day = ? AND track_group = ?", key)


def _group(database: sqlite3.Connection, sonar: str, label: str) -> int:
    database.execute("INSERT OR IGNORE INTO track_groups (sonar, label) VALUES (?, ?)", (sonar, label))
    query = "SELECT id FROM track_groups WHERE sonar = ? AND label = ?"
    return int(database.execute(query, (sonar, label)).fetchone()[0])


def hour_counts(
    database: sqlite3.Connection, sonar: str, hours: tuple[int, int], bucket_h: int
) -> list[tuple[int, str, int]]:
    """Return (bucket, label, tracks) of the hours from the first to before the last; bucket n begins at n * bucket_h.

    An empty `sonar` asks for all.
    """
    return database.execute(
        "SELECT CAST((hour - (hour % ? + ?) % ?) / ? AS INTEGER) AS bucket, label, SUM(tracks) FROM track_hours "
        "JOIN track_groups ON track_groups.id = track_group "
        "WHERE hour >= ? AND hour < ? AND ? IN ('', sonar) GROUP BY bucket, label ORDER BY bucket, label",
        (bucket_h, bucket_h, bucket_h, bucket_h, *hours, sonar),
    ).fetchall()


def cell_counts(
    database: sqlite3.Connection, sonar: str, label: str | None, from_s: float, to_s: float
) -> tuple[np.ndarray, float, float]:
    """Return the tracks of each cell, int64, shape (RINGS * SECTORS,), and the time in which they ended.

    None asks for all classes. The time is longer than asked for, up to whole days, where too many tracks would have
    to be looked at.
    """
    groups = [
        number
        for number, of_sonar, of_label in database.execute("SELECT id, sonar, label FROM track_groups")
        if sonar in ("", of_sonar) and label in (None, of_label)
    ]
    first, last = math.ceil(from_s / DAY_S), math.floor(to_s / DAY_S)
    edges = [(from_s, first * DAY_S), (last * DAY_S, to_s)] if first <= last else [(from_s, to_s)]
    total = np.zeros(RINGS * SECTORS, np.int64)
    looked_at = _positions(database, sonar, label, edges)
    if looked_at is None:
        first, last = math.floor(from_s / DAY_S), math.ceil(to_s / DAY_S)
        from_s, to_s = first * DAY_S, last * DAY_S
    elif looked_at:
        total += np.bincount(cells_of(looked_at), minlength=total.size)
    if groups and first < last:
        of_groups = ", ".join(map(str, groups))
        packed = database.execute(
            f"SELECT cells FROM track_days WHERE day >= ? AND day < ? AND track_group IN ({of_groups})", (first, last)
        )
        cells = np.frombuffer(b"".join(cells for (cells,) in packed), _CELL)
        # bincount's weights are float64: exact up to 2^53 tracks
        total += np.bincount(cells["cell"], cells["tracks"], total.size).astype(np.int64)
    return total, from_s, to_s


def _positions(
    database: sqlite3.Connection, sonar: str, label: str | None, stretches: Sequence[tuple[float, float]]
) -> list[bytes] | None:
    """Return the packed positions of the tracks that ended in stretches of time; None: there are too many."""
    found: list[bytes] = []
    conditions = "last_time_s >= ? AND last_time_s < ?"
    conditions += " AND sonar = ?" * (sonar != "") + " AND label = ?" * (label is not None)
    more = [value for value in (sonar or None, label) if value is not None]
    for stretch in stretches:
        room = MOST_LOOKED_AT - len(found) + 1
        query = f"SELECT id FROM tracks WHERE {conditions} LIMIT ?"
        ((count,),) = database.execute(f"SELECT COUNT(*) FROM ({query})", (*stretch, *more, room))
        if count >= room:
            return None
        rows = database.execute(f"SELECT positions FROM tracks WHERE {conditions}", (*stretch, *more))
        found += [packed for (packed,) in rows]
    return found
