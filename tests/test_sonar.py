"""One sonar from the wire to the buses: real packets over real sockets, and drivers and chains that break.

The drivers here decode a toy protocol, so that each way of breaking can be had at will: ``P`` and eight digits is a
ping, ``X`` makes the driver raise, ``B`` gives a broken frame; everything else is skipped.
"""

from __future__ import annotations

import dataclasses
import json
import math
import socket
import threading
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import trio
import trio.testing
from nims_m3.wire import encode_packet

from nims_appliance.bus import Bus, all_within
from nims_appliance.config.store import ConfigStore
from nims_appliance.context import Context
from nims_appliance.decoder import Decoded, DecoderStatistics, Driver
from nims_appliance.frame import Frame
from nims_appliance.pipeline.chain import Chain
from nims_appliance.pipeline.display import DisplayEncoder
from nims_appliance.pipeline.metrics import EchoMetrics
from nims_appliance.pipeline.results import DETECTION, TrackSummary
from nims_appliance.playback import Playback
from nims_appliance.plugin_host.host import PluginHost
from nims_appliance.profile import Profile
from nims_appliance.settings import Settings
from nims_appliance.sonar import Makers, SonarRunner, new_sonar


@pytest.fixture
def fast_clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(rate=20)


def make_frame(number: int, time_s: float | None = None, **changes) -> Frame:
    values = {
        "intensity": np.full((8, 4), 1.0, np.float32),
        "unit": "relative",
        "range_m": np.arange(1.0, 9.0),
        "bearing_rad": np.array([-0.2, -0.1, 0.1, 0.2]),
        "time_s": 1.7e9 + number / 10 if time_s is None else time_s,
        "ping_number": number,
        "sound_speed_m_s": 1500.0,
        "frequency_hz": 500e3,
        "pulse_length_s": 20e-6,
        "ping_interval_s": 0.1,
        "beam_width_rad": 0.1,
        "range_resolution_m": 1.0,
        "device": "toy",
    }
    return Frame(**(values | changes))


class ToyDecoder:
    """See the module's docstring."""

    made = 0

    def __init__(self, context) -> None:
        self.statistics = DecoderStatistics()
        self.context = context
        ToyDecoder.made += 1

    def on_connect(self) -> bytes:
        return b"start"

    def decode(self, view: memoryview, arrival) -> Decoded:
        data = bytes(view)
        if data[:1] == b"P":
            if len(data) < 9:
                return Decoded(need=9)
            self.statistics.frames += 1
            return Decoded(9, 1, [make_frame(int(data[1:9]))])
        if data[:1] == b"X":
            raise ZeroDivisionError("the driver's own mistake")
        if data[:1] == b"B":
            return Decoded(1, 1, [make_frame(0, intensity=np.zeros(3))])
        skip = next((at for at, byte in enumerate(data) if byte in b"PXB"), len(data))
        self.statistics.resyncs += 1
        self.statistics.skipped_bytes += skip
        return Decoded(skip)

    def decode_datagram(self, datagram: memoryview, sender: str, arrival) -> Decoded:
        return self.decode(datagram, arrival)

    def finish(self, arrival) -> list[Frame]:
        return []


