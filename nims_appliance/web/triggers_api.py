"""`/api/v1/triggers`: how every rule stands, and a test of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from quart import Response
from quart_trio import QuartTrio
from werkzeug.exceptions import NotFound, ServiceUnavailable

from ..errors import NimsError
from .auth import current, needs
from .bodies import json_answer

if TYPE_CHECKING:
    from ..context import Context

log = logging.getLogger(__name__)


def register(app: QuartTrio, context: Context) -> None:
    """Add the routes to the application."""

    @app.get("/api/v1/triggers")
    @needs("viewer")
    async def get_triggers() -> Response:
        engine = context.triggers
        return json_answer({"triggers": engine.describe() if engine is not None else []})

    @app.post("/api/v1/triggers/<name>/test")
    @needs("operator")
    async def test_trigger(name: str) -> Response:
        if name not in context.config.current.triggers:
            raise NotFound(f"there is no trigger {name!r:.80}")
        log.info("%s tests trigger %s", current().author, name)
        try:
            actions = await context.triggers.test(name) if context.triggers is not None else []
        except NimsError as error:
            raise ServiceUnavailable(str(error)) from None
        return json_answer({"ok": all(action["ok"] for action in actions), "actions": actions})
