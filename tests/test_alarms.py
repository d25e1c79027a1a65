"""Alarms: raised and ended where a hand-drawn line says, through gaps, steps of the clock and changed settings."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import trio

from nims_appliance.alarms import Alarm, AlarmBoard, watch_alarms
from nims_appliance.bus import all_within
from nims_appliance.config.store import ConfigStore
from nims_appliance.context import Context
from nims_appliance.errors import NimsError
from nims_appliance.pipeline.metrics import MetricsBin
from nims_appliance.plugin_host.host import PluginHost
from nims_appliance.settings import AlarmSettings

NAN = math.nan


def make_bin(end_s: float, sv_db: float, **changes: Any) -> MetricsBin:
    values: dict[str, Any] = dict.fromkeys(
        ("sa_db", "center_of_mass_m", "inertia_m2", "equivalent_area_m", "aggregation_index_per_m"), 1.0
    )
    values |= {"sonar_id": "pen", "channel": "", "ping_number": 1, "start_s": end_s - 5, "end_s": end_s, "pings": 5}
    values |= {"calibrated": True, "sv_db": sv_db, "proportion_occupied": 0.5, "layers": 0}
    return MetricsBin(**(values | changes))


def states(settings: AlarmSettings, *values: float, step_s: float = 5.0) -> str:
    """Return the state after each value: "." within bounds, "p" out of them but not for long enough, "R" raised."""
    alarm = Alarm("pen", "much", "", settings)
    shown = ""
    for number, value in enumerate(values):
        changed = alarm.take(number * step_s, value)
        state = alarm.describe()["state"]
        assert changed == ((state == "raised") != shown.endswith("R"))
        shown += {"ok": ".", "pending": "p", "raised": "R"}[state]
    return shown


@pytest.mark.parametrize(
    ("settings", "values", "expected"),
    [
        ({"value": -40.0}, (-50, -39, -41, -30, -40), ".R.R."),
        ({"value": -40.0, "when": "below"}, (-30, -41, -40, -39), ".R.."),
        # Out for 10 s: the third value in a row, 10 s after the first.
        ({"value": -40.0, "for_s": 10.0}, (-39, -39, -41, -39, -39, -39, -41), "pp.ppR."),
        # Within the hysteresis nothing changes, either way.
        ({"value": -40.0, "hysteresis": 3.0}, (-41, -39, -41, -42.9, -43, -41, -39.9), ".RRR..R"),
        ({"value": 5.0, "when": "below", "hysteresis": 1.0}, (4, 5.5, 6, 5.5), "RR.."),
        # What could not be measured changes no state, and starts the waiting anew.
        ({"value": -40.0, "for_s": 5.0}, (-39, NAN, -39, -39, NAN, -50), "p.pRR."),
        # Nothing in the water is less than any bound.
        ({"value": -40.0}, (-39, -math.inf), "R."),
        ({"value": -40.0, "when": "below"}, (-39, -math.inf), ".R"),
    ],
)
def test_states_by_hand(settings: dict, values: tuple, expected: str) -> None:
    assert states(AlarmSettings(metric="sv_db", **settings), *values) == expected


def test_a_clock_that_steps_back_starts_the_waiting_anew() -> None:
    alarm = Alarm("pen", "much", "", AlarmSettings(metric="sv_db", value=0.0, for_s=10.0))
    assert not any(alarm.take(time_s, 1.0) for time_s in (100.0, 105.0, 20.0, 25.0))
    assert alarm.take(30.0, 1.0)


async def test_each_channel_and_layer_has_an_alarm_of_its_own() -> None:
    board = AlarmBoard()
    alarms = {
        "all": AlarmSettings(metric="sv_db", value=0.0),
        "one": AlarmSettings(metric="sv_db", value=0.0, channel="120"),
        "deep": AlarmSettings(metric="layers", value=2.0, layer=3),
    }
    layer = make_bin(5.0, 1.0, layers=3, part=3, channel="GPT 38")
    events = board.take(make_bin(5.0, 1.0, channel="GPT 38", by_layer=(layer,)), alarms)
    assert [event.alarm.id for event in events] == ["pen/all/GPT 38", "pen/deep/GPT 38"]
    events = board.take(make_bin(5.0, 1.0, channel="GPT 120"), alarms)
    assert [event.alarm.id for event in events] == ["pen/all/GPT 120", "pen/one/GPT 120"]
    assert events[0].text == "all (GPT 120): sv above 0 dB: 1 dB"


async def test_empty_water_is_measured_and_a_column_without_cells_is_not() -> None:
    board, alarms = AlarmBoard(), {"quiet": AlarmSettings(metric="sv_db", value=-90.0, when="below")}
    assert board.take(make_bin(5.0, NAN, proportion_occupied=NAN), alarms) == []
    (event,) = board.take(make_bin(10.0, NAN, proportion_occupied=0.0), alarms)
    assert (event.kind, event.alarm.value) == ("raised", -math.inf)
    assert event.alarm.describe()["value"] is None


async def test_somebody_acknowledges_a_raised_alarm_and_no_other() -> None:
    board, alarms = AlarmBoard(), {"much": AlarmSettings(metric="sv_db", value=-40.0)}
    board.take(make_bin(5.0, -50.0), alarms)
    for number in ("pen/much", "pen/other"):
        with pytest.raises(NimsError, match="is not raised"):
            board.acknowledge(number, "ann")
    board.take(make_bin(10.0, -30.0), alarms)
    event = board.acknowledge("pen/much", "ann")
    assert (event.kind, event.author) == ("acknowledged", "ann")
    (alarm,) = board.describe()
    assert (alarm["state"], alarm["acknowledged_by"]) == ("raised", "ann")
    board.take(make_bin(15.0, -50.0), alarms)
    board.take(make_bin(20.0, -30.0), alarms)
    assert board.describe()[0]["acknowledged_by"] == "", "raised anew"


CONFIG = """\
sonars:
  pen:
    profile: kongsberg-m3
    link: tcp://127.0.0.1:20001
    metrics:
      alarms:
        much: {metric: sv_db, value: -40, for_s: 10}
