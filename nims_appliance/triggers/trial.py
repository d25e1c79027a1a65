"""Trial: what a trigger's message would be like, and why a trigger that is at work can never act."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import ConfigError
from ..pipeline.results import TrackState, TrackSummary
from ..settings import TriggerSettings
from .message import message
from .rules import Happening, describe_ended, describe_track

if TYPE_CHECKING:
    from ..context import Sonar

T = TypeVar("T")
_EMPTY: dict[str, Any] = {"str": "", "int": 0, "float": 0.0, "bool": False}


def example_values(rule: TriggerSettings) -> dict[str, Any]:
    """Return what there would be to tell, with every name that the real thing has."""
    match rule.on:
        case "alarm" | "alarm_ended":
            return {"alarm": rule.alarm, "channel": "", "value": 0.0, "text": ""}
        case "sonar_silent" | "sonar_back":
            return {"age_s": 0.0}
        case "track_ended":
            return describe_ended(_empty(TrackSummary))
        case "zone_entered" | "zone_left":
            return {"zone": rule.zone, **describe_track(_empty(TrackState))}
        case _:
            return describe_track(_empty(TrackState))


def _empty(kind: type[T]) -> T:
    values = {field.name: _EMPTY.get(str(field.type), ()) for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in ("position_m", "velocity_m_s"):
        if name in values:
            values[name] = (0.0, 0.0, 0.0)
    return kind(**values)


def hindrance(rule: TriggerSettings, sonars: Mapping[str, Sonar]) -> str:
    """Return why a rule can never act, in words that follow its name; "" where it can."""
    if not rule.enabled:
        return ""
    if not rule.actions:
        return "has no action"
    if rule.sonar and rule.sonar not in sonars:
        return f"waits for the sonar {rule.sonar!r}, which there is not"
    concerned = [sonar.settings for name, sonar in sonars.items() if rule.sonar in ("", name)]
    watched = {
        name for sonar in concerned for name, zone in sonar.zones.items() if zone.enabled and zone.kind == "watched"
    }
    if rule.on in ("zone_entered", "zone_left") and rule.zone and rule.zone not in watched:
        return f"waits for the watched zone {rule.zone!r}, which no sonar of it has"
    alarms = {name for sonar in concerned for name in sonar.metrics.alarms}
    if rule.on in ("alarm", "alarm_ended") and rule.alarm and rule.alarm not in alarms:
        return f"waits for the alarm {rule.alarm!r}, which no sonar of it has"
    return _text_error(rule.on, rule.text)


@lru_cache(maxsize=1000)
def _text_error(on: str, text: str) -> str:
    try:
        message(Happening("", on, "", math.nan, math.nan, values=example_values(TriggerSettings(on=on))), text)
    except ConfigError as error:
        return f"cannot say its text: {error}"
    return ""
