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

CELL_RAD = math.pi / 72
"""Width of a cell; the factor between the far and the near edge of a ring is exp(CELL_RAD)."""
SECTORS = 144
RINGS = 240
NEAREST_M = 0.5
"""Near edge of ring 1 and far edge of ring 0; the last ring begins at 17 km."""
HOUR_S = 3600.0
DAY_H = 24
_CHUNK = 500

_POSITION = np.dtype([("time_s", "<f8"), ("x_m", "<f4"), ("y_m", "<f4"), ("z_m", "<f4")])
_ROWS = "SELECT id, sonar, label, last_time_s, zones, positions FROM tracks"
_Row = tuple[int, str, str, float, str, bytes]


def ring_edges_m() -> np.ndarray:
    """Return where the rings begin and end, float64, shape (RINGS + 1,)."""
    edges = NEAREST_M * np.exp(CELL_RAD * np.arange(RINGS + 1.0))
    return np.concatenate(([0.0], edges[:-1]))


def cells_of(positions: bytes) -> np.ndarray:
    """Return the cells of packed positions, ring * SECTORS + sector, each once, ascending, int64.

    Sector 0 begins at a bearing of -180 degrees.
    """
    track = np.frombuffer(positions, _POSITION) if positions else np.empty(0, _POSITION)
    x_m, y_m, z_m = (track[name].astype(np.float64) for name in ("x_m", "y_m", "z_m"))
    range_m = np.sqrt(x_m**2 + y_m**2 + z_m**2)
    known = np.isfinite(range_m)
    bearing = np.arctan2(x_m[known], y_m[known])
    ring = np.floor(np.log(np.maximum(range_m[known] / NEAREST_M, 1e-9)) / CELL_RAD) + 1
    sector = np.floor((bearing + math.pi) / CELL_RAD) % SECTORS
    return np.unique((np.clip(ring, 0, RINGS - 1) * SECTORS + sector).astype(np.int64))


def count_tracks(database: sqlite3.Connection, ids: Iterable[int]) -> None:
    """Count tracks of the archive that are not counted yet."""
    _weigh(database, _rows(database, ids), +1)


def uncount_tracks(database: sqlite3.Connection, ids: Iterable[int]) -> None:
    """Take tracks out of the tallies that are about to be replaced or removed; unknown ones are passed over."""
    _weigh(database, _rows(database, ids), -1)


def count_all(database: sqlite3.Connection) -> None:
    """Make the tallies anew from all tracks, as they are needed after an older version wrote the file."""
    for table in ("track_hours", "track_cells", "track_zones", "track_groups"):
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
    hours: Counter[tuple] = Counter()
    cells: Counter[tuple] = Counter()
    zones: list[tuple[str, float, int]] = []
    groups: dict[tuple[str, str], int] = {}
    for number, sonar, label, last_time_s, described_zones, positions in rows:
        if not math.isfinite(last_time_s):
            continue
        if (sonar, label) not in groups:
            groups[sonar, label] = _group(database, sonar, label)
        group, hour = groups[sonar, label], math.floor(last_time_s / HOUR_S)
        hours[hour, group] += sign
        for cell in cells_of(positions).tolist():
            cells[1, hour, group, cell] += sign
            cells[DAY_H, hour - hour % DAY_H, group, cell] += sign
        entered = [zone["name"] for zone in msgspec.json.decode(described_zones) if zone["closest_m"] == 0]
        zones += [(name, last_time_s, number) for name in entered]
    _add(database, "track_hours", ("hour", "track_group"), hours, sign)
    _add(database, "track_cells", ("span_h", "hour", "track_group", "cell"), cells, sign)
    if sign > 0:
        database.executemany("INSERT OR IGNORE INTO track_zones (zone, last_time_s, track) VALUES (?, ?, ?)", zones)
    else:
        database.executemany("DELETE FROM track_zones WHERE zone = ? AND last_time_s = ? AND track = ?", zones)


def _group(database: sqlite3.Connection, sonar: str, label: str) -> int:
    database.execute("INSERT OR IGNORE INTO track_groups (sonar, label) VALUES (?, ?)", (sonar, label))
    query = "SELECT id FROM track_groups WHERE sonar = ? AND label = ?"
    return int(database.execute(query, (sonar, label)).fetchone()[0])


def _add(database: sqlite3.Connection, table: str, keys: Sequence[str], counts: Counter[tuple], sign: int) -> None:
    database.executemany(
        f"INSERT INTO {table} ({', '.join(keys)}, tracks) VALUES ({', '.join('?' * (len(keys) + 1))}) "
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET tracks = tracks + excluded.tracks",
        [(*key, count) for key, count in counts.items()],
    )
    if sign < 0:
        matches = " AND ".join(f"{key} = ?" for key in keys)
        database.executemany(f"DELETE FROM {table} WHERE {matches} AND tracks <= 0", [*counts])


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
    database: sqlite3.Connection, sonar: str, label: str | None, hours: tuple[int, int]
) -> list[tuple[int, int]]:
    """Return (cell, tracks) of the hours from the first to before the last; None asks for all classes."""
    groups = [
        number
        for number, of_sonar, of_label in database.execute("SELECT id, sonar, label FROM track_groups")
        if sonar in ("", of_sonar) and label in (None, of_label)
    ]
    if not groups:
        return []
    first, last = hours
    # Whole days where there are any, hours before and after.
    day_first, day_last = -(-first // DAY_H) * DAY_H, last // DAY_H * DAY_H
    stretches = [(DAY_H, day_first, day_last), (1, first, day_first), (1, day_last, last)]
    if day_first >= day_last:
        stretches = [(1, first, last)]
    of_groups = f"AND track_group IN ({', '.join(map(str, groups))})"
    total: Counter[int] = Counter()
    for stretch in stretches:
        query = (
            "SELECT cell, SUM(tracks) FROM track_cells "
            f"WHERE span_h = ? AND hour >= ? AND hour < ? {of_groups} GROUP BY cell"
        )
        for cell, tracks in database.execute(query, stretch):
            total[cell] += tracks
    return sorted(total.items())
