"""Triggers at work, over real sockets: what arrives, and what waits while the other end is gone."""

from __future__ import annotations

import json
import socket
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import trio

from nims_appliance.config.store import ConfigStore
from nims_appliance.context import Context
from nims_appliance.delivery import senders
from nims_appliance.delivery.outbox import FILE_NAME, Outbox
from nims_appliance.errors import NimsError
from nims_appliance.links.connection import now
from nims_appliance.pipeline.results import PingResult
from nims_appliance.plugin_host.host import PluginHost
from nims_appliance.triggers.engine import Triggers

RULE = "triggers.gate"


@pytest.fixture(scope="module")
def plugins() -> PluginHost:
    return PluginHost.load(None)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch) -> None:
    monkeypatch.setattr(senders, "FIRST_RETRY_S", 0.05)
    monkeypatch.setattr(senders, "LONGEST_RETRY_S", 0.1)


@asynccontextmanager
async def running(data: Path, plugins: PluginHost, **rule):
    """A context in which one trigger, `gate`, is at work."""
    line = {f"{RULE}.{key}": value for key, value in ({"on": "track"} | rule).items()}
    config = ConfigStore.load(data, plugins=plugins, command_line=line)
    assert not config.errors
    context = Context(data, config, plugins)
    context.triggers = Triggers(context, context.health.part("triggers"))
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(context.triggers.run)
            while context.triggers._nursery is None:
                await trio.sleep(0.001)
            yield context
            nursery.cancel_scope.cancel()


@pytest.fixture
def see(track):
    """see(context, *ids): a ping with these tracks."""
    return partial(_see, track)


def _see(track, context: Context, *numbers: int) -> None:
    arrival = now()
    tracks = tuple(track(number, range_m=12.5) for number in numbers)
    context.triggers.look(
        PingResult("pen", 1, 1, 1.7e9, arrival.utc_s, arrival.monotonic_s, "", np.zeros(0), tracks, ())
    )


async def test_a_datagram_leaves_with_the_ping(tmp_path: Path, plugins, see) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as camera:
        camera.bind(("127.0.0.1", 0))
        camera.settimeout(5)
        action = f"udp://127.0.0.1:{camera.getsockname()[1]}"
        async with running(tmp_path, plugins, actions=[action]) as context:
            see(context, 7)
            told = json.loads(await trio.to_thread.run_sync(camera.recv, 65536))
            assert (told["rule"], told["event"], told["sonar"], told["track"]) == ("gate", "track", "pen", 7)
            assert told["range_m"] == 12.5
            assert told["time"] == "2023-11-14T22:13:20.000Z"
            statistics = context.triggers.statistics()
            assert statistics["fired"] == {"gate": 1}
            assert statistics["latency_p99_ms"] > 0
            (outcome,) = await context.triggers.test("gate")
            assert outcome == {"action": action, "ok": True, "told": "handed to the network: nobody confirms it"}
            assert json.loads(await trio.to_thread.run_sync(camera.recv, 65536))["test"] is True
            with pytest.raises(NimsError, match="no trigger 'other'"):
                await context.triggers.test("other")


async def test_a_camera_with_a_name_is_found(tmp_path: Path, plugins, see) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as camera:
        camera.bind(("127.0.0.1", 0))
        camera.settimeout(5)
        action = f"udp://localhost:{camera.getsockname()[1]}"
        async with running(tmp_path, plugins, actions=[action], text="TRIG {range_m:.0f}") as context:
            number = 0
            while not context.triggers.statistics()["sent"].get(action):
                number += 1
                see(context, number)
                await trio.sleep(0.02)
            assert await trio.to_thread.run_sync(camera.recv, 65536) == b"TRIG 12"


async def test_nothing_is_done_again_within_the_hold_off(tmp_path: Path, plugins, see) -> None:
    async with running(tmp_path, plugins, actions=["udp://127.0.0.1:9"], hold_off_s=60) as context:
        for number in range(5):
            see(context, number)
            await trio.sleep(0.01)
        assert context.triggers.statistics()["fired"] == {"gate": 1}


