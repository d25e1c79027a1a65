"""Targets for plotters: each live track has a number from 0 to 99 while it lives, and its loss is told."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec
from msgspec import Meta

from nims_appliance.context import Context
from nims_appliance.delivery.lines import check_destinations
from nims_appliance.frame import Pose
from nims_appliance.navigation.fixes import level, locate
from nims_appliance.navigation.nmea import target_tll, target_ttm
from nims_appliance.outputs.lines import send_lines
from nims_appliance.pipeline.results import PingResult, TrackState
from nims_appliance.settings import Settings

TARGETS = 100


class NmeaSettings(Settings, frozen=True):
    """Live tracks as NMEA 0183 targets."""

    enabled: Annotated[bool, Meta(description="Whether anything is sent")] = False
    destinations: Annotated[
        list[str], Meta(description="Where to: udp://192.168.1.255:10110 (a broadcast address), tcp://host:port")
    ] = msgspec.field(default_factory=list)
    rate_hz: Annotated[float, Meta(gt=0, le=20, description="How often each target is told, at most")] = 1.0
    ttm: Annotated[bool, Meta(description="Send TTM: range and bearing from the sonar")] = True
    tll: Annotated[bool, Meta(description="Send TLL: position on the map, where the sonar's own is known")] = True
    name: Annotated[str, Meta(pattern="^[A-Za-z0-9 ]{0,10}$", description="What targets are called")] = "fish"

    def __post_init__(self) -> None:
        check_destinations(self.destinations)


class Targets:
    """Numbers of live tracks; a number is free again when its loss has been told."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, int], int] = {}
        self._last: dict[tuple[str, int], tuple[TrackState, Pose | None, float]] = {}
        self._next = 0

    def number(self, sonar: str, track: int) -> int | None:
        """Return the number of a track; None when all are taken."""
        key = (sonar, track)
        if key not in self._numbers:
            taken = set(self._numbers.values())
            # Not the lowest free one: a plotter should not take a new animal for the one that was just lost.
            free = next(
                (n % TARGETS for n in range(self._next, self._next + TARGETS) if n % TARGETS not in taken), None
            )
            if free is None:
                return None
            self._numbers[key], self._next = free, (free + 1) % TARGETS
        return self._numbers[key]

    def sentences(self, result: PingResult, settings: NmeaSettings, axis_deg: float) -> list[bytes]:
        """Return what a ping's tracks are to plotters, lost ones included.

        Args:
          axis_deg: where the acoustic axis points from the bow, for targets whose true bearing is not known.
        """
        told: list[bytes] = []
        for track in result.tracks:
            number = self.number(result.sonar_id, track.id)
            if number is not None:
                self._last[result.sonar_id, track.id] = track, result.pose, result.time_s
                told += _target(number, track, result.pose, result.time_s, settings, axis_deg, lost=False)
        alive = {(result.sonar_id, track.id) for track in result.tracks}
        for key in [key for key in self._numbers if key[0] == result.sonar_id and key not in alive]:
            track, pose, _ = self._last.pop(key)
            told += _target(self._numbers.pop(key), track, pose, result.time_s, settings, axis_deg, lost=True)
        return told


def _target(
    number: int,
    track: TrackState,
    pose: Pose | None,
    time_s: float,
    settings: NmeaSettings,
    axis_deg: float,
    lost: bool,
) -> list[bytes]:
    right_m, ahead_m = level(pose, *track.position_m)
    right_m_s, ahead_m_s = level(pose, *track.velocity_m_s)
    told = []
    true = pose is not None and math.isfinite(pose.heading_rad)
    axis = math.degrees(pose.heading_rad) if pose is not None and true else axis_deg
    if settings.ttm:
        told.append(
            target_ttm(
                number,
                distance_m=math.hypot(right_m, ahead_m),
                bearing_deg=axis + math.degrees(math.atan2(right_m, ahead_m)),
                speed_m_s=math.hypot(right_m_s, ahead_m_s),
                course_deg=axis + math.degrees(math.atan2(right_m_s, ahead_m_s)),
                name=settings.name,
                true=true,
                lost=lost,
                time_s=time_s,
            )
        )
    place = locate(pose, *track.position_m) if settings.tll else None
    if place is not None:
        told.append(
            target_tll(
                number, latitude_deg=place[0], longitude_deg=place[1], name=settings.name, lost=lost, time_s=time_s
            )
        )
    return told


async def publish(context: Context, settings: NmeaSettings) -> None:
    """Send until cancelled."""
    targets = Targets()

    def sentences(result: PingResult) -> list[bytes]:
        sonar = context.sonars.get(result.sonar_id)
        axis_deg = sonar.settings.location.axis_deg if sonar is not None else 0.0
        return [sentence.rstrip() for sentence in targets.sentences(result, settings, axis_deg)]

    await send_lines(context, "nmea", settings.destinations, settings.rate_hz, sentences)
