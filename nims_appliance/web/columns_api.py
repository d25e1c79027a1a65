"""`/api/v1/sonars/NAME/columns`: range over time of a multibeam sonar, the last minutes at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import BadRequest, NotFound

from ..pipeline.columns import encode_columns
from .auth import needs

if TYPE_CHECKING:
    from ..context import Context


def _after(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise BadRequest(f"after: expected the number of a frame, got {text!r:.40}")
    return int(text)


def register(app: QuartTrio, context: Context) -> None:
    """Add the route to the application."""

    @app.get("/api/v1/sonars/<name>/columns")
    @needs("viewer")
    async def get_columns(name: str) -> Response:
        sonar = context.sonars.get(name)
        if sonar is None:
            raise NotFound(f"there is no sonar {name!r:.80}")
        kept = sonar.strongest.get(request.args.get("channel", ""), ())
        after = _after(request.args.get("after", "0"))
        columns = [column for column in kept if column.frame_number >= after]
        if not columns:
            return Response(b"", 204)
        body = await trio.to_thread.run_sync(encode_columns, name, columns)
        return Response(body, content_type="application/octet-stream")
