"""The journal: what happened to the appliance, kept in the archive for those who ask later."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

import trio

from . import __version__
from .bus import all_within
from .config.masking import Masking

if TYPE_CHECKING:
    from .archive import Archive
    from .context import Context

LOOK_INTERVAL_S = 1.0
FAILED_INTERVAL_S = 60.0
"""Failures of one part are kept no more often."""
MOST_TEXT = 500
SECRET = ("secret", "password", "token", "key")
"""Values of settings with such a word in their name are not kept."""


async def keep_journal(context: Context, archive: Archive) -> None:
    """Write events of settings, alarms and parts into the archive, until cancelled."""
    archive.event("appliance", "start", f"version {__version__}, Python {platform.python_version()}")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_follow_settings, context, archive)
        nursery.start_soon(_follow_alarms, context, archive)
        nursery.start_soon(_watch_parts, context, archive)
        nursery.start_soon(_watch_clocks, context, archive)
        context.health.part("journal").set("running")


async def _follow_settings(context: Context, archive: Archive) -> None:
    masking = Masking(context.plugins)
    with context.config.changes.subscribe("journal", all_within(64)) as changes:
        async for change in changes:
            shown = {key: masking.mask_key(key, value, operator=False) for key, value in change.changes.items()}
            text = ", ".join(_describe_change(key, value) for key, value in shown.items())
            archive.event("configuration", "setting", text[:MOST_TEXT], author=change.author)


def _describe_change(key: str, value: Any) -> str:
    if any(word in key.lower() for word in SECRET):
        value = "(not kept)"
    return f"{key} taken back" if value is None else f"{key} = {value}"


async def _follow_alarms(context: Context, archive: Archive) -> None:
    kinds = {"raised": "alarm", "ended": "alarm ended"}
    with context.alarms.subscribe("journal", all_within(256)) as events:
        async for event in events:
            archive.event(
                f"sonar {event.alarm.sonar}",
                kinds.get(event.kind, event.kind),
                event.text,
                author=event.author,
                ping_time_s=event.alarm.time_s,
            )


async def _watch_parts(context: Context, archive: Archive) -> None:
    """Keep when a part fails and when it runs again; looks once a second, so what is shorter may be missed."""
    failed: dict[str, str] = {}
    kept_s: dict[str, float] = {}
    while True:
        now_s = trio.current_time()
        for part in context.health.parts:
            if part.state == "failed":
                error = part.last_error or part.detail
                if failed.get(part.name) != error and now_s >= kept_s.get(part.name, -1e9) + FAILED_INTERVAL_S:
                    archive.event(part.name, "failed", error[:MOST_TEXT])
                    failed[part.name], kept_s[part.name] = error, now_s
            elif part.state == "running" and failed.pop(part.name, None) is not None:
                archive.event(part.name, "recovered", part.detail[:MOST_TEXT])
        await trio.sleep(LOOK_INTERVAL_S)


async def _watch_clocks(context: Context, archive: Archive) -> None:
    """Keep when a clock was set: the computer's, or a sonar's."""
    last: dict[str, Any] | None = None
    while True:
        steps = context.health.part("clock").count().get("steps", [])
        for step in steps[steps.index(last) + 1 :] if last in steps else steps:
            whose = "the system clock" if step["clock"] == "system" else f"the clock of sonar {step['clock']}"
            way = "forward" if step["step_s"] > 0 else "back"
            archive.event("clock", "clock set", f"{whose} was set {way} by {abs(step['step_s']):.3f} s")
        last = steps[-1] if steps else None
        await trio.sleep(LOOK_INTERVAL_S)
