"""Counts per hour and per cell, against a slow count of the same tracks."""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nims_appliance.archive import Archive, ArchiveReader, TrackFilter, pack_positions, tallies
from nims_appliance.archive.schema import connect
from nims_appliance.health import Part
from nims_appliance.pipeline.results import ZonePassage

HOUR_S = 3600.0
coordinates = st.floats(-500, 500, width=32)


def slow_cell(x_m: float, y_m: float, z_m: float) -> int:
    range_m = math.sqrt(x_m**2 + y_m**2 + z_m**2)
    edges = tallies.ring_edges_m()
    ring = max(number for number in range(tallies.RINGS) if edges[number] <= range_m)
    bearing_deg = math.degrees(math.atan2(x_m, y_m))
    return ring * tallies.SECTORS + math.floor((bearing_deg + 180) / 4) % tallies.SECTORS


def test_cells_by_hand() -> None:
    # dead ahead at 10.0 m: the first sector right of the axis; ln(20) / (2 pi / 90) = 42.91, behind ring 0
    assert tallies.cells_of([pack_positions(((0.0, 0.0, 10.0, 0.0),))]).tolist() == [43 * 90 + 45]
    # to the left at 0.2 m: the nearest ring, bearing -90 degrees
    assert tallies.cells_of([pack_positions(((0.0, -0.2, 0.0, 0.0),))]).tolist() == [22]
    assert tallies.cells_of([b""]).tolist() == []


def test_cells_are_as_long_as_they_are_wide() -> None:
    edges = tallies.ring_edges_m()[1:]
    assert np.allclose(np.diff(edges) / edges[:-1], tallies.CELL_RAD, rtol=0.04)


@given(st.lists(st.tuples(st.just(0.0), coordinates, coordinates, coordinates), max_size=30))
def test_cells_are_those_of_the_slow_way(positions) -> None:
    found = tallies.cells_of([pack_positions(tuple(positions))])
    assert len(set(found.tolist())) == len(found)
    edges = tallies.ring_edges_m()
    for _, x_m, y_m, z_m in positions:
        range_m, bearing = math.hypot(x_m, y_m, z_m), (math.degrees(math.atan2(x_m, y_m)) + 180) / 4
        near_an_edge = np.min(np.abs(edges - range_m)) < 1e-6 * (1 + range_m) or abs(bearing - round(bearing)) < 1e-6
        assert near_an_edge or slow_cell(x_m, y_m, z_m) in found


@pytest.fixture
def write(tmp_path: Path):
    archive = Archive(tmp_path, Part("archive"))

    async def write(*tracks, sonar: str = "pen") -> ArchiveReader:
        for track in tracks:
            archive._tracks.put((sonar, track))
        assert await archive._write()
        return archive.reader

    yield write
    archive._close()


def at_hour(make_track, number: int, hour: float, **changes):
    last_time_s = 470_000 * HOUR_S + hour * HOUR_S
    return make_track(number, first_time_s=last_time_s - 5, last_time_s=last_time_s, **changes)


async def test_hours_and_days_are_counted_by_class(write, make_track) -> None:
    tracks = [at_hour(make_track, n, hour=n * 0.7, label=("fish", "seal")[n % 3 == 0]) for n in range(1, 100)]
    reader = await write(*tracks)
    start_s = 470_000 * HOUR_S
    for bucket_s in (600, 3600, 6 * 3600, 86400):
        slow = Counter((math.floor(track.last_time_s / bucket_s), track.label) for track in tracks)
        found = reader.track_counts("pen", start_s, start_s + 100 * HOUR_S, bucket_s)
        assert {(bucket, label): count for bucket, label, count in found} == slow
    assert reader.track_counts("other", start_s, start_s + 100 * HOUR_S, 3600) == []
    assert reader.span_s() == (tracks[0].last_time_s, tracks[-1].last_time_s)


