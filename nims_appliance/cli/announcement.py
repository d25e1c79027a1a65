"""What the console says when the appliance has started: where it is, what runs, and the first password."""

from __future__ import annotations

import logging

from ..access.store import FIRST_ADMIN, AccessError
from ..appliance import Addresses
from ..config.store import CONFIG_FILE
from ..context import Context

log = logging.getLogger(__name__)


def first_password(context: Context) -> str:
    """Return the password of the admin that the first start makes; "" at any other start."""
    try:
        return context.access.make_first_admin()
    except AccessError as error:
        log.error("no admin could be made, so nobody can log in: %s", error)
        return ""


def login_box(password: str) -> list[str]:
    """Return what the console shows once, and nowhere else."""
    text = [
        "First start: this login is shown once, and kept as a hash only.",
        "",
        f"    name      {FIRST_ADMIN}",
        f"    password  {password}",
        "",
        "With it you change settings in the browser and add other users.",
        f"Forgotten: nims users password {FIRST_ADMIN}",
    ]
    width = max(map(len, text))
    edge = f"+-{'-' * width}-+"
    return [edge, *(f"| {line:{width}} |" for line in text), edge]


def announcement(context: Context, addresses: Addresses) -> list[str]:
    """Return what the operator needs to know once everything listens."""
    config = context.config
    lines = [f"NIMS is running: open {' or '.join(f'{address}/' for address in addresses.web)}"]
    if addresses.network:
        lines.append(
            f"  from a phone or another computer: {' or '.join(f'{address}/' for address in addresses.network)}"
        )
    if addresses.fingerprint:
        lines.append(f"  certificate, SHA-256: {addresses.fingerprint}")
    lines += [f"  tracks for programs: {', '.join(addresses.tracks)}", f"  data folder: {context.data}"]
    if config.errors:
        lines += ["  safe mode, no sonar runs, because of errors in the settings:"]
        lines += [f"    {text}" for text in config.errors]
    elif config.current.sonars:
        for name, sonar in config.current.sonars.items():
            lines.append(f"  sonar {name}: {sonar.profile} at {sonar.link}{'' if sonar.enabled else ' (disabled)'}")
    else:
        lines.append("  no sonar is configured: use --demo or --sonar NAME=LINK,profile=PROFILE, or write one to")
        lines.append(f"    {context.data / CONFIG_FILE}")
    lines += _who_may(context, addresses)
    lines.append("Ctrl-C stops.")
    return lines


def _who_may(context: Context, addresses: Addresses) -> list[str]:
    if addresses.network:
        seen = "whoever logs in" if context.config.current.web.login_to_view else "everybody on the network"
    else:
        seen = "this computer only (--host 0.0.0.0 opens it to the network)"
    if context.access.problem:
        return [f"  can be seen by {seen}; nobody can change settings:", f"    {context.access.problem}"]
    return [f"  can be seen by {seen}; settings are changed after a login"]
