"""The HTTP and WebSocket server: Hypercorn's trio server, made fit for stalled viewers and for pictures.

What is changed, and why, rests on internals of Hypercorn 0.18.0 (pinned); tests/web/test_transport.py holds each fact:

* Hypercorn sends inside a shielded cancel scope without a deadline, so one browser that stops reading would hold up the
  stop of the appliance for ever. Here every send has a deadline, after which the connection is closed.
* It accepts permessage-deflate whenever a browser offers it and compresses on the event loop: the offer is removed.
* wsproto copies a message three times for each client: a `Message` is framed once, for all.
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
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState as RequestState
from hypercorn.utils import parse_socket_addr, wrap_app
from quart_trio import QuartTrio

from ..access.login_limit import network_of
from .hypercorn_streams import CONNECTION, END_TIMEOUT_S, HttpProtocol

log = logging.getLogger(__name__)

SEND_TIMEOUT_S = 10.0
"""One message to one client: a picture of 130 kB passes on a link of 0.1 Mbit/s."""
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
                self.protocol = HttpProtocol(  # type: ignore[assignment]
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
        with trio.move_on_after(END_TIMEOUT_S):
            try:
                await super()._close()
            except (trio.BrokenResourceError, trio.BusyResourceError):
                await trio.aclose_forcefully(self.stream)

    async def _initiate_server_close(self) -> None:
        await self.protocol.handle(Closed())
        await self._close()

    def hurry(self) -> None:
        """The appliance stops: shorten the time that sending may take, also for what is being sent now."""
        self.send_timeout_s = END_TIMEOUT_S
        if self._sending is not None:
            self._sending.deadline = min(self._sending.deadline, trio.current_time() + END_TIMEOUT_S)


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

    Returns at most `GRACE_S` + `END_TIMEOUT_S` after `stopping`, whatever the clients do.
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
