"""What the stages of a chain promise: a detector and a tracker, each of one sonar, called once per ping.

What a ping leaves to do is done by `settle` while its tracks are on their way; where nobody has called it, the next
ping begins with it.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ..frame import Frame
from .results import TrackState, TrackSummary


class Detector(Protocol):
    """Finds echoes in one ping; keeps what it must remember of earlier ones."""

    def detect(self, frame: Frame) -> np.ndarray:
        """Return the detections of the ping, dtype DETECTION; weaker candidates among them are marked."""

    def settle(self) -> None:
        """Learn what the last ping teaches, once."""

    def notes(self) -> list[str]:
        """Return and forget what happened in the last ping, in a few words each."""


class Tracker(Protocol):
    """Joins detections over pings."""

    def update(self, frame: Frame, detections: np.ndarray) -> tuple[list[TrackState], list[TrackSummary]]:
        """Return the tracks confirmed at this ping, and those that have ended since the last. Call it once per ping."""

    def settle(self) -> None:
        """Do once what the last ping leaves to do: begin new tracks, learn, compare tracks with each other."""

    def describe_next(self) -> TrackSummary | None:
        """Return one living track as it is described so far; None where each has been described within a second.

        One in every second ping, so that many tracks cost no more time than a few; `name` takes what it is called.
        """

    def name(self, track: TrackSummary) -> None:
        """Let a living track be called as its description is, until it is described anew."""

    def finish(self) -> list[TrackSummary]:
        """End all tracks and return the confirmed ones."""
