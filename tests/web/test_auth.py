"""Login, roles, CSRF and tokens, over real connections."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection

from nims_appliance.access import passwords
from nims_appliance.access.store import Content, Role, User
from nims_appliance.context import Context
from nims_appliance.web import auth
from nims_appliance.web.app import make_app
from nims_appliance.web.livesocket import Viewers
from nims_appliance.web.state import WebState

PASSWORD = "correct horse"
CHANGE = {"changes": {"web.picture_rate_hz": 3}}

ROUTES = {
    "GET /": "viewer",
    "GET /charts": "viewer",
    "GET /history": "viewer",
    "GET /tracks": "viewer",
    "GET /health": "viewer",
    "GET /settings": "viewer",
    "GET /users": "admin",
    "GET /login": "anybody",
    "GET /index.html": "anybody",
    "GET /config": "anybody",
    "GET /config.html": "anybody",
    "GET /favicon.ico": "anybody",
    "GET /static/<path:name>": "anybody",
    "GET /healthz": "anybody",
    "GET /metrics": "viewer",
    "GET /api/v1/health": "viewer",
    "GET /api/v1/log": "operator",
    "GET /api/v1/support": "operator",
    "GET /api/v1/state": "viewer",
    "GET /api/v1/sonars": "viewer",
    "GET /api/v1/sonars/<name>/columns": "viewer",
    "GET /api/v1/tracks": "viewer",
    "GET /api/v1/tracks/<int:number>": "viewer",
    "GET /api/v1/tracks/labels": "viewer",
    "GET /api/v1/tracks/counts": "viewer",
    "GET /api/v1/tracks/map": "viewer",
    "GET /api/v1/openapi.json": "viewer",
    "GET /api/v1/export/tracks.geojson": "viewer",
    "GET /api/v1/export/metrics.csv": "viewer",
    "GET /api/v1/backup": "admin",
    "GET /api/v1/clips": "viewer",
    "GET /api/v1/clips/<name>": "viewer",
    "PATCH /api/v1/clips/<name>": "operator",
    "DELETE /api/v1/clips/<name>": "operator",
    "GET /api/v1/clips/<name>/download": "viewer",
    "GET /api/v1/clips/<name>/pictures": "viewer",
    "GET /api/v1/recordings": "viewer",
    "POST /api/v1/sonars/<name>/record": "operator",
    "POST /api/v1/sonars/<name>/clips": "operator",
    "POST /api/v1/sonars/<name>/replay": "operator",
    "GET /api/v1/triggers": "viewer",
    "POST /api/v1/triggers/<name>/test": "operator",
    "GET /api/v1/metrics": "viewer",
    "GET /api/v1/metrics/series": "viewer",
    "GET /api/v1/events": "viewer",
    "GET /api/v1/alarms": "viewer",
    "POST /api/v1/alarms/acknowledge": "operator",
    "GET /api/v1/config": "viewer",
    "PATCH /api/v1/config": "operator",
    "GET /api/v1/config/history": "viewer",
    "POST /api/v1/config/undo": "operator",
    "GET /api/v1/session": "anybody",
    "POST /api/v1/session": "anybody",
    "DELETE /api/v1/session": "anybody",
    "PUT /api/v1/session/password": "viewer",
    "GET /api/v1/users": "admin",
    "POST /api/v1/users": "admin",
    "PATCH /api/v1/users/<name>": "admin",
    "DELETE /api/v1/users/<name>": "admin",
    "POST /api/v1/tokens": "admin",
    "DELETE /api/v1/tokens/<identity>": "admin",
    "GET /api/v1/files": "admin",
    "GET /api/v1/files/<folder>/<name>": "admin",
    "PUT /api/v1/files/<folder>/<name>": "admin",
    "DELETE /api/v1/files/<folder>/<name>": "admin",
    "WEBSOCKET /livesocket": "viewer",
    "WEBSOCKET /echosocket": "viewer",
    "WEBSOCKET /pagesocket": "viewer",
}
"""Every route and the role that it takes. A new route is a decision about security: it is written down here too."""


@pytest.fixture(scope="session")
def hashed() -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_N", 16)  # a hash says itself how slow it is
        return passwords.hash_password(PASSWORD)


@pytest.fixture
def users(context: Context, hashed: str) -> Context:
    """The appliance with users `vera`, `otto` and `ada`: viewer, operator, admin."""

    def add(content: Content) -> None:
        roles: dict[str, Role] = {"vera": "viewer", "otto": "operator", "ada": "admin"}
        for name, role in roles.items():
            content.users[name] = User(name, role, hashed, "1", 0.0)

    context.access.edit(add)
    return context


@asynccontextmanager
async def browsing(port: int, name: str = "") -> AsyncIterator[httpx.AsyncClient]:
    """A browser's page that is logged in as `name`."""
    origin = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=origin, headers={"Origin": origin}, timeout=20) as client:
        if name:
            answer = await client.post("/api/v1/session", json={"name": name, "password": PASSWORD})
            assert answer.status_code == 200, answer.text
            client.headers["X-NIMS-CSRF"] = answer.json()["csrf"]
        yield client


