"""What an attacker on the network would try, over raw connections. docs/security.md names each of them."""

from __future__ import annotations

import time

import httpx
import pytest
import trio

from nims_appliance.context import Context
from nims_appliance.web import bodies, hypercorn_streams, transport
from nims_appliance.web.pagesocket import describe_config
from nims_appliance.web.security import HEADERS


async def exchange(port: int, *sent: bytes, pause_s: float = 0.0) -> bytes:
    """Send pieces and return all that comes until the server closes."""
    received = bytearray()
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        try:
            for piece in sent:
                await stream.send_all(piece)
                await trio.sleep(pause_s)
            while data := await stream.receive_some():
                received += data
        except trio.BrokenResourceError:
            pass
    return bytes(received)


async def assert_alive(port: int) -> None:
    async with httpx.AsyncClient(timeout=20) as client:
        assert (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200


OUTSIDE = [
    "../app.py",
    "..%2fapp.py",
    "%2e%2e/app.py",
    "%2e%2e%2fapp.py",
    "..%252fapp.py",
    "..%5capp.py",
    "..\\app.py",
    "....//app.py",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "live/live.js%00",
    "live/./live.js",
    "live/..%2flive/live.js",
    "file:///etc/passwd",
    "\xff",
]


async def test_no_path_leads_to_a_file_that_is_not_in_the_tables(context: Context, serve) -> None:
    async with serve(context) as port:
        for path in OUTSIDE:
            request = f"GET /static/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
            answer = await exchange(port, request.encode("latin1"))
            assert answer.split()[1] in (b"404", b"400", b"308"), path
            assert b"root:" not in answer
            assert b"make_app" not in answer
        await assert_alive(port)


async def test_a_head_that_comes_slowly_is_given_up(context: Context, serve) -> None:
    async with serve(context) as port, trio.open_nursery() as nursery:
        ended = []

        async def dribble() -> None:
            started_s = trio.current_time()
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                try:
                    await stream.send_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
                    for number in range(200):
                        await stream.send_all(f"X-{number}: a\r\n".encode())
                        await trio.sleep(0.1)
                except trio.BrokenResourceError:
                    pass
            ended.append(trio.current_time() - started_s)

        for _ in range(5):
            nursery.start_soon(dribble)
        await assert_alive(port)
        while len(ended) < 5:
            await trio.sleep(0.1)
        assert max(ended) < 19  # each would go on for 20 s


async def test_a_body_that_comes_slowly_is_given_up(
    context: Context, serve, operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_S", 0.3)
    async with serve(context) as port:
        answer = await exchange(
            port,
            b"PATCH /api/v1/config HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000\r\nAuthorization: " + operator["Authorization"].encode() + b"\r\n\r\n{",
        )
        assert answer.startswith(b"HTTP/1.1 408")


async def test_a_body_that_nobody_reads_holds_no_connection(
    context: Context, serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hypercorn_streams, "LINGER_S", 10.0)  # on a busy machine too
    async with serve(context) as port:
        head = (
            b"PUT /api/v1/files/plugins/x.py HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1500000\r\n"
            b"Connection: close\r\n\r\n"
        )
        for _ in range(3):
            answer = await exchange(port, head, *([bytes(100_000)] * 15))
            assert answer.startswith(b"HTTP/1.1 401")
        await assert_alive(port)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 200_000,
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 20_000,
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"\0" * 100,
        b"\r\n" * 50_000,
    ],
)
async def test_a_malformed_or_huge_head_is_refused(context: Context, serve, head: bytes) -> None:
    async with serve(context) as port:
        answer = await exchange(port, head)
        assert answer == b"" or answer.split()[1] in (b"400", b"421", b"431")
        await assert_alive(port)


async def test_two_lengths_of_one_body_are_one_request_not_two(context: Context, serve) -> None:
    smuggled = b"GET /api/v1/state HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    async with serve(context) as port:
        answer = await exchange(
            port,
            b"POST /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 4\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
        )
        assert answer.count(b"HTTP/1.1 ") <= 1  # none where the connection was reset because of what follows
        assert b'"parts"' not in answer


async def test_an_answer_cannot_be_split_by_what_is_asked(context: Context, serve) -> None:
    await context.config.change({"web.login_to_view": True}, "test")
    async with serve(context) as port:
        answer = await exchange(
            port,
            b"GET /settings?x=%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\n"
            b"Connection: close\r\n\r\n",
        )
        assert answer.startswith(b"HTTP/1.1 303")
        assert b"\r\nset-cookie" not in answer.lower()


async def test_a_redirect_leads_to_no_other_server(context: Context, serve) -> None:
    await context.config.change({"web.login_to_view": True}, "test")
    async with serve(context) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for path in ("//evil.example/%2e%2e", "/\\evil.example", "/settings/", "/%2f%2fevil.example"):
            answer = await client.get(path, headers={"Accept": "text/html"})
            location = answer.headers.get("location", "/")
            assert location.startswith("/")
            assert not location.startswith(("//", "/\\"))


async def test_every_answer_has_the_security_headers(context: Context, serve, monkeypatch) -> None:
    async with serve(context) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for method, path, headers in (
            ("GET", "/", {}),
            ("GET", "/nothing", {}),
            ("GET", "/config", {}),
            ("POST", "/healthz", {}),
            ("PATCH", "/api/v1/config", {}),
            ("GET", "/", {"Host": "evil.example"}),
            ("GET", "/api/v1/state", {"Authorization": "Bearer x"}),
        ):
            answer = await client.request(method, path, headers=headers)
            for name, value in HEADERS.items():
                assert answer.headers[name] == value, (method, path)
            assert answer.headers["x-request-id"]
            assert "server" not in answer.headers


async def test_one_address_cannot_take_all_connections(
    context: Context, serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAX_OF_ONE_ADDRESS", 3)
    async with serve(context) as port:
        held = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(3)]
        assert await exchange(port, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") == b""
        async with await trio.open_tcp_stream("127.0.0.1", port, local_address="127.0.0.2") as other:
            await other.send_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert (await other.receive_some()).startswith(b"HTTP/1.1 200")
        for stream in held:
            await stream.aclose()
        while not await exchange(port, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"):
            await trio.sleep(0.05)


async def test_who_asks_for_the_settings_again_and_again_costs_little(context: Context) -> None:
    describe_config(context.config, operator=False)  # what is kept from the first time
    began_s = time.thread_time()
    for _ in range(10):
        describe_config(context.config, operator=False)
    assert time.thread_time() - began_s < 0.5  # each held up pings and viewers for 0.4 s once
