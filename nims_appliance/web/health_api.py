"""`/api/v1/health`, `/api/v1/log`, `/api/v1/support` and `/metrics`."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import BadRequest

from . import prometheus
from .auth import needs
from .bodies import json_answer
from .health import describe_health, support_text
from .state import WebState

if TYPE_CHECKING:
    from ..context import Context


def register(app: QuartTrio, context: Context, state: WebState) -> None:
    """Add the routes to the application."""

    @app.get("/api/v1/health")
    @needs("viewer")
    async def get_health() -> Response:
        return json_answer(describe_health(context, state))

    @app.get("/metrics")
    @needs("viewer")
    async def get_metrics() -> Response:
        text = prometheus.exposition(describe_health(context, state))
        return Response(text.encode(errors="replace"), content_type=prometheus.CONTENT_TYPE)

    @app.get("/api/v1/log")
    @needs("operator")
    async def get_log() -> Response:
        after = request.args.get("after", "0")
        if not after.isascii() or not after.isdigit() or len(after) > 18:
            raise BadRequest(f"after: expected the number of a record, got {after!r:.40}")
        try:
            records = context.log.records(int(after), request.args.get("level", "INFO"))
        except ValueError as error:
            raise BadRequest(f"level: {error}") from None
        return json_answer({"records": [asdict(record) for record in records], "newest": context.log.newest})

    @app.get("/api/v1/support")
    @needs("operator")
    async def get_support() -> Response:
        name = time.strftime("nims-support-%Y%m%dT%H%M%SZ.txt", time.gmtime())
        return Response(
            support_text(context, state).encode(errors="replace"),
            content_type="text/plain; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )
