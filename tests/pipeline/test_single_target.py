"""Single targets of split-beam pings: made echoes of known place and strength, and a fish pen."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nims_ek60 import nims_drivers

from nims_appliance.acoustics.calibration import beam_compensation_db, ts_linear
from nims_appliance.decoder import DecoderContext
from nims_appliance.frame import Arrival, Calibration, Frame
from nims_appliance.pipeline.detector import make_detector as detector_of_chain
from nims_appliance.pipeline.range_background import RangeBackground
from nims_appliance.pipeline.results import DETECTION
from nims_appliance.pipeline.single_target import SingleTargetDetector
from nims_appliance.profile import Profile
from nims_appliance.settings import DetectorSettings, SingleTargetSettings, SonarSettings

SAMPLES = 600
CELL_M = 0.024
PULSE_SAMPLES = 4
WIDTH_RAD = math.radians(7.0)
STEP_RAD = math.radians(180.0 / 128.0 / 21.0)
NOISE_W = 1e-12
CALIBRATION = Calibration(
    250.0, 27.0, 0.0, -21.0, 0.038, 32e-6, 2 * CELL_M, WIDTH_RAD, WIDTH_RAD, angle_sensitivity_along=21.0,
    angle_sensitivity_athwart=21.0,
)  # fmt: skip
# Amplitude of a rectangular pulse behind a filter matched to it.
PULSE = np.array([0.125, 0.375, 0.625, 0.875, 0.875, 0.625, 0.375, 0.125]) / 0.875


def make_detector(*, background_s: float = 30.0, **criteria: float) -> SingleTargetDetector:
    return SingleTargetDetector(
        SonarSettings(
            profile="simrad-ek60",
            link="",
            detector=DetectorSettings(background_s=background_s),
            single_target=SingleTargetSettings(**criteria),
        )
    )


def make_frame(
    number: int,
    targets: list[tuple[float, float, float, float]] = (),
    *,
    seed: int = 0,
    samples: int = SAMPLES,
    calibrated: bool = True,
) -> Frame:
    """Return a ping of noise and point targets of (range_m, athwart_rad, along_rad, ts_db), at 20 Hz."""
    rng = np.random.default_rng((seed, number))
    power = NOISE_W * rng.exponential(size=samples)
    along, athwart = rng.uniform(-WIDTH_RAD, WIDTH_RAD, (2, samples))
    frame = Frame(
        intensity=np.ones((samples, 1), np.float32), unit="W", range_m=np.arange(samples) * CELL_M,
        bearing_rad=np.zeros(1), time_s=1000.0 + 0.05 * number, ping_number=number, sound_speed_m_s=1500.0,
        frequency_hz=120e3, pulse_length_s=PULSE_SAMPLES * 2 * CELL_M / 1500.0, ping_interval_s=math.nan,
        beam_width_rad=WIDTH_RAD, range_resolution_m=PULSE_SAMPLES * CELL_M, calibration=CALIBRATION,
    )  # fmt: skip
    ts_of_one_watt = ts_linear(frame)
    for range_m, athwart_rad, along_rad, ts_db in targets:
        middle = round(range_m / CELL_M)
        where = slice(middle - 4, middle + 4)
        loss_db = beam_compensation_db(along_rad, athwart_rad, WIDTH_RAD, WIDTH_RAD)
        power[where] += PULSE**2 * 10 ** ((ts_db - loss_db) / 10) / ts_of_one_watt[middle]
        along[where], athwart[where] = along_rad, athwart_rad
    return dataclasses.replace(
        frame,
        intensity=power.astype(np.float32)[:, np.newaxis],
        along_rad=along.astype(np.float32),
        athwart_rad=athwart.astype(np.float32),
        calibration=CALIBRATION if calibrated else None,
    )


def learn(detector: SingleTargetDetector, pings: int = 50, **keywords: object) -> None:
    for number in range(pings):
        detector.detect(make_frame(number, **keywords))


def test_place_and_strength_of_a_target() -> None:
    detector = make_detector()
    learn(detector)
    found = detector.detect(make_frame(50, [(7.2, 0.03, -0.02, -40.0)]))
    assert found.dtype == DETECTION
    assert len(found) == 1
    (target,) = found
    assert target["range_m"] == pytest.approx(7.2, abs=CELL_M)
    assert target["bearing_rad"] == pytest.approx(0.03, abs=1e-3)
    assert target["elevation_rad"] == pytest.approx(-0.02, abs=1e-3)
    assert target["ts_db"] == pytest.approx(-40.0, abs=0.3)
    assert target["snr_db"] > 30.0
    assert target["cells"] in (4, 5)
    assert target["exceedance"] > 50.0
    assert target["candidate"] == 0
    assert 0.5 * CELL_M / math.sqrt(12) < target["range_sd_m"] < PULSE_SAMPLES * CELL_M
    for name in ("bearing_sd_rad", "elevation_sd_rad"):
        assert STEP_RAD / 2 < target[name] < WIDTH_RAD / 4
    assert all(np.isfinite(target[name]) for name in DETECTION.names)


def test_position_errors_match_the_stated_deviations() -> None:
    """The echo of an animal of 0.25 m wanders by a fifth of it; over many pings the normalised errors are about one."""
    rng = np.random.default_rng(3)
    detector = make_detector()
    learn(detector)
    errors = []
    for number in range(50, 150):
        athwart_rad = rng.normal(0.01, 0.05 / 7.2)
        found = detector.detect(make_frame(number, [(7.2, athwart_rad, -0.02, -40.0)]))
        errors += [(target["bearing_rad"] - 0.01) / target["bearing_sd_rad"] for target in found]
    assert len(errors) > 50
    assert 0.6 < np.std(errors) < 1.4
    assert abs(np.mean(errors)) < 0.4


def test_two_targets_apart_are_two() -> None:
    detector = make_detector()
    learn(detector)
    found = detector.detect(make_frame(50, [(7.2, 0.0, 0.0, -40.0), (7.2 + 0.3, 0.02, 0.0, -35.0)]))
    assert found["range_m"] == pytest.approx([7.2, 7.5], abs=1.5 * CELL_M)


def test_strongest_of_overlapping_echoes_is_kept() -> None:
    detector = make_detector(max_echo_length=10.0, min_echo_length=0.1, max_phase_sd_steps=200.0)
    learn(detector)
    frame = make_frame(50)
    frame.intensity[300:304, 0] = [1e-6, 0.0, 2e-6, 0.0]
    frame.intensity[299, 0] = frame.intensity[305, 0] = 0.0
    frame.intensity[301, 0] = 0.9e-6
    found = detector.detect(frame)
    assert len(found) <= 1


def exceedances(power: Callable[[int], np.ndarray], *, learnt: int, pings: int) -> np.ndarray:
    """Return the exceedance of every sample in `pings` pings after `learnt` ones; power(number) gives one ping."""
    background = RangeBackground(memory_s=10.0)
    background.fit(make_frame(0))
    found = []
    for number in range(learnt + pings):
        if number >= learnt:
            found.append(background.exceedance(power(number)))
        background.update(power(number), 0.05 * number)
    return np.array(found)


@pytest.mark.parametrize("learnt", [30, 300])
def test_exceedance_of_noise_is_exponentially_distributed(learnt: int) -> None:
    """As often as it says: e^-u of the samples exceed u, also while the background is young."""
    found = exceedances(lambda n: np.random.default_rng(n).exponential(size=SAMPLES), learnt=learnt, pings=100)
    for level in (1.0, 3.0, 5.0):
        assert 0.6 < (found > level).mean() / math.exp(-level) < 1.3
    assert (found > 8.0).mean() < 2.0 * math.exp(-8.0)


def test_exceedance_knows_heavy_tails() -> None:
    """A wall whose power is spread as Weibull's distribution of shape 0.6 is no storm: e^-7 of exponential noise is."""
    found = exceedances(lambda n: np.random.default_rng(n).weibull(0.6, SAMPLES), learnt=300, pings=300)
    assert (found > 7.0).mean() < 2.0 * math.exp(-7.0)
    assert 0.5 < (found > 4.0).mean() / math.exp(-4.0) < 1.5


