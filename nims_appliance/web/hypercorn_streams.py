"""What is spoken on a connection: requests, and WebSockets whose messages are framed once for all clients.

Hypercorn's streams, changed where `transport` says why.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import h11
import trio
from hypercorn.protocol.events import Data, Request, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import ASGIWebsocketState, WSStream
from hypercorn.typing import ASGIReceiveEvent
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection

if TYPE_CHECKING:
    from .transport import Connection

LINGER_S = 1.0
"""How long who sends on after the answer is listened to."""
END_TIMEOUT_S = 0.5
"""Closing a connection, or making it ready for the next request."""
CONNECTION = "nims.connection"
"""Key of the `Connection` in the state of an ASGI scope."""


class Message(bytes):
    """A complete WebSocket frame of the server; `websocket.send` passes it to the socket as it is.

    Make it once for all clients with `text_message` or `binary_message`.
    """


def _framed(opcode: int, payload: bytes) -> Message:
    if len(payload) < 126:
        head = struct.pack("!BB", 0x80 | opcode, len(payload))
    elif len(payload) < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 126, len(payload))
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 127, len(payload))
    return Message(head + payload)


def binary_message(payload: bytes) -> Message:
    """Return the unmasked frame of a binary message."""
    return _framed(0x2, payload)


def text_message(text: bytes) -> Message:
    """Return the unmasked frame of a text message; `text` is UTF-8."""
    return _framed(0x1, text)


class _WebSocketStream(WSStream):
    """A WebSocket that takes frames as they are."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._pinging = trio.CancelScope()
        self._connection: Connection
        self._put_to_app: Callable[[ASGIReceiveEvent], Awaitable[None]]

    async def _send_pings(self) -> None:
        with self._pinging:
            await super()._send_pings()

    async def handle(self, event: StreamEvent) -> None:
        if isinstance(event, StreamClosed):
            self._pinging.cancel()  # else a closed connection stays until its next ping
        elif isinstance(event, Request):
            self._connection = event.state[CONNECTION]
            headers = [(name, value) for name, value in event.headers if name.lower() != b"sec-websocket-extensions"]
            event = Request(
                stream_id=event.stream_id,
                headers=headers,
                http_version=event.http_version,
                method=event.method,
                raw_path=event.raw_path,
                state=event.state,
            )
        await super().handle(event)
        if isinstance(event, Request) and self.app_put is not None:
            self._put_to_app, self.app_put = self.app_put, self._put

    async def _put(self, message: Any) -> None:
        take, text = self._connection.take_text, message.get("text")
        if take is None or text is None:
            await self._put_to_app(message)
        else:
            take(text)

    async def _handle_events(self) -> None:
        await super()._handle_events()
        if self.buffer.length > self.buffer.max_length:
            # It was told that its message is too large (1009). If it goes on, Hypercorn would go on keeping all of it.
            self.buffer.value = None
            for event in self.connection.events():
                if isinstance(event, CloseConnection):
                    await self.send(StreamClosed(stream_id=self.stream_id))

    async def app_send(self, message: Any) -> None:
        framed = message.get("bytes") if message is not None and message["type"] == "websocket.send" else None
        if not isinstance(framed, Message):
            await super().app_send(message)
        elif (
            not self.closed
            and self.state == ASGIWebsocketState.CONNECTED
            and self.connection.state == ConnectionState.OPEN
        ):
            await self.send(Data(stream_id=self.stream_id, data=framed))


class _HttpStream(HTTPStream):
    """A request whose body nobody may want to read to its end."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._answered = False
        self._putting: trio.CancelScope | None = None
        self._put_to_app: Callable[[Any], Awaitable[None]]

    async def handle(self, event: StreamEvent) -> None:
        await super().handle(event)
        if isinstance(event, Request) and self.app_put is not None:
            self._put_to_app, self.app_put = self.app_put, self._put

    async def _put(self, message: Any) -> None:
        if not self._answered:
            with trio.CancelScope() as self._putting:
                await self._put_to_app(message)

    def answered(self) -> None:
        """Throw away what comes of the body from now on; Hypercorn would wait for ever to hand it over."""
        self._answered = True
        if self._putting is not None:
            self._putting.cancel()


class HttpProtocol(H11Protocol):
    """Requests of one connection; one of them may make it a WebSocket."""

    async def _check_protocol(self, event: h11.Request) -> None:
        """Ignore requests to speak HTTP/2; HTTP/1.1 answers them."""

    async def _maybe_recycle(self) -> None:
        if isinstance(self.stream, _HttpStream):
            self.stream.answered()
            with trio.move_on_after(LINGER_S, shield=True):
                # To close now would cut off the answer for who still sends.
                while self.connection.their_state is h11.SEND_BODY:
                    await trio.sleep(0.02)
        with trio.move_on_after(END_TIMEOUT_S, shield=True):
            await super()._maybe_recycle()

    async def _create_stream(self, request: h11.Request) -> None:
        headers = {name.lower(): value.lower() for name, value in request.headers}
        connection = [token.strip() for token in headers.get(b"connection", b"").split(b",")]
        is_websocket = (
            request.method == b"GET"
            and headers.get(b"upgrade", b"").strip() == b"websocket"
            and b"upgrade" in connection
        )
        kind = _WebSocketStream if is_websocket else _HttpStream
        self.stream = kind(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        if is_websocket:
            assert isinstance(self.connection, h11.Connection)
            self.connection = H11WSConnection(self.connection)
        await self._hand_over(request)
        if not is_websocket:
            self.keep_alive_requests += 1

    async def _hand_over(self, request: h11.Request) -> None:
        assert self.stream is not None
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )
