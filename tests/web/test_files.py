"""Files up and down, compression, and what browsers may keep."""

from __future__ import annotations

import gzip
import io
import zipfile
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio

from nims_appliance.context import Context
from nims_appliance.web import compression, files_api, streams
from nims_appliance.web.app import make_app
from nims_appliance.web.livesocket import Viewers
from nims_appliance.web.state import WebState

PROFILE = (Path(__file__).parents[2] / "firmware_profiles" / "kongsberg-m3.yaml").read_bytes()


@pytest.fixture
def admin(context: Context) -> dict[str, str]:
    return {"Authorization": f"Bearer {context.access.add_token('test', 'admin', 'test')[1]}"}


@asynccontextmanager
async def client_of(serve, context: Context, headers: dict[str, str] | None = None):
    async with (
        serve(context) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20) as client,
    ):
        yield client


def leftovers(context: Context) -> list[Path]:
    return list(context.data.rglob(f"{streams.PREFIX}*"))


async def test_a_profile_goes_up_and_comes_down_as_it_was(context: Context, serve, admin) -> None:
    async with client_of(serve, context, admin) as client:
        answer = await client.put("/api/v1/files/profiles/own.yaml", content=PROFILE)
        assert answer.status_code == 201
        assert "next start" in answer.json()["note"]
        assert (context.data / "profiles" / "own.yaml").read_bytes() == PROFILE
        (listed,) = (await client.get("/api/v1/files")).json()["files"]
        assert (listed["folder"], listed["name"], listed["size_bytes"]) == ("profiles", "own.yaml", len(PROFILE))
        down = await client.get("/api/v1/files/profiles/own.yaml")
        assert down.content == PROFILE
        assert down.headers["content-disposition"] == "attachment; filename=own.yaml"
        assert (await client.delete("/api/v1/files/profiles/own.yaml")).status_code == 200
        assert (await client.get("/api/v1/files/profiles/own.yaml")).status_code == 404
    assert leftovers(context) == []