class Webhook:
    """A small HTTP server that answers with a given status."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.bodies: list[bytes] = []

    async def serve(self, stream: trio.SocketStream) -> None:
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                more = await stream.receive_some(65536)
                if not more:
                    return
                data += more
            head, _, data = data.partition(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            while len(data) < length:
                data += await stream.receive_some(65536)
            if self.status == 200:
                self.bodies.append(data[:length])
            data = data[length:]
            await stream.send_all(b"HTTP/1.1 %d Said\r\nContent-Length: 0\r\n\r\n" % self.status)

    def numbers(self) -> list[int]:
        return [json.loads(body)["track"] for body in self.bodies]


@asynccontextmanager
async def listening(serve, port: int = 0):
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, port, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def until(condition) -> None:
    while not condition():
        await trio.sleep(0.01)


async def test_a_webhook_that_is_down_gets_everything_in_order_when_it_is_back(tmp_path: Path, plugins, see) -> None:
    hook = Webhook(503)
    async with listening(hook.serve) as port:
        url = f"http://127.0.0.1:{port}/hook"
        async with running(tmp_path, plugins, actions=[url]) as context:
            for number in range(1, 6):
                see(context, number)
                await trio.sleep(0.02)
            await until(lambda: context.triggers.statistics()["failed"][url] >= 2)
            assert "answered 503" in context.triggers._senders[url].last_error
        # the appliance was stopped: the messages are on disk
        assert Outbox(tmp_path).actions() == {url: 5}
        hook.status = 200
        async with running(tmp_path, plugins, actions=[url]) as context:
            await until(lambda: len(hook.bodies) == 5)
            see(context, 6)
            await until(lambda: len(hook.bodies) == 6)
    assert hook.numbers() == [1, 2, 3, 4, 5, 6]
    assert Outbox(tmp_path).actions() == {}


async def test_a_webhook_that_refuses_is_not_asked_again(tmp_path: Path, plugins, see) -> None:
    hook = Webhook(404)
    async with listening(hook.serve) as port:
        url = f"http://127.0.0.1:{port}/hook"
        async with running(tmp_path, plugins, actions=[url]) as context:
            see(context, 1)
            await until(lambda: context.triggers.statistics()["failed"].get(url))
            hook.status = 200
            see(context, 1, 2)
            await until(lambda: hook.bodies)
    assert hook.numbers() == [2]


async def test_lines_arrive_over_tcp_also_after_the_server_was_gone(tmp_path: Path, plugins, see) -> None:
    lines: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        data = b""
        async for chunk in stream:
            data += chunk
            *whole, data = data.split(b"\n")
            lines.extend(whole)

    def numbers() -> list[int]:
        return [json.loads(line)["track"] for line in lines]

    async with listening(serve) as port:
        pass
    url = f"tcp://127.0.0.1:{port}"
    async with running(tmp_path, plugins, actions=[url]) as context:
        see(context, 1)
        await until(lambda: context.triggers.statistics()["failed"].get(url))
        see(context, 1, 2)
        async with listening(serve, port):
            await until(lambda: numbers() == [1, 2])
        await trio.sleep(0.05)  # the other end has closed
        see(context, 1, 2, 3)
        async with listening(serve, port):
            await until(lambda: numbers() == [1, 2, 3])


async def test_a_command_is_run_with_the_message_as_its_input(tmp_path: Path, plugins, see) -> None:
    folder = tmp_path / "commands"
    folder.mkdir()
    (folder / "camera").write_text(f"#!/bin/sh\ncat > {tmp_path}/told\n")
    (folder / "camera").chmod(0o755)
    (folder / "bad").write_text("#!/bin/sh\necho no film >&2\nexit 3\n")
    (folder / "bad").chmod(0o755)
    actions = ["command:camera", "command:bad", "command:missing"]
    async with running(tmp_path, plugins, actions=actions) as context:
        see(context, 7)
        await until(lambda: context.triggers.statistics()["sent"].get("command:camera"))
        await until(lambda: len([s for s in context.triggers._senders.values() if s.last_error]) == 2)
        errors = {key: sender.last_error for key, sender in context.triggers._senders.items()}
    assert json.loads((tmp_path / "told").read_text())["track"] == 7
    assert errors["command:bad"] == "command:bad: ended with 3 no film"
    assert "not a program that can be run" in errors["command:missing"]


async def test_a_damaged_outbox_is_moved_aside(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"rubbish" * 1000)
    box = Outbox(tmp_path)
    box.add("clip", [b"one"])
    assert box.actions() == {"clip": 1}
    assert (tmp_path / f"{FILE_NAME}.damaged").exists()


def test_the_outbox_is_bounded(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("nims_appliance.delivery.outbox.MOST_MESSAGES", 5)
    box = Outbox(tmp_path)
    for number in range(4):
        box.add("clip", [b"%d" % number, b"x"])
    assert box.dropped == 3
    assert [body for _, body in box.first("clip")] == [b"x", b"2", b"x", b"3", b"x"]