class ToySettings(Settings, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """None."""


TOY = Driver("toy", "Toy protocol", ToySettings, ToyDecoder, ToyDecoder, lambda head: head[:1] == b"P")
TOY_PROFILE = Profile(name="toy", title="Toy", driver="toy")


def ping(number: int) -> bytes:
    return b"P%08d" % number


class QuietChain:
    """A detector and a tracker that find nothing; the tracker holds one track to its end."""

    def __init__(self, fails: set[int] = frozenset(), track: TrackSummary | None = None) -> None:  # type: ignore[assignment]
        self.fails = fails
        self.track = track
        self.seen: list[int] = []

    def detect(self, frame: Frame) -> np.ndarray:
        if frame.ping_number in self.fails:
            raise IndexError("the detector's own mistake")
        self.seen.append(frame.ping_number)
        return np.zeros(0, DETECTION)

    def notes(self) -> list[str]:
        return []

    def update(self, frame, detections):
        return [], []

    def settle(self):
        pass

    def describe_next(self):
        return None

    def finish(self):
        return [self.track] if self.track else []


class Rig:
    """A sonar that runs, with what came out of it."""

    def __init__(
        self, tmp_path: Path, link: str, profile: str = "toy", chain: QuietChain | None = None, **settings
    ) -> None:
        plugins = PluginHost.load(None)
        plugins.drivers["toy"] = TOY
        plugins.profiles["toy"] = TOY_PROFILE
        line = {"sonars.pen.link": link, "sonars.pen.profile": profile}
        line |= {f"sonars.pen.{key}": value for key, value in settings.items()}
        self.config = ConfigStore.load(tmp_path, plugins=plugins, command_line=line)
        assert not self.config.errors
        self.context = Context(tmp_path, self.config, plugins)
        self.sonar = new_sonar("pen", self.context)
        self.part = self.context.health.part("sonar pen")
        self.chain = chain or QuietChain()
        self.made = 0

        def make_chain(settings) -> Chain:
            self.made += 1
            return Chain(self.chain, self.chain)  # type: ignore[arg-type]

        self.runner = SonarRunner(self.sonar, self.context, self.part, Makers(make_chain, EchoMetrics, DisplayEncoder))
        self.frames: list[Frame] = []
        self.results: list = []

    async def run(self) -> None:
        """Run to the end of the link; collect what is published."""

        async def collect(bus: Bus, into: list, *, task_status) -> None:
            with bus.subscribe("test", all_within(100_000)) as items:
                task_status.started()
                async for item in items:
                    into.append(item)

        async with trio.open_nursery() as nursery:
            await nursery.start(collect, self.sonar.frames, self.frames)
            await nursery.start(collect, self.context.results, self.results)
            try:
                await self.runner.run()
            finally:
                self.sonar.frames.close()
                self.context.results.close()

    @property
    def numbers(self) -> list[int]:
        return [frame.ping_number for frame in self.frames]

    async def until(self, condition) -> None:
        while not condition():
            await trio.sleep(0.01)


def rig_of_file(tmp_path: Path, data: bytes, query: str = "?speed=0", **options) -> Rig:
    (tmp_path / "recording.bin").write_bytes(data)
    return Rig(tmp_path, f"file:{tmp_path}/recording.bin{query}", **options)


@asynccontextmanager
async def running(rig: Rig):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.run)
        yield rig
        nursery.cancel_scope.cancel()


async def test_a_recording_becomes_frames_and_results(tmp_path: Path) -> None:
    rig = rig_of_file(tmp_path, b"".join(ping(number) for number in range(1, 201)))
    await rig.run()
    assert rig.numbers == list(range(1, 201))
    assert [frame.frame_number for frame in rig.frames] == list(range(1, 201))
    assert {frame.sonar_id for frame in rig.frames} == {"pen"}
    assert [result.ping_number for result in rig.results] == list(range(1, 201)), "as fast as possible, but none lost"
    statistics = rig.runner.statistics()
    assert (statistics["pings"], statistics["dropped"], statistics["resyncs"]) == (200, 0, 0)
    assert rig.part.detail == "recording.bin has been played to its end"
    assert rig.sonar.last_picture is not None


async def test_garbage_is_skipped_and_counted(tmp_path: Path) -> None:
    rig = rig_of_file(tmp_path, b"garbage" + ping(1) + b"\xff" * 100 + ping(2) + b"P123")
    await rig.run()
    assert rig.numbers == [1, 2]
    assert rig.runner.statistics()["skipped_bytes"] == 107


async def test_a_driver_that_raises_is_made_anew_and_the_link_goes_on(tmp_path: Path, caplog) -> None:
    async def sonar(stream: trio.SocketStream) -> None:
        for data in (ping(1), b"X" + ping(2), ping(3), b"X", ping(4)):
            await stream.send_all(data)
            await trio.sleep(0.05)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, sonar, 0, host="127.0.0.1"))
        rig = Rig(tmp_path, f"tcp://127.0.0.1:{listener.socket.getsockname()[1]}")
        made = ToyDecoder.made
        async with running(rig):
            await rig.until(lambda: rig.numbers[-1:] == [4])
        nursery.cancel_scope.cancel()
    assert rig.numbers == [1, 3, 4]
    assert ToyDecoder.made == made + 3
    assert rig.runner.statistics()["decoder_crashes"] == 2
    assert rig.runner.link.connects == 1
    assert "the driver's own mistake" in rig.part.last_error
    assert len([record for record in caplog.records if record.exc_info]) == 1, "one traceback, not one for each"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "expected Decoded, got NoneType"),
        (7, "expected Decoded, got int"),
        (Decoded(-1), "consumed: expected 0 to 1 bytes, got -1"),
        (Decoded(2), "consumed: expected 0 to 1 bytes, got 2"),
        (Decoded(0.5), "consumed: expected a whole number, got 0.5"),  # type: ignore[arg-type]
        (Decoded(1, "x"), "need: expected a whole number, got 'x'"),  # type: ignore[arg-type]
        (Decoded(1, 1, None), "frames: expected a list, got NoneType"),  # type: ignore[arg-type]
        (Decoded(1, 1, [], "x"), "send: expected bytes, got str"),  # type: ignore[arg-type]
    ],
)
async def test_an_answer_that_breaks_the_contract_is_the_drivers_failure(
    tmp_path: Path, monkeypatch, answer: object, said: str
) -> None:
    decode = ToyDecoder.decode
    odd = lambda self, view, arrival: answer if view[:1] == b"N" else decode(self, view, arrival)  # noqa: E731
    monkeypatch.setattr(ToyDecoder, "decode", odd)
    rig = rig_of_file(tmp_path, ping(1) + b"N")
    await rig.run()
    assert rig.numbers == [1]
    assert rig.runner.statistics()["decoder_crashes"] == 1
    assert said in rig.part.last_error


