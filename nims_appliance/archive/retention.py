"""Retention: what is older than it is to be kept leaves the archive, a little at a time.

Rows are removed in batches so small that what has just been seen is never kept waiting. SQLite puts new rows into the
pages that become free, so a file that loses as much as it gains does not grow.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from . import tallies
from .poses import forget_poses

BATCH = 500
"""Rows removed in one transaction."""


@dataclass(frozen=True, slots=True)
class Oldest:
    """What is kept of each kind: from this time on, seconds since 1970; -inf keeps everything.

    Tracks and bins of metrics go by their sonar's clock, events by the computer's.
    """

    tracks_s: float = float("-inf")
    bins_s: float = float("-inf")
    events_s: float = float("-inf")


@dataclass(slots=True)
class Forgotten:
    """How many rows were removed."""

    tracks: int = 0
    bins: int = 0
    events: int = 0
    poses: int = 0

    @property
    def total(self) -> int:
        """Of all kinds."""
        return self.tracks + self.bins + self.events + self.poses


def forget_batch(database: sqlite3.Connection, oldest: Oldest, batch: int = BATCH) -> Forgotten:
    """Remove up to `batch` rows of each kind, the oldest first, inside the caller's transaction.

    Raises:
      sqlite3.Error: the file cannot be written.
    """
    return Forgotten(
        _forget_tracks(database, oldest.tracks_s, batch),
        _forget_bins(database, oldest.bins_s, batch),
        _forget_events(database, oldest.events_s, batch),
        forget_poses(database, oldest.tracks_s, batch),
    )


def _forget_tracks(database: sqlite3.Connection, oldest_s: float, batch: int) -> int:
    query = "SELECT id FROM tracks WHERE last_time_s < ? ORDER BY last_time_s LIMIT ?"
    ids = [number for (number,) in database.execute(query, (oldest_s, batch))]
    tallies.uncount_tracks(database, ids)
    database.executemany("DELETE FROM tracks WHERE id = ?", [(number,) for number in ids])
    return len(ids)


def _forget_bins(database: sqlite3.Connection, oldest_s: float, batch: int) -> int:
    removed = 0
    for (series,) in database.execute("SELECT id FROM series ORDER BY id").fetchall():
        if removed >= batch:
            break
        # Rows have no number of their own: the end of the last one to go bounds the piece of the series.
        query = (
            "SELECT MAX(end_s) FROM "
            "(SELECT end_s FROM metrics_bins WHERE series = ? AND end_s < ? ORDER BY end_s LIMIT ?)"
        )
        ((last_s,),) = database.execute(query, (series, oldest_s, batch - removed)).fetchall()
        if last_s is not None:
            done = database.execute("DELETE FROM metrics_bins WHERE series = ? AND end_s <= ?", (series, last_s))
            removed += done.rowcount
    return removed


def _forget_events(database: sqlite3.Connection, oldest_s: float, batch: int) -> int:
    query = "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE time_s < ? ORDER BY time_s LIMIT ?)"
    return database.execute(query, (oldest_s, batch)).rowcount
