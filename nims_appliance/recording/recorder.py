"""Recorder: keeps the bytes of one sonar on disk while its switch is on, and never makes the sonar wait.

Bytes go from the link's tap through a bounded queue to a worker thread. A disk that is too slow, full or gone costs
recorded bytes, which are counted and marked in the recording; receiving, detection and triggers go on.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from ..frame import Arrival
from ..health import Part
from ..settings import RecordingSettings
from .container import Kind
from .files import FileFormat, FileWriter, Piece

log = logging.getLogger(__name__)

WRITE_INTERVAL_S = 0.25
SYNC_INTERVAL_S = 1.0
"""A power cut costs no more."""
RETRY_S = 5.0
LAST_WRITE_S = 1.5
"""When the sonar stops, what waits is given so long to be written."""


class Recorder:
    """The recorder of one sonar; `take` is a tap of its link.

    Args:
      folder: where its files go; made when there is something to write.
      format: how the bytes are laid down.
      wanted: whether the bytes are to be kept, asked again and again.
      settings: how files are divided and memory is bounded, asked again and again.
      connects: how many connections the link has made so far.
    """

    def __init__(
        self,
        folder: Path,
        format: FileFormat,
        part: Part,
        *,
        wanted: Callable[[], bool],
        settings: Callable[[], RecordingSettings],
        connects: Callable[[], int],
    ) -> None:
        self._folder = folder
        self._format = format
        self._part = part
        self._wanted = wanted
        self._settings = settings
        self._connects = connects
        self._connects_seen = -1
        self._queue: deque[Piece] = deque()
        self._queued_bytes = 0
        self._lost_bytes = 0
        """Not yet marked in the recording."""
        self._writer = FileWriter(self._folder, format, file_s=1.0, file_bytes=1)
        self._synced_s = 0.0
        self._gone = ""
        """What became of the file that was being written; not yet told."""
        self.written_bytes = 0
        self.lost_bytes = 0
        part.statistics = self.statistics

    @property
    def path(self) -> Path | None:
        """The file that is being written."""
        return self._writer.path

    @property
    def waiting(self) -> int:
        """How many pieces wait to be written."""
        return len(self._queue)

    def take(self, data: memoryview, sender: str, arrival: Arrival) -> None:
        """Take received bytes, or count them as lost where too many wait already; a tap."""
        if self._wanted():
            self.put(Piece(self._format.kind, bytes(data), sender, arrival))

    def put(self, piece: Piece) -> None:
        """Write a piece, or count it as lost where too much waits already."""
        if self._connects_seen != self._connects():
            self._connects_seen = self._connects()
            self._queue.append(Piece(Kind.CONNECTED, b"", "", piece.arrival))
        size = len(piece.payload)
        if self._queued_bytes + size > self._settings().queue_mb * 1e6:
            self.lost_bytes += size
            self._lost_bytes += size
            return
        if self._lost_bytes:
            self._queue.append(Piece(Kind.LOST, self._lost_bytes.to_bytes(8, "little"), "", piece.arrival))
            self._lost_bytes = 0
        self._queue.append(piece)
        self._queued_bytes += size

    async def run(self) -> None:
        """Write what is taken until cancelled; what waits then is written before this returns."""
        try:
            while True:
                await trio.sleep(WRITE_INTERVAL_S)
                if not await self._write():
                    await trio.sleep(RETRY_S)
        finally:
            with trio.move_on_after(LAST_WRITE_S) as scope:
                scope.shield = True
                await self._write()
                await trio.to_thread.run_sync(self._writer.close, abandon_on_cancel=True)
            self._part.set("stopped", self._told())

    async def _write(self) -> bool:
        if not self._queue and not self._wanted():
            if self._writer.path is not None:
                await trio.to_thread.run_sync(self._writer.close, abandon_on_cancel=True)
            self._part.last_error = self._part.warning = ""
            self._part.set("stopped", "switched off")
            return True
        batch, self._queue = list(self._queue), deque()
        settings = self._settings()
        self._writer.file_s, self._writer.file_bytes = settings.file_minutes * 60, int(settings.file_mb * 1e6)
        error = await trio.to_thread.run_sync(self._try_to_write, batch, settings.reserve_mb, abandon_on_cancel=True)
        size = sum(len(piece.payload) for piece in batch if piece.kind is not Kind.LOST)
        self._queued_bytes -= size
        if error:
            self.lost_bytes += size
            self._lost_bytes += size
            if error != self._part.last_error:
                log.error("%s: %s", self._part.name, error)
            self._part.last_error = error
            self._part.set("failed", f"{error}; {self.lost_bytes / 1e6:.1f} MB lost so far")
            return False
        self.written_bytes += size
        if self._gone:
            log.error("%s: %s", self._part.name, self._gone)
            self._part.warning, self._gone = self._gone, ""
        if self._part.state == "failed":
            log.info("%s: recording again", self._part.name)
        if self._writer.path is None:
            self._part.set("waiting", "no bytes yet")
        else:
            self._part.set("running", self._told())
        return True

    def _told(self) -> str:
        path = self._writer.path
        return f"{path.name if path else 'closed'}, {self.written_bytes / 1e6:.1f} MB written" + (
            f", {self.lost_bytes / 1e6:.1f} MB lost" if self.lost_bytes else ""
        )

    def _try_to_write(self, batch: list[Piece], reserve_mb: float) -> str:
        """Write in a worker thread; return what went wrong, "" for nothing."""
        try:
            free = shutil.disk_usage(_existing(self._folder)).free
            if free < reserve_mb * 1e6:
                self._writer.close()
                return (
                    f"{free / 1e6:.0f} MB free on the disk, {reserve_mb:.0f} MB are kept for the archive: not recording"
                )
            self._writer.write(batch)
            moment_s = time.monotonic()
            if moment_s - self._synced_s >= SYNC_INTERVAL_S:
                self._gone = self._writer.sync() or self._gone
                self._synced_s = moment_s
        except OSError as error:
            self._writer.close()
            return f"cannot write {self._folder}: {error.strerror or error}"
        return ""

    def statistics(self) -> dict[str, Any]:
        """Return counters since the start, as JSON-able values."""
        path = self._writer.path
        return {
            "recording": bool(self._wanted()),
            "file": path.name if path else "",
            "written_bytes": self.written_bytes,
            "waiting_bytes": self._queued_bytes,
            "lost_bytes": self.lost_bytes,
        }


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