def routes_of(app) -> list[tuple[str, str]]:
    found = []
    for rule in app.url_map.iter_rules():
        methods = ["WEBSOCKET"] if rule.websocket else sorted(rule.methods - {"HEAD", "OPTIONS"})
        found += [(f"{method} {rule.rule}", rule.endpoint) for method in methods]
    return found


async def test_every_route_takes_the_role_that_was_decided_for_it(context: Context) -> None:
    state = WebState(context)
    app = make_app(context, state, Viewers(context, state, "0"))
    undecided = [route for route, _ in routes_of(app) if route not in ROUTES]
    assert not undecided, f"decide who may use them, with auth.needs and in ROUTES: {undecided}"
    for route, endpoint in routes_of(app):
        function = app.view_functions[endpoint]
        assert getattr(function, "needed_role", "nothing") == ROUTES[route], route
    assert {route for route, _ in routes_of(app)} == set(ROUTES), "routes that are gone"


def example(path: str) -> str:
    return re.sub(r"<[^>]+>", "nobody", re.sub(r"<int:[^>]+>", "1", path))


@pytest.mark.parametrize("name", ["", "vera", "otto", "ada"])
async def test_no_route_can_be_used_with_less_than_its_role(users: Context, serve, connect, name: str) -> None:
    rank = ["anybody", "viewer", "operator", "admin"]
    mine = rank.index({"": "viewer", "vera": "viewer", "otto": "operator", "ada": "admin"}[name])
    async with serve(users) as port, browsing(port, name) as client:
        for route, role in ROUTES.items():
            method, path = route.split(" ", 1)
            if method == "WEBSOCKET" or role == "anybody" or path.startswith("/api/v1/session"):
                continue
            answer = await client.request(method, example(path))
            if rank.index(role) > mine:
                assert answer.status_code == (403 if name else 401), route
            else:
                assert answer.status_code not in (401, 403), route
    assert users.config.current.web.picture_rate_hz == 10.0


async def test_where_a_login_is_needed_nothing_is_seen_without_one(users: Context, serve, connect) -> None:
    await users.config.change({"web.login_to_view": True}, "test")
    async with serve(users) as port, browsing(port) as client:
        for route, role in ROUTES.items():
            method, path = route.split(" ", 1)
            if method == "WEBSOCKET":
                with pytest.raises((ConnectionRejected, ExceptionGroup)) as refused:
                    async with connect(port, path):
                        pass
                error = refused.value
                while isinstance(error, ExceptionGroup):
                    error = error.exceptions[0]
                assert error.status_code == 401
            elif role != "anybody":
                assert (await client.request(method, example(path))).status_code == 401, route
        assert (await client.get("/healthz")).json() == {"ok": True}
        page = await client.get("/settings?x=1", headers={"Accept": "text/html"})
        assert page.status_code == 303
        assert page.headers["location"] == "/login?next=/settings?x%3D1"
        assert (await client.get("/login")).status_code == 200
    users.stopping = trio.Event()
    async with serve(users) as port, browsing(port, "vera") as client:
        assert (await client.get("/settings")).status_code == 200
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        async with connect(port, "/livesocket", Cookie=cookie) as socket:
            assert json.loads(await socket.get_message())["type"] == "hello"