def test_the_edge_of_a_school_that_moves_in_is_no_targets_and_animals_elsewhere_are() -> None:
    rng = np.random.default_rng(5)
    background = RangeBackground(memory_s=30.0)
    frame, school, animal = make_frame(0), slice(400, 520), slice(200, 204)
    high, seen = 0, []
    for number in range(300):
        power = rng.exponential(size=SAMPLES)
        if number >= 200:
            power[school] *= 10.0  # 10 dB, for 5 s of 20 Hz
            power[animal] += 60.0
        background.fit(frame)
        exceedance = background.exceedance(power)
        if number >= 220:
            high += np.count_nonzero(exceedance[school] > 9.0)
            seen.append(exceedance[animal].max())
        background.update(power, number / 20)
    assert high / 80 < 1.0, "echoes a ping of 120 samples; without the surroundings there are 7"
    assert min(seen) > 12.0


def test_echoes_that_last_over_pings_prove_less() -> None:
    """Ten samples in a row of a slow wall are the news of one; those of noise are ten."""
    rng = np.random.default_rng(4)
    slow, noise = RangeBackground(10.0), RangeBackground(10.0)
    level = rng.normal(size=SAMPLES)
    for background in (slow, noise):
        background.fit(make_frame(0))
    for number in range(400):
        level = 0.8 * level + 0.6 * rng.normal(size=SAMPLES)
        slow.update(np.exp(level), 0.05 * number)
        noise.update(rng.exponential(size=SAMPLES), 0.05 * number)
    assert np.median(slow.novelty()) == pytest.approx(0.2 / 1.8, abs=0.03)
    assert np.median(noise.novelty()) > 0.85


