"""Triggers at work: what happens is held against the rules, and messages go out within the ping's own time."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import trio

from ..bus import all_within
from ..delivery.address import Action, parse_action, without_login
from ..delivery.deliveries import attempt, make_delivery
from ..delivery.outbox import Outbox
from ..delivery.senders import QueuedSender, UdpSender
from ..errors import ConfigError, NimsError
from ..health import Part, percentile_ms
from ..links.connection import now
from ..pipeline.results import PingResult
from ..settings import TriggerSettings
from .message import message
from .rules import Happening, Rules, Silence
from .trial import example_values, hindrance

if TYPE_CHECKING:
    from ..context import Context

log = logging.getLogger(__name__)

LOOK_INTERVAL_S = 0.5
_parsed = lru_cache(maxsize=1000)(parse_action)


class Triggers:
    """All triggers of the appliance."""

    def __init__(self, context: Context, part: Part) -> None:
        self._context = context
        self._part = part
        self._rules = Rules()
        self._silence = Silence()
        self._outbox = Outbox(context.data)
        self._senders: dict[str, UdpSender | QueuedSender] = {}
        self._nursery: trio.Nursery | None = None
        self._last_s: dict[str, float] = {}
        self._fired: dict[str, int] = {}
        self._fired_utc_s: dict[str, float] = {}
        self._latencies_s: deque[float] = deque(maxlen=1000)
        self.failures = 0
        """Pings whose rules could not be looked at."""
        part.statistics = self.statistics

    async def run(self) -> None:
        """Act on what happens, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery, self._senders = nursery, {}
                nursery.start_soon(self._watch_alarms)
                nursery.start_soon(self._watch_silence)
                nursery.start_soon(self._take_up_outbox)
                self._tell()
        finally:
            self._nursery = None

    async def test(self, name: str) -> list[dict[str, Any]]:
        """Do what a trigger does as if something had happened; its message says `"test": true`.

        What is not delivered is not tried again.

        Returns: of each action `action`, `ok` and what came of it, `told`, for people.

        Raises:
          NimsError: there is no such trigger, or triggers are not at work.
        """
        rule = self._context.config.current.triggers.get(name)
        if rule is None:
            raise NimsError(f"there is no trigger {name!r}")
        if self._nursery is None:
            raise NimsError("triggers are not at work now")
        values = {"test": True, **example_values(rule)}
        happening = Happening(name, rule.on, rule.sonar, now().utc_s, math.nan, 0, values)
        try:
            body = message(happening, rule.text)
        except ConfigError as error:
            return [{"action": text, "ok": False, "told": str(error)} for text in rule.actions]
        outcomes: list[dict[str, Any]] = [{} for _ in rule.actions]

        async def one(number: int, action: Action) -> None:
            error = await self._try(action, happening, body)
            told = error or ("handed to the network: nobody confirms it" if action.scheme == "udp" else "done")
            outcomes[number] = {"action": without_login(action), "ok": not error, "told": told}

        async with trio.open_nursery() as nursery:
            for number, text in enumerate(rule.actions):
                nursery.start_soon(one, number, _parsed(text))
        self._fired[name] = self._fired.get(name, 0) + 1
        self._fired_utc_s[name] = now().utc_s
        self._context.happenings.publish(happening)
        return outcomes

    async def _try(self, action: Action, happening: Happening, body: bytes) -> str:
        """Do an action once; return what went wrong, "" for nothing."""
        if action.scheme == "clip":
            sonars = [happening.sonar] if happening.sonar else list(self._context.sonars)
            kept = [sonar for sonar in sonars if self._context.clips.trigger(sonar, happening.rule)]
            return "" if kept else "no sonar that it is for has its clips switched on"
        if action.scheme == "udp":
            sender = self._sender(action)
            assert isinstance(sender, UdpSender)
            await sender.known.wait()
            return "" if sender.send(body) else sender.last_error
        delivery = make_delivery(action, self._context.data)
        try:
            return str(await attempt(delivery, action, body) or "")
        finally:
            with trio.move_on_after(1) as scope:
                scope.shield = True
                await delivery.close()

    def look(self, result: PingResult) -> None:
        """Act on what a ping has brought: at once, before anybody else is told, for a camera waits. Never raises."""
        rules = self._context.config.current.triggers
        if not rules or self._nursery is None:
            return
        try:
            self._fire(self._rules.of_result(result, rules))
        except Exception as error:
            self.failures += 1
            self._part.last_error = f"{type(error).__name__}: {error}"
            if self.failures == 1:
                log.exception("triggers: ping %d of %s", result.ping_number, result.sonar_id)

    async def _watch_alarms(self) -> None:
        with self._context.alarms.subscribe("triggers", all_within(256)) as events:
            async for event in events:
                self._fire(self._rules.of_alarm(event, self._context.config.current.triggers))

    async def _watch_silence(self) -> None:
        started_s = trio.current_time()
        while True:
            await trio.sleep(LOOK_INTERVAL_S)
            monotonic_s = now().monotonic_s
            ages_s = {
                name: monotonic_s - sonar.last_frame.received_monotonic_s
                if sonar.last_frame is not None
                else trio.current_time() - started_s
                for name, sonar in self._context.sonars.items()
                if sonar.settings.enabled
            }
            self._fire(self._silence.look(ages_s, self._context.config.current.triggers))
            self._tell()

    async def _take_up_outbox(self) -> None:
        """Go on delivering what an earlier run has left, also of triggers that are no more."""
        try:
            waiting = await trio.to_thread.run_sync(self._outbox.actions)
        except Exception as error:
            log.exception("triggers: the outbox cannot be read")
            self._part.last_error = f"outbox: {error}"
            return
        for text in waiting:
            self._sender(_parsed(text))

    def _fire(self, happenings: Iterable[Happening]) -> None:
        for happening in happenings:
            rule = self._context.config.current.triggers[happening.rule]
            moment_s = trio.current_time()
            if moment_s - self._last_s.get(happening.rule, -math.inf) < rule.hold_off_s:
                continue
            self._last_s[happening.rule] = moment_s
            self._send(rule, happening)

    def _send(self, rule: TriggerSettings, happening: Happening) -> None:
        name = happening.rule
        self._fired[name] = self._fired.get(name, 0) + 1
        self._fired_utc_s[name] = now().utc_s
        try:
            body = message(happening, rule.text)
            actions = [_parsed(text) for text in rule.actions]
        except ConfigError as error:
            self._part.last_error = f"{name}: {error}"
            return
        # What is sent at once first: a camera does not wait for a webhook's queue.
        for action in sorted(actions, key=lambda action: action.scheme != "udp"):
            if action.scheme == "clip":
                self._context.clips.trigger(happening.sonar, name)
                continue
            self._sender(action).send(body)
            if action.scheme == "udp" and math.isfinite(happening.received_monotonic_s):
                self._latencies_s.append(now().monotonic_s - happening.received_monotonic_s)
        self._context.happenings.publish(happening)

    def _sender(self, action: Action) -> UdpSender | QueuedSender:
        key = str(action)
        if key not in self._senders:
            assert self._nursery is not None
            self._senders[key] = sender = self._make_sender(action)
            self._nursery.start_soon(sender.run)
        return self._senders[key]

    def _make_sender(self, action: Action) -> UdpSender | QueuedSender:
        if action.scheme == "udp":
            return UdpSender(action)
        return QueuedSender(action, make_delivery(action, self._context.data), self._outbox)

    def _tell(self) -> None:
        errors = [sender.last_error for sender in self._senders.values() if sender.last_error]
        if errors:
            self._part.last_error = errors[0]
        rules = self._context.config.current.triggers
        in_vain = [
            f"trigger {name} {why}" for name, rule in rules.items() if (why := hindrance(rule, self._context.sonars))
        ]
        self._part.warning = "; ".join(in_vain)
        self._part.set("waiting" if errors else "running", errors[0] if errors else f"{len(rules)} triggers")

    def describe(self) -> list[dict[str, Any]]:
        """Return how every trigger stands, JSON-able; counts are those of the action, which triggers may share."""
        found = []
        for name, rule in self._context.config.current.triggers.items():
            actions: list[dict[str, Any]] = []
            for text in rule.actions:
                action = _parsed(text)
                sender = self._senders.get(str(action))
                actions.append(
                    {
                        "action": without_login(action),
                        "sent": sender.sent if sender else 0,
                        "failed": sender.failed if sender else 0,
                        "waiting": getattr(sender, "waiting", 0),
                        "lost": getattr(sender, "lost", 0),
                        "last_error": sender.last_error if sender else "",
                    }
                )
            found.append(
                {
                    "name": name,
                    "on": rule.on,
                    "enabled": rule.enabled,
                    "fired": self._fired.get(name, 0),
                    "fired_utc_s": self._fired_utc_s.get(name),
                    "actions": actions,
                }
            )
        return found

    def statistics(self) -> dict[str, Any]:
        """Return counters since the start, as JSON-able values."""
        senders = self._senders.items()
        return {
            "fired": dict(self._fired),
            "sent": {key: sender.sent for key, sender in senders},
            "failed": {key: sender.failed for key, sender in senders},
            "waiting": {key: sender.waiting for key, sender in senders if isinstance(sender, QueuedSender)},
            "lost": {key: sender.lost for key, sender in senders if isinstance(sender, QueuedSender)},
            "given_up": self._outbox.dropped,
            "failures": self.failures,
            "latency_p50_ms": percentile_ms(self._latencies_s, 0.5),
            "latency_p99_ms": percentile_ms(self._latencies_s, 0.99),
        }
