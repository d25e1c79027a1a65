"""Recorded files: divided where packets begin, found by time, and whole to the last record whatever the disk does."""

from __future__ import annotations

import errno
import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nims_appliance.frame import Arrival
from nims_appliance.recording.container import Header, Kind, Reader
from nims_appliance.recording.files import (
    FOLDER,
    INDEX_SUFFIX,
    FileFormat,
    FileWriter,
    Piece,
    list_recordings,
    offset_at,
    read_index,
)

PLAIN = FileFormat(Header("pen", "kongsberg-m3", "tcp://10.0.0.5:20001", "stream"), ".imb", b"\x00\x80\x00\x80")
CONTAINER = FileFormat(Header("pen", "simrad-ek60", "udp://:2020", "datagram"))
PACKET = PLAIN.packet_start + b"x" * 96
START_S = 1_763_775_405.123


def piece(payload: bytes, second: float, kind: Kind = Kind.STREAM) -> Piece:
    return Piece(kind, payload, "", Arrival(START_S + second, 100 + second))


def writer(data: Path, format: FileFormat = PLAIN, file_s: float = 1e9, file_bytes: int = 10**9) -> FileWriter:
    return FileWriter(data / FOLDER / "pen", format, file_s=file_s, file_bytes=file_bytes)


@given(cuts=st.lists(st.integers(0, 5000), max_size=30), file_bytes=st.integers(150, 2000))
def test_files_of_a_stream_are_the_stream_and_begin_with_packets(tmp_path_factory, cuts: list[int], file_bytes) -> None:
    data = tmp_path_factory.mktemp("data")
    stream = PACKET * 50
    files = writer(data, file_bytes=file_bytes)
    for number, (low, high) in enumerate(pairwise(sorted({0, *cuts, len(stream)}))):
        files.write([piece(stream[low:high], number / 10)])
    files.close()
    recordings = list_recordings(data)
    assert b"".join(recording.path.read_bytes() for recording in recordings) == stream
    for recording in recordings:
        # unless no packet began for so long that the file had to end anywhere
        assert recording.path.read_bytes().startswith(PLAIN.packet_start) or len(recordings) > 1
        assert recording.sonar == "pen"
        assert recording.start_s == pytest.approx(START_S, abs=5)


def test_a_file_is_ended_after_its_time(tmp_path: Path) -> None:
    files = writer(tmp_path, file_s=60)
    for second in range(0, 300, 10):
        files.write([piece(PACKET, second)])
    files.close()
    assert [recording.bytes for recording in list_recordings(tmp_path)] == [600] * 5


def test_a_moment_is_found(tmp_path: Path) -> None:
    files = writer(tmp_path)
    for tenth in range(100):
        files.write([piece(PACKET, tenth / 10)])
    files.close()
    (recording,) = list_recordings(tmp_path)
    assert len(read_index(recording.path)) == pytest.approx(20, abs=2)
    offset = offset_at(recording.path, START_S + 5.05)
    assert offset % len(PACKET) == 0
    assert 4400 <= offset <= 5000
    assert offset_at(recording.path, START_S - 10) == 0
    Path(f"{recording.path}{INDEX_SUFFIX}").write_bytes(b"rubbish")
    assert offset_at(recording.path, START_S + 5.05) == 0


def test_a_full_disk_leaves_whole_records(tmp_path: Path, monkeypatch) -> None:
    files = writer(tmp_path, CONTAINER)
    files.write([piece(b"first", 0, Kind.DATAGRAM)])
    room = [40]
    real = os.write

    def write(handle: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = real(handle, bytes(data)[: room[0]])
        room[0] -= done
        return done

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space left"):
        files.write([piece(b"second" * 20, 1, Kind.DATAGRAM)])
    monkeypatch.undo()
    files.write([piece(b"third", 2, Kind.DATAGRAM)])
    files.close()
    found = []
    for recording in list_recordings(tmp_path):
        with recording.path.open("rb") as file:
            reader = Reader(file, recording.path.name)
            found += [record.payload for record in reader if record.kind == Kind.DATAGRAM]
            assert (reader.skipped_bytes, reader.torn_bytes) == (0, 0)
    assert found == [b"first", b"third"]


def test_other_files_in_the_folder_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER / "pen"
    folder.mkdir(parents=True)
    for name in ("notes.txt", "pen_yesterday.imb", "other_20261122T013645.123Z.imb", "pen_"):
        (folder / name).write_text("x")
    assert list_recordings(tmp_path) == []
    assert list_recordings(tmp_path / "none") == []
