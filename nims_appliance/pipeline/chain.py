"""Chain: one sonar's way from a frame to tracks, composed of a detector and a tracker.

`process` is one call per ping, made in a worker thread. It is the whole of the per-ping work on samples, so that the
appliance and the batch command share it.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ..frame import Frame
from ..settings import SonarSettings
from .results import PingResult, TrackState, TrackSummary
from .zones import Zones

NO_ZONES = Zones({})


class Detector(Protocol):
    """Finds echoes in one ping; keeps what it must remember of earlier ones."""

    def detect(self, frame: Frame) -> np.ndarray:
        """Return the detections of the ping, dtype DETECTION; weaker candidates among them are marked."""

    def notes(self) -> list[str]:
        """Return and forget what happened in the last ping, in a few words each."""


class Tracker(Protocol):
    """Joins detections over pings."""

    def update(self, frame: Frame, detections: np.ndarray) -> tuple[list[TrackState], list[TrackSummary]]:
        """Return the tracks confirmed at this ping, and those that have ended with it. Call it once per ping."""

    def finish(self) -> list[TrackSummary]:
        """End all tracks and return the confirmed ones."""


class Chain:
    """Detection and tracking of one sonar; what a detector finds in an ignored zone goes no further."""

    def __init__(self, detector: Detector, tracker: Tracker, zones: Zones = NO_ZONES) -> None:
        self._detector = detector
        self._tracker = tracker
        self._zones = zones

    def process(self, frame: Frame) -> PingResult:
        """Return what is in the ping."""
        detections = self._zones.without_ignored(self._detector.detect(frame))
        tracks, ended = self._tracker.update(frame, detections)
        return PingResult(
            sonar_id=frame.sonar_id,
            frame_number=frame.frame_number,
            ping_number=frame.ping_number,
            time_s=frame.time_s,
            received_utc_s=frame.received_utc_s,
            received_monotonic_s=frame.received_monotonic_s,
            channel=frame.channel,
            detections=detections[detections["candidate"] == 0],
            tracks=tuple(tracks),
            ended=tuple(ended),
            notes=tuple(self._detector.notes()),
        )

    def finish(self) -> list[TrackSummary]:
        """The sonar has ended: return the tracks that were still alive."""
        return self._tracker.finish()


def make_chain(settings: SonarSettings) -> Chain:
    """Return the chain that the settings describe; detector and tracker choose imaging or split beam by the frame."""
    from .detector import make_detector
    from .tracker import make_tracker

    return Chain(make_detector(settings), make_tracker(settings), Zones(settings.zones))
