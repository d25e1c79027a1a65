"""The track server over real sockets, with clients as the original's: options object in, NUL-framed JSON out.

Time runs thirty times faster than the computer's clock.
"""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import trio
import trio.testing

from nims_appliance.bus import Bus
from nims_appliance.health import Part
from nims_appliance.listening import bind
from nims_appliance.outputs import track_server
from nims_appliance.outputs.track_server import Options, TrackServer, parse_options
from nims_appliance.pipeline.results import DETECTION, PingResult
from nims_appliance.settings import TrackServerSettings


@pytest.fixture
def fast_clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(rate=30)


def make_result(number: int, sonar: str = "pen", notes: tuple[str, ...] = (), final: bool = False) -> PingResult:
    detections = np.zeros(0, DETECTION)
    return PingResult(sonar, number, number, 1.7e9 + number, 0.0, 0.0, "", detections, (), (), notes, final)


class Server:
    """A track server, and what drives it."""

    def __init__(self, max_clients: int = 64) -> None:
        settings = TrackServerSettings(port=0, max_clients=max_clients)
        self.results: Bus[PingResult] = Bus("results")
        context = SimpleNamespace(
            results=self.results, config=SimpleNamespace(current=SimpleNamespace(tracks=settings))
        )
        self.part = Part("track server")
        self.server = TrackServer(context, self.part)  # type: ignore[arg-type]
        self.sockets = bind(settings, "tracks")
        self.port = self.sockets[0].getsockname()[1]

    async def connect(self, options: bytes = b"{}") -> trio.SocketStream:
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        await stream.send_all(options)
        return stream

    async def subscribed(self, count: int = 1) -> None:
        while self.server._messages.subscribers < count:
            await trio.sleep(0.01)

    def publish(self, *numbers: int, sonar: str = "pen") -> None:
        for number in numbers:
            self.results.publish(make_result(number, sonar))


@asynccontextmanager
async def running(max_clients: int = 64) -> AsyncIterator[Server]:
    server = Server(max_clients)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.server.serve, server.sockets)
        try:
            yield server
        finally:
            nursery.cancel_scope.cancel()
            for sock in server.sockets:
                sock.close()


_rest: dict[trio.SocketStream, bytes] = {}


async def read_messages(stream: trio.SocketStream, count: int) -> list:
    """Return so many messages as decoded JSON, heartbeats as None."""
    received = _rest.pop(stream, b"")
    while received.count(b"\0") < count:
        data = await stream.receive_some(65536)
        assert data, "the server closed the connection"
        received += data
    *parts, _rest[stream] = received.split(b"\0", count)
    return [json.loads(part) if part else None for part in parts]


async def test_every_ping_is_one_message_ended_by_nul(fast_clock) -> None:
    async with running() as server, await server.connect(b'{"frequency": 0, "host": "me"}') as client:
        await server.subscribed()
        server.publish(1, 2, 3)
        messages = await read_messages(client, 3)
        assert [message["frame_num"] for message in messages] == [1, 2, 3]
        assert messages[0]["tracks"] == []


async def test_options_may_come_in_pieces_and_be_long(fast_clock) -> None:
    async with running() as server, await server.connect(b'{"heart') as client:
        await trio.sleep(0.3)
        await client.send_all(b'beat": 1, "comment": "' + b"x" * 20_000)
        await trio.sleep(0.3)
        await client.send_all(b'"}')
        assert await read_messages(client, 2) == [None, None]


@pytest.mark.parametrize("options", [b"", b"hello\r\n", b"[1]", b"\xff\xfe", b'{"heartbeat": }', b'{"open'])
async def test_without_readable_options_the_defaults_count(fast_clock, options: bytes) -> None:
    async with running() as server, await server.connect(options or b" ") as client:
        await server.subscribed()
        server.publish(1)
        assert (await read_messages(client, 1))[0]["frame_num"] == 1


async def test_options_without_end_are_bounded(fast_clock) -> None:
    async with running() as server, await server.connect(b'{"x": "' + b"y" * 200_000) as client:
        await server.subscribed()
        server.publish(1)
        assert (await read_messages(client, 1))[0]["frame_num"] == 1


async def test_a_client_that_closes_its_side_still_listens(fast_clock) -> None:
    async with running() as server, await server.connect(b"") as client:
        await client.send_eof()
        await server.subscribed()
        server.publish(1)
        assert (await read_messages(client, 1))[0]["frame_num"] == 1


async def test_heartbeats_come_when_nothing_else_does(fast_clock) -> None:
    async with running() as server, await server.connect(b'{"heartbeat": 2}') as client:
        await server.subscribed()
        started_s = trio.current_time()
        assert await read_messages(client, 1) == [None]
        assert trio.current_time() - started_s > 1.5
        server.publish(1)
        assert (await read_messages(client, 1))[0]["frame_num"] == 1
        assert await read_messages(client, 1) == [None]


