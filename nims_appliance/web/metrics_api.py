"""`/api/v1/metrics`: the last hours of echo metrics for charts, thinned with their peaks kept, or as CSV."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import BadRequest

from ..archive.metrics_history import METRICS, MetricsHistory
from ..pipeline.metrics import MetricsBin
from ..times import iso_time
from . import arguments
from .auth import needs
from .bodies import json_answer
from .downloads import csv_download, csv_lines

if TYPE_CHECKING:
    from ..archive import ArchiveReader
    from ..context import Context

DEFAULT_SPAN_S = 3600.0
LONGEST_SPAN_S = 32 * 86400.0
"""Most time in one answer; a CSV of every bin may be of any length."""
MOST_POINTS = 5000
CSV_PAGE = 2000
DIGITS = 6
"""Significant ones of values in JSON; more are noise, and double the size."""
Series = tuple[str, str, int]


def describe_bin(done: MetricsBin) -> dict[str, Any]:
    """Return a bin as the live socket gives it; `layer` 0 is the whole column."""
    values = {name: getattr(done, name) for name in METRICS}
    return {
        "layer": done.part,
        "start_s": done.start_s,
        "end_s": done.end_s,
        "pings": done.pings,
        "calibrated": done.calibrated,
        "top_m": done.top_m,
        "bottom_m": done.bottom_m,
        **values,
    }


def register(app: QuartTrio, context: Context) -> None:
    """Add the routes to the application."""

    @app.get("/api/v1/metrics/series")
    @needs("viewer")
    async def get_series() -> Response:
        reader = context.archive.reader if context.archive is not None else None
        return json_answer({"series": await reader.run(reader.series) if reader is not None else []})

    @app.get("/api/v1/metrics")
    @needs("viewer")
    async def get_echo_metrics() -> Response:
        series = _series(context)
        columns = arguments.choices("metrics", METRICS)
        points = arguments.count("points", 600, 1, MOST_POINTS)
        bucket_s = arguments.number("bucket_s")
        if bucket_s is not None and bucket_s != 0 and not 1 <= bucket_s <= LONGEST_SPAN_S:
            raise BadRequest(f"bucket_s: expected 0, or 1 to {LONGEST_SPAN_S:.0f}, got {bucket_s:g}")
        reader = context.archive.reader if context.archive is not None else None
        newest_s = await reader.run(reader.newest_bin_s, series) if reader is not None else None
        from_s, to_s = _span(newest_s)
        if arguments.choice("format", ("json", "csv"), "json") == "csv":
            name = f"metrics-{'-'.join(filter(None, series[:2]))}.csv"
            if not bucket_s and "points" not in request.args:
                every = ["time", "end_s", "start_s", "pings", "calibrated", *columns]
                return csv_download(name, every, _bin_pages(reader, series, columns, from_s, to_s))
        if (to_s - from_s) > LONGEST_SPAN_S or (bucket_s and (to_s - from_s) / bucket_s > MOST_POINTS):
            raise BadRequest(
                f"from, to: at most {LONGEST_SPAN_S / 86400:.0f} days and {MOST_POINTS} points in one answer"
            )
        history = None
        if reader is not None:
            ask = partial(reader.metrics, series, columns, from_s, to_s, points=points, bucket_s=bucket_s)
            history = await reader.run(ask)
        if request.args.get("format") == "csv":
            header, rows = _thinned_rows(columns, history)
            return csv_download(name, header, _once(csv_lines(rows)))
        return json_answer(
            {
                "sonar": series[0],
                "channel": series[1],
                "layer": series[2],
                "from_s": from_s,
                "to_s": to_s,
                "newest_s": newest_s,
                **_describe(columns, history),
            }
        )

    @app.get("/api/v1/events")
    @needs("viewer")
    async def get_events() -> Response:
        reader = context.archive.reader if context.archive is not None else None
        limit = arguments.count("limit", 100, 1, 1000)
        before = arguments.count("before", 0, 1, 2**63 - 1) or None
        kinds = tuple(filter(None, request.args.get("kinds", "").split(",")))[:20]
        if reader is None:
            return json_answer({"events": []})
        ask = partial(reader.events, limit=limit, before=before, kinds=kinds, part=request.args.get("part", ""))
        return json_answer({"events": await reader.run(ask)})


def _series(context: Context) -> Series:
    sonar = request.args.get("sonar", "") or next(iter(context.sonars), "")
    return sonar, request.args.get("channel", ""), arguments.count("layer", 0, 0, 100_000)


def _span(newest_s: float | None) -> tuple[float, float]:
    """Return the time that is asked for; without `to` it is up to the newest bin, by the sonar's clock."""
    # The bin itself belongs to it.
    to_s = arguments.number("to", math.nextafter(newest_s, math.inf) if newest_s is not None else time.time())
    assert to_s is not None
    from_s = arguments.number("from")
    if from_s is None:
        from_s = to_s - (arguments.number("last_s") or DEFAULT_SPAN_S)
    if not from_s < to_s:
        raise BadRequest(f"from: expected a time before `to`, got {from_s:.3f} and {to_s:.3f}")
    return from_s, to_s


