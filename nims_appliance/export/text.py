"""Rows as text: CSV, JSON lines and GeoJSON (RFC 7946), a page at a time."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ..outputs.track_summary import POSITION_KEYS
from ..times import iso_time

Rows = Iterable[list[dict[str, Any]]]
"""Pages of rows."""
PLACED_KEYS = *POSITION_KEYS, "latitude_deg", "longitude_deg"
"""Keys of a position on the map."""
GEOJSON_HEAD = '{"type":"FeatureCollection","features":[\n'
GEOJSON_FOOT = "\n]}\n"
_DATE_LINE_DEG = 180.0


def csv_lines(rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as CSV: nothing for None, true and false as 1 and 0.

    Text that a spreadsheet would take for a formula is given a leading quote.
    """
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value


def csv_text(pages: Rows, columns: Sequence[str]) -> Iterator[str]:
    """Yield a header, then pages of CSV."""
    yield csv_lines([columns])
    for page in pages:
        yield csv_page(page, columns)


def csv_page(page: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Return a page of CSV."""
    return csv_lines([row[column] for column in columns] for row in page)


def json_lines(pages: Rows) -> Iterator[str]:
    """Yield pages of JSON objects, one a line; positions of tracks are objects with PLACED_KEYS."""
    for page in pages:
        yield "".join(msgspec.json.encode(_with_keys(row)).decode() + "\n" for row in page)


def _with_keys(row: dict[str, Any]) -> dict[str, Any]:
    if "positions" not in row:
        return row
    values = {key: value for key, value in row.items() if key != "places"}
    return values | {"positions": placed_positions(row)}


def placed_positions(track: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the positions of a track with `places` as objects with PLACED_KEYS."""
    pairs = zip(track["positions"], track["places"], strict=True)
    return [dict(zip(PLACED_KEYS, (*position, *(place or (None, None))), strict=True)) for position, place in pairs]


def geojson_text(pages: Rows) -> Iterator[str]:
    """Yield a FeatureCollection: a LineString for each track with `places`, its description as properties.

    A track whose place is not known has the geometry null.
    """
    yield GEOJSON_HEAD
    first = True
    for page in pages:
        yield geojson_page(page, first=first)
        first = False
    yield GEOJSON_FOOT


def geojson_page(page: Iterable[dict[str, Any]], *, first: bool) -> str:
    """Return the features of a page of tracks, one a line; `first`: no page came before."""
    features = [msgspec.json.encode(_feature(track)).decode() for track in page]
    return ("" if first or not features else ",\n") + ",\n".join(features)


def _feature(track: dict[str, Any]) -> dict[str, Any]:
    pairs = zip(track["positions"], track["places"], strict=True)
    known = [(position[0], place) for position, place in pairs if place is not None]
    properties = {key: value for key, value in track.items() if key not in ("positions", "places")}
    properties["id"] = str(track["id"])  # JavaScript has no 64-bit numbers
    # The name under which others keep the times of a line's points.
    properties["coordTimes"] = [iso_time(time_s) for time_s, _ in known]
    points = [[round(longitude, 8), round(latitude, 8)] for _, (latitude, longitude) in known]
    return {"type": "Feature", "id": properties["id"], "geometry": _geometry(points), "properties": properties}


def _geometry(points: list[list[float]]) -> dict[str, Any] | None:
    """Return longitudes and latitudes as a line, in parts where it crosses the date line; a point if there is one."""
    if not points:
        return None
    if len(points) == 1:
        return {"type": "Point", "coordinates": points[0]}
    lines = [[points[0]]]
    for before, point in itertools.pairwise(points):
        step_deg = point[0] - before[0]
        if abs(step_deg) > _DATE_LINE_DEG:
            edge_deg = 180.0 if before[0] > 0 else -180.0
            beyond_deg = point[0] + 2 * edge_deg
            share = (edge_deg - before[0]) / (beyond_deg - before[0]) if beyond_deg != before[0] else 0.0
            latitude = round(before[1] + share * (point[1] - before[1]), 8)
            lines[-1].append([edge_deg, latitude])
            lines.append([[-edge_deg, latitude]])
        lines[-1].append(point)
    if len(lines) == 1:
        return {"type": "LineString", "coordinates": lines[0]}
    return {"type": "MultiLineString", "coordinates": lines}
