"""Clutter: how often noise alone makes a peak of a given height, measured from the sonar's own pings."""

from __future__ import annotations

import math

import numpy as np

MEMORY_S = 20.0


class TailModel:
    """The rate of noise peaks above a height, as N exp(-slope height) peaks a ping.

    Whatever the sonar's statistics (intensity or amplitude, one look or several, linear or compressed), the far tail of
    its peaks is close to exponential over the stretch that matters; two counts give it. Peaks that are detections are
    left out, so that animals do not raise the threshold against themselves.

    Args:
      cells: how many cells a ping has.
      point_spread: standard deviation of the point spread in samples and beams; gives the first guess of the number of
        independent cells.
    """

    def __init__(self, cells: int, point_spread: tuple[float, float]) -> None:
        self.peaks = max(1.0, cells / max(1.0, 2 * math.pi * point_spread[0] * point_spread[1]))
        """Peaks a ping that noise would have above height 0, if the tail held so far down."""
        self.slope = 1.0
        self._low = math.nan
        self._counts = np.zeros(2)
        self._weight = 0.0

    def height(self, rate: float) -> float:
        """Return the height that noise exceeds `rate` times a ping; at least 2 mean levels of the noise."""
        return max(math.log(self.peaks / min(rate, 0.3 * self.peaks)) / self.slope, 2.0 / self.slope)

    def exceedance(self, height: np.ndarray) -> np.ndarray:
        """Return -ln of the probability that noise reaches each height in one independent cell."""
        return self.slope * height

    def learn(self, heights: np.ndarray, low: float, high: float, interval_s: float) -> None:
        """Learn the peaks of a ping.

        Args:
          heights: of all peaks above `low`.
          low: the threshold of the peaks.
          high: peaks above it are detections.
          interval_s: time since the last ping.
        """
        middle = low + 1.5 / self.slope
        noise = heights[heights < max(high, middle)]
        counts = np.array([len(noise), np.count_nonzero(noise > middle)], float)
        # counts at an older threshold are carried over to the present one by the model itself
        if self._weight and low != self._low:
            self._counts *= math.exp(min(max(self.slope * (self._low - low), -5.0), 5.0))
        self._low = low
        fading = math.exp(-interval_s / MEMORY_S)
        self._counts = self._counts * fading + counts
        self._weight = self._weight * fading + 1.0
        above, far_above = self._counts
        if above < 100 or far_above < 20:
            return
        slope = math.log(above / far_above) / (middle - low)
        self.slope += 0.1 * (min(max(slope, 0.2), 5.0) - self.slope)
        self.peaks = above / self._weight * math.exp(self.slope * low)
