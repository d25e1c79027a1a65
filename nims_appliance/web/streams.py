"""Files over HTTP, piece by piece: uploads go to the disk as they come, downloads come from it as they are taken.

Neither is ever in memory as a whole. What a slow disk has not taken yet holds up the sender: Quart would gather it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import trio
from quart import Request, Response, request
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge, RequestTimeout

CHUNK_BYTES = 2**18
IDLE_TIMEOUT_S = 30.0
"""So long a sender may be silent within an upload."""
PREFIX = ".upload-"


class InsufficientStorage(HTTPException):
    """507."""

    code = 507
    description = "the appliance's disk is full"


class _Pieces:
    """The body of a request, handed over piece by piece."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[bytes](0)

    async def put(self, piece: bytes) -> None:
        if piece:
            await self._send.send(piece)

    def end(self) -> None:
        self._send.close()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._receive.__aiter__()


def install(app: QuartTrio, path: str) -> None:
    """Stream the bodies of requests below `path`, for `receive_file`; others are gathered, within Quart's limit."""

    class Connection(TrioASGIHTTPConnection):
        def _create_request_from_scope(self, send: Callable[..., Any]) -> Request:
            made = super()._create_request_from_scope(send)
            if made.path.startswith(path):
                made.body = _Pieces()  # type: ignore[assignment]
            return made

        async def handle_messages(self, nursery: trio.Nursery, request: Request, receive: Callable[..., Any]) -> None:  # type: ignore[override]
            pieces: Any = request.body
            if not isinstance(pieces, _Pieces):
                await super().handle_messages(nursery, request, receive)
                return
            while (message := await receive())["type"] == "http.request":
                await pieces.put(message.get("body", b""))
                if not message.get("more_body", False):
                    pieces.end()
            nursery.cancel_scope.cancel()  # the client is gone

    app.asgi_http_class = Connection


async def receive_file(path: Path, max_bytes: int, check: Callable[[Path], None] | None = None) -> int:
    """Store the body of this request as a file, as a whole or not at all; return its size in bytes.

    `check` looks at the complete file, in a worker thread, before it takes the place of an older one.

    Raises:
      RequestEntityTooLarge, RequestTimeout: it is larger than `max_bytes`, or its sender fell silent.
      InsufficientStorage: the disk is full.
      NimsError: `check` refuses it.
    """
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    run = trio.to_thread.run_sync
    try:
        descriptor, name = await run(_make_temporary, path)
        temporary, size = Path(name), 0
        try:
            with open(descriptor, "wb") as file:
                pieces = aiter(request.body)
                while True:
                    with trio.move_on_after(IDLE_TIMEOUT_S) as silence:
                        piece = await anext(pieces, None)
                    if silence.cancelled_caught:
                        raise RequestTimeout
                    if piece is None:
                        break
                    size += len(piece)
                    if size > max_bytes:
                        raise _too_large(max_bytes)
                    await run(file.write, piece)
                await run(_sync, file)
            if check is not None:
                await run(check, temporary)
            await run(os.replace, temporary, path)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
    except OSError as error:
        _refuse(error)
    return size


def _make_temporary(path: Path) -> tuple[int, str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside the folder, where nothing reads what is not complete.
    return tempfile.mkstemp(prefix=PREFIX, dir=path.parent.parent)


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _refuse(error: OSError) -> NoReturn:
    raise InsufficientStorage(f"the file cannot be stored: {error.strerror}") from None


def _too_large(max_bytes: int) -> RequestEntityTooLarge:
    return RequestEntityTooLarge(f"at most {max_bytes / 2**20:g} MiB are taken")


def forget_uploads(folder: Path) -> None:
    """Remove what uploads left behind that were cut short by the end of the process."""
    for left in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):
            left.unlink()


async def send_file(path: Path) -> Response:
    """Return a file as a download, read while it is sent.

    Raises:
      BadRequest: it cannot be read.
    """
    try:
        file = await trio.to_thread.run_sync(path.open, "rb")
    except OSError as error:
        raise BadRequest(f"{path.name}: cannot be read: {error.strerror}") from None
    size = os.fstat(file.fileno()).st_size

    async def pieces() -> AsyncIterator[bytes]:
        with file:
            left = size  # a file that grows meanwhile keeps to what was announced
            while left > 0 and (piece := await trio.to_thread.run_sync(file.read, min(CHUNK_BYTES, left))):
                left -= len(piece)
                yield piece

    return download(pieces(), path.name, size)


def download(pieces: AsyncIterator[bytes], name: str, size: int | None = None) -> Response:
    """Return a download of any length, made while it is sent; `name` is what the browser calls the file."""
    response = Response(pieces, content_type="application/octet-stream")
    response.timeout = None  # a slow link is no error: each piece has its own deadline in `transport`
    response.headers.set("Content-Disposition", "attachment", filename=name)
    if size is not None:
        response.content_length = size
    return response
