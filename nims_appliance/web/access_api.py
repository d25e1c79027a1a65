"""`/api/v1/session`, `/api/v1/users`, `/api/v1/tokens`: login, logout, and who may log in."""

from __future__ import annotations

import logging
import math
from functools import partial
from typing import Any

import msgspec
import trio
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import BadRequest, NotFound, ServiceUnavailable, TooManyRequests, Unauthorized

from ..access import passwords
from ..access.sessions import Identity
from ..access.store import AccessError, Role
from .auth import CSRF_HEADER, Access, access, check_csrf, current, needs
from .bodies import json_answer, read_json

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 8192
MOST_WAITING = 20
"""Logins whose passwords wait to be compared; more are refused at once."""


class Login(msgspec.Struct):
    name: str
    password: str


class NewPassword(msgspec.Struct):
    old: str
    new: str


class NewUser(msgspec.Struct):
    name: str
    role: Role
    password: str | None = None
    """None: one is made."""


class ChangedUser(msgspec.Struct):
    role: Role | None = None
    password: str | None = None
    """Empty: one is made."""


class NewToken(msgspec.Struct):
    name: str
    role: Role


def describe(identity: Identity, door: Access) -> dict[str, Any]:
    """Return a session as pages know it."""
    return {
        "kind": identity.kind,
        "name": identity.name if identity.kind != "nobody" else "",
        "role": identity.role,
        "login_needed": door.anonymous.role == "",
        "csrf": identity.csrf,
        "problem": door.store.problem,
    }


