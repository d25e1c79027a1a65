"""Container: received bytes with the time of their arrival, readable to the last whole record whatever cut the file.

    file    "NIMSREC1", then records
    record  little endian, 32 bytes, followed by the sender and the payload:
            0   4s  "NREC"
            4   u8  kind: 0 header, 1 bytes of a stream, 2 datagram, 3 connection made, 4 bytes lost
            5   u8  length of the sender ("host:port", UTF-8; empty for streams)
            6   u16 0
            8   i64 time of arrival, UTC, ns since 1970
            16  i64 time of arrival on a clock that is never set, ns
            24  u32 length of the payload
            28  u32 CRC-32 (zlib) of the 28 bytes before, the sender and the payload

The first record is the header: JSON with `sonar`, `profile`, `link` and `transport` ("stream" or "datagram"). The
payload of `bytes lost` is their number as u64: a disk was too slow, and what follows does not join to what was before.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import BinaryIO

import msgspec

from ..errors import LinkError
from ..frame import Arrival

SUFFIX = ".nimsrec"
MAGIC = b"NIMSREC1"
SYNC = b"NREC"
_HEAD = struct.Struct("<4sBBHqqI")
_CRC = struct.Struct("<I")
HEAD_BYTES = _HEAD.size + _CRC.size
MOST_PAYLOAD_BYTES = 2**28
"""A longer payload is damage, not data."""
_SEARCH_BYTES = 2**20


class Kind(IntEnum):
    """What a record holds."""

    HEADER = 0
    STREAM = 1
    DATAGRAM = 2
    CONNECTED = 3
    LOST = 4


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a file; `offset` is where it begins, in bytes."""

    kind: Kind
    payload: bytes
    sender: str
    arrival: Arrival
    offset: int


class Header(msgspec.Struct, frozen=True):
    """What the first record says."""

    sonar: str
    profile: str
    link: str
    transport: str


def encode(kind: Kind, payload: bytes | memoryview, arrival: Arrival, sender: str = "") -> list[bytes | memoryview]:
    """Return a record as pieces to be written one after the other; the payload is not copied."""
    name = sender.encode()[:255]
    utc_ns, monotonic_ns = round(arrival.utc_s * 1e9), round(arrival.monotonic_s * 1e9)
    head = _HEAD.pack(SYNC, kind, len(name), 0, utc_ns, monotonic_ns, len(payload))
    check = zlib.crc32(payload, zlib.crc32(name, zlib.crc32(head)))
    return [head + _CRC.pack(check) + name, payload]


def encode_header(header: Header, arrival: Arrival) -> list[bytes | memoryview]:
    """Return the beginning of a file, as pieces."""
    return [MAGIC, *encode(Kind.HEADER, msgspec.json.encode(header), arrival)]


class Reader:
    """Reads the records of a file in order.

    Damaged stretches are passed over to the next whole record.

    Raises:
      LinkError: the file does not begin like a recording.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self.skipped_bytes = 0
        """Bytes between whole records that are no record."""
        self.end = 0
        """Where the last whole record ends."""
        self.torn_bytes = 0
        """Bytes behind that; known when everything has been read."""
        if file.read(len(MAGIC)) != MAGIC:
            raise LinkError(f"{name}: expected a recording that begins with {MAGIC.decode()}")
        self.end = len(MAGIC)
        first = self._read_record(self.end)
        if first is None or first.kind is not Kind.HEADER:
            raise LinkError(f"{name}: its header is damaged or was never written")
        try:
            self.header = msgspec.json.decode(first.payload, type=Header)
        except msgspec.DecodeError as error:
            raise LinkError(f"{name}: its header cannot be understood: {error}") from None

    def __iter__(self) -> Iterator[Record]:
        while True:
            record = self._read_record(self.end)
            if record is None:
                if not self._resynchronise():
                    return
                continue
            yield record

    def seek(self, offset: int) -> None:
        """Go on at the record that begins at `offset`, as an index says; if none does, at the next after it."""
        self.end = max(offset, self.end)

    def _read_record(self, offset: int) -> Record | None:
        """Return the whole record at `offset` and move behind it; None where there is none."""
        self._file.seek(offset)
        head = self._file.read(HEAD_BYTES)
        if len(head) < HEAD_BYTES or head[:4] != SYNC:
            return None
        _, kind, sender_length, _, utc_ns, monotonic_ns, length = _HEAD.unpack_from(head)
        if length > MOST_PAYLOAD_BYTES or kind > max(Kind):
            return None
        sender = self._file.read(sender_length)
        payload = self._file.read(length)
        (check,) = _CRC.unpack_from(head, _HEAD.size)
        if len(payload) < length or check != zlib.crc32(payload, zlib.crc32(sender, zlib.crc32(head[: _HEAD.size]))):
            return None
        self.end = offset + HEAD_BYTES + sender_length + length
        arrival = Arrival(utc_ns / 1e9, monotonic_ns / 1e9)
        return Record(Kind(kind), payload, sender.decode(errors="replace"), arrival, offset)

    def _resynchronise(self) -> bool:
        """Go to the next whole record behind damage; False, and the torn end is known, where there is none."""
        at = self.end + 1
        before = self.end
        while True:
            self._file.seek(at)
            block = self._file.read(_SEARCH_BYTES)
            found = block.find(SYNC)
            if found >= 0:
                if self._read_record(at + found) is not None:
                    self.end = at + found
                    self.skipped_bytes += self.end - before
                    return True
                at += found + 1
            elif len(block) < len(SYNC):
                self._file.seek(0, 2)
                self.torn_bytes = self._file.tell() - before
                self.end = before
                return False
            else:
                at += len(block) - len(SYNC) + 1
