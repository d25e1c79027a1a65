"""Track classifiers: their contract, and the choice among several."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .results import TrackSummary

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Classifier:
    """A plugin's offer to name what a track was."""

    name: str
    classify: Callable[[TrackSummary], tuple[str, float] | None]
    """Return (label, probability 0..1), or None for no opinion. Called in a worker thread; must be quick."""


def classify(track: TrackSummary, classifiers: Iterable[Classifier]) -> TrackSummary:
    """Return the track with the label of the classifier that is surest; unchanged where none has an opinion.

    A classifier that raises, or answers something else than a label and a probability, is logged and has no opinion.
    """
    best: tuple[str, float] | None = None
    for classifier in classifiers:
        try:
            opinion = classifier.classify(track)
            if opinion is None:
                continue
            label, probability = str(opinion[0]), float(opinion[1])
            if not 0.0 <= probability <= 1.0:
                raise ValueError(f"expected a probability from 0 to 1, got {probability}")
        except Exception:
            log.exception("classifier %s: track %d", classifier.name, track.id)
            continue
        if best is None or probability > best[1]:
            best = label, probability
    return track if best is None else dataclasses.replace(track, label=best[0], probability=best[1])
