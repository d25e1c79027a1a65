"""Alarms: metrics that have left their bounds, as the settings of each sonar give them.

An alarm goes by the sonar's clock: it is raised once its metric has been out of bounds for `for_s`, and ends when the
metric is back behind the limit by `hysteresis`. A bin in which the metric cannot be measured changes nothing; a sonar
that brings no bins leaves its alarms as they were, marked as silent.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from .bus import all_within
from .errors import NimsError
from .settings import AlarmSettings, split_unit

if TYPE_CHECKING:
    from .context import Context
    from .pipeline.metrics import MetricsBin

LOOK_INTERVAL_S = 1.0
SILENT_BINS = 3.0
"""A sonar is silent when nothing came for so many bins of time ..."""
SILENT_S = 10.0
"""... and at least for so long."""
MOST_CHANNELS = 64
"""Alarms of one name that are told apart by channel."""

Key = tuple[str, str, str]
"""Sonar, name of the alarm, channel."""


@dataclass(slots=True)
class Alarm:
    """How one alarm of one channel stands."""

    sonar: str
    name: str
    channel: str
    settings: AlarmSettings
    raised: bool = False
    out_since_s: float = math.nan
    """Since when the metric is out of its bounds, on the sonar's clock; NaN: it is not."""
    raised_at_s: float = math.nan
    """When it was raised, on the sonar's clock."""
    raised_utc_s: float = math.nan
    """The same on the appliance's."""
    value: float = math.nan
    """Of the newest bin; NaN: could not be measured."""
    time_s: float = math.nan
    """End of the newest bin, on the sonar's clock."""
    heard_s: float = math.nan
    """When it came, by the clock of trio."""
    silent: bool = False
    acknowledged_by: str = ""
    acknowledged_utc_s: float = math.nan

    @property
    def id(self) -> str:
        """Name it among all others."""
        return "/".join(filter(None, (self.sonar, self.name, self.channel)))

    @property
    def condition(self) -> str:
        """Return the bound in words, "Sv above -40 dB for 30 s"."""
        settings = self.settings
        stem, unit = split_unit(settings.metric)
        layer = f" of layer {settings.layer}" if settings.layer else ""
        lasting = f" for {settings.for_s:g} s" if settings.for_s else ""
        return f"{stem.replace('_', ' ')}{layer} {settings.when} {settings.value:g} {unit}".rstrip() + lasting

    def take(self, end_s: float, value: float) -> bool:
        """Take the metric of a bin; return whether the alarm was raised or has ended by it.

        `value` is NaN where it could not be measured, minus infinity where there was nothing in the water.
        """
        stepped_back = end_s < self.time_s
        self.time_s, self.value = end_s, value
        settings = self.settings
        if math.isnan(value):
            if not self.raised:
                self.out_since_s = math.nan
            return False
        sign = 1.0 if settings.when == "above" else -1.0
        beyond = sign * (value - settings.value)
        if self.raised:
            if beyond <= -settings.hysteresis:
                self.raised = False
                self.out_since_s = math.nan
                return True
            return False
        if beyond <= 0.0:
            self.out_since_s = math.nan
            return False
        if math.isnan(self.out_since_s) or stepped_back:
            self.out_since_s = end_s
        if end_s - self.out_since_s < settings.for_s:
            return False
        self.raised, self.raised_at_s = True, end_s
        self.raised_utc_s = time.time()
        self.acknowledged_by, self.acknowledged_utc_s = "", math.nan
        return True

    def describe(self) -> dict[str, Any]:
        """Return it as pages get it; numbers that are not finite are None."""
        settings = self.settings
        channel = f" ({self.channel})" if self.channel else ""
        values = {
            "id": self.id,
            "sonar": self.sonar,
            "name": self.name,
            "channel": self.channel,
            "metric": settings.metric,
            "layer": settings.layer,
            "when": settings.when,
            "limit": settings.value,
            "for_s": settings.for_s,
            "hysteresis": settings.hysteresis,
            "condition": self.condition,
            "text": f"{self.sonar}{channel}: alarm {self.name}: {self.condition}",
            "state": "raised" if self.raised else "pending" if math.isfinite(self.out_since_s) else "ok",
            "silent": self.silent,
            "value": self.value,
            "time_s": self.time_s,
            "out_since_s": self.out_since_s,
            "raised_at_s": self.raised_at_s if self.raised else None,
            "raised_utc_s": self.raised_utc_s if self.raised else None,
            "acknowledged_by": self.acknowledged_by,
            "acknowledged_utc_s": self.acknowledged_utc_s,
        }
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in values.items()
        }


@dataclass(frozen=True, slots=True)
class AlarmEvent:
    """An alarm has just been raised, has ended, or was acknowledged."""

    kind: str
    """"raised", "ended" or "acknowledged"."""
    alarm: Alarm
    """As it stood then; a copy."""
    text: str
    """What happened, for people."""
    author: str = ""
    """Who acknowledged it, or changed its settings."""


