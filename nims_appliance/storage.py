"""Storage: the disk never fills. Removes the oldest recordings and clips by age, by budget, and when room is needed.

What is too old leaves the archive too. Recordings go first, then clips, and clips that somebody marked to be kept last
of all, with a warning. A file that is being written is never removed.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

from .archive import Oldest
from .context import Context
from .data_folder import is_at
from .health import Part
from .recording.clips import ClipStore
from .recording.files import CLIPS_FOLDER, FOLDER, INDEX_SUFFIX, Recording, list_recordings
from .settings import StorageSettings

log = logging.getLogger(__name__)

INTERVAL_S = 30.0
BEING_WRITTEN_S = 60.0
"""A file that was written to so recently is left alone."""
GB = 1e9
DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Item:
    """Something that can be removed."""

    name: str
    start_s: float
    bytes: int
    remove: Callable[[], None]


@dataclass(slots=True)
class Removed:
    """What one look has removed."""

    files: int = 0
    bytes: int = 0
    kept_clips: list[str] = field(default_factory=list)
    """Clips that were marked to be kept, and had to go all the same."""
    errors: list[str] = field(default_factory=list)


def surplus(items: Iterable[Item], *, most_bytes: float, oldest_s: float) -> list[Item]:
    """Return what is beyond a budget or too old, oldest first; a budget of 0 is none."""
    ordered = sorted(items, key=lambda item: item.start_s)
    total = sum(item.bytes for item in ordered)
    chosen = []
    for item in ordered:
        if item.start_s < oldest_s or (most_bytes and total > most_bytes):
            chosen.append(item)
            total -= item.bytes
    return chosen


def clean(data: Path, clips: ClipStore, settings: StorageSettings, now_s: float) -> Removed:
    """Remove what the settings say, then what must go to keep the disk from filling. Blocks: call it in a thread.

    Args:
      now_s: the time, UTC; nothing is too old on a computer whose clock was set back.
    """
    removed = Removed()

    def remove(item: Item) -> None:
        try:
            item.remove()
        except OSError as error:
            removed.errors.append(f"{item.name}: {error.strerror or error}")
            return
        removed.files += 1
        removed.bytes += item.bytes

    recordings = [
        Item(f"{FOLDER}/{file.sonar}/{file.path.name}", file.start_s, file.bytes, partial(_unlink, file))
        for file in list_recordings(data)
        if not _is_being_written(file.path)
    ]
    all_clips = [clip for clip in clips.all() if not _is_being_written(clips.path(clip))]
    loose, kept = (
        [
            Item(
                f"{CLIPS_FOLDER}/{clip.sonar}/{clip.name}",
                clip.start_s,
                clip.bytes,
                partial(clips.remove, clip),
            )
            for clip in all_clips
            if clip.keep is keep
        ]
        for keep in (False, True)
    )
    for items, most_gb, days in (
        (recordings, settings.recordings_gb, settings.recordings_days),
        (loose, settings.clips_gb, settings.clips_days),
    ):
        for item in surplus(items, most_bytes=most_gb * GB, oldest_s=now_s - days * DAY_S if days else 0.0):
            remove(item)
            items.remove(item)
    for items in (recordings, loose, kept):
        for item in sorted(items, key=lambda item: item.start_s):
            if _free(data) >= settings.min_free_gb * GB:
                return removed
            remove(item)
            if items is kept:
                removed.kept_clips.append(item.name)
    return removed


def _unlink(file: Recording) -> None:
    file.path.unlink(missing_ok=True)
    file.path.with_name(f"{file.path.name}{INDEX_SUFFIX}").unlink(missing_ok=True)


def _is_being_written(path: Path) -> bool:
    try:
        # of the file system's clock, which is this computer's; a step of it costs one look at most
        return abs(time.time() - path.stat().st_mtime) < BEING_WRITTEN_S
    except OSError:
        return False


def _free(data: Path) -> int:
    return shutil.disk_usage(data).free


def oldest_rows(settings: StorageSettings, now_s: float) -> Oldest:
    """Return from when on rows of the archive are kept."""
    days = settings.tracks_days, settings.metrics_days, settings.events_days
    return Oldest(*(now_s - count * DAY_S if count else -math.inf for count in days))


class Storage:
    """The task that looks after the disk; runs in safe mode too."""

    def __init__(self, context: Context, part: Part) -> None:
        self._context = context
        self._part = part
        self.removed_files = 0
        self.removed_bytes = 0
        self.removed_rows = 0
        self._began_s = time.time(), time.monotonic()
        self._folder = context.data.stat()
        part.statistics = self.statistics

    async def run(self) -> None:
        """Read which clips there are, then look after the disk until cancelled."""
        context = self._context
        await trio.to_thread.run_sync(context.clips.load, abandon_on_cancel=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look_at_archive)
            while True:
                await self._look()
                await trio.sleep(INTERVAL_S)

    def _now_s(self) -> float:
        """Return the time, UTC, but no more than has passed since the start: a clock set forward makes nothing old."""
        began_utc_s, began_s = self._began_s
        return min(time.time(), began_utc_s + time.monotonic() - began_s)

    async def _look_at_archive(self) -> None:
        context = self._context
        while True:
            # Not first of all: the archive is opened at the start.
            await trio.sleep(INTERVAL_S)
            oldest = oldest_rows(context.config.current.storage, self._now_s())
            if context.archive is None or oldest == Oldest():
                continue
            removed = await context.archive.forget(oldest)
            self.removed_rows += removed.total
            if removed.total:
                log.info(
                    "storage: %d tracks, %d bins of metrics and %d events were too old and left the archive",
                    removed.tracks,
                    removed.bins,
                    removed.events,
                )

    async def _look(self) -> None:
        context, part = self._context, self._part
        settings = context.config.current.storage
        try:
            removed = await trio.to_thread.run_sync(
                clean, context.data, context.clips, settings, self._now_s(), abandon_on_cancel=True
            )
            usage = await trio.to_thread.run_sync(shutil.disk_usage, context.data, abandon_on_cancel=True)
        except OSError as error:
            part.last_error = f"cannot look at {context.data}: {error.strerror or error}"
            part.set("failed", part.last_error)
            return
        # Recordings and archive go on in what is there; users and settings do not.
        part.warning = (
            ""
            if is_at(context.data, self._folder)
            else f"{context.data} is not the folder of the start: it was moved or deleted, or its disk was changed. "
            "Settings and users of the next start are those in it now: put the folder back, or start again"
        )
        self.removed_files += removed.files
        self.removed_bytes += removed.bytes
        if removed.files:
            log.info("storage: removed %d files, %.0f MB, the oldest first", removed.files, removed.bytes / 1e6)
        for name in removed.kept_clips:
            log.warning("storage: the disk is full: removed %s, which was to be kept", name)
        for text in removed.errors:
            log.error("storage: cannot remove %s", text)
            part.last_error = f"cannot remove {text}"
        free_gb = usage.free / GB
        if usage.free < settings.min_free_gb * GB:
            part.last_error = f"only {free_gb:.1f} GB free, and nothing is left that could be removed"
            part.set("failed", part.last_error)
        else:
            part.set("running", f"{free_gb:.1f} of {usage.total / GB:.1f} GB free")

    def statistics(self) -> dict[str, Any]:
        """Return counters since the start, as JSON-able values."""
        return {
            "removed_files": self.removed_files,
            "removed_bytes": self.removed_bytes,
            "removed_rows": self.removed_rows,
            "clips": len(self._context.clips.all()),
        }
