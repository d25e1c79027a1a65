"""Recordings on disk: files by time and size, each with an index beside it that finds a moment in it.

    recordings/<sonar>/<sonar>_20261122T013645.123Z.nimsrec         a container, or the sonar's own file format
    recordings/<sonar>/<sonar>_20261122T013645.123Z.nimsrec.index   "NIMSIDX1", then (i64 UTC ns, u64 offset)

The index, little endian, holds about two places a second where reading can begin. It can be lost: the recording is then
read from its start.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..data_folder import is_at
from ..frame import Arrival
from ..times import iso_time
from . import container
from .container import Header, Kind

FOLDER, CLIPS_FOLDER = "recordings", "clips"
INDEX_SUFFIX = ".index"
INDEX_MAGIC = b"NIMSIDX1"
INDEX_INTERVAL_S = 0.5
_ENTRY = struct.Struct("<qQ")


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes as a tap has seen them."""

    kind: Kind
    payload: bytes
    sender: str
    arrival: Arrival


@dataclass(frozen=True, slots=True)
class FileFormat:
    """How the bytes of a sonar are laid down.

    A `plain` suffix makes files that hold the stream and nothing else, for sonars whose stream is a file format of its
    own; otherwise they are containers. `packet_start` is what each packet of the stream begins with, if anything: files
    are divided there, so that none begins inside a packet.
    """

    header: Header
    plain: str = ""
    packet_start: bytes = b""

    @property
    def suffix(self) -> str:
        """What the files' names end in."""
        return self.plain or container.SUFFIX

    @property
    def kind(self) -> Kind:
        """Which records hold the sonar's bytes."""
        return Kind.DATAGRAM if self.header.transport == "datagram" else Kind.STREAM


