"""Check of what is kept on disk: what is there, and what is missing, after a crash or a power cut.

A torn last record is what a power cut costs and no damage; everything else that is missing is.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import LinkError, NimsError
from .file_decoder import FileDecoder
from .recording.container import MAGIC, Kind, Reader
from .recording.files import Recording

LONGEST_HEADER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found in one file; `ok` is False where something is missing that a power cut alone does not take."""

    name: str
    ok: bool
    text: str


def check_archive(path: Path) -> Iterator[Finding]:
    """Look through the archive: one finding for it, and one for each that was moved aside because it was damaged."""
    for aside in sorted(path.parent.glob(f"{path.name}.damaged-*")):
        if not aside.name.endswith(("-wal", "-shm")):
            yield Finding(aside.name, False, "was damaged and moved aside: its rows are not in the archive")
    if not path.exists():
        yield Finding(path.name, True, "no archive yet")
        return
    try:
        # Not read-only: what a crash left in the write-ahead log is taken in, as the appliance would at its start.
        with contextlib.closing(sqlite3.connect(path, timeout=5)) as database:
            problems = [row[0] for row in database.execute("PRAGMA integrity_check(5)")]
            names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            counts = {
                name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
                for name in sorted(names)
                if not name.startswith("sqlite_")
            }
    except sqlite3.Error as error:
        yield Finding(path.name, False, f"cannot be read: {error}")
        return
    if problems == ["ok"]:
        yield Finding(path.name, True, ", ".join(f"{count} {name}" for name, count in counts.items()))
    else:
        yield Finding(path.name, False, f"damaged: {'; '.join(problems)}")


def check_recording(recording: Recording, decoder: Callable[[Recording], FileDecoder]) -> Finding:
    """Read a recording to its end.

    Args:
      decoder: makes what reads recordings that are no containers.
    """
    name, path = f"{recording.sonar}/{recording.path.name}", recording.path
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) == MAGIC or recording.bytes < len(MAGIC):
                file.seek(0)
                return _container(name, Reader(file, path.name))
        return _plain(name, path, decoder(recording))
    except LinkError as error:
        if recording.bytes < LONGEST_HEADER_BYTES:
            return Finding(name, True, f"cut in its header: {recording.bytes} bytes after the last whole record")
        return Finding(name, False, str(error))
    except (NimsError, OSError) as error:
        return Finding(name, False, f"cannot be read: {getattr(error, 'strerror', None) or error}")


def _container(name: str, reader: Reader) -> Finding:
    records = size = lost = 0
    for record in reader:
        if record.kind is Kind.LOST:
            lost += int.from_bytes(record.payload, "little")
        elif record.kind is not Kind.CONNECTED:
            records += 1
            size += len(record.payload)
    text = f"{records} records, {size} bytes, {reader.torn_bytes} bytes after the last whole record"
    if reader.skipped_bytes:
        text += f"; damaged: {reader.skipped_bytes} bytes between whole records"
    if lost:
        text += f"; {lost} bytes were not recorded because the disk did not take them"
    return Finding(name, not reader.skipped_bytes and not lost, text)


def _plain(name: str, path: Path, decoder: FileDecoder) -> Finding:
    pings = sum(1 for _ in decoder.frames(path))
    text = f"{pings} pings, {decoder.bytes} bytes, {decoder.rest_bytes} bytes after the last whole packet"
    if decoder.skipped_bytes:
        text += f"; {decoder.skipped_bytes} bytes in no packet: damaged, or the connection was lost there"
    if decoder.errors:
        text += f"; packets that cannot be decoded: {dict(decoder.errors)}"
    return Finding(name, not decoder.skipped_bytes and not decoder.errors, text)
