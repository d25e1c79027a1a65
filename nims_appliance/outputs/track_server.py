"""Track server: tracks of every ping for programs, over TCP, as the original NIMS serves them.

A client connects and sends one JSON object of options; from then on it is sent one JSON message a ping (see
`track_message`), each ended by a NUL byte. Options, all optional:

* ``heartbeat``: seconds; after so long without a message a lone NUL is sent. Absent or 0: never.
* ``frequency``: most messages a second, of each sonar. Absent or 0: every ping.
* ``sonar``: name of the one sonar wanted, or a list of names. Absent: all.

A client that sends no options within 2 s, or something else than a JSON object, gets the defaults. One that reads too
slowly loses its oldest messages, and the next message says how many in the key ``dropped``; one that reads nothing for
10 s is disconnected. Nobody else notices.
"""

from __future__ import annotations

import json
import logging
import math
import socket
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

from ..bus import Bus, Subscription, all_within
from ..context import Context
from ..health import Part
from ..rate_limit import RateLimit
from .track_message import encode_message

log = logging.getLogger(__name__)

OPTIONS_TIMEOUT_S = 2.0
MAX_OPTIONS_BYTES = 64 * 1024
QUEUED_MESSAGES = 128
STALL_S = 10.0
"""A client that takes no byte for so long is disconnected."""
SEND_BUFFER_BYTES = 128 * 1024
"""The kernel would let megabytes of old tracks pile up for a slow client."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a client asked for."""

    heartbeat_s: float = math.inf
    interval_s: float = 0.0
    sonars: frozenset[str] = frozenset()
    """Empty: all."""


@dataclass(frozen=True, slots=True)
class _Message:
    sonar_id: str
    body: bytes
    """JSON and NUL."""


