"""Side lobes of a line array without shading, made by hand: sin(pi u) / (pi u) in amplitude over the beams."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nims_appliance.frame import Frame
from nims_appliance.pipeline.chain import make_chain
from nims_appliance.pipeline.detector import make_detector
from nims_appliance.settings import SonarSettings

SETTINGS = SonarSettings(profile="test", link="")
WIDTH_RAD = math.radians(1.6)
RANGE_M = np.linspace(1.0, 20.0, 200)
BEARING_RAD = np.radians(np.linspace(-45, 45, 120))

Target = tuple[float, float, float]
"""range_m, bearing_rad, amplitude over the root mean square of the noise."""


def ping(rng: np.random.Generator, number: int, *targets: Target) -> Frame:
    shape = (len(RANGE_M), len(BEARING_RAD))
    field = (rng.normal(size=shape) + 1j * rng.normal(size=shape)) / math.sqrt(2)
    for range_m, bearing_rad, amplitude in targets:
        nulls = 0.886 * (np.sin(BEARING_RAD) - math.sin(bearing_rad)) / WIDTH_RAD
        along = np.exp(-0.5 * ((RANGE_M - range_m) / 0.08) ** 2)
        field += amplitude * np.exp(2j * math.pi * rng.random()) * np.outer(along, np.sinc(nulls))
    return Frame(
        intensity=(np.abs(field) ** 2).astype(np.float32), unit="counts^2", range_m=RANGE_M, bearing_rad=BEARING_RAD,
        time_s=1e9 + number / 10, ping_number=number, sound_speed_m_s=1500.0, frequency_hz=5e5, pulse_length_s=1e-4,
        ping_interval_s=0.1, beam_width_rad=WIDTH_RAD, range_resolution_m=0.12, frame_number=number, sonar_id="pen",
    )  # fmt: skip


def off_target(found: np.ndarray, targets: list[Target]) -> np.ndarray:
    """Detections that are no target's, within 0.3 m and three degrees."""
    away = np.ones(len(found), bool)
    for range_m, bearing_rad, _ in targets:
        here = (abs(found["range_m"] - range_m) < 0.3) & (abs(found["bearing_rad"] - bearing_rad) < math.radians(3))
        away &= ~here
    return found[away & (found["candidate"] == 0)]


@pytest.mark.parametrize("amplitude", [30.0, 100.0, 300.0])
def test_side_lobes_of_a_strong_target_are_no_detections(amplitude: float) -> None:
    rng, detector = np.random.default_rng(1), make_detector(SETTINGS)
    beside = []
    for number in range(60):
        target = (10.0 + 0.03 * number, 0.1, amplitude)
        found = detector.detect(ping(rng, number, *([target] if number >= 40 else [])))
        if number >= 40:
            beside.append(len(off_target(found, [target])))
            assert (abs(found["range_m"] - target[0]) < 0.3).any()
    assert sum(beside) <= 5  # false alarms elsewhere: 0.1 a ping


@pytest.mark.parametrize(("degrees", "amplitude"), [(6.0, 30.0), (12.0, 14.0), (30.0, 8.0)])
def test_an_animal_beside_a_strong_one_at_its_range_is_seen(degrees: float, amplitude: float) -> None:
    rng, detector = np.random.default_rng(2), make_detector(SETTINGS)
    seen = 0
    for number in range(60):
        range_m = 10.0 + 0.03 * number
        animal = (range_m, -0.1 + math.radians(degrees), amplitude)
        found = detector.detect(ping(rng, number, *([(range_m, -0.1, 100.0), animal] if number >= 40 else [])))
        near = abs(found["bearing_rad"] - animal[1]) < math.radians(1.5)
        seen += bool((near & (abs(found["range_m"] - range_m) < 0.3)).any())
    assert seen >= 16


def test_a_strong_animal_is_one_track() -> None:
    rng, chain = np.random.default_rng(3), make_chain(SETTINGS)
    numbers = set()
    for number in range(150):
        swims = (6.0 + 0.06 * number, 0.3 - 0.004 * number, 150.0)
        result = chain.process(ping(rng, number, *([swims] if number >= 40 else [])))
        numbers |= {track.id for track in result.tracks}
    assert len(numbers) == 1
