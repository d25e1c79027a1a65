"""The hand on a recording: pause, single pings, speed, another moment."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from nims_appliance.frame import Arrival
from nims_appliance.links import Link, parse_link
from nims_appliance.playback import Playback
from nims_appliance.recording.container import Header, Kind
from nims_appliance.recording.files import FileFormat, FileWriter, Piece


class Player:
    """Plays pings of given times, and remembers when each was let through."""

    def __init__(self, playback: Playback, times_s: list[float]) -> None:
        self.playback = playback
        self.played: list[tuple[float, float]] = []
        self._times_s = times_s

    async def run(self) -> None:
        for time_s in self._times_s:
            if await self.playback.wait(time_s):
                self.played.append((time_s, round(trio.current_time() - self._began_s, 6)))

    @property
    def pings(self) -> list[float]:
        return [time_s for time_s, _ in self.played]

    @asynccontextmanager
    async def playing(self) -> AsyncIterator[None]:
        self._began_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.run)
            yield
            nursery.cancel_scope.cancel()


async def test_a_paused_recording_waits_and_goes_on_at_its_pace(autojump_clock) -> None:
    player = Player(Playback(1.0), [100.0, 101.0, 102.0, 103.0])
    async with player.playing():
        await trio.sleep(1.5)
        player.playback.pause()
        await trio.sleep(1000)
        assert player.pings == [100, 101]
        player.playback.play()
        await trio.sleep(1.5)
    # The next ping comes at once after the pause, and the others at their pace behind it.
    assert player.played == [(100, 0), (101, 1), (102, 1001.5), (103, 1002.5)]


async def test_steps_play_whole_pings_of_all_channels(autojump_clock) -> None:
    player = Player(Playback(1.0, paused=True), [1.0, 1.0, 2.0, 2.0, 3.0, 4.0, 5.0])
    async with player.playing():
        await trio.sleep(100)
        assert player.pings == []
        player.playback.step()
        await trio.sleep(100)
        assert player.pings == [1, 1]
        player.playback.step(2)
        await trio.sleep(100)
        assert player.pings == [1, 1, 2, 2, 3]
        assert player.playback.state() == {"paused": True, "speed": 1.0, "position_s": 3.0}
        player.playback.step()
        player.playback.pause()
        await trio.sleep(100)
        assert player.pings == [1, 1, 2, 2, 3], "a pause takes back what has not been played"


async def test_another_speed_takes_effect_at_once(autojump_clock) -> None:
    player = Player(Playback(0.001), [10.0, 11.0, 12.0, 13.0])
    async with player.playing():
        await trio.sleep(5)
        assert player.pings == [10]
        player.playback.set_speed(2.0)
        await trio.sleep(0.8)
        assert player.played == [(10, 0), (11, 5), (12, 5.5)]
        player.playback.set_speed(0)
        await trio.sleep(0)
        await wait_all_tasks_blocked()
        assert player.pings[-1] == 13


async def test_pings_are_left_out_on_the_way_to_another_moment(autojump_clock) -> None:
    playback = Playback(0, paused=True)
    playback.seek(50.0)
    assert not await playback.wait(1.0)
    assert playback.take_seek() == 50.0
    assert playback.take_seek() is None
    playback.skip_to(3.0)
    assert not await playback.wait(2.0)
    with trio.fail_after(1):
        assert await playback.wait(3.0), "a paused recording shows where it went"
    with trio.move_on_after(10) as scope:
        await playback.wait(4.0)
    assert scope.cancelled_caught


def record(folder: Path, *, plain: str = "", first_s: float = 1000.0, count: int = 20) -> None:
    """Write a recording with a piece each second, its number in it."""
    header = Header("pen", "kongsberg-m3", "tcp://sonar:1", "stream")
    writer = FileWriter(folder, FileFormat(header, plain), file_s=1e6, file_bytes=10**9)
    writer.write(
        Piece(Kind.STREAM, struct.pack("<d", first_s + n), "", Arrival(first_s + n, float(n))) for n in range(count)
    )
    writer.close()


@pytest.mark.parametrize("plain", ["", ".imb"])
async def test_a_recording_is_played_from_another_moment(tmp_path: Path, plain: str) -> None:
    record(tmp_path, plain=plain)
    record(tmp_path, plain=plain, first_s=2000.0)
    link = Link(parse_link(f"file:{tmp_path}/?speed=0"), limit_bytes=4096, report=lambda state, detail: None)
    seen: list[float] = []
    moments = [1015.0, 2016.0, 500.0]

    async def session(connection) -> None:
        while await connection.fill(8):
            while len(connection.buffer) >= 8:
                (time_s,) = struct.unpack("<d", connection.buffer.view[:8])
                connection.buffer.consume(8)
                if not await link.playback.wait(time_s):
                    continue
                seen.append(time_s)
                if moments and len(seen) % 3 == 0:
                    link.playback.seek(moments.pop(0))
                    return

    await link.run(session)
    everything = [*range(1000, 1020), *range(2000, 2020)]
    assert seen == [1000, 1001, 1002, 1015, 1016, 1017, 2016, 2017, 2018, *everything]
