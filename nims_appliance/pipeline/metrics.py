"""Echo metrics of a sonar over time: cells of depth and time, averaged in linear units, then each column's metrics.

A cell is the mean of s_v (calibrated echosounders) or of intensity (all others, named relative) over `depth_bin_m` of
range and `time_bin_s` of pings, as in the paper that `acoustics.echo_metrics` follows. Imaging sonars give the mean
over their beams.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ..acoustics.calibration import sv_linear
from ..acoustics.echo_metrics import profile_metrics
from ..frame import Frame
from ..settings import MetricsSettings

MAX_CHANNELS = 64
"""Channels followed at a time; more are a defect of the decoder, and the oldest bin is closed for them."""


@dataclass(frozen=True, slots=True)
class MetricsBin:
    """The metrics of one channel in one time bin; NaN where there was nothing to measure."""

    sonar_id: str
    channel: str
    ping_number: int
    """Of the last ping in the bin."""
    start_s: float
    """Time of the first ping in the bin, on the sonar's clock."""
    end_s: float
    """Time of the last ping in the bin."""
    pings: int
    calibrated: bool
    """True: Sv in dB re 1 m-1. False: relative, 10 lg of intensity in the unit of the sonar."""
    sv_db: float
    sa_db: float
    center_of_mass_m: float
    """Range from the sonar head."""
    inertia_m2: float
    proportion_occupied: float
    equivalent_area_m: float
    aggregation_index_per_m: float
    layers: int


@dataclass(slots=True)
class _Cells:
    """How the samples of one geometry fall into depth cells."""

    first: int
    """First sample in range."""
    stop: int
    starts: np.ndarray
    """First sample of each cell, counted from `first`; every cell has at least one."""
    depth_m: np.ndarray
    """Middle of each cell."""
    cell_m: float


@dataclass(slots=True)
class _OpenBin:
    """A time bin that is being filled."""

    index: int
    range_m: np.ndarray
    calibrated: bool
    cells: _Cells | None
    total: np.ndarray
    """Sum of s_v over valid samples, per cell."""
    valid: np.ndarray
    """Number of valid samples, per cell."""
    sonar_id: str
    start_s: float
    end_s: float = math.nan
    ping_number: int = 0
    pings: int = 0


@dataclass(slots=True)
class EchoMetrics:
    """Echo metrics of every channel of one sonar."""

    settings: MetricsSettings
    _open: dict[str, _OpenBin] = field(default_factory=dict)

    def add(self, frame: Frame) -> list[MetricsBin]:
        """Add one ping; return the bins that it has closed.

        A bin closes when a ping belongs to another time bin, also after a step back of the clock, and early when the
        range axis or the calibration appears or changes: cells of two geometries are never mixed.
        """
        closed: list[MetricsBin] = []
        calibrated = frame.calibration is not None and frame.intensity.shape[1] == 1
        index = math.floor(frame.time_s / self.settings.time_bin_s)
        current = self._open.get(frame.channel)
        if current is not None and not (
            current.index == index
            and current.calibrated == calibrated
            and (current.range_m is frame.range_m or np.array_equal(current.range_m, frame.range_m))
        ):
            closed.append(self._close(frame.channel))
            current = None
        if current is None:
            if len(self._open) >= MAX_CHANNELS:
                closed.append(self._close(next(iter(self._open))))
            current = self._begin(frame, index, calibrated)
        current.pings += 1
        current.ping_number, current.end_s = frame.ping_number, frame.time_s
        if current.cells is not None:
            _accumulate(current, current.cells, frame)
        return closed

    def finish(self) -> list[MetricsBin]:
        """Return the bins that are still open, of the pings they have."""
        return [self._close(channel) for channel in list(self._open)]

    def _begin(self, frame: Frame, index: int, calibrated: bool) -> _OpenBin:
        cells = _divide(frame.range_m, self.settings)
        count = len(cells.starts) if cells is not None else 0
        opened = _OpenBin(
            index=index,
            range_m=frame.range_m,
            calibrated=calibrated,
            cells=cells,
            total=np.zeros(count),
            valid=np.zeros(count, dtype=np.int64),
            sonar_id=frame.sonar_id,
            start_s=frame.time_s,
        )
        self._open[frame.channel] = opened
        return opened

    def _close(self, channel: str) -> MetricsBin:
        done = self._open.pop(channel)
        with np.errstate(invalid="ignore", divide="ignore"):
            s_v = done.total / done.valid
        depth_m = done.cells.depth_m if done.cells is not None else np.empty(0)
        metrics = profile_metrics(
            s_v,
            depth_m,
            done.cells.cell_m if done.cells is not None else self.settings.depth_bin_m,
            occupied_threshold_db=self.settings.occupied_threshold_db,
        )
        return MetricsBin(
            sonar_id=done.sonar_id,
            channel=channel,
            ping_number=done.ping_number,
            start_s=done.start_s,
            end_s=done.end_s,
            pings=done.pings,
            calibrated=done.calibrated,
            sv_db=metrics.sv_db,
            sa_db=metrics.sa_db,
            center_of_mass_m=metrics.center_of_mass_m,
            inertia_m2=metrics.inertia_m2,
            proportion_occupied=metrics.proportion_occupied,
            equivalent_area_m=metrics.equivalent_area_m,
            aggregation_index_per_m=metrics.aggregation_index_per_m,
            layers=metrics.layers,
        )


def _divide(range_m: np.ndarray, settings: MetricsSettings) -> _Cells | None:
    """Return the cells of a range axis, or None if no sample is in range."""
    first = int(np.searchsorted(range_m, settings.min_range_m, side="left"))
    stop = int(np.searchsorted(range_m, settings.max_range_m, side="right"))
    if first >= stop:
        return None
    inside = range_m[first:stop]
    # A cell smaller than the step between samples would often be empty, and an empty cell shrinks the total depth.
    cell_m = max(settings.depth_bin_m, float(np.diff(inside).max(initial=0.0)))
    number = np.floor((inside - settings.min_range_m) / cell_m)
    starts = np.flatnonzero(np.diff(number, prepend=-1.0))
    return _Cells(first, stop, starts, settings.min_range_m + (number[starts] + 0.5) * cell_m, cell_m)


def _accumulate(current: _OpenBin, cells: _Cells, frame: Frame) -> None:
    """Add one ping to the cells; samples that are not finite are left out."""
    if current.calibrated:
        profile = sv_linear(frame)[cells.first : cells.stop]
    else:
        profile = _mean_over_beams(frame.intensity[cells.first : cells.stop])
    valid = np.isfinite(profile)
    current.total += np.add.reduceat(np.where(valid, profile, 0.0), cells.starts)
    current.valid += np.add.reduceat(valid.astype(np.int64), cells.starts)


def _mean_over_beams(intensity: np.ndarray) -> np.ndarray:
    """Return the mean of each sample over the beams that are finite; float64, NaN where none is."""
    profile = intensity.mean(axis=1).astype(np.float64)
    damaged = np.flatnonzero(~np.isfinite(profile))
    if damaged.size:
        rows = intensity[damaged].astype(np.float64)
        finite = np.isfinite(rows)
        count = finite.sum(axis=1)
        total = np.where(finite, rows, 0.0).sum(axis=1)
        profile[damaged] = np.divide(total, count, out=np.full(len(damaged), np.nan), where=count > 0)
    return profile
