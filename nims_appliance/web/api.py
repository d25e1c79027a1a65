"""`/healthz` and `/api/v1`: the state of the appliance as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quart import Response
from quart_trio import QuartTrio
from werkzeug.exceptions import BadRequest

from ..config.masking import Masking
from ..config.store import ChangeError
from .auth import check_settings, current, needs
from .bodies import json_answer, read_json
from .pagesocket import describe_config, describe_history
from .state import WebState

if TYPE_CHECKING:
    from ..context import Context

HISTORY_SHOWN = 200


def register(app: QuartTrio, context: Context, state: WebState, version: str) -> None:
    """Add the routes to the application."""
    masking = Masking(context.plugins)

    def without_secrets(changes: dict[str, Any]) -> dict[str, Any]:
        return {key: masking.mask_key(key, value, operator=True) for key, value in changes.items()}

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

    @app.get("/api/v1/config")
    @needs("viewer")
    async def get_config() -> Response:
        return json_answer(describe_config(context.config, operator=current().may("operator")))

    @app.patch("/api/v1/config")
    @needs("operator")
    async def patch_config() -> Response:
        body = await read_json()
        changes = body.get("changes") if isinstance(body, dict) else None
        if not isinstance(changes, dict) or not changes:
            raise BadRequest('expected {"changes": {"dotted.key": value, ...}}')
        expected = body.get("expected")
        if not isinstance(expected, (dict, type(None))):
            raise BadRequest('expected: expected {"dotted.key": value}, as they were shown')
        check_settings(current(), changes)
        try:
            now = context.config.current
            changes, expected = masking.unmasked(changes, now), masking.seen(expected, now)
            if not changes:
                return json_answer({"ok": True, "changes": {}})
            await context.config.change(changes, current().author, source=_source(), expected=expected)
        except ChangeError as error:
            told = {"ok": False, "error": str(error), "errors": str(error).split("; "), "status": 400}
            return json_answer({**told, "problems": error.problems}, 400)
        return json_answer({"ok": True, "changes": without_secrets(changes)})

    @app.get("/api/v1/config/history")
    @needs("viewer")
    async def get_history() -> Response:
        history = describe_history(context.config, HISTORY_SHOWN, operator=current().may("operator"))
        return json_answer({"history": history})

    @app.post("/api/v1/config/undo")
    @needs("operator")
    async def undo() -> Response:
        body = await read_json()
        number = body.get("number") if isinstance(body, dict) else None
        if not isinstance(number, int) or isinstance(number, bool):
            raise BadRequest('expected {"number": N}, a change of the history')
        check_settings(current(), (row.key for row in context.config.history.entry(number).rows))
        done = await context.config.undo(number, current().author, source=_source())
        return json_answer({"ok": True, "changes": without_secrets(dict(done.changes))})


def _source() -> str:
    """Return where a change comes from, as the history of the settings tells it."""
    return "browser" if current().kind == "user" else "API"
