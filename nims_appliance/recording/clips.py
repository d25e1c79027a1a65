"""Clips: the bytes around an event, from before it began to after it ended, each a recording of its own.

    clips/<sonar>/<sonar>_20261122T013645.123Z.imb        as a recording, with its index
    clips/<sonar>/<sonar>_20261122T013645.123Z.json       what it shows: tracks, reason, whether it is to be kept

The newest bytes of a sonar stay in memory, so that a clip can begin before anybody knew of the event.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import trio

from ..frame import Arrival
from ..pipeline.results import PingResult
from ..settings import ClipSettings
from .files import CLIPS_FOLDER, FileFormat, Piece, list_files
from .recorder import Recorder

log = logging.getLogger(__name__)

LOOK_INTERVAL_S = 0.1


class Clip(msgspec.Struct, kw_only=True):
    """What is told of a clip, beside its bytes."""

    name: str
    """Of the file, without its suffix; names the clip everywhere."""
    sonar: str
    profile: str
    suffix: str
    start_s: float
    """First and last arrival, UTC."""
    end_s: float
    tracks: list[int]
    reason: str
    """"track", or what a trigger has said."""
    keep: bool = False
    """Not to be removed when room is needed, as long as others can be."""
    bytes: int = 0


class ClipStore:
    """The clips of all sonars, by name; the files beside them are the truth, this is what they say."""

    def __init__(self, data: Path) -> None:
        self._folder = data / CLIPS_FOLDER
        self._clips: dict[str, Clip] = {}
        self._by_track: dict[int, str] = {}
        self._triggers: dict[str, Callable[[str], None]] = {}

    def load(self) -> None:
        """Read what earlier runs have left. Blocks: call it in a thread."""
        for file in list_files(self._folder):
            name = file.path.name.removesuffix(file.path.suffix)
            try:
                clip = msgspec.json.decode(file.path.with_name(f"{name}.json").read_bytes(), type=Clip)
                clip.bytes = file.bytes
                clip.end_s = max(clip.end_s, clip.start_s)
            except (OSError, msgspec.MsgspecError):
                # cut off before anything could be told: the bytes are there
                clip = Clip(
                    name=name,
                    sonar=file.sonar,
                    profile="",
                    suffix=file.path.suffix,
                    start_s=file.start_s,
                    end_s=file.end_s,
                    tracks=[],
                    reason="unknown",
                    bytes=file.bytes,
                )
            self._add(clip)

    def _add(self, clip: Clip) -> None:
        self._clips[clip.name] = clip
        self._by_track |= dict.fromkeys(clip.tracks, clip.name)

    def all(self) -> list[Clip]:
        """Return the clips, newest first."""
        return sorted(self._clips.values(), key=lambda clip: clip.start_s, reverse=True)

    def get(self, name: str) -> Clip | None:
        """Return the clip of that name."""
        return self._clips.get(name)

    def of_track(self, track: int) -> Clip | None:
        """Return the newest clip that shows a track."""
        return self._clips.get(self._by_track.get(track, ""))

    def path(self, clip: Clip) -> Path:
        """Return the file with the clip's bytes."""
        return self._folder / clip.sonar / f"{clip.name}{clip.suffix}"

    def write(self, clip: Clip) -> None:
        """Remember a clip and write what is told of it, whole or not at all. Blocks: call it in a thread.

        Raises:
          OSError: it cannot be written.
        """
        self._add(clip)
        path = self.path(clip).with_name(f"{clip.name}.json")
        temporary = path.with_name(f".{path.name}.new")
        with temporary.open("wb") as file:
            file.write(msgspec.json.encode(clip))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def remove(self, clip: Clip) -> None:
        """Delete a clip and its files. Blocks: call it in a thread.

        Raises:
          OSError: they cannot be deleted.
        """
        path = self.path(clip)
        for file in (path, path.with_name(f"{path.name}.index"), path.with_name(f"{clip.name}.json")):
            file.unlink(missing_ok=True)
        self._clips.pop(clip.name, None)
        for track in clip.tracks:
            if self._by_track.get(track) == clip.name:
                del self._by_track[track]

    def trigger(self, sonar: str, reason: str) -> bool:
        """Ask for a clip of what a sonar sees now; return False where its clips are switched off."""
        if sonar not in self._triggers:
            return False
        self._triggers[sonar](reason)
        return True

    def listen(self, sonar: str, trigger: Callable[[str], None] | None) -> None:
        """Call `trigger` when a clip of the sonar is asked for; None: no more."""
        if trigger is None:
            self._triggers.pop(sonar, None)
        else:
            self._triggers[sonar] = trigger


@dataclass(slots=True)
class _Event:
    """What a clip is made for; times are those of arrivals."""

    reason: str
    tracks: set[int]
    start_utc_s: float
    began_s: float
    until_s: float
    over: bool = False
    """Nothing more is written; the file is being closed."""


