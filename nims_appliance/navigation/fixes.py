"""The newest position, heading and time that the vessel's instruments have told, each with its source and age."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..frame import Arrival, Frame, Pose
from ..settings import LocationSettings
from . import nmea
from .trend import Trend

FRESH_S = 3.0
"""After so long without a word of the best instrument the others count."""
STRAIGHT_DOWN_RAD = math.radians(80.0)
EARTH_EQUATOR_M, EARTH_FLATTENING = 6378137.0, 1 / 298.257223563
"""WGS 84."""


@dataclass(slots=True)
class _Instrument:
    """What one source has told."""

    heard_s: float = -math.inf
    """When its last sentence came, on the monotonic clock; so are the others."""
    sentences: int = 0
    not_understood: int = 0
    position: Trend = field(default_factory=lambda: Trend(0.0, 360.0))
    position_s: float = -math.inf
    heading: Trend = field(default_factory=lambda: Trend(math.tau))
    heading_s: float = -math.inf
    clock_offset_s: float = math.nan
    clock_s: float = -math.inf


class Navigation:
    """What is known of the vessel; for the trio thread.

    Of several instruments that tell the same the first one in the settings counts, until it has been silent for
    `FRESH_S`: two antennas are metres apart.
    """

    def __init__(self) -> None:
        self._instruments: dict[str, _Instrument] = {}

    def expect(self, sources: Iterable[str]) -> None:
        """Say which instruments there are, the best first; what others have told is forgotten."""
        self._instruments = {source: self._instruments.get(source, _Instrument()) for source in sources}

    def take(self, line: bytes, source: str, arrival: Arrival) -> None:
        """Take a line of an instrument."""
        heard = self._instruments.setdefault(source, _Instrument())
        if not nmea.is_sentence(line):
            heard.not_understood += 1
            return
        heard.sentences += 1
        heard.heard_s = arrival_s = arrival.monotonic_s
        position, heading, time_s = nmea.position_deg(line), nmea.heading_rad(line), nmea.time_utc_s(line)
        if position is not None:
            clock_s = nmea.time_of_day_s(line)
            heard.position.tell(position, arrival_s if clock_s is None else clock_s, arrival_s)
            heard.position_s = arrival_s
        if heading is not None:
            heard.heading.tell((heading,), arrival_s, arrival_s)
            heard.heading_s = arrival_s
        if time_s is not None:
            heard.clock_offset_s, heard.clock_s = arrival.utc_s - time_s, arrival_s

    def not_understood(self, source: str) -> None:
        """Count what is no line at all."""
        self._instruments.setdefault(source, _Instrument()).not_understood += 1

    def _best(self, quantity: str, now_s: float) -> tuple[str, _Instrument] | None:
        """Return the instrument to believe; `quantity` as the fields of _Instrument are named."""
        told = [(getattr(heard, f"{quantity}_s"), source) for source, heard in self._instruments.items()]
        fresh = [source for told_s, source in told if now_s - told_s <= FRESH_S]
        newest_s, newest = max(told, default=(-math.inf, ""), key=lambda item: item[0])
        source = fresh[0] if fresh else newest
        return (source, self._instruments[source]) if newest_s > -math.inf else None

    def pose(self, location: LocationSettings, now_s: float, most_age_s: float) -> Pose | None:
        """Return where a sonar is and where its acoustic axis points, as far as it is known; None: not at all.

        Args:
          now_s: on the monotonic clock.
          most_age_s: older readings do not count.
        """
        tilt_rad = math.radians(location.tilt_deg)
        if location.source == "fixed":
            axis_rad = math.radians(location.axis_deg)
            return Pose(location.latitude_deg, location.longitude_deg, heading_rad=axis_rad, tilt_rad=tilt_rad)
        if location.source != "navigation":
            return None
        values: dict[str, float] = {}
        best = self._best("position", now_s)
        if best is not None and now_s - best[1].position_s <= most_age_s:
            latitude_deg, longitude_deg = best[1].position.at(now_s)
            values = {"latitude_deg": latitude_deg, "longitude_deg": (longitude_deg + 180.0) % 360.0 - 180.0}
        best = self._best("heading", now_s)
        if best is not None and now_s - best[1].heading_s <= most_age_s:
            (heading,) = best[1].heading.at(now_s)
            values["heading_rad"] = (heading + math.radians(location.axis_deg)) % math.tau
        return Pose(**values, tilt_rad=tilt_rad) if values or tilt_rad else None

    def describe(self, now_s: float) -> dict[str, Any]:
        """Return what is known with source and age, JSON-able; `now_s` on the monotonic clock."""

        def told(quantity: str, value_of: Callable[[_Instrument], Any]) -> dict[str, Any] | None:
            best = self._best(quantity, now_s)
            if best is None:
                return None
            source, heard = best
            return {"value": value_of(heard), "source": source, "age_s": now_s - getattr(heard, f"{quantity}_s")}

        instruments = self._instruments.items()
        return {
            "position_deg": told("position", lambda heard: list(heard.position.last)),
            "heading_deg": told("heading", lambda heard: math.degrees(heard.heading.last[0])),
            "clock_offset_s": told("clock", lambda heard: heard.clock_offset_s),
            "sentences": sum(heard.sentences for _, heard in instruments),
            "not_understood": sum(heard.not_understood for _, heard in instruments),
            "instruments": {
                source: {
                    "age_s": now_s - heard.heard_s if heard.sentences else None,
                    "sentences": heard.sentences,
                    "not_understood": heard.not_understood,
                }
                for source, heard in instruments
            },
        }


def completed(frame: Frame, pose: Pose | None) -> Pose | None:
    """Return the pose of a ping: what the sonar tells, completed by what is known of the vessel."""
    own = frame.pose
    if pose is None or own is None:
        return own if pose is None else pose
    names = Pose.__slots__
    values = {name: getattr(own, name) for name in names}
    # position and heading belong together: the sonar's own pair is not mixed with the vessel's
    if math.isnan(own.latitude_deg):
        values |= {name: getattr(pose, name) for name in ("latitude_deg", "longitude_deg")}
    if math.isnan(own.heading_rad):
        values["heading_rad"] = pose.heading_rad
    return Pose(**values | {"tilt_rad": pose.tilt_rad})


def level(pose: Pose | None, x_m: float, y_m: float, z_m: float) -> tuple[float, float]:
    """Return how far a place in sonar coordinates, or a velocity, is (to the right of the axis, ahead) on the level.

    x to the side of positive bearings, which is clockwise seen from above, y along the acoustic axis, z up from it, or
    forward where the axis points down.
    """
    tilt = pose.tilt_rad if pose is not None else 0.0
    return x_m, y_m * math.cos(tilt) + z_m * math.sin(tilt)


def locate(pose: Pose | None, x_m: float, y_m: float, z_m: float = 0.0) -> tuple[float, float] | None:
    """Return (latitude, longitude) in degrees of a place in sonar coordinates, see `level`; None: it is not known.

    On the ellipsoid WGS 84, flat around the sonar: over 1 km wrong by less than 0.1 m outside the polar regions. What
    is below a sonar that looks straight down is where the sonar is, if nothing is known of its heading.
    """
    if pose is None or not (math.isfinite(pose.latitude_deg) and math.isfinite(pose.longitude_deg)):
        return None
    right_m, ahead_m, axis = *level(pose, x_m, y_m, z_m), pose.heading_rad
    if math.isnan(axis):
        if pose.tilt_rad < STRAIGHT_DOWN_RAD:
            return None
        right_m = ahead_m = axis = 0.0
    north_m = ahead_m * math.cos(axis) - right_m * math.sin(axis)
    east_m = ahead_m * math.sin(axis) + right_m * math.cos(axis)
    latitude = math.radians(pose.latitude_deg)
    squared = EARTH_FLATTENING * (2 - EARTH_FLATTENING)
    bend = 1 - squared * math.sin(latitude) ** 2
    meridian_m = EARTH_EQUATOR_M * (1 - squared) / bend**1.5
    parallel_m = EARTH_EQUATOR_M / math.sqrt(bend) * max(math.cos(latitude), 1e-9)
    longitude_deg = pose.longitude_deg + math.degrees(east_m / parallel_m)
    return pose.latitude_deg + math.degrees(north_m / meridian_m), (longitude_deg + 180) % 360 - 180
