"""Downloads that `nims export` and `nims backup` give too, streamed while they are made.

Tracks as CSV and JSON lines are formats of `/api/v1/tracks`, and the metrics of one series of `/api/v1/metrics`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from quart import Response, request
from quart_trio import QuartTrio

from ..backup import make_backup
from ..export.places import Places, placed
from ..export.tables import METRIC_COLUMNS, metric_pages, track_pages
from ..export.text import Rows, csv_text, geojson_text
from . import arguments, streams
from .auth import needs
from .tracks_api import track_filter

if TYPE_CHECKING:
    from ..archive import ArchiveReader
    from ..context import Context


def register(app: QuartTrio, context: Context) -> None:
    """Add the routes to the application."""

    @app.get("/api/v1/export/tracks.geojson")
    @needs("viewer")
    async def get_geojson() -> Response:
        reader, wanted = _reader(context), track_filter()
        pages: Rows = iter(())
        if reader is not None:
            places = Places(reader, context.config.current.sonars)
            pages = placed(track_pages(reader, wanted, positions=True), places)
        return _streamed(reader, geojson_text(pages), "tracks.geojson", "application/geo+json")

    @app.get("/api/v1/export/metrics.csv")
    @needs("viewer")
    async def get_metrics_csv() -> Response:
        reader = _reader(context)
        sonar, from_s, to_s = request.args.get("sonar", ""), arguments.number("from"), arguments.number("to")
        pages = metric_pages(reader, sonar=sonar, from_s=from_s, to_s=to_s) if reader is not None else iter(())
        return _streamed(reader, csv_text(pages, METRIC_COLUMNS), "metrics.csv", "text/csv; charset=utf-8")

    @app.get("/api/v1/backup")
    @needs("admin")
    async def get_backup() -> Response:
        folder = tempfile.TemporaryDirectory(prefix=".backup-", dir=context.data)
        try:
            path = Path(folder.name) / time.strftime("nims-backup-%Y%m%dT%H%M%SZ.zip", time.gmtime())
            await trio.to_thread.run_sync(make_backup, context.data, path)
            return await streams.send_file(path)  # which has it open: it goes with the last piece
        finally:
            await trio.to_thread.run_sync(folder.cleanup)


def _reader(context: Context) -> ArchiveReader | None:
    return context.archive.reader if context.archive is not None else None


def _streamed(reader: ArchiveReader | None, pieces: Iterator[str], name: str, content_type: str) -> Response:
    """Return a download whose pieces are made in worker threads, as many at a time as the archive has readers."""

    async def body() -> AsyncIterator[str]:
        run = trio.to_thread.run_sync if reader is None else reader.run
        while (piece := await run(next, pieces, None)) is not None:
            yield piece

    response = Response(body(), content_type=content_type)
    response.headers.set("Content-Disposition", "attachment", filename=name)
    response.timeout = None  # a long one on a slow link takes its time; a client that leaves ends it
    return response
