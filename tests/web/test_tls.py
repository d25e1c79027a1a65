"""TLS: with the appliance's own certificate, with one that was given, and for clients that come without."""

from __future__ import annotations

import os
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
from trio_websocket import open_websocket_url

from nims_appliance.context import Context
from nims_appliance.errors import ConfigError
from nims_appliance.settings import WebSettings
from nims_appliance.web.server import serve_web
from nims_appliance.web.tls import Tls, make_tls

GENERATED = WebSettings(tls="generated")


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A data folder whose certificate has been made."""
    made = tmp_path_factory.mktemp("tls")
    make_tls(GENERATED, made, ["localhost", "pen.local"], ["127.0.0.1"])
    return made


@pytest.fixture
def tls(folder: Path) -> Tls:
    made = make_tls(GENERATED, folder, ["localhost"], [])
    assert made is not None
    return made


@pytest.fixture
def trusting(folder: Path) -> ssl.SSLContext:
    """A client that trusts the certificate, and checks the name in it."""
    return ssl.create_default_context(cafile=str(folder / "tls.pem"))


@asynccontextmanager
async def serving(context: Context, tls: Tls) -> AsyncIterator[int]:
    bound = socket.create_server(("127.0.0.1", 0))
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_web, context, [bound], tls=tls.context))
        yield bound.getsockname()[1]
        context.stopping.set()


async def test_pages_and_sockets_are_encrypted(context: Context, tls: Tls, trusting, make_frame) -> None:
    async with serving(context, tls) as port:
        async with httpx.AsyncClient(base_url=f"https://127.0.0.1:{port}", verify=trusting) as client:
            for _ in range(3):
                assert (await client.get("/healthz")).status_code == 200
        async with open_websocket_url(f"wss://localhost:{port}/livesocket", ssl_context=trusting) as page:
            assert '"hello"' in await page.get_message()
            assert '"state"' in await page.get_message()
            assert '"state"' in await page.get_message()


async def test_a_login_over_tls_has_cookies_for_tls_alone(context: Context, tls: Tls, trusting) -> None:
    password = context.access.make_first_admin()
    async with (
        serving(context, tls) as port,
        httpx.AsyncClient(base_url=f"https://127.0.0.1:{port}", verify=trusting, timeout=20) as client,
    ):
        answer = await client.post("/api/v1/session", json={"name": "admin", "password": password})
        cookies = answer.headers.get_list("set-cookie")
        assert len(cookies) == 2
        for cookie in cookies:
            assert cookie.startswith("__Host-nims_")
            assert "Secure" in cookie


async def test_who_comes_without_tls_is_led_to_it(context: Context, tls: Tls) -> None:
    async with serving(context, tls) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        page = await client.get("/settings?x=1")
        assert (page.status_code, page.headers["location"]) == (308, f"https://127.0.0.1:{port}/settings?x=1")
        login = await client.post("/api/v1/session", json={"name": "admin", "password": "secret word"})
        assert login.status_code == 403
        assert f"https://127.0.0.1:{port}/" in login.json()["error"]
        assert (await client.get("/", headers={"Host": "evil.example"})).status_code == 421
        socket_request = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
        assert (await client.get("/livesocket", headers=socket_request)).status_code == 403


@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x01" + bytes(300), b"\x16" * 70_000, b"\x80\x80\x01\x03"])
async def test_a_broken_handshake_ends_only_itself(
    context: Context, tls: Tls, trusting, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nims_appliance.web.transport.HANDSHAKE_TIMEOUT_S", 0.2)
    async with serving(context, tls) as port:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            with trio.move_on_after(5):
                try:
                    await stream.send_all(sent)
                    while await stream.receive_some():
                        pass
                except trio.BrokenResourceError:
                    pass
        async with httpx.AsyncClient(base_url=f"https://127.0.0.1:{port}", verify=trusting) as client:
            assert (await client.get("/healthz")).status_code == 200


async def test_old_versions_of_tls_are_not_spoken(context: Context, tls: Tls) -> None:
    assert tls.context.minimum_version == ssl.TLSVersion.TLSv1_2


async def test_a_stalled_client_does_not_hold_up_the_stop(context: Context, tls: Tls, trusting, make_frame) -> None:
    async with serving(context, tls) as port:
        stream = await trio.open_ssl_over_tcp_stream(
            "localhost", port, ssl_context=trusting, https_compatible=True, happy_eyeballs_delay=0.01
        )
        await stream.send_all(
            f"GET /echosocket?intensity=json HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        assert b"101" in await stream.receive_some()
        while not context.sonars["pen"].frames.subscribers:
            await trio.sleep(0.01)
        context.sonars["pen"].frames.publish(make_frame(1, samples=1500, beams=256))
        await trio.sleep(0.3)
        with trio.fail_after(10):
            context.stopping.set()
        await trio.aclose_forcefully(stream)


def test_a_certificate_is_made_once_for_its_owner_only(folder: Path, tls: Tls) -> None:
    path = folder / "tls.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    again = make_tls(GENERATED, folder, ["other"], [])
    assert path.read_bytes() == before
    assert again is not None
    assert again.fingerprint == tls.fingerprint
    assert len(tls.fingerprint.split(":")) == 32
    assert [entry.name for entry in folder.iterdir()] == ["tls.pem"]


def test_a_damaged_certificate_of_its_own_is_made_anew(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tls.pem").write_bytes((folder / "tls.pem").read_bytes()[:300])
    assert make_tls(GENERATED, tmp_path, ["localhost"], ["127.0.0.1"]) is not None


def test_a_given_certificate_is_used(folder: Path, tmp_path: Path, tls: Tls) -> None:
    given = WebSettings(tls="given", tls_certificate="tls.pem", tls_key=str(folder / "tls.pem"))
    made = make_tls(given, folder, [], [])
    assert made is not None
    assert made.fingerprint == tls.fingerprint
    assert make_tls(WebSettings(), tmp_path, [], []) is None
    for name in ("nothing.pem", "text.pem"):
        (tmp_path / "text.pem").write_text("no certificate")
        wrong = WebSettings(tls="given", tls_certificate=str(tmp_path / name), tls_key=str(folder / "tls.pem"))
        with pytest.raises(ConfigError, match=rf"web\.tls_certificate: .*{name}"):
            make_tls(wrong, folder, [], [])


def test_without_openssl_the_operator_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="needs the command openssl, which this computer lacks"):
        make_tls(GENERATED, tmp_path, ["localhost"], [])
    assert os.listdir(tmp_path) == []


def test_given_without_files_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="needs tls_certificate and tls_key"):
        WebSettings(tls="given")
