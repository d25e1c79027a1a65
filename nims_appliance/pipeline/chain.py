"""Chain: one sonar's way from a frame to tracks, composed of a detector and a tracker.

`process` and then `settle` are called once per ping, in a worker thread. They are the whole of the per-ping work on
samples, so that the appliance and the batch command share it. All that can wait until the tracks of the ping have been
handed on is done in `settle`.
"""

from __future__ import annotations

from collections.abc import Callable

from ..frame import Frame
from ..settings import SonarSettings
from .detector import make_detector
from .results import PingResult, TrackSummary
from .stages import Detector, Tracker
from .tracker import make_tracker
from .zones import Zones

NO_ZONES = Zones({})


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
        return PingResult.of(
            frame,
            detections=detections[detections["candidate"] == 0],
            tracks=tuple(tracks),
            ended=tuple(ended),
            notes=tuple(self._detector.notes()),
        )

    def settle(self) -> None:
        """Do what the ping leaves to do."""
        self._detector.settle()
        self._tracker.settle()

    def name_next(self, classify: Callable[[TrackSummary], TrackSummary]) -> None:
        """Let `classify` label one living track that has not been looked at for a second, if there is one."""
        track = self._tracker.describe_next()
        if track is not None:
            self._tracker.name(classify(track))

    def finish(self) -> list[TrackSummary]:
        """The sonar has ended: return the tracks that were still alive."""
        return self._tracker.finish()


def make_chain(settings: SonarSettings) -> Chain:
    """Return the chain that the settings describe; detector and tracker choose imaging or split beam by the frame."""
    return Chain(make_detector(settings), make_tracker(settings), Zones(settings.zones))
