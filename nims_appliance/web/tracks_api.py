"""`/api/v1/tracks`: live tracks, and ended ones from the archive: filtered, sorted, in pages, or as CSV."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Any

from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import BadRequest, NotFound

from ..archive import TrackFilter
from ..archive.track_pages import SORTED_BY
from ..export.places import Places
from ..export.tables import TRACK_COLUMNS
from ..export.text import csv_page
from . import arguments
from .auth import needs
from .bodies import json_answer
from .downloads import csv_download
from .state import WebState, describe_track, from_json, to_json

if TYPE_CHECKING:
    from ..archive import ArchiveReader
    from ..context import Context

MAX_TRACKS = 10_000
"""Most tracks in one page."""
CSV_PAGE = 1000


def register(app: QuartTrio, context: Context, state: WebState) -> None:
    """Add the routes to the application."""

    def _told(track: dict[str, Any]) -> dict[str, Any]:
        clip = context.clips.of_track(track["id"])
        # JavaScript has no 64-bit numbers.
        return track | {"id": str(track["id"]), "clip": clip.name if clip is not None else None}

    @app.get("/api/v1/tracks")
    @needs("viewer")
    async def get_tracks() -> Response:
        wanted = track_filter()
        sort = arguments.choice("sort", SORTED_BY, "last_time_s")
        descending = arguments.choice("order", ("asc", "desc"), "desc") == "desc"
        which = arguments.choice("state", ("all", "live", "ended"), "all")
        reader = context.archive.reader if context.archive is not None else None
        if (form := arguments.choice("format", ("json", "csv", "jsonl"), "json")) == "csv":
            pages = _csv_pages(context, wanted, sort, descending)
            return csv_download("tracks.csv", TRACK_COLUMNS, pages)
        if form == "jsonl":
            lines = Response(_json_lines(reader, wanted, sort, descending), content_type="application/jsonl")
            lines.timeout = None  # as long as it takes
            return lines
        limit = arguments.count("limit", 100, 1, MAX_TRACKS)
        answer: dict[str, Any] = {"live": [], "ended": [], "next": None}
        if which != "ended":
            answer["live"] = _live(context, state, wanted)
        if which != "live" and reader is not None:
            mark = _read_mark(request.args.get("after", ""))
            page = partial(reader.tracks, wanted, sort=sort, descending=descending, limit=limit, after=mark)
            tracks, following = await reader.run(page)
            answer["ended"] = [_told(track) for track in tracks]
            answer["next"] = following and _write_mark(following)
        return json_answer(answer)

    @app.get("/api/v1/tracks/<int:number>")
    @needs("viewer")
    async def get_track(number: int) -> Response:
        reader = context.archive.reader if context.archive is not None else None
        track = await reader.run(reader.track, number) if reader is not None and number < 2**63 else None
        if reader is None or track is None:
            raise NotFound(f"the archive has no track {number}")
        places = Places(reader, context.config.current.sonars)
        return json_answer(_told(await reader.run(partial(places.put, track, whole=True))))

    @app.get("/api/v1/tracks/labels")
    @needs("viewer")
    async def get_labels() -> Response:
        reader = context.archive.reader if context.archive is not None else None
        return json_answer({"labels": await reader.run(reader.labels) if reader is not None else []})


def track_filter() -> TrackFilter:
    """Return the filter of tracks that this request's arguments describe."""
    return TrackFilter(
        sonar=request.args.get("sonar", ""),
        label=request.args.get("label"),
        from_s=arguments.number("from"),
        to_s=arguments.number("to"),
        min_length_m=arguments.number("min_length_m"),
        min_speed_m_s=arguments.number("min_speed_m_s"),
        min_duration_s=arguments.number("min_duration_s"),
        max_length_m=arguments.number("max_length_m"),
        max_speed_m_s=arguments.number("max_speed_m_s"),
        zone=request.args.get("zone", ""),
    )


def _live(context: Context, state: WebState, wanted: TrackFilter) -> list[dict[str, Any]]:
    """Return the live tracks that fit, as far as a track can that has no class and no end yet."""
    found = []
    for result in state.last_results.values():
        if result.sonar_id not in context.sonars or wanted.sonar not in ("", result.sonar_id):
            continue
        for track in result.tracks:
            duration_s = result.time_s - track.first_time_s
            least = (
                (track.length_m, wanted.min_length_m),
                (track.speed_m_s, wanted.min_speed_m_s),
                (duration_s, wanted.min_duration_s),
            )
            most = ((track.length_m, wanted.max_length_m), (track.speed_m_s, wanted.max_speed_m_s))
            if wanted.label or any(limit is not None and not value >= limit for value, limit in least):
                continue
            if any(limit is not None and not value <= limit for value, limit in most):
                continue
            if wanted.zone and wanted.zone not in track.zones:
                continue
            if wanted.to_s is not None and result.time_s >= wanted.to_s:
                continue
            found.append(
                {
                    "sonar": result.sonar_id,
                    "sonar_id": result.sonar_id,
                    "time_s": result.time_s,
                    "duration_s": duration_s,
                    **describe_track(track),
                }
            )
    return found


async def _json_lines(
    reader: ArchiveReader | None, wanted: TrackFilter, sort: str, descending: bool
) -> AsyncIterator[bytes]:
    async for tracks in _pages(reader, wanted, sort, descending):
        yield b"".join(to_json(track | {"id": str(track["id"])}) + b"\n" for track in tracks)


async def _csv_pages(context: Context, wanted: TrackFilter, sort: str, descending: bool) -> AsyncIterator[str]:
    reader = context.archive.reader if context.archive is not None else None
    if reader is None:
        return
    places = Places(reader, context.config.current.sonars)

    def text(tracks: list[dict[str, Any]]) -> str:
        return csv_page((places.put(track, whole=False) for track in tracks), TRACK_COLUMNS)

    async for tracks in _pages(reader, wanted, sort, descending, positions=True):
        yield await reader.run(text, tracks)


async def _pages(
    reader: ArchiveReader | None, wanted: TrackFilter, sort: str, descending: bool, *, positions: bool = False
) -> AsyncIterator[list[dict[str, Any]]]:
    mark: tuple[Any, int] | None = None
    while reader is not None:
        page = partial(
            reader.tracks,
            wanted,
            sort=sort,
            descending=descending,
            limit=CSV_PAGE,
            after=mark,
            positions=positions,
        )
        tracks, mark = await reader.run(page)
        yield tracks
        if mark is None:
            return


def _write_mark(mark: tuple[Any, int]) -> str:
    return base64.urlsafe_b64encode(to_json(mark)).decode().rstrip("=")


def _read_mark(text: str) -> tuple[Any, int] | None:
    if not text:
        return None
    try:
        value, number = from_json(base64.urlsafe_b64decode(f"{text}==="), tuple[str | float | int | None, int])
        if not -(2**63) <= number < 2**63 or (isinstance(value, int) and not -(2**63) <= value < 2**63):
            raise ValueError("out of range")
    except ValueError:
        raise BadRequest("after: expected what `next` of the page before was") from None
    return value, number
