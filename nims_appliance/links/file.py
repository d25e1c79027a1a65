"""Files: a recording as a byte stream, read off the event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import FileIO

import trio

from ..errors import LinkError
from .address import FileLink
from .connection import StreamConnection, Tap

CHUNK_BYTES = 2**20


@asynccontextmanager
async def open_file(link: FileLink, *, limit_bytes: int, taps: list[Tap]) -> AsyncIterator[StreamConnection]:
    """Open the recording; it is closed at the end.

    Raises:
      LinkError: there is no such file, or it cannot be read.
    """
    file = await trio.to_thread.run_sync(_open, link)
    try:

        async def read_into(view: memoryview) -> int:
            try:
                return await trio.to_thread.run_sync(file.readinto, view)
            except OSError as error:
                raise LinkError(f"cannot read {link.path}: {error.strerror or error}") from error

        yield StreamConnection(
            read_into, limit_bytes=limit_bytes, taps=taps, live=False, chunk_bytes=min(CHUNK_BYTES, limit_bytes)
        )
    finally:
        file.close()


def _open(link: FileLink) -> FileIO:
    try:
        # A pipe that nobody writes would hold the worker thread for ever.
        if link.path.is_fifo():
            raise LinkError(f"{link.path} is a pipe: expected the file of a recording")
        return FileIO(link.path)
    except FileNotFoundError:
        raise LinkError(f"there is no file {link.path.absolute()}") from None
    except IsADirectoryError:
        raise LinkError(f"{link.path} is a folder: name one recording in it") from None
    except OSError as error:
        raise LinkError(f"cannot open {link.path}: {error.strerror or error}") from error