async def test_a_large_plugin_is_never_in_memory_as_a_whole(
    context: Context, serve, admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as wheel:
        wheel.writestr("data", bytes(range(256)) * 40_000)
    data = packed.getvalue()
    assert len(data) > 10_000_000
    pieces = []
    put = streams._Pieces.put

    async def counted(self: streams._Pieces, piece: bytes) -> None:
        pieces.append(len(piece))
        await put(self, piece)

    monkeypatch.setattr(streams._Pieces, "put", counted)
    async with client_of(serve, context, admin) as client:
        assert (await client.put("/api/v1/files/plugins/big-1.whl", content=data)).status_code == 201
        async with client.stream("GET", "/api/v1/files/plugins/big-1.whl") as answer:
            assert answer.headers["content-length"] == str(len(data))
            received = b"".join([piece async for piece in answer.aiter_raw()])
    assert received == data
    assert max(pieces) < 200_000


@pytest.mark.parametrize(
    ("path", "content", "status", "said"),
    [
        ("profiles/own.yaml", b"driver: [", 400, "own.yaml"),
        ("plugins/own.py", b"def broken(:", 400, "expected a Python module"),
        ("plugins/own.py", b"\0", 400, "expected a Python module"),
        ("plugins/own-1.whl", b"no zip", 400, "expected a wheel"),
        ("profiles/own.py", b"", 400, "ending in .yaml"),
        ("profiles/.own.yaml", b"", 400, "expected a name"),
        ("logs/own.yaml", b"", 404, "no folder"),
        ("profiles/own.yaml", bytes(2**20 + 1), 413, "at most 1 MiB"),
    ],
)
async def test_a_file_that_does_not_fit_is_refused_and_nothing_is_left(
    context: Context, serve, admin, path: str, content: bytes, status: int, said: str
) -> None:
    async with client_of(serve, context, admin) as client:
        answer = await client.put(f"/api/v1/files/{path}", content=content)
        assert answer.status_code == status
        assert said in answer.json()["error"]
        assert (await client.get("/api/v1/files")).json() == {"files": []}
    assert leftovers(context) == []


async def test_an_older_file_stays_if_the_new_one_is_refused(context: Context, serve, admin) -> None:
    async with client_of(serve, context, admin) as client:
        await client.put("/api/v1/files/plugins/own.py", content=b"one = 1\n")
        assert (await client.put("/api/v1/files/plugins/own.py", content=b"one =")).status_code == 400
        assert (await client.get("/api/v1/files/plugins/own.py")).content == b"one = 1\n"


async def test_an_upload_of_unknown_length_is_bounded_too(context: Context, serve, admin) -> None:
    async def endless():
        for _ in range(40):
            yield bytes(2**16)

    async with client_of(serve, context, admin) as client:
        try:
            answer = await client.put("/api/v1/files/profiles/own.yaml", content=endless())
            assert answer.status_code == 413
        except httpx.TransportError:
            pass  # it was cut off before it read the answer
        assert (await client.get("/api/v1/files")).json() == {"files": []}
    assert leftovers(context) == []


@pytest.mark.parametrize("silent", [True, False])
async def test_an_upload_that_breaks_off_leaves_nothing(
    context: Context, serve, admin, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    monkeypatch.setattr(streams, "IDLE_TIMEOUT_S", 0.3)
    async with serve(context) as port:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(
                b"PUT /api/v1/files/plugins/own.py HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n"
                b"Authorization: " + admin["Authorization"].encode() + b"\r\n\r\nhalf = "
            )
            while not leftovers(context):
                await trio.sleep(0.01)
            if silent:
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 408")
        while leftovers(context):
            await trio.sleep(0.01)
    assert not (context.data / "plugins" / "own.py").exists()


async def test_a_full_disk_is_told(context: Context, serve, admin, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(streams, "_sync", full)
    async with client_of(serve, context, admin) as client:
        answer = await client.put("/api/v1/files/plugins/own.py", content=b"one = 1\n")
        assert answer.status_code == 507
        assert "No space left" in answer.json()["error"]
    assert leftovers(context) == []


async def test_what_a_crash_left_of_an_upload_is_removed_at_the_next_start(context: Context, serve) -> None:
    (context.data / f"{streams.PREFIX}abc").write_bytes(b"half")
    async with serve(context):
        assert leftovers(context) == []


OUTSIDE = (
    "../users.json",
    "%2e%2e/users.json",
    "..%2fusers.json",
    "..%252fusers.json",
    "..\\users.json",
    "a%00.yaml",
    "x/../y.yaml",
)


async def test_no_path_leads_out_of_the_folder(context: Context, serve, admin) -> None:
    async with serve(context) as port:
        for method in ("GET", "PUT", "DELETE"):
            for name in OUTSIDE:
                async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                    # As it is: clients and their libraries would tidy the path.
                    await stream.send_all(
                        f"{method} /api/v1/files/profiles/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n"
                        f"Connection: close\r\nAuthorization: {admin['Authorization']}\r\n\r\n".encode()
                    )
                    answer = await stream.receive_some()
                    assert answer.split()[1] in (b"400", b"404", b"405"), (method, name)
                    assert b"digest" not in answer
    assert len(context.access.content.tokens) == 1
    assert files_api._list(context.data) == []


# Compression


async def test_text_is_compressed_for_who_takes_it(context: Context, serve) -> None:
    async with client_of(serve, context) as client:
        for path in ("/", "/static/shared/style.css", "/api/v1/config"):
            plain = await client.get(path, headers={"Accept-Encoding": "identity"})
            assert "content-encoding" not in plain.headers
            packed = await client.get(path, headers={"Accept-Encoding": "gzip"})
            assert packed.headers["content-encoding"] == "gzip"
            assert "Accept-Encoding" in packed.headers["vary"]
            assert packed.content == plain.content
            assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 2
            refused = await client.get(path, headers={"Accept-Encoding": "gzip;q=0"})
            assert "content-encoding" not in refused.headers


async def test_each_form_of_a_file_has_its_own_mark(context: Context, serve) -> None:
    async with client_of(serve, context) as client:
        marks = set()
        for encoding in ("gzip", "identity"):
            headers = {"Accept-Encoding": encoding}
            mark = (await client.get("/", headers=headers)).headers["etag"]
            marks.add(mark)
            for shown in (mark, f"W/{mark}", f'"other", {mark}', "*"):
                again = await client.get("/", headers=headers | {"If-None-Match": shown})
                assert (again.status_code, again.content) == (304, b"")
            assert (await client.get("/", headers=headers | {"If-None-Match": '"other"'})).status_code == 200
        assert len(marks) == 2


async def test_answers_with_secrets_are_not_compressed(context: Context, serve, admin, monkeypatch) -> None:
    monkeypatch.setattr(compression, "MIN_BYTES", 1)
    async with client_of(serve, context, admin) as client:
        for path in ("/api/v1/session", "/api/v1/users"):
            answer = await client.get(path, headers={"Accept-Encoding": "gzip"})
            assert "content-encoding" not in answer.headers
        token = await client.post("/api/v1/tokens", json={"name": "x", "role": "viewer"})
        assert "content-encoding" not in token.headers
        assert (await client.get("/healthz")).headers["content-encoding"] == "gzip"


def test_the_same_text_is_always_packed_into_the_same_bytes() -> None:
    assert compression.compress(b"ping" * 1000) == compression.compress(b"ping" * 1000)
    assert gzip.decompress(compression.compress(b"ping" * 1000)) == b"ping" * 1000


async def test_urls_are_made_from_names(context: Context) -> None:
    state = WebState(context)
    app = make_app(context, state, Viewers(context, state, "0"))
    async with app.test_request_context("/"):
        assert app.url_for("page settings") == "/settings"
        assert app.url_for("page login", next="/settings?a=b&c=d") == "/login?next=/settings?a%3Db%26c%3Dd"
        assert app.url_for("static", name="live/live.js") == "/static/live/live.js"
        assert app.url_for("get_file", folder="plugins", name="a b.py") == "/api/v1/files/plugins/a%20b.py"
