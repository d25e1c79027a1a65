"""Lines for plotters and loggers: sent to UDP and TCP addresses while they are true, and not kept for later."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable

import trio

from ..errors import ConfigError
from .address import Action, parse_action
from .deliveries import TcpDelivery, UndeliveredError
from .senders import UdpSender

log = logging.getLogger(__name__)

MOST_WAITING = 200
"""Lines for a TCP address that does not take them as fast; the oldest are dropped."""
RETRY_S = 5.0


def parse_destination(text: str) -> Action:
    """Return a destination's address.

    Raises:
      ConfigError: it is none.
    """
    try:
        action = parse_action(text)
    except ConfigError:
        action = None
    if action is None or action.scheme not in ("udp", "tcp"):
        raise ConfigError(f"{text!r}: expected udp://host:port or tcp://host:port")
    return action


def check_destinations(destinations: Iterable[str]) -> None:
    """Check the setting `destinations` of an output.

    Raises:
      ValueError: one is no address.
    """
    for text in destinations:
        try:
            parse_destination(text)
        except ConfigError as error:
            raise ValueError(f"destinations: {error}") from None


class LineSender:
    """Sends lines to several addresses; one that is away costs the others nothing."""

    def __init__(self, destinations: Iterable[str]) -> None:
        self.sent = 0
        self._udp: list[UdpSender] = []
        self._tcp: list[_TcpLines] = []
        for text in destinations:
            action = parse_destination(text)
            if action.scheme == "udp":
                self._udp.append(UdpSender(action))
            else:
                self._tcp.append(_TcpLines(action))

    def send(self, line: bytes) -> None:
        """Send a line, without its end, at once; for TCP addresses it waits for its turn."""
        self.sent += 1
        for udp in self._udp:
            udp.send(line + b"\r\n")
        for tcp in self._tcp:
            tcp.send(line + b"\r")

    @property
    def error(self) -> str:
        """What hinders a destination, "" for nothing."""
        return next((sender.last_error for sender in self._senders if sender.last_error), "")

    @property
    def _senders(self) -> list[UdpSender | _TcpLines]:
        return [*self._udp, *self._tcp]

    async def run(self) -> None:
        """Keep connections, until cancelled; they are closed then."""
        async with trio.open_nursery() as nursery:
            for sender in self._senders:
                nursery.start_soon(sender.run)


class _TcpLines:
    def __init__(self, action: Action) -> None:
        self.last_error = ""
        self._action = action
        self._delivery = TcpDelivery(action)
        self._queue: deque[bytes] = deque(maxlen=MOST_WAITING)
        self._more = trio.Event()

    def send(self, line: bytes) -> None:
        self._queue.append(line)
        self._more.set()

    async def run(self) -> None:
        try:
            while True:
                while not self._queue:
                    await self._more.wait()
                    self._more = trio.Event()
                try:
                    with trio.fail_after(RETRY_S):
                        await self._delivery(self._queue.popleft())
                    self.last_error = ""
                except (UndeliveredError, trio.TooSlowError) as error:
                    text = f"{self._action}: {error or 'no answer in time'}"
                    if text != self.last_error:
                        log.warning("%s; trying again", text)
                    self.last_error = text
                    self._queue.clear()
                    await trio.sleep(RETRY_S)
        finally:
            with trio.move_on_after(1) as scope:
                scope.shield = True
                await self._delivery.close()
