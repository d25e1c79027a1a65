"""Tracks, metrics, events and alarms over HTTP, against what an archive was given."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from nims_appliance.alarms import watch_alarms
from nims_appliance.archive import Archive, queries
from nims_appliance.bus import all_within
from nims_appliance.context import Context
from nims_appliance.health import Part
from nims_appliance.pipeline.metrics import MetricsBin
from nims_appliance.pipeline.results import TrackSummary
from nims_appliance.web import metrics_api, tracks_api


def make_track(number: int, **changes: Any) -> TrackSummary:
    values: dict[str, Any] = {
        name: 1.0 for name, kind in TrackSummary.__annotations__.items() if kind == "float" and name != "probability"
    }
    values |= {"id": 2**60 + number, "first_time_s": 1000.0, "last_time_s": 1000.0 + number, "hits": 9, "pings": 10}
    return TrackSummary(**(values | {"calibrated": True, "positions": ((1.0, 2.0, 3.0, 4.0),)} | changes))


def make_bin(end_s: float, **changes: Any) -> MetricsBin:
    names = ("sv_db", "sa_db", "center_of_mass_m", "inertia_m2", "equivalent_area_m", "aggregation_index_per_m")
    values: dict[str, Any] = dict.fromkeys(names, -60.0)
    values |= {"sonar_id": "pen", "channel": "", "ping_number": 1, "start_s": end_s - 4.5, "end_s": end_s, "pings": 5}
    return MetricsBin(**(values | {"calibrated": True, "proportion_occupied": 0.5, "layers": 0} | changes))


@pytest.fixture
def asking(context: Context, serve):
    """A client of a server whose archive has been given tracks, bins and events."""

    @asynccontextmanager
    async def asking(
        tracks: list[TrackSummary] = (), bins: list[MetricsBin] = (), events: int = 0
    ) -> AsyncIterator[httpx.AsyncClient]:
        context.archive = archive = Archive(context.data, Part("archive"))
        for item in tracks:
            archive._tracks.put(("pen", item))
        for done in bins:
            archive._bins.put(done)
        for number in range(events):
            archive.event("appliance", "start", f"number {number}")
        assert await archive._write()
        archive._close()
        async with serve(context) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            yield client

    return asking


async def test_live_and_ended_tracks_are_told(context: Context, asking, make_result) -> None:
    async with asking([make_track(1), make_track(2), make_track(3)]) as client:
        while not context.results.subscribers:
            await trio.sleep(0.01)
        context.results.publish(make_result(3))
        tracks = (await client.get("/api/v1/tracks?limit=2")).json()
        assert [track["id"] for track in tracks["live"]] == [str(2**62 + 5)]
        assert [track["id"] for track in tracks["ended"]] == [str(2**60 + 3), str(2**60 + 2)]
        assert (await client.get("/api/v1/tracks?state=ended")).json()["live"] == []
        assert (await client.get("/api/v1/tracks?state=live")).json()["ended"] == []
        # The live one is 0.3 m long, 1.1 m/s fast, and has no class yet.
        for wanted, there in (("min_speed_m_s=1", 1), ("min_speed_m_s=2", 0), ("min_length_m=9", 0), ("label=x", 0)):
            assert len((await client.get(f"/api/v1/tracks?{wanted}")).json()["live"]) == there


async def test_pages_of_tracks_follow_each_other(asking) -> None:
    async with asking([make_track(k, mean_length_m=math.nan if k % 2 else float(k)) for k in range(1, 8)]) as client:
        for sort in ("last_time_s", "mean_length_m", "label"):
            found, after = [], ""
            while after is not None:
                answer = (await client.get(f"/api/v1/tracks?sort={sort}&limit=3&after={after}")).json()
                found += [int(track["id"]) - 2**60 for track in answer["ended"]]
                after = answer["next"]
            assert sorted(found) == list(range(1, 8))
            assert found == ([6, 4, 2, 7, 5, 3, 1] if sort == "mean_length_m" else [7, 6, 5, 4, 3, 2, 1])


async def test_tracks_as_csv_have_units_in_their_head(asking, monkeypatch) -> None:
    monkeypatch.setattr(tracks_api, "CSV_PAGE", 2)
    tracks = [make_track(k, label="=1+1" if k == 5 else "fish") for k in range(1, 6)]
    async with asking(tracks) as client:
        answer = await client.get("/api/v1/tracks?format=csv&order=asc&min_duration_s=2")
    assert 'filename="tracks.csv"' in answer.headers["content-disposition"]
    head, *rows = csv.reader(io.StringIO(answer.text))
    assert head[:5] == ["id", "sonar", "channel", "first_time", "last_time"]
    assert "mean_speed_m_s" in head
    assert [int(row[0]) - 2**60 for row in rows] == [2, 3, 4, 5]
    assert rows[-1][head.index("label")] == "'=1+1", "no formula for a spreadsheet"
    assert rows[0][head.index("probability")] == ""


async def test_one_track_comes_with_its_path(asking) -> None:
    async with asking([make_track(1)]) as client:
        track = (await client.get(f"/api/v1/tracks/{2**60 + 1}")).json()
        assert (track["id"], track["positions"]) == (str(2**60 + 1), [[1.0, 2.0, 3.0, 4.0]])
        for number in (2**60 + 2, 2**64):
            assert (await client.get(f"/api/v1/tracks/{number}")).status_code == 404
        assert (await client.get("/api/v1/tracks/labels")).json() == {"labels": [""]}


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("tracks?limit=0", "limit: expected a number from 1"),
        ("tracks?limit=x", "limit"),
        ("tracks?limit=99999999", "limit"),
        ("tracks?limit=" + "9" * 400, "limit"),
        ("tracks?sort=positions", "sort: expected id, "),
        ("tracks?order=up", "order: expected asc, desc, got 'up'"),
        ("tracks?min_length_m=long", "min_length_m: expected a number, got 'long'"),
        ("tracks?from=nan", "from: expected a number"),
        ("tracks?after=zzzz", "after"),
        ("tracks?after=WzEsOTk5OTk5OTk5OTk5OTk5OTk5OTld", "after"),
        ("metrics?metrics=sv_db,speed", "metrics: expected some of sv_db, "),
        ("metrics?from=5&to=4", "from: expected a time before"),
        ("metrics?from=0&to=1e12", "at most 32 days"),
        ("metrics?from=0&to=1000000&bucket_s=1", "5000 points"),
        ("metrics?points=0", "points"),
        ("metrics?bucket_s=-1", "bucket_s"),
        ("metrics?layer=-1", "layer"),
        ("metrics?format=xml", "format"),
        ("events?before=x", "before"),
    ],
)
async def test_what_cannot_be_asked_is_named(asking, path: str, named: str) -> None:
    async with asking() as client:
        answer = await client.get(f"/api/v1/{path}")
        assert answer.status_code == 400
        assert named in answer.json()["error"]


async def test_metrics_are_of_the_last_hour_of_the_sonars_own_clock(asking) -> None:
    bins = [make_bin(5.0 * k, sv_db=-60.0 - k / 7, noise_db=math.nan) for k in range(1, 1000)]
    async with asking(bins=bins) as client:
        told = (await client.get("/api/v1/metrics?sonar=pen&metrics=sv_db,noise_db&points=1000")).json()
        assert (told["newest_s"], told["bucket_s"], told["calibrated"]) == (4995.0, 0, True)
        assert (told["time_s"][0], told["time_s"][-1]) == (1400.0, 4995.0)
        assert told["metrics"]["sv_db"]["mean"][-1] == pytest.approx(-60 - 999 / 7, rel=1e-5)
        assert told["metrics"]["noise_db"]["mean"][0] is None
        thin = (await client.get("/api/v1/metrics?sonar=pen&metrics=sv_db&points=100&last_s=900")).json()
        assert thin["bucket_s"] == 10.0
        assert {len(values) for values in thin["metrics"]["sv_db"].values()} == {len(thin["time_s"])}
        assert thin["metrics"]["sv_db"].keys() == {"mean", "min", "max"}
        series = (await client.get("/api/v1/metrics/series")).json()["series"]
        assert [(entry["sonar"], entry["layer"], entry["end_s"]) for entry in series] == [("pen", 0, 4995.0)]


async def test_a_bucket_is_the_same_whenever_it_is_asked_for(asking) -> None:
    bins = [make_bin(5.0 * k, sv_db=-60.0 - k % 13) for k in range(1, 500)]
    async with asking(bins=bins) as client:
        whole = (await client.get("/api/v1/metrics?from=0&to=2495&metrics=sv_db&bucket_s=60")).json()
        tail = (await client.get("/api/v1/metrics?from=1200&to=2495&metrics=sv_db&bucket_s=60")).json()
        first = whole["time_s"].index(tail["time_s"][0])
        assert tail["metrics"]["sv_db"]["mean"] == whole["metrics"]["sv_db"]["mean"][first:]


async def test_metrics_as_csv_are_what_is_shown_or_every_bin(asking, monkeypatch) -> None:
    monkeypatch.setattr(metrics_api, "CSV_PAGE", 3)
    bins = [make_bin(1e9 + 5.0 * k, sv_db=-50.0 - k, sa_db=math.nan) for k in range(1, 9)]
    async with asking(bins=bins) as client:
        path = "/api/v1/metrics?format=csv&metrics=sv_db,sa_db"
        head, *rows = csv.reader(io.StringIO((await client.get(path)).text))
        assert head == ["time", "end_s", "start_s", "pings", "calibrated", "sv_db", "sa_db"]
        assert [row[5] for row in rows] == [f"{-50.0 - k}" for k in range(1, 9)]
        assert rows[0] == ["2001-09-09T01:46:45.000Z", "1000000005.0", "1000000000.5", "5", "1", "-51.0", ""]
        head, *rows = csv.reader(io.StringIO((await client.get(f"{path}&bucket_s=20")).text))
        assert head[:6] == ["time", "middle_s", "pings", "sv_db_mean", "sv_db_min", "sv_db_max"]
        assert [row[4:6] for row in rows] == [["-53.0", "-51.0"], ["-57.0", "-54.0"], ["-58.0", "-58.0"]]


async def test_an_archive_that_cannot_be_read_is_told(context: Context, asking) -> None:
    async with asking() as client:
        for path in context.data.glob("nims.sqlite3*"):
            path.unlink()
        for path in ("tracks", "metrics", "events", "metrics/series", "tracks/labels"):
            assert (await client.get(f"/api/v1/{path}")).status_code == 200, "not there yet"
        (context.data / "nims.sqlite3").write_bytes(b"no database" * 500)
        for path in ("tracks", "metrics", "events", "metrics/series", "tracks/labels", "tracks/1"):
            answer = await client.get(f"/api/v1/{path}")
            assert answer.status_code == 503
            assert "cannot read" in answer.json()["error"]


async def test_many_questions_at_once_take_turns(asking, monkeypatch) -> None:
    running, most = 0, 0

    def counted(*_: object, **__: object) -> tuple:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.02)
        running -= 1
        return [], None

    monkeypatch.setattr(queries.ArchiveReader, "tracks", counted)
    async with asking() as client, trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(client.get, "/api/v1/tracks")
    assert 1 <= most <= queries.READERS


async def test_events_are_told_newest_first(asking) -> None:
    async with asking(events=5) as client:
        events = (await client.get("/api/v1/events?limit=2")).json()["events"]
        assert [event["text"] for event in events] == ["number 4", "number 3"]
        older = (await client.get(f"/api/v1/events?before={events[-1]['id']}&kinds=start")).json()["events"]
        assert [event["text"] for event in older] == ["number 2", "number 1", "number 0"]
        assert (await client.get("/api/v1/events?kinds=alarm")).json()["events"] == []


async def test_an_alarm_is_shown_to_all_and_acknowledged_by_an_operator(context: Context, asking, operator) -> None:
    await context.config.change({"sonars.pen.metrics.alarms.much": {"metric": "sv_db", "value": -40.0}}, "test")
    async with asking() as client, trio.open_nursery() as nursery:
        nursery.start_soon(watch_alarms, context)
        while not context.metrics.subscribers:
            await trio.sleep(0.01)
        context.metrics.publish(make_bin(5.0, sv_db=-30.0))
        await trio.testing.wait_all_tasks_blocked()
        (alarm,) = (await client.get("/api/v1/alarms")).json()["alarms"]
        assert (alarm["id"], alarm["state"], alarm["value"]) == ("pen/much", "raised", -30.0)
        assert [a["name"] for a in (await client.get("/api/v1/state")).json()["alarms"]] == ["pen/much"]
        answer = await client.post("/api/v1/alarms/acknowledge", json={"id": "pen/much"})
        assert answer.status_code == 401, "not by everybody"
        with context.alarms.subscribe("test", all_within(5)) as heard:
            answer = await client.post("/api/v1/alarms/acknowledge", json={"id": "pen/much"}, headers=operator)
            assert (await heard.receive()).kind == "acknowledged"
        assert answer.json()["alarm"]["acknowledged_by"]
        answer = await client.post("/api/v1/alarms/acknowledge", json={"id": "other"}, headers=operator)
        assert (answer.status_code, answer.json()["error"]) == (400, "alarm 'other' is not raised")
        assert (await client.get("/api/v1/state")).json()["alarms"] == []
        nursery.cancel_scope.cancel()