def _describe(columns: tuple[str, ...], history: MetricsHistory | None) -> dict[str, Any]:
    if history is None:
        empty: list[float] = []
        values = {name: {"mean": empty} for name in columns}
        tracks = {"bucket_s": 60.0, "time_s": empty, "per_minute": empty}
        head = {"bucket_s": 0.0, "calibrated": None, "layer_m": None, "time_s": empty, "pings": empty}
        return head | {"metrics": values, "tracks": tracks}
    points = history.points
    kinds = {"mean": points.mean}
    if history.bucket_s:
        kinds |= {"min": points.least, "max": points.most}
    rounded = {kind: _round(table) for kind, table in kinds.items()}
    return {
        "bucket_s": history.bucket_s,
        "calibrated": history.calibrated,
        "layer_m": history.layer_m,
        "time_s": points.time_s.tolist(),
        "pings": points.pings.tolist(),
        "metrics": {
            name: {kind: table[:, column].tolist() for kind, table in rounded.items()}
            for column, name in enumerate(columns)
        },
        "tracks": {
            "bucket_s": history.tracks_bucket_s,
            "time_s": history.tracks_time_s.tolist(),
            "per_minute": history.tracks_per_minute.tolist(),
        },
    }


def _round(values: np.ndarray) -> np.ndarray:
    """Return values with DIGITS significant digits."""
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent = np.floor(np.log10(np.abs(values)))
    scale = 10.0 ** (DIGITS - 1 - np.where(np.isfinite(exponent), exponent, 0.0))
    return np.round(values * scale) / scale


def _thinned_rows(columns: tuple[str, ...], history: MetricsHistory | None) -> tuple[list[str], list[list[Any]]]:
    if history is None or not history.bucket_s:
        header = ["time", "end_s", "pings", *columns]
    else:
        header = [
            "time",
            "middle_s",
            "pings",
            *(f"{name}_{kind}" for name in columns for kind in ("mean", "min", "max")),
        ]
    if history is None:
        return header, []
    points = history.points
    tables = [points.mean, points.least, points.most] if history.bucket_s else [points.mean]
    rows = []
    for number, time_s in enumerate(points.time_s.tolist()):
        cells = [float(table[number, column]) for column in range(len(columns)) for table in tables]
        rows.append([iso_time(time_s), time_s, int(points.pings[number]), *(None if c != c else c for c in cells)])
    return header, rows


async def _once(text: str) -> AsyncIterator[str]:
    yield text


async def _bin_pages(
    reader: ArchiveReader | None, series: Series, columns: tuple[str, ...], from_s: float, to_s: float
) -> AsyncIterator[str]:
    while reader is not None:
        rows = await reader.run(reader.bins, series, columns, from_s, to_s, CSV_PAGE)
        yield csv_lines((iso_time(row[0]), *row) for row in rows)
        if len(rows) < CSV_PAGE:
            return
        from_s = math.nextafter(rows[-1][0], math.inf)
