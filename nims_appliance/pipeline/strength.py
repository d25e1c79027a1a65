"""Strength: what the height of an echo says about being an animal, and how strong an animal a track is.

A track does not know how strong its animal is; it keeps a probability for each of a few strengths 3 dB apart, which its
echoes and its misses sharpen. Echoes fluctuate about the mean strength as Swerling's third case, one dominant scatterer
among small ones: between the steady echo of a small target and the Rayleigh fading of a large one.

P. Swerling, "Probability of detection for fluctuating targets", IRE Trans. Inf. Theory 6 (1960) 269-308; use in
tracking: D. Lerro, Y. Bar-Shalom, "Interacting multiple model tracking with target amplitude feature", IEEE Trans.
Aerosp. Electron. Syst. 29 (1993) 494-509.
"""

from __future__ import annotations

import numpy as np

STRENGTHS_DB = np.arange(3.0, 28.0, 3.0)
"""Mean power over that of the noise."""
SHARES = np.full(len(STRENGTHS_DB), 1.0 / len(STRENGTHS_DB))
"""Probability of each strength before anything is known."""
HEAVY_TAIL = 1e-3
"""Share of noise that does not follow its own tail (glints, interference): bounds what one strong echo can prove."""

_NARROW = 1.0 / (1.0 + 10 ** (STRENGTHS_DB / 10) / 2)
_RISE = 1.0 - _NARROW


def odds(exceedance: np.ndarray) -> np.ndarray:
    """Return how much likelier each height is for an animal of each strength than for noise.

    Args:
      exceedance: -ln of the probability that noise alone reaches the height; 0 or less: the detector does not know,
        and the height tells nothing (odds of 1).

    Returns: float64, shape (detections, strengths).
    """
    u = np.maximum(exceedance, 0.0)[:, None]
    animal = _NARROW**2 * (1 + _RISE * u) * np.exp(-_NARROW * u)
    noise = np.exp(-np.minimum(u, 700.0)) + HEAVY_TAIL / (1 + u) ** 2
    return np.where(np.asarray(exceedance)[:, None] > 0, animal / noise, 1.0)


def seen(threshold: np.ndarray | float) -> np.ndarray:
    """Return the probability that an animal of each strength exceeds a threshold.

    Args:
      threshold: exceedance, any shape; divide it by what dims the animal.

    Returns: float64, shape (..., strengths).
    """
    t = np.asarray(threshold, float)[..., None]
    return np.exp(-_NARROW * t) * (_NARROW + _RISE + _NARROW * _RISE * t)
