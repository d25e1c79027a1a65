"""Few points of many: bins of metrics gathered in equal buckets of time, so that no peak is lost on a screen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
"""Lengths of buckets: times that people count in, so that buckets of two questions fall together."""


def bucket_length_s(span_s: float, points: int) -> float:
    """Return the shortest length of STEPS_S with which `span_s` is no more than `points` buckets; else whole days."""
    wanted_s = span_s / points
    for step_s in STEPS_S:
        if step_s >= wanted_s:
            return float(step_s)
    return float(np.ceil(wanted_s / STEPS_S[-1]) * STEPS_S[-1])


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """What was asked for, thinned: shape (points,) or (points, columns), float64; NaN where nothing was measured."""

    time_s: np.ndarray
    """Middle of the bucket; without buckets the end of the bin."""
    pings: np.ndarray
    mean: np.ndarray
    """Over the pings; of columns in dB the mean of the linear values."""
    least: np.ndarray
    most: np.ndarray


class Buckets:
    """Gathers bins that come in the order of their time, some at a time."""

    def __init__(self, bucket_s: float, in_db: np.ndarray) -> None:
        """`in_db`: bool, shape (columns,); which columns are averaged as 10^(x/10)."""
        self._bucket_s = bucket_s
        self._in_db = in_db
        self._parts: list[tuple[np.ndarray, ...]] = []

    def add(self, end_s: np.ndarray, pings: np.ndarray, values: np.ndarray) -> None:
        """Add bins: times not before the last of those added already, shape (bins,); values (bins, columns)."""
        if not len(end_s):
            return
        linear = values.copy()
        linear[:, self._in_db] = 10.0 ** (values[:, self._in_db] / 10.0)
        known = np.isfinite(values)
        weight = np.where(known, pings[:, np.newaxis], 0.0)
        total = np.where(known, linear, 0.0) * weight
        number = np.floor(end_s / self._bucket_s)
        self._parts.append(_reduce(number, pings, total, weight, values, values))

    def finish(self) -> Points:
        """Return the buckets in which there is a bin."""
        columns = len(self._in_db)
        if not self._parts:
            empty = np.empty((0, columns))
            return Points(np.empty(0), np.empty(0), empty, empty, empty)
        # A bucket may have come in two parts.
        together = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        number, pings, total, weight, least, most = _reduce(*together)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = total / weight
            mean = np.where(self._in_db, 10.0 * np.log10(mean), mean)
        # Rounding may not put a mean outside of what it is the mean of.
        mean = np.clip(mean, least, most)
        return Points((number + 0.5) * self._bucket_s, pings, mean, least, most)


def _reduce(
    number: np.ndarray, pings: np.ndarray, total: np.ndarray, weight: np.ndarray, least: np.ndarray, most: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Return the same for each different number; equal numbers stand side by side."""
    starts = np.flatnonzero(np.diff(number, prepend=np.nan) != 0.0)
    return (
        number[starts],
        np.add.reduceat(pings, starts),
        np.add.reduceat(total, starts),
        np.add.reduceat(weight, starts),
        np.fmin.reduceat(least, starts),
        np.fmax.reduceat(most, starts),
    )
