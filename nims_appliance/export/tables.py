"""Tracks and echo metrics as rows, read from the archive a page at a time: a million take no more memory than a page.

Names of columns end in their units (`_m`, `_m_s`, `_deg`, `_s`, `_db`); those without one are counts, names and ratios.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..archive import ArchiveReader, TrackFilter
from ..archive.metrics_history import METRICS
from ..outputs.track_summary import SUMMARY_KEYS
from ..times import iso_time
from .places import PLACE_COLUMNS

PAGE = 1000
TRACK_COLUMNS = (*(key for key in SUMMARY_KEYS if key != "zones"), *PLACE_COLUMNS)
"""Of a table of tracks; the zones of a track are a list, and have no place in one."""
METRIC_COLUMNS = (
    "sonar",
    "channel",
    "layer",
    "time",
    "start_s",
    "end_s",
    "pings",
    "calibrated",
    "top_m",
    "bottom_m",
    *METRICS,
)
"""Of a table of metrics; `layer` 0 is the whole column."""

_TEXTS = {"sonar", "channel", "first_time", "last_time", "time", "label"}
_WHOLE = {"id", "hits", "pings", "layer", "layers"}
_YES_OR_NO = {"calibrated", "drifting"}


def column_kind(name: str) -> str:
    """Return what is in a column: "text", "integer", "boolean" or "number" (float64)."""
    if name in _TEXTS:
        return "text"
    if name in _YES_OR_NO:
        return "boolean"
    return "integer" if name in _WHOLE else "number"


def track_pages(
    reader: ArchiveReader, wanted: TrackFilter, *, positions: bool = False
) -> Iterator[list[dict[str, Any]]]:
    """Yield tracks in the order in which they ended, some at a time; with `positions` also where they were.

    What is written to the archive meanwhile and fits is there at the end.

    Raises:
      ArchiveError: the archive cannot be read.
    """
    mark = None
    while True:
        page, mark = reader.tracks(wanted, descending=False, limit=PAGE, after=mark, positions=positions)
        if page:
            yield page
        if mark is None:
            return


def metric_pages(
    reader: ArchiveReader,
    *,
    sonar: str = "",
    channel: str | None = None,
    layer: int | None = None,
    from_s: float | None = None,
    to_s: float | None = None,
) -> Iterator[list[dict[str, Any]]]:
    """Yield bins of metrics, keys METRIC_COLUMNS: one series (sonar, channel, layer) after the other, each by time.

    Args:
      sonar, channel, layer: which; "" and None: all.
      from_s: bins that ended then or later, by the sonar's clock.
      to_s: bins that ended before.

    Raises:
      ArchiveError: the archive cannot be read.
    """
    columns = ("top_m", "bottom_m", *METRICS)
    for series in reader.series():
        name = (series["sonar"], series["channel"], series["layer"])
        if (sonar and name[0] != sonar) or channel not in (None, name[1]) or layer not in (None, name[2]):
            continue
        start_s, end_s = (-math.inf if from_s is None else from_s), (math.inf if to_s is None else to_s)
        while rows := reader.bins(name, columns, start_s, end_s, PAGE):
            yield [_metric_row(name, row, columns) for row in rows]
            start_s = math.nextafter(rows[-1][0], math.inf)


def _metric_row(series: tuple[str, str, int], row: tuple, columns: tuple[str, ...]) -> dict[str, Any]:
    end_s, start_s, pings, calibrated, *values = row
    described = dict(zip(columns, values, strict=True))
    described |= {"sonar": series[0], "channel": series[1], "layer": series[2], "time": iso_time(end_s)}
    described |= {"start_s": start_s, "end_s": end_s, "pings": pings, "calibrated": bool(calibrated)}
    return {column: described[column] for column in METRIC_COLUMNS}


def counted(pages: Iterable[list[dict[str, Any]]], told: Callable[[int], object]) -> Iterator[list[dict[str, Any]]]:
    """Yield the pages, and tell how many rows there were so far after each."""
    rows = 0
    for page in pages:
        yield page
        rows += len(page)
        told(rows)
