"""Decoding of recordings without links or clocks: from a file to its frames, as fast as they are taken.

What a driver sees is what it saw live: a container gives the bytes in the pieces and at the times in which they came.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any, TypeVar

from .decoder import DatagramDecoder, DecoderContext, Driver, StreamDecoder
from .errors import ConfigError, LinkError, NimsError
from .frame import Arrival, Frame
from .links.connection import SLACK_BYTES, ReceiveBuffer, now
from .recording.container import MAGIC, Kind, Reader, Record

T = TypeVar("T")
log = logging.getLogger(__name__)

CHUNK_BYTES = 2**20
"""Read at once, unless the decoder needs more."""
HEAD_BYTES = 64 * 1024


class FileDecoder:
    """Decodes one file after the other.

    Args:
      driver: makes a decoder for each file, and a new one where it breaks down; what was read then is left out.
      context: for the decoders.
      limit_bytes: largest packet of the sonar, from its profile.
      progress: told often how many bytes of all files are done.
    """

    def __init__(
        self,
        driver: Driver,
        context: DecoderContext,
        limit_bytes: int,
        progress: Callable[[int], object] = lambda done: None,
    ) -> None:
        self.bytes = 0
        self.resyncs = 0
        self.skipped_bytes = 0
        """Bytes of no packet, and damage of containers."""
        self.rest_bytes = 0
        """Bytes at the end of the last file's stream that were not taken: the beginning of a packet that was cut."""
        self.errors: Counter[str] = Counter()
        """Packets that could not be decoded, by reason."""
        self.breakdowns: list[str] = []
        """What drivers raised, a sentence for each kind and file; cleared by whoever has told it."""
        self.head = b""
        """First bytes of the file that is, or was last, read."""
        self._driver = driver
        self._context = context
        self._limit_bytes = limit_bytes
        self._progress = progress

    def frames(self, path: Path) -> Iterator[tuple[Frame, Arrival]]:
        """Yield the frames of a file and when their last byte came.

        Raises:
          NimsError: the file is empty, or cannot be one of this driver's, or the driver broke its contract.
          OSError: it cannot be read.
        """
        self.head = b""
        with open(path, "rb", buffering=0) as file:
            is_container = file.read(len(MAGIC)) == MAGIC
            file.seek(0)
            if is_container:
                reader = Reader(file, path.name)
                records = self._counted(record for record in reader if record.kind in (Kind.STREAM, Kind.DATAGRAM))
                context = replace(self._context, timed=True)
                if reader.header.transport == "datagram":
                    yield from self._datagrams(path, context, records)
                else:
                    yield from self._stream(path, context, _Pieces(records).read_into, SLACK_BYTES)
                self.skipped_bytes += reader.skipped_bytes + reader.torn_bytes
            else:
                fill = partial(_fill, file, self._count)
                yield from self._stream(path, self._context, fill, CHUNK_BYTES)
        if not self.head:
            raise LinkError("the file is empty")

    def _counted(self, records: Iterator[Record]) -> Iterator[Record]:
        for record in records:
            self._count(record.payload)
            yield record

    def _count(self, data: bytes | memoryview) -> None:
        self.head = self.head or bytes(data[:HEAD_BYTES])
        self.bytes += len(data)
        self._progress(self.bytes)

    def _stream(
        self, path: Path, context: DecoderContext, read_into: Callable, chunk_bytes: int
    ) -> Iterator[tuple[Frame, Arrival]]:
        if self._driver.stream is None:
            raise ConfigError(
                f"{self._driver.title} comes in datagrams: it cannot be read from a file of a byte stream"
            )
        buffer = ReceiveBuffer(self._limit_bytes + chunk_bytes)
        decoder: StreamDecoder = self._made(self._driver.stream, context)
        need, arrival = 1, now()
        while True:
            count, arrival = read_into(buffer.room(max(need, len(buffer) + 1), chunk_bytes))
            if not count:
                break
            buffer.filled(count)
            while True:
                decoded = self._guarded(path, decoder, partial(decoder.decode, buffer.view, arrival))
                if decoded is None:
                    decoder = self._made(self._driver.stream, context)
                    buffer.consume(len(buffer))
                    need = 1
                    break
                buffer.consume(decoded.consumed)
                need = decoded.need
                yield from ((frame, arrival) for frame in decoded.frames)
                if not decoded.consumed or len(buffer) < max(need, 1):
                    break
        # The end of a packet may look like the beginning of a sync word and is then held back.
        self.rest_bytes = len(buffer) if len(buffer) >= max(len(self._driver.packet_start), 1) else 0
        yield from self._finish(path, decoder, arrival)

    def _datagrams(
        self, path: Path, context: DecoderContext, records: Iterator[Record]
    ) -> Iterator[tuple[Frame, Arrival]]:
        if self._driver.datagram is None:
            raise ConfigError(f"{self._driver.title} comes in a byte stream: this is a recording of datagrams")
        decoder: DatagramDecoder = self._made(self._driver.datagram, context)
        arrival = now()
        for record in records:
            arrival = record.arrival
            decode = partial(decoder.decode_datagram, memoryview(record.payload), record.sender, arrival)
            decoded = self._guarded(path, decoder, decode)
            if decoded is None:
                decoder = self._made(self._driver.datagram, context)
                continue
            yield from ((frame, arrival) for frame in decoded.frames)
        yield from self._finish(path, decoder, arrival)

    def _made(self, make: Callable[[DecoderContext], Any], context: DecoderContext) -> Any:
        decoder = make(context)
        decoder.on_connect()
        return decoder

    def _finish(self, path: Path, decoder: StreamDecoder | DatagramDecoder, arrival: Arrival) -> Iterator:
        frames = self._guarded(path, decoder, lambda: decoder.finish(arrival))
        yield from ((frame, arrival) for frame in frames or [])
        self._retire(decoder)

    def _guarded(self, path: Path, decoder: StreamDecoder | DatagramDecoder, call: Callable[[], T]) -> T | None:
        """Return what the decoder answers, or None when it raised; its counters are kept then."""
        try:
            return call()
        except (NimsError, OSError):
            raise
        except Exception as error:
            text = f"{path}: the driver broke down ({type(error).__name__}: {error}); some of the file is left out"
            if text not in self.breakdowns:
                log.exception("%s: the driver raised before byte %d of all", path, self.bytes)
                self.breakdowns.append(text)
            self._retire(decoder)
            return None

    def _retire(self, decoder: StreamDecoder | DatagramDecoder) -> None:
        self.resyncs += decoder.statistics.resyncs
        self.skipped_bytes += decoder.statistics.skipped_bytes
        self.errors.update(decoder.statistics.errors)


class _Pieces:
    """Gives the payloads of records to a receive buffer, never two at once."""

    def __init__(self, records: Iterator[Record]) -> None:
        self._records = records
        self._rest = memoryview(b"")
        self._arrival = now()

    def read_into(self, view: memoryview) -> tuple[int, Arrival]:
        while not self._rest:
            record = next(self._records, None)
            if record is None:
                return 0, self._arrival
            self._rest, self._arrival = memoryview(record.payload), record.arrival
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count, self._arrival


def _fill(file: FileIO, counted: Callable[[memoryview], None], view: memoryview) -> tuple[int, Arrival]:
    count = file.readinto(view)
    counted(view[:count])
    return count, now()
