"""Output: a plugin's offer to send what the appliance finds somewhere."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from .bus import all_within

if TYPE_CHECKING:
    from .context import Context

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Output:
    """An output with settings: `outputs.<name>` of the configuration.

    It runs while its setting `enabled` is true, and is started anew when its settings change.
    """

    name: str
    """As the configuration names it, e.g. "mqtt"."""
    title: str
    """For people, e.g. "MQTT publisher"."""
    settings_type: type
    """A msgspec.Struct (kw_only, frozen, forbid_unknown_fields) with the output's settings, units in their names, each
    with a default; the first is `enabled`, False."""
    run: Callable[[Context, Any], Awaitable[None]]
    """run(context, settings): sends until it is cancelled; started again when it raises."""


async def run_output(context: Context, output: Output) -> None:
    """Run an output as its settings say, and follow their changes."""
    part = context.health.part(f"output {output.name}")
    with context.config.changes.subscribe(f"output {output.name}", all_within(100)) as changes:
        while True:
            settings = context.config.output(output.name)
            async with trio.open_nursery() as nursery:
                if settings.enabled:
                    part.set("running")
                    nursery.start_soon(output.run, context, settings)
                else:
                    part.last_error = ""
                    part.set("stopped", "switched off")
                async for _ in changes:
                    if context.config.output(output.name) != settings:
                        break
                else:
                    return
                nursery.cancel_scope.cancel()