async def test_a_login_sets_a_cookie_that_scripts_and_other_sites_do_not_get(users: Context, serve) -> None:
    async with serve(users) as port, browsing(port) as client:
        answer = await client.post("/api/v1/session", json={"name": "otto", "password": PASSWORD})
        assert answer.json()["role"] == "operator"
        for cookie in answer.headers.get_list("set-cookie"):
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
            assert "Path=/" in cookie
            assert "Secure" not in cookie  # over plain HTTP a browser would not send it back
        assert answer.headers["cache-control"] == "no-store"
        known = (await client.get("/api/v1/session")).json()
        assert (known["name"], known["role"]) == ("otto", "operator")


async def test_a_session_that_was_set_before_the_login_is_not_used(users: Context, serve) -> None:
    async with serve(users) as port, browsing(port, "vera") as attacker, browsing(port) as victim:
        planted = dict(attacker.cookies)
        victim.cookies.update(planted)
        answer = await victim.post("/api/v1/session", json={"name": "ada", "password": PASSWORD})
        assert answer.json()["name"] == "ada"
        name = next(name for name in planted if not name.endswith("_device"))
        new = answer.cookies[name]
        assert new != planted[name]
        assert (await attacker.get("/api/v1/session")).json()["name"] == "vera"


async def test_logout_ends_the_session_also_for_who_copied_the_cookie(users: Context, serve) -> None:
    async with serve(users) as port, browsing(port, "otto") as client:
        copied = dict(client.cookies)
        assert (await client.delete("/api/v1/session", headers={"X-NIMS-CSRF": ""})).status_code == 403
        assert (await client.delete("/api/v1/session")).json()["role"] == "viewer"
        async with browsing(port) as thief:
            thief.cookies.update(copied)
            assert (await thief.get("/api/v1/session")).json()["name"] == ""


async def test_a_new_password_ends_the_other_sessions_and_keeps_this_one(users: Context, serve) -> None:
    async with serve(users) as port, browsing(port, "otto") as here, browsing(port, "otto") as there:
        wrong = await here.put("/api/v1/session/password", json={"old": "wrong", "new": "battery staple"})
        assert wrong.status_code == 400
        weak = await here.put("/api/v1/session/password", json={"old": PASSWORD, "new": "short"})
        assert "at least 10" in weak.json()["error"]
        changed = await here.put("/api/v1/session/password", json={"old": PASSWORD, "new": "battery staple"})
        assert changed.status_code == 200
        assert (await here.get("/api/v1/session")).json()["name"] == "otto"
        assert (await there.get("/api/v1/session")).json()["name"] == ""
        refused = await there.post("/api/v1/session", json={"name": "otto", "password": PASSWORD})
        assert refused.status_code == 401


async def test_changes_with_a_cookie_must_prove_that_they_come_from_our_page(users: Context, serve) -> None:
    async with serve(users) as port, browsing(port, "otto") as client:
        right = client.headers["X-NIMS-CSRF"]
        async with browsing(port, "ada") as other:
            others = other.headers["X-NIMS-CSRF"]
        for shown in ("", "x", right[:-1], others, "é".encode()):
            answer = await client.patch("/api/v1/config", json=CHANGE, headers={"X-NIMS-CSRF": shown})
            assert answer.status_code == 403
            assert "X-NIMS-CSRF" in answer.json()["error"]
        del client.headers["X-NIMS-CSRF"]
        assert (await client.patch("/api/v1/config", json=CHANGE)).status_code == 403
        assert users.config.current.web.picture_rate_hz == 10.0
        assert (await client.patch("/api/v1/config", json=CHANGE, headers={"X-NIMS-CSRF": right})).status_code == 200


async def test_who_may_see_the_pages_is_decided_by_admins(users: Context, serve) -> None:
    wanted = {"changes": {"web.login_to_view": True}}
    async with serve(users) as port, browsing(port, "otto") as operator, browsing(port, "ada") as admin:
        for changes in (
            {"web.login_to_view": True},
            {"web": {"login_to_view": True}},
            {"web": None},
            {"web.names": []},
        ):
            answer = await operator.patch("/api/v1/config", json={"changes": changes})
            assert answer.status_code == 403, changes
            assert "needs the role admin" in answer.json()["error"]
        assert (await admin.patch("/api/v1/config", json=wanted)).status_code == 200
        number = (await admin.get("/api/v1/config/history")).json()["history"][0]["number"]
        assert (await operator.post("/api/v1/config/undo", json={"number": number})).status_code == 403
        assert users.config.current.web.login_to_view
        assert (await admin.post("/api/v1/config/undo", json={"number": number})).status_code == 200
        assert not users.config.current.web.login_to_view


