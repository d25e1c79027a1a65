"""Removal of background noise from an echogram.

Source: A. De Robertis, I. Higginbottom, "A post-processing technique to estimate the signal-to-noise ratio and remove
echosounder background noise", ICES J. Mar. Sci. 64 (2007) 1282-1291. It needs ranges without animals: in an imaging
window of a few metres there are none, and it takes animals for noise.
"""

from __future__ import annotations

import numpy as np

from .calibration import to_db


def time_varied_gain_db(range_m: np.ndarray, absorption_db_m: float) -> np.ndarray:
    """Return 20 lg r + 2 a r, dB, with r no less than 1 m; same shape as `range_m`."""
    range_m = np.maximum(range_m, 1.0)
    return 20.0 * np.log10(range_m) + 2.0 * absorption_db_m * range_m


def estimate_noise_db(
    sv_db: np.ndarray,
    range_m: np.ndarray,
    absorption_db_m: float,
    *,
    block_pings: int = 20,
    block_samples: int = 50,
    max_noise_db: float = -125.0,
) -> np.ndarray:
    """Return the noise of each ping before time-varied gain, dB: float64, shape (pings,).

    The noise of a block of pings is the smallest linear mean of its cells of `block_pings` x `block_samples`, and at
    most `max_noise_db`. NaN is left out; -inf is no power, and counts as 0. A remainder at the end of the pings is a
    block of its own; a remainder at the end of the samples is left out, because a mean of few samples would too often
    be the smallest.

    Args:
      sv_db: dB re 1 m-1, shape (pings, samples), all of one geometry.
      range_m: shape (samples,).

    Raises:
      ValueError: a block size below 1, or shapes that do not fit.
    """
    if block_pings < 1 or block_samples < 1:
        raise ValueError(f"block size: expected at least 1 x 1, got {block_pings} x {block_samples}")
    if sv_db.ndim != 2 or range_m.shape != sv_db.shape[1:]:
        raise ValueError(f"range_m: expected one for each sample of {sv_db.shape}, got {range_m.shape}")
    pings, samples = sv_db.shape
    power = 10.0 ** ((sv_db - time_varied_gain_db(range_m, absorption_db_m)) / 10.0)
    power[~np.isfinite(power)] = np.nan
    block_samples = min(block_samples, max(samples, 1))
    columns = samples // block_samples
    noise_db = np.full(pings, max_noise_db)
    for first in range(0, pings, block_pings):
        block = power[first : first + block_pings, : columns * block_samples]
        cells = block.reshape(len(block), columns, block_samples)
        there = np.isfinite(cells).sum(axis=(0, 2))
        means = np.nansum(cells, axis=(0, 2))[there > 0] / there[there > 0]
        if means.size:
            noise_db[first : first + block_pings] = min(float(to_db(means.min())), max_noise_db)
    return noise_db


def remove_noise_db(
    sv_db: np.ndarray,
    range_m: np.ndarray,
    absorption_db_m: float,
    noise_db: np.ndarray,
    *,
    min_snr_db: float = 3.0,
) -> np.ndarray:
    """Return Sv without the noise, dB; NaN where less than `min_snr_db` above the noise remains.

    Args:
      sv_db, range_m, absorption_db_m: as for `estimate_noise_db`.
      noise_db: its answer, shape (pings,).
      min_snr_db: 10 dB in the paper's example.
    """
    sv_noise_db = noise_db[:, np.newaxis] + time_varied_gain_db(range_m, absorption_db_m)
    corrected_db = to_db(10.0 ** (sv_db / 10.0) - 10.0 ** (sv_noise_db / 10.0))
    with np.errstate(invalid="ignore"):
        good = corrected_db - sv_noise_db >= min_snr_db
    return np.where(good, corrected_db, np.nan)