class FileWriter:
    """Writes the recordings of one sonar. Every method blocks and may raise OSError: call it in a worker thread.

    After an error the file is closed, cut back to its last whole record, and the next write begins another.
    """

    def __init__(self, folder: Path, format: FileFormat, *, file_s: float, file_bytes: int) -> None:
        self.folder = folder
        self.path: Path | None = None
        """The file that is being written."""
        self.file_s = file_s
        self.file_bytes = file_bytes
        self._format = format
        self._data: int | None = None
        self._index: int | None = None
        self._size = 0
        self._began_s = 0.0
        self._indexed_s = 0.0

    def write(self, pieces: Iterable[Piece]) -> None:
        """Write pieces in order; a new file is begun where the present one is long or large enough."""
        try:
            for piece in pieces:
                self._write(piece)
        except OSError:
            with contextlib.suppress(OSError):
                if self._data is not None:
                    os.ftruncate(self._data, self._size)
            self.close()
            raise

    def sync(self) -> str:
        """Make what was written survive a power cut.

        Returns: what became of the file where it is no longer at its place; "" otherwise. The next piece then begins
          another.
        """
        if self._data is None or self.path is None:
            return ""
        os.fdatasync(self._data)
        written = os.fstat(self._data)
        if is_at(self.path, written):
            return ""
        fate = "moved, or its disk was changed" if written.st_nlink else "deleted"
        text = f"{self.path.name} was {fate} while it was written, at {iso_time(time.time())}: another was begun"
        self.close()
        return text

    def close(self) -> None:
        """End the file; the next piece begins another."""
        for handle in (self._data, self._index):
            if handle is not None:
                with contextlib.suppress(OSError):
                    os.close(handle)
        self._data = self._index = self.path = None

    def _write(self, piece: Piece) -> None:
        if self._is_full(piece):
            start = self._start_of_packet(piece)
            if start >= 0:
                if start:
                    self._append(piece.kind, piece.payload[:start], piece)
                self.close()
                piece = Piece(piece.kind, piece.payload[start:], piece.sender, piece.arrival)
        if self._data is None:
            self._begin(piece.arrival)
        due = piece.arrival.monotonic_s - self._indexed_s >= INDEX_INTERVAL_S
        if due and (start := self._start_of_packet(piece)) >= 0:
            self._note(piece.arrival, self._size + (start if self._format.plain else 0))
        self._append(piece.kind, piece.payload, piece)

    def _is_full(self, piece: Piece) -> bool:
        if self._data is None or piece.kind not in (Kind.STREAM, Kind.DATAGRAM):
            return False
        age_s = piece.arrival.monotonic_s - self._began_s
        # twice: a stream in which no packet begins must not make one endless file
        if age_s > 2 * self.file_s or self._size > 2 * self.file_bytes:
            return True
        return age_s >= self.file_s or self._size >= self.file_bytes

    def _start_of_packet(self, piece: Piece) -> int:
        """Return where in the piece reading can begin, -1 for nowhere."""
        if piece.kind is not Kind.STREAM or not self._format.packet_start:
            return 0
        start = piece.payload.find(self._format.packet_start)
        forced = self._size > 2 * self.file_bytes or piece.arrival.monotonic_s - self._began_s > 2 * self.file_s
        return 0 if start < 0 and forced else start

    def _begin(self, arrival: Arrival) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        stem = f"{self._format.header.sonar}_{_stamp(arrival.utc_s)}"
        for number in range(1, 1000):
            path = self.folder / f"{stem}{f'-{number}' if number > 1 else ''}{self._format.suffix}"
            with contextlib.suppress(FileExistsError):
                self._data = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
                break
        else:
            raise FileExistsError(17, "1000 recordings of one moment", str(path))
        self.path, self._size = path, 0
        self._began_s, self._indexed_s = arrival.monotonic_s, -1e9
        self._index = os.open(f"{path}{INDEX_SUFFIX}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        _write_all(self._index, INDEX_MAGIC)
        if not self._format.plain:
            self._size += sum(
                _write_all(self._data, part) for part in container.encode_header(self._format.header, arrival)
            )
        _sync_folder(self.folder)

    def _append(self, kind: Kind, payload: bytes | memoryview, piece: Piece) -> None:
        assert self._data is not None
        if self._format.plain:
            if kind in (Kind.STREAM, Kind.DATAGRAM):
                self._size += _write_all(self._data, payload)
            return
        parts = container.encode(kind, payload, piece.arrival, piece.sender)
        written = sum(_write_all(self._data, part) for part in parts)
        self._size += written

    def _note(self, arrival: Arrival, offset: int) -> None:
        assert self._index is not None
        _write_all(self._index, _ENTRY.pack(round(arrival.utc_s * 1e9), offset))
        self._indexed_s = arrival.monotonic_s


def _write_all(handle: int, data: bytes | memoryview) -> int:
    view = memoryview(data)
    done = 0
    while done < len(view):
        done += os.write(handle, view[done:])
    return done


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _stamp(utc_s: float) -> str:
    moment = datetime.fromtimestamp(utc_s, UTC)
    return f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z"


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded file."""

    sonar: str
    path: Path
    start_s: float
    """Time of its first bytes, UTC, as its name says."""
    end_s: float
    """When it was written to last."""
    bytes: int


def list_recordings(data: Path) -> list[Recording]:
    """Return what is recorded below the data folder, oldest first; a folder that cannot be read counts as empty."""
    return list_files(data / FOLDER)


def list_files(folder: Path) -> list[Recording]:
    """Return the recorded files in the sonars' folders below `folder`, oldest first."""
    return sorted(_found(folder), key=lambda recording: (recording.start_s, recording.path))


def _found(folder: Path) -> Iterator[Recording]:
    for path in sorted(folder.glob("*/*")):
        sonar, _, stamp = path.name.partition("_")
        if not path.name.endswith((INDEX_SUFFIX, ".json")) and path.parent.name == sonar:
            with contextlib.suppress(OSError, ValueError):
                start = datetime.strptime(stamp[:20], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)
                status = path.stat()
                yield Recording(sonar, path, start.timestamp(), status.st_mtime, status.st_size)


def read_index(path: Path) -> list[tuple[float, int]]:
    """Return (UTC seconds, offset) of the places in a recording where reading can begin; none without a good index."""
    try:
        packed = Path(f"{path}{INDEX_SUFFIX}").read_bytes()
    except OSError:
        return []
    if not packed.startswith(INDEX_MAGIC):
        return []
    whole = (len(packed) - len(INDEX_MAGIC)) // _ENTRY.size * _ENTRY.size
    entries = _ENTRY.iter_unpack(packed[len(INDEX_MAGIC) : len(INDEX_MAGIC) + whole])
    return [(utc_ns / 1e9, offset) for utc_ns, offset in entries]


def offset_at(path: Path, utc_s: float) -> int:
    """Return where to begin reading a recording so that nothing from `utc_s` on is missed; 0 if there is no telling."""
    offset = 0
    for entry_s, entry_offset in read_index(path):
        if entry_s > utc_s:
            break
        offset = entry_offset
    return offset
