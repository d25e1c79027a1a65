"""Clips: from before an event to after it, one for each track, found again after a restart."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest
import trio

from nims_appliance.frame import Arrival
from nims_appliance.health import Part
from nims_appliance.pipeline.results import PingResult, TrackState
from nims_appliance.recording.clips import Clip, ClipRecorder, ClipStore
from nims_appliance.recording.container import Header
from nims_appliance.recording.files import CLIPS_FOLDER, FileFormat
from nims_appliance.recording.recorder import Recorder
from nims_appliance.settings import ClipSettings, RecordingSettings

START = b"\x00\x80\x00\x80"
INTERVAL_S = 0.1


class Rig:
    """A sonar that sends a packet of 100 bytes ten times a second, on a clock of its own."""

    def __init__(self, data: Path, **settings) -> None:
        self.store = ClipStore(data)
        self.settings = ClipSettings(**{"lead_in_s": 1.0, "lead_out_s": 0.5, "most_s": 10.0} | settings)
        self.on = True
        format = FileFormat(Header("pen", "kongsberg-m3", "tcp://10.0.0.5:20001", "stream"), ".imb", START)

        def make(wanted) -> Recorder:
            folder, part = data / CLIPS_FOLDER / "pen", Part("clips pen")
            limits = RecordingSettings(reserve_mb=0)
            return Recorder(folder, format, part, wanted=wanted, settings=lambda: limits, connects=lambda: 1)

        self.recorder = ClipRecorder(
            self.store, format, wanted=lambda: self.on, settings=lambda: self.settings, recorder=make
        )
        self.ping = 0

    def send(self, seconds: float, *tracks: int) -> None:
        for _ in range(round(seconds / INTERVAL_S)):
            self.ping += 1
            # a packet comes in two pieces that do not begin where it does
            packet = START + b"%06d" % self.ping + bytes(90)
            arrival = Arrival(1.7e9 + self.ping * INTERVAL_S, 50 + self.ping * INTERVAL_S)
            self.recorder.take(memoryview(bytes(30) + packet[:40]), "", arrival)
            self.recorder.take(memoryview(packet[40:]), "", arrival)
            self.recorder.look(result(*tracks))

    async def closed(self) -> None:
        """Wait until the clip that was ended is closed."""
        with trio.fail_after(20):
            while self.recorder._event is not None:
                await trio.sleep(0.02)

    def pings(self, clip: Clip) -> list[int]:
        data = self.store.path(clip).read_bytes()
        assert data.startswith(START)
        return [int(packet[:6]) for packet in data.split(START)[1:]]


def result(*tracks: int) -> PingResult:
    values = dict.fromkeys((field.name for field in dataclasses.fields(PingResult)), 0)
    states = []
    for number in tracks:
        state = dict.fromkeys((field.name for field in dataclasses.fields(TrackState)), 0)
        states.append(TrackState(**state | {"id": number}))
    return PingResult(**values | {"tracks": tuple(states), "detections": np.zeros(0)})


async def test_a_clip_begins_before_its_track_and_ends_after_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.recorder.run)
        rig.send(5.0)  # pings 1 to 50
        rig.send(2.0, 7)  # 51 to 70
        rig.send(3.0)
        await rig.closed()
        nursery.cancel_scope.cancel()
    (clip,) = rig.store.all()
    pings = rig.pings(clip)
    assert pings[0] == pytest.approx(41, abs=1)
    assert pings[-1] == pytest.approx(75, abs=2)
    assert pings == list(range(pings[0], pings[-1] + 1)), "nothing is missing, nothing comes twice"
    assert (clip.tracks, clip.reason, clip.sonar) == ([7], "track", "pen")
    assert clip.start_s == pytest.approx(1.7e9 + 4.1, abs=0.2)
    assert rig.store.of_track(7) is clip


async def test_a_second_track_goes_into_the_clip_that_is_being_written(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.recorder.run)
        rig.send(2.0)
        rig.send(1.0, 7)
        rig.send(1.0, 7, 8)
        rig.send(1.0, 8)
        rig.send(2.0)
        await rig.closed()
        rig.send(1.0, 9)
        rig.send(2.0)
        await rig.closed()
        nursery.cancel_scope.cancel()
    assert [clip.tracks for clip in rig.store.all()] == [[9], [7, 8]]


async def test_an_animal_that_stays_makes_one_clip_of_the_greatest_length(tmp_path: Path) -> None:
    rig = Rig(tmp_path, most_s=3.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.recorder.run)
        rig.send(2.0)
        rig.send(20.0, 7)
        await rig.closed()
        rig.send(20.0, 7)
        await rig.closed()
        nursery.cancel_scope.cancel()
    (clip,) = rig.store.all()
    assert len(rig.pings(clip)) == pytest.approx(40, abs=2), "lead-in and the greatest length"


async def test_an_event_while_the_last_clip_is_being_closed_has_its_own(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.recorder.run)
        rig.send(2.0)
        rig.send(0.5, 7)
        rig.send(1.0)
        rig.recorder.trigger("button")  # nothing has had time to be closed
        while len(rig.store.all()) < 2:
            rig.send(0.1)
            await trio.sleep(0.05)
        rig.on = False
        rig.send(0.1)
        await rig.closed()
        nursery.cancel_scope.cancel()
    newest, oldest = rig.store.all()
    assert (oldest.tracks, newest.tracks, newest.reason) == ([7], [], "button")
    assert rig.pings(newest)[0] > rig.pings(oldest)[0]


async def test_memory_for_the_lead_in_is_bounded(tmp_path: Path) -> None:
    rig = Rig(tmp_path, lead_in_s=60.0, memory_mb=1)
    rig.settings = msgspec.structs.replace(rig.settings, memory_mb=0.001)
    rig.send(60.0)
    assert rig.recorder._recent_bytes <= 1000
    rig.on = False
    rig.send(0.1)
    assert rig.recorder._recent_bytes == 0


async def test_clips_are_found_again_and_removed_with_all_their_files(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.recorder.run)
        rig.send(2.0, 7)
        while not rig.store.all():
            await trio.sleep(0.02)
        nursery.cancel_scope.cancel()  # stopped in the middle of a clip
    store = ClipStore(tmp_path)
    store.load()
    (clip,) = store.all()
    assert clip.tracks == [7]
    clip.keep = True
    store.write(clip)
    (tmp_path / CLIPS_FOLDER / "pen" / f"{clip.name}.json").write_text("{")
    again = ClipStore(tmp_path)
    again.load()
    assert again.all()[0].reason == "unknown", "the bytes are there, whatever was told of them"
    store.remove(clip)
    assert list((tmp_path / CLIPS_FOLDER / "pen").iterdir()) == []
    assert store.of_track(7) is None
