"""Detector of imaging sonars: from one ping to its detections.

A cell is compared with its own past (`background`), the ratio with its surroundings (`background`), and the local
maxima of that with how often noise makes maxima as high (`clutter`): the threshold is where noise alone makes the
allowed number of detections a ping, whatever the sonar, its gain and its scaling. Maxima down to a fraction of the
threshold are passed on as candidates: a tracker sees over several pings what one ping cannot tell.

The maxima are of the ratio itself, not of a smoothed picture: speckle has the correlation of the point spread, so that
smoothing the intensity with it gains nothing and loses resolution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from nims_ext.detect import find_peaks
from nims_ext.group import group_cells

from ..frame import Frame
from ..settings import SonarSettings
from . import side_lobes
from .background import Background
from .clutter import TailModel
from .geometry import Geometry, PointSpread
from .legacy import LegacyDetector
from .results import DETECTION
from .single_target import SingleTargetDetector
from .stages import Detector
from .zones import Zones

CANDIDATE_SHARE = 0.33
"""Candidates reach down to this fraction of the threshold's exceedance (-5 dB)."""
MOST_CANDIDATES = 500
"""Of more than so many the strongest are kept: what one ping takes of the tracker's time is bounded."""
UNSURE_PINGS = 30
"""Until so many pings have been learnt there are no detections."""
CONFIRMING_ECHOES = 8
"""About so many echoes confirm a track."""
USUAL_INTERVAL_S = 0.1
"""Stands in for the time between pings before two have come from a sonar that does not tell."""


@dataclass(slots=True)
class _Lesson:
    """What a ping teaches."""

    interval_s: float
    heights: np.ndarray | None = None
    """Of all its peaks; None: nothing was looked for."""
    low: float = 0.0
    """What they had to exceed."""


