"""The archive: every ended track becomes a row, whatever happens to the file."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import trio

from nims_appliance import archive as archive_module
from nims_appliance.archive import Archive, unpack_positions
from nims_appliance.bus import Bus
from nims_appliance.health import Part
from nims_appliance.outputs.track_summary import describe_summary
from nims_appliance.pipeline.results import DETECTION, PingResult, TrackSummary, ZonePassage


def make_track(number: int, **changes) -> TrackSummary:
    values = {
        "id": number,
        "first_time_s": 1700000000.0,
        "last_time_s": 1700000000.0 + number,
        "hits": 20,
        "pings": 25,
        "mean_speed_m_s": 0.5,
        "peak_speed_m_s": 1.0,
        "path_m": 3.0,
        "net_m": 2.0,
        "straightness": 2 / 3,
        "heading_rad": math.radians(-90),
        "min_range_m": 4.0,
        "max_range_m": 5.0,
        "min_bearing_rad": math.radians(-10),
        "max_bearing_rad": math.radians(10),
        "min_elevation_rad": 0.0,
        "max_elevation_rad": 0.0,
        "mean_length_m": 0.3,
        "mean_width_m": math.nan,
        "mean_area_m2": math.inf,
        "strength_db": -40.0,
        "calibrated": True,
        "quality": 0.8,
        "label": "fish",
        "probability": 0.9,
        "positions": ((1700000000.25, 1.0, 2.0, 0.0), (1700000000.5, 1.5, 2.5, 0.25)),
    }
    return TrackSummary(**(values | changes))


def make_result(*tracks: TrackSummary) -> PingResult:
    return PingResult("pen", 1, 1, 1.7e9, 0.0, 0.0, "", np.zeros(0, DETECTION), (), tracks)


class Running:
    """An archive that runs, and the bus that feeds it."""

    def __init__(self, data: Path) -> None:
        self.results: Bus[PingResult] = Bus("results")
        self.part = Part("archive")
        self.archive = Archive(data, self.part)

    def publish(self, *numbers: int) -> None:
        self.results.publish(make_result(*(make_track(number) for number in numbers)))

    async def until(self, state: str) -> None:
        while self.part.state != state:
            await trio.sleep(0.05)

    async def until_written(self, count: int) -> None:
        while self.archive.written < count:
            await trio.sleep(0.05)


def rows(data: Path, query: str = "SELECT id FROM tracks ORDER BY id") -> list[tuple]:
    database = sqlite3.connect(data / "nims.sqlite3")
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


async def test_ended_tracks_become_rows(tmp_path: Path) -> None:
    running = Running(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results)
        running.publish(1, 2)
        running.publish()
        running.publish(3)
        running.results.close()
    assert rows(tmp_path) == [(1,), (2,), (3,)]
    (row,) = rows(
        tmp_path,
        "SELECT sonar, first_time, last_time, heading_deg, min_bearing_deg, mean_width_m, mean_area_m2, label, "
        "calibrated FROM tracks WHERE id = 1",
    )
    assert row[:3] == ("pen", "2023-11-14T22:13:20.000Z", "2023-11-14T22:13:21.000Z")
    assert row[3:5] == pytest.approx((-90, -10))
    assert row[5:] == (None, None, "fish", 1), "what is not finite is NULL"
    ((packed,),) = rows(tmp_path, "SELECT positions FROM tracks WHERE id = 1")
    assert unpack_positions(packed) == list(make_track(1).positions)
    assert running.part.state == "stopped"


async def test_recent_tracks_come_newest_first(tmp_path: Path) -> None:
    running = Running(tmp_path)
    assert running.archive.recent_tracks() == [], "before there is a file"
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results)
        running.publish(1, 3, 2)
        await running.until_written(3)
        recent = running.archive.recent_tracks(2)
        running.results.close()
    assert [track["id"] for track in recent] == [3, 2]
    assert recent[0]["calibrated"] is True
    assert recent[0]["mean_area_m2"] is None


async def test_the_whole_description_comes_back(tmp_path: Path) -> None:
    running = Running(tmp_path)
    passages = (
        ZonePassage("turbine", 0.0, 1700000003.0, 1700000003.0, 1.5),
        ZonePassage("gate", 2.25, 1700000004.0, math.nan, 0.0),
    )
    track = make_track(
        5, drifting=False, mean_speed_through_water_m_s=0.4, net_sd_m=0.1, farthest_m=2.5, min_z_m=-1.0, max_z_m=0.5,
        zones=passages,
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results)
        running.results.publish(make_result(track, make_track(4, drifting=True), make_track(3)))
        await running.until_written(3)
        found, drifter, unknown = running.archive.recent_tracks()
        running.results.close()
    assert found == describe_summary("pen", track)
    assert found["zones"][1]["entered_time_s"] is None
    assert (found["duration_s"], found["drifting"], drifter["drifting"]) == (5.0, False, True)
    assert (unknown["drifting"], unknown["min_z_m"], unknown["zones"]) == (None, None, [])
    ((inside_s,),) = rows(tmp_path, "SELECT json_extract(zones, '$[0].inside_s') FROM tracks WHERE id = 5")
    assert inside_s == 1.5


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


@pytest.mark.parametrize("half_done", [False, True])
async def test_a_file_of_the_first_version_is_brought_up_to_date(tmp_path: Path, half_done: bool) -> None:
    database = sqlite3.connect(tmp_path / "nims.sqlite3")
    database.executescript(VERSION_1)
    if half_done:
        database.execute("ALTER TABLE tracks ADD COLUMN farthest_m REAL")
    database.close()
    running = Running(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results)
        running.publish(2)
        await running.until_written(1)
        old, new = sorted(running.archive.recent_tracks(), key=lambda track: track["id"])
        running.results.close()
    assert (old["label"], old["duration_s"], old["zones"], old["drifting"]) == ("fish", 4.5, [], None)
    assert old.keys() == new.keys()
    assert rows(tmp_path, "PRAGMA user_version") == [(2,)]
    assert rows(tmp_path) == [(1,), (2,)]
    assert not list(tmp_path.glob("*.damaged-*"))


async def test_rows_are_kept_over_restarts(tmp_path: Path) -> None:
    for number in (1, 2):
        running = Running(tmp_path)
        async with trio.open_nursery() as nursery:
            await nursery.start(running.archive.run, running.results)
            running.publish(number)
            running.results.close()
    assert rows(tmp_path) == [(1,), (2,)]


async def test_a_locked_file_is_waited_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(archive_module, "BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(archive_module, "RETRY_S", 0.05)
    running = Running(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results)
        await running.until("running")
        other = sqlite3.connect(tmp_path / "nims.sqlite3", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        running.publish(1)
        await running.until("failed")
        assert "locked" in running.part.last_error
        assert "1 tracks wait, 0 lost" in running.part.detail
        other.execute("COMMIT")
        other.close()
        await running.until("running")
        running.results.close()
    assert rows(tmp_path) == [(1,)]


async def test_a_full_disk_is_visible_and_survived(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(archive_module, "RETRY_S", 0.05)
    running = Running(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results)
        await running.until("running")
        # SQLite's own limit on pages gives its own "database or disk is full".
        pages = running.archive._database.execute("PRAGMA page_count").fetchone()[0]
        running.archive._database.execute(f"PRAGMA max_page_count = {pages}")
        monkeypatch.setattr(archive_module, "_connect", lambda path: running.archive._database)
        monkeypatch.setattr(running.archive, "_close", lambda: None)
        running.publish(*range(1, 500))
        await running.until("failed")
        assert "full" in running.part.last_error
        running.archive._database.execute("PRAGMA max_page_count = 100000")
        await running.until("running")
        monkeypatch.undo()
        running.results.close()
    assert len(rows(tmp_path)) == 499


async def test_a_backlog_is_bounded_and_what_is_lost_is_counted(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(archive_module, "BACKLOG", 5)
    monkeypatch.setattr(archive_module, "RETRY_S", 0.05)
    blocker = tmp_path / "data"
    blocker.write_text("a file where the folder should be")
    running = Running(blocker)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results)
        await running.until("failed")
        running.publish(*range(1, 9))
        await trio.sleep(0.05)
        assert running.archive.statistics() == {"written_tracks": 0, "waiting_tracks": 5, "lost_tracks": 3}
        blocker.unlink()
        await running.until("running")
        running.results.close()
    assert rows(blocker) == [(4,), (5,), (6,), (7,), (8,)]


async def test_a_damaged_file_is_moved_aside(tmp_path: Path, caplog) -> None:
    (tmp_path / "nims.sqlite3").write_bytes(b"this is no database, but long enough to look like one" * 100)
    running = Running(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results)
        running.publish(1)
        running.results.close()
    assert rows(tmp_path) == [(1,)]
    (aside,) = tmp_path.glob("nims.sqlite3.damaged-*")
    assert aside.read_bytes().startswith(b"this is no database")
    assert f"moved to {aside.name}" in caplog.text


async def test_a_deleted_file_is_made_again(tmp_path: Path) -> None:
    running = Running(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results)
        running.publish(1)
        await running.until_written(1)
        for path in tmp_path.glob("nims.sqlite3*"):
            path.unlink()
        running.publish(2)
        await running.until_written(2)
        running.results.close()
    assert rows(tmp_path) == [(2,)]


async def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "nims.sqlite3")
    database.execute("PRAGMA user_version = 99")
    database.close()
    running = Running(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results)
        await running.until("failed")
        assert "newer version" in running.part.detail
        running.publish(1)
        running.results.close()
    assert not list(tmp_path.glob("*.damaged-*"))


async def test_what_was_published_before_a_cancel_does_not_hang(tmp_path: Path) -> None:
    running = Running(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results)
        running.publish(1)
        nursery.cancel_scope.cancel()
    assert running.archive._database is None
