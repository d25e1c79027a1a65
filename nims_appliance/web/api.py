"""`/healthz` and `/api/v1`: the state of the appliance as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import BadRequest

from .auth import current, needs
from .bodies import json_answer, read_json
from .pagesocket import describe_config
from .state import WebState, describe_track

if TYPE_CHECKING:
    from ..context import Context

MAX_TRACKS = 10_000


def _limit(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_TRACKS:
        raise BadRequest(f"limit: expected a number from 1 to {MAX_TRACKS}, got {text!r}")
    return int(text)


def register(app: QuartTrio, context: Context, state: WebState, version: str) -> None:
    """Add the routes to the application."""

    @app.get("/healthz")
    @needs("anybody")
    async def healthz() -> Response:
        told = state.state()
        parts = [{key: part[key] for key in ("name", "state", "detail", "last_error")} for part in told["parts"]]
        body: dict[str, Any] = {"ok": told["ok"]}
        if current().may("viewer"):
            body |= {"errors": told["errors"], "parts": parts}
        return json_answer(body, 200 if told["ok"] else 503)

    @app.get("/api/v1/state")
    @needs("viewer")
    async def get_state() -> Response:
        return json_answer({"version": version, **state.state()})

    @app.get("/api/v1/sonars")
    @needs("viewer")
    async def get_sonars() -> Response:
        return json_answer({"sonars": [state.describe_sonar(sonar) for sonar in context.sonars.values()]})

    @app.get("/api/v1/tracks")
    @needs("viewer")
    async def get_tracks() -> Response:
        limit = _limit(request.args.get("limit"), 100)
        live = [
            {"sonar_id": result.sonar_id, "time_s": result.time_s, **describe_track(track)}
            for result in state.last_results.values()
            if result.sonar_id in context.sonars
            for track in result.tracks
        ]
        return json_answer({"live": live, "ended": await _recent_tracks(context, limit)})

    @app.get("/api/v1/config")
    @needs("viewer")
    async def get_config() -> Response:
        return json_answer(describe_config(context.config))

    @app.patch("/api/v1/config")
    @needs("operator")
    async def patch_config() -> Response:
        body = await read_json()
        changes = body.get("changes") if isinstance(body, dict) else None
        if not isinstance(changes, dict) or not changes:
            raise BadRequest('expected {"changes": {"dotted.key": value, ...}}')
        await context.config.change(changes, author=current().author)
        return json_answer({"ok": True, "changes": changes})


async def _recent_tracks(context: Context, limit: int) -> list[dict[str, Any]]:
    archive = getattr(context, "archive", None)
    if archive is None:
        return []
    tracks = await archive.reader.run(archive.reader.recent_tracks, limit)
    return [track | {"id": str(track["id"])} for track in tracks]  # as live ones: JavaScript has no 64-bit numbers