def register(app: QuartTrio) -> None:
    """Add the routes to the application."""
    comparing = trio.CapacityLimiter(1)  # a flood of logins takes one core at most

    async def compare(account: str, password: str) -> bool:
        """Compare a password within the limits, in the same time whether there is such a user or not."""
        door = access()
        if door.store.problem:
            raise ServiceUnavailable(door.store.problem)
        address = request.remote_addr or ""
        device = door.sessions.read_device(request.cookies.get(door.device_cookie_name, ""), account)
        if comparing.statistics().tasks_waiting >= MOST_WAITING:
            raise ServiceUnavailable("too many logins at once: try again in a few seconds")
        wait_s = door.limit.begin(address, account, device)
        if wait_s > 0:
            log.warning("login as %.40r from %s refused: too many attempts", account, address)
            raise TooManyRequests(f"too many attempts: try again in {_spoken(wait_s)}", retry_after=math.ceil(wait_s))
        user = door.store.content.users.get(account)
        kept = user.password if user else passwords.NOBODY
        if len(password) > passwords.MAX_LENGTH:
            password = ""
        right = await trio.to_thread.run_sync(passwords.matches, password, kept, limiter=comparing)
        if right:
            door.limit.succeeded(address, account, device)
        else:
            log.warning("login as %.40r from %s: wrong name or password", account, address)
        return right

    async def logged_in(name: str) -> Response:
        """Answer with a new session: its id was never seen before, whatever cookie came."""
        door = access()
        try:
            await door.store.renew_keys()
        except AccessError as error:
            log.warning("the key of sessions stays: %s", error)
        user = door.store.content.users.get(name)
        if user is None:
            raise Unauthorized("this user was removed")
        identity = door.sessions.begin(user)
        response = json_answer(describe(identity, door))
        door.set_cookie(response, door.cookie_name, door.sessions.cookie(identity))
        door.set_cookie(response, door.device_cookie_name, door.sessions.device_cookie(name))
        return response

    @app.get("/api/v1/session")
    @needs("anybody")
    async def get_session() -> Response:
        return json_answer(describe(current(), access()))

    @app.post("/api/v1/session")
    @needs("anybody")
    async def log_in() -> Response:
        login = await read_json(Login, MAX_BODY_BYTES)
        if not await compare(login.name, login.password):
            raise Unauthorized("wrong name or password")
        log.info("%s logged in from %s", login.name, request.remote_addr)
        return await logged_in(login.name)

    @app.delete("/api/v1/session")
    @needs("anybody")
    async def log_out() -> Response:
        door, identity = access(), current()
        if identity.kind == "user":
            check_csrf(identity, request.headers.get(CSRF_HEADER))
            try:
                await door.sessions.end(identity)
            except AccessError as error:
                log.warning("the end of a session is kept in memory only: %s", error)
            log.info("%s logged out", identity.name)
        response = json_answer(describe(door.anonymous, door))
        door.set_cookie(response, door.cookie_name, "")
        return response

    @app.put("/api/v1/session/password")
    @needs("viewer")
    async def change_own_password() -> Response:
        identity = current()
        if identity.kind != "user":
            raise Unauthorized("log in first")
        wanted = await read_json(NewPassword, MAX_BODY_BYTES)
        if not await compare(identity.name, wanted.old):
            raise BadRequest("the old password is wrong")
        await trio.to_thread.run_sync(
            partial(access().store.change_user, identity.name, password=wanted.new), limiter=comparing
        )
        log.info("%s has a new password", identity.name)
        return await logged_in(identity.name)

    @app.get("/api/v1/users")
    @needs("admin")
    async def get_users() -> Response:
        content = access().store.content
        users = [{"name": user.name, "role": user.role, "changed_s": user.changed_s} for user in content.users.values()]
        tokens = [
            {
                "id": token.id,
                "name": token.name,
                "role": token.role,
                "created_s": token.created_s,
                "created_by": token.created_by,
                "last_used_s": token.last_used_s or None,
            }
            for token in content.tokens.values()
        ]
        return json_answer({"users": users, "tokens": tokens, "problem": access().store.problem})

    @app.post("/api/v1/users")
    @needs("admin")
    async def add_user() -> Response:
        wanted = await read_json(NewUser, MAX_BODY_BYTES)
        password = wanted.password or passwords.make_password()
        await trio.to_thread.run_sync(access().store.add_user, wanted.name, wanted.role, password, limiter=comparing)
        log.info("%s added user %s, %s", current().author, wanted.name, wanted.role)
        made = {} if wanted.password else {"password": password}
        return json_answer({"name": wanted.name, "role": wanted.role, **made}, 201)

    @app.patch("/api/v1/users/<name>")
    @needs("admin")
    async def change_user(name: str) -> Response:
        wanted = await read_json(ChangedUser, MAX_BODY_BYTES)
        _known(access().store.content.users, name, "user")
        made = wanted.password == ""
        password = passwords.make_password() if made else wanted.password
        await trio.to_thread.run_sync(
            partial(access().store.change_user, name, role=wanted.role, password=password), limiter=comparing
        )
        if wanted.role:
            log.info("%s made %s %s", current().author, name, wanted.role)
        if password:
            log.info("%s gave %s a new password", current().author, name)
        return json_answer({"name": name, **({"password": password} if made else {})})

    @app.delete("/api/v1/users/<name>")
    @needs("admin")
    async def remove_user(name: str) -> Response:
        _known(access().store.content.users, name, "user")
        await trio.to_thread.run_sync(access().store.remove_user, name)
        log.info("%s removed user %s", current().author, name)
        return json_answer({"ok": True})

    @app.post("/api/v1/tokens")
    @needs("admin")
    async def add_token() -> Response:
        wanted = await read_json(NewToken, MAX_BODY_BYTES)
        add = partial(access().store.add_token, wanted.name, wanted.role, current().author)
        identity, text = await trio.to_thread.run_sync(add)
        log.info("%s made token %s, %s", current().author, wanted.name, wanted.role)
        return json_answer({"id": identity, "name": wanted.name, "role": wanted.role, "token": text}, 201)

    @app.delete("/api/v1/tokens/<identity>")
    @needs("admin")
    async def remove_token(identity: str) -> Response:
        token = _known(access().store.content.tokens, identity, "token")
        await trio.to_thread.run_sync(access().store.remove_token, identity)
        log.info("%s revoked token %s", current().author, token.name)
        return json_answer({"ok": True})


def _known(table: dict[str, Any], key: str, what: str) -> Any:
    try:
        return table[key]
    except KeyError:
        raise NotFound(f"there is no {what} {key!r}") from None


def _spoken(wait_s: float) -> str:
    return f"{math.ceil(wait_s)} seconds" if wait_s < 90 else f"{math.ceil(wait_s / 60)} minutes"
