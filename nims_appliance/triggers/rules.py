"""Rules: which of the things that happen a trigger acts on.

A track that must be long or fast, or old enough, meets the rule at the first ping at which it is; each track does once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..alarms import AlarmEvent
from ..pipeline.results import PingResult, TrackState, TrackSummary
from ..settings import TriggerSettings
from ..times import iso_time

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that a rule was waiting for."""

    rule: str
    kind: str
    """As `TriggerSettings.on` names it."""
    sonar: str
    time_s: float
    """On the sonar's clock; NaN where no ping is meant."""
    received_monotonic_s: float
    """When the ping arrived that brought it; NaN where none did."""
    ping: int | None = None
    """The sonar's number of that ping; None where no ping is meant."""
    values: dict[str, Any] = field(default_factory=dict)
    """What else there is to tell, JSON-able but for numbers that are not finite."""

    def describe(self) -> dict[str, Any]:
        """Return it as it is sent."""
        return {
            "schema": SCHEMA,
            "rule": self.rule,
            "event": self.kind,
            "sonar": self.sonar,
            "time": iso_time(self.time_s) if math.isfinite(self.time_s) else None,
            "ping": self.ping,
            **self.values,
        }


def describe_track(track: TrackState) -> dict[str, Any]:
    """Return a live track in flat values; angles in degrees, everything else in SI units."""
    x_m, y_m, z_m = track.position_m
    return {
        "track": track.id,
        "state": track.state,
        "range_m": track.range_m,
        "bearing_deg": math.degrees(track.bearing_rad),
        "elevation_deg": math.degrees(track.elevation_rad),
        "x_m": x_m,
        "y_m": y_m,
        "z_m": z_m,
        "speed_m_s": track.speed_m_s,
        "length_m": track.length_m,
        "strength_db": track.strength_db,
        "calibrated": track.calibrated,
        "first_time": iso_time(track.first_time_s),
        "zones": list(track.zones),
    }


def describe_ended(track: TrackSummary) -> dict[str, Any]:
    """Return an ended track in flat values."""
    return {
        "track": track.id,
        "class": track.label or None,
        "probability": track.probability,
        "duration_s": track.duration_s,
        "mean_speed_m_s": track.mean_speed_m_s,
        "net_m": track.net_m,
        "length_m": track.mean_length_m,
        "strength_db": track.strength_db,
        "calibrated": track.calibrated,
        "quality": track.quality,
        "drifting": track.drifting,
        "first_time": iso_time(track.first_time_s),
        "zones": [zone.name for zone in track.zones if math.isfinite(zone.entered_time_s)],
    }


class Rules:
    """Holds what happens against the rules; remembers for which tracks each rule has been met."""

    def __init__(self) -> None:
        self._met: dict[tuple[str, str], set[int]] = {}
        """By rule and sonar: tracks that have met the rule."""
        self._zones: dict[str, dict[int, frozenset[str]]] = {}
        """By sonar: in which zones each live track was at the last ping."""

    def of_result(self, result: PingResult, rules: Mapping[str, TriggerSettings]) -> Iterator[Happening]:
        """Return what the tracks of a ping set off."""
        before = self._zones.get(result.sonar_id, {})
        now = {track.id: frozenset(track.zones) for track in result.tracks}
        for track in result.tracks:
            came_from, is_in = before.get(track.id, frozenset()), now[track.id]
            for name, rule in rules.items():
                if not _concerns(rule, result.sonar_id):
                    continue
                if rule.on == "track":
                    met = self._met.setdefault((name, result.sonar_id), set())
                    if track.id not in met and _is_enough(rule, track, result.time_s):
                        met.add(track.id)
                        yield _happening(name, rule, result, describe_track(track))
                elif rule.on in ("zone_entered", "zone_left"):
                    gone_in, gone_out = is_in - came_from, came_from - is_in
                    for zone in sorted(gone_in if rule.on == "zone_entered" else gone_out):
                        if rule.zone in ("", zone) and _is_enough(rule, track, result.time_s):
                            yield _happening(name, rule, result, {"zone": zone, **describe_track(track)})
        for ended in result.ended:
            for name, rule in rules.items():
                if rule.on == "track_ended" and _concerns(rule, result.sonar_id) and _was_enough(rule, ended):
                    yield _happening(name, rule, result, describe_ended(ended))
        self._zones[result.sonar_id] = now
        for (_, sonar), met in self._met.items():
            if sonar == result.sonar_id:
                met &= now.keys()

    def of_alarm(self, event: AlarmEvent, rules: Mapping[str, TriggerSettings]) -> Iterator[Happening]:
        """Return what an alarm sets off."""
        alarm = event.alarm
        for name, rule in rules.items():
            wanted = {"alarm": "raised", "alarm_ended": "ended"}.get(rule.on)
            if wanted == event.kind and _concerns(rule, alarm.sonar) and rule.alarm in ("", alarm.name):
                values = {"alarm": alarm.name, "channel": alarm.channel, "value": alarm.value, "text": event.text}
                yield Happening(name, rule.on, alarm.sonar, alarm.time_s, math.nan, values=values)


class Silence:
    """Notices sonars from which no ping comes any more, and those that are back; once each."""

    def __init__(self) -> None:
        self._silent: set[tuple[str, str]] = set()

    def look(self, ages_s: Mapping[str, float], rules: Mapping[str, TriggerSettings]) -> Iterator[Happening]:
        """Return what the ages of the sonars' last pings set off; a sonar without a ping counts since its start."""
        for name, rule in rules.items():
            if rule.on not in ("sonar_silent", "sonar_back"):
                continue
            for sonar, age_s in ages_s.items():
                if not _concerns(rule, sonar):
                    continue
                is_silent, key = age_s > rule.silent_s, (name, sonar)
                if is_silent == (key in self._silent):
                    continue
                self._silent ^= {key}
                if is_silent == (rule.on == "sonar_silent"):
                    yield Happening(name, rule.on, sonar, math.nan, math.nan, values={"age_s": age_s})
        self._silent = {key for key in self._silent if key[0] in rules and key[1] in ages_s}


def _concerns(rule: TriggerSettings, sonar: str) -> bool:
    return rule.enabled and rule.sonar in ("", sonar)


def _is_enough(rule: TriggerSettings, track: TrackState, time_s: float) -> bool:
    return (
        track.length_m >= rule.min_length_m
        and track.speed_m_s >= rule.min_speed_m_s
        and time_s - track.first_time_s >= rule.min_duration_s
    )


def _was_enough(rule: TriggerSettings, track: TrackSummary) -> bool:
    return (
        track.mean_length_m >= rule.min_length_m
        and track.mean_speed_m_s >= rule.min_speed_m_s
        and track.duration_s >= rule.min_duration_s
        and rule.label in ("", track.label)
    )


def _happening(name: str, rule: TriggerSettings, result: PingResult, values: dict[str, Any]) -> Happening:
    received_s, number = result.received_monotonic_s, result.ping_number
    return Happening(name, rule.on, result.sonar_id, result.time_s, received_s, number, values)