class AlarmBoard:
    """How every alarm stands; for the trio thread."""

    def __init__(self) -> None:
        self._alarms: dict[Key, Alarm] = {}

    def __iter__(self) -> Iterator[Alarm]:
        return iter(self._alarms.values())

    def describe(self, wanted: dict[str, dict[str, AlarmSettings]] | None = None) -> list[dict[str, Any]]:
        """Return all alarms as pages get them, raised ones first.

        `wanted` has settings by sonar and name: those of which nothing was heard yet are told too, as silent ones.
        """
        heard = {key[:2] for key in self._alarms}
        unheard = [
            Alarm(sonar, name, settings.channel, settings, silent=True)
            for sonar, alarms in (wanted or {}).items()
            for name, settings in alarms.items()
            if (sonar, name) not in heard
        ]
        return sorted(
            (alarm.describe() for alarm in (*self, *unheard)),
            key=lambda alarm: (("raised", "pending", "ok").index(alarm["state"]), alarm["id"]),
        )

    def take(self, done: MetricsBin, alarms: dict[str, AlarmSettings]) -> list[AlarmEvent]:
        """Hold a bin against the alarms of its sonar; return what follows."""
        events = []
        for name, settings in alarms.items():
            if settings.channel not in done.channel:
                continue
            found = next((part for part in (done, *done.by_layer) if part.part == settings.layer), None)
            if found is None:
                continue
            key = (done.sonar_id, name, done.channel)
            alarm = self._alarms.get(key)
            if alarm is None:
                if sum(known[:2] == key[:2] for known in self._alarms) >= MOST_CHANNELS:
                    continue
                alarm = self._alarms[key] = Alarm(*key, settings)
            alarm.heard_s, alarm.silent = trio.current_time(), False
            if alarm.take(done.end_s, _value(found, settings.metric)):
                events.append(_event("raised" if alarm.raised else "ended", alarm))
        return events

    def update(self, wanted: dict[str, dict[str, AlarmSettings]], author: str) -> list[AlarmEvent]:
        """Follow changed settings, by sonar and name: an alarm with other bounds starts anew; return what ends."""
        events = []
        for key, alarm in list(self._alarms.items()):
            settings = wanted.get(key[0], {}).get(key[1])
            if settings != alarm.settings:
                del self._alarms[key]
                if alarm.raised:
                    alarm.raised = False
                    events.append(_event("ended", alarm, author, "its settings were changed"))
        return events

    def look_for_silence(self, bin_s: dict[str, float]) -> None:
        """Mark the alarms of sonars from which no bin came; `bin_s` has the length of a bin by sonar."""
        now_s = trio.current_time()
        for alarm in self:
            limit_s = max(SILENT_S, SILENT_BINS * bin_s.get(alarm.sonar, 0.0))
            alarm.silent = now_s - alarm.heard_s > limit_s

    def acknowledge(self, number: str, author: str) -> AlarmEvent:
        """Note that somebody has seen a raised alarm.

        Raises:
          NimsError: there is none of that id, or it is not raised.
        """
        alarm = next((alarm for alarm in self if alarm.id == number), None)
        if alarm is None or not alarm.raised:
            raise NimsError(f"alarm {number!r} is not raised")
        alarm.acknowledged_by, alarm.acknowledged_utc_s = author, time.time()
        return _event("acknowledged", alarm, author)


def _event(kind: str, alarm: Alarm, author: str = "", reason: str = "") -> AlarmEvent:
    _, unit = split_unit(alarm.settings.metric)
    channel = f" ({alarm.channel})" if alarm.channel else ""
    if not reason:
        reason = "nothing in the water" if math.isinf(alarm.value) else f"{alarm.value:.4g} {unit}".rstrip()
    return AlarmEvent(kind, dataclasses.replace(alarm), f"{alarm.name}{channel}: {alarm.condition}: {reason}", author)


def _value(done: MetricsBin, metric: str) -> float:
    value = float(getattr(done, metric))
    if math.isnan(value) and metric in ("sv_db", "sa_db") and done.proportion_occupied == 0.0:
        return -math.inf  # measured, and nothing there
    return value


async def watch_alarms(context: Context) -> None:
    """Hold the metrics of all sonars against their alarms; publishes on `context.alarms`, until cancelled."""
    board, part = context.alarm_board, context.health.part("alarms")

    def statistics() -> dict[str, Any]:
        raised = [alarm for alarm in board if alarm.raised]
        return {
            "watched": sum(1 for _ in board),
            "raised": len(raised),
            "unacknowledged": sum(not alarm.acknowledged_by for alarm in raised),
            "silent": sum(alarm.silent for alarm in board),
        }

    def tell(events: list[AlarmEvent]) -> None:
        for event in events:
            context.alarms.publish(event)
        counted = statistics()
        part.set("running", f"{counted['raised']} of {counted['watched']} raised")

    async def take_bins() -> None:
        with context.metrics.subscribe("alarms", all_within(1000)) as bins:
            async for done in bins:
                sonar = context.config.current.sonars.get(done.sonar_id)
                if sonar is not None:
                    tell(board.take(done, sonar.metrics.alarms))

    async def follow_settings() -> None:
        with context.config.changes.subscribe("alarms", all_within(64)) as changes:
            async for change in changes:
                wanted = {name: sonar.metrics.alarms for name, sonar in change.after.sonars.items()}
                tell(board.update(wanted, change.author))

    async def look() -> None:
        while True:
            await trio.sleep(LOOK_INTERVAL_S)
            board.look_for_silence({name: s.metrics.time_bin_s for name, s in context.config.current.sonars.items()})

    part.statistics = statistics
    tell([])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_bins)
        nursery.start_soon(follow_settings)
        nursery.start_soon(look)
