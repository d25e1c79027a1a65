"""Detector of imaging sonars: from one ping to its detections."""

from __future__ import annotations

import math

import numpy as np
from nims_ext.detect import group_cells

from ..frame import Frame
from ..settings import SonarSettings
from .background import Background
from .chain import Detector
from .results import DETECTION


class AdaptiveDetector:
    """Detects what stands out of its own past, with a stated rate of false alarms."""

    def __init__(self, settings: SonarSettings) -> None:
        self._settings = settings.detector
        self._background = Background(settings.detector.background_s)
        self._shape: tuple[int, int] | None = None
        self._axes: tuple[float, ...] = ()
        self._time_s = math.nan
        self._notes: list[str] = []

    def notes(self) -> list[str]:
        """Return and forget what happened in the last ping."""
        notes, self._notes = self._notes, []
        return notes

    def detect(self, frame: Frame) -> np.ndarray:
        """Return the detections of the ping, dtype DETECTION."""
        intensity = np.nan_to_num(frame.intensity, nan=0.0, posinf=0.0, neginf=0.0)
        axes = (frame.range_m[0], frame.range_m[-1], frame.bearing_rad[0], frame.bearing_rad[-1])
        if self._shape != intensity.shape or self._axes != axes:
            if self._shape is not None:
                self._notes.append("geometry changed")
            self._shape, self._axes = intensity.shape, axes
            self._background.reset()
        interval_s = frame.time_s - self._time_s
        if not 0 < interval_s < 10 * self._settings.background_s:
            interval_s = frame.ping_interval_s if math.isfinite(frame.ping_interval_s) else 0.1
        self._time_s = frame.time_s
        if self._background.mean is None:
            self._background.update(intensity, None, interval_s)
            return np.zeros(0, DETECTION)
        n = self._background.pings
        rate = min(self._settings.false_alarms_per_ping / intensity.size, 0.5)
        threshold = n * math.expm1(-math.log(rate) / n)  # exceeded by a cell of exponential noise with that probability
        ratio = intensity / np.maximum(self._background.mean, np.finfo(np.float32).tiny)
        groups = group_cells(ratio, intensity, threshold)
        self._background.update(intensity, ratio > threshold, interval_s)
        if groups is None:
            self._notes.append("flooded")
            return np.zeros(0, DETECTION)
        if len(groups) > self._settings.max_detections:
            self._notes.append("flooded")
            strongest = np.argsort(-groups["peak"], kind="stable")[: self._settings.max_detections]
            groups = groups[np.sort(strongest)]
        return describe_groups(frame, groups)


def describe_groups(frame: Frame, groups: np.ndarray) -> np.ndarray:
    """Return the groups of cells of a ping in metres and radians, dtype DETECTION.

    The peak statistic of a group must be a ratio of powers: it gives the SNR. Standard deviations: the width of the
    sonar's point spread over sqrt(12), and less where the echo stands out (width / (2 sqrt(SNR))).
    """
    out = np.zeros(len(groups), DETECTION)
    rows, columns = np.arange(len(frame.range_m)), np.arange(len(frame.bearing_rad))
    range_m = np.interp(groups["row"], rows, frame.range_m)
    bearing_rad = np.interp(groups["column"], columns, frame.bearing_rad)
    out["range_m"], out["bearing_rad"] = range_m, bearing_rad
    out["elevation_rad"] = out["elevation_sd_rad"] = out["ts_db"] = np.nan
    snr = np.maximum(groups["peak"], 1.0)
    shrink = np.minimum(1 / math.sqrt(12), 0.5 / np.sqrt(snr))
    out["range_sd_m"] = frame.range_resolution_m * np.maximum(shrink, 0.1)
    out["bearing_sd_rad"] = frame.beam_width_rad * np.maximum(shrink, 0.1)
    step_m = _steps(frame.range_m)
    step_rad = _steps(frame.bearing_rad)
    out["length_m"] = (groups["last_row"] - groups["first_row"] + 1) * step_m
    out["width_m"] = (groups["last_column"] - groups["first_column"] + 1) * step_rad * range_m
    out["area_m2"] = groups["cells"] * step_m * step_rad * range_m
    out["total"] = groups["total"]
    out["mean"] = groups["total"] / np.maximum(groups["cells"], 1)
    out["peak"] = frame.intensity[groups["peak_row"], groups["peak_column"]]
    out["snr_db"] = 10 * np.log10(snr)
    out["cells"] = groups["cells"]
    return out


def _steps(axis: np.ndarray) -> float:
    return float((axis[-1] - axis[0]) / (len(axis) - 1)) if len(axis) > 1 else 0.0


def make_detector(settings: SonarSettings) -> Detector:
    """Return the detector that the settings describe."""
    return AdaptiveDetector(settings)
