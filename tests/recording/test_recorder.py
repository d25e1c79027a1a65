"""Recording a running sonar, and playing it back: the same bytes give the same frames, detections and tracks."""

from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path
from typing import Any

import pytest
import trio

from nims_appliance.bus import Bus, all_within
from nims_appliance.config.store import ConfigStore
from nims_appliance.context import Context
from nims_appliance.frame import Arrival
from nims_appliance.health import Part
from nims_appliance.pipeline.results import PingResult
from nims_appliance.plugin_host.host import PluginHost
from nims_appliance.recording.container import Header, Kind, Reader
from nims_appliance.recording.files import FOLDER, FileFormat, list_recordings
from nims_appliance.recording.recorder import Recorder
from nims_appliance.settings import RecordingSettings
from nims_appliance.sonar import SonarRunner, new_sonar

SETTINGS = RecordingSettings(reserve_mb=0, queue_mb=1)


@pytest.fixture(scope="module")
def plugins() -> PluginHost:
    return PluginHost.load(None)


async def run_sonar(data: Path, plugins: PluginHost, link: str, profile: str, pings: int, **settings: Any) -> list:
    """Run a sonar until it has given so many results, or its recording has ended; return them."""
    line = {"sonars.pen.link": link, "sonars.pen.profile": profile, "recording.reserve_mb": 0}
    line |= {f"sonars.pen.{key}": value for key, value in settings.items()}
    config = ConfigStore.load(data, plugins=plugins, command_line=line)
    assert not config.errors
    context = Context(data, config, plugins)
    runner = SonarRunner(new_sonar("pen", context), context, context.health.part("sonar pen"))
    results: list[PingResult] = []

    async def collect(bus: Bus, *, task_status) -> None:
        with bus.subscribe("test", all_within(10_000)) as items:
            task_status.started()
            async for item in items:
                results.append(item)
                if len(results) >= pings:
                    nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        await nursery.start(collect, context.results)
        await runner.run()
        context.results.close()
    return [result for result in results if not result.final]


def told(result: PingResult) -> tuple:
    """Return all of a result that does not name this run: numbers of tracks and times of reception differ."""
    # by their texts: they hold every digit, and NaN equals nothing
    tracks = [repr(dataclasses.replace(track, id=0)) for track in result.tracks]
    return result.ping_number, result.time_s, result.detections.tobytes(), tracks


@pytest.mark.parametrize(
    ("profile", "options", "suffix"),
    [
        ("kongsberg-m3", "?rate=100&beams=32&samples=200", ".imb"),
        ("blueprint-oculus", "?rate=40&beams=256&samples=100", ".nimsrec"),
        ("simrad-ek60", "?rate=40", ".nimsrec"),
    ],
)
async def test_a_recording_gives_what_live_gave(tmp_path: Path, plugins, profile: str, options: str, suffix) -> None:
    with trio.fail_after(60):
        live = await run_sonar(tmp_path, plugins, f"simulator:{profile}{options}", profile, 80, record=True)
        (recording,) = list_recordings(tmp_path)
        assert recording.path.suffix == suffix
        again = await run_sonar(tmp_path, plugins, f"file:{recording.path}?speed=0", profile, 80)
    by_ping = {result.ping_number: result for result in again}
    assert len(live) >= 79
    assert any(len(result.detections) for result in live), "there was something to see"
    for result in live:
        assert told(result) == told(by_ping[result.ping_number])


class Rig:
    """A recorder of datagrams without a sonar."""

    def __init__(self, data: Path, transport: str = "datagram") -> None:
        self.on = True
        self.connects = 1
        self.part = Part("recorder pen")
        self.recorder = Recorder(
            data / FOLDER / "pen",
            FileFormat(Header("pen", "simrad-ek60", "udp://:2020", transport)),
            self.part,
            wanted=lambda: self.on,
            settings=lambda: SETTINGS,
            connects=lambda: self.connects,
        )
        self.number = 0

    def send(self, payload: bytes) -> None:
        self.number += 1
        self.recorder.take(memoryview(payload), "10.0.0.5:2020", Arrival(1.7e9 + self.number, self.number))


