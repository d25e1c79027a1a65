"""The legacy detector against the plain arithmetic of its rule."""

from __future__ import annotations

import numpy as np
import pytest

from nims_appliance.pipeline.detector import make_detector
from nims_appliance.settings import DetectorSettings, SonarSettings


def reference(amplitudes: np.ndarray, number: int, pings: int, threshold: float) -> np.ndarray:
    """Cells of ping `number` above mean + threshold standard deviations of the `pings` before it."""
    past = amplitudes[number - pings : number].astype(np.float64)
    return amplitudes[number] > past.mean(0) + threshold * past.std(0)


def make(threshold: float, background_s: float, min_cells: int = 1):
    detector = DetectorSettings(
        method="legacy", legacy_threshold_sd=threshold, background_s=background_s, legacy_min_cells=min_cells
    )
    return make_detector(SonarSettings(profile="test", link="file:///test", detector=detector))


@pytest.mark.parametrize("threshold", [1.5, 2.5, 3.0])
def test_legacy_detects_the_cells_of_the_rule(make_scene, threshold: float) -> None:
    scene = make_scene(shape=(40, 30))
    rng = np.random.default_rng(8)
    power = rng.exponential(1.0, (60, 40, 30)).astype(np.float32)
    detector = make(threshold, 2.0)
    amplitudes = np.sqrt(power)
    for number in range(60):
        found = detector.detect(scene.frame(power[number], number))
        if number < 20:
            assert not len(found)
            continue
        cells = reference(amplitudes, number, 20, threshold)
        assert found["cells"].sum() == cells.sum()
        assert found["total"].sum() == pytest.approx(power[number][cells].sum(), rel=1e-5)


def test_small_groups_are_left_out(make_scene) -> None:
    scene = make_scene(shape=(30, 30))
    detector = make(3.0, 1.0, min_cells=4)
    rng = np.random.default_rng(1)
    for number in range(12):
        power = rng.uniform(1, 2, (30, 30)).astype(np.float32)
        if number == 11:
            power[10:12, 10:12] = 100.0
            power[20, 20] = 100.0
        found = detector.detect(scene.frame(power, number))
    assert len(found) == 1
    assert found["cells"][0] == 4
    assert found["range_m"][0] == pytest.approx(scene.range_m[10:12].mean())
    assert found["bearing_rad"][0] == pytest.approx(scene.bearing_rad[10:12].mean())


def test_cells_that_never_varied_are_detected_by_any_rise(make_scene) -> None:
    scene = make_scene(shape=(20, 20))
    detector = make(3.0, 1.0)
    for number in range(12):
        power = np.full((20, 20), 7.3, np.float32)
        if number == 11:
            power[4, 5] = 7.4
        found = detector.detect(scene.frame(power, number))
    assert found["cells"].tolist() == [1]


def test_a_storm_is_cut_and_another_picture_starts_anew(make_scene) -> None:
    detector = make(0.1, 1.0)
    scene, rng = make_scene(shape=(100, 60)), np.random.default_rng(1)
    for number in range(15):
        found = detector.detect(scene.frame(rng.exponential(1, (100, 60)), number))
        assert len(found) <= 1000
    other = make_scene(shape=(50, 60))
    detector.notes()
    assert not len(detector.detect(other.frame(rng.exponential(1, (50, 60)), 20)))
    assert detector.notes() == ["geometry changed"]
