"""Files: a recording as a sonar's bytes, read off the event loop.

A container (`recording.container`) gives the bytes in the pieces, with the senders and at the times of arrival in which
they came, so that a decoder sees exactly what it saw live. Any other file is a byte stream.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import trio

from ..errors import LinkError
from ..frame import Arrival
from ..recording.container import MAGIC, Kind, Reader, Record
from ..recording.files import INDEX_SUFFIX, offset_at, read_index
from .address import FileLink
from .connection import Datagram, StreamConnection, Tap, now

T = TypeVar("T")
CHUNK_BYTES = 2**20
BATCH = 64
"""Datagrams read at once."""


@asynccontextmanager
async def open_file(
    link: FileLink, *, limit_bytes: int, taps: list[Tap]
) -> AsyncIterator[StreamConnection | RecordedDatagrams]:
    """Open the recording; it is closed at the end.

    Raises:
      LinkError: there is no such file, or it cannot be read.
    """
    file = await trio.to_thread.run_sync(_open, link)
    try:
        if await trio.to_thread.run_sync(_is_container, file, link):
            reader = await trio.to_thread.run_sync(Reader, file, str(link.path))
            if link.start_s is not None:
                reader.seek(await trio.to_thread.run_sync(offset_at, link.path, link.start_s))
            records = (record for record in reader if record.kind in (Kind.STREAM, Kind.DATAGRAM))
            if reader.header.transport == "datagram":
                yield RecordedDatagrams(records, taps, link)
            else:
                stream = _RecordedStream(records, link)
                yield StreamConnection(
                    stream.receive_into, limit_bytes=limit_bytes, taps=taps, live=False, clock=lambda: stream.arrival
                )
            return
        if link.start_s is not None:
            file.seek(await trio.to_thread.run_sync(offset_at, link.path, link.start_s))

        async def read_into(view: memoryview) -> int:
            return await _reading(link, file.readinto, view)

        yield StreamConnection(
            read_into, limit_bytes=limit_bytes, taps=taps, live=False, chunk_bytes=min(CHUNK_BYTES, limit_bytes)
        )
    finally:
        file.close()


def recordings_of(link: FileLink, from_s: float | None = None) -> list[Path]:
    """Return the files of a link in the order in which they are played: itself, or those of its folder. Blocks.

    Args:
      from_s: leave out the recordings of a folder that end before this time of arrival, UTC.

    Raises:
      LinkError: the folder cannot be read, or nothing is in it.
    """
    if not link.path.is_dir():
        return [link.path]
    try:
        paths = sorted(path for path in link.path.iterdir() if _is_recording(path))
    except OSError as error:
        raise LinkError(f"cannot read {link.path}: {error.strerror or error}") from error
    if not paths:
        raise LinkError(f"there is no recording in {link.path}")
    if from_s is None:
        return paths
    # The one that began last before then, and what follows; without an index there is no telling.
    begins_s = [next((moment_s for moment_s, _ in read_index(path)), None) for path in paths]
    earlier = [number for number, moment_s in enumerate(begins_s) if moment_s is not None and moment_s <= from_s]
    return paths[earlier[-1] if earlier else 0 :]


def _is_recording(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return not hidden and not path.name.endswith((INDEX_SUFFIX, ".json")) and path.is_file()


def recorded_transport(link: FileLink) -> str:
    """Return "stream" or "datagram" for a container, "" for any other file, also one that cannot be read. Blocks.

    Of a folder it is that of its first recording.
    """
    try:
        link = replace(link, path=recordings_of(link)[0])
        with _open(link) as file:
            return Reader(file, str(link.path)).header.transport if _is_container(file, link) else ""
    except (LinkError, OSError):
        return ""


class _RecordedStream:
    """The stream of a container, in the pieces in which it came."""

    def __init__(self, records: Iterator[Record], link: FileLink) -> None:
        self.arrival: Arrival = now()
        self._records = records
        self._link = link
        self._rest = memoryview(b"")

    async def receive_into(self, view: memoryview) -> int:
        while not self._rest:
            record = await _reading(self._link, next, self._records, None)
            if record is None:
                return 0
            self._rest, self.arrival = memoryview(record.payload), record.arrival
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


class RecordedDatagrams:
    """The datagrams of a container, as a connection."""

    live = False

    def __init__(self, records: Iterator[Record], taps: list[Tap], link: FileLink) -> None:
        self.received_bytes = 0
        self._records = records
        self._taps = taps
        self._link = link

    async def receive(self) -> list[Datagram]:
        """Return the next datagrams; none at the end."""
        records = await _reading(self._link, lambda: list(islice(self._records, BATCH)))
        batch = [Datagram(memoryview(record.payload), record.sender, record.arrival) for record in records]
        for datagram in batch:
            self.received_bytes += len(datagram.data)
            for tap in self._taps:
                tap(datagram.data, datagram.sender, datagram.arrival)
        return batch

    async def send(self, data: bytes) -> None:
        """Forget the bytes: nobody listens."""
        await trio.lowlevel.checkpoint()


async def _reading(link: FileLink, read: Callable[..., T], *arguments: Any) -> T:
    try:
        return await trio.to_thread.run_sync(read, *arguments)
    except OSError as error:
        raise LinkError(f"cannot read {link.path}: {error.strerror or error}") from error


def _is_container(file: FileIO, link: FileLink) -> bool:
    try:
        head = file.read(len(MAGIC))
        file.seek(0)
    except OSError as error:
        raise LinkError(f"cannot read {link.path}: {error.strerror or error}") from error
    return head == MAGIC


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