async def test_no_more_messages_come_than_were_asked_for(fast_clock) -> None:
    async with running() as server, await server.connect(b'{"frequency": 0.001}') as client:
        await server.subscribed()
        for number in range(1, 20):
            server.publish(number, sonar="pen")
            server.publish(number, sonar="dam")
            await trio.testing.wait_all_tasks_blocked()
        received = [message["sonar_id"] for message in await read_messages(client, 2)]
        assert received == ["pen", "dam"]
        with trio.move_on_after(30):
            assert not await read_messages(client, 1)


async def test_one_sonar_can_be_asked_for(fast_clock) -> None:
    async with running() as server, await server.connect(b'{"sonar": "dam"}') as client:
        await server.subscribed()
        server.publish(1, sonar="pen")
        server.publish(2, sonar="dam")
        assert [message["frame_num"] for message in await read_messages(client, 1)] == [2]


async def test_a_slow_client_loses_the_oldest_and_is_told(monkeypatch) -> None:
    monkeypatch.setattr(track_server, "QUEUED_MESSAGES", 4)
    async with running() as server, await server.connect() as slow, await server.connect() as fast:
        await server.subscribed(2)
        received: list = []

        async def keep_up() -> None:
            while len(received) < 3000:
                received.extend(await read_messages(fast, 1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_up)
            for number in range(1, 3001):
                server.publish(number)
                await trio.testing.wait_all_tasks_blocked()
        assert len(received) == 3000, "the fast client must not notice"
        server.publish(3001)
        told, numbers = 0, []
        while not numbers or numbers[-1] != 3001:
            for message in await read_messages(slow, 1):
                told += message.get("dropped", 0)
                numbers.append(message["frame_num"])
        assert told > 0
        assert len(numbers) + told == 3001
        assert numbers == sorted(numbers)
        assert server.server.statistics()["dropped_messages"] == told


async def test_a_client_that_stalls_is_disconnected(fast_clock) -> None:
    async with running() as server, await server.connect():
        await server.subscribed()
        number = 0
        while server.server.stalled == 0:
            number += 1
            server.publish(number)
            await trio.sleep(0.002)
        assert server.server.statistics()["stalled_clients"] == 1


async def test_a_client_that_vanishes_is_forgotten(fast_clock) -> None:
    async with running() as server:
        client = await server.connect()
        await server.subscribed()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await client.aclose()
        while server.server.statistics()["clients"]:
            server.publish(1)
            await trio.sleep(0.01)
        assert server.part.detail == "no client"


async def test_too_many_clients_are_refused_but_the_gone_make_room(fast_clock) -> None:
    async with running(max_clients=2) as server, await server.connect(), await server.connect() as leaving:
        await server.subscribed(2)
        async with await server.connect() as third:
            assert await third.receive_some(10) == b""
        assert server.server.statistics()["refused_clients"] == 1
        await leaving.send_eof()
        await trio.sleep(0.3)
        async with await server.connect() as fourth:
            assert await leaving.receive_some(10) == b""
            await server.subscribed(2)
            server.publish(9)
            assert (await read_messages(fourth, 1))[0]["frame_num"] == 9


async def test_the_end_of_the_pipeline_is_no_ping(fast_clock) -> None:
    async with running() as server, await server.connect() as client:
        await server.subscribed()
        server.results.publish(make_result(1, final=True))
        server.publish(2)
        assert [message["frame_num"] for message in await read_messages(client, 1)] == [2]


async def test_a_stalled_client_does_not_hold_up_the_stop() -> None:
    with trio.fail_after(8):  # less than the 10 s after which a stalled client is disconnected anyway
        async with running() as server, await server.connect():
            await server.subscribed()
            for number in range(20_000):
                server.publish(number)
                if number % 50 == 0:
                    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, Options()),
        ({"heartbeat": 5, "frequency": 4}, Options(5.0, 0.25)),
        ({"heartbeat": "5", "frequency": "4"}, Options(5.0, 0.25)),
        ({"heartbeat": 0, "frequency": 0}, Options()),
        ({"heartbeat": -1, "frequency": -1}, Options()),
        ({"heartbeat": None, "frequency": [1], "sonar": 7}, Options()),
        ({"heartbeat": 1e-9}, Options(0.1)),
        ({"frequency": float("nan")}, Options()),
        ({"sonar": "pen"}, Options(sonars=frozenset({"pen"}))),
        ({"sonar": ["pen", "dam"]}, Options(sonars=frozenset({"pen", "dam"}))),
    ],
)
def test_options_are_taken_as_far_as_they_make_sense(values: dict, expected: Options) -> None:
    assert parse_options(values) == expected
