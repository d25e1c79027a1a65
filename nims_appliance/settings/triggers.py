"""Settings of the rules that act on what is seen."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from ..delivery.address import parse_action
from ..errors import ConfigError
from .base import Settings


class TriggerSettings(Settings, frozen=True):
    """A rule, and what is done when something meets it."""

    on: Annotated[
        str,
        Meta(
            pattern="^(track|track_ended|zone_entered|zone_left|alarm|alarm_ended|sonar_silent|sonar_back)$",
            description="What it waits for: a confirmed track, its end, its entering or leaving a watched zone, "
            "an alarm of a metric or its end, a sonar from which no ping comes, or one that is back",
        ),
    ]
    actions: Annotated[
        list[str],
        Meta(
            description="Where messages go: udp://host:port, tcp://host:port, http://..., command:NAME (a program in "
            "the data folder's commands), clip",
            examples=["udp://192.168.1.30:5000"],
        ),
    ] = msgspec.field(default_factory=list)
    enabled: Annotated[bool, Meta(description="Whether it is at work")] = True
    sonar: Annotated[str, Meta(description="Only of this sonar; empty: of any")] = ""
    zone: Annotated[str, Meta(description="zone_entered, zone_left: only this zone; empty: any")] = ""
    alarm: Annotated[str, Meta(description="alarm, alarm_ended: only this one; empty: any")] = ""
    label: Annotated[str, Meta(description="track_ended: only of this class; empty: of any")] = ""
    min_length_m: Annotated[float, Meta(ge=0, description="Only tracks at least so long, metres")] = 0.0
    min_speed_m_s: Annotated[float, Meta(ge=0, description="Only tracks at least so fast, metres a second")] = 0.0
    min_duration_s: Annotated[float, Meta(ge=0, description="Only tracks seen for at least so long, seconds")] = 0.0
    silent_s: Annotated[float, Meta(gt=0, description="sonar_silent: after so long without a ping, seconds")] = 10.0
    hold_off_s: Annotated[
        float, Meta(ge=0, description="Once it has acted, it does not act again for so long, seconds")
    ] = 0.0
    text: Annotated[
        str,
        Meta(description="The message, with values in braces: fish at {range_m:.1f} m; empty: everything as JSON"),
    ] = ""

    def __post_init__(self) -> None:
        for action in self.actions:
            try:
                parse_action(action)
            except ConfigError as error:
                raise ValueError(f"actions: {error}") from None
