"""Which sonars run follows the configuration, and a change of one leaves the others alone."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path

import trio

from nims_appliance.bus import Bus
from nims_appliance.config.store import ConfigStore
from nims_appliance.context import Context
from nims_appliance.decoder import Decoded, DecoderStatistics, Driver
from nims_appliance.plugin_host.host import PluginHost
from nims_appliance.profile import Profile
from nims_appliance.settings import Settings
from nims_appliance.sonars import run_sonars


class Quiet:
    """A driver that swallows everything."""

    def __init__(self, context) -> None:
        self.statistics = DecoderStatistics()

    def on_connect(self) -> bytes:
        return b""

    def decode(self, view: memoryview, arrival) -> Decoded:
        return Decoded(len(view))

    def finish(self, arrival) -> list:
        return []


class QuietSettings(Settings, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """One that must not be seven."""

    number: int = 0


def make_quiet(context) -> Quiet:
    if context.settings.number == 7:
        raise RuntimeError("seven")
    return Quiet(context)


QUIET = Driver("quiet", "Quiet protocol", QuietSettings, make_quiet)


class Device:
    """A sonar that only listens, and counts who came and who stayed."""

    def __init__(self) -> None:
        self.connections = 0
        self.connected = 0
        self.link = ""

    async def serve(self, *, task_status) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.link = f"tcp://127.0.0.1:{listener.socket.getsockname()[1]}"
        task_status.started()
        await trio.serve_listeners(self._talk, [listener])

    async def _talk(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        self.connected += 1
        try:
            while await stream.receive_some(1000):
                pass
        except trio.BrokenResourceError:
            pass
        finally:
            self.connected -= 1

    async def until(self, connected: int) -> None:
        while self.connected != connected:
            await trio.sleep(0.01)


@asynccontextmanager
async def running(data: Path, count: int = 2):
    plugins = PluginHost.load(None)
    plugins.drivers["quiet"] = QUIET
    plugins.profiles["quiet"] = Profile(name="quiet", title="Quiet", driver="quiet")
    async with trio.open_nursery() as nursery:
        devices = [Device() for _ in range(2)]
        for device in devices:
            await nursery.start(device.serve)
        data.mkdir(exist_ok=True)
        lines = [f"  sonar{i}: {{profile: quiet, link: '{devices[i].link}'}}" for i in range(count)]
        (data / "config.yaml").write_text("\n".join(["sonars:" if lines else "", *lines]))
        config = ConfigStore.load(data, plugins=plugins)
        assert not config.errors
        context = Context(data, config, plugins)
        nursery.start_soon(run_sonars, context)
        for device in devices[:count]:
            await device.until(1)
        yield context, devices
        nursery.cancel_scope.cancel()


async def test_a_change_of_the_link_restarts_that_sonar_only(tmp_path: Path) -> None:
    async with running(tmp_path) as (context, devices):
        sonar = context.sonars["sonar0"]
        await context.config.change({"sonars.sonar0.link": devices[1].link}, "test")
        await devices[1].until(2)
        await devices[0].until(0)
        assert (devices[0].connections, devices[1].connections) == (1, 2)
        assert context.sonars["sonar0"] is sonar, "viewers keep their sonar"
        assert sonar.settings.link == devices[1].link


async def test_a_change_of_the_detector_restarts_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as (context, devices):
        await context.config.change({"sonars.sonar0.detector.min_range_m": 3.0}, "test")
        while context.sonars["sonar0"].settings.detector.min_range_m != 3.0:
            await trio.sleep(0.01)
        assert [device.connections for device in devices] == [1, 1]


async def test_sonars_come_and_go(tmp_path: Path) -> None:
    async with running(tmp_path, count=1) as (context, devices):
        new = {"profile": "quiet", "link": devices[1].link}
        await context.config.change({"sonars.new": new}, "test")
        await devices[1].until(1)
        assert list(context.sonars) == ["sonar0", "new"]
        frames: Bus = context.sonars["new"].frames
        await context.config.change({"sonars.new": None}, "test")
        await devices[1].until(0)
        while "new" in context.sonars:
            await trio.sleep(0.01)
        assert frames.closed, "viewers are told"
        parts = {part["name"] for part in context.health.snapshot()["parts"]}
        assert parts == {"sonar sonar0", "recorder sonar0", "clips sonar0", "sonars"}
        assert devices[0].connections == 1


async def test_a_disabled_sonar_rests_until_it_is_enabled(tmp_path: Path) -> None:
    async with running(tmp_path) as (context, devices):
        await context.config.change({"sonars.sonar0.enabled": False}, "test")
        await devices[0].until(0)
        part = context.health.part("sonar sonar0")
        while part.state != "stopped":
            await trio.sleep(0.01)
        assert part.detail == "switched off"
        await context.config.change({"sonars.sonar0.enabled": True}, "test")
        await devices[0].until(1)


async def test_a_sonar_that_cannot_start_costs_the_others_nothing(tmp_path: Path, caplog) -> None:
    async with running(tmp_path) as (context, devices):
        await context.config.change({"sonars.sonar0.driver.number": 7}, "test")
        part = context.health.part("sonar sonar0")
        while part.state != "failed":
            await trio.sleep(0.01)
        assert part.last_error == "RuntimeError: seven"
        assert devices[1].connections == 1
        await context.config.change({"sonars.sonar0.driver.number": 8}, "test")
        await devices[0].until(1)
        assert part.state == "waiting"


async def test_no_sonar_is_no_failure(tmp_path: Path) -> None:
    async with running(tmp_path, 0) as (context, _):
        while context.health.part("sonars").state != "running":
            await trio.sleep(0.01)
        assert context.health.ok
