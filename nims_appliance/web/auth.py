"""Who asks, and whether they may: the one place where requests and WebSockets are let in.

Every route says with `needs` which role it takes. One that does not say is open to viewers for reading and closed to
all but admins for changing; a test fails until it says.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar

import trio
from quart import Request, Response, Websocket, current_app, g, has_request_context, request, websocket
from quart_trio import QuartTrio
from werkzeug.exceptions import Forbidden, Unauthorized

from ..access.login_limit import LoginLimit
from ..access.sessions import Identity, Sessions
from ..access.store import SESSION_S, AccessStore, Role
from ..config.store import ConfigStore
from ..health import Part
from . import security

Needed = Role | Literal["anybody"]
F = TypeVar("F", bound=Callable[..., Any])

CSRF_HEADER = "X-NIMS-CSRF"
SESSION_ENDED = 4401
"""Code with which a WebSocket is closed when who opened it may not see it any more."""
CHECK_INTERVAL_S = 2.0
"""So often it is looked whether they may."""
ADMIN_SETTINGS = ("web.login_to_view", "web.names")
"""What decides who is let in."""
HEALTH_INTERVAL_S = 5.0
_EXTENSION = "nims access"
NOBODY = Identity("nobody")
ANONYMOUS_VIEWER = Identity("nobody", role="viewer")


def needs(role: Needed) -> Callable[[F], F]:
    """Say which role a route or WebSocket takes, in a decorator below that of the route; "anybody": before a login."""

    def mark(function: F) -> F:
        function.needed_role = role  # type: ignore[attr-defined]
        return function

    return mark


def needed_role(function: Callable[..., Any] | None, *, changes: bool) -> Needed:
    """Return the role that a view function takes; `changes`: whether it is asked to change something."""
    if function is None:
        return "anybody"  # nothing is there; not even that is a secret
    default: Needed = "admin" if changes else "viewer"
    return getattr(function, "needed_role", default)


class Access:
    """The door of one web server."""

    def __init__(self, store: AccessStore, config: ConfigStore) -> None:
        self.store = store
        self.sessions = Sessions(store)
        self.limit = LoginLimit(trio.current_time)
        self._config = config

    @property
    def anonymous(self) -> Identity:
        """Who somebody without a login is."""
        return NOBODY if self._config.current.web.login_to_view else ANONYMOUS_VIEWER

    async def identify(self, asking: Request | Websocket) -> Identity:
        """Return who asks.

        Raises:
          Unauthorized: a token is shown that does not count.
        """
        header = asking.headers.get("Authorization")
        if header is not None:
            kind, _, text = header.partition(" ")
            token = self.sessions.read_token(text.strip()) if kind.lower() == "bearer" else None
            if token is None:
                raise Unauthorized("the Authorization header has no valid token: expected 'Bearer nims_...'")
            await self.store.note_use(token)
            return Identity("token", token.name, token.role)
        cookie = asking.cookies.get(self.cookie_name)
        return (cookie and self.sessions.read_cookie(cookie)) or self.anonymous

    @property
    def cookie_name(self) -> str:
        """Name of the session's cookie; browsers take the prefix over TLS alone."""
        return ("__Host-" if _is_secure() else "") + self.sessions.cookie_name

    @property
    def device_cookie_name(self) -> str:
        """Name of the cookie that tells a browser which has logged in before."""
        return f"{self.cookie_name}_device"

    def set_cookie(self, response: Response, name: str, value: str) -> None:
        """Give the browser a cookie; an empty one is taken away."""
        response.set_cookie(
            name,
            value,
            max_age=int(SESSION_S) if value else 0,
            path="/",
            secure=_is_secure(),
            httponly=True,
            # A link from elsewhere opens a page without the cookie; the page's own requests then have it.
            samesite="Strict",
        )

    def check(self, identity: Identity, needed: Needed, *, changes: bool, csrf: str | None) -> None:
        """Let pass or not.

        Raises:
          Unauthorized: a login is needed.
          Forbidden: the role does not suffice, or the request does not prove that it comes from our own page.
        """
        if needed != "anybody" and not identity.may(needed):
            if identity.kind == "nobody":
                raise Unauthorized(f"log in as {needed} for this" if needed != "viewer" else "log in first")
            raise Forbidden(f"this needs the role {needed}; {identity.author} is {identity.role}")
        if changes and needed != "anybody" and identity.kind == "user":
            check_csrf(identity, csrf)


