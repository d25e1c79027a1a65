"""What is in `nims.sqlite3`, and how a file of an older version becomes one of this version."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from . import tallies

FILE_NAME = "nims.sqlite3"
SCHEMA_VERSION = 5
BUSY_TIMEOUT_S = 1.0

TRACKS = {
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
"""Tracks that have ended. `rows.pack_positions` says what `positions` holds."""

SERIES = {
    "id": "INTEGER PRIMARY KEY",
    "sonar": "TEXT NOT NULL",
    "channel": "TEXT NOT NULL",
    "layer": "INTEGER NOT NULL",
}
"""Whose metrics: a sonar's channel, and its whole column (layer 0) or a layer of it (1 is the nearest)."""

BINS = {
    "series": "INTEGER NOT NULL",
    "end_s": "REAL NOT NULL",
    "start_s": "REAL NOT NULL",
    "ping_number": "INTEGER NOT NULL",
    "pings": "INTEGER NOT NULL",
    "calibrated": "INTEGER NOT NULL",
    "sv_db": "REAL",
    "sa_db": "REAL",
    "nasc_m2_nmi2": "REAL",
    "center_of_mass_m": "REAL",
    "inertia_m2": "REAL",
    "proportion_occupied": "REAL",
    "equivalent_area_m": "REAL",
    "aggregation_index_per_m": "REAL",
    "layers": "INTEGER NOT NULL",
    "noise_db": "REAL",
    "top_m": "REAL",
    "bottom_m": "REAL",
}
"""Echo metrics, since schema 3. Kept in the order of series and time, so that hours of one series lie side by side."""

EVENTS = {
    "id": "INTEGER PRIMARY KEY",
    "time_s": "REAL NOT NULL",
    "part": "TEXT NOT NULL",
    "kind": "TEXT NOT NULL",
    "text": "TEXT NOT NULL",
    "author": "TEXT NOT NULL",
    "ping_time_s": "REAL",
}
"""What happened, since schema 3. `time_s`: the appliance's clock; `ping_time_s`: the sonar's, if a ping caused it."""

_TALLIES = {
    "track_groups": {"id": "INTEGER PRIMARY KEY", "sonar": "TEXT NOT NULL", "label": "TEXT NOT NULL"},
    "track_hours": {"hour": "INTEGER NOT NULL", "track_group": "INTEGER NOT NULL", "tracks": "INTEGER NOT NULL"},
    "track_days": {"day": "INTEGER NOT NULL", "track_group": "INTEGER NOT NULL", "cells": "BLOB NOT NULL"},
    "track_zones": {"zone": "TEXT NOT NULL", "last_time_s": "REAL NOT NULL", "track": "INTEGER NOT NULL"},
}
"""What `tallies` keeps, since schema 4. Hours and days since 1970, by the sonar's clock."""

POSES = {
    "sonar": "TEXT NOT NULL",
    "time_s": "REAL NOT NULL",
    "latitude_deg": "REAL",
    "longitude_deg": "REAL",
    "heading_deg": "REAL",
    "tilt_deg": "REAL NOT NULL",
}
"""Where sonars were and where their axes pointed, since schema 5; see `poses`. NULL: from then on not known."""

