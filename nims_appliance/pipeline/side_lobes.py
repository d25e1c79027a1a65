"""Side lobes: echoes of one strong target that beams looking elsewhere receive at the same range."""

from __future__ import annotations

import numpy as np

HALF_POWER_OF_SINC = 0.886
"""Full width at half power of a line array without shading, in units of the distance to its first null."""
SURELY_DB = 3.0
"""By how much noise and the array's own errors may raise a side lobe above the envelope."""
NOISE_AMPLITUDE = 2.0
"""What noise adds to the amplitude of a side lobe at most, in units of its own root mean square (98 %)."""
MOST_STRONG = 64
"""Of the targets of a ping so many of the strongest are looked at."""


def of_stronger(
    peaks: np.ndarray,
    intensity: np.ndarray,
    bearing_rad: np.ndarray,
    beam_width_rad: float,
    reach_rows: int,
    low: float,
) -> np.ndarray:
    """Return which peaks are no stronger than the side lobes of others at their range, shape (peaks,), bool.

    The envelope of the side lobes is that of a line array without shading, 1 / (pi u)^2 at u nulls from the axis: -13
    dB at the first one. Shaded arrays have lower ones, and lose animals that are weaker than this beside a strong one
    at the same range. What stands still has taken its side lobes into the background and is no peak.

    Args:
      peaks: dtype PEAK, in the order of rows; `value` is the ratio to background and local level.
      intensity: the ping, shape (samples, beams).
      bearing_rad: of the beams.
      beam_width_rad: of half power, broadside.
      reach_rows: samples within which two maxima are at the same range.
      low: least value of a peak: a side lobe below it is none.
    """
    found = np.zeros(len(peaks), bool)
    if not beam_width_rad > 0:
        return found
    margin = 10 ** (SURELY_DB / 10)
    # the greatest side lobe is some -13 dB: targets that are weaker have none above the noise
    strong = np.flatnonzero(peaks["value"] * 0.05 * margin > low)
    if not len(strong):
        return found
    if len(strong) > MOST_STRONG:
        strong = strong[np.argpartition(peaks["value"][strong], -MOST_STRONG)[-MOST_STRONG:]]
    row, column = np.ascontiguousarray(peaks["peak_row"]), peaks["peak_column"]
    # pairs of a strong peak and another at its range; these are few, and the samples of all others need not be fetched
    first = np.searchsorted(row, row[strong] - reach_rows)
    count = np.searchsorted(row, row[strong] + reach_rows, side="right") - first
    of = np.repeat(strong, count)
    other = np.arange(len(of)) + np.repeat(first - (np.cumsum(count) - count), count)
    nulls = np.abs(np.sin(bearing_rad[column[other]]) - np.sin(bearing_rad[column[of]]))
    nulls *= HALF_POWER_OF_SINC / beam_width_rad
    beside = nulls >= 1.0
    of, other, nulls = of[beside], other[beside], nulls[beside]
    lobe = margin * intensity[row[of], column[of]].astype(float) / (np.pi * nulls) ** 2
    power = intensity[row[other], column[other]].astype(float)
    noise = power / np.maximum(peaks["value"][other], 1.0)
    found[other[np.sqrt(power) < np.sqrt(lobe) + np.where(lobe > noise, NOISE_AMPLITUDE, 0) * np.sqrt(noise)]] = True
    return found
