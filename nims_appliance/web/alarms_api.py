"""`/api/v1/alarms`: how alarms stand, and their acknowledgement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Response
from quart_trio import QuartTrio

from .auth import current, needs
from .bodies import json_answer, read_json

if TYPE_CHECKING:
    from ..context import Context


def register(app: QuartTrio, context: Context) -> None:
    """Add the routes to the application."""

    @app.get("/api/v1/alarms")
    @needs("viewer")
    async def get_alarms() -> Response:
        wanted = {name: sonar.metrics.alarms for name, sonar in context.config.current.sonars.items()}
        return json_answer({"alarms": context.alarm_board.describe(wanted)})

    @app.post("/api/v1/alarms/acknowledge")
    @needs("operator")
    async def acknowledge() -> Response:
        body = await read_json(dict[str, str])
        event = context.alarm_board.acknowledge(body.get("id", ""), current().author)
        context.alarms.publish(event)
        return json_answer({"ok": True, "alarm": event.alarm.describe()})
