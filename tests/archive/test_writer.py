"""The writer: every ended track, bin of metrics and event becomes a row, whatever happens to the file."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path

import pytest
import trio

from nims_appliance.archive import schema, unpack_positions, writer
from nims_appliance.outputs.track_summary import describe_summary
from nims_appliance.pipeline.results import ZonePassage


async def test_ended_tracks_become_rows(tmp_path: Path, make_running, make_track, rows) -> None:
    running = make_running(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results, running.metrics)
        running.publish(1, 2)
        running.publish()
        running.publish(3)
        running.close()
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


async def test_recent_tracks_come_newest_first(tmp_path: Path, make_running) -> None:
    running = make_running(tmp_path)
    assert running.archive.reader.recent_tracks() == [], "before there is a file"
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results, running.metrics)
        running.publish(1, 3, 2)
        await running.until_written(3)
        recent = running.archive.reader.recent_tracks(2)
        running.close()
    assert [track["id"] for track in recent] == [3, 2]
    assert recent[0]["calibrated"] is True
    assert recent[0]["mean_area_m2"] is None


async def test_the_whole_description_comes_back(tmp_path: Path, make_running, make_track, make_result, rows) -> None:
    running = make_running(tmp_path)
    passages = (
        ZonePassage("turbine", 0.0, 1700000003.0, 1700000003.0, 1.5),
        ZonePassage("gate", 2.25, 1700000004.0, math.nan, 0.0),
    )
    track = make_track(
        5, drifting=False, mean_speed_through_water_m_s=0.4, net_sd_m=0.1, farthest_m=2.5, min_z_m=-1.0, max_z_m=0.5,
        zones=passages,
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results, running.metrics)
        running.results.publish(make_result(track, make_track(4, drifting=True), make_track(3)))
        await running.until_written(3)
        found, drifter, unknown = running.archive.reader.recent_tracks()
        running.close()
    assert found == describe_summary("pen", track)
    assert found["zones"][1]["entered_time_s"] is None
    assert (found["duration_s"], found["drifting"], drifter["drifting"]) == (5.0, False, True)
    assert (unknown["drifting"], unknown["min_z_m"], unknown["zones"]) == (None, None, [])
    ((inside_s,),) = rows(tmp_path, "SELECT json_extract(zones, '$[0].inside_s') FROM tracks WHERE id = 5")
    assert inside_s == 1.5


async def test_rows_are_kept_over_restarts(tmp_path: Path, make_running, rows) -> None:
    for number in (1, 2):
        running = make_running(tmp_path)
        async with trio.open_nursery() as nursery:
            await nursery.start(running.archive.run, running.results, running.metrics)
            running.publish(number)
            running.close()
    assert rows(tmp_path) == [(1,), (2,)]


async def test_a_locked_file_is_waited_for(tmp_path: Path, monkeypatch, make_running, rows) -> None:
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(writer, "RETRY_S", 0.05)
    running = make_running(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results, running.metrics)
        await running.until("running")
        other = sqlite3.connect(tmp_path / "nims.sqlite3", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        running.publish(1)
        await running.until("failed")
        assert "locked" in running.part.last_error
        assert "1 tracks, 0 bins of metrics and 0 events wait, 0 lost" in running.part.detail
        other.execute("COMMIT")
        other.close()
        await running.until("running")
        running.close()
    assert rows(tmp_path) == [(1,)]


async def test_a_full_disk_is_visible_and_survived(tmp_path: Path, monkeypatch, make_running, rows) -> None:
    monkeypatch.setattr(writer, "RETRY_S", 0.05)
    running = make_running(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results, running.metrics)
        await running.until("running")
        # SQLite's own limit on pages gives its own "database or disk is full".
        pages = running.archive._database.execute("PRAGMA page_count").fetchone()[0]
        running.archive._database.execute(f"PRAGMA max_page_count = {pages}")
        monkeypatch.setattr(writer, "connect", lambda path: running.archive._database)
        monkeypatch.setattr(running.archive, "_close", lambda: None)
        running.publish(*range(1, 500))
        await running.until("failed")
        assert "full" in running.part.last_error
        running.archive._database.execute("PRAGMA max_page_count = 100000")
        await running.until("running")
        monkeypatch.undo()
        running.close()
    assert len(rows(tmp_path)) == 499


async def test_a_backlog_is_bounded_and_what_is_lost_is_counted(
    tmp_path: Path, monkeypatch, make_running, rows
) -> None:
    monkeypatch.setattr(writer, "BACKLOG", 5)
    monkeypatch.setattr(writer, "RETRY_S", 0.05)
    blocker = tmp_path / "data"
    blocker.write_text("a file where the folder should be")
    running = make_running(blocker)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results, running.metrics)
        await running.until("failed")
        running.publish(*range(1, 9))
        await trio.sleep(0.05)
        counted = running.archive.statistics()
        assert [counted[f"{what}_tracks"] for what in ("written", "waiting", "lost")] == [0, 5, 3]
        blocker.unlink()
        await running.until("running")
        running.close()
    assert rows(blocker) == [(4,), (5,), (6,), (7,), (8,)]


async def test_a_damaged_file_is_moved_aside(tmp_path: Path, caplog, make_running, rows) -> None:
    (tmp_path / "nims.sqlite3").write_bytes(b"this is no database, but long enough to look like one" * 100)
    running = make_running(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results, running.metrics)
        running.publish(1)
        running.close()
    assert rows(tmp_path) == [(1,)]
    (aside,) = tmp_path.glob("nims.sqlite3.damaged-*")
    assert aside.read_bytes().startswith(b"this is no database")
    assert f"moved to {aside.name}" in caplog.text


async def test_a_deleted_file_is_made_again(tmp_path: Path, make_running, rows) -> None:
    running = make_running(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results, running.metrics)
        running.publish(1)
        await running.until_written(1)
        for path in tmp_path.glob("nims.sqlite3*"):
            path.unlink()
        running.publish(2)
        await running.until_written(2)
        running.close()
    assert rows(tmp_path) == [(2,)]


async def test_a_folder_that_is_moved_away_and_comes_back_is_told_and_nothing_is_lost(
    tmp_path: Path, make_running, rows
) -> None:
    data, gone, meanwhile = (tmp_path / name for name in ("data", "gone", "meanwhile"))
    running = make_running(data)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results, running.metrics)
        running.publish(1)
        await running.until_written(1)
        assert running.part.warning == ""
        data.rename(gone)
        running.publish(2)
        await running.until_written(2)
        assert "nims.sqlite3 was moved or deleted, or its disk was changed" in running.part.warning
        # As a disk that is mounted again: another file is there under the same name.
        data.rename(meanwhile)
        gone.rename(data)
        running.publish(3)
        await running.until_written(3)
        running.close()
    assert (rows(data), rows(meanwhile)) == ([(1,), (3,)], [(2,)])
    told = [rows(folder, "SELECT id FROM events WHERE kind = 'replaced'") for folder in (data, meanwhile)]
    assert sum(map(len, told)) == 2


async def test_what_was_published_before_a_cancel_does_not_hang(tmp_path: Path, make_running) -> None:
    running = make_running(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results, running.metrics)
        running.publish(1)
        nursery.cancel_scope.cancel()
    assert running.archive._database is None


async def test_bins_of_metrics_become_rows_with_their_layers(tmp_path: Path, make_running, make_bin, rows) -> None:
    running = make_running(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results, running.metrics)
        running.metrics.publish(make_bin(1005.0, -50.0, layers=2, noise_db=math.nan))
        running.metrics.publish(make_bin(1010.0, math.nan, channel="GPT 38"))
        running.close()
    found = rows(tmp_path, "SELECT sonar, channel, layer, end_s, sv_db, noise_db, top_m FROM metrics ORDER BY 4, 2, 3")
    assert found == [
        ("pen", "", 0, 1005.0, -50.0, None, 1.0),
        ("pen", "", 1, 1005.0, -50.0, None, 0.0),
        ("pen", "", 2, 1005.0, -50.0, None, 5.0),
        ("pen", "GPT 38", 0, 1010.0, None, None, 1.0),
    ]
    assert running.archive.statistics()["written_bins"] == 2


async def test_a_recording_played_twice_leaves_its_bins_once(tmp_path: Path, make_running, make_bin, rows) -> None:
    for _ in range(2):
        running = make_running(tmp_path)
        async with trio.open_nursery() as nursery:
            await nursery.start(running.archive.run, running.results, running.metrics)
            for end_s in (5.0, 10.0):
                running.metrics.publish(make_bin(end_s, layers=1))
            running.close()
    assert rows(tmp_path, "SELECT layer, end_s FROM metrics ORDER BY 1, 2") == [(0, 5), (0, 10), (1, 5), (1, 10)]


async def test_events_before_the_start_and_to_the_end_are_kept(tmp_path: Path, make_running, rows) -> None:
    running = make_running(tmp_path)
    running.archive.event("appliance", "start", "version 1")
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results, running.metrics)
        running.archive.event("configuration", "setting", "name \udcff of a file", author="page 1", ping_time_s=4.5)
        running.close()
    found = rows(tmp_path, "SELECT part, kind, text, author, ping_time_s FROM events ORDER BY id")
    assert found == [
        ("appliance", "start", "version 1", "", None),
        ("configuration", "setting", "name ? of a file", "page 1", 4.5),
    ]


async def test_what_no_row_can_hold_keeps_nothing_else_out(
    tmp_path: Path, caplog, make_running, make_track, make_result, make_bin, rows
) -> None:
    running = make_running(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results, running.metrics)
        running.results.publish(make_result(make_track(1), make_track(2, id=2**63), make_track(3)))
        running.metrics.publish(make_bin(5.0))
        running.metrics.publish(make_bin(math.nan))
        running.archive.event("a", "b", "c")
        running.close()
    assert rows(tmp_path) == [(1,), (3,)]
    assert rows(tmp_path, "SELECT end_s FROM metrics") == [(5.0,)]
    assert rows(tmp_path, "SELECT COUNT(*) FROM events") == [(1,)]
    counted = running.archive.statistics()
    assert (counted["lost_tracks"], counted["lost_bins"], counted["written_tracks"]) == (1, 1, 2)
    assert "a row was left out" in caplog.text


async def test_metrics_do_not_push_tracks_out_of_the_backlog(
    tmp_path: Path, monkeypatch, make_running, make_bin, rows
) -> None:
    monkeypatch.setattr(writer, "BINS_BACKLOG", 3)
    monkeypatch.setattr(writer, "RETRY_S", 0.05)
    blocker = tmp_path / "data"
    blocker.write_text("a file where the folder should be")
    running = make_running(blocker)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results, running.metrics)
        running.publish(1)
        for end_s in range(10):
            running.metrics.publish(make_bin(float(end_s)))
        await running.until("failed")
        blocker.unlink()
        await running.until("running")
        running.close()
    assert rows(blocker) == [(1,)]
    assert rows(blocker, "SELECT end_s FROM metrics ORDER BY 1") == [(7.0,), (8.0,), (9.0,)]
    assert running.archive.statistics()["lost_bins"] == 7
