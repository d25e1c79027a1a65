"""The appliance: every long-lived task, and how the parts are joined."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import trio

from .alarms import watch_alarms
from .archive import Archive
from .context import Context
from .journal import keep_journal
from .listening import bind, interface_addresses, network_urls, opened, url
from .navigation.receive import receive_navigation
from .output import Output, run_output
from .outputs.track_server import TrackServer
from .signals import stop_on_signals
from .sonars import run_sonars
from .storage import Storage
from .supervisor import Child
from .triggers.engine import Triggers
from .vitals import Vitals
from .watchdog import keep_watchdog, notify
from .web.security import own_names
from .web.server import serve_web
from .web.tls import Tls, make_tls

log = logging.getLogger(__name__)

STOP_S = 2.5
"""From the wish to stop until everything that has not ended by itself is cancelled."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the appliance can be reached."""

    web: tuple[str, ...]
    """URLs of the live page, from this computer."""
    network: tuple[str, ...]
    """URLs of the live page from other computers; empty: it is not open to them."""
    tracks: tuple[str, ...]
    """"tcp://host:port" of the track server."""
    fingerprint: str = ""
    """SHA-256 of the certificate that browsers are to be shown; empty without TLS."""


async def run_appliance(
    context: Context,
    *,
    handle_signals: bool = True,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run until `context.stopping` is set, or SIGINT, SIGTERM or SIGHUP comes (`handle_signals`); then end within 3 s.

    Raises:
      ConfigError: an address cannot be listened on; nothing has been started then.
    """
    health, config, results = context.health, context.config, context.results
    web = opened(config.current.web, users=bool(context.access.content.users))
    tls = await trio.to_thread.run_sync(make_tls, web, context.data, own_names(), interface_addresses())
    async with contextlib.AsyncExitStack() as stack:
        web_sockets = [stack.enter_context(sock) for sock in bind(web, "web")]
        track_sockets = [stack.enter_context(sock) for sock in bind(config.current.tracks, "tracks")]
        context.archive = archive = Archive(context.data, health.part("archive"))
        context.triggers = triggers = Triggers(context, health.part("triggers"))
        tracks = TrackServer(context, health.part("track server"))
        _tell_configuration(context)
        nursery = await stack.enter_async_context(trio.open_nursery())

        def start(name: str, function: Callable[[], Awaitable[None]]) -> Child:
            return Child(nursery, health.part(name), function)

        start("storage", Storage(context, health.part("storage")).run)
        if handle_signals:
            await nursery.start(stop_on_signals, context.stopping)
        archiving = start("archive", partial(archive.run, results, context.metrics))
        start("journal", partial(keep_journal, context, archive))
        start("alarms", partial(watch_alarms, context))
        start("triggers", triggers.run)
        start("navigation", partial(receive_navigation, context))
        for name, output in context.plugins.outputs.items():
            run = partial(run_output, context, output) if isinstance(output, Output) else partial(output, context)
            start(f"output {name}", run)
        start("track server", partial(tracks.serve, track_sockets))
        start("web", partial(_serve_web, context, web_sockets, tls))
        sonars = start("sonars", partial(run_sonars, context))
        start("clock", Vitals(context.data, health, lambda: context.sonars).run)
        start("watchdog", partial(keep_watchdog, context))
        task_status.started(_addresses(web_sockets, track_sockets, tls))
        notify("READY=1")

        await context.stopping.wait()
        notify("STOPPING=1")
        with trio.move_on_after(STOP_S):
            await sonars.stop()  # their last tracks are published ...
            archive.event("appliance", "stop", "the appliance was asked to stop")
            results.close()
            context.metrics.close()
            await archiving.ended.wait()  # ... and written
        nursery.cancel_scope.cancel()


def _addresses(web: list[socket.socket], tracks: list[socket.socket], tls: Tls | None) -> Addresses:
    scheme = "https" if tls else "http"
    return Addresses(
        tuple(url(scheme, sock) for sock in web),
        tuple(dict.fromkeys(address for sock in web for address in network_urls(scheme, sock))),
        tuple(url("tcp", sock) for sock in tracks),
        tls.fingerprint if tls else "",
    )


async def _serve_web(context: Context, sockets: list[socket.socket], tls: Tls | None) -> None:
    """Serve the web on copies of the sockets, so that it can be started again on the same ports."""
    context.health.part("web").set("running", ", ".join(url("https" if tls else "http", sock) for sock in sockets))
    await serve_web(context, [sock.dup() for sock in sockets], tls=tls.context if tls else None)


def _tell_configuration(context: Context) -> None:
    part, config = context.health.part("configuration"), context.config
    for entry in config.notice_files():
        log.info(
            "settings: %s has changed since the last start: %s", entry.source, ", ".join(r.key for r in entry.rows)
        )
    for warning in config.warnings:
        log.warning("%s", warning)
    for error in config.errors:
        log.error("%s", error)
    if config.errors:
        part.last_error = "; ".join(config.errors)
        part.set("failed", "safe mode: no sonar runs until the configuration is corrected")
    else:
        part.set("running", f"{len(config.current.sonars)} sonars")
