"""The adaptive detector on pings whose content is known."""

from __future__ import annotations

import dataclasses
import math

import msgspec
import numpy as np
import pytest

from nims_appliance.pipeline.detector import make_detector
from nims_appliance.settings import DetectorSettings, SonarSettings


def strong(detections: np.ndarray) -> np.ndarray:
    return detections[detections["candidate"] == 0]


def settings_with(**detector: object) -> SonarSettings:
    return SonarSettings(profile="test", link="file:///test", detector=msgspec.convert(detector, DetectorSettings))


def comes(x: float, y: float):
    """An animal that comes after 5 s and rests: what was there from the start is background."""
    return lambda time_s: (x, y) if time_s >= 5 else None


@pytest.mark.parametrize("power", [1.0, 0.5], ids=["intensity", "amplitude"])
def test_the_knob_is_the_number_of_false_detections_whatever_the_scaling(make_scene, power: float) -> None:
    detector = make_detector(settings_with(false_alarms_per_ping=0.5, background_s=10.0))
    counts = []
    for frame in make_scene(seed=5).frames(500):
        frame = dataclasses.replace(frame, intensity=3e4 * frame.intensity**power)
        counts.append(len(strong(detector.detect(frame))))
    assert 0.2 < np.mean(counts[200:]) < 1.0
    assert max(counts) < 12


def test_places_are_unbiased_and_as_sure_as_stated(make_scene) -> None:
    rng = np.random.default_rng(2)
    places = [(float(rng.uniform(5, 15)), float(rng.uniform(-0.6, 0.6))) for _ in range(240)]
    where = [(r * math.sin(b), r * math.cos(b)) for r, b in places]
    scene = make_scene(targets=((lambda t: where[round(t * 10)] if t >= 6 else None, 14.0),))
    where[:60] = [where[0]] * 60
    detector = make_detector(settings_with())
    errors = []
    for frame in scene.frames(240):
        found = strong(detector.detect(frame))
        if frame.ping_number < 60:
            continue
        range_m, bearing_rad = places[frame.ping_number]
        near = found[(abs(found["range_m"] - range_m) < 0.5) & (abs(found["bearing_rad"] - bearing_rad) < 0.08)]
        if len(near):
            best = near[np.argmax(near["peak"])]
            errors.append(
                (
                    (best["range_m"] - range_m) / best["range_sd_m"],
                    (best["bearing_rad"] - bearing_rad) / best["bearing_sd_rad"],
                )
            )
    assert len(errors) > 120
    z = np.array(errors)
    assert (np.abs(np.median(z, axis=0)) < 0.35).all()
    # a robust standard deviation: half of the errors lie within 0.67 of it
    assert (np.quantile(np.abs(z), 0.5, axis=0) / 0.6745 < 1.5).all()
    assert (np.quantile(np.abs(z), 0.5, axis=0) / 0.6745 > 0.5).all()


def test_a_change_of_gain_is_no_storm_and_hides_nothing(make_scene) -> None:
    scene = make_scene(targets=((comes(2.0, 10.0), 22.0),))
    detector = make_detector(settings_with())
    notes: list[str] = []
    for frame in scene.frames(130):
        if frame.ping_number >= 100:
            frame = dataclasses.replace(frame, intensity=frame.intensity * np.float32(40.0))
        found = strong(detector.detect(frame))
        notes += [note for note in detector.notes() if frame.ping_number >= 100]
        if frame.ping_number >= 100:
            assert 1 <= len(found) <= 3
    assert notes == ["gain changed by +16.0 dB"] or (len(notes) == 1 and notes[0].startswith("gain changed by +1"))


def test_a_resting_animal_is_not_learnt_and_leaves_no_ghost(make_scene) -> None:
    scene = make_scene(targets=((lambda t: (2.0, 10.0) if 10 <= t < 40 else None, 18.0),))
    detector = make_detector(settings_with(background_s=10.0))
    seen = {}
    for frame in scene.frames(450):
        found = strong(detector.detect(frame))
        x, y = found["range_m"] * np.sin(found["bearing_rad"]), found["range_m"] * np.cos(found["bearing_rad"])
        seen[frame.ping_number] = bool((np.hypot(x - 2.0, y - 10.0) < 0.5).any())
    assert not any(seen[n] for n in range(40, 99))
    assert np.mean([seen[n] for n in range(300, 400)]) > 0.8
    assert not any(seen[n] for n in range(401, 450))


