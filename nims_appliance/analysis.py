"""Analysis: a chain that survives bad pings, shared by the appliance and the batch command."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable

import numpy as np

from .frame import Frame
from .pipeline.chain import Chain, make_chain
from .pipeline.classify import Classifier, classify
from .pipeline.metrics import EchoMetrics, MetricsBin
from .pipeline.results import DETECTION, PingResult, TrackSummary
from .settings import SonarSettings

log = logging.getLogger(__name__)

FAILURES_UNTIL_REBUILT = 3
"""So many pings in a row that make a chain raise, and it is made anew: its memory may be what is wrong."""


def kind_of_note(note: str) -> str:
    """Return what notes of the pipeline have in common that tell the same with other numbers."""
    return note.rstrip("0123456789.+- dB")


class ChannelChoice:
    """Which channel of a sounder is detected on: the configured one, else the first with angles, else the first."""

    def __init__(self, wanted: str = "") -> None:
        self._wanted = wanted
        self._chosen: str | None = None
        self._seen: list[str] = []

    def wants(self, frame: Frame) -> bool:
        """Whether the frame is of the channel to detect on."""
        if self._wanted:
            return self._wanted in frame.channel
        if self._chosen is None:
            if frame.is_split_beam or not frame.channel:
                self._chosen = frame.channel
            elif frame.channel in self._seen:
                # A whole round of channels, none with angles.
                self._chosen = self._seen[0]
            else:
                self._seen.append(frame.channel)
        return frame.channel == self._chosen


class Analysis:
    """Detection, tracking and classification of one sonar; a ping that makes them raise is counted and left out."""

    def __init__(
        self,
        name: str,
        settings: SonarSettings,
        classifiers: Iterable[Classifier] = (),
        make: Callable[[SonarSettings], Chain] = make_chain,
    ) -> None:
        self.failures = 0
        self.detections = 0
        self.tracks = 0
        """Confirmed tracks that have ended."""
        self.last_error = ""
        self._name = name
        self._settings = settings
        self._classifiers = tuple(classifiers)
        self._make = make
        self._chain = make(settings)
        self._choice = ChannelChoice(settings.channel)
        self._failures_in_row = 0
        self._last: Frame | None = None
        self._unsettled = False

    def wants(self, frame: Frame) -> bool:
        """Whether `process` should see the frame; cheap."""
        return self._choice.wants(frame)

    def process(self, frame: Frame) -> PingResult | None:
        """Return what is in the ping, None when the chain raised. `settle` is called for it where nobody has."""
        self.settle()
        try:
            result = self._chain.process(frame)
            self._unsettled = True
        except Exception as error:  # noqa: BLE001 - logged there; a defect must not end the sonar
            self._failed(frame, error)
            return None
        self._last = frame
        self.detections += len(result.detections)
        if result.ended:
            result = dataclasses.replace(result, ended=self._classified(result.ended))
        return result

    def settle(self) -> None:
        """Do what the last ping has left to do: best while its result is on its way and the next has not come."""
        if not self._unsettled:
            return
        self._unsettled = False
        try:
            self._chain.settle()
            if self._classifiers:
                self._chain.name_next(self._classified_one)
        except Exception as error:  # noqa: BLE001 - logged there; a defect must not end the sonar
            self._failed(self._last, error)
        else:
            self._failures_in_row = 0

    def finish(self) -> PingResult | None:
        """End all tracks; return those that were alive as a final result, None where there were none.

        The analysis goes on with a new chain if it is used again.
        """
        self.settle()
        chain, frame = self._chain, self._last
        self._chain, self._last = self._make(self._settings), None
        try:
            ended = chain.finish()
        except Exception as error:  # noqa: BLE001 - logged there; a defect must not end the sonar
            self._failed(frame, error)
            return None
        if frame is None or not ended:
            return None
        return PingResult.of(
            frame,
            detections=np.zeros(0, DETECTION),
            tracks=(),
            ended=self._classified(ended),
            final=True,
        )

    def _classified(self, ended: Iterable[TrackSummary]) -> tuple[TrackSummary, ...]:
        tracks = tuple(map(self._classified_one, ended))
        self.tracks += len(tracks)
        return tracks

    def _classified_one(self, track: TrackSummary) -> TrackSummary:
        return classify(track, self._classifiers)

    def _failed(self, frame: Frame | None, error: Exception) -> None:
        self.failures += 1
        self._failures_in_row += 1
        self.last_error = f"{type(error).__name__}: {error}"
        if self._failures_in_row == 1:
            number = frame.ping_number if frame else "?"
            log.error("%s: ping %s could not be analysed", self._name, number, exc_info=error)
        if self._failures_in_row == FAILURES_UNTIL_REBUILT:
            log.error("%s: %d pings in a row could not be analysed: starting afresh", self._name, self._failures_in_row)
            self._chain = self._make(self._settings)
            self._failures_in_row = 0


class MetricsOfChannels:
    """Echo metrics of every channel of one sonar; a ping that cannot be measured is counted and left out."""

    def __init__(self, name: str, make: Callable[[], EchoMetrics]) -> None:
        self.failures = 0
        self.last_error = ""
        self._name = name
        self._make = make
        self._channels: dict[str, EchoMetrics] = {}

    def add(self, frame: Frame) -> list[MetricsBin]:
        """Return the bins that this ping completes."""
        try:
            if frame.channel not in self._channels:
                self._channels[frame.channel] = self._make()
            return self._channels[frame.channel].add(frame)
        except Exception as error:
            if not self.failures:
                log.exception("%s: ping %d could not be measured", self._name, frame.ping_number)
            self.failures += 1
            self.last_error = f"{type(error).__name__}: {error}"
            self._channels.pop(frame.channel, None)
            return []

    def finish(self) -> list[MetricsBin]:
        """Return the bins that were still open."""
        channels, self._channels = self._channels, {}
        bins: list[MetricsBin] = []
        for metrics in channels.values():
            try:
                bins.extend(metrics.finish())
            except Exception as error:
                log.exception("%s: the last metrics are lost", self._name)
                self.failures += 1
                self.last_error = f"{type(error).__name__}: {error}"
        return bins