def test_beam_off_axis_criterion() -> None:
    off_axis = [(7.2, math.radians(4.5), 0.0, -30.0)]  # 9.95 dB two-way
    strict, wide = make_detector(max_gain_compensation_db=6.0), make_detector(max_gain_compensation_db=12.0)
    for detector, expected in ((strict, 0), (wide, 1)):
        learn(detector)
        assert len(detector.detect(make_frame(50, off_axis))) == expected


def test_target_strength_criterion_is_on_the_compensated_value() -> None:
    detector = make_detector(min_ts_db=-40.0)
    learn(detector)
    half_width = WIDTH_RAD / 2 * 0.9
    targets = [(5.0, half_width, 0.0, -39.0), (7.0, 0.0, 0.0, -41.0)]
    found = detector.detect(make_frame(50, targets))
    assert found["range_m"] == pytest.approx([5.0], abs=CELL_M)


def test_echo_of_many_targets_is_refused_by_length() -> None:
    detector = make_detector()
    learn(detector)
    frame = make_frame(50)
    frame.intensity[300:320, 0] = 1e-6
    frame.along_rad[300:320] = frame.athwart_rad[300:320] = 0.0
    assert len(detector.detect(frame)) == 0


def test_spike_is_refused_by_length() -> None:
    detector = make_detector()
    learn(detector)
    frame = make_frame(50)
    frame.intensity[300, 0] = 1e-6
    assert len(detector.detect(frame)) == 0


def test_echo_from_several_directions_is_refused() -> None:
    detector = make_detector()
    learn(detector)
    frame = make_frame(50, [(12.0, 0.0, 0.0, -35.0)])
    middle = round(12.0 / CELL_M)
    frame.athwart_rad[middle - 4 : middle + 4 : 2] = 30 * STEP_RAD
    assert len(detector.detect(frame)) == 0


