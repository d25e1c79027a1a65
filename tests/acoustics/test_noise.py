"""Noise removal on made echograms with known noise, and against a slow version of the paper's text."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nims_appliance.acoustics.noise import estimate_noise_db, remove_noise_db, time_varied_gain_db

RANGE_M = np.arange(1, 401) * 0.5
ALPHA = 0.01


def slow_estimate(sv_db: np.ndarray, pings: int, samples: int, maximum_db: float) -> list[float]:
    noise = []
    for first in range(0, len(sv_db), pings):
        cells = []
        for top in range(0, sv_db.shape[1] - samples + 1, samples):
            total, count = 0.0, 0
            for ping in sv_db[first : first + pings]:
                for i in range(top, top + samples):
                    gain = 20 * math.log10(max(RANGE_M[i], 1.0)) + 2 * ALPHA * RANGE_M[i]
                    if not math.isnan(ping[i]):
                        total, count = total + 10 ** ((ping[i] - gain) / 10), count + 1
            if count:
                cells.append(10 * math.log10(total / count))
        noise += [min(min(cells), maximum_db)] * len(sv_db[first : first + pings])
    return noise


def test_estimate_equals_the_slow_version() -> None:
    rng = np.random.default_rng(1)
    sv = rng.normal(-80.0, 5.0, (23, 400))
    sv[rng.random(sv.shape) < 0.1] = np.nan
    estimate = estimate_noise_db(sv, RANGE_M, ALPHA, block_pings=10, block_samples=30, max_noise_db=-60.0)
    np.testing.assert_allclose(estimate, slow_estimate(sv, 10, 30, -60.0), rtol=1e-12)


def test_known_noise_is_found_and_taken_away() -> None:
    rng = np.random.default_rng(2)
    gain = time_varied_gain_db(RANGE_M, ALPHA)
    noise = 10 ** ((-140.0 + gain) / 10) * rng.exponential(size=(40, 400))
    signal = np.zeros((40, 400))
    signal[:, 50:60] = 1e-7
    signal[:, 300:310] = 1e-7
    sv = 10 * np.log10(noise + signal)
    estimate = estimate_noise_db(sv, RANGE_M, ALPHA, block_pings=40, block_samples=40)
    assert estimate == pytest.approx(-140.0, abs=0.3)
    clean = remove_noise_db(sv, RANGE_M, ALPHA, estimate, min_snr_db=10.0)
    layers = signal[0] > 0
    assert np.nanmean(10 ** (clean[:, layers] / 10)) == pytest.approx(1e-7, rel=0.02)
    assert np.isnan(clean[:, ~layers]).mean() > 0.999


def test_noise_is_never_above_its_maximum() -> None:
    sv = np.full((5, 400), -40.0)
    assert (estimate_noise_db(sv, RANGE_M, ALPHA, max_noise_db=-125.0) == -125.0).all()


def test_nothing_valid_gives_the_maximum_and_no_signal() -> None:
    sv = np.full((5, 400), np.nan)
    estimate = estimate_noise_db(sv, RANGE_M, ALPHA)
    assert (estimate == -125.0).all()
    assert np.isnan(remove_noise_db(sv, RANGE_M, ALPHA, estimate)).all()


def test_fewer_samples_than_a_block() -> None:
    estimate = estimate_noise_db(np.full((2, 3), -150.0), RANGE_M[:3], ALPHA, block_samples=50)
    assert np.isfinite(estimate).all()
    assert estimate_noise_db(np.empty((2, 0)), RANGE_M[:0], ALPHA).shape == (2,)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="block size"):
        estimate_noise_db(np.zeros((2, 400)), RANGE_M, ALPHA, block_pings=0)
    with pytest.raises(ValueError, match="range_m"):
        estimate_noise_db(np.zeros((2, 300)), RANGE_M, ALPHA)
