"""Questions to the archive: pages, orders, filters and histories, against what was written."""

from __future__ import annotations

import math
import random
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from nims_appliance.archive import ArchiveError, ArchiveReader, TrackFilter, queries, schema, track_pages
from nims_appliance.archive.schema import connect


async def fill(data: Path, make_running, results: Iterator[Any] = (), bins: Iterator[Any] = ()) -> ArchiveReader:
    running = make_running(data)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results, running.metrics)
        for result in results:
            running.results.publish(result)
        for done in bins:
            running.metrics.publish(done)
        running.close()
    return ArchiveReader(data / "nims.sqlite3")


def all_pages(reader: ArchiveReader, limit: int, **kwargs: Any) -> list[int]:
    found, after = [], None
    for _ in range(100):
        page, after = reader.tracks(limit=limit, after=after, **kwargs)
        found += [track["id"] for track in page]
        if after is None:
            return found
    raise AssertionError("the pages do not end")


def test_no_file_is_an_empty_archive(tmp_path: Path) -> None:
    reader = ArchiveReader(tmp_path / "nims.sqlite3")
    assert reader.tracks() == ([], None)
    assert (reader.track(1), reader.series(), reader.events(), reader.labels()) == (None, [], [], [])
    history = reader.metrics(("pen", "", 0), ("sv_db",), 0.0, 100.0)
    assert (len(history.points.time_s), history.calibrated, len(history.tracks_time_s)) == (0, None, 0)


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "nims.sqlite3").write_bytes(b"no database" * 500)
    with pytest.raises(ArchiveError, match="cannot read"):
        ArchiveReader(tmp_path / "nims.sqlite3").tracks()


def test_a_question_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch) -> None:
    connect(tmp_path / "nims.sqlite3").close()
    monkeypatch.setattr(queries, "QUERY_S", -1.0)
    reader = ArchiveReader(tmp_path / "nims.sqlite3")
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT MAX(i) FROM n"
    with pytest.raises(ArchiveError, match="ask for less time"), reader._open() as database:
        database.execute(endless).fetchone()


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", ["last_time_s", "id", "mean_length_m", "label", "quality", "sonar"])
async def test_pages_hold_every_track_once_and_in_order(
    tmp_path: Path, make_running, make_result, make_track, sort: str, descending: bool
) -> None:
    lengths = [0.3, math.nan, 0.1, 0.3, 0.3, math.nan, 2.0, -math.inf, 0.0]
    labels = ["fish", "", "fish", "debris", "", "fish", "debris", "", "fish"]
    tracks = [
        make_track(k, mean_length_m=length, label=label, last_time_s=1e9 + k % 4, quality=k % 3 / 3)
        for k, (length, label) in enumerate(zip(lengths, labels, strict=True), 1)
    ]
    reader = await fill(tmp_path, make_running, [make_result(*tracks)])
    everything = {track["id"]: track for track in reader.tracks()[0]}
    with_value = [number for number, track in everything.items() if track[sort] is not None]
    expected = sorted(with_value, key=lambda number: (everything[number][sort], number), reverse=descending)
    expected += sorted((number for number in everything if number not in with_value), reverse=descending)
    for limit in (1, 3, 100):
        assert all_pages(reader, limit, sort=sort, descending=descending) == expected


async def test_tracks_that_come_between_two_pages_move_nothing(
    tmp_path: Path, make_running, make_result, make_track
) -> None:
    reader = await fill(tmp_path, make_running, [make_result(*(make_track(k) for k in range(1, 7)))])
    page, after = reader.tracks(limit=3)
    assert [track["id"] for track in page] == [6, 5, 4]
    await fill(tmp_path, make_running, [make_result(*(make_track(k) for k in range(7, 10)))])
    page, after = reader.tracks(limit=3, after=after)
    assert ([track["id"] for track in page], after) == ([3, 2, 1], None)


async def test_filters(tmp_path: Path, make_running, make_result, make_track) -> None:
    def track(number: int, **changes: Any) -> Any:
        return make_track(number, first_time_s=1000.0, last_time_s=1000.0 + number, **changes)

    tracks = [track(1, label=""), track(2, mean_speed_m_s=2.0), track(30, mean_length_m=1.5), track(40)]
    reader = await fill(tmp_path, make_running, [make_result(*tracks)])

    def found(**wanted: Any) -> set[int]:
        return {track["id"] for track in reader.tracks(TrackFilter(**wanted))[0]}

    assert found() == {1, 2, 30, 40}
    assert found(sonar="pen", from_s=1002.0, to_s=1040.0) == {2, 30}
    assert found(sonar="other") == set()
    assert found(label="") == {1}
    assert found(label="fish", min_duration_s=30.0) == {30, 40}
    assert found(min_speed_m_s=1.0) == {2}
    assert found(min_length_m=1.0) == {30}
    assert reader.labels() == ["", "fish"]


async def test_a_track_comes_with_its_path(tmp_path: Path, make_running, make_result, make_track) -> None:
    reader = await fill(tmp_path, make_running, [make_result(make_track(5))])
    found = reader.track(5)
    assert found["positions"] == list(make_track(5).positions)
    assert reader.track(6) is None


