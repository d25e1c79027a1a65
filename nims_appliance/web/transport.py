"""The HTTP and WebSocket server: Hypercorn's trio server, made fit for stalled viewers and for pictures.

What is changed, and why, rests on internals of Hypercorn 0.18.0 (pinned); tests/web/test_transport.py holds each fact:

* Hypercorn sends inside a shielded cancel scope without a deadline, so one browser that stops reading would hold up the
  stop of the appliance for ever. Here every send has a deadline, after which the connection is closed.
* It accepts permessage-deflate whenever a browser offers it and compresses on the event loop: the offer is removed.
* wsproto copies a message three times for each client: a `Message` is framed once and its bytes are handed to all.
* On its way through Quart and Hypercorn a message passes five checkpoints and two scopes, more than the kernel takes to
  send it: `Connection.send_soon` gives it to the kernel on the spot. On its way in it passes two queues and a signal:
  `Connection.take_text` gets it first.
* quart-trio cancels the task of a request while Hypercorn is still about to close or recycle its connection, which
  then stays open for ever: this is shielded.
* It keeps what a client sends on after its message was refused for its size, and waits for ever to hand over the rest
  of a body after its request was answered: both are thrown away.
* An error in one connection would end the whole server: here it ends that connection.
* HTTP/2 and h2c are not spoken: they bring nothing on a LAN, and WebSockets over them would bypass the above.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
import struct
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import Data, Request, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import ASGIWebsocketState, WSStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIReceiveEvent
from hypercorn.typing import ConnectionState as RequestState
from hypercorn.utils import parse_socket_addr, wrap_app
from quart_trio import QuartTrio
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection

from ..access.login_limit import network_of

log = logging.getLogger(__name__)

SEND_TIMEOUT_S = 10.0
"""One message to one client: a picture of 130 kB passes on a link of 0.1 Mbit/s."""
STOP_SEND_TIMEOUT_S = 0.5
"""The same once the appliance stops."""
LINGER_S = 1.0
"""How long who sends on after the answer is listened to."""
GRACE_S = 1.5
"""How long open connections may take to end once the appliance stops."""
MAX_CONNECTIONS = 500
MAX_OF_ONE_ADDRESS = 300
"""Many people may be behind one address; others must get in all the same."""
HANDSHAKE_TIMEOUT_S = 10.0
_TLS_HANDSHAKE = b"\x16"
"""How TLS begins, and no request of HTTP (RFC 8446, section 5.1)."""
SEND_BUFFER_BYTES = 256 * 1024
"""The kernel takes a picture at once, and holds no more: what waits here can be counted."""


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


class _HttpProtocol(H11Protocol):
    async def _check_protocol(self, event: h11.Request) -> None:
        """Ignore requests to speak HTTP/2; HTTP/1.1 answers them."""

    async def _maybe_recycle(self) -> None:
        if isinstance(self.stream, _HttpStream):
            self.stream.answered()
            with trio.move_on_after(LINGER_S, shield=True):
                # To close now would cut off the answer for who still sends.
                while self.connection.their_state is h11.SEND_BODY:
                    await trio.sleep(0.02)
        with trio.move_on_after(STOP_SEND_TIMEOUT_S, shield=True):
            await super()._maybe_recycle()

    async def _create_stream(self, request: h11.Request) -> None:
        headers = {name.lower(): value.lower() for name, value in request.headers}
        connection = [token.strip() for token in headers.get(b"connection", b"").split(b",")]
        if (
            request.method == b"GET"
            and headers.get(b"upgrade", b"").strip() == b"websocket"
            and b"upgrade" in connection
        ):
            self.stream = _WebSocketStream(
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
            assert isinstance(self.connection, h11.Connection)
            self.connection = H11WSConnection(self.connection)
            await self._hand_over(request)
            return
        self.stream = _HttpStream(
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
        await self._hand_over(request)
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


class Connection(TCPServer):
    """One accepted connection."""

    stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]  # type: ignore[assignment]
    send_timeout_s = SEND_TIMEOUT_S

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._secure = isinstance(self.stream, trio.SSLStream)
        self._socket_stream = self.stream.transport_stream if isinstance(self.stream, trio.SSLStream) else self.stream
        self.waiting_bytes = 0
        """What the client has not been sent yet, because it does not take it."""
        self.take_text: Callable[[str], None] | None = None
        """Gets the WebSocket's text messages on the spot; None: the handler receives them."""
        self._waiting: deque[bytes | memoryview] = deque()
        self._sending: trio.CancelScope | None = None
        self.state[CONNECTION] = self

    async def run(self) -> None:
        try:
            own = self._socket_stream.socket
            own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            client = parse_socket_addr(own.family, own.getpeername())
            server = parse_socket_addr(own.family, own.getsockname())
            async with TaskGroup() as task_group:
                self._task_group = task_group
                self.protocol = _HttpProtocol(  # type: ignore[assignment]
                    self.app,
                    self.config,
                    self.context,
                    task_group,
                    RequestState(self.state),
                    self._secure,
                    client,
                    server,
                    self.protocol_send,
                )
                await self.idle_task.restart(task_group, self._idle_timeout)
                await self._read_data()
        except OSError:
            pass  # the client went away between accept and here
        finally:
            await self._close()

    def send_soon(self, message: bytes) -> None:
        """Send behind what waits already, without waiting: what the kernel does not take now is sent by a task.

        Only for an accepted WebSocket whose handler still runs. Whether the client is there at all shows in reading.
        """
        rest: bytes | memoryview = message
        idle = not self._waiting and not self.send_lock.locked()
        if idle and not self._secure:
            try:
                sent = os.write(self._socket_stream.socket.fileno(), message)  # trio's sockets do not block
            except BlockingIOError:
                sent = 0
            except OSError:
                return
            if sent == len(message):
                return
            rest = memoryview(message)[sent:]
        self._wait_to_send(rest)
        if idle:
            self._task_group.spawn(self._send_rest)

    def _wait_to_send(self, data: bytes | memoryview) -> None:
        self._waiting.append(data)
        self.waiting_bytes += len(data)

    async def _send_rest(self) -> None:
        async with self.send_lock:
            await self._send_waiting()

    async def protocol_send(self, event: Event) -> None:
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        async with self.send_lock:
            self._wait_to_send(event.data)
            await self._send_waiting()

    async def _send_waiting(self) -> None:
        """Send all that waits, with the lock held; also what `send_soon` adds meanwhile."""
        try:
            while self._waiting:
                data = self._waiting[0]
                with trio.move_on_after(self.send_timeout_s, shield=True) as self._sending:
                    await self.stream.send_all(data)
                if self._sending.cancelled_caught:
                    # Part of a message may be out: nothing sensible can follow it on this connection.
                    log.info("a client took no data for %g s: connection closed", self.send_timeout_s)
                    await trio.aclose_forcefully(self.stream)
                    break
                self._waiting.popleft()
                self.waiting_bytes -= len(data)
            else:
                return
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            pass  # it is closed, or just being closed
        finally:
            self._sending = None
        self._waiting.clear()
        self.waiting_bytes = 0
        await self.protocol.handle(Closed())

    async def _close(self) -> None:
        # The farewell of TLS waits for room to send, which a stalled client never gives.
        with trio.move_on_after(STOP_SEND_TIMEOUT_S):
            try:
                await super()._close()
            except (trio.BrokenResourceError, trio.BusyResourceError):
                await trio.aclose_forcefully(self.stream)

    async def _initiate_server_close(self) -> None:
        await self.protocol.handle(Closed())
        await self._close()

    def hurry(self) -> None:
        """The appliance stops: shorten the time that sending may take, also for what is being sent now."""
        self.send_timeout_s = STOP_SEND_TIMEOUT_S
        if self._sending is not None:
            self._sending.deadline = min(self._sending.deadline, trio.current_time() + STOP_SEND_TIMEOUT_S)


