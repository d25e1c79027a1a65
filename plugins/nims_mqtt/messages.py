"""Topics and messages of the MQTT publisher.

    nims/<site>/<sonar>/status                    "online" or "offline", retained; "offline" is the last will
    nims/<site>/<sonar>/tracks                    the tracks of a ping, QoS 0
    nims/<site>/<sonar>/events/track_started      QoS 1; also track_ended, zone_entered, zone_left, trigger
    nims/<site>/<sonar>/metrics                   echo metrics of a time bin, retained
    nims/<site>/<sonar>/health                    state of the sonar, retained

Every message but the status is a JSON object with `schema` and `time` (RFC 3339, UTC).
"""

from __future__ import annotations

import math
import time
from typing import Any

import msgspec

from nims_appliance.outputs.track_message import describe_result
from nims_appliance.outputs.track_summary import describe_summary
from nims_appliance.pipeline.metrics import MetricsBin
from nims_appliance.pipeline.results import PingResult, TrackSummary
from nims_appliance.times import iso_time
from nims_appliance.triggers.rules import Happening, describe_track

SCHEMA = 1
_encoder = msgspec.json.Encoder()  # writes null for numbers that are not finite


def topic(site: str, sonar: str, *levels: str) -> str:
    """Return the topic of a sonar's messages; names are lower case, without what topics reserve."""
    return "/".join(("nims", site, level(sonar), *levels))


def level(name: str) -> str:
    """Return a name as one level of a topic."""
    return "".join(character if character.isalnum() or character in "_-" else "_" for character in name.lower())


def encode(time_s: float, values: dict[str, Any]) -> bytes:
    """Return a message; `time_s` is what it tells of, UTC."""
    return _encoder.encode({"schema": SCHEMA, "time": iso_time(time_s), **values})


def tracks_message(result: PingResult) -> bytes:
    """Return the tracks of a ping, in the keys of the track server."""
    return encode(result.time_s, describe_result(result))


def metrics_message(done: MetricsBin) -> bytes:
    """Return the echo metrics of a time bin, whole column and layers."""
    values = msgspec.to_builtins({name: getattr(done, name) for name in _METRICS})
    layers = [{name: getattr(layer, name) for name in _METRICS} | {"layer": layer.part} for layer in done.by_layer]
    return encode(done.end_s, values | {"channel": done.channel, "start": iso_time(done.start_s), "by_layer": layers})


_METRICS = (
    "pings",
    "calibrated",
    "sv_db",
    "sa_db",
    "center_of_mass_m",
    "inertia_m2",
    "proportion_occupied",
    "equivalent_area_m",
    "aggregation_index_per_m",
    "layers",
)


def ended_message(sonar: str, track: TrackSummary) -> bytes:
    """Return the description of an ended track, without its positions."""
    values = {key: value for key, value in describe_summary(sonar, track).items() if key != "positions"}
    return encode(track.last_time_s, values)


def trigger_message(happening: Happening) -> bytes:
    """Return what a trigger was set off by."""
    told = happening.describe()
    moment_s = happening.time_s if math.isfinite(happening.time_s) else time.time()
    return encode(moment_s, {key: value for key, value in told.items() if key not in ("schema", "time")})


class Events:
    """Finds what begins and ends from one ping to the next."""

    def __init__(self) -> None:
        self._zones: dict[int, frozenset[str]] = {}

    def of(self, result: PingResult) -> list[tuple[str, bytes]]:
        """Return (kind, message) of everything that has begun or ended with this ping."""
        found: list[tuple[str, bytes]] = []
        now = {track.id: frozenset(track.zones) for track in result.tracks}
        for track in result.tracks:
            values = describe_track(track)
            if track.id not in self._zones:
                found.append(("track_started", encode(result.time_s, values)))
            before = self._zones.get(track.id, frozenset())
            for kind, zones in (("zone_entered", now[track.id] - before), ("zone_left", before - now[track.id])):
                found += [(kind, encode(result.time_s, {"zone": zone, **values})) for zone in sorted(zones)]
        found += [("track_ended", ended_message(result.sonar_id, track)) for track in result.ended]
        self._zones = now
        return found


def discovery(site: str, sonar: str, version: str) -> list[tuple[str, bytes]]:
    """Return (topic, message) that make Home Assistant show a sonar: its live tracks and its ping rate."""
    own = f"nims_{level(site)}_{level(sonar)}"
    device = {"identifiers": [own], "name": f"NIMS {sonar}", "manufacturer": "NIMS", "sw_version": version}
    sensors = {
        "tracks": ("Live tracks", "{{ value_json.live_tracks }}", None, "mdi:fish"),
        "rate": ("Ping rate", "{{ value_json.rate_hz | round(1) }}", "Hz", "mdi:pulse"),
    }
    messages = []
    for name, (title, template, unit, icon) in sensors.items():
        config = {
            "name": title,
            "unique_id": f"{own}_{name}",
            "state_topic": topic(site, sonar, "health"),
            "value_template": template,
            "unit_of_measurement": unit,
            "icon": icon,
            "availability_topic": topic(site, sonar, "status"),
            "device": device,
        }
        body = _encoder.encode({key: value for key, value in config.items() if value is not None})
        messages.append((f"homeassistant/sensor/{own}/{name}/config", body))
    return messages
