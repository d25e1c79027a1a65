"""Range over time: of each multibeam ping the strongest echo in every range, as one column of bytes.

Kept for the last minutes, so that a viewer who asks what has passed sees it at once.
"""

from __future__ import annotations

import math
import struct
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import numpy as np
from nims_ext.display import pool_and_quantise

from ..frame import Frame
from .display import MAX_ROWS, SPAN_DB, range_axis

KEPT_S = 180.0
KEPT_COLUMNS = 2047
"""Of one channel: 180 s of it at up to 11 Hz, at most 1 MB."""
_FOOT_DB = 30.0
"""How far the quantised range begins below the middle of the first column."""
_GOOD_MEDIAN = range(13, 179)
"""Bytes between which the middle of a column may lie, 5 to 70 dB over the foot, before the foot is chosen anew."""


@dataclass(frozen=True, slots=True, eq=False)
class PingColumn:
    """One ping: byte v of a row stands for ``db_min + v SPAN_DB / 255`` dB, 0 for that or less."""

    channel: str
    frame_number: int
    ping_number: int
    time_s: float
    received_utc_s: float
    unit: str
    db_min: float
    cells: np.ndarray
    """uint8 (rows,), row 0 nearest."""
    axis: dict[str, object]
    """Where the rows lie, as in the head of a picture; one object while it does not change."""


class ColumnMaker:
    """Makes columns of the pings of one sonar. Not for two threads at once."""

    def __init__(self) -> None:
        self._db_min: dict[str, float] = {}
        self._axes: dict[str, tuple[np.ndarray, dict[str, object]]] = {}

    def make(self, frame: Frame) -> PingColumn:
        """Return the column of a multibeam ping: one pass over its samples, without the GIL."""
        samples, beams = frame.intensity.shape
        step = -(-samples // MAX_ROWS)
        cells = np.empty((-(-samples // step), 1), np.uint8)
        db_min = self._db_min.get(frame.channel, math.nan)
        if math.isnan(db_min):
            db_min = self._db_min[frame.channel] = _foot_of(frame.intensity)
        pool_and_quantise(frame.intensity, step, beams, db_min, SPAN_DB, cells)
        if int(np.median(cells)) not in _GOOD_MEDIAN:  # gain or mode changed: the next ping finds another foot
            del self._db_min[frame.channel]
        return PingColumn(
            channel=frame.channel,
            frame_number=frame.frame_number,
            ping_number=frame.ping_number,
            time_s=frame.time_s,
            received_utc_s=frame.received_utc_s,
            unit=frame.unit,
            db_min=db_min,
            cells=cells[:, 0],
            axis=self._axis_of(frame, step),
        )

    def _axis_of(self, frame: Frame, step: int) -> dict[str, object]:
        known = self._axes.get(frame.channel)
        if known is None or not np.array_equal(known[0], frame.range_m):
            known = self._axes[frame.channel] = (frame.range_m, range_axis(frame.range_m, step))
        return known[1]


def _foot_of(power: np.ndarray) -> float:
    strongest = power[:: max(1, power.shape[0] // 256)].max(axis=1)
    strongest = strongest[np.isfinite(strongest) & (strongest > 0)]
    return float(round(10 * math.log10(float(np.median(strongest))) - _FOOT_DB)) if strongest.size else -_FOOT_DB


def keep_column(kept: deque[PingColumn], column: PingColumn) -> None:
    """Add a column to those of its channel; what is too old, or lies on other ranges, is let go of."""
    if kept and (kept[-1].axis is not column.axis or column.frame_number <= kept[-1].frame_number):
        kept.clear()
    kept.append(column)
    while len(kept) > KEPT_COLUMNS or column.received_utc_s - kept[0].received_utc_s > KEPT_S:
        kept.popleft()


def encode_columns(sonar_id: str, columns: Iterable[PingColumn]) -> bytes:
    """Return columns of one channel as one binary message, laid out as a picture's: column after column.

    Raises:
      ValueError: there are none.
    """
    columns = list(columns)
    if not columns:
        raise ValueError("no columns")
    newest = columns[-1]
    cells = np.stack([column.cells for column in columns])
    for row, column in zip(cells, columns, strict=True):
        if column.db_min != newest.db_min:
            moved = row + np.float32((column.db_min - newest.db_min) * 255 / SPAN_DB)
            row[:] = np.where(row > 0, np.clip(np.rint(moved), 0, 255), 0)
    header = msgspec.json.encode(
        {
            "type": "columns",
            "sonar": sonar_id,
            "channel": newest.channel,
            "rows": cells.shape[1],
            "columns": cells.shape[0],
            "db_min": newest.db_min,
            "db_max": newest.db_min + SPAN_DB,
            "unit": f"dB re 1 {newest.unit}",
            **newest.axis,
            "frames": [column.frame_number for column in columns],
            "times_s": [column.time_s for column in columns],
            "received_utc_s": [column.received_utc_s for column in columns],
        }
    )
    header += b" " * (-(4 + len(header)) % 8)
    return b"".join((struct.pack("<I", len(header)), header, cells.tobytes()))