"""


def make_context(data: Path) -> Context:
    (data / "config.yaml").write_text(CONFIG)
    plugins = PluginHost.load(None)
    config = ConfigStore.load(data, plugins=plugins)
    assert config.errors == []
    return Context(data, config, plugins)


@pytest.fixture
def fast_clock() -> trio.testing.MockClock:
    """Runs on while settings are written in a thread; one that jumps would pass the test's deadline meanwhile."""
    return trio.testing.MockClock(rate=50)


async def test_alarms_travel_from_the_metrics_to_their_bus(tmp_path: Path, fast_clock) -> None:
    context = make_context(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_alarms, context)
        with context.alarms.subscribe("test", all_within(10)) as alarms:
            await trio.testing.wait_all_tasks_blocked()
            for number in range(1, 4):
                context.metrics.publish(make_bin(5.0 * number, -30.0))
                context.metrics.publish(make_bin(5.0 * number, -30.0, sonar_id="unknown"))
                await trio.sleep(5)
            event = await alarms.receive()
            assert (event.kind, event.alarm.id, event.alarm.raised_at_s) == ("raised", "pen/much", 15.0)
            assert context.health.part("alarms").detail == "1 of 1 raised"
            # No bins any more: it stays as it was, and says that nothing is heard.
            assert context.alarm_board.describe()[0]["silent"] is False
            await trio.sleep(60)
            (alarm,) = context.alarm_board.describe()
            assert (alarm["state"], alarm["silent"]) == ("raised", True)
            context.metrics.publish(make_bin(80.0, -30.0))
            await trio.testing.wait_all_tasks_blocked()
            assert context.alarm_board.describe()[0]["silent"] is False
            # Another limit: the old alarm ends, the new one begins with the next bin.
            await context.config.change({"sonars.pen.metrics.alarms.much.value": -20.0}, "ann")
            event = await alarms.receive()
            assert (event.kind, event.author) == ("ended", "ann")
            assert "settings were changed" in event.text
            context.metrics.publish(make_bin(85.0, -30.0))
            await trio.testing.wait_all_tasks_blocked()
            assert context.alarm_board.describe()[0]["state"] == "ok"
            await context.config.change({"sonars.pen.metrics.alarms.much": None}, "ann")
        nursery.cancel_scope.cancel()


async def test_a_mistake_in_the_settings_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG.replace("sv_db", "sv").replace("much", "m u c h"))
    errors = " ".join(ConfigStore.load(tmp_path, plugins=PluginHost.load(None)).errors)
    assert "config.yaml:7: sonars.pen.metrics.alarms.m u c h: expected a name" in errors
    assert "metric: expected 'sv_db' or" in errors


def test_settings_of_metrics_that_are_no_metrics_are_named(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG[: CONFIG.index("    metrics:")] + "    metrics: all\n")
    (error,) = ConfigStore.load(tmp_path, plugins=PluginHost.load(None)).errors
    assert "sonars.pen.metrics: expected keys and values, got 'all'" in error


def test_changed_alarms_leave_the_measuring_alone() -> None:
    from nims_appliance.settings import MetricsSettings
    from nims_appliance.sonar import _measuring

    one = MetricsSettings(alarms={"a": AlarmSettings(metric="sv_db")})
    assert _measuring(one) == _measuring(MetricsSettings())
    assert _measuring(one) != _measuring(MetricsSettings(time_bin_s=1.0))
