"""Watchdog: systemd is told when the appliance is ready, and that it still works; silence lets systemd start it anew.

The watchdog is fed while this loop runs and no sonar's pings wait for an analysis that takes none of them. A sonar
that sends nothing, is switched off, does not answer or is being restarted is no reason to start anew.

Protocol: sd_notify(3), sd_watchdog_enabled(3): datagrams of `NAME=value` to the socket `$NOTIFY_SOCKET`. Without these
variables nothing is done.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import trio

from .context import Context, Sonar

log = logging.getLogger(__name__)

FEEDS = 4
"""So many times within the interval after which systemd would act."""


def notify(state: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Tell systemd, in the form "READY=1"; return whether it was there to be told."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)  # whoever does not read must not hold up pings
            sock.sendto(state.encode(), b"\0" + address[1:].encode() if address[0] == "@" else address)
    except OSError as error:
        log.warning("systemd cannot be told %r at %s: %s", state, address, error.strerror or error)
        return False
    return True


def interval_s(environment: Mapping[str, str] = os.environ) -> float | None:
    """Return after how long a silence systemd acts; None where it does not watch this process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        interval = int(environment.get("WATCHDOG_USEC", "")) / 1e6
    except ValueError:
        return None
    return interval if interval > 0 else None


@dataclass(slots=True)
class _Seen:
    delivered: int
    since_s: float


class Progress:
    """Which sonars' pings wait although nothing takes them."""

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self._seen: dict[Sonar, _Seen] = {}

    def look(self, sonars: Iterable[Sonar], now_s: float) -> list[str]:
        """Return the names of those whose analysis has taken no ping for `most_s`, though some wait for it."""
        seen, stuck = {}, []
        for sonar in sonars:
            for subscriber in sonar.frames.statistics().subscribers:
                if subscriber.name != "pipeline":
                    continue
                before = self._seen.get(sonar)
                if before is None or before.delivered != subscriber.delivered or not subscriber.queued:
                    before = _Seen(subscriber.delivered, now_s)
                elif now_s - before.since_s >= self._most_s:
                    stuck.append(sonar.name)
                seen[sonar] = before
        self._seen = seen
        return stuck


async def keep_watchdog(context: Context, tell: Callable[[str], bool] = notify, every_s: float | None = None) -> None:
    """Feed the watchdog until cancelled, where there is one.

    Args:
      tell: gives systemd a state.
      every_s: after how long a silence it acts; None: as the environment says.
    """
    every_s = interval_s() if every_s is None else every_s
    part = context.health.part("watchdog")
    if every_s is None:
        part.set("stopped", "no watchdog of systemd is set up")
        return
    progress = Progress(every_s / 2)
    told: list[str] = []
    while True:
        stuck = progress.look(context.sonars.values(), trio.current_time())
        if not stuck:
            tell("WATCHDOG=1")
            part.set("running", f"fed; systemd acts after {every_s:.0f} s without")
        elif stuck != told:
            text = f"the analysis of {', '.join(stuck)} takes no pings: systemd will start the appliance anew"
            log.error("%s", text)
            part.last_error = text
            part.set("failed", text)
        told = stuck
        await trio.sleep(every_s / FEEDS)
