"""The newest position, heading and time that the vessel's instruments have told, each with its source and age."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..frame import Arrival, Frame, Pose
from ..settings import LocationSettings
from . import nmea

EARTH_EQUATOR_M, EARTH_FLATTENING = 6378137.0, 1 / 298.257223563
"""WGS 84."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Something that an instrument has told."""

    value: Any
    source: str
    arrival: Arrival


class Navigation:
    """What is known of the vessel; for the trio thread."""

    def __init__(self) -> None:
        self.sentences = 0
        self.not_understood = 0
        """Lines that are no sentence, or of a wrong checksum; sentences of other kinds do not count."""
        self._position: Reading | None = None
        self._heading: Reading | None = None
        self._clock: Reading | None = None

    def take(self, line: bytes, source: str, arrival: Arrival) -> None:
        """Take a line of an instrument."""
        if not nmea.is_sentence(line):
            self.not_understood += 1
            return
        self.sentences += 1
        position, heading, time_s = nmea.position_deg(line), nmea.heading_rad(line), nmea.time_utc_s(line)
        if position is not None:
            self._position = Reading(position, source, arrival)
        if heading is not None:
            self._heading = Reading(heading, source, arrival)
        if time_s is not None:
            self._clock = Reading(arrival.utc_s - time_s, source, arrival)

    def pose(self, location: LocationSettings, now_s: float, most_age_s: float) -> Pose | None:
        """Return where a sonar is and where its acoustic axis points, as far as it is known; None: not at all.

        Args:
          now_s: on the monotonic clock.
          most_age_s: older readings do not count.
        """
        if location.source == "fixed":
            axis_rad = math.radians(location.axis_deg)
            return Pose(location.latitude_deg, location.longitude_deg, heading_rad=axis_rad)
        if location.source != "navigation":
            return None
        values: dict[str, float] = {}
        if self._position is not None and now_s - self._position.arrival.monotonic_s <= most_age_s:
            values["latitude_deg"], values["longitude_deg"] = self._position.value
        if self._heading is not None and now_s - self._heading.arrival.monotonic_s <= most_age_s:
            values["heading_rad"] = (self._heading.value + math.radians(location.axis_deg)) % (2 * math.pi)
        return Pose(**values) if values else None

    def describe(self, now_s: float) -> dict[str, Any]:
        """Return what is known with source and age, JSON-able; `now_s` on the monotonic clock."""

        def told(reading: Reading | None, value: Any) -> dict[str, Any] | None:
            if reading is None:
                return None
            return {"value": value, "source": reading.source, "age_s": now_s - reading.arrival.monotonic_s}

        position, heading, clock = self._position, self._heading, self._clock
        return {
            "position_deg": told(position, list(position.value) if position else None),
            "heading_deg": told(heading, math.degrees(heading.value) if heading else None),
            "clock_offset_s": told(clock, clock.value if clock else None),
            "sentences": self.sentences,
            "not_understood": self.not_understood,
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
    return Pose(**values)


def locate(pose: Pose | None, x_m: float, y_m: float) -> tuple[float, float] | None:
    """Return (latitude, longitude) in degrees of a place in sonar coordinates; None where the pose is not known.

    x to the side of positive bearings, which is clockwise seen from above, y along the acoustic axis. On the ellipsoid
    WGS 84, flat around the sonar: over 1 km wrong by less than 0.1 m outside the polar regions.
    """
    if pose is None or not all(map(math.isfinite, (pose.latitude_deg, pose.longitude_deg, pose.heading_rad))):
        return None
    axis = pose.heading_rad
    north_m = y_m * math.cos(axis) - x_m * math.sin(axis)
    east_m = y_m * math.sin(axis) + x_m * math.cos(axis)
    latitude = math.radians(pose.latitude_deg)
    squared = EARTH_FLATTENING * (2 - EARTH_FLATTENING)
    bend = 1 - squared * math.sin(latitude) ** 2
    meridian_m = EARTH_EQUATOR_M * (1 - squared) / bend**1.5
    parallel_m = EARTH_EQUATOR_M / math.sqrt(bend) * max(math.cos(latitude), 1e-9)
    longitude_deg = pose.longitude_deg + math.degrees(east_m / parallel_m)
    return pose.latitude_deg + math.degrees(north_m / meridian_m), (longitude_deg + 180) % 360 - 180
