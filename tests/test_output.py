"""Outputs with settings: part of the configuration, run while they are switched on, anew when they are changed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import trio

from nims_appliance.config.store import ConfigStore
from nims_appliance.context import Context
from nims_appliance.errors import ConfigError, PluginError
from nims_appliance.output import Output, run_output
from nims_appliance.plugin_host.host import PluginHost
from nims_appliance.plugin_host.offers import Offers


class LoggerSettings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Of the output that is tried here."""

    enabled: bool = False
    host: str = "127.0.0.1"


class Recorded:
    """Notes with which settings the output was run."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.stopped = 0

    async def run(self, context: Context, settings: LoggerSettings) -> None:
        self.runs.append(settings.host)
        try:
            await trio.sleep_forever()
        finally:
            self.stopped += 1


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture
def context(tmp_path: Path, recorded: Recorded) -> Context:
    plugins = PluginHost.load(None)
    plugins.outputs["logger"] = Output("logger", "Logger", LoggerSettings, recorded.run)
    config = ConfigStore.load(tmp_path, plugins=plugins)
    assert not config.errors
    return Context(tmp_path, config, plugins)


async def test_an_output_runs_while_it_is_switched_on(context: Context, recorded: Recorded) -> None:
    part = context.health.part("output logger")

    async def until(condition) -> None:
        with trio.fail_after(5):
            while not condition():
                await trio.sleep(0.001)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_output, context, context.plugins.outputs["logger"])
        await until(lambda: part.state == "stopped")
        await context.config.change({"outputs.logger.enabled": True}, "test")
        await until(lambda: recorded.runs == ["127.0.0.1"])
        await context.config.change({"web.picture_rate_hz": 3.0}, "test")
        await context.config.change({"outputs.logger.host": "10.0.0.9"}, "test")
        await until(lambda: recorded.runs == ["127.0.0.1", "10.0.0.9"])
        assert recorded.stopped == 1, "and not for a change that does not concern it"
        await context.config.change({"outputs.logger.enabled": False}, "test")
        await until(lambda: part.state == "stopped")
        nursery.cancel_scope.cancel()


async def test_settings_of_outputs_are_checked_like_all_others(context: Context) -> None:
    with pytest.raises(ConfigError, match=r"outputs\.logger\.hots"):
        await context.config.change({"outputs.logger.hots": "x"}, "test")
    with pytest.raises(ConfigError, match=r"outputs\.looger.*did you mean 'logger'"):
        await context.config.change({"outputs.looger.enabled": True}, "test")
    assert context.config.values()["outputs"]["logger"] == {"enabled": False, "host": "127.0.0.1"}
    assert "output logger" in context.config.schema()["$defs"]


def test_an_output_that_sends_unasked_is_refused() -> None:
    async def run(context, settings) -> None: ...

    eager = msgspec.defstruct("Eager", [("enabled", bool, True)])
    needy = msgspec.defstruct("Needy", [("enabled", bool), ("host", str)])
    for settings_type in (eager, needy, dict):
        with pytest.raises(PluginError, match="output 'x'"):
            Offers().add("nims_outputs", Output("x", "X", settings_type, run), "acme")
    with pytest.raises(PluginError, match="async"):
        Offers().add("nims_outputs", Output("x", "X", LoggerSettings, print), "acme")  # type: ignore[arg-type]
