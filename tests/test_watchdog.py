"""What systemd is told, through a real datagram socket; and when it is told nothing any more."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from nims_appliance.appliance import run_appliance
from nims_appliance.bus import Bus, all_within
from nims_appliance.config.store import ConfigStore
from nims_appliance.context import Context
from nims_appliance.plugin_host.host import PluginHost
from nims_appliance.sonar import new_sonar
from nims_appliance.watchdog import interval_s, keep_watchdog, notify

DOCUMENT = Path(__file__).parent.parent / "docs" / "operators.md"


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(10)
        yield sock


@pytest.fixture
def context(tmp_path: Path) -> Context:
    plugins = PluginHost.load(None)
    line = {
        "web.port": 0,
        "tracks.port": 0,
        "sonars.pen.link": "tcp://127.0.0.1:9",
        "sonars.pen.profile": "kongsberg-m3",
    }
    config = ConfigStore.load(tmp_path, plugins=plugins, command_line=line)
    assert not config.errors
    return Context(tmp_path, config, plugins)


def test_it_is_told_through_a_path_or_an_abstract_name(systemd: socket.socket) -> None:
    assert notify("READY=1", {"NOTIFY_SOCKET": systemd.getsockname()})
    assert systemd.recv(100) == b"READY=1"
    name = f"nims-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as abstract:
        abstract.bind("\0" + name)
        abstract.settimeout(10)
        assert notify("WATCHDOG=1", {"NOTIFY_SOCKET": "@" + name})
        assert abstract.recv(100) == b"WATCHDOG=1"


def test_where_nobody_listens_nothing_breaks(tmp_path: Path, systemd: socket.socket, caplog) -> None:
    assert not notify("READY=1", {})
    assert not notify("READY=1", {"NOTIFY_SOCKET": "vsock:2:1234"})
    assert not caplog.text
    assert not notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "gone")})
    assert "No such file" in caplog.text
    address = {"NOTIFY_SOCKET": systemd.getsockname()}
    assert any(not notify("WATCHDOG=1", address) for _ in range(10_000)), "a full queue holds up nobody"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_interval_is_that_of_the_environment(environment: dict, expected: float | None) -> None:
    assert interval_s(environment) == expected


class Watched:
    """Counts how often the watchdog is fed in the virtual time of `feeds_in`."""

    def __init__(self) -> None:
        self.fed = 0

    def tell(self, state: str) -> bool:
        assert state == "WATCHDOG=1"
        self.fed += 1
        return True

    async def feeds_in(self, seconds: float) -> int:
        before = self.fed
        await trio.sleep(seconds)
        return self.fed - before


async def test_without_sonars_or_with_silent_ones_it_is_fed(context: Context, autojump_clock) -> None:
    watched = Watched()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(keep_watchdog, context, watched.tell, 60.0))
        assert await watched.feeds_in(600) >= 38
        context.sonars["pen"] = sonar = new_sonar("pen", context)  # switched off: nobody subscribes
        assert await watched.feeds_in(600) >= 38
        with sonar.frames.subscribe("pipeline", all_within(4)):
            assert await watched.feeds_in(600) >= 38
        nursery.cancel_scope.cancel()


async def test_it_starves_while_pings_wait_and_none_is_taken(context: Context, autojump_clock) -> None:
    watched = Watched()
    context.sonars["pen"] = sonar = new_sonar("pen", context)
    sonar.frames = frames = Bus("pen frames")  # type: ignore[assignment]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(keep_watchdog, context, watched.tell, 60.0))
        with frames.subscribe("pipeline", all_within(4)) as pings, frames.subscribe("display", all_within(4)):

            async def send() -> None:
                while True:
                    frames.publish(0)
                    await trio.sleep(1)

            nursery.start_soon(send)
            stuck = await watched.feeds_in(600)
            assert stuck <= 3, "fed only before it could be known"
            assert context.health.part("watchdog").state == "failed"
            assert "pen" in context.health.part("watchdog").last_error

            async def take() -> None:
                async for _ in pings:
                    await trio.sleep(5)  # too slow, and it loses pings: but it works

            nursery.start_soon(take)
            assert await watched.feeds_in(600) >= 37
            assert context.health.part("watchdog").state == "running"
            nursery.cancel_scope.cancel()


async def test_the_appliance_says_ready_feeds_and_says_that_it_stops(
    context: Context, systemd: socket.socket, monkeypatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.getsockname())
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    said: list[bytes] = []
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(
                lambda task_status: run_appliance(context, handle_signals=False, task_status=task_status)
            )
            while said.count(b"WATCHDOG=1") < 3:
                said.append(await trio.to_thread.run_sync(systemd.recv, 100))
            context.stopping.set()
    assert b"READY=1" in said
    while b"STOPPING=1" not in said:
        said.append(systemd.recv(100))


def test_the_documented_unit_is_valid(tmp_path: Path) -> None:
    (unit,) = re.findall(r"```ini\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert {"Type=notify", "WatchdogSec=60"} <= set(unit.splitlines())
    if not (analyze := shutil.which("systemd-analyze")):
        return  # this computer has no systemd
    file = tmp_path / "nims.service"
    file.write_text(unit.replace("/opt/nims/nims.pyz", "/bin/true"))
    done = subprocess.run([analyze, "verify", file], capture_output=True, text=True, timeout=30)
    assert "nims.service" not in done.stderr, done.stderr