def records(data: Path) -> list[tuple[Kind, bytes]]:
    found: list[tuple[Kind, bytes]] = []
    for recording in list_recordings(data):
        with recording.path.open("rb") as file:
            found += [(record.kind, record.payload) for record in Reader(file, recording.path.name)]
    return found


async def until(condition) -> None:
    with trio.fail_after(20):
        while not condition():
            await trio.sleep(0.01)


async def test_the_switch_begins_and_ends_files(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.recorder.run)
        rig.send(b"one")
        await until(lambda: rig.part.state == "running")
        rig.on = False
        rig.send(b"not kept")
        await until(lambda: rig.part.state == "stopped")
        rig.on = True
        rig.connects = 2
        rig.send(b"two")
        nursery.cancel_scope.cancel()
    assert len(list_recordings(tmp_path)) == 2
    connected = (Kind.CONNECTED, b"")
    assert records(tmp_path) == [connected, (Kind.DATAGRAM, b"one"), connected, (Kind.DATAGRAM, b"two")]


async def test_what_a_slow_disk_does_not_take_is_counted_and_marked(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.send(bytes(700_000))
    rig.send(bytes(400_000))
    rig.send(bytes(100_000))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.recorder.run)
        await until(lambda: rig.part.state == "running")
        nursery.cancel_scope.cancel()
    kinds = [(kind, len(payload)) for kind, payload in records(tmp_path)]
    assert kinds == [(3, 0), (Kind.DATAGRAM, 700_000), (Kind.LOST, 8), (Kind.DATAGRAM, 100_000)]
    assert rig.recorder.statistics()["lost_bytes"] == 400_000
    assert rig.recorder.statistics()["waiting_bytes"] == 0


async def test_a_full_disk_is_told_and_recording_goes_on_when_there_is_room(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("nims_appliance.recording.recorder.RETRY_S", 0.05)
    rig, real = Rig(tmp_path), os.write

    def full(handle: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.recorder.run)
        rig.send(b"one")
        await until(lambda: rig.part.state == "running")
        monkeypatch.setattr("nims_appliance.recording.files.os.write", full)
        rig.send(b"two")
        await until(lambda: rig.part.state == "failed")
        assert "No space left on device" in rig.part.last_error
        monkeypatch.setattr("nims_appliance.recording.files.os.write", real)
        await until(lambda: rig.part.state != "failed")
        rig.send(b"three")
        await until(lambda: rig.part.state == "running")
        nursery.cancel_scope.cancel()
    kept = [payload for kind, payload in records(tmp_path) if kind is Kind.DATAGRAM]
    assert kept == [b"one", b"three"]
    lost = [payload for kind, payload in records(tmp_path) if kind is Kind.LOST]
    assert lost == [(3).to_bytes(8, "little")]


@pytest.mark.parametrize("fate", ["moved, or its disk was changed", "deleted"])
async def test_a_file_that_is_taken_away_while_it_is_written_is_told_and_another_is_begun(
    tmp_path: Path, monkeypatch, fate: str
) -> None:
    monkeypatch.setattr("nims_appliance.recording.recorder.SYNC_INTERVAL_S", 0.05)
    rig = Rig(tmp_path / "data")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.recorder.run)
        rig.send(b"one")
        await until(lambda: rig.recorder.written_bytes == 3)
        if fate == "deleted":
            rig.recorder.path.unlink()
        else:
            (tmp_path / "data").rename(tmp_path / "gone")
        await until(lambda: rig.part.warning)
        assert f".nimsrec was {fate} while it was written, at 20" in rig.part.warning
        rig.send(b"two")
        await until(lambda: rig.recorder.written_bytes == 6)
        nursery.cancel_scope.cancel()
    kept = {folder: [payload for _, payload in records(tmp_path / folder) if payload] for folder in ("data", "gone")}
    assert kept == {"data": [b"two"], "gone": [] if fate == "deleted" else [b"one"]}


async def test_the_archive_keeps_its_room(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(globals(), "SETTINGS", RecordingSettings(reserve_mb=1e9))
    rig = Rig(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.recorder.run)
        rig.send(b"one")
        await until(lambda: rig.part.state == "failed")
        assert "kept for the archive" in rig.part.last_error
        nursery.cancel_scope.cancel()
    assert list_recordings(tmp_path) == []
