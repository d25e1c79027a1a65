"""Clutter: how often noise alone makes a peak of a given height, measured from the sonar's own pings."""

from __future__ import annotations

import math

import numpy as np

MEMORY_S = 20.0
CLIP = 8.0


def _variation(shape: float) -> float:
    """Return standard deviation over mean of a Weibull distribution."""
    return math.sqrt(math.gamma(1 + 2 / shape) / math.gamma(1 + 1 / shape) ** 2 - 1)


SHAPES = np.linspace(3.5, 0.4, 63)
VARIATIONS = np.array([_variation(shape) for shape in SHAPES])


class TailModel:
    """The rate of noise peaks above a height h, as N exp(-slope h^shape) peaks a ping.

    That is the tail of a Weibull distribution: shape 1 for the intensity of speckle (exponential), 2 for its amplitude
    (Rayleigh), below 1 for spiky clutter. The shape follows from the spread of the cells, slope and N from the peaks
    themselves: whatever the sonar sends, the false alarm rate is the one that was asked for. Peaks that are detections
    are left out, so that animals do not raise the threshold against themselves.

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
        self._above = 0.0
        self._excess = 0.0
        self._weight = 0.0

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
        self._variation += -math.expm1(-interval_s / MEMORY_S) * (float(sample.std()) / mean - self._variation)
        shape = float(np.interp(self._variation, VARIATIONS, SHAPES))
        # the intensity of speckle is what most sonars send, and clipping and texture take a few per cent
        shape = 1.0 if 0.85 < shape < 1.2 else shape
        if abs(shape - self.shape) > 0.1:
            self.shape, self.slope = shape, math.gamma(1 + 1 / shape) ** shape
            self._above = self._excess = self._weight = 0.0

    def learn(self, heights: np.ndarray, low: float, high: float, interval_s: float) -> None:
        """Learn the peaks of a ping.

        Args:
          heights: of all peaks above `low`.
          low: the threshold of the peaks.
          high: peaks above it are detections.
          interval_s: time since the last ping.
        """
        exceedance = heights[heights < max(high, 1.1 * low)] ** self.shape
        # the lowest part is the least like the tail
        low_exceedance = low**self.shape + 1.5 / self.slope
        noise = exceedance[exceedance > low_exceedance]
        fading = math.exp(-interval_s / MEMORY_S)
        self._above = self._above * fading + len(noise)
        self._excess = self._excess * fading + float((noise - low_exceedance).sum())
        self._weight = self._weight * fading + 1.0
        if self._above < 100 or not self._excess > 0:
            return
        # the maximum likelihood estimate of an exponential's rate is one over its mean
        self.slope += 0.05 * (min(max(self._above / self._excess, 0.05), 20.0) - self.slope)
        self.peaks = self._above / self._weight * math.exp(min(self.slope * low_exceedance, 50.0))