@dataclass(slots=True, eq=False)
class _Client:
    name: str
    subscription: Subscription[_Message] | None = None
    sent: int = 0
    options: Options = field(default_factory=Options)
    half_closed: bool = False
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class TrackServer:
    """Serves tracks on sockets that the caller has bound."""

    def __init__(self, context: Context, part: Part) -> None:
        self._context = context
        self._part = part
        self._messages: Bus[_Message] = Bus("track messages")
        self._clients: dict[trio.SocketStream, _Client] = {}
        self._dropped_before = 0
        self.refused = 0
        self.stalled = 0
        part.statistics = self.statistics

    async def serve(
        self,
        sockets: list[socket.socket],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled, on copies of the listening sockets, so that it can be called again."""
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock.dup())) for sock in sockets]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._encode)
            nursery.start_soon(partial(trio.serve_listeners, self._serve_client, listeners))
            self._part.set("running", "no client")
            task_status.started()

    async def _encode(self) -> None:
        """Encode each ping once for all clients."""
        with self._context.results.subscribe("track server", all_within(QUEUED_MESSAGES)) as results:
            async for result in results:
                if result.final or not self._messages.subscribers:
                    continue
                self._messages.publish(_Message(result.sonar_id, encode_message(result) + b"\0"))
        await trio.sleep_forever()

    async def _serve_client(self, stream: trio.SocketStream) -> None:
        client = _Client(_name(stream))
        most = self._context.config.current.tracks.max_clients
        if len(self._clients) >= most and not self._make_room():
            self.refused += 1
            log.warning("track server: %s refused: %d clients are connected", client.name, len(self._clients))
            return
        self._clients[stream] = client
        self._tell()
        try:
            with client.scope:
                await self._talk(stream, client)
        except* trio.BrokenResourceError:  # a group: the nursery in `_talk` wraps what its body raises
            log.info("track server: %s has gone", client.name)
        except* OSError as errors:
            log.info("track server: %s: %s", client.name, errors.exceptions[0])
        finally:
            del self._clients[stream]
            self._tell()

    async def _talk(self, stream: trio.SocketStream, client: _Client) -> None:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        client.options = await _read_options(stream, client)
        log.info("track server: %s connected, %s", client.name, client.options)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_on, stream, client)
            with self._messages.subscribe(client.name, all_within(QUEUED_MESSAGES)) as messages:
                client.subscription = messages
                try:
                    await self._send_messages(stream, client, messages)
                finally:
                    self._dropped_before += messages.dropped
                    client.subscription = None
            nursery.cancel_scope.cancel()

    async def _read_on(self, stream: trio.SocketStream, client: _Client) -> None:
        """Throw away what a client says after its options, and notice when it has finished talking."""
        try:
            while await stream.receive_some(4096):
                pass
        except trio.BrokenResourceError:
            client.scope.cancel()
        # It may have shut down its side only, and still listen.
        client.half_closed = True

    async def _send_messages(
        self, stream: trio.SocketStream, client: _Client, messages: Subscription[_Message]
    ) -> None:
        options = client.options
        told = 0
        limit = RateLimit()
        while True:
            message: _Message | None = None
            with trio.move_on_after(options.heartbeat_s):
                while message is None:
                    message = await messages.receive()
                    wanted = not options.sonars or message.sonar_id in options.sonars
                    if not (wanted and limit.passes(message.sonar_id, trio.current_time(), options.interval_s)):
                        message = None
            body = message.body if message else b"\0"
            if message and messages.dropped > told:
                body = body[:-2] + b',"dropped":%d}\0' % (messages.dropped - told)
                told = messages.dropped
            with trio.move_on_after(STALL_S) as scope:
                await stream.send_all(body)
            if scope.cancelled_caught:
                self.stalled += 1
                log.warning("track server: %s disconnected: it read nothing for %.0f s", client.name, STALL_S)
                return
            client.sent += 1

    def _make_room(self) -> bool:
        """Disconnect a client that has closed its side, which is most likely gone; tell whether there was one."""
        for client in self._clients.values():
            if client.half_closed:
                client.half_closed = False
                client.scope.cancel()
                return True
        return False

    def _tell(self) -> None:
        count = len(self._clients)
        self._part.set("running", f"{count} client{'' if count == 1 else 's'}" if count else "no client")

    def statistics(self) -> dict[str, Any]:
        """Return counters since the start, as JSON-able values."""
        dropped = sum(client.subscription.dropped for client in self._clients.values() if client.subscription)
        return {
            "clients": len(self._clients),
            "dropped_messages": self._dropped_before + dropped,
            "refused_clients": self.refused,
            "stalled_clients": self.stalled,
        }


async def _read_options(stream: trio.SocketStream, client: _Client) -> Options:
    """Return the client's options; the defaults where there are none that can be read within 2 s."""
    received = bytearray()
    with trio.move_on_after(OPTIONS_TIMEOUT_S):
        while len(received) < MAX_OPTIONS_BYTES:
            data = await stream.receive_some(4096)
            received += data
            text = received.decode("utf-8", "replace").lstrip(" \t\r\n\0\ufeff")
            if text and text[0] != "{":
                break
            try:
                values, _ = json.JSONDecoder().raw_decode(text)
            except (ValueError, RecursionError):
                if data:
                    continue  # the rest is on its way
                client.half_closed = True
                break
            return parse_options(values)
    if received:
        log.warning("track server: %s: expected a JSON object of options, got %.80r", client.name, bytes(received))
    return Options()


def parse_options(values: dict[str, Any]) -> Options:
    """Return the options that a client sent; what cannot be understood counts as absent."""
    heartbeat_s = _positive(values.get("heartbeat"))
    frequency_hz = _positive(values.get("frequency"))
    sonars = values.get("sonar") or []
    if isinstance(sonars, str):
        sonars = [sonars]
    if not isinstance(sonars, list):
        sonars = []
    return Options(
        # Faster heartbeats than this would only cost the network.
        heartbeat_s=max(heartbeat_s, 0.1) if heartbeat_s else math.inf,
        interval_s=1 / frequency_hz if frequency_hz else 0.0,
        sonars=frozenset(str(name) for name in sonars),
    )


def _positive(value: Any) -> float:
    """Return a number above 0, or 0; numbers in quotes count, as clients of the original send them."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return number if math.isfinite(number) and number > 0 else 0.0


def _name(stream: trio.SocketStream) -> str:
    try:
        address = stream.socket.getpeername()
    except OSError:
        return "a client that has gone"
    return f"{address[0]}:{address[1]}"
