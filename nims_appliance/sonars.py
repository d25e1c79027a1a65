"""Which sonars run: those of the configuration, as it is now."""

from __future__ import annotations

import logging
from functools import partial

import trio

from .bus import all_within
from .context import Context
from .errors import NimsError
from .health import Part
from .settings import SonarSettings
from .sonar import RESTART_SETTINGS, SonarRunner, new_sonar
from .supervisor import Child

log = logging.getLogger(__name__)


async def run_sonars(context: Context) -> None:
    """Run every enabled sonar of the configuration, and follow its changes, until cancelled.

    A change of one sonar leaves the others alone.
    """
    running: dict[str, Child] = {}
    with context.config.changes.subscribe("sonars", all_within(100)) as changes:
        async with trio.open_nursery() as nursery:

            def start(name: str) -> None:
                part = context.health.part(f"sonar {name}")
                running[name] = Child(nursery, part, partial(_run_sonar, name, context, part))

            for name, settings in context.config.current.sonars.items():
                _list(name, context)
                if settings.enabled:
                    start(name)
            context.health.part("sonars").set("running", f"{len(running)} of {len(context.sonars)} enabled")
            async for _ in changes:
                wanted = context.config.current.sonars
                for name in [name for name in context.sonars if name not in wanted]:
                    if name in running:
                        await running.pop(name).stop()
                    _forget(name, context)
                for name, settings in wanted.items():
                    sonar = context.sonars.get(name)
                    if sonar is not None and not _needs_restart(sonar.settings, settings):
                        sonar.settings = settings
                        continue
                    if name in running:
                        await running.pop(name).stop()
                    _list(name, context)
                    if settings.enabled:
                        start(name)
                context.health.part("sonars").set("running", f"{len(running)} of {len(context.sonars)} enabled")


def _needs_restart(before: SonarSettings, after: SonarSettings) -> bool:
    return any(getattr(before, name) != getattr(after, name) for name in RESTART_SETTINGS)


def _list(name: str, context: Context) -> None:
    """Show the sonar to the outputs, with its present settings; its buses outlive a restart, so that viewers stay."""
    part = context.health.part(f"sonar {name}")
    try:
        fresh = new_sonar(name, context)
    except NimsError as error:
        part.set("failed", str(error))
        return
    known = context.sonars.setdefault(name, fresh)
    known.settings, known.profile = fresh.settings, fresh.profile
    part.set("starting" if known.settings.enabled else "stopped", "" if known.settings.enabled else "switched off")


def _forget(name: str, context: Context) -> None:
    sonar = context.sonars.pop(name)
    sonar.frames.close()
    sonar.pictures.close()
    for part in (f"sonar {name}", f"recorder {name}", f"clips {name}"):
        context.health.remove(part)
    log.info("sonar %s was removed", name)


async def _run_sonar(name: str, context: Context, part: Part) -> None:
    if name not in context.sonars:
        _list(name, context)
    if name in context.sonars:
        await SonarRunner(context.sonars[name], context, part).run()
    else:
        raise NimsError(part.detail)
