"""The file: one of an older version is brought up to date with nothing lost, one of a newer version is left alone."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import trio

from nims_appliance.archive import SCHEMA_VERSION
from nims_appliance.archive.schema import connect

VERSION_1 = """
CREATE TABLE tracks (id INTEGER PRIMARY KEY, sonar TEXT NOT NULL, channel TEXT NOT NULL, first_time TEXT,
  last_time TEXT, first_time_s REAL NOT NULL, last_time_s REAL NOT NULL, hits INTEGER NOT NULL, pings INTEGER NOT NULL,
  mean_speed_m_s REAL, peak_speed_m_s REAL, path_m REAL, net_m REAL, straightness REAL, heading_deg REAL,
  min_range_m REAL, max_range_m REAL, min_bearing_deg REAL, max_bearing_deg REAL, min_elevation_deg REAL,
  max_elevation_deg REAL, mean_length_m REAL, mean_width_m REAL, mean_area_m2 REAL, strength_db REAL,
  calibrated INTEGER NOT NULL, quality REAL, label TEXT NOT NULL, probability REAL, positions BLOB NOT NULL);
CREATE INDEX tracks_by_time ON tracks (last_time_s);
INSERT INTO tracks VALUES (1, 'pen', '', '2023-11-14T22:13:20.000Z', '2023-11-14T22:13:24.500Z', 1700000000.0,
  1700000004.5, 20, 25, 0.5, 1.0, 3.0, 2.0, 0.66, -90.0, 4.0, 5.0, -10.0, 10.0, 0.0, 0.0, 0.3, NULL, NULL, -40.0, 1,
  0.8, 'fish', 0.9, x'');
PRAGMA user_version = 1;
"""
VERSION_2 = """
ALTER TABLE tracks ADD COLUMN duration_s REAL;
ALTER TABLE tracks ADD COLUMN mean_speed_through_water_m_s REAL;
ALTER TABLE tracks ADD COLUMN drifting INTEGER;
ALTER TABLE tracks ADD COLUMN net_sd_m REAL;
ALTER TABLE tracks ADD COLUMN farthest_m REAL;
ALTER TABLE tracks ADD COLUMN min_z_m REAL;
ALTER TABLE tracks ADD COLUMN max_z_m REAL;
ALTER TABLE tracks ADD COLUMN zones TEXT NOT NULL DEFAULT '[]';
UPDATE tracks SET duration_s = last_time_s - first_time_s;
PRAGMA user_version = 2;
"""


@pytest.mark.parametrize("version", [VERSION_1, VERSION_1 + VERSION_2], ids=["1", "2"])
@pytest.mark.parametrize("half_done", [False, True])
async def test_a_file_of_an_older_version_is_brought_up_to_date(
    tmp_path: Path, half_done: bool, version: str, make_running, make_bin, rows
) -> None:
    database = sqlite3.connect(tmp_path / "nims.sqlite3")
    database.executescript(version)
    if half_done:
        database.execute(
            "CREATE TABLE series (id INTEGER PRIMARY KEY, sonar TEXT NOT NULL, channel TEXT NOT NULL, "
            "layer INTEGER NOT NULL, UNIQUE (sonar, channel, layer))"
        )
    database.close()
    running = make_running(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results, running.metrics)
        running.publish(2)
        running.metrics.publish(make_bin(5.0))
        running.archive.event("appliance", "start", "")
        await running.until_written(1)
        old, new = sorted(running.archive.reader.recent_tracks(), key=lambda track: track["id"])
        running.close()
    assert (old["label"], old["duration_s"], old["zones"], old["drifting"]) == ("fish", 4.5, [], None)
    assert old.keys() == new.keys()
    assert rows(tmp_path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert rows(tmp_path) == [(1,), (2,)]
    assert rows(tmp_path, "SELECT sonar, end_s FROM metrics") == [("pen", 5.0)]
    assert not list(tmp_path.glob("*.damaged-*"))


def test_old_and_new_files_have_the_same_tables(tmp_path: Path) -> None:
    def described(database: sqlite3.Connection) -> dict[str, set]:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master")]
        return {name: {tuple(row[1:]) for row in database.execute(f"PRAGMA table_info({name})")} for name in names}

    old_path, new_path = tmp_path / "old", tmp_path / "new"
    database = sqlite3.connect(old_path)
    database.executescript(VERSION_1)
    database.close()
    old, new = connect(old_path), connect(new_path)
    try:
        assert described(old) == described(new)
    finally:
        old.close()
        new.close()


async def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path, make_running) -> None:
    database = sqlite3.connect(tmp_path / "nims.sqlite3")
    database.execute("PRAGMA user_version = 99")
    database.close()
    running = make_running(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results, running.metrics)
        await running.until("failed")
        assert "newer version" in running.part.detail
        running.publish(1)
        running.close()
    assert not list(tmp_path.glob("*.damaged-*"))
