"""Cost of each step of a ping's way, in this process: decode, bus, display, detection, tracking; and the peers'."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from functools import partial
from itertools import count, islice

import numpy as np
import trio
import trio.testing

from nims_appliance.bus import LATEST, Bus
from nims_appliance.config.store import one_sonar
from nims_appliance.frame import Arrival, Frame
from nims_appliance.pipeline.detector import make_detector
from nims_appliance.pipeline.display import DisplayEncoder
from nims_appliance.pipeline.tracker import make_tracker
from nims_appliance.plugin_host.host import PluginHost, make_decoder_context
from nims_appliance.settings import SonarSettings

from .peers import NumpyPeer, OpenCvPeer
from .report import Report, median_ms

GROUP = "One step of a ping, one thread, median"
STEP = "background, smoothing, threshold, grouping 256 x 1500"
CLUTTER = 1000
START_S = 1_700_000_000.0


def measure(report: Report, plugins: PluginHost, quick: bool) -> None:
    """Add the rows of this module."""
    frames = _decoding(report, plugins, 30 if quick else 80)
    _bus(report)
    _display(report, frames)
    _analysis(report, plugins, frames[0], quick)


def _decoding(report: Report, plugins: PluginHost, pings: int) -> list[Frame]:
    frames: list[Frame] = []
    for profile_name, label, options in (
        ("kongsberg-m3", "decode M3 256 x 1500", {"beams": 256, "samples": 1500}),
        ("blueprint-oculus", "decode Oculus 512 x 800, 16 bit, gain rows", {}),
        ("simrad-ek60", "decode EK60 (EK500 telegrams), 1500 samples", {}),
    ):
        simulator = plugins.simulators[profile_name]
        device = simulator.make(rate_hz=10.0, seed=1, **({"beams": None, "samples": None} | options))
        profile = plugins.profiles[profile_name]
        driver = plugins.drivers[profile.driver]
        context = make_decoder_context(profile, one_sonar(plugins, profile_name, {}), driver, live=True)
        times: list[float] = []
        if simulator.transport == "udp":
            datagrams = driver.datagram(context)
            for number in range(1, pings + 1):
                packets = device.encode(device.ping(number, START_S + number / 10))
                arrival = Arrival(START_S + number / 10, number / 10)
                before = time.perf_counter()
                for packet in packets:
                    datagrams.decode_datagram(memoryview(packet), "127.0.0.1:3000", arrival)
                times.append(time.perf_counter() - before)
        else:
            stream = driver.stream(context)
            device.receive(stream.on_connect())
            for number in range(1, pings + 1):
                packet = b"".join(device.encode(device.ping(number, START_S + number / 10)))
                before = time.perf_counter()
                decoded = stream.decode(memoryview(packet), Arrival(START_S, 0.0)).frames
                times.append(time.perf_counter() - before)
                if profile_name == "kongsberg-m3":
                    frames += decoded
        report.add(GROUP, label, float(np.median(times[3:])) * 1e3, "ms")
    return [
        frame.stamped("bench", number, Arrival(frame.time_s, frame.time_s)) for number, frame in enumerate(frames, 1)
    ]


def _bus(report: Report) -> None:
    async def publish() -> float:
        bus: Bus[int] = Bus("bench")

        async def subscriber() -> None:
            with bus.subscribe("bench", LATEST) as items:
                async for _ in items:
                    pass

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(subscriber)
            await trio.testing.wait_all_tasks_blocked()
            times = []
            for _ in range(2000):
                before = time.perf_counter()
                bus.publish(0)
                times.append(time.perf_counter() - before)
                await trio.sleep(0)
            bus.close()
        return float(np.median(times))

    report.add(GROUP, "publish one frame to 10 subscribers", trio.run(publish) * 1e3, "ms")


def _display(report: Report, frames: list[Frame]) -> None:
    encoder = DisplayEncoder()
    picture = encoder.encode(frames[0])
    elapsed = median_ms([partial(encoder.encode, frame) for frame in frames])
    report.add(GROUP, "encode the picture for all browsers", elapsed, "ms", note=f"{len(picture.payload) / 1e3:.0f} kB")


def _analysis(report: Report, plugins: PluginHost, frame: Frame, quick: bool) -> None:
    settings = one_sonar(plugins, "kongsberg-m3", {})
    # As many pings as a background of 30 s holds come first, untimed.
    warm, timed = (60, 40) if quick else (330, 120)
    detector, tracker = make_detector(settings), make_tracker(settings)
    peers: list[NumpyPeer | OpenCvPeer] = []
    for make in (NumpyPeer, OpenCvPeer):
        try:
            peers.append(make())
        except ImportError as error:
            report.problem(GROUP, f"{make.name}: {error}")
    times_s: dict[str, list[float]] = {name: [] for name in ("detect", "track", *(peer.name for peer in peers))}
    found: dict[str, list[int]] = {name: [] for name in times_s}
    for ping in islice(_pings(plugins, frame), warm + timed):
        before = time.perf_counter()
        detections = detector.detect(ping)
        between = time.perf_counter()
        tracks, _ = tracker.update(ping, detections)
        times_s["detect"].append(between - before)
        times_s["track"].append(time.perf_counter() - between)
        found["detect"].append(len(detections))
        found["track"].append(len(tracks))
        for peer in peers:
            before = time.perf_counter()
            groups = peer.detect(ping.intensity)
            times_s[peer.name].append(time.perf_counter() - before)
            found[peer.name].append(len(groups))
    median = {name: float(np.median(times[warm:])) * 1e3 for name, times in times_s.items()}
    mean = {name: float(np.mean(counts[warm:])) for name, counts in found.items()}
    report.add(GROUP, STEP, median["detect"], "ms", note=f"{mean['detect']:.1f} candidates a ping")
    for peer in peers:
        note = f"{mean[peer.name]:.1f} groups a ping"
        report.add(
            GROUP, f"  {peer.name}", median[peer.name], "ms", note=note, ratio=median[peer.name] / median["detect"]
        )
    report.add(GROUP, "track", median["track"], "ms", note=f"{mean['track']:.1f} tracks a ping")
    both = np.add(times_s["detect"], times_s["track"])[warm:]
    note = f"99 % within {np.percentile(both, 99) * 1e3:.1f} ms"
    report.add(GROUP, "detect and track", float(np.median(both)) * 1e3, "ms", note=note)
    _clutter(report, settings, ping, detections, 20 if quick else 60)


def _clutter(report: Report, settings: SonarSettings, frame: Frame, some: np.ndarray, pings: int) -> None:
    """Track with 1000 detections a ping that are nothing: real ones, strewn over the fan anew in each ping."""
    if not len(some):
        report.problem(GROUP, "no detection to make clutter of")
        return
    rng, tracker, times_s = np.random.default_rng(3), make_tracker(settings), []
    for number in range(1, pings + 1):
        clutter = rng.choice(some, CLUTTER)
        clutter["range_m"] = rng.uniform(frame.range_m[0], frame.range_m[-1], CLUTTER)
        clutter["bearing_rad"] = rng.uniform(frame.bearing_rad[0], frame.bearing_rad[-1], CLUTTER)
        later = dataclasses.replace(frame, time_s=frame.time_s + number / 10, ping_number=frame.ping_number + number)
        before = time.perf_counter()
        tracker.update(later, clutter)
        times_s.append(time.perf_counter() - before)
    report.add(GROUP, f"track, {CLUTTER} detections of clutter", float(np.median(times_s[pings // 2 :])) * 1e3, "ms")


def _pings(plugins: PluginHost, frame: Frame) -> Iterator[Frame]:
    """Pings of a simulated M3 at 10 Hz without end, with the axes of `frame`; no two have the same speckle."""
    device = plugins.simulators["kongsberg-m3"].make(rate_hz=10.0, beams=256, samples=1500, seed=2)
    for number in count(1):
        heard = device.ping(number, START_S + number / 10).samples
        yield dataclasses.replace(
            frame,
            intensity=(heard.real**2 + heard.imag**2),
            samples=None,
            time_s=START_S + number / 10,
            ping_number=number,
            frame_number=number,
            received_utc_s=START_S + number / 10,
            received_monotonic_s=number / 10,
        )
