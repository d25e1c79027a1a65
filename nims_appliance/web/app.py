"""The web application: pages, static files, and what holds for every request."""

from __future__ import annotations

import logging
import secrets
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from quart import Response, g, has_request_context, redirect, request, url_for, websocket
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, NotFound, Unauthorized

from .. import __version__
from ..archive import ArchiveError
from ..errors import NimsError
from . import (
    access_api,
    alarms_api,
    api,
    auth,
    bodies,
    clips_api,
    columns_api,
    compression,
    echosocket,
    export_api,
    files_api,
    health_api,
    history_api,
    livesocket,
    metrics_api,
    openapi,
    pagesocket,
    replay_api,
    security,
    tracks_api,
    triggers_api,
)
from .assets import MOVED, PAGES, Assets, StaticFile
from .state import WebState

if TYPE_CHECKING:
    from ..context import Context

log = logging.getLogger(__name__)

RESPONSE_TIMEOUT_S = 60
FOR_EVER = "public, max-age=31536000, immutable"


def _wants_page() -> bool:
    return (
        has_request_context()  # not while a WebSocket opens
        and "text/html" in request.headers.get("Accept", "")
        and not request.path.startswith("/api/")
    )


def _error_response(assets: Assets, status: int, error: str) -> Response:
    """Return an error as JSON for programs, as a small page for people."""
    request_id = g.get("request_id", "")
    if not _wants_page():
        body = {"ok": False, "error": error, "errors": [error], "status": status, "request_id": request_id}
        return Response(msgspec.json.encode(body), status, content_type="application/json")
    page = assets.make_page("error", title=str(status), status=status, error=error, request_id=request_id)
    return Response(page.data, status, content_type=page.content_type)


def make_app(context: Context, state: WebState, viewers: livesocket.Viewers, *, tls: bool = False) -> QuartTrio:
    """Return the application; it lives as long as the context. `tls`: what comes without it is led to https."""
    app = QuartTrio(__name__, static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = bodies.MAX_JSON_BYTES
    app.config["RESPONSE_TIMEOUT"] = RESPONSE_TIMEOUT_S
    assets = Assets()
    error_response = partial(_error_response, assets)
    own_names = security.own_names()

    def names() -> frozenset[str]:
        return own_names | {name.lower() for name in context.config.current.web.names}

    @app.before_request
    async def check_request() -> Response | None:
        g.request_id = secrets.token_hex(4)
        host = request.headers.get("Host", "")
        if problem := security.host_error(host, names()):
            return error_response(421, problem)
        if tls and request.scheme != "https":
            if request.method in security.SAFE_METHODS:
                return redirect(f"https://{host}{request.full_path.rstrip('?')}", 308)  # type: ignore[return-value]
            return error_response(403, f"pages are encrypted here: use https://{host}/")
        if request.method not in security.SAFE_METHODS:
            headers = request.headers
            if problem := security.origin_error(headers.get("Origin"), headers.get("Sec-Fetch-Site"), host):
                return error_response(403, problem)
        return None

    @app.before_websocket
    async def check_websocket() -> Response | None:
        g.request_id = secrets.token_hex(4)
        headers = websocket.headers
        host = headers.get("Host", "")
        problem = security.host_error(host, names()) or security.origin_error(headers.get("Origin"), None, host)
        if tls and websocket.scheme != "wss":
            problem = f"sockets are encrypted here: use wss://{host}/"
        if problem:
            return Response(problem, 403, content_type="text/plain; charset=utf-8")
        return None

    @app.after_request
    async def add_headers(response: Response) -> Response:
        for name, value in security.HEADERS.items():
            response.headers[name] = value
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Request-Id"] = g.get("request_id", "")
        return response

    @app.errorhandler(Exception)
    async def show_error(error: Exception) -> Response:
        if isinstance(error, Unauthorized) and _wants_page() and request.method in security.SAFE_METHODS:
            return redirect(url_for("page login", next=request.full_path.rstrip("?")), 303)  # type: ignore[return-value]
        if isinstance(error, HTTPException):
            response = error_response(error.code or 500, error.description or error.name)
            for name, value in error.get_headers(None):
                if name != "Content-Type":
                    response.headers[name] = value
            if isinstance(error, Unauthorized):
                response.headers["WWW-Authenticate"] = "Bearer"
            return response
        if isinstance(error, NimsError):
            return error_response(503 if isinstance(error, ArchiveError) else 400, str(error))
        path = request.path if has_request_context() else websocket.path
        log.error("request %s: %s failed", g.get("request_id", ""), path, exc_info=error)
        return error_response(500, "internal error; the appliance's log has the details, under this request's number")

    auth.install(app, context.access, context.config)
    compression.install(app)

    def send(file: StaticFile, cache: str = "no-cache") -> Response:
        data, etag, headers = file.data, file.etag, {"Cache-Control": cache}
        if file.gzipped is not None:
            headers["Vary"] = "Accept-Encoding"
            if compression.wanted():
                data, etag = file.gzipped, f"{etag}-gzip"
                headers["Content-Encoding"] = "gzip"
        headers["ETag"] = f'"{etag}"'
        if request.if_none_match.contains_weak(etag):
            headers.pop("Content-Encoding", None)
            return Response(b"", 304, headers)
        return Response(data, 200, headers, content_type=file.content_type)

    for page in PAGES:
        show = auth.needs(page.role)(lambda file=assets.pages[page.name]: send(file))
        app.add_url_rule(page.path, f"page {page.name}", show)
    for path, name in MOVED.items():
        lead = auth.needs("anybody")(lambda name=name: redirect(url_for(f"page {name}"), 308))
        app.add_url_rule(path, f"moved {path}", lead)
    app.add_url_rule("/favicon.ico", "favicon", auth.needs("anybody")(lambda: send(assets.files["shared/icon.svg"])))

    @app.get("/static/<path:name>")
    @auth.needs("anybody")
    async def static(name: str) -> Response:
        version, _, versioned = name.partition("/")
        current = version == assets.version
        file = assets.files.get(versioned if current else name)
        if file is None:
            raise NotFound(f"there is no {name!r} here")
        return send(file, FOR_EVER if current else "no-cache")

    access_api.register(app)
    files_api.register(app, context)
    api.register(app, context, state, __version__)
    health_api.register(app, context, state)
    columns_api.register(app, context)
    tracks_api.register(app, context, state)
    export_api.register(app, context)
    history_api.register(app, context)
    clips_api.register(app, context)
    replay_api.register(app, context)
    triggers_api.register(app, context)
    metrics_api.register(app, context)
    alarms_api.register(app, context)
    livesocket.register(app, context, state, viewers)
    echosocket.register(app, context, state)
    pagesocket.register(app, context)
    openapi.register(app, __version__)
    return app
