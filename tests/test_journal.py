"""The journal keeps starts, changed settings, alarms, and parts that fail and recover."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from nims_appliance.alarms import Alarm, AlarmEvent
from nims_appliance.config.store import ConfigStore
from nims_appliance.context import Context
from nims_appliance.journal import FAILED_INTERVAL_S, keep_journal
from nims_appliance.plugin_host.host import PluginHost
from nims_appliance.settings import AlarmSettings


class Kept:
    """Stands for the archive."""

    def __init__(self) -> None:
        self.events: list[tuple] = []

    def event(self, part: str, kind: str, text: str, *, author: str = "", ping_time_s: float = 0.0) -> None:
        self.events.append((part, kind, text, author, ping_time_s))

    def take(self) -> list[tuple]:
        taken, self.events = self.events, []
        return taken


@pytest.fixture
def fast_clock() -> trio.testing.MockClock:
    """Runs on while settings are written in a thread; one that jumps would pass the test's deadline meanwhile."""
    return trio.testing.MockClock(rate=50)


async def test_what_happens_is_kept(tmp_path: Path, fast_clock) -> None:
    plugins = PluginHost.load(None)
    context = Context(tmp_path, ConfigStore.load(tmp_path, plugins=plugins), plugins)
    kept = Kept()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_journal, context, kept)
        await trio.testing.wait_all_tasks_blocked()
        ((part, kind, text, *_),) = kept.take()
        assert (part, kind) == ("appliance", "start")
        assert "version" in text

        await context.config.change({"web.picture_rate_hz": 5.0}, "page 1")
        await context.config.change({"web.picture_rate_hz": None}, "page 2")
        await trio.testing.wait_all_tasks_blocked()
        assert kept.take() == [
            ("configuration", "setting", "web.picture_rate_hz = 5.0", "page 1", 0.0),
            ("configuration", "setting", "web.picture_rate_hz taken back", "page 2", 0.0),
        ]

        alarm = Alarm("pen", "much", "", AlarmSettings(metric="sv_db"))
        alarm.time_s = 77.0
        context.alarms.publish(AlarmEvent("raised", alarm, "much: sv above 0 dB: 1 dB"))
        context.alarms.publish(AlarmEvent("acknowledged", alarm, "seen", "ann"))
        await trio.testing.wait_all_tasks_blocked()
        assert kept.take() == [
            ("sonar pen", "alarm", "much: sv above 0 dB: 1 dB", "", 77.0),
            ("sonar pen", "acknowledged", "seen", "ann", 77.0),
        ]

        part = context.health.part("sonar pen")
        for _ in range(10):  # fails again and again with the same words, and with others
            part.last_error = "cable"
            part.set("failed")
            await trio.sleep(2)
            part.last_error = "plug"
            await trio.sleep(2)
        assert kept.take() == [("sonar pen", "failed", "cable", "", 0.0)]
        await trio.sleep(FAILED_INTERVAL_S)
        assert kept.take() == [("sonar pen", "failed", "plug", "", 0.0)]
        part.set("running", "20 pings")
        await trio.sleep(2)
        assert kept.take() == [("sonar pen", "recovered", "20 pings", "", 0.0)]
        nursery.cancel_scope.cancel()


async def test_clocks_that_are_set_are_kept_once(tmp_path: Path, fast_clock) -> None:
    plugins = PluginHost.load(None)
    context = Context(tmp_path, ConfigStore.load(tmp_path, plugins=plugins), plugins)
    steps: list[dict] = []
    context.health.part("clock").statistics = lambda: {"steps": list(steps)}
    kept = Kept()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_journal, context, kept)
        await trio.sleep(2)
        kept.take()
        steps.append({"clock": "system", "time_utc_s": 5.0, "step_s": 3600.0})
        await trio.sleep(5)
        steps.append({"clock": "pen", "time_utc_s": 6.0, "step_s": -2.5})
        await trio.sleep(5)
        assert [event[:3] for event in kept.take()] == [
            ("clock", "clock set", "the system clock was set forward by 3600.000 s"),
            ("clock", "clock set", "the clock of sonar pen was set back by 2.500 s"),
        ]
        steps.pop(0)
        await trio.sleep(5)
        assert kept.take() == []
        nursery.cancel_scope.cancel()
