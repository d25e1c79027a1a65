"""The contract of track classifiers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .results import TrackSummary


@dataclass(frozen=True, slots=True)
class Classifier:
    """A plugin's offer to name what a track was."""

    name: str
    classify: Callable[[TrackSummary], tuple[str, float] | None]
    """Return (label, probability 0..1), or None for no opinion. Called in a worker thread; must be quick."""