async def test_a_bad_frame_of_a_driver_is_named_and_left_out(tmp_path: Path) -> None:
    rig = rig_of_file(tmp_path, ping(1) + b"BB" + ping(2))
    await rig.run()
    assert rig.numbers == [1, 2]
    assert [frame.frame_number for frame in rig.frames] == [1, 2], "no gap in the numbers"
    assert rig.runner.statistics()["bad_frames"] == {"intensity": 2}
    assert "expected C-ordered float32" in rig.part.last_error


async def test_a_ping_that_cannot_be_analysed_is_left_out(tmp_path: Path) -> None:
    rig = rig_of_file(tmp_path, b"".join(map(ping, range(1, 21))), chain=QuietChain(fails={3, 10, 11, 12, 13}))
    await rig.run()
    assert rig.numbers == list(range(1, 21))
    assert [result.ping_number for result in rig.results] == [1, 2, *range(4, 10), *range(14, 21)]
    assert rig.runner.statistics()["pipeline_failures"] == 5
    assert rig.made >= 2, "after three in a row the chain starts afresh"
    assert "the detector's own mistake" in rig.part.last_error


def make_summary() -> TrackSummary:
    values: dict = dict.fromkeys(TrackSummary.__slots__, 0.0)
    values |= {"id": 7, "calibrated": False, "channel": "", "label": "", "positions": ()}
    return TrackSummary(**values)  # type: ignore[arg-type]


async def test_tracks_alive_at_the_end_of_a_recording_are_published(tmp_path: Path) -> None:
    rig = rig_of_file(tmp_path, ping(1) + ping(2), chain=QuietChain(track=make_summary()))
    await rig.run()
    last = rig.results[-1]
    assert last.final
    assert (last.ping_number, [track.id for track in last.ended], last.tracks) == (2, [7], ())


async def test_tracks_alive_at_a_stop_are_published(tmp_path: Path) -> None:
    rig = rig_of_file(tmp_path, ping(1) + ping(2), "?speed=1&loop=yes", chain=QuietChain(track=make_summary()))
    with rig.context.results.subscribe("outside", all_within(1000)) as results:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.runner.run)
            assert not (await results.receive()).final
            nursery.cancel_scope.cancel()
    ended = [track.id for result in [result async for result in results] for track in result.ended]
    assert ended == [7]


async def test_a_changed_detector_starts_afresh_and_the_link_stays(tmp_path: Path) -> None:
    rig = rig_of_file(tmp_path, b"".join(map(ping, range(1, 1001))), "?speed=5", chain=QuietChain(track=make_summary()))
    async with running(rig):
        await rig.until(lambda: len(rig.results) > 3)
        made = rig.made
        await rig.config.change({"sonars.pen.detector.min_range_m": 2.0}, "test")
        rig.sonar.settings = rig.config.sonar("pen")
        await rig.until(lambda: rig.made > made and not rig.results[-1].final)
        assert any(result.final for result in rig.results), "the tracks of the old one are not lost"
        made = rig.made
        await rig.config.change({"sonars.pen.metrics.depth_bin_m": 2.0}, "test")
        rig.sonar.settings = rig.config.sonar("pen")
        seen = len(rig.results)
        await rig.until(lambda: len(rig.results) > seen + 2)
        assert rig.made == made
    assert rig.runner.link.connects == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"sonars.pen.zones.rocks.kind": "ignored", "sonars.pen.zones.rocks.max_range_m": 3.0},
        {"sonars.pen.current.known": True},
    ],
)
async def test_zones_and_current_take_effect_without_a_restart(tmp_path: Path, changes: dict) -> None:
    rig = rig_of_file(tmp_path, b"".join(map(ping, range(1, 1001))), "?speed=5", chain=QuietChain(track=make_summary()))
    async with running(rig):
        await rig.until(lambda: len(rig.results) > 3)
        made = rig.made
        await rig.config.change(changes, "test")
        rig.sonar.settings = rig.config.sonar("pen")
        await rig.until(lambda: rig.made > made)
    assert rig.runner.link.connects == 1


