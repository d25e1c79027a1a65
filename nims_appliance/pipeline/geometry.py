"""Geometry: from cells of a picture to metres and radians, and how sharply the sonar sees."""

from __future__ import annotations

import math

import numpy as np
from nims_ext.detect import neighbours
from nims_ext.group import extend
from nims_ext.measure import locate

from ..frame import Frame
from ..settings import DetectorSettings
from .results import DETECTION
from .zones import Zones

HALF_POWER = 2.0 * math.sqrt(math.log(2.0))
"""Full width at half power over the standard deviation of a Gaussian amplitude."""
PLACING_LIMIT = 0.12
"""Cells: what sampling, interpolation and the sonar's own calibration leave of the error of the strongest echo."""
WANDER_M = 0.03
"""An echo wanders over the body of the animal that gives it, by so much even on a small one (standard deviation)."""


class PointSpread:
    """Standard deviation of the amplitude over which the sonar smears a point, in samples and beams.

    It starts from what the sonar's header says and is then measured: speckle is smeared by the same spread, so that the
    correlation of the intensity of neighbouring cells gives it (for a Gaussian of standard deviation s the coherence
    at lag one is exp(-1 / 4 s^2), and intensities correlate with its square).
    """

    def __init__(self, samples: float, beams: float) -> None:
        self.samples = samples
        self.beams = beams
        self._pings = 0.0
        self._correlation = np.zeros(2)

    def learn(self, ratio: np.ndarray, interval_s: float) -> None:
        """Learn from one normalised ping; the first pings, whose background is unsure, count little."""
        self._pings += 1
        share = max(1.0 / self._pings, -math.expm1(-interval_s / 20.0))
        new = np.array(neighbours(ratio, max(1, len(ratio) // 48), 6.0))
        self._correlation += share * (np.nan_to_num(new) - self._correlation)
        if self._pings < 20:
            return
        self.samples, self.beams = (_spread(value) for value in self._correlation)

    def reach(self) -> tuple[int, int]:
        """Return within how many samples and beams two maxima are of one echo."""
        return max(1, round(1.5 * self.samples)), max(1, round(1.5 * self.beams))


def _spread(correlation: float) -> float:
    coherence = math.sqrt(min(max(correlation, 1e-3), 0.98))
    return min(max(0.5 / math.sqrt(-math.log(coherence)), 0.3), 5.0)


class Geometry:
    """The axes of a sonar's picture, and which part of it counts."""

    def __init__(self, frame: Frame, settings: DetectorSettings, zones: Zones) -> None:
        self._zones = zones
        self._range_m = frame.range_m
        self._bearing_rad = frame.bearing_rad
        self._resolution = (frame.range_resolution_m, frame.beam_width_rad)
        self._nearest_m, self._farthest_m = settings.min_range_m, settings.max_range_m
        self._row, self._column = np.arange(len(frame.range_m)), np.arange(len(frame.bearing_rad))
        self._step_m = _steps(frame.range_m, frame.range_resolution_m)
        self._step_rad = _steps(frame.bearing_rad, frame.beam_width_rad)

    def fits(self, frame: Frame) -> bool:
        """Whether the frame has the same axes."""
        if frame.range_m is self._range_m and frame.bearing_rad is self._bearing_rad:
            return True
        return np.array_equal(frame.range_m, self._range_m) and np.array_equal(frame.bearing_rad, self._bearing_rad)

    def point_spread(self) -> tuple[float, float]:
        """Return the standard deviation of the point spread in samples and beams, as the sonar states it."""
        samples = self._resolution[0] / HALF_POWER / float(np.median(self._step_m))
        beams = self._resolution[1] / HALF_POWER / float(np.median(self._step_rad))
        return min(max(samples, 0.3), 5.0), min(max(beams, 0.3), 5.0)

    def watched(self, peaks: np.ndarray) -> np.ndarray:
        """Return the peaks (or groups) that lie in the part of the picture that counts."""
        range_m, bearing_rad = self._range_m[peaks["peak_row"]], self._bearing_rad[peaks["peak_column"]]
        counts = (range_m >= self._nearest_m) & (range_m <= self._farthest_m)
        return peaks[counts & ~self._zones.ignores(range_m, bearing_rad)]

    def describe(self, frame: Frame, peaks: np.ndarray, spread: PointSpread) -> np.ndarray:
        """Return the peaks of a ping in metres and radians, dtype DETECTION; see `nims_ext.measure.locate`."""
        out = np.zeros(len(peaks), DETECTION)
        locate(
            out,
            peaks,
            frame.intensity,
            self._range_m,
            self._bearing_rad,
            self._step_m,
            self._step_rad,
            samples=spread.samples,
            beams=spread.beams,
            placing_limit=PLACING_LIMIT,
            wander_m=WANDER_M,
        )
        return out

    def describe_groups(self, frame: Frame, groups: np.ndarray) -> np.ndarray:
        """Return groups of cells in metres and radians, dtype DETECTION; places are centroids of the intensity.

        Their standard deviation is that of an even spread over the group's extent.
        """
        out = np.zeros(len(groups), DETECTION)
        out["range_m"] = range_m = np.interp(groups["row"], self._row, self._range_m)
        out["bearing_rad"] = np.interp(groups["column"], self._column, self._bearing_rad)
        out["elevation_rad"] = out["elevation_sd_rad"] = out["ts_db"] = np.nan
        step_m, step_rad = self._step_m[groups["peak_row"]], self._step_rad[groups["peak_column"]]
        samples, beams = self.point_spread()
        out["range_sd_m"] = step_m * np.sqrt(np.maximum(groups["row_variance"], samples**2) / 12 + PLACING_LIMIT**2)
        out["bearing_sd_rad"] = step_rad * np.sqrt(
            np.maximum(groups["column_variance"], beams**2) / 12 + PLACING_LIMIT**2
        )
        out["length_m"] = (groups["last_row"] - groups["first_row"] + 1) * step_m
        out["width_m"] = (groups["last_column"] - groups["first_column"] + 1) * step_rad * range_m
        out["area_m2"] = groups["cells"] * step_m * step_rad * range_m
        out["peak"] = frame.intensity[groups["peak_row"], groups["peak_column"]]
        out["total"] = groups["total"]
        out["mean"] = groups["total"] / np.maximum(groups["cells"], 1)
        out["snr_db"] = 20 * np.log10(np.clip(groups["peak"], 1.0, 1e6))
        out["cells"] = groups["cells"]
        return out

    def measure(self, out: np.ndarray, peaks: np.ndarray, groups: np.ndarray) -> None:
        """Give the detections the extent of the groups of cells whose greatest cell they are, in place."""
        row, column = (np.ascontiguousarray(peaks[name]) for name in ("peak_row", "peak_column"))
        extend(out, row, column, groups, self._step_m, self._step_rad)


def _steps(axis: np.ndarray, alone: float) -> np.ndarray:
    """Return the distance of each value from its neighbours; `alone` where there is only one."""
    return np.gradient(axis) if len(axis) > 1 else np.full(1, max(alone, 1e-9))
