"""Signal K deltas: there is no standard path for a sonar's targets, so they are below `environment.sonar.<id>`.

environment.sonar.<id>.count                 live tracks
environment.sonar.<id>.tracks.<n>            {id, range, bearing, speed, course, length, position}, SI units and rad,
                                             angles from the acoustic axis; null when the track has ended
notifications.sonar.<id>.<zone>              alert while a track is in a watched zone, else normal
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from nims_appliance.context import Context
from nims_appliance.delivery.lines import check_destinations
from nims_appliance.navigation.fixes import level, locate
from nims_appliance.outputs.lines import send_lines
from nims_appliance.pipeline.results import PingResult
from nims_appliance.settings import Settings
from nims_appliance.times import iso_time

TOLD_AGAIN = 2
"""So many times more it is told that something is over: a datagram that was lost would leave it for ever."""
LINE_BYTES = 1250
"""Of the values of a line: with its head it fits into a packet of the network."""
_encoder = msgspec.json.Encoder()


class SignalKSettings(Settings, frozen=True):
    """Live tracks as Signal K deltas."""

    enabled: Annotated[bool, Meta(description="Whether anything is sent")] = False
    destinations: Annotated[
        list[str], Meta(description="Where a Signal K server listens for deltas: udp://host:port of a data connection")
    ] = msgspec.field(default_factory=list)
    rate_hz: Annotated[float, Meta(gt=0, le=20, description="Deltas a second for each sonar, at most")] = 1.0

    def __post_init__(self) -> None:
        check_destinations(self.destinations)


class Deltas:
    """Makes the deltas of one sonar."""

    def __init__(self, sonar: str) -> None:
        self._sonar = sonar
        self._slots: dict[int, int] = {}
        self._alerts: set[str] = set()
        self._over: dict[str, tuple[Any, int]] = {}
        """By path: the value of what is over, and how many times more it is told."""

    def of(self, result: PingResult) -> list[bytes]:
        """Return the deltas of a ping, each short enough for a datagram, as JSON without line ends.

        They tell all live tracks, those that have ended, and notifications that have changed.
        """
        self._over = {path: (value, times - 1) for path, (value, times) in self._over.items() if times}
        told = {f"environment.sonar.{self._sonar}.count": len(result.tracks)}
        told |= self._tracks(result) | self._notifications({zone for track in result.tracks for zone in track.zones})
        told |= {path: value for path, (value, _) in self._over.items()}
        values = [_encoder.encode({"path": path, "value": value}) for path, value in told.items()]
        head = b'{"context":"vessels.self","updates":[%b' % _encoder.encode(
            {"$source": f"nims.{self._sonar}", "timestamp": iso_time(result.received_utc_s)}
        )
        return [head[:-1] + b',"values":[%b]}]}' % b",".join(some) for some in _shared_out(values)]

    def _tracks(self, result: PingResult) -> dict[str, Any]:
        base = f"environment.sonar.{self._sonar}.tracks"
        told: dict[str, Any] = {}
        alive = {track.id for track in result.tracks}
        for gone in [number for number in self._slots if number not in alive]:
            self._over[f"{base}.{self._slots.pop(gone)}"] = None, TOLD_AGAIN
        for track in result.tracks:
            if track.id not in self._slots:
                taken = set(self._slots.values())
                self._slots[track.id] = next(slot for slot in range(len(taken) + 1) if slot not in taken)
            path = f"{base}.{self._slots[track.id]}"
            self._over.pop(path, None)
            right_m_s, ahead_m_s = level(result.pose, *track.velocity_m_s)
            place = locate(result.pose, *track.position_m)
            told[path] = {
                "id": str(track.id),  # JavaScript has no 64-bit numbers
                "range": track.range_m,
                "bearing": track.bearing_rad,
                "speed": track.speed_m_s,
                "course": math.atan2(right_m_s, ahead_m_s),
                "length": track.length_m,
                "position": {"latitude": place[0], "longitude": place[1]} if place else None,
            }
        return told

    def _notifications(self, zones: set[str]) -> dict[str, Any]:
        told: dict[str, Any] = {}
        for zone in sorted(zones - self._alerts):
            value = {"state": "alert", "method": ["visual", "sound"]}
            told[self._zone_path(zone)] = value | {"message": f"{self._sonar}: an animal is in {zone}"}
            self._over.pop(self._zone_path(zone), None)
        for zone in sorted(self._alerts - zones):
            over = {"state": "normal", "method": [], "message": f"{self._sonar}: nothing is in {zone}"}
            self._over[self._zone_path(zone)] = over, TOLD_AGAIN
        self._alerts = zones
        return told

    def _zone_path(self, zone: str) -> str:
        return f"notifications.sonar.{self._sonar}.{zone}"


def _shared_out(values: list[bytes]) -> list[list[bytes]]:
    lines: list[list[bytes]] = [[]]
    room = LINE_BYTES
    for value in values:
        if lines[-1] and len(value) + 1 > room:
            lines.append([])
            room = LINE_BYTES
        lines[-1].append(value)
        room -= len(value) + 1
    return lines


async def publish(context: Context, settings: SignalKSettings) -> None:
    """Send until cancelled."""
    deltas: dict[str, Deltas] = {}

    def lines(result: PingResult) -> list[bytes]:
        own = deltas.setdefault(result.sonar_id, Deltas(result.sonar_id))
        return own.of(result)

    await send_lines(context, "signalk", settings.destinations, settings.rate_hz, lines)