def test_sorting_by_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected one of"):
        ArchiveReader(tmp_path / "nims.sqlite3").tracks(sort="id; DROP TABLE tracks")


def plan_of(reader: ArchiveReader, monkeypatch, *args: Any, **kwargs: Any) -> str:
    """Return how SQLite finds the tracks of a page."""
    asked: list[str] = []
    with reader._open() as database, monkeypatch.context() as patched:
        database.set_trace_callback(asked.append)
        patched.setattr(reader, "_open", lambda: nullcontext(database))
        reader.tracks(*args, **kwargs)
        database.set_trace_callback(None)
        query = next(text for text in asked if text.startswith("SELECT id, "))
        return ", ".join(row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {query}")) + ","


@pytest.mark.parametrize(
    ("wanted", "sort", "index"),
    [
        (TrackFilter(), "last_time_s", schema.BY_TIME),
        (TrackFilter(from_s=1.0, to_s=2.0), "last_time_s", schema.BY_TIME),
        (TrackFilter(sonar="pen"), "last_time_s", schema.BY_SONAR),
        (TrackFilter(sonar="pen", label="fish", from_s=1.0, to_s=2.0), "last_time_s", schema.BY_SONAR),
        (TrackFilter(label="fish"), "last_time_s", schema.BY_CLASS),
        (TrackFilter(), "mean_length_m", schema.BY_LENGTH),
        (TrackFilter(), "mean_speed_m_s", schema.BY_SPEED),
        (TrackFilter(), "duration_s", schema.BY_DURATION),
    ],
)
def test_pages_walk_along_an_index(tmp_path: Path, monkeypatch, wanted: TrackFilter, sort: str, index: str) -> None:
    connect(tmp_path / "nims.sqlite3").close()
    reader = ArchiveReader(tmp_path / "nims.sqlite3")
    plan = plan_of(reader, monkeypatch, wanted, sort=sort, after=(5.0, 7))
    assert re.search(rf"INDEX {index}\b", plan)
    # Only what is on the page is sorted again.
    assert plan.count("TEMP B-TREE") == 1


async def test_a_bound_that_few_tracks_pass_is_looked_up_first(
    tmp_path: Path, make_running, make_result, make_track, monkeypatch
) -> None:
    tracks = [make_track(number, mean_length_m=number / 10, mean_speed_m_s=1.0) for number in range(1, 31)]
    reader = await fill(tmp_path, make_running, [make_result(*tracks)])
    monkeypatch.setattr(track_pages, "FEW", 5)
    few = TrackFilter(min_length_m=2.75, min_speed_m_s=0.5)
    assert f"INDEX {schema.BY_LENGTH} (" in plan_of(reader, monkeypatch, few)
    assert [track["id"] for track in reader.tracks(few)[0]] == [30, 29, 28]
    many = TrackFilter(min_length_m=0.55, min_speed_m_s=0.5)
    assert f"INDEX {schema.BY_TIME}," in plan_of(reader, monkeypatch, many)
    assert len(reader.tracks(many)[0]) == 25


@pytest.mark.parametrize("indexed", [True, False], ids=["this version's file", "older version's file"])
async def test_pages_of_every_filter_and_order_are_what_looking_at_each_track_gives(
    tmp_path: Path, make_running, make_result, make_track, monkeypatch, indexed: bool
) -> None:
    chance = random.Random(5)
    some = (math.nan, 0.25, 0.5, 1.0)
    tracks = [
        make_track(
            number,
            label=chance.choice(["", "fish", "seal"]),
            mean_length_m=chance.choice(some),
            mean_speed_m_s=chance.choice(some),
            first_time_s=1000.0,
            last_time_s=1000.0 + chance.randrange(20),
        )
        for number in range(1, 61)
    ]
    reader = await fill(tmp_path, make_running, [make_result(*tracks[:40]), make_result(*tracks[40:], sonar_id="dam")])
    if not indexed:
        with closing(sqlite3.connect(reader.path)) as database, database:
            for name in (schema.BY_TIME, schema.BY_SONAR, schema.BY_CLASS, schema.BY_LENGTH, schema.BY_SPEED):
                database.execute(f"DROP INDEX {name}")
    monkeypatch.setattr(track_pages, "FEW", 12)
    everything = reader.tracks(limit=1000)[0]
    assert len(everything) == 60

    def passes(track: dict[str, Any], wanted: TrackFilter) -> bool:
        def within(value: float | None, least: float | None, most: float | None = None) -> bool:
            if least is None and most is None:
                return True
            return value is not None and (least is None or value >= least) and (most is None or value <= most)

        return (
            (not wanted.sonar or track["sonar"] == wanted.sonar)
            and (wanted.label is None or track["label"] == wanted.label)
            and (wanted.from_s is None or track["last_time_s"] >= wanted.from_s)
            and (wanted.to_s is None or track["last_time_s"] < wanted.to_s)
            and within(track["mean_length_m"], wanted.min_length_m, wanted.max_length_m)
            and within(track["mean_speed_m_s"], wanted.min_speed_m_s, wanted.max_speed_m_s)
            and within(track["duration_s"], wanted.min_duration_s)
        )

    for _ in range(150):
        wanted = TrackFilter(
            sonar=chance.choice(["", "", "pen", "dam"]),
            label=chance.choice([None, None, "", "fish"]),
            from_s=chance.choice([None, None, 1005.0]),
            to_s=chance.choice([None, None, 1015.0]),
            min_length_m=chance.choice([None, None, 0.5, 0.9, 2.0]),
            max_speed_m_s=chance.choice([None, None, 0.5]),
            min_duration_s=chance.choice([None, None, 10.0, 18.5]),
        )
        sort = chance.choice(["last_time_s", "id", "mean_length_m", "mean_speed_m_s", "duration_s", "label"])
        descending = chance.random() < 0.5
        fitting = [track for track in everything if passes(track, wanted)]
        valued = sorted(
            (track for track in fitting if track[sort] is not None),
            key=lambda track: (track[sort], track["id"]),
            reverse=descending,
        )
        valued += sorted(
            (track for track in fitting if track[sort] is None), key=lambda track: track["id"], reverse=descending
        )
        found = all_pages(reader, 7, wanted=wanted, sort=sort, descending=descending)
        assert found == [track["id"] for track in valued], (wanted, sort, descending)


SERIES = ("pen", "", 0)


async def test_few_bins_come_as_they_are(tmp_path: Path, make_running, make_bin) -> None:
    bins = [make_bin(5.0 * k, -50.0 - k, layers=2) for k in range(1, 11)]
    reader = await fill(tmp_path, make_running, bins=bins)
    history = reader.metrics(SERIES, ("sv_db", "layers"), 10.0, 50.0, points=8)
    assert history.bucket_s == 0
    assert history.points.time_s.tolist() == [10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 45.0]
    assert history.points.mean[:, 0].tolist() == [-52.0, -53.0, -54.0, -55.0, -56.0, -57.0, -58.0, -59.0]
    assert (history.calibrated, history.layer_m) == (True, (1.0, 11.0))
    assert reader.newest_bin_s(SERIES) == 50.0
    assert reader.metrics(("pen", "", 2), ("sv_db",), 0.0, 100.0).layer_m == (5.0, 10.0)
    assert [(entry["layer"], entry["end_s"]) for entry in reader.series()] == [(0, 50.0), (1, 50.0), (2, 50.0)]
    assert len(reader.bins(SERIES, ("sv_db",), 0.0, 100.0, 4)) == 4


async def test_many_bins_keep_their_peaks(tmp_path: Path, make_running, make_bin) -> None:
    values = np.full(400, -60.0)
    values[123], values[321] = -20.0, math.nan
    bins = [make_bin(5.0 * k, float(value)) for k, value in enumerate(values)]
    reader = await fill(tmp_path, make_running, bins=bins)
    history = reader.metrics(SERIES, ("sv_db",), 0.0, 2000.0, points=40)
    assert history.bucket_s == 60.0
    assert len(history.points.time_s) == 34
    peak = int(np.argmax(history.points.most[:, 0]))
    assert (history.points.most[peak, 0], history.points.time_s[peak]) == (-20.0, 630.0)
    # One of twelve bins is 10 000 times louder.
    assert history.points.mean[peak, 0] == pytest.approx(10 * math.log10((11e-6 + 1e-2) / 12))
    assert history.points.pings[0] == 12 * 50


async def test_tracks_are_counted_beside_the_metrics(
    tmp_path: Path, make_running, make_bin, make_track, make_result: Callable[..., Any]
) -> None:
    tracks = [make_track(k, last_time_s=time_s) for k, time_s in enumerate((10.0, 20.0, 70.0, 200.0), 1)]
    reader = await fill(
        tmp_path, make_running, [make_result(*tracks)], [make_bin(end_s) for end_s in (5.0, 65.0, 125.0)]
    )
    history = reader.metrics(SERIES, ("sv_db",), 0.0, 200.0)
    # Nothing was heard from 180 s on: no count is not the same as a count of none.
    assert history.tracks_time_s.tolist() == [30.0, 90.0, 150.0]
    assert history.tracks_per_minute.tolist() == [2.0, 1.0, 0.0]


async def test_events_come_newest_first_and_by_kind(tmp_path: Path, make_running) -> None:
    running = make_running(tmp_path)
    for k in range(4):
        running.archive.event(f"part {k % 2}", "alarm" if k else "start", f"text {k}", author="me")
    running.close()
    await running.archive.run(running.results, running.metrics)
    reader = running.archive.reader
    assert [event["text"] for event in reader.events(limit=2)] == ["text 3", "text 2"]
    assert [event["text"] for event in reader.events(before=reader.events(limit=2)[-1]["id"])] == ["text 1", "text 0"]
    assert [event["text"] for event in reader.events(kinds=("start",))] == ["text 0"]
    assert [event["text"] for event in reader.events(part="part 1", kinds=("start", "alarm"))] == ["text 3", "text 1"]
