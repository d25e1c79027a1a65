"""The server facts that web/transport.py rests on; each of them is an internal of a pinned package."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import struct
from collections.abc import Callable

import httpx
import pytest
import trio
import wsproto
from hypercorn.events import RawData
from hypercorn.protocol.ws_stream import WebsocketBuffer
from trio_websocket import ConnectionClosed, WebSocketConnection
from wsproto.events import BytesMessage, Ping, TextMessage

from nims_appliance.context import Context
from nims_appliance.frame import Frame
from nims_appliance.pipeline.display import DisplayEncoder, Picture
from nims_appliance.web import hypercorn_streams, transport
from nims_appliance.web.server import MAX_MESSAGE_BYTES

HANDSHAKE = (
    b"GET /livesocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n"
)


async def handshake(stream: trio.SocketStream, extra: bytes = b"") -> bytes:
    """Open a WebSocket by hand; return the head of the answer and what came with it."""
    await stream.send_all(HANDSHAKE % extra)
    answer = b""
    while b"\r\n\r\n" not in answer:
        received = await stream.receive_some()
        assert received, answer
        answer += received
    return answer


async def until_closed(client: WebSocketConnection) -> None:
    while True:
        await client.get_message()


async def assert_alive(port: int) -> None:
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200


def huge(make_frame: Callable[..., Frame]) -> Picture:
    """Larger than all buffers between two ends of a connection, so that sending it stalls."""
    return dataclasses.replace(DisplayEncoder().encode(make_frame()), payload=bytes(32 * 2**20))


async def viewers_are(context: Context, port: int, number: int) -> None:
    async with httpx.AsyncClient() as client:
        while (await client.get(f"http://127.0.0.1:{port}/api/v1/state")).json()["viewers"] != number:
            await trio.sleep(0.02)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536, 200_000])
def test_a_message_is_framed_as_wsproto_frames_it(length: int) -> None:
    connection = wsproto.Connection(wsproto.ConnectionType.SERVER)
    assert hypercorn_streams.binary_message(b"x" * length) == connection.send(BytesMessage(data=b"x" * length))
    assert hypercorn_streams.text_message(b"y" * length) == connection.send(TextMessage(data="y" * length))


async def test_a_picture_reaches_all_sockets_without_a_copy(
    context: Context, serve, connect, make_frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[object] = []
    original = transport.Connection.send_soon

    def spy(self: transport.Connection, message: bytes) -> None:
        if message[0] == 0x82:
            sent.append(message)
        original(self, message)

    monkeypatch.setattr(transport.Connection, "send_soon", spy)
    sonar = context.sonars["pen"]
    picture = DisplayEncoder().encode(make_frame())
    async with serve(context) as port, connect(port, "/livesocket") as one, connect(port, "/livesocket") as other:
        while not sonar.pictures.subscribers:
            await trio.sleep(0.01)
        await viewers_are(context, port, 2)
        sonar.pictures.publish(picture)
        for client in (one, other):
            while not isinstance(received := await client.get_message(), bytes):
                pass
            assert received == picture.payload
    assert len(sent) == 2
    assert sent[0] is sent[1]


async def test_compression_is_declined(context: Context, serve) -> None:
    async with serve(context) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        offer = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
        answer = (await handshake(stream, offer)).partition(b"\r\n\r\n")[0].lower()
        assert answer.startswith(b"http/1.1 101")
        assert b"sec-websocket-extensions" not in answer


async def test_what_a_slow_client_does_not_take_at_once_arrives_whole_and_in_order(
    context: Context, serve, make_frame, make_result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nims_appliance.web.livesocket.MOST_WAITING_BYTES", 2**30)
    column = DisplayEncoder().encode(make_frame(beams=1))
    payloads = [bytes([number]) * 700_000 for number in range(6)]
    sonar = context.sonars["pen"]
    sonar.columns.extend(dataclasses.replace(column, payload=payload) for payload in payloads[:3])
    small = trio.socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    async with serve(context) as port:
        await small.connect(("127.0.0.1", port))
        async with trio.SocketStream(small) as stream:
            pending = (await handshake(stream)).partition(b"\r\n\r\n")[2]
            await viewers_are(context, port, 1)
            while not sonar.pictures.subscribers:
                await trio.sleep(0.01)
            for number, payload in enumerate(payloads[3:], start=10):
                sonar.pictures.publish(dataclasses.replace(column, payload=payload, frame_number=number))
                context.results.publish(make_result(number))
            client = wsproto.Connection(wsproto.ConnectionType.CLIENT)
            pictures: list[bytes] = []
            tracks: list[int] = []
            whole: dict[type, list[bytes | str]] = {BytesMessage: [], TextMessage: []}
            while len(pictures) < 6 or len(tracks) < 3:
                client.receive_data(pending)
                for event in client.events():
                    if isinstance(event, Ping):
                        continue
                    assert isinstance(event, (BytesMessage, TextMessage))
                    parts = whole[type(event)]
                    parts.append(event.data)
                    if event.message_finished and isinstance(event, BytesMessage):
                        pictures.append(b"".join(parts))  # type: ignore[arg-type]
                        parts.clear()
                    elif event.message_finished:
                        message = json.loads("".join(parts))  # type: ignore[arg-type]
                        parts.clear()
                        if message["type"] == "tracks":
                            tracks.append(message["frame"])
                pending = await stream.receive_some(10_000)
    assert pictures == payloads
    assert tracks == [10, 11, 12]


async def test_a_stalled_client_does_not_hold_up_the_stop(context: Context, serve, make_frame) -> None:
    async with serve(context) as port:
        context.sonars["pen"].last_picture = huge(make_frame)
        stalled = await trio.open_tcp_stream("127.0.0.1", port)
        await handshake(stalled)
        await viewers_are(context, port, 1)
        await trio.sleep(0.2)  # it never reads again: the server is in the middle of a picture
        context.stopping.set()
        deadline = trio.current_time() + 3.0
    assert trio.current_time() < deadline  # the requirement: SIGTERM ends the appliance within 3 s
    await stalled.aclose()


async def test_a_stalled_client_is_closed(context: Context, serve, make_frame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport.Connection, "send_timeout_s", 0.2)
    context.sonars["pen"].last_picture = huge(make_frame)
    async with serve(context) as port:
        stalled = await trio.open_tcp_stream("127.0.0.1", port)
        await handshake(stalled)
        await viewers_are(context, port, 1)
        await viewers_are(context, port, 0)
        await stalled.aclose()


async def test_a_client_that_vanishes_ends_its_handler(context: Context, serve, make_frame) -> None:
    encoder = DisplayEncoder()
    async with serve(context) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await handshake(stream)
        await viewers_are(context, port, 1)
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await stream.aclose()  # reset, as after a pulled cable
        for number in range(20):
            context.sonars["pen"].pictures.publish(encoder.encode(make_frame(number)))
            await trio.sleep(0)
        await viewers_are(context, port, 0)


async def test_the_stop_closes_websockets_with_1001(context: Context, serve, connect) -> None:
    async with (
        serve(context) as port,
        connect(port, "/livesocket") as live,
        connect(port, "/echosocket") as echo,
        connect(port, "/pagesocket") as page,
    ):
        for client in (live, echo, page):
            await client.get_message()
        context.stopping.set()
        for client in (live, echo, page):
            with pytest.raises(ConnectionClosed) as closed:
                await until_closed(client)
            assert closed.value.reason.code == 1001


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x81\x05hello",  # a client's frame must be masked
        b"\xff\x80\x00\x00\x00\x00",  # reserved bits and opcode
        b"\x88\x80\x00\x00\x00\x00" + b"\x81\x80\x00\x00\x00\x00" * 3,  # goes on after closing
        b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",  # says that 2^63 bytes follow
        b"\x81\x84\x00\x00\x00\x00\xff\xfe\xfd\xfc",  # text that is not UTF-8
        b"\x80\x80\x00\x00\x00\x00",  # continues nothing
    ],
)
async def test_malformed_frames_cost_only_their_own_connection(context: Context, serve, garbage: bytes) -> None:
    async with serve(context) as port:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await handshake(stream)
            await stream.send_all(garbage)
            await assert_alive(port)
        await viewers_are(context, port, 0)
        await assert_alive(port)


async def test_an_endless_message_is_cut_off(context: Context, serve, connect) -> None:
    async with (
        serve(context) as port,
        connect(port, "/pagesocket") as client,
    ):
        await client.get_message()
        await client.send_message("x" * (2**20 + 1))
        with pytest.raises(ConnectionClosed) as closed:
            await until_closed(client)
        assert closed.value.reason.code == 1009


async def test_nothing_is_kept_of_a_client_that_goes_on_after_its_message_was_refused(
    context: Context, serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []
    extend = WebsocketBuffer.extend

    def watched(buffer: WebsocketBuffer, event: wsproto.events.Message) -> None:
        try:
            extend(buffer, event)
        finally:
            kept.append(buffer.value.tell())

    monkeypatch.setattr(WebsocketBuffer, "extend", watched)
    piece = b"\xfe\xff\xff" + bytes(4) + b"a" * 65535
    async with serve(context) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await handshake(stream)
        await stream.send_all(b"\x01" + piece)
        for _ in range(60):
            await stream.send_all(b"\x00" + piece)
        await stream.send_all(b"\x88\x80" + bytes(4))  # it closes at last, and is closed
        while await stream.receive_some():
            pass
    assert max(kept) < 2 * MAX_MESSAGE_BYTES


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
async def test_a_connection_ends_after_its_last_request(
    context: Context, serve, monkeypatch: pytest.MonkeyPatch, connection: str
) -> None:
    monkeypatch.setattr("hypercorn.config.Config.keep_alive_timeout", 0.2)
    async with serve(context) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: {connection}\r\n\r\n".encode())
        answer = b""
        while received := await stream.receive_some():
            answer += received
        assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # somebody speaks TLS
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        b"GET /static/..%2fapp.py HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    ],
)
async def test_strange_requests_are_answered_in_http_1(context: Context, serve, request_bytes: bytes) -> None:
    async with serve(context) as port:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            answer = b""
            try:
                await stream.send_all(request_bytes)
                while received := await stream.receive_some():
                    answer += received
            except trio.BrokenResourceError:
                pass  # refused before everything was sent
        expected = b"HTTP/1.1 200" if b"h2c" in request_bytes else b"HTTP/1.1 4"
        assert answer.startswith(expected) or (answer == b"" and b"h2c" not in request_bytes)
        assert b"root:" not in answer
        await assert_alive(port)


async def test_a_request_that_never_ends_is_given_up(context: Context, serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hypercorn.config.Config.keep_alive_timeout", 0.2)
    async with serve(context) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost:")
        assert await stream.receive_some() == b""


async def test_more_connections_than_allowed_are_refused(
    context: Context, serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAX_CONNECTIONS", 2)
    async with serve(context) as port:
        first, second = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(2)]
        await handshake(first)
        await handshake(second)
        third = await trio.open_tcp_stream("127.0.0.1", port)
        with contextlib.suppress(trio.BrokenResourceError):  # closed with a reset, just as good
            assert await third.receive_some() == b""
        await third.aclose()
        await first.aclose()
        await second.aclose()
        while True:
            try:
                await assert_alive(port)  # once the first two are really gone
                break
            except httpx.TransportError:
                await trio.sleep(0.02)


async def test_what_is_sent_while_a_connection_closes_harms_nobody(
    context: Context, serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted: list[transport.Connection] = []
    original = transport.Connection.run

    async def run(connection: transport.Connection) -> None:
        accepted.append(connection)
        await original(connection)

    monkeypatch.setattr(transport.Connection, "run", run)
    async with serve(context) as port:
        for number in range(1, 21):  # which of the two goes first is left to chance
            async with await trio.open_tcp_stream("127.0.0.1", port):
                while len(accepted) < number:
                    await trio.sleep(0.01)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(accepted[-1]._close)
                    nursery.start_soon(accepted[-1].protocol_send, RawData(data=b"ping"))
