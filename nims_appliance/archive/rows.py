"""Rows of the archive: how tracks, metrics and events are written, and what comes back."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import msgspec

from ..outputs.track_summary import describe_summary
from ..pipeline.metrics import MetricsBin
from ..pipeline.results import TrackSummary
from .schema import BINS, TRACKS

_POSITION = struct.Struct("<dfff")
"""One position: time_s as float64, x_m, y_m, z_m as float32, little-endian."""
_VALUES = tuple(BINS)[2:]
"""Columns of a bin that are fields of MetricsBin, after its series and `end_s`."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for people who ask later."""

    time_s: float
    """On the appliance's clock."""
    part: str
    """Of the health page: "sonar pen", "configuration", ..."""
    kind: str
    """One word: "start", "stop", "failed", "recovered", "setting", "alarm", "alarm ended", "acknowledged"."""
    text: str
    author: str = ""
    """Who did it; empty: nobody."""
    ping_time_s: float = math.nan
    """Time on the sonar's clock of the ping that caused it."""


def track_row(sonar: str, track: TrackSummary) -> tuple:
    """Return the values of TRACKS in its order."""
    values = describe_summary(sonar, track)
    values["zones"] = msgspec.json.encode(values["zones"]).decode()
    values["positions"] = pack_positions(track.positions)
    return tuple(values[name] for name in TRACKS)


def track_values(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of TRACKS as `describe_summary` gave it."""
    drifting = row["drifting"]
    return row | {
        "calibrated": bool(row["calibrated"]),
        "drifting": None if drifting is None else bool(drifting),
        "zones": msgspec.json.decode(row["zones"]),
    }


def bin_rows(column: MetricsBin) -> list[tuple[tuple[str, str, int], tuple]]:
    """Return the column and its layers: (sonar, channel, layer) and the values of BINS but the series, of each."""
    return [
        ((done.sonar_id, done.channel, done.part), (done.end_s, *(_storable(getattr(done, name)) for name in _VALUES)))
        for done in (column, *column.by_layer)
    ]


def event_row(event: Event) -> tuple:
    """Return the values of EVENTS but the id."""
    texts = (_text(part) for part in (event.part, event.kind, event.text, event.author))
    return (event.time_s, *texts, _storable(event.ping_time_s))


def _storable(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(text: str) -> str:
    return text.encode(errors="replace").decode()  # names of files need not be UTF-8


def pack_positions(positions: tuple[tuple[float, float, float, float], ...]) -> bytes:
    """Return positions as the column `positions` holds them: 20 bytes each, `_POSITION`."""
    return b"".join(_POSITION.pack(*position) for position in positions)


def unpack_positions(packed: bytes) -> list[tuple[float, float, float, float]]:
    """Return (time_s, x_m, y_m, z_m) of each position."""
    return list(_POSITION.iter_unpack(packed))