class AdaptiveDetector:
    """Detects what stands out of its own past and surroundings, at a stated rate of false alarms."""

    def __init__(self, settings: SonarSettings) -> None:
        self._settings = settings.detector
        self._zones = Zones(settings.zones)
        self._background = Background(settings.detector.background_s)
        self._geometry: Geometry | None = None
        self._spread = PointSpread(1.0, 1.0)
        self._tail = TailModel(1, (1.0, 1.0))
        self._time_s = math.nan
        self._interval_s = math.nan
        self._last_probes: np.ndarray | None = None
        self._lesson: _Lesson | None = None
        self._notes: list[str] = []

    def notes(self) -> list[str]:
        """Return and forget what happened in the last ping."""
        notes, self._notes = self._notes, []
        return notes

    def settle(self) -> None:
        """Learn the point spread and the tail of the noise from the last ping."""
        lesson, self._lesson = self._lesson, None
        if lesson is None:
            return
        ratio = self._background.ratio
        self._spread.learn(ratio, lesson.interval_s)
        if lesson.heights is not None:
            self._tail.learn_spread(self._background.probes(ratio), lesson.interval_s)
            self._tail.learn(lesson.heights, lesson.low, lesson.interval_s)

    def detect(self, frame: Frame) -> np.ndarray:
        """Return the detections of the ping and weaker candidates, dtype DETECTION, nearest first."""
        self.settle()
        none = np.zeros(0, DETECTION)
        if self._geometry is None or not self._geometry.fits(frame):
            self._start(frame)
        assert self._geometry is not None
        interval_s = self._elapsed(frame)
        probes = self._background.probes(frame.intensity)
        if not np.any(probes > 0):
            self._notes.append("no signal")
            return none
        if self._last_probes is not None and np.array_equal(probes, self._last_probes):
            self._notes.append("frozen picture")
            return none
        self._last_probes = probes

        threshold = self._tail.height(self._settings.false_alarms_per_ping)
        # before there are detections nothing is kept from being learnt
        sure = self._background.pings >= min(UNSURE_PINGS, self._settings.background_s / interval_s)
        self._background.update(frame.intensity, interval_s, threshold if sure else math.inf)
        if self._background.gain_db:
            self._notes.append(f"gain changed by {self._background.gain_db:+.1f} dB")
        self._lesson = lesson = _Lesson(interval_s)
        # an error of the background is the same in every ping, and would be followed like an animal at rest
        if not sure:
            return none
        # the mean of few pings is itself uncertain: a ratio is then F rather than exponentially distributed
        pings = min(self._background.pings, 2 * self._settings.background_s / interval_s)
        threshold = min(pings * math.expm1(min(threshold / pings, 50.0)), 1e6)
        low = self._tail.lower(threshold, CANDIDATE_SHARE)
        peaks, more = find_peaks(
            self._background.ratio, self._background.scale, *self._background.block, low, *self._spread.reach()
        )
        lesson.heights, lesson.low = peaks["value"], low
        lobes = side_lobes.of_stronger(
            peaks, frame.intensity, frame.bearing_rad, frame.beam_width_rad, self._spread.reach()[0], low
        )
        peaks = self._geometry.watched(peaks[~lobes])
        detected = int(np.count_nonzero(peaks["value"] > threshold))
        if more or detected > self._settings.max_detections:
            self._notes.append("flooded")
        most = min(max(detected, MOST_CANDIDATES), self._settings.max_detections)
        if len(peaks) > most:
            kept = np.argpartition(peaks["value"], -most)[-most:]
            peaks = peaks[np.sort(kept)]
        out = self._geometry.describe(frame, peaks, self._spread)
        # the error of the mean is common to all echoes of a track, which together count as one sample of it
        shared = pings / CONFIRMING_ECHOES
        out["exceedance"] = shared * np.log1p(self._tail.exceedance(peaks["value"]) / shared)
        out["candidate"] = peaks["value"] <= threshold
        if not out["candidate"].all():
            groups = group_cells(self._background.ratio, frame.intensity, low)
            if groups is not None:
                self._geometry.measure(out, peaks, groups)
        return out

    def _start(self, frame: Frame) -> None:
        if self._geometry is not None:
            self._notes.append("geometry changed")
        self._geometry = Geometry(frame, self._settings, self._zones)
        self._spread = PointSpread(*self._geometry.point_spread())
        self._background.reset(frame.intensity.shape, (self._spread.samples, self._spread.beams))
        self._tail = TailModel(frame.intensity.size, (self._spread.samples, self._spread.beams))
        self._last_probes = self._lesson = None

    def _elapsed(self, frame: Frame) -> float:
        """Return the time since the last ping, as far as it can be believed; the usual interval otherwise."""
        elapsed_s = frame.time_s - self._time_s
        self._time_s = frame.time_s
        if elapsed_s < 0:
            self._notes.append("clock stepped back")
        if 0 < elapsed_s < 60.0:
            return elapsed_s
        return frame.ping_interval_s if 0 < frame.ping_interval_s < 60.0 else USUAL_INTERVAL_S


class FrameDetector:
    """Gives each ping to the detector that fits it: single targets for split beams, else the imaging one chosen."""

    def __init__(self, settings: SonarSettings) -> None:
        legacy = settings.detector.method == "legacy"
        self._imaging: Detector = LegacyDetector(settings) if legacy else AdaptiveDetector(settings)
        self._split_beam: Detector = SingleTargetDetector(settings)
        self._last: Detector = self._imaging

    def detect(self, frame: Frame) -> np.ndarray:
        """Return the detections of the ping, dtype DETECTION."""
        self._last = self._split_beam if frame.is_split_beam else self._imaging
        return self._last.detect(frame)

    def settle(self) -> None:
        """Learn what the last ping teaches."""
        self._last.settle()

    def notes(self) -> list[str]:
        """Return and forget what happened in the last ping."""
        return self._last.notes()


def make_detector(settings: SonarSettings) -> Detector:
    """Return the detector that the settings describe."""
    return FrameDetector(settings)
