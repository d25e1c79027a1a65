"""What a track was, as far as its path can tell: the built-in classifier of ended tracks.

Labels: "probable animal", "possible animal", "drifting", "structure". The rule is one of motion alone; it knows neither
species nor size classes, and has no opinion where motion tells nothing:

* Nothing is said of a track with fewer than 5 hits, shorter than 1 s, or with a quality below 0.2.
* It has *moved* when its farthest place is farther from its first than its own size and 3 standard deviations of its
  net displacement.
* Not moved for a minute or longer: "structure". For less than that: no opinion. In a current an animal that holds its
  place looks the same, so that the probability stays low.
* Moved, and its net motion is that of the water (`TrackSummary.drifting`): "drifting". If its mean speed through the
  water was that of a swimmer all the same, it came back to where the water took it: "possible animal".
* Moved otherwise: "probable animal" where something else than the water must have moved it: its motion is not that of
  the configured current, or it turned on its way. Else "possible animal": with no current known, what moves straight
  may drift.

The probabilities order the labels and tell a sure track from a doubtful one. They are no measured frequencies: nobody
has counted how often such tracks were animals at your site.
"""

from __future__ import annotations

import math

from nims_appliance.hookspecs import hookimpl
from nims_appliance.pipeline.classify import Classifier
from nims_appliance.pipeline.results import TrackSummary

MIN_HITS, MIN_DURATION_S, MIN_QUALITY = 5, 1.0, 0.2
SURE_QUALITY = 0.5
"""Below, no animal is probable."""
STAYED_S = 60.0
"""What has not moved for so long is structure."""
SWIMS_M_S = 0.3
"""Mean speed through the water that neither turbulence nor the scatter of places gives."""
WINDING = 0.7
"""Straightness below which a path has turned, if it went far enough to tell."""


def classify_by_motion(track: TrackSummary) -> tuple[str, float] | None:
    """Return (label, probability), or None where motion cannot tell; the rule is in the module's docstring."""
    if track.hits < MIN_HITS or track.duration_s < MIN_DURATION_S or track.quality < MIN_QUALITY:
        return None
    size_m = max(track.mean_length_m, track.mean_width_m)
    scale_m = max(size_m, 3.0 * track.net_sd_m)
    if not all(map(math.isfinite, (size_m, track.net_sd_m, track.net_m, track.farthest_m, track.duration_s))):
        return None
    if track.farthest_m <= scale_m:
        if track.duration_s < STAYED_S:
            return None
        return "structure", min(0.8, 1.0 - 0.5 * STAYED_S / track.duration_s) * track.quality
    if track.drifting:
        if track.mean_speed_through_water_m_s > SWIMS_M_S:
            return "possible animal", 0.3 + 0.2 * track.quality
        return "drifting", 0.4 + 0.5 * track.quality
    if track.quality >= SURE_QUALITY and (track.drifting is False or _turned(track, scale_m)):
        return "probable animal", 0.5 + 0.4 * track.quality
    return "possible animal", 0.3 + 0.2 * track.quality


def _turned(track: TrackSummary, scale_m: float) -> bool:
    """Whether it came back, or wound its way, over distances well beyond its size and uncertainty."""
    came_back = track.farthest_m - track.net_m > 2.0 * scale_m
    wound = track.straightness < WINDING and track.net_m > 4.0 * scale_m
    return came_back or wound


@hookimpl
def nims_track_classifiers() -> list[Classifier]:
    """Offer the classifier by motion."""
    return [Classifier("motion", classify_by_motion)]
