"""Pages of tracks: which ones, in which order, and along which index, so that a page of a year comes as one of a day.

SQLite keeps no count of how common a value is. Here it is known which index has the order that is asked for, and looked
up whether a bound lets few tracks through.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from .rows import track_values, unpack_positions
from .schema import BY_CLASS, BY_DURATION, BY_LENGTH, BY_SONAR, BY_SPEED, BY_TIME, TRACKS

DESCRIPTION = tuple(name for name in TRACKS if name != "positions")
SORTED_BY = tuple(name for name in DESCRIPTION if name not in ("zones", "first_time", "last_time"))
"""Columns by which tracks can be sorted."""
FEW = 1000
"""So many tracks that a bound lets through are sorted sooner than others are passed over."""
_SORTING = {"mean_length_m": BY_LENGTH, "mean_speed_m_s": BY_SPEED, "duration_s": BY_DURATION}

Mark = tuple[Any, int]
"""Behind which track the next page begins: its value in the column that sorts, and its id."""


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
        """Return conditions in SQL and their values; without the zone, which is of another table."""
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


EVERY_TRACK = TrackFilter()


def page(
    database: sqlite3.Connection,
    wanted: TrackFilter,
    *,
    sort: str,
    descending: bool,
    limit: int,
    after: Mark | None,
    positions: bool,
) -> tuple[list[dict[str, Any]], Mark | None]:
    """Return the tracks of a page, JSON-able, and the mark of the next one; see `ArchiveReader.tracks`."""
    assert sort in SORTED_BY, sort
    columns = (*DESCRIPTION, "positions") if positions else DESCRIPTION
    index = _index(database, wanted, sort)
    rows: list[tuple] = []
    for condition, values in _stretches(sort, descending, after):
        query, given = _query(wanted, sort, descending, index, condition, columns)
        rows += database.execute(query, (*given, *values, max(limit, 0) + 1 - len(rows))).fetchall()
        if len(rows) > max(limit, 0):
            break
    found = [track_values(dict(zip(columns, row, strict=True))) for row in rows[: max(limit, 0)]]
    if positions:
        found = [track | {"positions": unpack_positions(track["positions"])} for track in found]
    return found, (found[-1][sort], found[-1]["id"]) if len(rows) > len(found) and found else None


def _stretches(sort: str, descending: bool, after: Mark | None) -> list[tuple[str, tuple[Any, ...]]]:
    """Return the conditions of what follows the mark: first tracks with a value, then those without one."""
    beyond = "<" if descending else ">"
    # As one comparison of rows the index is used from the mark on.
    with_value = (f"({sort}, id) {beyond} (?, ?)", after) if after else (f"{sort} IS NOT NULL", ())
    if "NOT NULL" in TRACKS[sort] or sort == "id":
        return [with_value]
    if after and after[0] is None:
        return [(f"{sort} IS NULL AND id {beyond} ?", after[1:])]
    return [with_value, (f"{sort} IS NULL", ())]


def _query(
    wanted: TrackFilter, sort: str, descending: bool, index: str | None, condition: str, columns: tuple[str, ...]
) -> tuple[str, list[Any]]:
    """Return the query for tracks of a stretch, and the values of its first parameters."""
    clauses, values = wanted.clauses()
    clauses.append(condition)
    way = "DESC" if descending else "ASC"
    source = f"tracks INDEXED BY {index}" if index else "tracks"
    order = f"{sort} {way}, id {way}"
    if wanted.zone and sort == "last_time_s":
        # In the order of the zone's own tracks, so that a page ends as soon as it is full.
        source = (
            "(SELECT track, last_time_s AS zone_time_s FROM track_zones WHERE zone = ?) "
            "CROSS JOIN tracks ON tracks.id = track"
        )
        clauses = [clause.replace("last_time_s", "zone_time_s").replace("id)", "track)") for clause in clauses]
        values = [wanted.zone, *values]
        order = f"zone_time_s {way}, track {way}"
    elif wanted.zone:
        clauses.insert(0, "id IN (SELECT track FROM track_zones WHERE zone = ?)")
        values.insert(0, wanted.zone)
    # Chosen by what is in the index; only what is on the page is read.
    chosen = f"SELECT id AS chosen FROM {source} WHERE {' AND '.join(clauses)} ORDER BY {order} LIMIT ?"
    return (
        f"SELECT {', '.join(columns)} FROM ({chosen}) CROSS JOIN tracks ON id = chosen ORDER BY {sort} {way}, id {way}",
        values,
    )


def _index(database: sqlite3.Connection, wanted: TrackFilter, sort: str) -> str | None:
    """Return the index along which the tracks are looked for; None: SQLite chooses."""
    if wanted.zone:
        return None
    # An older version may have written the file, and nobody has opened it for writing since.
    present = {name for _, name, *_ in database.execute("PRAGMA index_list(tracks)")}
    bounds = {
        BY_LENGTH: TrackFilter(min_length_m=wanted.min_length_m, max_length_m=wanted.max_length_m),
        BY_SPEED: TrackFilter(min_speed_m_s=wanted.min_speed_m_s, max_speed_m_s=wanted.max_speed_m_s),
        BY_DURATION: TrackFilter(min_duration_s=wanted.min_duration_s),
    }
    for index, bound in bounds.items():
        clauses, values = bound.clauses()
        if clauses and index in present:
            through = f"SELECT 1 FROM tracks INDEXED BY {index} WHERE {' AND '.join(clauses)} LIMIT ?"
            ((count,),) = database.execute(f"SELECT COUNT(*) FROM ({through})", (*values, FEW + 1))
            if count <= FEW:
                return index
    in_time = BY_SONAR if wanted.sonar else BY_TIME if wanted.label is None else BY_CLASS
    narrowed = wanted.sonar or wanted.label is not None or wanted.from_s is not None or wanted.to_s is not None
    index = in_time if sort == "last_time_s" or narrowed else _SORTING.get(sort, "")
    return index if index in present else None
