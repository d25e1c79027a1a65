"""`/api/v1/tracks/counts` and `/api/v1/tracks/map`: how many tracks there were when, and where in the view."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import BadRequest

from ..archive import tallies
from ..archive.downsample import STEPS_S, bucket_length_s
from . import arguments
from .auth import needs
from .bodies import json_answer

if TYPE_CHECKING:
    from ..archive import ArchiveReader
    from ..context import Context

MOST_BUCKETS = 5000
FINEST_S = 60
FINE_SPAN_S = 2 * 86400.0
"""Buckets shorter than an hour are counted track by track: of so much time at most."""


def register(app: QuartTrio, context: Context) -> None:
    """Add the routes to the application."""

    async def span(reader: ArchiveReader) -> tuple[float, float, tuple[float, float] | None]:
        """Return the time that is asked for, and that of the whole archive."""
        whole = await reader.run(reader.span_s)
        from_s = arguments.number("from", whole[0] if whole else 0.0)
        to_s = arguments.number("to", math.nextafter(whole[1], math.inf) if whole else 1.0)
        assert from_s is not None
        assert to_s is not None
        if not -1e11 < from_s < to_s < 1e11:
            raise BadRequest(f"from: expected a time before `to`, got {from_s:.3f} and {to_s:.3f}")
        return from_s, to_s, whole

    @app.get("/api/v1/tracks/counts")
    @needs("viewer")
    async def get_counts() -> Response:
        points = arguments.count("points", 200, 1, MOST_BUCKETS)
        if context.archive is None:
            return json_answer({"bucket_s": 3600, "first_s": None, "last_s": None, "time_s": [], "labels": {}})
        reader = context.archive.reader
        from_s, to_s, whole = await span(reader)
        bucket_s = max(int(bucket_length_s(to_s - from_s, points)), FINEST_S)
        if bucket_s < tallies.HOUR_S and to_s - from_s > FINE_SPAN_S:
            bucket_s = int(tallies.HOUR_S)
        assert bucket_s in STEPS_S or bucket_s % 86400 == 0
        ask = partial(reader.track_counts, request.args.get("sonar", ""), from_s, to_s, bucket_s)
        rows = await reader.run(ask)
        buckets = sorted({bucket for bucket, _, _ in rows})
        place = {bucket: number for number, bucket in enumerate(buckets)}
        labels: dict[str, list[int]] = {}
        for bucket, label, tracks in rows:
            labels.setdefault(label, [0] * len(buckets))[place[bucket]] = tracks
        return json_answer(
            {
                "bucket_s": bucket_s,
                "from_s": from_s,
                "to_s": to_s,
                "first_s": whole and whole[0],
                "last_s": whole and whole[1],
                "time_s": [bucket * bucket_s for bucket in buckets],
                "labels": labels,
            }
        )

    @app.get("/api/v1/tracks/map")
    @needs("viewer")
    async def get_map() -> Response:
        cells, tracks = np.empty(0, np.int64), np.empty(0, np.int64)
        answer: dict[str, Any] = {"from_s": None, "to_s": None}
        if context.archive is not None:
            reader = context.archive.reader
            from_s, to_s, _ = await span(reader)
            label = request.args.get("label")
            ask = partial(reader.cell_counts, request.args.get("sonar", ""), label, from_s, to_s)
            grid, answer["from_s"], answer["to_s"] = await reader.run(ask)
            cells = np.flatnonzero(grid)
            tracks = grid[cells]
        rings = cells // tallies.SECTORS
        return json_answer(
            {
                **answer,
                "ring": rings.tolist(),
                "sector": (cells % tallies.SECTORS).tolist(),
                "tracks": tracks.tolist(),
                "ring_edges_m": tallies.ring_edges_m()[: rings.max(initial=-1) + 2].round(6).tolist(),
                "sectors": tallies.SECTORS,
            }
        )