async def _open(stream: trio.SocketStream, tls: ssl.SSLContext) -> trio.SocketStream | trio.SSLStream | None:
    """Return the stream to be served: inside TLS if the client begins it; None if it does not come to that."""
    with trio.move_on_after(HANDSHAKE_TIMEOUT_S):
        try:
            if await stream.socket.recv(1, socket.MSG_PEEK) != _TLS_HANDSHAKE:
                return stream
            secure = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
            await secure.do_handshake()
        except (OSError, trio.BrokenResourceError):
            return None  # also a browser that does not trust the certificate
        return secure
    return None


async def serve_app(
    app: QuartTrio,
    config: Config,
    sockets: list[socket.socket],
    *,
    stopping: trio.Event,
    tls: ssl.SSLContext | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` on bound sockets until `stopping` is set or the task is cancelled; the sockets are closed then.

    With `tls` a connection that begins without it is served all the same, for the application to answer: its scheme
    tells.

    Returns at most `GRACE_S` + `STOP_SEND_TIMEOUT_S` after `stopping`, whatever the clients do.
    """
    asgi = wrap_app(app, config.wsgi_max_body_size, "asgi")
    worker = WorkerContext(None)
    open_connections: set[Connection] = set()
    connections_of: Counter[str] = Counter()

    async def handle(stream: trio.SocketStream) -> None:
        try:
            address = network_of(stream.socket.getpeername()[0])
        except OSError:
            return  # it is gone already
        if len(open_connections) >= MAX_CONNECTIONS or connections_of[address] >= MAX_OF_ONE_ADDRESS:
            log.warning("too many connections, %d of them from %s: refused", connections_of[address], address)
            await trio.aclose_forcefully(stream)
            return
        connections_of[address] += 1
        try:
            await serve_one(stream)
        finally:
            connections_of[address] -= 1
            if not connections_of[address]:
                del connections_of[address]

    async def serve_one(stream: trio.SocketStream) -> None:
        opened = await _open(stream, tls) if tls else stream
        if opened is None:
            return
        connection = Connection(asgi, config, worker, {}, opened)
        open_connections.add(connection)
        try:
            await connection.run()
        except* Exception:
            log.exception("a connection ended with an error")
        finally:
            open_connections.discard(connection)

    listeners = []
    for bound in sockets:
        bound.listen(config.backlog)
        bound.setblocking(False)
        listeners.append(trio.SocketListener(trio.socket.from_stdlib_socket(bound)))
    async with trio.open_nursery() as app_tasks:
        app.nursery = app_tasks
        await app.startup()
        try:
            async with trio.open_nursery() as connections:
                async with trio.open_nursery() as accepting:
                    accepting.start_soon(partial(trio.serve_listeners, handle, listeners, handler_nursery=connections))
                    task_status.started()
                    try:
                        await stopping.wait()
                    finally:
                        for connection in open_connections:
                            connection.hurry()
                    accepting.cancel_scope.cancel()
                await worker.terminated.set()  # ends idle keep-alive connections
                connections.cancel_scope.deadline = trio.current_time() + GRACE_S
        finally:
            app_tasks.cancel_scope.cancel()
