"""The web application: pages, static files, and what holds for every request."""

from __future__ import annotations

import hashlib
import html
import logging
import mimetypes
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

import msgspec
from quart import Response, has_request_context, request, websocket
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, NotFound

from .. import __version__
from ..errors import NimsError
from . import api, echosocket, livesocket, pagesocket, security
from .state import WebState

if TYPE_CHECKING:
    from ..context import Context

log = logging.getLogger(__name__)

RESPONSE_TIMEOUT_S = 60
PAGES = {"/": "index.html", "/index.html": "index.html", "/config.html": "config.html"}


@dataclass(frozen=True, slots=True)
class _StaticFile:
    data: bytes
    content_type: str
    etag: str


def _static_files() -> dict[str, _StaticFile]:
    # Read once: a name that is not in this table does not exist, so no path from outside ever reaches the disk.
    files = {}
    for entry in resources.files(__package__).joinpath("static").iterdir():
        if entry.is_file():
            data = entry.read_bytes()
            content_type = mimetypes.guess_type(entry.name)[0] or "application/octet-stream"
            if content_type.startswith("text/") or content_type.endswith(("javascript", "json")):
                content_type += "; charset=utf-8"
            files[entry.name] = _StaticFile(data, content_type, hashlib.sha256(data).hexdigest()[:16])
    return files


def error_response(status: int, error: str, errors: list[str] | None = None) -> Response:
    """Return an error as JSON for programs, as a small page for people."""
    wants_page = (
        has_request_context()  # not while a WebSocket opens
        and "text/html" in request.headers.get("Accept", "")
        and not request.path.startswith("/api/")
    )
    if not wants_page:
        body = {"ok": False, "error": error, "errors": errors or [error], "status": status}
        return Response(msgspec.json.encode(body), status, content_type="application/json")
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>{status}</title><link rel="stylesheet" href="/static/style.css">'
        f'<main class="error"><h1>{status}</h1><p>{html.escape(error)}</p><p><a href="/">Live picture</a></p></main>'
    )
    return Response(page, status, content_type="text/html; charset=utf-8")


def make_app(context: Context, state: WebState, viewers: livesocket.Viewers) -> QuartTrio:
    """Return the application; it lives as long as the context."""
    app = QuartTrio(__name__, static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = api.MAX_BODY_BYTES
    app.config["RESPONSE_TIMEOUT"] = RESPONSE_TIMEOUT_S
    files = _static_files()
    own_names = security.own_names()

    def names() -> frozenset[str]:
        return own_names | {name.lower() for name in context.config.current.web.names}

    @app.before_request
    async def check_request() -> Response | None:
        host = request.headers.get("Host", "")
        if problem := security.host_error(host, names()):
            return error_response(421, problem)
        if request.method not in security.SAFE_METHODS:
            headers = request.headers
            if problem := security.origin_error(headers.get("Origin"), headers.get("Sec-Fetch-Site"), host):
                return error_response(403, problem)
        return None

    @app.before_websocket
    async def check_websocket() -> Response | None:
        headers = websocket.headers
        host = headers.get("Host", "")
        problem = security.host_error(host, names()) or security.origin_error(headers.get("Origin"), None, host)
        if problem:
            return Response(problem, 403, content_type="text/plain; charset=utf-8")
        return None

    @app.after_request
    async def add_headers(response: Response) -> Response:
        for name, value in security.HEADERS.items():
            response.headers[name] = value
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    @app.errorhandler(Exception)
    async def show_error(error: Exception) -> Response:
        if isinstance(error, HTTPException):
            return error_response(error.code or 500, error.description or error.name)
        if isinstance(error, NimsError):
            return error_response(400, str(error))
        log.error("%s failed", request.path if has_request_context() else websocket.path, exc_info=error)
        return error_response(500, "internal error; the appliance's log has the details")

    def send_file(name: str) -> Response:
        file = files.get(name)
        if file is None:
            raise NotFound(f"there is no {name!r} here")
        headers = {"ETag": f'"{file.etag}"', "Cache-Control": "no-cache"}
        if request.if_none_match.contains(file.etag):
            return Response(b"", 304, headers)
        return Response(file.data, 200, headers, content_type=file.content_type)

    for path, page in PAGES.items():
        app.add_url_rule(path, f"page{path}", lambda page=page: send_file(page))
    app.add_url_rule("/config", "config", lambda: Response(b"", 308, {"Location": "/config.html"}))
    app.add_url_rule("/favicon.ico", "favicon", lambda: send_file("icon.svg"))

    @app.get("/static/<name>")
    async def static(name: str) -> Response:
        return send_file(name)

    api.register(app, context, state, __version__)
    livesocket.register(app, context, state, viewers)
    echosocket.register(app, context, state)
    pagesocket.register(app, context)
    return app
