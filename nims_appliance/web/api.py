"""`/healthz` and `/api/v1`: the state of the appliance as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, RequestTimeout, UnsupportedMediaType

from .pagesocket import describe_config
from .state import WebState, describe_track, from_json, to_json

if TYPE_CHECKING:
    from ..context import Context

MAX_TRACKS = 10_000
MAX_BODY_BYTES = 2**20
BODY_TIMEOUT_S = 10.0


def _json(value: object, status: int = 200) -> Response:
    return Response(to_json(value), status, content_type="application/json")


def _limit(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_TRACKS:
        raise BadRequest(f"limit: expected a number from 1 to {MAX_TRACKS}, got {text!r}")
    return int(text)


def register(app: QuartTrio, context: Context, state: WebState, version: str) -> None:
    """Add the routes to the application."""

    @app.get("/healthz")
    async def healthz() -> Response:
        told = state.state()
        parts = [{key: part[key] for key in ("name", "state", "detail", "last_error")} for part in told["parts"]]
        body = {"ok": told["ok"], "errors": told["errors"], "parts": parts}
        return _json(body, 200 if told["ok"] else 503)

    @app.get("/api/v1/state")
    async def get_state() -> Response:
        return _json({"version": version, **state.state()})

    @app.get("/api/v1/sonars")
    async def get_sonars() -> Response:
        return _json({"sonars": [state.describe_sonar(sonar) for sonar in context.sonars.values()]})

    @app.get("/api/v1/tracks")
    async def get_tracks() -> Response:
        limit = _limit(request.args.get("limit"), 100)
        live = [
            {"sonar_id": result.sonar_id, "time_s": result.time_s, **describe_track(track)}
            for result in state.last_results.values()
            if result.sonar_id in context.sonars
            for track in result.tracks
        ]
        return _json({"live": live, "ended": await _recent_tracks(context, limit)})

    @app.get("/api/v1/config")
    async def get_config() -> Response:
        return _json(describe_config(context.config))

    @app.patch("/api/v1/config")
    async def patch_config() -> Response:
        if request.mimetype != "application/json":
            raise UnsupportedMediaType("expected application/json")
        try:
            body = from_json(await _read_body())
        except ValueError as error:
            raise BadRequest(f"malformed JSON: {error}") from None
        changes = body.get("changes") if isinstance(body, dict) else None
        if not isinstance(changes, dict) or not changes:
            raise BadRequest('expected {"changes": {"dotted.key": value, ...}}')
        await context.config.change(changes, author=f"api {request.remote_addr}")
        return _json({"ok": True, "changes": changes})


async def _read_body() -> bytes:
    # Quart's own `get_data` may gather everything that comes before it compares it with the limit.
    data = bytearray()
    with trio.move_on_after(BODY_TIMEOUT_S) as scope:
        async for chunk in request.body:
            data += chunk
            if len(data) > MAX_BODY_BYTES:
                raise RequestEntityTooLarge
    if scope.cancelled_caught:
        raise RequestTimeout
    return bytes(data)


async def _recent_tracks(context: Context, limit: int) -> list[dict[str, Any]]:
    archive = getattr(context, "archive", None)
    if archive is None:
        return []
    tracks = await trio.to_thread.run_sync(archive.recent_tracks, limit)
    return [track | {"id": str(track["id"])} for track in tracks]  # as live ones: JavaScript has no 64-bit numbers