def test_large_animal_near_the_head_may_spread_in_angle() -> None:
    """10 steps are 0.67 degrees: at 1 m a small part of an animal of 0.25 m, at 12 m more than half of it."""
    detector = make_detector()
    learn(detector)
    for range_m, expected in ((1.0, 1), (12.0, 0)):
        frame = make_frame(50, [(range_m, 0.0, 0.0, -45.0)])
        middle = round(range_m / CELL_M)
        frame.athwart_rad[middle - 4 : middle + 4] = np.tile([-10 * STEP_RAD, 10 * STEP_RAD], 4)
        assert len(detector.detect(frame)) == expected


def test_wall_gives_no_targets_and_animals_before_it_do() -> None:
    detector = make_detector()
    wall = [(12.0, 0.01, 0.0, -20.0)]
    early = sum(len(detector.detect(make_frame(number, wall))) for number in range(100))
    late = sum(len(detector.detect(make_frame(number, wall))) for number in range(100, 150))
    assert early <= 1
    assert late == 0
    found = detector.detect(make_frame(150, [*wall, (11.5, 0.0, 0.0, -40.0)]))
    assert found["range_m"] == pytest.approx([11.5], abs=CELL_M)


def test_wall_that_comes_to_stay_is_learnt() -> None:
    detector = make_detector(background_s=2.0)
    learn(detector)
    wall = [(12.0, 0.01, 0.0, -45.0)]
    hits = [len(detector.detect(make_frame(number, wall))) for number in range(50, 550)]
    assert hits[0] == 1
    assert not any(hits[-50:])


def test_animal_that_hangs_still_for_a_minute_stays_detected() -> None:
    """20 dB above the threshold it is seen for longer than twice background_s."""
    detector = make_detector(background_s=30.0)
    learn(detector, 100)
    fish = [(7.2, 0.01, 0.0, -55.0 + 15.0)]
    hits = [len(detector.detect(make_frame(number, fish))) for number in range(100, 1300)]
    assert sum(hits[-100:]) > 90


def test_animal_that_leaves_gives_no_ghost_and_hides_nothing() -> None:
    detector = make_detector()
    learn(detector, 200)
    for number in range(200, 220):
        assert len(detector.detect(make_frame(number, [(7.2, 0.0, 0.0, -25.0)]))) == 1
    assert sum(len(detector.detect(make_frame(number))) for number in range(220, 270)) <= 1
    assert len(detector.detect(make_frame(270, [(7.2, 0.0, 0.0, -48.0)]))) == 1


def test_noise_alone_gives_no_more_than_the_allowed_false_alarms() -> None:
    loose = SingleTargetSettings(min_ts_db=-200.0, max_phase_sd_steps=300.0, max_gain_compensation_db=100.0)
    detector = SingleTargetDetector(
        SonarSettings(profile="", link="", single_target=loose, detector=DetectorSettings(false_alarms_per_ping=1.0))
    )
    learn(detector, 100)
    alarms = sum(len(detector.detect(make_frame(number))) for number in range(100, 250))
    assert alarms <= 150 * 1.0


@pytest.mark.parametrize(
    "before", [0.0, 1e-25, 1e-4, 1e4], ids=["nothing", "almost nothing", "40 dB less", "40 dB more"]
)
def test_another_level_makes_no_storm(before: float) -> None:
    detector = make_detector(min_ts_db=-200.0)
    for number in range(30):
        frame = make_frame(number)
        frame.intensity[:] *= np.float32(before)
        detector.detect(frame)
    detector.notes()
    alarms = sum(len(detector.detect(make_frame(number))) for number in range(30, 80))
    assert alarms <= 5
    assert before == 0.0 or "level changed" in detector.notes()
    found = detector.detect(make_frame(80, [(7.2, 0.0, 0.0, -40.0)]))
    assert found["range_m"] == pytest.approx([7.2], abs=CELL_M)


def test_a_range_without_power_is_learnt_when_it_comes() -> None:
    detector = make_detector(min_ts_db=-200.0)
    for number in range(30):
        frame = make_frame(number)
        frame.intensity[250:350] = 0.0
        detector.detect(frame)
    assert sum(len(detector.detect(make_frame(number))) for number in range(30, 80)) <= 5


