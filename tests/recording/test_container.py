"""The container of recordings: what is written comes back, and damage costs only what it hits."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nims_appliance.errors import LinkError
from nims_appliance.frame import Arrival
from nims_appliance.recording.container import HEAD_BYTES, MAGIC, Header, Kind, Reader, encode, encode_header

HEADER = Header("pen", "simrad-ek60", "udp://:2020", "datagram")
WHEN = Arrival(1.7e9, 12.5)


def written(payloads: list[bytes], sender: str = "10.0.0.5:2020") -> bytes:
    parts = encode_header(HEADER, WHEN)
    for number, payload in enumerate(payloads):
        parts += encode(Kind.DATAGRAM, payload, Arrival(1.7e9 + number, 12.5 + number), sender)
    return b"".join(parts)


def read(data: bytes) -> tuple[list[bytes], Reader]:
    reader = Reader(io.BytesIO(data), "a")
    return [record.payload for record in reader], reader


def test_a_record_by_hand() -> None:
    head = struct.pack("<4sBBHqqI", b"NREC", 2, 3, 0, 1_500_000_000, 2_000_000_000, 4)
    record = head + struct.pack("<I", zlib.crc32(head + b"a:1" + b"ping")) + b"a:1" + b"ping"
    assert b"".join(encode(Kind.DATAGRAM, b"ping", Arrival(1.5, 2.0), "a:1")) == record
    (found,) = Reader(io.BytesIO(b"".join(encode_header(HEADER, WHEN)) + record), "a")
    assert (found.kind, found.payload, found.sender, found.arrival) == (2, b"ping", "a:1", Arrival(1.5, 2.0))


@given(st.lists(st.binary(max_size=200)), st.text(max_size=40))
def test_what_is_written_comes_back(payloads: list[bytes], sender: str) -> None:
    try:
        sender.encode()
    except UnicodeEncodeError:
        return
    reader = Reader(io.BytesIO(written(payloads, sender)), "a")
    records = list(reader)
    assert [record.payload for record in records] == payloads
    assert [record.arrival.utc_s for record in records] == [1.7e9 + number for number in range(len(payloads))]
    assert reader.header == HEADER
    assert (reader.skipped_bytes, reader.torn_bytes) == (0, 0)


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=6), st.data())
def test_a_cut_costs_only_the_record_that_it_hits(payloads: list[bytes], data: st.DataObject) -> None:
    whole = written(payloads)
    start = len(written([]))
    cut = data.draw(st.integers(start, len(whole)))
    found, reader = read(whole[:cut])
    ends = [len(written(payloads[: count + 1])) for count in range(len(payloads))]
    assert found == payloads[: sum(end <= cut for end in ends)]
    assert reader.end + reader.torn_bytes == cut


@given(st.lists(st.binary(min_size=1, max_size=60), min_size=3, max_size=6), st.data())
def test_a_flipped_byte_costs_only_its_own_record(payloads: list[bytes], data: st.DataObject) -> None:
    damaged = bytearray(written(payloads))
    victim = data.draw(st.integers(0, len(payloads) - 2))
    low, high = len(written(payloads[:victim])), len(written(payloads[: victim + 1]))
    damaged[data.draw(st.integers(low, high - 1))] ^= 1 << data.draw(st.integers(0, 7))
    found, reader = read(bytes(damaged))
    assert found == payloads[:victim] + payloads[victim + 1 :]
    assert reader.skipped_bytes == high - low


def test_a_length_beyond_the_file_is_damage() -> None:
    data = bytearray(written([b"first", b"second"]))
    at = len(written([])) + 24
    data[at : at + 4] = struct.pack("<I", 2**32 - 1)
    found, reader = read(bytes(data))
    assert found == [b"second"]
    assert reader.skipped_bytes == HEAD_BYTES + len("10.0.0.5:2020") + len("first")


@pytest.mark.parametrize("data", [b"", b"NIMS", b"\x00\x80" * 40, MAGIC, MAGIC + b"\x00" * 100])
def test_what_is_no_recording_is_refused(data: bytes) -> None:
    with pytest.raises(LinkError, match=r"^a: "):
        read(data)
