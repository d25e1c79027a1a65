"""Recordings in which the sonar, its gain, its clock or its link misbehave: no false tracks, and the animal goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from nims_m3.wire import encode_packet

from nims_appliance.config.store import one_sonar
from nims_appliance.plugin_host.host import PluginHost
from nims_appliance.process import process_files

PINGS, FAULT = 170, 130
STEP_M = 0.015
Change = dict[str, float]
"""What is other than usual in a ping: gain (of the amplitude), clock_s, picture (number of the ping shown), step_m."""


def packet(number: int, change: Change) -> bytes:
    shown, step_m = int(change.get("picture", number)), change.get("step_m", STEP_M)
    rng = np.random.default_rng(shown)
    samples = rng.standard_normal((300, 48)) + 1j * rng.standard_normal((300, 48))
    row = round((swimmer_m(shown) - 1.0) / step_m)
    samples[row - 1 : row + 2, 22:25] += 30.0 * np.exp(2j * np.pi * rng.random())
    return encode_packet(
        (samples * change.get("gain", 1.0)).astype(np.complex64),
        bearing_rad=np.linspace(-0.5, 0.5, 48),
        time_s=1.7e9 + number / 10 + change.get("clock_s", 0.0),
        ping_number=number,
        sound_speed_m_s=1500.0,
        first_range_m=1.0,
        sample_interval_s=2 * step_m / 1500.0,
        frequency_hz=500e3,
        pulse_length_s=20e-6,
        ping_rate_hz=10.0,
    )


def swimmer_m(number: int) -> float:
    return 2.0 + 0.02 * number


FAULTS: dict[str, tuple[Callable[[int], Change | None], int]] = {
    "ten decibels more in one ping": (lambda n: {"gain": 10**0.5} if n == FAULT else {}, 1),
    "ten decibels less in one ping": (lambda n: {"gain": 10**-0.5} if n == FAULT else {}, 1),
    "ten decibels more from now on": (lambda n: {"gain": 10**0.5} if n >= FAULT else {}, 1),
    "ten decibels less from now on": (lambda n: {"gain": 10**-0.5} if n >= FAULT else {}, 1),
    "one second frozen": (lambda n: {"picture": FAULT} if FAULT < n < FAULT + 10 else {}, 1),
    "half a second missing": (lambda n: None if FAULT < n < FAULT + 5 else {}, 1),
    "clock a little back": (lambda n: {"clock_s": -0.05} if n >= FAULT else {}, 1),
    "clock an hour back": (lambda n: {"clock_s": -3600.0} if n >= FAULT else {}, 2),
    "clock an hour forth": (lambda n: {"clock_s": 3600.0} if n >= FAULT else {}, 2),
    "clock back and forth": (lambda n: {"clock_s": -3600.0} if FAULT <= n < FAULT + 5 else {}, 3),
    "another range": (lambda n: {"step_m": 2 * STEP_M} if n >= FAULT else {}, 2),
}
"""What happens, and the most tracks that the one animal may be told as."""


@pytest.fixture(scope="module")
def plugins() -> PluginHost:
    return PluginHost.load(None)


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_makes_a_false_track(plugins: PluginHost, tmp_path: Path, fault: str) -> None:
    change_of, most = FAULTS[fault]
    changes = {number: change for number in range(1, PINGS + 1) if (change := change_of(number)) is not None}
    recording, tracks = tmp_path / "fault.imb", tmp_path / "tracks.jsonl"
    recording.write_bytes(b"".join(packet(number, change) for number, change in changes.items()))
    profile = plugins.profile("kongsberg-m3")
    sonar = one_sonar(plugins, "kongsberg-m3", {})
    summary = process_files([recording], sonar, profile, plugins.driver(profile), tracks=tracks)
    assert (summary.pings, summary.failures, summary.errors) == (len(changes), 0, [])
    messages = [json.loads(line) for line in tracks.read_text().splitlines()]
    away: dict[int, list[float]] = {}
    for message in messages:
        for track in message["tracks"]:
            shift_m = abs(track["last_pos_range"] - swimmer_m(message["ping_num_sonar"]))
            away.setdefault(track["id"], []).append(shift_m)
    assert all(np.median(shifts) < 0.3 for shifts in away.values()), "no track but the animal's"
    assert 1 <= len(away) <= most
    before_m = [track["last_pos_range"] for track in messages[FAULT - 2]["tracks"]]
    assert before_m == pytest.approx([swimmer_m(FAULT - 1)], abs=0.3)
    if fault != "another range":  # its background takes 3 s to be known, and then the animal its first echoes
        after_m = [track["last_pos_range"] for track in messages[-1]["tracks"]]
        assert after_m == pytest.approx([swimmer_m(PINGS)], abs=0.3)
