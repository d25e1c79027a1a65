"""What requests carry: JSON of bounded size, and files that go to the disk as they come."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
import trio
from quart import Response, request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, RequestTimeout, UnsupportedMediaType

from .state import from_json, to_json

T = TypeVar("T")

MAX_JSON_BYTES = 2**20
BODY_TIMEOUT_S = 10.0


def json_answer(value: object, status: int = 200) -> Response:
    """Return an answer in JSON."""
    return Response(to_json(value), status, content_type="application/json")


async def read_json(kind: type[T] | Any = Any, max_bytes: int = MAX_JSON_BYTES) -> T | Any:
    """Return the JSON that the request carries.

    Raises:
      UnsupportedMediaType, BadRequest: it carries something else.
      RequestEntityTooLarge, RequestTimeout: it is too large, or comes too slowly.
    """
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("expected application/json")
    body = await read_body(max_bytes)
    try:
        return from_json(body, kind)
    except ValueError as error:
        what = "unexpected content" if isinstance(error.__cause__, msgspec.ValidationError) else "malformed JSON"
        raise BadRequest(f"{what}: {error}") from None


async def read_body(max_bytes: int) -> bytes:
    """Return what the request carries.

    Raises:
      RequestEntityTooLarge, RequestTimeout: it is too large, or comes too slowly.
    """
    # Quart's own `get_data` may gather everything that comes before it compares it with the limit.
    data = bytearray()
    with trio.move_on_after(BODY_TIMEOUT_S) as scope:
        async for chunk in request.body:
            data += chunk
            if len(data) > max_bytes:
                raise RequestEntityTooLarge
    if scope.cancelled_caught:
        raise RequestTimeout
    return bytes(data)