def test_gap_and_clock_step_do_not_forget_the_background() -> None:
    detector = make_detector()
    wall = [(12.0, 0.01, 0.0, -20.0)]
    learn(detector, 100, targets=wall)
    for step_s in (25.0, 3600.0, -7200.0):
        for number in range(100, 110):
            frame = make_frame(number, wall)
            assert len(detector.detect(dataclasses.replace(frame, time_s=frame.time_s + step_s))) == 0


@pytest.mark.parametrize(
    "change",
    [{"pulse_length_s": 256e-6}, {"frequency_hz": 38e3}, {"calibration": None}, {"range_m": np.arange(SAMPLES) * 0.03}],
    ids=lambda change: next(iter(change)),
)
def test_another_geometry_or_transmission_starts_anew(change: dict[str, object]) -> None:
    detector = make_detector()
    learn(detector)
    assert detector.notes() == []
    changed = dataclasses.replace(make_frame(50, [(7.2, 0.0, 0.0, -40.0)]), **change)
    assert len(detector.detect(changed)) == 0
    assert detector.notes() == ["geometry changed"]
    assert detector.notes() == []


def test_ping_that_lost_its_angles_gives_no_targets_and_forgets_nothing() -> None:
    detector = make_detector()
    learn(detector)
    target = [(7.2, 0.0, 0.0, -40.0)]
    nothing = np.full(SAMPLES, np.nan, np.float32)
    lost = dataclasses.replace(make_frame(50, target), along_rad=nothing, athwart_rad=nothing)
    assert len(detector.detect(lost)) == 0
    assert len(detector.detect(make_frame(51, target))) == 1
    assert detector.notes() == []


def test_range_limits() -> None:
    detector = SingleTargetDetector(
        SonarSettings(profile="", link="", detector=DetectorSettings(min_range_m=5.0, max_range_m=10.0))
    )
    learn(detector)
    found = detector.detect(make_frame(50, [(r, 0.0, 0.0, -35.0) for r in (4.0, 7.0, 12.0)]))
    assert found["range_m"] == pytest.approx([7.0], abs=CELL_M)


def test_flood_is_cut_to_the_strongest_and_noted() -> None:
    detector = SingleTargetDetector(SonarSettings(profile="", link="", detector=DetectorSettings(max_detections=3)))
    learn(detector)
    found = detector.detect(make_frame(50, [(r, 0.0, 0.0, -45.0 + r) for r in range(3, 13)]))
    assert found["range_m"] == pytest.approx([3.0, 4.0, 5.0], abs=1.5 * CELL_M)
    assert "flooded" in detector.notes()


def test_uncalibrated_ping_gives_places_without_ts() -> None:
    detector = make_detector()
    learn(detector, calibrated=False)
    found = detector.detect(make_frame(50, [(7.2, 0.02, 0.0, -40.0)], calibrated=False))
    assert found["range_m"] == pytest.approx([7.2], abs=CELL_M)
    assert np.isnan(found["ts_db"]).all()
    off_axis = make_frame(51, [(7.2, math.radians(4.5), 0.0, -30.0)], calibrated=False)
    assert len(detector.detect(off_axis)) == 0, "the beam width of the frame stands in for that of the calibration"


def test_echo_within_the_tvg_start_has_no_ts_and_is_left_out() -> None:
    detector = make_detector(min_ts_db=-300.0)
    learn(detector)
    frame = make_frame(50)
    frame.intensity[:6, 0] = [1e-9, 5e-7, 1e-6, 5e-7, 1e-9, 1e-12]
    frame.along_rad[:6] = frame.athwart_rad[:6] = 0.0
    assert len(detector.detect(frame)) == 0


