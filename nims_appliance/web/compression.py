"""Compression of text, for browsers that offer it: static files once, answers each time; WebSockets never.

An answer that holds a secret stays as it is: from the size of compressed answers that repeat what a foreign page asked
for, their secrets could be guessed (the BREACH attack).
"""

from __future__ import annotations

import gzip

import trio
from quart import Response, request
from quart.wrappers.response import DataBody
from quart_trio import QuartTrio

MIN_BYTES = 1000
"""Smaller answers fit a packet in any case."""
THREAD_BYTES = 32 * 1024
"""Larger ones are compressed in a worker thread."""
LEVEL = 5
SECRET = ("/api/v1/session", "/api/v1/users", "/api/v1/tokens")
_TEXT = ("text/", "application/json", "application/x-ndjson", "application/javascript", "image/svg")


def is_text(content_type: str) -> bool:
    """Whether compressing is worth its time."""
    return content_type.startswith(_TEXT)


def wanted() -> bool:
    """Whether who sent this request takes gzip."""
    return bool(request.accept_encodings["gzip"])


def compress(data: bytes, level: int = LEVEL) -> bytes:
    """Return the gzip form of data; the same data gives the same bytes."""
    return gzip.compress(data, level, mtime=0)


def install(app: QuartTrio) -> None:
    """Compress the answers of an application."""

    @app.after_request
    async def compress_answer(response: Response) -> Response:
        if not is_text(response.content_type or "") or request.path.startswith(SECRET):
            return response
        response.vary.add("Accept-Encoding")
        body = response.response
        if (
            "Content-Encoding" in response.headers
            or response.status_code in (204, 206, 304)
            or not isinstance(body, DataBody)  # what is streamed is sent as it comes
            or len(body.data) < MIN_BYTES
            or not wanted()
        ):
            return response
        data = bytes(body.data)
        if len(data) > THREAD_BYTES:
            packed = await trio.to_thread.run_sync(compress, data)
        else:
            packed = compress(data)
        response.set_data(packed)
        response.headers["Content-Encoding"] = "gzip"
        return response