async def test_the_wrong_profile_is_found_out(tmp_path: Path, fast_clock, caplog) -> None:
    async def m3(stream: trio.SocketStream) -> None:
        packet = m3_packet(1).replace(b"P", b"_").replace(b"X", b"_").replace(b"B", b"_")
        with suppress(trio.BrokenResourceError):
            while True:
                await stream.send_all(packet)
                await trio.sleep(0.1)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, m3, 0, host="127.0.0.1"))
        rig = Rig(tmp_path, f"tcp://127.0.0.1:{listener.socket.getsockname()[1]}")
        async with running(rig):
            await rig.until(lambda: "check the profile" in rig.part.last_error)
            text = rig.part.last_error
        nursery.cancel_scope.cancel()
    assert text.startswith("no packet of Toy protocol in the first ")
    assert "this looks like Kongsberg M3" in text
    assert caplog.text.count("this looks like") == 1
    assert rig.part.state == "waiting"


async def test_a_recording_of_another_sonar_is_found_out_however_short(tmp_path: Path, fast_clock) -> None:
    rig = rig_of_file(tmp_path, m3_packet(1, (20, 8)).replace(b"P", b"_").replace(b"X", b"_").replace(b"B", b"_"))
    await rig.run()
    assert rig.part.detail.startswith(
        "recording.bin has been played to its end, and no ping is in it: no packet of Toy"
    )
    assert "this looks like Kongsberg M3" in rig.part.detail
    assert rig.part.last_error in rig.part.detail


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", ""),
        (bytes(100), ": no packet of Toy protocol in the first 100 bytes, nor of any other driver: check the file"),
    ],
)
async def test_a_recording_without_a_ping_says_so(tmp_path: Path, fast_clock, data: bytes, why: str) -> None:
    rig = rig_of_file(tmp_path, data)
    await rig.run()
    assert rig.part.detail.startswith(f"recording.bin has been played to its end, and no ping is in it{why}")


async def test_nobodys_bytes_are_said_to_be_nobodys(tmp_path: Path, fast_clock) -> None:
    async def noise(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            while True:
                await stream.send_all(b"\x01\x02\x03" * 1000)
                await trio.sleep(0.1)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, noise, 0, host="127.0.0.1"))
        rig = Rig(tmp_path, f"tcp://127.0.0.1:{listener.socket.getsockname()[1]}")
        async with running(rig):
            await rig.until(lambda: "nor of any other driver" in rig.part.detail)
        nursery.cancel_scope.cancel()


async def test_a_sonar_that_sends_but_does_not_ping_is_shown_as_waiting(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("nims_appliance.receiver.SILENCE_S", 0.2)

    async def standby(stream: trio.SocketStream) -> None:
        await stream.send_all(ping(1))
        with suppress(trio.BrokenResourceError):
            while True:
                await stream.send_all(b"standing by")
                await trio.sleep(0.05)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, standby, 0, host="127.0.0.1"))
        rig = Rig(tmp_path, f"tcp://127.0.0.1:{listener.socket.getsockname()[1]}")
        async with running(rig):
            await rig.until(lambda: rig.part.state == "running")
            await rig.until(lambda: rig.part.state == "waiting")
            assert rig.part.detail.startswith("no ping for ")
        nursery.cancel_scope.cancel()


def m3_packet(number: int, shape: tuple[int, int] = (300, 64)) -> bytes:
    rng = np.random.default_rng(number)
    samples = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
    return encode_packet(
        samples,
        bearing_rad=np.linspace(-1, 1, shape[1]),
        time_s=1.7e9 + number / 10,
        ping_number=number,
        sound_speed_m_s=1500.0,
        first_range_m=1.0,
        sample_interval_s=2e-5,
        frequency_hz=500e3,
        pulse_length_s=20e-6,
        ping_rate_hz=10.0,
    )


