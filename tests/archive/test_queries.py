"""Questions to the archive: pages, orders, filters and histories, against what was written."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from nims_appliance.archive import ArchiveError, ArchiveReader, TrackFilter, queries
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


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (TrackFilter(), "tracks_to_filter"),
        (TrackFilter(sonar="pen"), "tracks_of_sonar_to_filter"),
        (TrackFilter(sonar="pen", from_s=1.0, to_s=2.0), "tracks_of_sonar_to_filter"),
    ],
)
def test_pages_by_time_walk_along_an_index(tmp_path: Path, monkeypatch, wanted: TrackFilter, index: str) -> None:
    connect(tmp_path / "nims.sqlite3").close()
    asked: list[str] = []
    reader = ArchiveReader(tmp_path / "nims.sqlite3")
    with reader._open() as database:
        database.set_trace_callback(asked.append)
        monkeypatch.setattr(reader, "_open", lambda: nullcontext(database))
        reader.tracks(wanted, after=(5.0, 7))
        database.set_trace_callback(None)
        plan = " ".join(row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {asked[0]}"))
    assert index in plan
    assert "TEMP B-TREE" not in plan


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