@pytest.mark.parametrize("samples", [1, 2, 3, 7])
def test_short_pings(samples: int) -> None:
    detector = make_detector()
    for number in range(5):
        assert detector.detect(make_frame(number, samples=samples)).dtype == DETECTION


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 1.0])
def test_flat_and_damaged_pings(value: float) -> None:
    detector = make_detector()
    learn(detector)
    frame = make_frame(50)
    frame.intensity[:] = value
    assert len(detector.detect(frame)) == 0
    assert len(detector.detect(make_frame(51, [(7.2, 0.0, 0.0, -35.0)]))) == 1, "the background survives"


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 80), st.integers(1, 6), st.floats(-90.0, 0.0))
def test_any_ping_gives_finite_detections_in_order(seed: int, samples: int, levels: int, min_ts_db: float) -> None:
    """Few levels make plateaus and equal peaks."""
    values = np.random.default_rng(seed).integers(0, levels, (3, samples)).astype(np.float32) / np.float32(levels)
    detector = make_detector(min_ts_db=min_ts_db, min_echo_length=0.1, max_echo_length=5.0, max_phase_sd_steps=200.0)
    base = make_frame(0, samples=samples)
    for number, scale in enumerate((1e-9, 1e-9, 1e-9, 1.0)):
        frame = dataclasses.replace(
            base,
            intensity=np.ascontiguousarray(values[0][:, np.newaxis] * np.float32(scale)),
            along_rad=(values[1] - np.float32(0.5)) * np.float32(0.1),
            athwart_rad=(values[2] - np.float32(0.5)) * np.float32(0.1),
            time_s=float(number),
        )
        found = detector.detect(frame)
        assert all(np.isfinite(found[name]).all() for name in DETECTION.names)
        assert (np.diff(found["range_m"]) > 0).all()
        for name in ("range_sd_m", "bearing_sd_rad", "elevation_sd_rad", "length_m"):
            assert (found[name] > 0).all()


def test_chain_chooses_by_the_kind_of_ping() -> None:
    chain = detector_of_chain(SonarSettings(profile="simrad-ek60", link=""))
    for number in range(50):
        chain.detect(make_frame(number))
    (target,) = chain.detect(make_frame(50, [(7.2, 0.03, -0.02, -40.0)]))
    assert target["elevation_rad"] == pytest.approx(-0.02, abs=1e-3)
    for number in range(51, 60):
        plain = dataclasses.replace(make_frame(number), along_rad=None, athwart_rad=None)
        assert np.isnan(chain.detect(plain)["elevation_rad"]).all()
    assert len(chain.detect(make_frame(60))) == 0


def test_fish_of_a_real_recording(recordings: Path) -> None:
    """Four fish cross before a dense layer; the net behind it must give little.

    Seen in the echogram: (first and last ping, range window). TS of a fish is nothing that a wall would have.
    """
    driver = nims_drivers()[0]
    assert driver.stream is not None
    decoder = driver.stream(DecoderContext(Profile(name="", title="", driver="ek60"), driver.settings_type()))
    data = memoryview((recordings / "ek60/RedSlip-D20160915-T120914.raw").read_bytes())
    detector, found, at = make_detector(min_ts_db=-60.0, max_gain_compensation_db=12.0), [], 0
    while (answer := decoder.decode(data[at:], Arrival(0.0, 0.0))).consumed:
        at += answer.consumed
        found += [detector.detect(frame) for frame in answer.frames]
    for first, last, near_m, far_m in ((137, 160, 1.6, 1.9), (212, 244, 1.25, 1.55), (522, 557, 2.15, 2.45),
                                       (1152, 1174, 0.8, 1.1)):  # fmt: skip
        hits = [
            target for targets in found[first : last + 1] for target in targets if near_m < target["range_m"] < far_m
        ]
        assert len(hits) >= 0.5 * (last + 1 - first)
        assert -60.0 < np.median([target["ts_db"] for target in hits]) < -20.0
        assert np.std([target["range_m"] for target in hits]) < 0.05
    water = [target for targets in found for target in targets if target["range_m"] < 2.4]
    net = [target for targets in found for target in targets if 14.0 < target["range_m"] < 17.0]
    assert len(water) < 400, "few besides those fish"
    assert len(net) / len(found) < 0.2
    assert min(target["range_m"] for target in water) > 0.4, "neither the pulse nor what rings after it"
