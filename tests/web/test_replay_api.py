"""The hand on a recording over HTTP: what is ordered happens, what makes no sense is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from nims_appliance.context import Context
from nims_appliance.playback import Playback


@pytest.fixture
def playing(context: Context, serve, operator):
    """A client of a server whose sonar `pen` plays a recording, and the hand on it."""

    @asynccontextmanager
    async def playing() -> AsyncIterator[tuple[httpx.AsyncClient, Playback]]:
        playback = context.sonars["pen"].playback = Playback()
        async with serve(context) as port:
            client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=operator)
            async with client:
                yield client, playback

    return playing


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, "expected"),
        ([], "expected"),
        ({"do": "stop"}, "expected"),
        ({"do": "step", "pings": 0}, "pings: expected"),
        ({"do": "step", "pings": True}, "pings: expected"),
        ({"do": "speed"}, "speed: expected"),
        ({"do": "speed", "speed": -1}, "speed: expected"),
        ({"do": "seek", "time": "tomorrow"}, "time: expected"),
        ({"do": "seek"}, "time: expected"),
    ],
)
async def test_wrong_orders_are_refused_with_what_was_expected(playing, body, expected: str) -> None:
    async with playing() as (client, playback):
        answer = await client.post("/api/v1/sonars/pen/replay", json=body)
        assert answer.status_code == 400
        assert expected in answer.json()["error"]
        assert playback.state() == {"paused": False, "speed": 1.0, "position_s": None}


async def test_a_recording_is_controlled_over_http(playing) -> None:
    async with playing() as (client, playback):

        async def post(**body) -> dict:
            answer = await client.post("/api/v1/sonars/pen/replay", json=body)
            assert answer.status_code == 200, answer.text
            return answer.json()["replay"]

        assert (await post(do="pause"))["paused"]
        assert (await post(do="step", pings=3))["paused"]
        assert (await post(do="speed", speed=4))["speed"] == 4
        await post(do="seek", time="2026-11-22T01:36:45Z")
        assert playback.take_seek() == 1795311405.0
        await post(do="seek", time=17.5)
        assert playback.take_seek() == 17.5
        assert not (await post(do="play"))["paused"]


async def test_only_recordings_can_be_controlled(playing, context: Context) -> None:
    async with playing() as (client, _):
        assert (await client.post("/api/v1/sonars/gate/replay", json={"do": "pause"})).status_code == 404
        context.sonars["pen"].playback = None
        assert (await client.post("/api/v1/sonars/pen/replay", json={"do": "pause"})).status_code == 409
