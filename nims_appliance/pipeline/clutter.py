"""Clutter: how often noise alone makes a peak of a given height, measured from the sonar's own pings."""

from __future__ import annotations

import math

import numpy as np

MEMORY_S = 20.0
CLIP = 8.0
BINS = 400


def _variation(shape: float) -> float:
    """Return standard deviation over mean of a Weibull distribution."""
    return math.sqrt(math.gamma(1 + 2 / shape) / math.gamma(1 + 1 / shape) ** 2 - 1)


SHAPES = np.linspace(3.5, 0.4, 63)
VARIATIONS = np.array([_variation(shape) for shape in SHAPES])


class TailModel:
    """The rate of noise peaks above a height h, as N exp(-slope h^shape) peaks a ping.

    That is the tail of a Weibull distribution: shape 1 for the intensity of speckle (exponential), 2 for its amplitude
    (Rayleigh), below 1 for spiky clutter. The shape follows from the spread of the cells, slope and N from the peaks
    themselves: whatever the sonar sends, the false alarm rate is the one that was asked for.

    Args:
      cells: how many cells a ping has.
      point_spread: standard deviation of the point spread in samples and beams; gives the first guess of the number of
        independent cells.
    """

    def __init__(self, cells: int, point_spread: tuple[float, float]) -> None:
        self.peaks = max(1.0, cells / max(1.0, 2 * math.pi * point_spread[0] * point_spread[1]))
        """Peaks a ping that noise would have above height 0, if the tail held so far down."""
        self.slope = 1.0
        self.shape = 1.0
        self._variation = 1.0
        self._samples = 0
        self._forget()

    def _forget(self) -> None:
        # the histogram is in steps of a tenth of what the exceedance is of when the tail is that of the shape
        self._unit = 0.1 / self.slope
        self._counts = np.zeros(BINS)
        self._pings = np.zeros(BINS)

    def height(self, rate: float) -> float:
        """Return the height that noise exceeds `rate` times a ping; never within the bulk of the noise."""
        exponent = max(math.log(self.peaks / min(rate, 0.3 * self.peaks)), 3.0)
        return (exponent / self.slope) ** (1 / self.shape)

    def lower(self, height: float, share: float) -> float:
        """Return the height whose exceedance is `share` of that of `height`."""
        return height * share ** (1 / self.shape)

    def exceedance(self, height: np.ndarray) -> np.ndarray:
        """Return -ln of the probability that noise reaches each height in one independent cell."""
        return self.slope * np.asarray(height, float) ** self.shape

    def learn_spread(self, ratio: np.ndarray, interval_s: float) -> None:
        """Learn the shape from a sample of the cells over their background."""
        sample = np.minimum(ratio, CLIP)
        mean = float(sample.mean())
        if not mean > 0:
            return
        self._samples += 1
        share = max(1.0 / self._samples, -math.expm1(-interval_s / MEMORY_S))
        self._variation += share * (float(sample.std()) / mean - self._variation)
        shape = float(np.interp(self._variation, VARIATIONS, SHAPES))
        # the intensity of speckle is what most sonars send, and clipping and texture take a few per cent
        shape = 1.0 if 0.85 < shape < 1.2 else shape
        if abs(shape - self.shape) > 0.1:
            self.shape, self.slope = shape, math.gamma(1 + 1 / shape) ** shape
            self._forget()

    def learn(self, heights: np.ndarray, low: float, interval_s: float) -> None:
        """Learn the peaks of a ping.

        Args:
          heights: of all peaks above `low`.
          low: the threshold of the peaks.
          interval_s: time since the last ping.
        """
        unit = self._unit
        fading = math.exp(-interval_s / MEMORY_S)
        self._counts *= fading
        self._pings *= fading
        first = min(int(low**self.shape / unit) + 1, BINS - 1)
        bins = np.minimum(heights**self.shape / unit, BINS - 1).astype(np.intp)
        self._counts += np.bincount(bins, minlength=BINS)
        self._pings[first:] += 1.0
        # Two neighbouring stretches just above the threshold of the peaks, where noise outnumbers animals by far: for
        # an exponential tail the ratio of their counts gives its slope, and animals, of all strengths, add little to
        # either.
        width = max(2, round(1.2 / self.slope / unit))
        if first + 2 * width > BINS or self._pings[first] < 1.0:
            return
        rates = self._counts[first : first + 2 * width] / self._pings[first : first + 2 * width]
        near, far = float(rates[:width].sum()), float(rates[width:].sum())
        if min(near, far) * self._pings[first] < 20:
            return
        slope = math.log(max(near / far, 1.01)) / (width * unit)
        self.slope += 0.05 * (min(max(slope, 0.2 / unit / 10), 3.0 / unit / 10) - self.slope)
        self.peaks = near / -math.expm1(-self.slope * width * unit) * math.exp(min(self.slope * first * unit, 50.0))