async def test_an_m3_over_tcp_is_cut_off_damaged_and_back(tmp_path: Path, fast_clock) -> None:
    """The stream breaks in the middle of a packet, comes back with garbage before it, a bit flipped in a header."""
    connections = 0

    async def m3(stream: trio.SocketStream) -> None:
        nonlocal connections
        connections += 1
        if connections == 1:
            await stream.send_all(m3_packet(1) + m3_packet(2)[:50_000])
            return
        flipped = bytearray(m3_packet(4))
        flipped[52] ^= 0x40
        await stream.send_all(b"\x00\x80\x00" * 50 + m3_packet(3) + bytes(flipped) + m3_packet(5))
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, m3, 0, host="127.0.0.1"))
        rig = Rig(tmp_path, f"tcp://127.0.0.1:{listener.socket.getsockname()[1]}", "kongsberg-m3")
        async with running(rig):
            await rig.until(lambda: rig.numbers[-1:] == [5])
            statistics = rig.runner.statistics()
        nursery.cancel_scope.cancel()
    assert rig.numbers == [1, 3, 5]
    assert rig.part.state == "running"
    assert statistics["connects"] == 2
    assert statistics["resyncs"] >= 1
    assert statistics["skipped_bytes"] >= len(m3_packet(4))
    assert statistics["link_error"] == "the sonar closed the connection"
    assert (statistics["samples"], statistics["beams"]) == (300, 64)


