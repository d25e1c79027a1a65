"""Legacy detector: the decision of the first NIMS, mean + k standard deviations over the last pings, for comparison.

Two things differ from it on purpose: a ping is tested before it becomes part of its own background (with its N pings
the largest deviation that can ever be measured is (N - 1) / sqrt(N) standard deviations, so that short windows could
detect nothing), and a cell that never varied is detected by any rise instead of dividing by zero.
"""

from __future__ import annotations

import math

import numpy as np
from nims_ext.group import group_cells

from ..frame import Frame
from ..settings import SonarSettings
from .geometry import Geometry
from .results import DETECTION
from .zones import Zones

USUAL_INTERVAL_S = 0.1
MOST_PINGS = 3600


class LegacyDetector:
    """Groups the cells whose amplitude exceeds mean + k standard deviations of the last N pings of that cell.

    N is `background_s` over the interval between pings. Sums are kept in float64 and are exact to its rounding: each
    ping is added once and taken away once.
    """

    def __init__(self, settings: SonarSettings) -> None:
        self._settings = settings.detector
        self._zones = Zones(settings.zones)
        self._geometry: Geometry | None = None
        self._window: list[np.ndarray] = []
        self._lesson: tuple[np.ndarray, int] | None = None
        """Amplitudes of the last ping, and how many pings the window holds; None once they are in it."""
        self._notes: list[str] = []

    def notes(self) -> list[str]:
        """Return and forget what happened in the last ping."""
        notes, self._notes = self._notes, []
        return notes

    def detect(self, frame: Frame) -> np.ndarray:
        """Return the groups of detected cells, dtype DETECTION, with centroids weighted by intensity."""
        self.settle()
        if self._geometry is None or not self._geometry.fits(frame):
            if self._geometry is not None:
                self._notes.append("geometry changed")
            self._geometry = Geometry(frame, self._settings, self._zones)
            self._window = []
            self._sum = np.zeros(frame.intensity.shape)
            self._squares = np.zeros(frame.intensity.shape)
        amplitude = np.sqrt(np.nan_to_num(np.maximum(frame.intensity, 0.0), nan=0.0, posinf=0.0))
        interval_s = frame.ping_interval_s if frame.ping_interval_s > 0 else USUAL_INTERVAL_S
        pings = min(max(2, round(self._settings.background_s / interval_s)), MOST_PINGS)
        deviation = self._deviation(amplitude) if len(self._window) >= pings else None
        self._lesson = amplitude, pings
        if deviation is None:
            return np.zeros(0, DETECTION)
        groups = group_cells(deviation, frame.intensity, self._settings.legacy_threshold_sd)
        if groups is None:
            self._notes.append("flooded")
            return np.zeros(0, DETECTION)
        groups = groups[groups["cells"] >= self._settings.legacy_min_cells]
        groups = self._geometry.watched(groups)
        if len(groups) > self._settings.max_detections:
            self._notes.append("flooded")
            kept = np.argsort(-groups["peak"], kind="stable")[: self._settings.max_detections]
            groups = groups[np.sort(kept)]
        return self._geometry.describe_groups(frame, groups)

    def _deviation(self, amplitude: np.ndarray) -> np.ndarray:
        """Return how many standard deviations each cell is above its mean, float32."""
        count = len(self._window)
        mean = self._sum / count
        variance = np.maximum(self._squares / count - mean * mean, 0.0)
        # a constant leaves rounding errors of the squares, not zero
        variance[variance < 1e-12 * mean * mean] = 0.0
        rise = amplitude - mean
        with np.errstate(divide="ignore", invalid="ignore"):
            deviation = np.where(variance > 0, rise / np.sqrt(variance), np.where(rise > 1e-9 * mean, math.inf, 0.0))
        return np.ascontiguousarray(deviation, np.float32)

    def settle(self) -> None:
        """Take the last ping into the window."""
        if self._lesson is None:
            return
        (amplitude, pings), self._lesson = self._lesson, None
        kept = amplitude.astype(np.float32)
        self._window.append(kept)
        exact = kept.astype(np.float64)
        self._sum += exact
        self._squares += exact * exact
        while len(self._window) > pings:
            old = self._window.pop(0).astype(np.float64)
            self._sum -= old
            self._squares -= old * old
