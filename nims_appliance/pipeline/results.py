"""What the pipeline gives for each ping: detections, live tracks, ended tracks.

Sonar coordinates, metres: y along the acoustic axis, x to the side of positive bearing, z to the side of positive
elevation (0 for imaging sonars, which do not measure it). For split beams bearing is the athwartship and elevation the
alongship angle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..frame import Frame, Pose

DETECTION = np.dtype(
    [
        ("range_m", "f8"),
        ("bearing_rad", "f8"),
        ("elevation_rad", "f8"),  # NaN where not measured
        ("range_sd_m", "f8"),
        ("bearing_sd_rad", "f8"),
        ("elevation_sd_rad", "f8"),
        ("length_m", "f8"),  # extent along range
        ("width_m", "f8"),  # extent across, along the arc
        ("area_m2", "f8"),  # sum of the cells' areas
        ("peak", "f8"),  # intensity, in the unit of the frame
        ("mean", "f8"),
        ("total", "f8"),
        ("snr_db", "f8"),  # peak over the local background
        ("ts_db", "f8"),  # compensated TS; NaN where not calibrated
        ("exceedance", "f8"),  # -ln of the probability that noise reaches this in one resolution cell; 0: not known
        ("cells", "i4"),
        ("candidate", "i4"),  # 1: too weak for a detection of its own, but of use to a tracker
    ],
    align=True,
)
"""One detection; `PingResult.detections` is a structured array of these."""


@dataclass(frozen=True, slots=True)
class TrackState:
    """A confirmed track at one ping."""

    id: int
    """64-bit, never reused, unique over restarts."""
    state: str
    """"confirmed" (seen in this ping) or "coasting" (predicted)."""
    position_m: tuple[float, float, float]
    velocity_m_s: tuple[float, float, float]
    covariance: tuple[tuple[float, ...], ...]
    """Of (x, y) or (x, y, z), m^2."""
    range_m: float
    bearing_rad: float
    elevation_rad: float
    """0 where not measured."""
    range_rate_m_s: float
    bearing_rate_rad_s: float
    elevation_rate_rad_s: float
    first_time_s: float
    hits: int
    """Pings in which it was seen."""
    min_range_m: float
    max_range_m: float
    min_bearing_rad: float
    max_bearing_rad: float
    min_elevation_rad: float
    max_elevation_rad: float
    length_m: float
    """Extents of the last detection."""
    width_m: float
    height_m: float
    """NaN where not measured."""
    mean_area_m2: float
    strength_db: float
    """TS in dB re 1 m2 where calibrated, else relative dB; of the mean over hits of the linear values."""
    calibrated: bool
    speed_m_s: float
    channel: str = ""
    zones: tuple[str, ...] = ()
    """Names of the watched zones that it is in."""
    label: str = ""
    """What a classifier calls it by what was seen so far; empty: nothing yet."""
    probability: float = math.nan


@dataclass(frozen=True, slots=True)
class ZonePassage:
    """How an ended track passed a watched zone."""

    name: str
    closest_m: float
    """Distance from the zone at the closest approach; 0: it was inside."""
    closest_time_s: float
    """When it was that near first."""
    entered_time_s: float
    """When it was inside first; NaN: never."""
    inside_s: float
    """How long it was inside, all visits together."""


@dataclass(frozen=True, slots=True)
class TrackSummary:
    """A confirmed track that has ended."""

    id: int
    first_time_s: float
    last_time_s: float
    hits: int
    pings: int
    """Pings between first and last, seen or not."""
    mean_speed_m_s: float
    peak_speed_m_s: float
    path_m: float
    net_m: float
    """Distance from first to last position."""
    straightness: float
    """net / path, 0..1."""
    heading_rad: float
    """Of the net displacement, in sonar coordinates: 0 along +y, positive towards +x."""
    min_range_m: float
    max_range_m: float
    min_bearing_rad: float
    max_bearing_rad: float
    min_elevation_rad: float
    max_elevation_rad: float
    mean_length_m: float
    mean_width_m: float
    mean_area_m2: float
    strength_db: float
    calibrated: bool
    quality: float
    """0..1; how sure the tracker is that this was one thing and no noise: the share of pings in which it was seen,
    times how near the score stayed to its best (1) rather than to where tracks are given up (0), times
    hits / (hits + 5)."""
    channel: str = ""
    label: str = ""
    """What a classifier called it; empty: none did."""
    probability: float = math.nan
    positions: tuple[tuple[float, float, float, float], ...] = ()
    """(time_s, x_m, y_m, z_m) of each ping, smoothed; of a long track thinned, its ends kept."""
    min_z_m: float = math.nan
    """Height extremes in sonar coordinates; NaN where elevation is not measured."""
    max_z_m: float = math.nan
    net_sd_m: float = math.nan
    """Standard deviation of `net_m` from the track's own uncertainty at both ends, along the worst direction."""
    farthest_m: float = math.nan
    """Greatest distance from its first position."""
    mean_speed_through_water_m_s: float = math.nan
    """Mean speed relative to the configured current; NaN where none is."""
    drifting: bool | None = None
    """Whether its net motion through the water cannot be told from none; None: no current configured, or too short."""
    zones: tuple[ZonePassage, ...] = ()
    """Of each watched zone."""

    @property
    def duration_s(self) -> float:
        """Time from first to last seen."""
        return self.last_time_s - self.first_time_s


@dataclass(frozen=True, slots=True, eq=False)
class PingResult:
    """Everything that the pipeline found in one ping."""

    sonar_id: str
    frame_number: int
    ping_number: int
    time_s: float
    received_utc_s: float
    received_monotonic_s: float
    channel: str
    detections: np.ndarray
    """dtype DETECTION."""
    tracks: tuple[TrackState, ...]
    ended: tuple[TrackSummary, ...]
    notes: tuple[str, ...] = field(default=())
    """What happened to the pipeline in this ping, for the log: "geometry changed", "flooded", "clock stepped back"."""
    final: bool = False
    """True: not a ping, but the tracks that ended with the pipeline, under the stamps of its last ping."""
    pose: Pose | None = None
    """Where the sonar was and where it looked, as far as it is known."""

    @classmethod
    def of(cls, frame: Frame, **found: Any) -> PingResult:
        """Return the result of a ping, with the frame's stamps; `found` are the other fields."""
        return cls(
            sonar_id=frame.sonar_id,
            frame_number=frame.frame_number,
            ping_number=frame.ping_number,
            time_s=frame.time_s,
            received_utc_s=frame.received_utc_s,
            received_monotonic_s=frame.received_monotonic_s,
            channel=frame.channel,
            pose=frame.pose,
            **found,
        )


def to_xyz(range_m: float, bearing_rad: float, elevation_rad: float = 0.0) -> tuple[float, float, float]:
    """Return sonar coordinates of a point; see the module's docstring."""
    x, z = math.sin(bearing_rad), math.sin(elevation_rad)
    return range_m * x, range_m * math.sqrt(max(0.0, 1.0 - x * x - z * z)), range_m * z