async def test_datagrams_are_decoded_one_by_one(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    rig = Rig(tmp_path, f"udp://:{port}?bind=127.0.0.1")
    async with running(rig):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sonar:
            await rig.until(lambda: rig.runner.link.connects)
            for data in (ping(1), b"?", b"X", ping(2), b"P1", ping(3)):
                sonar.sendto(data, ("127.0.0.1", port))
            await rig.until(lambda: rig.numbers == [1, 2, 3])
    assert rig.runner.statistics()["decoder_crashes"] == 1


async def test_a_driver_of_datagrams_on_a_stream_is_a_clear_mistake(tmp_path: Path) -> None:
    rig = rig_of_file(tmp_path, b"x")
    rig.runner._receiver._driver = Driver("toy", "Toy protocol", ToySettings, None, ToyDecoder)
    with pytest.raises(ExceptionGroup) as raised:
        await rig.run()
    assert raised.group_contains(
        Exception, match=r"sonars.pen.link: .* brings a byte stream, but .* needs a udp:// link"
    )


class Channels(ToyDecoder):
    """Three channels a ping, of which the second has angles."""

    def decode(self, view: memoryview, arrival) -> Decoded:
        decoded = super().decode(view, arrival)
        angles = np.zeros(8, np.float32)
        frames = []
        for frame in decoded.frames:
            column = {"intensity": np.ones((8, 1), np.float32), "bearing_rad": np.zeros(1)}
            for channel in ("18 kHz", "38 kHz", "120 kHz"):
                extra = {"along_rad": angles, "athwart_rad": angles} if channel == "38 kHz" else {}
                frames.append(make_frame(frame.ping_number, channel=channel, **column, **extra))
        decoded.frames = frames
        return decoded


@pytest.mark.parametrize(("wanted", "expected"), [("", "38 kHz"), ("120", "120 kHz")])
async def test_one_channel_is_detected_on_and_all_are_measured_and_drawn(
    tmp_path: Path, wanted: str, expected: str
) -> None:
    rig = rig_of_file(tmp_path, ping(1) + ping(2) + ping(3), channel=wanted)
    rig.runner._receiver._driver = Driver("toy", "Toy", ToySettings, Channels)
    drawn, measured = set(), set()

    async def collect(bus: Bus, into: set) -> None:
        with bus.subscribe("test", all_within(100)) as items:
            async for item in items:
                into.add(item.channel)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(collect, rig.sonar.pictures, drawn)
        nursery.start_soon(collect, rig.context.metrics, measured)
        await rig.run()
        rig.sonar.pictures.close()
        rig.context.metrics.close()
    assert {result.channel for result in rig.results} == {expected}
    assert [result.ping_number for result in rig.results] == [1, 2, 3]
    assert drawn == measured == {"18 kHz", "38 kHz", "120 kHz"}
    assert rig.runner.statistics()["pings"] == 3
    assert len(rig.frames) == 9


async def test_the_last_columns_of_an_echogram_are_kept_without_a_viewer(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("nims_appliance.sonar.KEPT_COLUMNS", 50)
    rig = rig_of_file(tmp_path, b"".join(ping(number) for number in range(1, 31)))
    rig.runner._receiver._driver = Driver("toy", "Toy", ToySettings, Channels)
    await rig.run()
    assert [column.frame_number for column in rig.sonar.columns] == list(range(41, 91))
    oldest, newest = rig.sonar.columns[0], rig.sonar.columns[-1]
    rig.runner._keep(dataclasses.replace(newest, received_utc_s=oldest.received_utc_s + 179.9, frame_number=91))
    assert [rig.sonar.columns[0].frame_number, len(rig.sonar.columns)] == [42, 50]
    rig.runner._keep(dataclasses.replace(newest, received_utc_s=newest.received_utc_s + 1000.0, frame_number=92))
    assert [column.frame_number for column in rig.sonar.columns] == [92]


class EveryTenth:
    """A rate limit by count: everything passes at the rate of pictures, every tenth at one a second."""

    def __init__(self) -> None:
        self.asked = 0

    def passes(self, kind: str, now_s: float, interval_s: float) -> bool:
        self.asked += 1
        return interval_s < 0.5 or self.asked % 10 == 1


async def test_range_over_time_of_a_multibeam_is_kept_at_the_rate_of_pictures_without_a_viewer(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("nims_appliance.sonar.RateLimit", EveryTenth)
    rig = rig_of_file(tmp_path, b"".join(ping(number) for number in range(1, 31)))
    drawn: list[int] = []
    rig.sonar.pictures.publish = lambda picture: drawn.append(picture.frame_number)  # type: ignore[method-assign]
    await rig.run()
    assert [column.frame_number for column in rig.sonar.strongest[""]] == list(range(1, 31))
    assert drawn == [1, 11, 21]


class SlowChain(QuietChain):
    """Thinks about each ping until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def detect(self, frame: Frame) -> np.ndarray:
        self.go_on.wait(10)
        return super().detect(frame)


async def test_a_picture_waits_for_the_tracks_of_its_ping_but_not_for_long(tmp_path: Path, monkeypatch) -> None:
    events: list[str] = []

    async def note(bus: Bus, name: str) -> None:
        with bus.subscribe("test", all_within(10)) as items:
            async for _ in items:
                events.append(name)

    for patience_s, expected in ((10.0, ["tracks", "picture"]), (0.01, ["picture", "tracks"])):
        monkeypatch.setattr("nims_appliance.sonar.TRACKS_FIRST_S", patience_s)
        events.clear()
        chain = SlowChain()
        rig = rig_of_file(tmp_path, ping(1), chain=chain)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(note, rig.sonar.pictures, "picture")
            nursery.start_soon(note, rig.context.results, "tracks")
            nursery.start_soon(rig.run)
            if expected[0] == "picture":
                await rig.until(lambda: events)
            else:
                await trio.sleep(0.1)
            chain.go_on.set()
            await rig.until(lambda: len(events) == 2)
            nursery.cancel_scope.cancel()
        assert events == expected


async def test_recordings_keep_their_pace(autojump_clock) -> None:
    pace = Playback(2.0)
    times_s = [100.0, 101.0, 101.0, 103.0, 500.0, 501.0, 50.0, 51.0]
    waited = []
    for time_s in times_s:
        before_s = trio.current_time()
        await pace.wait(time_s)
        waited.append(round(trio.current_time() - before_s, 6))
    # Twice as fast; the jumps to 500 s and back to 50 s are not waited for.
    assert waited == [0, 0.5, 0, 1, 0, 0.5, 0, 0.5]


async def test_a_recording_that_is_late_does_not_rush(autojump_clock) -> None:
    pace = Playback(1.0)
    await pace.wait(100.0)
    await trio.sleep(5)
    await pace.wait(101.0)
    before_s = trio.current_time()
    await pace.wait(102.0)
    assert trio.current_time() - before_s == pytest.approx(1)


async def test_a_ping_of_an_impossible_time_does_not_stop_a_recording(autojump_clock) -> None:
    pace = Playback(1.0)
    for time_s in (100.0, 1e18, 101.0, -1e18, 102.0):
        await pace.wait(time_s)
    assert trio.current_time() < 20
    assert math.isfinite(trio.current_time())


async def test_statistics_are_json_able(tmp_path: Path) -> None:
    rig = rig_of_file(tmp_path, ping(1) + b"BX?")
    await rig.run()
    json.dumps(rig.context.health.snapshot(), allow_nan=False)
