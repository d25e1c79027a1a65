"""`/api/v1/clips` and `/api/v1/recordings`: what is kept of the sonars' bytes, and the switches that keep it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import trio
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import BadRequest, Conflict, NotFound

from ..recording.files import list_recordings
from . import arguments, streams
from .auth import current, needs
from .bodies import json_answer, read_json
from .clip_pictures import Players

if TYPE_CHECKING:
    from ..context import Context
    from ..recording.clips import Clip
    from ..recording.files import Recording

log = logging.getLogger(__name__)

MAX_ROWS = 1000
MAX_TRACKS = 500
"""Most tracks of one clip that are told with their positions."""
BEING_WRITTEN_S = 10.0


class _Keep(msgspec.Struct, forbid_unknown_fields=True):
    keep: bool


class _On(msgspec.Struct, forbid_unknown_fields=True):
    on: bool


def describe_clip(clip: Clip) -> dict[str, Any]:
    """Return what is told of a clip, JSON-able; ids of tracks as texts, because JavaScript has no 64-bit numbers."""
    return {
        "name": clip.name,
        "sonar": clip.sonar,
        "profile": clip.profile,
        "start_s": clip.start_s,
        "end_s": clip.end_s,
        "bytes": clip.bytes,
        "reason": clip.reason,
        "keep": clip.keep,
        "tracks": [str(track) for track in clip.tracks],
    }


def register(app: QuartTrio, context: Context) -> None:
    """Add the routes to the application."""
    players = Players(context)

    def existing(name: str) -> Clip:
        clip = context.clips.get(name)
        if clip is None:
            raise NotFound(f"there is no clip {name!r:.80}")
        return clip

    @app.get("/api/v1/clips")
    @needs("viewer")
    async def get_clips() -> Response:
        sonar, track = request.args.get("sonar", ""), request.args.get("track", "")
        from_s, to_s = arguments.number("from"), arguments.number("to")
        limit = arguments.count("limit", 100, 1, MAX_ROWS)
        chosen = [
            clip
            for clip in context.clips.all()
            if sonar in ("", clip.sonar)
            and (not track or track in map(str, clip.tracks))
            and (from_s is None or clip.end_s >= from_s)
            and (to_s is None or clip.start_s < to_s)
        ]
        page, following = _page(chosen, lambda clip: (clip.start_s, clip.name), limit)
        return json_answer({"clips": [describe_clip(clip) for clip in page], "next": following})

    @app.get("/api/v1/clips/<name>")
    @needs("viewer")
    async def get_clip(name: str) -> Response:
        clip = existing(name)
        tracks = []
        if context.archive is not None:
            reader = context.archive.reader
            found = await reader.run(lambda: [reader.track(track) for track in clip.tracks[:MAX_TRACKS]])
            tracks = [track | {"id": str(track["id"])} for track in found if track is not None]
        return json_answer({**describe_clip(clip), "described": tracks})

    @app.patch("/api/v1/clips/<name>")
    @needs("operator")
    async def patch_clip(name: str) -> Response:
        clip = existing(name)
        wanted = await read_json(_Keep)
        before, clip.keep = clip.keep, wanted.keep
        try:
            await trio.to_thread.run_sync(context.clips.write, clip)
        except OSError as error:
            clip.keep = before
            raise Conflict(f"{name}: cannot be written: {error.strerror or error}") from None
        return json_answer(describe_clip(clip))

    @app.delete("/api/v1/clips/<name>")
    @needs("operator")
    async def delete_clip(name: str) -> Response:
        clip = existing(name)
        if clip.end_s == clip.start_s and abs(time.time() - clip.start_s) < BEING_WRITTEN_S:
            raise Conflict(f"{name} is being written: try again when it has ended")
        try:
            await trio.to_thread.run_sync(context.clips.remove, clip)
        except OSError as error:
            raise Conflict(f"{name}: cannot be removed: {error.strerror or error}") from None
        log.info("%s removed clip %s", current().author, name)
        if context.archive is not None:
            context.archive.event("storage", "removed", f"clip {name}", author=current().author)
        return json_answer({"ok": True})

    @app.get("/api/v1/clips/<name>/download")
    @needs("viewer")
    async def download_clip(name: str) -> Response:
        return await streams.send_file(context.clips.path(existing(name)))

    @app.get("/api/v1/clips/<name>/pictures")
    @needs("viewer")
    async def play_clip(name: str) -> Response:
        clip = existing(name)
        reduction = arguments.count("reduction", 1, 1, 4)
        rate_hz = arguments.number("rate_hz", 0.0) or 0.0
        if reduction == 3 or not 0 <= rate_hz <= 1000:
            raise BadRequest("expected reduction of 1, 2 or 4, and rate_hz from 0 (each ping) to 1000")
        client = f"{current().author} {request.remote_addr} {request.args.get('player', '')[:40]}"
        channel = request.args.get("channel", "")
        pieces = await players.play(clip, client=client, reduction=reduction, rate_hz=rate_hz, channel=channel)
        response = Response(pieces, content_type="application/octet-stream")
        response.timeout = None  # as long as it is looked at; a client that leaves ends it
        return response

    @app.get("/api/v1/recordings")
    @needs("viewer")
    async def get_recordings() -> Response:
        sonar = request.args.get("sonar", "")
        from_s, to_s = arguments.number("from"), arguments.number("to")
        limit = arguments.count("limit", 100, 1, MAX_ROWS)
        files = await trio.to_thread.run_sync(list_recordings, context.data)
        chosen = [
            file
            for file in files
            if sonar in ("", file.sonar)
            and (from_s is None or file.end_s >= from_s)
            and (to_s is None or file.start_s < to_s)
        ]
        page, following = _page(chosen, lambda file: (file.start_s, file.path.name), limit)
        total = sum(file.bytes for file in chosen)
        described = [_describe_recording(file) for file in page]
        return json_answer({"recordings": described, "files": len(chosen), "bytes": total, "next": following})

    async def switch(name: str, setting: str) -> Response:
        if name not in context.config.current.sonars:
            raise NotFound(f"there is no sonar {name!r:.80}")
        wanted = await read_json(_On)
        source = "browser" if current().kind == "user" else "API"
        await context.config.change({f"sonars.{name}.{setting}": wanted.on}, current().author, source=source)
        return json_answer({"ok": True, "on": wanted.on})

    @app.post("/api/v1/sonars/<name>/record")
    @needs("operator")
    async def switch_recording(name: str) -> Response:
        return await switch(name, "record")

    @app.post("/api/v1/sonars/<name>/clips")
    @needs("operator")
    async def switch_clips(name: str) -> Response:
        return await switch(name, "clips")


def _describe_recording(file: Recording) -> dict[str, Any]:
    return {
        "name": file.path.name,
        "sonar": file.sonar,
        "start_s": file.start_s,
        "end_s": file.end_s,
        "bytes": file.bytes,
    }


Row = TypeVar("Row")
_Place = tuple[float, str]


def _page(rows: Iterable[Row], place: Callable[[Row], _Place], limit: int) -> tuple[list[Row], str | None]:
    """Return the rows after the mark that is asked for, newest first, and the mark of the next page.

    A mark is the time and the name of the last row; it stays good when that row is removed.
    """
    after = request.args.get("after", "")
    ordered = sorted(rows, key=place, reverse=True)
    if after:
        start, slash, name = after.partition("/")
        try:
            mark = (float(start), name)
        except ValueError:
            slash = ""
        if not slash:
            raise BadRequest("after: expected what `next` of the page before was")
        ordered = [row for row in ordered if place(row) < mark]
    page = ordered[:limit]
    if len(ordered) <= limit:
        return page, None
    start_s, name = place(page[-1])
    return page, f"{start_s!r}/{name}"
