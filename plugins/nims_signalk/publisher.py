"""Signal K deltas: there is no standard path for a sonar's targets, so they are below `environment.sonar.<id>`.

environment.sonar.<id>.count                 live tracks
environment.sonar.<id>.tracks.<n>            {id, range, bearing, speed, course, length, position}, SI units and rad;
                                             null when the track has ended and its number is free
notifications.sonar.<id>.<zone>              alert while a track is in a watched zone, else normal
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from nims_appliance.context import Context
from nims_appliance.delivery.lines import check_destinations
from nims_appliance.navigation.fixes import locate
from nims_appliance.outputs.lines import send_lines
from nims_appliance.pipeline.results import PingResult
from nims_appliance.settings import Settings
from nims_appliance.times import iso_time

_encoder = msgspec.json.Encoder()


class SignalKSettings(Settings, frozen=True):
    """Live tracks as Signal K deltas."""

    enabled: Annotated[bool, Meta(description="Whether anything is sent")] = False
    destinations: Annotated[
        list[str], Meta(description="Where a Signal K server listens for deltas: udp://host:port, tcp://host:port")
    ] = msgspec.field(default_factory=list)
    rate_hz: Annotated[float, Meta(gt=0, le=20, description="Deltas a second for each sonar, at most")] = 1.0

    def __post_init__(self) -> None:
        check_destinations(self.destinations)


class Deltas:
    """Makes the deltas of one sonar."""

    def __init__(self, sonar: str) -> None:
        self._sonar = sonar
        self._name = "".join(character if character.isalnum() else "_" for character in sonar)
        self._slots: dict[int, int] = {}
        self._alerts: set[str] = set()

    def of(self, result: PingResult) -> dict[str, Any]:
        """Return the delta of a ping: all live tracks, those that have just ended, and changed notifications."""
        base = f"environment.sonar.{self._name}"
        values: list[dict[str, Any]] = [{"path": f"{base}.count", "value": len(result.tracks)}]
        alive = {track.id for track in result.tracks}
        for gone in [number for number in self._slots if number not in alive]:
            values.append({"path": f"{base}.tracks.{self._slots.pop(gone)}", "value": None})
        for track in result.tracks:
            if track.id not in self._slots:
                taken = set(self._slots.values())
                self._slots[track.id] = next(slot for slot in range(len(taken) + 1) if slot not in taken)
            x_m, y_m, _ = track.position_m
            vx_m_s, vy_m_s, _ = track.velocity_m_s
            place = locate(result.pose, x_m, y_m)
            value = {
                "id": track.id,
                "range": track.range_m,
                "bearing": track.bearing_rad,
                "speed": track.speed_m_s,
                "course": math.atan2(vx_m_s, vy_m_s),
                "length": track.length_m,
                "position": {"latitude": place[0], "longitude": place[1]} if place else None,
            }
            values.append({"path": f"{base}.tracks.{self._slots[track.id]}", "value": value})
        zones = {zone for track in result.tracks for zone in track.zones}
        for zone in sorted(zones ^ self._alerts):
            inside = zone in zones
            notification = {
                "state": "alert" if inside else "normal",
                "method": ["visual", "sound"] if inside else [],
                "message": f"{self._sonar}: {'an animal is in' if inside else 'nothing is in'} {zone}",
            }
            values.append({"path": f"notifications.sonar.{self._name}.{zone}", "value": notification})
        self._alerts = zones
        update = {"$source": f"nims.{self._name}", "timestamp": iso_time(result.received_utc_s), "values": values}
        return {"context": "vessels.self", "updates": [update]}


async def publish(context: Context, settings: SignalKSettings) -> None:
    """Send until cancelled."""
    deltas: dict[str, Deltas] = {}

    def lines(result: PingResult) -> list[bytes]:
        own = deltas.setdefault(result.sonar_id, Deltas(result.sonar_id))
        return [_encoder.encode(own.of(result))]

    await send_lines(context, "signalk", settings.destinations, settings.rate_hz, lines)
