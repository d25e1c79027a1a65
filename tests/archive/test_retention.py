"""What is too old leaves the archive, and nothing else does; what comes meanwhile is written."""

from __future__ import annotations

from pathlib import Path

import trio

from nims_appliance.archive import Archive, Oldest, schema
from nims_appliance.archive.retention import forget_batch
from nims_appliance.bus import Bus
from nims_appliance.health import Part
from nims_appliance.settings import StorageSettings
from nims_appliance.storage import oldest_rows

BEGAN_S = 1700000000.0
"""Track number n of the fixtures ends n seconds later."""


async def test_what_is_too_old_goes_and_the_tallies_with_it(tmp_path: Path, make_running, make_bin, rows) -> None:
    running = make_running(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results, running.metrics)
        running.publish(1, 2, 3, 4)
        for end_s in (10.0, 20.0, 30.0):
            running.metrics.publish(make_bin(end_s, layers=2))
        running.archive.event("a", "error", "long ago")
        await running.until_written(4)
        while running.archive.statistics()["written_bins"] < 3:
            await trio.sleep(0.01)
        removed = await running.archive.forget(Oldest(tracks_s=BEGAN_S + 3, bins_s=20.0, events_s=2e12))
        assert (removed.tracks, removed.bins, removed.events) == (2, 3, 1)
        running.close()
    assert rows(tmp_path) == [(3,), (4,)]
    assert rows(tmp_path, "SELECT SUM(tracks) FROM track_hours") == [(2,)]
    assert rows(tmp_path, "SELECT DISTINCT end_s FROM metrics_bins ORDER BY 1") == [(20.0,), (30.0,)]
    assert rows(tmp_path, "SELECT count(*) FROM events") == [(0,)]


async def test_nothing_goes_where_everything_is_kept(tmp_path: Path, make_running, rows) -> None:
    running = make_running(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results, running.metrics)
        running.publish(1, 2)
        await running.until_written(2)
        assert (await running.archive.forget(Oldest())).total == 0
        running.close()
    assert rows(tmp_path) == [(1,), (2,)]


def test_days_are_counted_back_from_now_and_0_keeps_for_ever() -> None:
    settings = StorageSettings(tracks_days=2, events_days=0.5)
    assert oldest_rows(settings, 1e6) == Oldest(tracks_s=1e6 - 2 * 86400, events_s=1e6 - 43200)
    assert oldest_rows(StorageSettings(), 1e6) == Oldest()


async def test_tracks_that_come_while_old_ones_go_are_written(tmp_path: Path, make_running, rows, monkeypatch) -> None:
    monkeypatch.setattr("nims_appliance.archive.writer.FORGET_PAUSE_S", 0.01)
    monkeypatch.setattr(
        "nims_appliance.archive.writer.forget_batch", lambda database, oldest: forget_batch(database, oldest, 10)
    )
    running = make_running(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results, running.metrics)
        running.publish(*range(1, 301))
        await running.until_written(300)

        async def forget() -> None:
            assert (await running.archive.forget(Oldest(tracks_s=BEGAN_S + 301))).tracks == 300

        nursery.start_soon(forget)
        for number in range(1001, 1021):
            running.publish(number)
            await trio.sleep(0.02)
        while rows(tmp_path, "SELECT count(*) FROM tracks WHERE id < 1000") != [(0,)]:
            await trio.sleep(0.02)
        running.close()
    assert rows(tmp_path) == [(number,) for number in range(1001, 1021)]


async def test_an_archive_that_is_closed_meanwhile_is_not_opened_again(tmp_path: Path, make_running) -> None:
    running = make_running(tmp_path)
    archive, lock = running.archive, running.archive._one_at_a_time

    async def until_waiting(tasks: int) -> None:
        while lock.statistics().tasks_waiting < tasks:
            await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        await nursery.start(archive.run, running.results, running.metrics)
        running.publish(1)
        await running.until_written(1)
        await lock.acquire()
        running.close()
        await until_waiting(1)  # the last writing
        lock.release()
        await lock.acquire()
        await until_waiting(1)  # the closing
        nursery.start_soon(archive.forget, Oldest(tracks_s=2e12))
        await until_waiting(2)
        lock.release()
    assert archive._database is None


def test_room_of_old_rows_is_used_again(tmp_path: Path, make_bin) -> None:
    archive = Archive(tmp_path, Part("archive"))
    database = schema.connect(archive.path)
    sizes = []
    for day in range(12):
        with database:
            database.execute("INSERT OR IGNORE INTO series VALUES (1, 'pen', '', 0)")
            database.executemany(
                f"INSERT INTO metrics_bins VALUES ({', '.join('?' * len(schema.BINS))})",
                [(1, day * 1000.0 + n, 0.0, 1, 1, 1, *[0.5] * (len(schema.BINS) - 6)) for n in range(1000)],
            )
        while forget_batch(database, Oldest(bins_s=(day - 2) * 1000.0)).total:
            database.commit()
        sizes.append(database.execute("PRAGMA page_count").fetchone()[0])
    database.close()
    assert max(sizes[5:]) <= 1.05 * sizes[4]


async def test_an_archive_that_cannot_be_written_keeps_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "nims.sqlite3").mkdir()
    archive = Archive(tmp_path, Part("archive"))
    results: Bus = Bus("results")
    metrics: Bus = Bus("metrics")
    async with trio.open_nursery() as nursery:
        await nursery.start(archive.run, results, metrics)
        while archive._part.state != "failed":
            await trio.sleep(0.01)
        assert (await archive.forget(Oldest(tracks_s=2e12))).total == 0
        results.close()
        metrics.close()