def check_csrf(identity: Identity, shown: str | None) -> None:
    """Refuse a change that shows not what only our own pages can know.

    Raises:
      Forbidden: it does not.
    """
    if not hmac.compare_digest((shown or "").encode(), identity.csrf.encode()):
        raise Forbidden(f"the header {CSRF_HEADER} does not fit the login: load the page again")


def check_settings(identity: Identity, keys: Iterable[str]) -> None:
    """Refuse changes of settings, by dotted key, that take more than an operator.

    Raises:
      Forbidden: who may see the pages is decided by admins.
    """
    for key in keys:
        # A key above a setting changes the setting too, one below it is none.
        if any(own == key or own.startswith(f"{key}.") for own in ADMIN_SETTINGS) and not identity.may("admin"):
            raise Forbidden(f"{key}: this needs the role admin; {identity.author} is {identity.role}")


def access() -> Access:
    """Return the door of the server that handles this request or WebSocket."""
    door: Access = current_app.extensions[_EXTENSION]
    return door


def current() -> Identity:
    """Return who sent this request or opened this WebSocket."""
    identity: Identity = g.identity
    return identity


async def current_again() -> Identity:
    """Return who opened this WebSocket, as it is now: a login may have ended since."""
    try:
        return await access().identify(websocket._get_current_object())  # type: ignore[attr-defined]
    except Unauthorized:
        return NOBODY


async def until_not_allowed() -> None:
    """Return when who opened this WebSocket may not use it any more."""
    function = current_app.view_functions.get(websocket.endpoint or "")
    needed = needed_role(function, changes=False)
    while True:
        await trio.sleep(CHECK_INTERVAL_S)
        identity = await current_again()
        if needed != "anybody" and not identity.may(needed):
            return
        if current().kind != "nobody" and identity.kind == "nobody":
            return  # what was seen with a login is not seen on without it


def install(app: QuartTrio, store: AccessStore, config: ConfigStore) -> Access:
    """Put the door before every request and WebSocket of an application."""
    door = app.extensions[_EXTENSION] = Access(store, config)

    @app.before_request
    async def let_in() -> None:
        changes = request.method not in security.SAFE_METHODS
        g.identity = NOBODY  # for the page that tells an error
        g.identity = await door.identify(request._get_current_object())  # type: ignore[attr-defined]
        needed = needed_role(app.view_functions.get(request.endpoint or ""), changes=changes)
        door.check(g.identity, needed, changes=changes, csrf=request.headers.get(CSRF_HEADER))

    @app.before_websocket
    async def let_socket_in() -> None:
        g.identity = await door.identify(websocket._get_current_object())  # type: ignore[attr-defined]
        needed = needed_role(app.view_functions.get(websocket.endpoint or ""), changes=False)
        door.check(g.identity, needed, changes=False, csrf=None)

    @app.after_request
    async def keep_session_alive(response: Response) -> Response:
        identity: Identity = g.get("identity", NOBODY)
        if identity.renew and "Set-Cookie" not in response.headers and identity.name in store.content.users:
            door.set_cookie(response, door.cookie_name, door.sessions.cookie(identity))
        return response

    return door


async def tell_health(store: AccessStore, part: Part) -> None:
    """Say in the health of `part` whether anybody can log in; runs as long as the server."""
    while True:
        content = store.content
        part.last_error = store.problem if store.damaged else store.warning
        if store.problem:
            part.set("failed" if store.damaged else "waiting", store.problem)
        else:
            part.set("running", f"{len(content.users)} users, {len(content.tokens)} tokens")
        await trio.sleep(HEALTH_INTERVAL_S)


def _is_secure() -> bool:
    """Whether what is handled came over TLS."""
    return bool((request if has_request_context() else websocket).scheme in ("https", "wss"))