_TABLES = {"tracks": TRACKS, "series": SERIES, "metrics_bins": BINS, "events": EVENTS, "poses": POSES, **_TALLIES}
"""A column that is added to a table of an older version needs a default, or is NULL in its rows."""
_ENDS = {
    "series": ", UNIQUE (sonar, channel, layer))",
    "metrics_bins": ", PRIMARY KEY (series, end_s)) WITHOUT ROWID",
    "poses": ", PRIMARY KEY (sonar, time_s)) WITHOUT ROWID",
    "track_groups": ", UNIQUE (sonar, label))",
    "track_hours": ", PRIMARY KEY (hour, track_group)) WITHOUT ROWID",
    "track_days": ", PRIMARY KEY (day, track_group))",
    "track_zones": ", PRIMARY KEY (zone, last_time_s, track)) WITHOUT ROWID",
}
_FILTERED_BY = "mean_length_m, mean_speed_m_s, duration_s"
"""Part of indexes, so that rows that do not fit are passed over without being read."""
BY_TIME, BY_SONAR, BY_CLASS = "tracks_in_time", "tracks_of_sonar", "tracks_of_class"
BY_LENGTH, BY_SPEED, BY_DURATION = "tracks_by_length", "tracks_by_speed", "tracks_by_duration"
"""Indexes of tracks that questions name."""
_INDEXES = (
    # Of older versions.
    "DROP INDEX IF EXISTS tracks_by_time",
    "DROP INDEX IF EXISTS tracks_by_sonar_and_time",
    "DROP INDEX IF EXISTS tracks_to_filter",
    "DROP INDEX IF EXISTS tracks_of_sonar_to_filter",
    f"CREATE INDEX IF NOT EXISTS {BY_TIME} ON tracks (last_time_s, id, {_FILTERED_BY}, sonar, label)",
    f"CREATE INDEX IF NOT EXISTS {BY_SONAR} ON tracks (sonar, last_time_s, id, {_FILTERED_BY}, label)",
    f"CREATE INDEX IF NOT EXISTS {BY_CLASS} ON tracks (label, last_time_s, id, {_FILTERED_BY}, sonar)",
    # Their ends are the ids.
    f"CREATE INDEX IF NOT EXISTS {BY_LENGTH} ON tracks (mean_length_m)",
    f"CREATE INDEX IF NOT EXISTS {BY_SPEED} ON tracks (mean_speed_m_s)",
    f"CREATE INDEX IF NOT EXISTS {BY_DURATION} ON tracks (duration_s)",
    "CREATE INDEX IF NOT EXISTS events_by_time ON events (time_s)",
)
_VIEWS = {
    # For people: the bins with the names of their sonars.
    "metrics": "SELECT series.sonar, series.channel, series.layer, metrics_bins.* "
    "FROM metrics_bins JOIN series ON series.id = metrics_bins.series",
}


def connect(path: Path) -> sqlite3.Connection:
    """Open the file for writing; make it, or bring it up to date, as needed.

    Raises:
      sqlite3.OperationalError: it cannot be written now (locked, read-only, full), or a newer version wrote it.
      sqlite3.DatabaseError: it is no database, or damaged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Used by one worker thread at a time, not always the same.
    database = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        # What was committed is on the disk: a power cut costs what was not, and never the file.
        database.execute("PRAGMA synchronous = FULL")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise sqlite3.OperationalError(
                f"a newer version of the appliance wrote it (schema {version}, this one knows {SCHEMA_VERSION})"
            )
        if version < SCHEMA_VERSION or not _complete(database):
            with database:
                database.execute("BEGIN IMMEDIATE")  # Python begins no transaction of its own for these
                _bring_up_to_date(database, version)
    except BaseException:
        database.close()
        raise
    return database


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open the file for reading beside the writer.

    Raises:
      sqlite3.Error: there is none, or it cannot be read.
    """
    # A name may hold what has a meaning in a URI.
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)


def _complete(database: sqlite3.Connection) -> bool:
    return all(not _missing(database, table) for table in _TABLES)


def _missing(database: sqlite3.Connection, table: str) -> list[str]:
    present = {name for _, name, *_ in database.execute(f"PRAGMA table_info({table})")}
    return [name for name in _TABLES[table] if name not in present]


def _bring_up_to_date(database: sqlite3.Connection, version: int) -> None:
    """Make what is missing, whatever the version was; then change what older rows lack."""
    for table, columns in _TABLES.items():
        described = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        database.execute(f"CREATE TABLE IF NOT EXISTS {table} ({described}{_ENDS.get(table, ')')}")
        for name in _missing(database, table):
            database.execute(f"ALTER TABLE {table} ADD COLUMN {name} {columns[name]}")
    for index in _INDEXES:
        database.execute(index)
    for name, query in _VIEWS.items():
        database.execute(f"DROP VIEW IF EXISTS {name}")
        database.execute(f"CREATE VIEW {name} AS {query}")
    if version == 1:
        database.execute("UPDATE tracks SET duration_s = last_time_s - first_time_s")
    if version < 4:
        tallies.count_all(database)
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
