"""The health as JSON, the log's last records, and the text for support."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from nims_appliance.bus import LATEST
from nims_appliance.context import Context
from nims_appliance.web.state import describe_strip


@asynccontextmanager
async def browsing(serve, context: Context) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(context) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        yield client


async def test_everything_is_told_as_json(context: Context, serve) -> None:
    context.health.part("sonar pen").last_error = "no cable"
    context.health.part("disk").warning = "only 1.0 GB of the disk are free"
    async with browsing(serve, context) as client:
        with context.sonars["pen"].frames.subscribe("pipeline", LATEST):
            for _ in range(3):
                context.sonars["pen"].frames.publish(object())
            told = (await client.get("/api/v1/health")).json()
    parts = {part["name"]: part for part in told["parts"]}
    pen, disk = parts["sonar pen"], parts["disk"]
    assert pen["last_error"] == "no cable"
    assert abs(pen["last_error_utc_s"] - told["time_s"]) < 60
    assert told["alarms"] == [{"name": "disk", "text": "disk: only 1.0 GB of the disk are free", "level": "warn"}], (
        "what every page shows"
    )
    assert disk["warning"]
    frames = next(bus for bus in told["buses"] if bus["name"] == "pen frames")
    (pipeline,) = [subscriber for subscriber in frames["subscribers"] if subscriber["name"] == "pipeline"]
    assert (frames["published"], frames["dropped"]) == (3, 2)
    assert (pipeline["delivered"], pipeline["dropped"], pipeline["queued"]) == (0, 2, 1)
    assert pipeline["lag_s"] > 0
    assert {"nims_m3", "nims_ek60"} <= {plugin["name"] for plugin in told["plugins"]}
    assert told["versions"]["trio"]
    assert told["uptime_s"] >= 0


async def test_the_log_is_told_to_operators_record_by_record(context: Context, serve, operator) -> None:
    log = logging.Logger("test")
    log.addHandler(context.log)
    log.info("one")
    log.warning("two")
    async with browsing(serve, context) as client:
        assert (await client.get("/api/v1/log")).status_code == 401
        client.headers.update(operator)
        records = (await client.get("/api/v1/log")).json()["records"]
        assert [(record["text"], record["level"]) for record in records] == [("one", "INFO"), ("two", "WARNING")]
        newer = (await client.get(f"/api/v1/log?after={records[0]['number']}&level=warning")).json()
        assert [record["text"] for record in newer["records"]] == ["two"]
        assert newer["newest"] == records[-1]["number"]


@pytest.mark.parametrize("query", ["after=x", "after=-1", "after=" + "9" * 30, "level=LOUD"])
async def test_a_question_for_the_log_that_makes_no_sense_is_refused(
    context: Context, serve, operator, query: str
) -> None:
    async with browsing(serve, context) as client:
        answer = await client.get(f"/api/v1/log?{query}", headers=operator)
        assert answer.status_code == 400
        assert answer.json()["error"].startswith(query.partition("=")[0])


async def test_the_text_for_support_has_what_is_needed_and_no_secrets(context: Context, serve, operator) -> None:
    await context.config.change({"sonars.pen.detector.min_range_m": 2.5}, "test")
    logging.Logger("test").addHandler(context.log)
    context.log.handle(
        logging.LogRecord("nims.mqtt", logging.ERROR, "", 0, "mqtt://vessel:hunter2@10.0.0.9: refused", None, None)
    )
    part = context.health.part("sonar pen")
    part.set("failed", "tcp://me:hunter2@10.0.0.5:1 does not answer")
    part.last_error = "no route"
    part.statistics = lambda: {"pings": 12}
    async with browsing(serve, context) as client:
        assert (await client.get("/api/v1/support")).status_code == 401
        answer = await client.get("/api/v1/support", headers=operator)
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["content-disposition"].startswith('attachment; filename="nims-support-')
    for expected in ("NOT all parts are well", "sonar pen: failed", "no route", "pings: 12", "nims_m3", "trio "):
        assert expected in answer.text
    assert "sonars.pen.detector.min_range_m: 2.5 (overrides.yaml:" in answer.text
    assert "mqtt://***@10.0.0.9: refused" in answer.text
    assert "hunter2" not in answer.text


def _part(name: str, statistics: dict | None = None, state: str = "running", warning: str = "") -> dict:
    return {"name": name, "state": state, "warning": warning, "statistics": statistics or {}}


def test_the_strip_tells_disk_clock_and_recording() -> None:
    strip = describe_strip(
        [
            _part("disk", {"free_bytes": 10**9, "left_s": 7200.0}, warning="the disk is full in 2 h"),
            _part("clock", {"synchronised": True, "estimated_error_s": 0.01}),
            _part("recorder pen", {"recording": True, "lost_bytes": 5}, state="failed"),
            _part("recorder dam", {"recording": False, "lost_bytes": 7}),
        ]
    )
    assert strip == {
        "disk": {"free_bytes": 10**9, "left_s": 7200.0, "level": "warn"},
        "clock": {"synchronised": True, "error_s": 0.01, "level": ""},
        "recording": {"sonars": ["pen"], "lost_bytes": 5, "level": "bad"},
    }


def test_the_strip_says_nothing_of_what_no_part_tells() -> None:
    assert describe_strip([]) == {"disk": None, "clock": None, "recording": None}
