"""Split-beam scenes of known truth, through the bytes of the sounder, its decoder, detection and tracking.

The four quadrants of the transducer receive a point target with the phases of its direction, and noise of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from nims_ek60 import nims_drivers, wire

from nims_appliance.acoustics.calibration import beam_compensation_db
from nims_appliance.decoder import DecoderContext
from nims_appliance.frame import Arrival, Frame
from nims_appliance.pipeline.chain import make_chain
from nims_appliance.pipeline.results import PingResult
from nims_appliance.profile import Profile
from nims_appliance.settings import DetectorSettings, SingleTargetSettings, SonarSettings, TrackerSettings

START_S = 1.4e9
SOUND_SPEED_M_S, SAMPLE_S, POWER_W, GAIN_DB, ABSORPTION_DB_M = 1490.0, 32e-6, 250.0, 27.0, 0.0387
CELL_M = SAMPLE_S * SOUND_SPEED_M_S / 2
SENSITIVITY, WIDTH_RAD = 23.0, math.radians(7.0)
# Amplitude of a rectangular pulse of four samples behind a filter matched to it.
PULSE = np.array([0.125, 0.375, 0.625, 0.875, 0.875, 0.625, 0.375, 0.125]) / 0.875
SETTINGS = SonarSettings(
    profile="simrad-ek60",
    link="",
    detector=DetectorSettings(false_alarms_per_ping=0.1),
    single_target=SingleTargetSettings(min_ts_db=-60.0, max_phase_sd_steps=12.0, max_gain_compensation_db=12.0),
    tracker=TrackerSettings(max_gap_s=0.5, max_speed_m_s=2.0),
)

Target = tuple[float, float, float, float]
"""range_m, athwart_rad, along_rad, ts_db."""


def received_db(target: Target) -> float:
    """Return the power of a target, dB re 1 W, by the sonar equation with r less two samples."""
    range_m, athwart_rad, along_rad, ts_db = target
    reduced_m = range_m - 2 * CELL_M
    wavelength_m = SOUND_SPEED_M_S / 120e3
    loss_db = float(beam_compensation_db(along_rad, athwart_rad, WIDTH_RAD, WIDTH_RAD))
    source_db = 10 * math.log10(POWER_W * wavelength_m**2 / (16 * math.pi**2)) + 2 * GAIN_DB
    return ts_db - loss_db - 40 * math.log10(reduced_m) - 2 * ABSORPTION_DB_M * reduced_m + source_db


def ping(
    rng: np.random.Generator, samples: int, noise_db: float, targets: list[Target], *, wall: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return power in dB, athwart and along electrical degrees; a wall fills the far third, 30 dB over the noise."""
    quadrants = (rng.normal(size=(2, 2, samples)) + 1j * rng.normal(size=(2, 2, samples))) * 10 ** (noise_db / 20)
    quadrants *= math.sqrt(2.0)  # the mean of four has the power of the noise
    total = quadrants.mean((0, 1))
    signs = np.array([1.0, -1.0])
    for target in targets:
        middle = round(target[0] / CELL_M)
        where = slice(middle - 4, middle + 4)
        echo = PULSE * 10 ** (received_db(target) / 20) * np.exp(2j * math.pi * rng.random())
        total[where] += echo
        phase = 0.5 * SENSITIVITY * (signs[:, None] * target[1] + signs[None, :] * target[2])
        quadrants[:, :, where] += np.exp(1j * phase)[:, :, None] * echo
    if wall:
        first = 2 * samples // 3
        parts = rng.normal(size=(2, 2, samples - first + 7)) + 1j * rng.normal(size=(2, 2, samples - first + 7))
        spread = np.apply_along_axis(lambda part: np.convolve(part, PULSE, "valid"), 2, parts)
        spread *= 10 ** ((noise_db + 30) / 20) / 2
        quadrants[:, :, first:] += spread
        total[first:] += spread.mean((0, 1))
    athwart = np.angle(quadrants[0].sum(0) * quadrants[1].sum(0).conj())
    along = np.angle(quadrants[:, 0].sum(0) * quadrants[:, 1].sum(0).conj())
    return 10 * np.log10(np.abs(total) ** 2), np.degrees(athwart), np.degrees(along)


