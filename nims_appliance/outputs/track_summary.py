"""The description of an ended track as programs get it: flat values whose keys name their units."""

from __future__ import annotations

import math
from typing import Any

from ..pipeline.results import TrackSummary
from ..times import iso_time

_DEGREES = "heading", "min_bearing", "max_bearing", "min_elevation", "max_elevation"
_PLAIN = (
    "first_time_s", "last_time_s", "duration_s", "hits", "pings", "mean_speed_m_s", "peak_speed_m_s",
    "mean_speed_through_water_m_s", "drifting", "path_m", "net_m", "net_sd_m", "farthest_m", "straightness",
    "min_range_m", "max_range_m", "min_z_m", "max_z_m", "mean_length_m", "mean_width_m", "mean_area_m2", "strength_db",
    "calibrated", "quality", "label", "probability",
)  # fmt: skip


SUMMARY_KEYS = (
    "id",
    "sonar",
    "channel",
    "first_time",
    "last_time",
    *_PLAIN,
    *(f"{name}_deg" for name in _DEGREES),
    "zones",
)
"""Keys of a description, in its order."""
POSITION_KEYS = "time_s", "x_m", "y_m", "z_m"


def describe_summary(sonar: str, track: TrackSummary) -> dict[str, Any]:
    """Return the description without the positions, JSON-able: numbers that are not finite are None.

    `zones` is a list with an entry for each watched zone.
    """
    values: dict[str, Any] = {
        "id": track.id,
        "sonar": sonar,
        "channel": track.channel,
        "first_time": iso_time(track.first_time_s),
        "last_time": iso_time(track.last_time_s),
    }
    values |= {name: _finite(getattr(track, name)) for name in _PLAIN}
    values |= {f"{name}_deg": _finite(math.degrees(getattr(track, f"{name}_rad"))) for name in _DEGREES}
    values["zones"] = [
        {
            "name": zone.name,
            "closest_m": _finite(zone.closest_m),
            "closest_time_s": _finite(zone.closest_time_s),
            "entered_time_s": _finite(zone.entered_time_s),
            "inside_s": zone.inside_s,
        }
        for zone in track.zones
    ]
    return values


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