def test_the_same_picture_again_tells_nothing(make_scene) -> None:
    detector = make_detector(settings_with())
    frames = list(make_scene(targets=((comes(2.0, 10.0), 25.0),)).frames(60))
    for frame in frames:
        detector.detect(frame)
    detector.notes()
    for number in range(60, 70):
        again = dataclasses.replace(frames[-1], time_s=1e9 + number / 10, ping_number=number)
        assert not len(detector.detect(again))
        assert detector.notes() == ["frozen picture"]


def test_another_range_starts_anew_without_a_storm(make_scene) -> None:
    detector = make_detector(settings_with())
    for frame in make_scene().frames(60):
        detector.detect(frame)
    other = make_scene(shape=(200, 64), far_m=40.0, seed=9)
    counts, notes = [], []
    for frame in other.frames(60, first=60):
        counts.append(len(strong(detector.detect(frame))))
        notes += detector.notes()
    assert notes == ["geometry changed"]
    assert max(counts) <= 5


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 0.0])
def test_cells_that_are_no_numbers_hurt_nothing_else(make_scene, value: float) -> None:
    scene = make_scene(targets=((comes(2.0, 10.0), 22.0),))
    detector = make_detector(settings_with())
    hits = 0
    for frame in scene.frames(120):
        intensity = frame.intensity.copy()
        intensity[30:40, :20] = value
        intensity[frame.ping_number % 160, 50] = value
        found = strong(detector.detect(dataclasses.replace(frame, intensity=intensity)))
        assert np.isfinite(found["range_m"]).all()
        assert len(found) < 6
        hits += bool((abs(found["range_m"] - math.hypot(2, 10)) < 0.3).any())
    assert hits > 60


def test_pings_without_signal_are_named_and_not_learnt(make_scene) -> None:
    scene = make_scene(targets=((comes(2.0, 10.0), 22.0),))
    detector = make_detector(settings_with())
    for frame in scene.frames(60):
        detector.detect(frame)
    detector.notes()
    for frame in scene.frames(20, first=60):
        assert not len(detector.detect(dataclasses.replace(frame, intensity=np.zeros_like(frame.intensity))))
        assert detector.notes() == ["no signal"]
    after = [len(strong(detector.detect(frame))) for frame in scene.frames(20, first=80)]
    assert all(1 <= count <= 3 for count in after)


@pytest.mark.parametrize("shape", [(1, 1), (1, 64), (300, 1), (2, 2)])
def test_the_smallest_pictures_are_taken(make_scene, shape: tuple[int, int]) -> None:
    detector = make_detector(settings_with())
    for frame in make_scene(shape=shape).frames(60):
        found = detector.detect(dataclasses.replace(frame, ping_interval_s=math.nan))
        assert np.isfinite(found["range_m"]).all()


def test_a_flood_is_cut_to_the_strongest_and_named(make_scene) -> None:
    detector = make_detector(settings_with(max_detections=20))
    scene = make_scene()
    for frame in scene.frames(60):
        detector.detect(frame)
    detector.notes()
    frame = next(scene.frames(1, first=60))
    intensity = frame.intensity.copy()
    intensity[::6, ::6] *= 500
    found = detector.detect(dataclasses.replace(frame, intensity=intensity))
    assert len(found) == 20
    assert "flooded" in detector.notes()


def test_ranges_outside_the_limits_are_ignored(make_scene) -> None:
    scene = make_scene(targets=((comes(0.0, 3.0), 25.0), (comes(1.0, 10.0), 25.0), (comes(0.0, 18.0), 25.0)))
    detector = make_detector(settings_with(min_range_m=5.0, max_range_m=15.0))
    for frame in scene.frames(80):
        found = detector.detect(frame)
        assert ((found["range_m"] > 4.8) & (found["range_m"] < 15.2)).all()
    assert len(strong(found)) >= 1


def test_the_point_spread_is_measured_from_the_speckle(make_scene) -> None:
    detector = make_detector(settings_with())
    for frame in make_scene(spread=(1.4, 1.0)).frames(100):
        detector.detect(frame)
    spread = detector._imaging._spread
    assert spread.samples == pytest.approx(1.4, rel=0.15)
    assert spread.beams == pytest.approx(1.0, rel=0.15)


def test_a_clock_that_steps_back_is_named(make_scene) -> None:
    detector = make_detector(settings_with())
    for frame in make_scene().frames(10):
        detector.detect(frame)
    detector.notes()
    frame = next(make_scene(seed=3).frames(1, first=5))
    detector.detect(dataclasses.replace(frame, time_s=frame.time_s - 100))
    assert detector.notes() == ["clock stepped back"]