class ClipRecorder:
    """Makes the clips of one sonar; `take` is a tap of its link, `look` is shown its results.

    Args:
      store: told of each clip.
      format: how the bytes are laid down.
      wanted: whether clips are to be made, asked again and again.
      settings: how long they are, asked again and again.
      recorder: makes the recorder that writes them, from whether there is anything to write just now.
    """

    def __init__(
        self,
        store: ClipStore,
        format: FileFormat,
        *,
        wanted: Callable[[], bool],
        settings: Callable[[], ClipSettings],
        recorder: Callable[[Callable[[], bool]], Recorder],
    ) -> None:
        self._store = store
        self._format = format
        self._wanted = wanted
        self._settings = settings
        self._recorder = recorder(lambda: self._event is not None and not self._event.over)
        self._recent: deque[Piece] = deque()
        self._recent_bytes = 0
        self._now = Arrival(0.0, 0.0)
        self._live: frozenset[int] = frozenset()
        """Tracks of the last ping; each begins one clip at most, or goes into the one that is being written."""
        self._event: _Event | None = None
        self._next: tuple[str, set[int]] | None = None
        """Reason and tracks of an event that came while the file of the last one was being closed."""
        self._clip: Clip | None = None

    def take(self, data: memoryview, sender: str, arrival: Arrival) -> None:
        """Remember received bytes, and write them while there is an event; a tap."""
        self._now = arrival
        event, settings = self._event, self._settings()
        if not self._wanted():
            self._recent.clear()
            self._recent_bytes = 0
            if event is not None:
                event.over = True
            return
        piece = Piece(self._format.kind, bytes(data), sender, arrival)
        if event is not None and not event.over:
            if event.tracks & self._live:
                event.until_s = arrival.monotonic_s + settings.lead_out_s
            event.over = arrival.monotonic_s > min(event.until_s, event.began_s + settings.most_s)
            if not event.over:
                self._recorder.put(piece)
        self._recent.append(piece)
        self._recent_bytes += len(piece.payload)
        oldest_s = arrival.monotonic_s - settings.lead_in_s
        while self._recent_bytes > settings.memory_mb * 1e6 or self._recent[0].arrival.monotonic_s < oldest_s:
            self._recent_bytes -= len(self._recent.popleft().payload)
            if not self._recent:
                break

    def look(self, result: PingResult) -> None:
        """Take the tracks of a ping: new ones begin a clip, or go into the one that is being written."""
        live = frozenset(track.id for track in result.tracks)
        fresh, self._live = live - self._live, live
        if fresh:
            self.trigger("track", fresh)

    def trigger(self, reason: str, tracks: Iterable[int] = ()) -> None:
        """Begin a clip, or go on with the one that is being written."""
        if not self._wanted():
            return
        event = self._event
        if event is None:
            pieces = self._from_packet()
            first = pieces[0].arrival if pieces else self._now
            until_s = self._now.monotonic_s + self._settings().lead_out_s
            self._event = _Event(reason, set(tracks), first.utc_s, self._now.monotonic_s, until_s)
            for piece in pieces:
                self._recorder.put(piece)
        elif event.over:
            known = self._next[1] if self._next else set()
            self._next = reason, known | set(tracks)
        else:
            event.tracks |= set(tracks)
            event.until_s = self._now.monotonic_s + self._settings().lead_out_s

    def _from_packet(self) -> list[Piece]:
        """Return the recent pieces from the first packet on that begins in them."""
        pieces = list(self._recent)
        if not self._format.packet_start:
            return pieces
        for number, piece in enumerate(pieces):
            at = piece.payload.find(self._format.packet_start)
            if at >= 0:
                first = Piece(piece.kind, piece.payload[at:], piece.sender, piece.arrival)
                return [first, *pieces[number + 1 :]]
        return []

    async def run(self) -> None:
        """Write the clips, until cancelled; the one that is being written then is ended."""
        sonar = self._format.header.sonar
        self._store.listen(sonar, self.trigger)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._recorder.run)
                while True:
                    await self._tell()
                    await trio.sleep(LOOK_INTERVAL_S)
        finally:
            self._store.listen(sonar, None)
            with trio.move_on_after(1) as scope:
                scope.shield = True
                await self._finish()

    async def _tell(self) -> None:
        """Keep what is told of the clip that is being written beside it, from its beginning on."""
        path, event = self._recorder.path, self._event
        if self._clip is not None and (path is None or path != self._store.path(self._clip)):
            await self._finish()
        if path is not None and event is not None:
            if self._clip is None:
                header, suffix = self._format.header, self._format.suffix
                self._clip = Clip(
                    name=path.name.removesuffix(suffix),
                    sonar=header.sonar,
                    profile=header.profile,
                    suffix=suffix,
                    start_s=event.start_utc_s,
                    end_s=event.start_utc_s,
                    tracks=[],
                    reason=event.reason,
                )
                await self._write(self._clip)
            if event.tracks != set(self._clip.tracks):
                self._clip.tracks = sorted(event.tracks)
                await self._write(self._clip)
        elif path is None and event is not None and event.over and not self._recorder.waiting:
            self._event = None
            if self._next is not None:
                (reason, tracks), self._next = self._next, None
                self.trigger(reason, tracks)

    async def _finish(self) -> None:
        clip, self._clip = self._clip, None
        if clip is not None:
            clip.end_s = max(self._now.utc_s, clip.start_s)
            if self._event is not None:
                clip.tracks = sorted(self._event.tracks)
            await self._write(clip)

    async def _write(self, clip: Clip) -> None:
        def write() -> None:
            clip.bytes = self._store.path(clip).stat().st_size
            self._store.write(clip)

        try:
            await trio.to_thread.run_sync(write, abandon_on_cancel=True)
        except OSError as error:
            log.error("clip %s: %s", clip.name, error.strerror or error)