async def test_who_changed_a_setting_is_told_to_the_others(users: Context, serve, connect) -> None:
    async with serve(users) as port, connect(port, "/livesocket") as viewer, browsing(port, "otto") as client:
        assert (await client.patch("/api/v1/config", json=CHANGE)).status_code == 200
        while True:
            message = json.loads(await viewer.get_message())
            if message["type"] == "config":
                break
        assert message["author"] == "otto"


async def test_a_page_that_was_opened_without_a_login_changes_nothing(users: Context, serve, connect) -> None:
    async with serve(users) as port, connect(port, "/pagesocket") as page:
        await page.get_message()
        await page.send_message(json.dumps({"type": "change", "id": 1, **CHANGE}))
        answer = json.loads(await page.get_message())
        assert (answer["type"], answer["status"], answer["id"]) == ("error", 401, 1)
        await page.send_message(json.dumps({"web": {"picture_rate_hz": 3}}))
        assert json.loads(await page.get_message())["status"] == 401
    assert users.config.current.web.picture_rate_hz == 10.0


async def reason_of_end(socket: WebSocketConnection) -> int:
    try:
        while True:
            await socket.get_message()
    except ConnectionClosed as closed:
        return closed.reason.code


async def test_a_socket_ends_with_the_login_that_opened_it(users: Context, serve, connect, monkeypatch) -> None:
    monkeypatch.setattr(auth, "CHECK_INTERVAL_S", 0.05)
    async with serve(users) as port, browsing(port, "otto") as client:
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        async with connect(port, "/pagesocket", Cookie=cookie) as page, connect(port, "/livesocket") as viewer:
            await page.get_message()
            await client.delete("/api/v1/session")
            with suppress(ConnectionClosed):
                await page.send_message(json.dumps({"type": "change", "id": 1, **CHANGE}))
            assert await reason_of_end(page) == auth.SESSION_ENDED
            assert json.loads(await viewer.get_message())["type"] == "hello"
            await users.config.change({"web.login_to_view": True}, "test")
            assert await reason_of_end(viewer) == auth.SESSION_ENDED
    assert users.config.current.web.picture_rate_hz == 10.0


async def test_wrong_logins_are_told_apart_by_nothing_and_slow_down(
    users: Context, serve, caplog: pytest.LogCaptureFixture
) -> None:
    compared = []
    matches = passwords.matches

    def counted(password: str, kept: str) -> bool:
        compared.append(kept)
        return matches(password, kept)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "matches", counted)
        async with serve(users) as port, browsing(port, "otto") as known, browsing(port) as client:
            answers = []
            for name in ("otto", "nobody"):
                answer = await client.post("/api/v1/session", json={"name": name, "password": "wrong"})
                answers.append((answer.status_code, answer.json()["error"]))
            assert answers[0] == answers[1] == (401, "wrong name or password")
            assert len(compared) == 3  # also for a name that there is not
            patch.setattr(passwords, "matches", lambda password, kept: False)
            statuses = [
                (await client.post("/api/v1/session", json={"name": "otto", "password": "wrong"})) for _ in range(10)
            ]
            assert statuses[-1].status_code == 429
            assert int(statuses[-1].headers["retry-after"]) > 0
            patch.setattr(passwords, "matches", matches)
            # Also the right password waits, or it could be found meanwhile; not in a browser that was here before.
            right = {"name": "otto", "password": PASSWORD}
            assert (await client.post("/api/v1/session", json=right)).status_code == 429
            assert (await known.post("/api/v1/session", json=right)).status_code == 200
    assert "login as 'nobody' from 127.0.0.1: wrong name or password" in caplog.text
    assert "wrong'" not in caplog.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ([], 400),
        ({"name": "otto"}, 400),
        ({"name": "otto", "password": 1}, 400),
        ({"name": None, "password": None}, 400),
        ({"name": "otto", "password": "x" * 7000}, 401),
        ({"name": "otto", "password": "x" * 9000}, 413),
        ({"name": "\u0000", "password": "\ud7ff"}, 401),
    ],
)
async def test_a_malformed_login_is_refused(users: Context, serve, body: object, status: int) -> None:
    async with serve(users) as port, browsing(port) as client:
        assert (await client.post("/api/v1/session", json=body)).status_code == status