@pytest.mark.parametrize("most", [0, 5, 10_000])
async def test_cells_of_any_time_are_those_of_its_tracks(write, make_track, monkeypatch, most: int) -> None:
    monkeypatch.setattr(tallies, "MOST_LOOKED_AT", most)
    tracks = [
        at_hour(make_track, n, hour=n * 0.9, positions=((0.0, n / 10, 5.0, 0.0), (1.0, -n / 7, 9.0, 0.0)))
        for n in range(1, 120)
    ]
    reader = await write(*tracks)
    for first, last in ((0, 200), (3.25, 4.5), (3, 30), (20, 28), (25, 100), (16, 64), (8, 56)):
        wanted = (470_000 + first) * HOUR_S, (470_000 + last) * HOUR_S
        found, from_s, to_s = reader.cell_counts("pen", None, *wanted)
        assert from_s <= wanted[0] < wanted[1] <= to_s
        if most == 10_000:
            assert (from_s, to_s) == wanted
        slow = np.zeros_like(found)
        for track in tracks:
            if from_s <= track.last_time_s < to_s:
                slow[list({slow_cell(*np.float32(position[1:]).astype(float)) for position in track.positions})] += 1
        assert found.tolist() == slow.tolist()
    assert not reader.cell_counts("pen", "no such class", 0.0, 1e10)[0].any()


async def test_a_track_that_is_written_again_counts_once(write, make_track) -> None:
    await write(at_hour(make_track, 1, hour=1, label="fish"), at_hour(make_track, 2, hour=1))
    reader = await write(at_hour(make_track, 1, hour=5, label="seal"), at_hour(make_track, 2, hour=1))
    found = reader.track_counts("", 0.0, 2e9, 3600)
    assert found == [(470_001, "fish", 1), (470_005, "seal", 1)]
    assert reader.cell_counts("", None, 0.0, 2e9)[0].max() == 2


async def test_tracks_that_are_removed_leave_no_trace_in_the_tallies(tmp_path: Path, write, make_track) -> None:
    zones = (ZonePassage("gate", 0.0, 1.0, 1.0, 2.0),)
    await write(*(at_hour(make_track, n, hour=n, zones=zones) for n in range(1, 9)))
    database = connect(tmp_path / "nims.sqlite3")
    with database:
        tallies.uncount_tracks(database, range(1, 9))
        database.execute("DELETE FROM tracks")
    for table in ("track_hours", "track_days", "track_zones"):
        assert database.execute(f"SELECT COUNT(*) FROM {table}").fetchone() == (0,)
    database.close()


async def test_tracks_inside_a_zone_come_in_pages(write, make_track) -> None:
    inside, outside = (ZonePassage("gate", 0.0, 1.0, 1.0, 2.0),), (ZonePassage("gate", 1.5, 1.0, math.nan, 0.0),)
    tracks = [at_hour(make_track, n, hour=n, zones=inside if n % 2 else outside) for n in range(1, 12)]
    reader = await write(*tracks)
    for sort in ("last_time_s", "mean_length_m"):
        mark, found = None, []
        while True:
            page, mark = reader.tracks(TrackFilter(zone="gate", sonar="pen"), sort=sort, limit=2, after=mark)
            found += [track["id"] for track in page]
            if mark is None:
                break
        assert found == [11, 9, 7, 5, 3, 1]


async def test_a_file_without_tallies_gets_them(tmp_path: Path, write, make_track) -> None:
    reader = await write(*(at_hour(make_track, n, hour=n) for n in range(1, 9)))
    before = reader.cell_counts("", None, 0.0, 2e9)[0].tolist()
    database = sqlite3.connect(tmp_path / "nims.sqlite3")
    for table in ("track_hours", "track_days", "track_zones", "track_groups"):
        database.execute(f"DROP TABLE {table}")
    database.execute("PRAGMA user_version = 3")
    database.commit()
    database.close()
    connect(tmp_path / "nims.sqlite3").close()
    assert reader.cell_counts("", None, 0.0, 2e9)[0].tolist() == before
    assert sum(before) >= 8
