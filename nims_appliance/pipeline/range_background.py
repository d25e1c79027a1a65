"""Background of split-beam pings: what is usual at each range, and how far a ping stands out of it."""

from __future__ import annotations

import math

import numpy as np

from ..frame import Frame

FEW_PINGS = 20
"""The background remembers no fewer pings, however slowly they come: with less the threshold would be useless."""
FIRST_PINGS = 5
"""Nothing is detected at a range before so many pings of it."""
MOST_SPREAD, POOLED_PULSES = math.log(30.0), 13
"""Largest ln of the 90 % quantile over the median that is believed; over how many pulse lengths it is pooled."""
LOCAL_S = 0.5
"""Memory of how far the surroundings stand out of their past; a school's edge takes seconds to move its own width."""
ODD_RATIO = 8.0
"""Half of the ranges so far from their mean, and the ping is of another level."""


class RangeBackground:
    """Running median and 90 % quantile of the power at each range, for pings of one geometry.

    Quantiles are found by stochastic approximation (H. Robbins, S. Monro, Ann. Math. Stat. 22 (1951) 400-407) of ln
    power: each ping moves them by a fixed step, however strong it is. So an animal that passes leaves no ghost, and one
    that stays in place is learnt at 6 dB in background_s seconds. A wall that comes to stay is learnt as slowly.

    Noise is exponentially distributed; walls and schools, whose parts shade each other and turn, have heavier tails.
    Weibull's distribution through both quantiles describes either; its shape is the median over neighbouring ranges,
    so that one animal does not change it.
    """

    def __init__(self, memory_s: float) -> None:
        self._memory_s = memory_s
        self._range_m = np.empty(0)
        self._transmission: tuple[float, ...] = ()
        self._time_s = math.nan
        self._interval_s = 0.0
        self._pulse_samples = 1.0
        self.restart()

    def fit(self, frame: Frame) -> bool:
        """Start anew if the ping is not comparable with the ones before; return whether there were such."""
        transmission = (
            frame.frequency_hz,
            frame.pulse_length_s,
            frame.calibration.transmit_power_w if frame.calibration is not None else 0.0,
        )
        same_axis = self._range_m is frame.range_m or np.array_equal(self._range_m, frame.range_m)
        if same_axis and self._transmission == transmission:
            return False
        had_pings = bool(self._pings.any())
        self._range_m, self._transmission = frame.range_m, transmission
        self._pulse_samples = pulse_samples_of(frame)
        self._time_s, self._interval_s = math.nan, 0.0
        self.restart()
        return had_pings

    def restart(self) -> None:
        """Forget what was learnt."""
        count = len(self._range_m)
        self._pings = np.zeros(count)
        """How many pings the quantiles of each range are worth; 0 where no power has come yet."""
        self._median = np.zeros(count)
        """ln of the median power."""
        self._upper = np.zeros(count)
        """ln of the 90 % quantile."""
        self._steady = np.full(count, 0.5)
        """How often a ping was on the same side of the median as the one before."""
        self._was_above = np.zeros(count, dtype=bool)
        self._excess = np.ones(count)
        """Mean exceedance of each range over the last moments; 1 for what is usual."""

    def ratio(self, power: np.ndarray) -> np.ndarray:
        """Return power over the mean of noise with such a median; 0 where no power has come yet."""
        mean = np.exp(self._median) / math.log(2.0)
        return np.divide(power, mean, out=np.zeros(len(power)), where=self._pings > 0)

    def is_of_another_level(self, power: np.ndarray) -> bool:
        """Whether half of the ping is as far above its mean, or below, as noise almost never is."""
        known = self.ratio(power)[self._pings > 0]
        return bool(known.size) and not 0.5 / ODD_RATIO < float(np.median(known)) < ODD_RATIO

    def exceedance(self, power: np.ndarray) -> np.ndarray:
        """Return -ln of the probability that what is usual reaches the power; 0 where too little is known.

        What has come to stay around a range, as the edge of a school, only ever raises what is usual: the median over
        neighbouring ranges, which one animal does not change.
        """
        return self._of_past(power) / np.maximum(_pooled(self._excess, self._pulse_samples), 1.0)

    def _of_past(self, power: np.ndarray) -> np.ndarray:
        """Return the exceedance over the past of each range alone.

        The median of n pings is itself uncertain, as the mean of a cell-averaging CFAR, whose correction this is.
        """
        level = math.log(2.0) * (self.ratio(power) / math.log(2.0)) ** self._shape()
        # Half of the pings: the shape is uncertain beside the median.
        worth = np.maximum(self._pings / 2.0, 1.0)
        return np.where(self._pings >= FIRST_PINGS, worth * np.log1p(level / worth), 0.0)

    def _shape(self) -> np.ndarray:
        """Return the shape of Weibull's distribution at each range; at most 1: a steady wall is no better proof."""
        spread = _pooled(np.clip(self._upper - self._median, 1e-3, MOST_SPREAD), self._pulse_samples)
        return np.minimum(math.log(math.log(10.0) / math.log(2.0)) / spread, 1.0)

    def novelty(self) -> np.ndarray:
        """Return what share of a ping is news after the ones before, 0..1.

        The variance of the mean of a first-order autoregressive series is that of so many times fewer independent
        values. The correlation is that of a Gaussian series which is as often on one side of its median twice.
        """
        steady = np.clip(_pooled(self._steady, self._pulse_samples), 0.5, 1.0)
        correlation = np.minimum(np.sin(0.5 * math.pi * (2.0 * steady - 1.0)), 0.95)
        return (1.0 - correlation) / (1.0 + correlation)

    def update(self, power: np.ndarray, time_s: float) -> None:
        """Take one ping into the quantiles."""
        interval_s = time_s - self._time_s
        self._time_s = time_s
        if interval_s > 0.0:
            # A gap or a step of the clock moves the usual interval by little: what was learnt stays.
            usual_s = self._interval_s or interval_s
            self._interval_s = usual_s + 0.1 * (min(max(interval_s, usual_s / 2.0), usual_s * 2.0) - usual_s)
        memory_pings = self._memory_s / self._interval_s if self._interval_s else FEW_PINGS
        known_before = self._pings >= FIRST_PINGS
        fading = -math.expm1(-(self._interval_s or LOCAL_S) / LOCAL_S)
        self._excess += known_before * fading * (self._of_past(power) - self._excess)
        level = np.log(np.maximum(power, 1e-300))
        new = (self._pings == 0) & (power > 0.0)
        self._median[new], self._upper[new] = level[new], level[new] + math.log(math.log(10.0) / math.log(2.0))
        known = self._pings > 0
        self._pings[known | new] = np.minimum(self._pings[known | new] + 1.0, max(memory_pings, FEW_PINGS))
        # Steps of 1 / (n f), where f is the density of ln power at the quantile.
        step = known / np.maximum(self._pings, 1.0)
        above = level > self._median
        self._steady += step * ((above == self._was_above) - self._steady)
        self._was_above = above
        step /= self._shape()
        self._median += step / (0.5 * math.log(2.0)) * (above - 0.5)
        self._upper += step / (0.1 * math.log(10.0)) * ((level > self._upper) - 0.1)


def _pooled(values: np.ndarray, pulse_samples: float) -> np.ndarray:
    """Return the running median over POOLED_PULSES pulse lengths; same shape."""
    step = max(int(pulse_samples), 1)
    reach = POOLED_PULSES // 2
    thinned = values[::step]
    padded = np.pad(thinned, reach, mode="reflect" if len(thinned) > reach else "edge")
    medians = np.median(np.lib.stride_tricks.sliding_window_view(padded, POOLED_PULSES), axis=1)
    return np.repeat(medians, step)[: len(values)]


def pulse_samples_of(frame: Frame) -> float:
    """Return the pulse length in samples, at least 1."""
    cell_m = float(np.median(np.diff(frame.range_m))) if len(frame.range_m) > 1 else frame.range_resolution_m
    return max(frame.pulse_length_s * frame.sound_speed_m_s / (2.0 * cell_m), 1.0)