def run(
    pings: int, rate_hz: float, samples: int, noise_db: float, targets: Callable[[int], list[Target]], **keywords: bool
) -> list[PingResult]:
    """Return the result of each ping."""
    rng = np.random.default_rng(11)
    driver = nims_drivers()[0]
    assert driver.stream is not None
    decoder = driver.stream(DecoderContext(Profile(name="", title="", driver="ek60"), driver.settings_type()))
    chain = make_chain(SETTINGS)
    data = wire.encode_con0([wire.transceiver("GPT 120 kHz")], time_s=START_S)
    frames: list[Frame] = []
    for number in range(pings):
        power_db, athwart_deg, along_deg = ping(rng, samples, noise_db, targets(number), **keywords)
        data += wire.encode_raw0(
            power_db, athwart_deg, along_deg, time_s=START_S + number / rate_hz, sample_interval_s=SAMPLE_S,
            sound_speed_m_s=SOUND_SPEED_M_S, transmit_power_w=POWER_W, absorption_db_m=ABSORPTION_DB_M,
        )  # fmt: skip
    view, at = memoryview(data), 0
    while (answer := decoder.decode(view[at:], Arrival(0.0, 0.0))).consumed:
        at += answer.consumed
        frames += answer.frames
    assert len(frames) == pings
    return [chain.process(frame) for frame in frames]


@pytest.mark.parametrize(
    ("samples", "noise_db", "wall"), [(256, -80.0, False), (900, -100.0, False), (400, -90.0, True)]
)
def test_noise_and_walls_make_few_targets_and_no_tracks(samples: int, noise_db: float, wall: bool) -> None:
    results = run(400, 10.0, samples, noise_db, lambda number: [], wall=wall)
    assert sum(len(result.detections) for result in results) <= 0.1 * 400
    assert not any(result.tracks for result in results)


@pytest.mark.parametrize(("rate_hz", "range_m", "samples"), [(10.0, 4.0, 256), (40.0, 10.0, 700)])
def test_fish_that_crosses_the_beam(rate_hz: float, range_m: float, samples: int) -> None:
    """25 dB over the noise on the axis, athwart at 0.3 m/s and a little forward of the axis; TS -40 dB."""
    noise_db = received_db((range_m, 0.0, 0.0, -40.0)) - 25.0
    width_m = range_m * WIDTH_RAD
    crossing = math.ceil(width_m / 0.3 * rate_hz)
    quiet = 60

    def fish(number: int) -> list[Target]:
        x_m = 0.3 * (number - quiet) / rate_hz - width_m / 2
        near = round(range_m / CELL_M) * CELL_M
        return [(near, x_m / range_m, 0.01, -40.0)] if quiet <= number < quiet + crossing else []

    results = run(quiet + crossing + int(rate_hz), rate_hz, samples, noise_db, fish)
    errors = []
    for number, result in enumerate(results):
        if not (truth := fish(number)):
            assert len(result.detections) <= 1
            continue
        for found in result.detections:
            if abs(found["range_m"] - truth[0][0]) < 0.1:
                errors.append(
                    [
                        # The pulse of eight samples around sample n has its middle half a sample before it.
                        found["range_m"] - (truth[0][0] - CELL_M / 2),
                        found["bearing_rad"] - truth[0][1],
                        found["elevation_rad"] - truth[0][2],
                        found["ts_db"] - truth[0][3],
                        found["range_sd_m"],
                        found["bearing_sd_rad"],
                    ]
                )
    assert len(errors) > 0.7 * crossing
    mean, deviation = np.mean(errors, axis=0), np.std(errors, axis=0)
    assert abs(mean[0]) < 0.005
    assert deviation[0] < mean[4]
    assert np.degrees(abs(mean[1:3])) == pytest.approx([0.0, 0.0], abs=0.1)
    assert deviation[1] < mean[5]
    assert abs(mean[3]) < 0.6
    assert deviation[3] < 1.0
    tracks = {track.id for result in results for track in result.tracks}
    assert len(tracks) == 1
    last = next(result.tracks[0] for result in reversed(results[: quiet + crossing]) if result.tracks)
    assert last.velocity_m_s[0] == pytest.approx(0.3, abs=0.15)
    assert last.strength_db == pytest.approx(-40.0, abs=1.0)
