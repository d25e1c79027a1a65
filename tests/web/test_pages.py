"""Pages, API, errors, and what keeps foreign pages out."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
import trio
from trio_websocket import ConnectionRejected

from nims_appliance.context import Context
from nims_appliance.web import security
from nims_appliance.web.assets import Assets


@asynccontextmanager
async def browsing(serve, context: Context) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(context) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/settings", "/static/live/live.js", "/static/shared/style.css"])
async def test_pages_are_served_with_security_headers(context: Context, serve, path: str) -> None:
    async with browsing(serve, context) as client:
        answer = await client.get(path)
        assert answer.status_code == 200
        assert "'unsafe-inline'" not in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        again = await client.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_pages_hold_no_inline_script_and_nothing_from_elsewhere() -> None:
    assets = Assets()
    for name, file in assets.files.items():
        code = re.sub(rb"\A(//[^\n]*\n)?/\*!.*?\*/", b"", file.data)  # where a library says whose it is
        assert not re.search(rb"https?://(?!www\.w3\.org/2000/svg)", code), name
    for name, page in assets.pages.items():
        text = page.data.decode()
        assert not re.search(r"https?://|<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text), name


@pytest.mark.parametrize(
    ("old", "new"), [("/config", "/settings"), ("/config.html", "/settings"), ("/index.html", "/")]
)
async def test_paths_of_earlier_versions_lead_to_their_pages(context: Context, serve, old: str, new: str) -> None:
    async with browsing(serve, context) as client:
        answer = await client.get(old)
        assert (answer.status_code, answer.headers["location"]) == (308, new)


async def test_files_of_this_version_are_kept_for_ever_and_of_no_other(context: Context, serve) -> None:
    async with browsing(serve, context) as client:
        paths = re.findall(r'"(/static/[^"]+)"', (await client.get("/")).text)
        assert any(path.endswith("live.js") for path in paths)
        for path in paths:
            answer = await client.get(path)
            assert answer.status_code == 200
            assert "immutable" in answer.headers["cache-control"]
        assert (await client.get("/static/0123456789ab/live/live.js")).status_code == 404
        assert (await client.get("/static/live/live.js")).headers["cache-control"] == "no-cache"


def test_pages_escape_what_they_are_given() -> None:
    page = Assets().make_page("error", title="404", status=404, error="<script>alert(1)</script>", request_id="")
    assert b"&lt;script&gt;" in page.data
    assert b"<script>" not in page.data


async def test_the_state_of_every_part_is_told(context: Context, serve, make_frame) -> None:
    context.health.part("sonar pen").set("running", "fine")
    context.sonars["pen"].last_frame = make_frame(3)
    async with browsing(serve, context) as client:
        assert (await client.get("/healthz")).json()["ok"] is True
        state = (await client.get("/api/v1/state")).json()
        assert "sonar pen" in [part["name"] for part in state["parts"]]
        (sonar,) = (await client.get("/api/v1/sonars")).json()["sonars"]
        assert sonar["last_ping"]["ping"] == 1003
        assert sonar["last_ping"]["beams"] == 16
        context.health.part("sonar pen").set("failed", "no cable")
        answer = await client.get("/healthz")
        assert (answer.status_code, answer.json()["ok"]) == (503, False)
        assert answer.json()["parts"][0]["detail"] == "no cable"


async def test_a_file_whose_name_is_not_utf8_hides_no_page(context: Context, serve, connect) -> None:
    context.health.part("sonar pen").set("waiting", "there is no file caf\udce9.raw")
    async with browsing(serve, context) as client:
        for path in ("/healthz", "/api/v1/state"):
            assert "there is no file caf?.raw" in (await client.get(path)).text


async def test_the_configuration_is_read_and_changed_over_the_api(context: Context, serve, operator) -> None:
    async with browsing(serve, context) as client:
        client.headers.update(operator)
        config = (await client.get("/api/v1/config")).json()
        assert config["values"]["sonars"]["pen"]["profile"] == "kongsberg-m3"
        assert config["origins"]["sonars.pen.profile"].startswith("config.yaml:")
        assert config["origins"]["web.picture_rate_hz"] == "default"
        assert "$defs" in config["schema"]
        answer = await client.patch("/api/v1/config", json={"changes": {"web.picture_rate_hz": 3}})
        assert answer.json() == {"ok": True, "changes": {"web.picture_rate_hz": 3}}
        assert context.config.current.web.picture_rate_hz == 3
        refused = await client.patch("/api/v1/config", json={"changes": {"web.picture_rate_hz": -3}})
        assert refused.status_code == 400
        body = refused.json()
        assert body["ok"] is False
        assert body["status"] == 400
        assert "web.picture_rate_hz" in body["error"]
        assert body["errors"]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"{}", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b'{"changes":{"\xff":1}}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"changes":{"sonars.pen.driver":' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}}", "application/json", 400),
        (b'{"changes":{"sonars.pen.driver":' + b"[" * 900 + b"]" * 900 + b"}}", "application/json", 400),
        (b'{"changes":{"web.picture_rate_hz":3}}', "text/plain", 415),
    ],
)
async def test_a_malformed_change_is_refused(
    context: Context, serve, operator, content: bytes, kind: str, status: int
) -> None:
    async with browsing(serve, context) as client:
        client.headers.update(operator)
        answer = await client.patch("/api/v1/config", content=content, headers={"Content-Type": kind})
        assert answer.status_code == status
        assert answer.json()["status"] == status


@pytest.mark.parametrize("framing", ["Content-Length: 2000000000", "Transfer-Encoding: chunked"])
async def test_a_huge_body_is_not_read(context: Context, serve, operator, framing: str) -> None:
    async with serve(context) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        head = (
            f"PATCH /api/v1/config HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {operator['Authorization']}\r\n"
            f"Content-Type: application/json\r\n{framing}\r\n\r\n"
        )
        answer = b""

        async def send_without_end() -> None:
            chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
            while True:
                await stream.send_all(chunk)

        await stream.send_all(head.encode())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_refused, send_without_end)
            while b"\r\n" not in answer:
                answer += await stream.receive_some()
            nursery.cancel_scope.cancel()
        assert answer.startswith(b"HTTP/1.1 413")


async def _until_refused(function) -> None:
    with suppress(trio.BrokenResourceError):
        await function()


async def test_errors_are_json_for_programs_and_a_page_for_people(
    context: Context, serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with browsing(serve, context) as client:
        assert (await client.get("/nothing")).json()["status"] == 404
        page = await client.get("/static/<b>", headers={"Accept": "text/html"})
        assert page.status_code == 404
        assert "<b>" not in page.text
        assert "&lt;b&gt;" in page.text
        assert (await client.post("/healthz")).status_code == 405

        def fail() -> None:
            raise ZeroDivisionError("secret")

        monkeypatch.setattr(context.health, "snapshot", fail)
        answer = await client.get("/healthz", headers={"Accept": "text/html"})
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text
        assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:8080", True),
        ("192.168.1.20", True),
        ("[fe80::1]:8080", True),
        ("localhost:8080", True),
        ("LOCALHOST", True),
        ("pen.example", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
        ("[", False),
    ],
)
def test_only_own_names_are_answered(host: str, allowed: bool) -> None:
    assert (security.host_error(host, {"localhost", "pen.example"}) == "") is allowed


@pytest.mark.parametrize(
    ("origin", "site", "allowed"),
    [
        (None, None, True),
        ("http://pen.local:8080", "same-origin", True),
        ("https://pen.local:8080", None, True),
        ("http://pen.local", None, False),
        ("http://pen.local:8081", "same-site", False),
        ("http://evil.example", "cross-site", False),
        ("null", None, False),
        ("", None, False),
        ("http://[", None, False),
    ],
)
def test_only_own_pages_may_change_something(origin: str | None, site: str | None, allowed: bool) -> None:
    assert (security.origin_error(origin, site, "pen.local:8080") == "") is allowed


async def test_foreign_pages_are_kept_out(context: Context, serve, connect, operator) -> None:
    change = {"changes": {"web.picture_rate_hz": 3}}
    async with (
        serve(context) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=operator) as client,
    ):
        rebound = await client.get("/api/v1/config", headers={"Host": "evil.example"})
        assert rebound.status_code == 421
        forged = await client.patch("/api/v1/config", json=change, headers={"Origin": "http://evil.example"})
        assert forged.status_code == 403
        own = await client.patch("/api/v1/config", json=change, headers={"Origin": f"http://127.0.0.1:{port}"})
        assert own.status_code == 200
        assert "access-control-allow-origin" not in own.headers
        for path in ("/livesocket", "/echosocket", "/pagesocket"):
            with pytest.raises((ConnectionRejected, ExceptionGroup)) as refused:
                async with connect(port, path, Origin="http://evil.example"):
                    pass
            error = refused.value
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            assert error.status_code == 403
        async with connect(port, "/pagesocket", Origin=f"http://127.0.0.1:{port}") as page:
            await page.get_message()


async def test_a_name_from_the_configuration_is_answered(context: Context, serve) -> None:
    async with browsing(serve, context) as client:
        assert (await client.get("/healthz", headers={"Host": "pen.example:8080"})).status_code == 421
        await context.config.change({"web.names": ["pen.example"]}, "test")
        assert (await client.get("/healthz", headers={"Host": "pen.example:8080"})).status_code == 200


async def test_a_change_is_found_in_the_history_and_taken_back(context: Context, serve, operator) -> None:
    key = "sonars.pen.detector.min_range_m"
    async with browsing(serve, context) as client:
        client.headers.update(operator)
        for value in (2.5, 3.5):
            assert (await client.patch("/api/v1/config", json={"changes": {key: value}})).status_code == 200
        newest, first = (await client.get("/api/v1/config/history")).json()["history"]
        assert (newest["number"], newest["author"], newest["source"]) == (2, "token test", "API")
        assert newest["rows"] == [{"key": key, "old": 2.5, "new": 3.5}]
        assert newest["undo_problem"] == ""
        assert "changed again since" in first["undo_problem"]
        assert (await client.post("/api/v1/config/undo", json={"number": 1})).status_code == 400
        answer = await client.post("/api/v1/config/undo", json={"number": 2})
        assert answer.json() == {"ok": True, "changes": {key: 2.5}}
        assert context.config.sonar("pen").detector.min_range_m == 2.5
        history = (await client.get("/api/v1/config/history")).json()["history"]
        assert (history[0]["undoes"], history[0]["undo_problem"]) == (2, "")
        for nonsense in ({"number": "2"}, {"number": True}, {}, [], {"number": 99}):
            assert (await client.post("/api/v1/config/undo", json=nonsense)).status_code == 400


async def test_only_operators_take_changes_back(context: Context, serve) -> None:
    await context.config.change({"web.picture_rate_hz": 5.0}, "anna")
    async with browsing(serve, context) as client:
        assert len((await client.get("/api/v1/config/history")).json()["history"]) == 1
        assert (await client.post("/api/v1/config/undo", json={"number": 1})).status_code == 401
    assert context.config.current.web.picture_rate_hz == 5.0