async def test_nobody_logs_in_where_there_is_no_user_and_the_reason_is_told(context: Context, serve) -> None:
    async with serve(context) as port, browsing(port) as client:
        assert "nims users add" in (await client.get("/api/v1/session")).json()["problem"]
        answer = await client.post("/api/v1/session", json={"name": "admin", "password": "admin"})
        assert answer.status_code == 503
        assert "nims users add" in answer.json()["error"]


async def test_an_admin_makes_users_and_tokens(users: Context, serve) -> None:
    async with serve(users) as port, browsing(port, "ada") as admin:
        made = await admin.post("/api/v1/users", json={"name": "eve", "role": "operator"})
        assert made.status_code == 201
        async with browsing(port) as eve:
            login = {"name": "eve", "password": made.json()["password"]}
            assert (await eve.post("/api/v1/session", json=login)).json()["role"] == "operator"
            assert (await admin.patch("/api/v1/users/eve", json={"role": "viewer"})).status_code == 200
            assert (await eve.get("/api/v1/session")).json()["name"] == ""
        assert (await admin.patch("/api/v1/users/eve", json={"password": ""})).json()["password"]
        assert (await admin.post("/api/v1/users", json={"name": "eve", "role": "viewer"})).status_code == 400
        assert (await admin.post("/api/v1/users", json={"name": "x", "role": "root"})).status_code == 400
        assert (await admin.delete("/api/v1/users/ada")).status_code == 400
        assert (await admin.delete("/api/v1/users/eve")).status_code == 200
        assert (await admin.delete("/api/v1/users/eve")).status_code == 404
        token = (await admin.post("/api/v1/tokens", json={"name": "camera", "role": "operator"})).json()
        bearer = {"Authorization": f"Bearer {token['token']}"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=bearer) as program:
            assert (await program.get("/api/v1/session")).json()["role"] == "operator"
            assert (await program.patch("/api/v1/config", json=CHANGE)).status_code == 200
            assert (await program.get("/api/v1/users")).status_code == 403
            told = (await admin.get("/api/v1/users")).json()
            assert [user["name"] for user in told["users"]] == ["vera", "otto", "ada"]
            assert told["tokens"][0]["created_by"] == "ada"
            assert told["tokens"][0]["last_used_s"] > 0
            assert "scrypt" not in json.dumps(told)
            assert token["token"] not in json.dumps(told)
            assert (await admin.delete(f"/api/v1/tokens/{token['id']}")).status_code == 200
            gone = await program.patch("/api/v1/config", json=CHANGE)
            assert gone.status_code == 401
            assert gone.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", "Basic YWRhOmNvcnJlY3QgaG9yc2U=", "Bearer nims__", "é"])
async def test_a_wrong_token_is_refused_not_taken_for_nobody(users: Context, serve, header: str) -> None:
    async with serve(users) as port, browsing(port) as client:
        answer = await client.get("/api/v1/state", headers={"Authorization": header.encode()})
        assert answer.status_code == 401


async def test_a_session_in_use_goes_on(users: Context, serve, monkeypatch) -> None:
    async with serve(users) as port, browsing(port, "otto") as client:
        assert "set-cookie" not in (await client.get("/api/v1/state")).headers
        monkeypatch.setattr("nims_appliance.access.sessions.RENEW_S", -1.0)
        assert "set-cookie" in (await client.get("/api/v1/state")).headers
        assert (await client.get("/api/v1/session")).json()["csrf"] == client.headers["X-NIMS-CSRF"]


async def test_errors_bear_a_number_that_is_in_the_log(users: Context, serve, monkeypatch, caplog) -> None:
    def fail() -> None:
        raise ZeroDivisionError("secret")

    async with serve(users) as port, browsing(port) as client:
        monkeypatch.setattr(users.health, "snapshot", fail)
        answer = await client.get("/api/v1/state")
        number = answer.headers["x-request-id"]
        assert answer.json()["request_id"] == number
        assert f"request {number}: /api/v1/state failed" in caplog.text
        page = await client.get("/nothing", headers={"Accept": "text/html"})
        assert f"Request {page.headers['x-request-id']}" in page.text
