"""The scene is what it says: speckle of known statistics, animals where the truth has them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nims_simulator.scene import BEARING_SPREAD_RAD, RANGE_SPREAD_CELLS, ImagingScene, SplitBeamScene, speckle
from nims_simulator.swarm import Swarm, Waters

RANGE_M = np.linspace(1.0, 31.0, 600)
BEARING_RAD = np.radians(np.linspace(-60.0, 60.0, 128))


def test_speckle_has_unit_power_and_exponential_intensity() -> None:
    intensity = np.abs(speckle(np.random.default_rng(3), (1500, 256), (0.8, 0.9))) ** 2
    assert intensity.mean() == pytest.approx(1.0, rel=0.02)
    for level in (1.0, 3.0, 6.0):
        assert (intensity > level).mean() == pytest.approx(math.exp(-level), rel=0.1)


def test_speckle_is_correlated_like_that_of_a_kongsberg_m3() -> None:
    # Coherence between neighbours in a packet of a real M3: 0.65 in range, 0.72 between beams 0.9375 degrees apart.
    spread = (RANGE_SPREAD_CELLS, BEARING_SPREAD_RAD / math.radians(0.9375))
    field = speckle(np.random.default_rng(5), (2000, 256), spread)
    assert abs((field[1:] * field[:-1].conj()).mean()) == pytest.approx(0.65, abs=0.02)
    assert abs((field[:, 1:] * field[:, :-1].conj()).mean()) == pytest.approx(0.72, abs=0.02)


def test_speckle_of_successive_pings_is_independent() -> None:
    scene = ImagingScene(RANGE_M, BEARING_RAD, seed=2, residents=0, passers=0, structure=False)
    pings = [scene.ping(number, number / 10).samples for number in range(40)]
    power = np.mean([np.abs(ping) ** 2 for ping in pings])
    coherences = [abs((a * b.conj()).mean()) / power for a, b in itertools.pairwise(pings)]
    # The mean of so many correlated cells scatters by about a hundredth.
    assert np.median(coherences) < 0.03


def test_structure_stands_still() -> None:
    scene = ImagingScene(RANGE_M, BEARING_RAD, seed=2, residents=0, passers=0)
    intensity = np.array([np.abs(scene.ping(number, number / 10).samples) ** 2 for number in range(20)])
    mean = intensity.mean(axis=0)
    strong = mean > 100 * np.median(mean)
    assert strong.sum() > 50
    # Speckle alone would vary by its mean.
    assert np.median(intensity.std(axis=0)[strong] / mean[strong]) < 0.4


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_brightest_cell_is_the_animal(seed: int) -> None:
    scene = ImagingScene(RANGE_M, BEARING_RAD, seed=seed, residents=1, passers=0, snr_db=(40.0, 40.0), structure=False)
    for number in range(30):
        ping = scene.ping(number, number / 10)
        (animal,) = ping.truth
        row, column = np.unravel_index(np.argmax(np.abs(ping.samples)), ping.samples.shape)
        tolerance_m = 0.5 * animal.length_m + 2 * (RANGE_M[1] - RANGE_M[0])
        assert RANGE_M[row] == pytest.approx(animal.range_m, abs=tolerance_m)
        across_m = 0.5 * animal.length_m + 2 * math.radians(0.95) * animal.range_m
        assert animal.range_m * BEARING_RAD[column] == pytest.approx(animal.range_m * animal.bearing_rad, abs=across_m)


def test_strength_of_an_animal_is_its_peak_over_the_speckle() -> None:
    quiet = ImagingScene(RANGE_M, BEARING_RAD, seed=4, residents=0, passers=0, structure=False)
    speckle_power = np.mean([np.abs(quiet.ping(n, n / 10).samples) ** 2 for n in range(60)], axis=0)
    scene = ImagingScene(RANGE_M, BEARING_RAD, seed=4, residents=1, passers=0, snr_db=(30.0, 30.0), structure=False)
    ratios = []
    for number in range(100):
        ping = scene.ping(number, number / 10)
        peak = np.unravel_index(np.argmax(np.abs(ping.samples)), ping.samples.shape)
        ratios.append(np.abs(ping.samples[peak]) ** 2 / speckle_power[peak])
    # Body, tail beat and speckle change it from ping to ping, by less than 3 dB in the middle.
    assert 10 * math.log10(np.median(ratios)) == pytest.approx(30.0, abs=3.0)


def test_axes_and_samples_have_the_promised_types() -> None:
    ping = ImagingScene(RANGE_M, BEARING_RAD, seed=1).ping(7, 12.5)
    assert (ping.number, ping.time_s) == (7, 12.5)
    assert ping.samples.dtype == np.complex64
    assert ping.samples.shape == (600, 128)
    assert np.isfinite(ping.samples).all()


@pytest.mark.parametrize(("samples", "beams"), [(2, 1), (40, 2), (3000, 16)])
def test_unusual_sizes_work(samples: int, beams: int) -> None:
    bearing_rad = np.linspace(-0.5, 0.5, beams) if beams > 1 else np.zeros(1)
    scene = ImagingScene(np.linspace(0.5, 9.0, samples), bearing_rad, seed=1)
    assert scene.ping(1, 0.1).samples.shape == (samples, beams)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.02, 1.0))
@example(0, 1.0)
def test_residents_stay_and_keep_their_ids(seed: int, dt_s: float) -> None:
    waters = Waters(1.0, 30.0, math.radians(60))
    swarm = Swarm(np.random.default_rng(seed), waters, residents=5, passers=0, strength_db=(10.0, 20.0))
    for _ in range(400):
        swarm.move(dt_s)
        animals = swarm.animals()
        assert [animal.id for animal in animals] == [1, 2, 3, 4, 5]
        assert all(np.hypot(*animal.velocity_m_s[:2]) < 6 for animal in animals)


def test_passers_cross_and_are_followed_by_others() -> None:
    waters = Waters(1.0, 30.0, math.radians(60))
    swarm = Swarm(np.random.default_rng(9), waters, residents=0, passers=3, strength_db=(10.0, 20.0))
    seen: dict[int, list[float]] = {}
    for _ in range(6000):
        swarm.move(0.1)
        for animal in swarm.animals():
            seen.setdefault(animal.id, []).append(animal.range_m * math.sin(animal.bearing_rad))
    assert len(seen) > 10
    crossed = [xs for xs in seen.values() if abs(xs[-1] - xs[0]) > 5]
    assert len(crossed) > 0.6 * len(seen)


def test_truth_moves_with_the_velocity_it_tells() -> None:
    waters = Waters(1.0, 100.0, math.radians(60))
    swarm = Swarm(np.random.default_rng(2), waters, residents=3, passers=0, strength_db=(10.0, 20.0))
    before = swarm.animals()
    swarm.move(0.1)
    for old, new in zip(before, swarm.animals(), strict=True):
        step = new.range_m * math.sin(new.bearing_rad) - old.range_m * math.sin(old.bearing_rad)
        assert step == pytest.approx(0.1 * new.velocity_m_s[0], abs=1e-9)


def split_beam_scene(seed: int, **options: object) -> SplitBeamScene:
    return SplitBeamScene(
        np.arange(1500) * 0.0238,
        seed=seed,
        source_db=18.0,
        absorption_db_m=0.038,
        beamwidth_rad=math.radians(7.0),
        pulse_m=0.095,
        **options,  # type: ignore[arg-type]
    )


def test_beam_loss_agrees_with_reference_values() -> None:
    # 7 degree beam: 3.5 degrees off one axis, and (2, 1) degrees.
    scene = split_beam_scene(1)
    assert scene.beam_loss_db(math.radians(3.5), 0.0) == pytest.approx(6.0206, abs=1e-4)
    assert scene.beam_loss_db(math.radians(2.0), math.radians(1.0)) == pytest.approx(2.4285, abs=1e-4)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_split_beam_fish_has_its_range_angles_and_power(seed: int) -> None:
    scene = split_beam_scene(seed, residents=1, passers=0, ts_db=(-30.0, -30.0))
    checked = 0
    for number in range(60):
        ping = scene.ping(number, number / 4)
        assert ping.along_rad is not None
        assert ping.athwart_rad is not None
        (animal,) = ping.truth
        loss_db = scene.beam_loss_db(animal.elevation_rad, animal.bearing_rad)
        if loss_db > 6:
            continue
        checked += 1
        row = int(np.argmax(np.abs(ping.samples[: int(31 / 0.0238), 0])))
        assert ping.range_m[row] == pytest.approx(animal.range_m, abs=0.05)
        assert ping.along_rad[row] == pytest.approx(animal.elevation_rad, abs=math.radians(0.3))
        assert ping.athwart_rad[row] == pytest.approx(animal.bearing_rad, abs=math.radians(0.3))
        power_db = 20 * math.log10(abs(ping.samples[row, 0])) - 20 * math.log10(animal.tail_gain)
        assert power_db == pytest.approx(scene.received_db(-30.0, animal.range_m) - loss_db, abs=1.0)
    assert checked > 10
