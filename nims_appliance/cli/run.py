"""`nims run`: the appliance, from the command line."""

from __future__ import annotations

import contextlib
import logging
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
import trio

from .. import rubbish
from ..appliance import Addresses, run_appliance
from ..context import Context
from ..data_folder import lock_data, prepare_data
from ..errors import ConfigError
from .announcement import announcement, first_password, login_box
from .common import WhenStarted, data_option, load, parse_settings, start_logging

log = logging.getLogger(__name__)

DEMO = {
    "sonars.demo.profile": "kongsberg-m3",
    "sonars.demo.link": "simulator:kongsberg-m3?rate=10&beams=256&samples=1500",
}
SWITCH_INTERVAL_S = 0.0005
"""So long a thread may keep the interpreter while another waits for it; Python's 5 ms are the whole time of a ping."""


@click.command("run")
@data_option
@click.option(
    "--demo", is_flag=True, help="Add a sonar `demo`: a simulated Kongsberg M3 with fish that swim past a structure."
)
@click.option(
    "--sonar",
    "sonars",
    multiple=True,
    metavar="NAME=LINK,profile=PROFILE",
    help="Add a sonar for this run: pen=tcp://10.0.0.5:20001,profile=kongsberg-m3",
)
@click.option(
    "--record", metavar="all|NAME,...", help="Keep the bytes of these sonars on disk, whatever their settings say."
)
@click.option("--web-port", type=click.IntRange(0, 65535), metavar="PORT", help="Port of the pages. [default: 8080]")
@click.option(
    "--tracks-port", type=click.IntRange(0, 65535), metavar="PORT", help="Port of the track server. [default: 8001]"
)
@click.option(
    "--host",
    metavar="ADDR",
    help="Address to listen on, for pages and tracks; 0.0.0.0: the network, 127.0.0.1: this computer only. "
    "[default: the network for pages, which know who may change something; this computer for tracks]",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any setting: web.picture_rate_hz=5")
def run_command(
    data: Path,
    demo: bool,
    sonars: tuple[str, ...],
    record: str | None,
    web_port: int | None,
    tracks_port: int | None,
    host: str | None,
    settings: tuple[str, ...],
) -> None:
    """Run the appliance until Ctrl-C."""
    rubbish.share_freed_memory()
    given: dict[str, Any] = dict(DEMO) if demo else {}
    for text in sonars:
        given |= parse_sonar(text)
    for key, value in (("web.port", web_port), ("tracks.port", tracks_port), ("web.host", host), ("tracks.host", host)):
        if value is not None:
            given[key] = value
    given |= parse_settings(settings)
    if record:
        names = {key.split(".")[1] for key in given if key.startswith("sonars.")}
        names |= set(load(data, given)[1].current.sonars)
        given |= {f"sonars.{name}.record": True for name in chosen_sonars(record, names)}
    prepare_data(data)
    with lock_data(data):
        log_kept = start_logging(data / "logs")
        plugins, config = load(data, given)
        plugins.forget_old_wheels()
        for text in plugins.errors:
            log.error("%s", text)
        mistakes = [text.removeprefix("command line: ") for text in config.errors if text.startswith("command line")]
        if mistakes:
            raise ConfigError("; ".join(mistakes))
        context = Context(data=data, config=config, plugins=plugins, log=log_kept)

        password = first_password(context)

        def announce(addresses: Addresses) -> None:
            click.echo("\n".join(announcement(context, addresses)))
            rubbish.keep_what_is_there()

        if password:
            click.echo("\n".join(login_box(password)))
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        trio.run(partial(run_appliance, context, task_status=WhenStarted[Addresses](announce)))
        with contextlib.suppress(OSError):  # the terminal may be closed
            click.echo("stopped")


def parse_sonar(text: str) -> dict[str, str]:
    """Return the settings of ``NAME=LINK,profile=PROFILE``; the link may have commas and equals signs of its own.

    Raises:
      ConfigError: the text is something else.
    """
    name, equals, rest = text.partition("=")
    link, comma, profile = rest.rpartition(",profile=")
    if not (name and equals and comma and profile) or "." in name:
        raise ConfigError(
            f"--sonar {text!r}: expected NAME=LINK,profile=PROFILE, as in pen=tcp://10.0.0.5:20001,profile=kongsberg-m3"
        )
    settings = {f"sonars.{name}.profile": profile}
    if link:
        settings[f"sonars.{name}.link"] = link
    return settings


def chosen_sonars(text: str, names: set[str]) -> set[str]:
    """Return the sonars of ``all`` or ``NAME,...``.

    Raises:
      ConfigError: there is no sonar of that name.
    """
    wanted = names if text == "all" else {name.strip() for name in text.split(",")}
    if unknown := wanted - names:
        known = ", ".join(sorted(names)) or "none is configured"
        raise ConfigError(
            f"--record: there is no sonar {', '.join(sorted(unknown))!r}: expected all, or names of: {known}"
        )
    return wanted
