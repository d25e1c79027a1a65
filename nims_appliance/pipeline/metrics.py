"""Echo metrics of a sonar over time: cells of depth and time, averaged in linear units, then each column's metrics.

A cell is the mean of s_v (calibrated echosounders) or of intensity (all others, named relative) over `depth_bin_m` of
range and `time_bin_s` of pings, as in the paper that `acoustics.echo_metrics` follows. Imaging sonars give the mean
over their beams. Beside the whole column each layer of `layer_m` has the same metrics of its own cells. Background
noise is taken from s_v before it is averaged, if the settings say so; a sample that does not stand out of the noise
counts as empty water.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..acoustics.calibration import sv_linear, to_db
from ..acoustics.echo_metrics import find_layers, profile_metrics
from ..acoustics.noise import estimate_noise_db, remove_noise_db
from ..frame import Calibration, Frame
from ..settings import MetricsSettings

MAX_CHANNELS = 64
"""Channels followed at a time; more are a defect of the decoder, and the oldest bin is closed for them."""
NASC_PER_SA = 4.0 * math.pi * 1852.0**2
"""From s_a in m2 m-2 to the nautical area scattering coefficient s_A in m2 nmi-2 (MacLennan et al. 2002)."""
MOST_RELATIVE_DB = 60.0
"""The threshold of a relative column lies no farther below its strongest cell, also where most cells are 0."""


@dataclass(frozen=True, slots=True)
class MetricsBin:
    """The metrics of one channel in one time bin, of the whole column or of one layer; NaN: nothing to measure."""

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
    """Layers of animals, counted in the whole column; of a part: those that have their crest in it."""
    nasc_m2_nmi2: float = math.nan
    """s_A, the nautical area scattering coefficient; NaN where not calibrated."""
    noise_db: float = math.nan
    """What was taken as noise, mean over the pings, dB re 1 m-1 before time-varied gain; NaN: nothing was removed."""
    part: int = 0
    """0: the whole column. k: the layer from (k - 1) to k times `layer_m`."""
    top_m: float = math.nan
    """Range of the near edge of the nearest cell."""
    bottom_m: float = math.nan
    by_layer: tuple[MetricsBin, ...] = ()
    """The layers of a whole column that have cells, nearest first."""


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
    calibration: Calibration | None = None
    """Of the pings in `waiting`."""
    waiting: list[np.ndarray] = field(default_factory=list)
    """s_v of whole pings whose noise is not yet known."""
    noise: float = 0.0
    """Sum over pings of the linear noise that was removed."""


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
        if current.cells is None:
            return closed
        if not calibrated:
            inside = frame.intensity[current.cells.first : current.cells.stop]
            _accumulate(current, current.cells, _mean_over_beams(inside))
        elif not self.settings.noise_removal:
            _accumulate(current, current.cells, sv_linear(frame)[current.cells.first : current.cells.stop])
        else:
            if current.waiting and current.calibration != frame.calibration:
                self._remove_noise(current, current.cells)
            current.calibration = frame.calibration
            current.waiting.append(sv_linear(frame))
            if len(current.waiting) >= self.settings.noise_pings:
                self._remove_noise(current, current.cells)
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

    def _remove_noise(self, current: _OpenBin, cells: _Cells) -> None:
        """Take the noise from the waiting pings and add them to the cells.

        The noise is looked for in the whole ping: beyond the range that counts there may be fewer animals.
        """
        assert current.calibration is not None
        s_v = np.array(current.waiting)
        current.waiting.clear()
        sv_db = to_db(s_v)
        range_m = current.range_m - current.calibration.range_offset_m
        absorption_db_m = current.calibration.absorption_db_m
        step_m = float(np.median(np.diff(range_m))) if len(range_m) > 1 else self.settings.noise_cell_m
        noise_db = estimate_noise_db(
            sv_db,
            range_m,
            absorption_db_m,
            block_pings=len(s_v),
            block_samples=max(round(self.settings.noise_cell_m / step_m), 1),
            max_noise_db=self.settings.noise_max_db,
        )
        clean_db = remove_noise_db(sv_db, range_m, absorption_db_m, noise_db, min_snr_db=self.settings.noise_min_snr_db)
        clean = np.where(np.isfinite(clean_db), 10.0 ** (clean_db / 10.0), 0.0)
        clean[~np.isfinite(s_v)] = np.nan
        current.noise += float((10.0 ** (noise_db / 10.0)).sum())
        for profile in clean[:, cells.first : cells.stop]:
            _accumulate(current, cells, profile)

    def _close(self, channel: str) -> MetricsBin:
        done = self._open.pop(channel)
        if done.waiting and done.cells is not None:
            self._remove_noise(done, done.cells)
        with np.errstate(invalid="ignore", divide="ignore"):
            s_v = done.total / done.valid
        cells = done.cells or _Cells(0, 0, np.empty(0), np.empty(0), self.settings.depth_bin_m)
        threshold_db = self._threshold_db(s_v, done.calibrated)
        column = MetricsBin(
            sonar_id=done.sonar_id,
            channel=channel,
            ping_number=done.ping_number,
            start_s=done.start_s,
            end_s=done.end_s,
            pings=done.pings,
            calibrated=done.calibrated,
            noise_db=10.0 * math.log10(done.noise / done.pings) if done.noise > 0.0 else math.nan,
            **_describe(s_v, cells.depth_m, cells.cell_m, threshold_db, done.calibrated),
        )
        if not self.settings.layer_m:
            return column
        valid = np.flatnonzero(np.isfinite(s_v))
        crests = valid[find_layers(s_v[valid], cells.cell_m, occupied_threshold_db=threshold_db)] if valid.size else []
        # The nudge keeps a cell on the edge, which rounding has moved, in the layer below it.
        number = np.floor(cells.depth_m / self.settings.layer_m + 1e-9).astype(np.int64)
        parts = []
        for layer in np.unique(number):
            inside = number == layer
            values = _describe(s_v[inside], cells.depth_m[inside], cells.cell_m, threshold_db, done.calibrated)
            values["layers"] = int(np.count_nonzero(inside[crests]))
            parts.append(dataclasses.replace(column, part=int(layer) + 1, **values))
        return dataclasses.replace(column, by_layer=tuple(parts))

    def _threshold_db(self, s_v: np.ndarray, calibrated: bool) -> float:
        """Return above what a cell counts as occupied, dB."""
        known = s_v[np.isfinite(s_v)]
        if calibrated or not known.size or known.max() <= 0.0:
            return self.settings.occupied_threshold_db
        median_db = float(to_db(np.median(known))) + self.settings.relative_threshold_db
        return max(median_db, float(to_db(known.max())) - MOST_RELATIVE_DB)


def _describe(
    s_v: np.ndarray, depth_m: np.ndarray, cell_m: float, threshold_db: float, calibrated: bool
) -> dict[str, Any]:
    """Return the values of MetricsBin that a profile gives."""
    metrics = dataclasses.asdict(profile_metrics(s_v, depth_m, cell_m, occupied_threshold_db=threshold_db))
    if calibrated:
        empty = metrics["proportion_occupied"] == 0.0 and math.isnan(metrics["sa_db"])
        metrics["nasc_m2_nmi2"] = 0.0 if empty else NASC_PER_SA * 10.0 ** (metrics["sa_db"] / 10.0)
    if len(depth_m):
        metrics["top_m"], metrics["bottom_m"] = float(depth_m[0]) - cell_m / 2, float(depth_m[-1]) + cell_m / 2
    return metrics


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


def _accumulate(current: _OpenBin, cells: _Cells, profile: np.ndarray) -> None:
    """Add the profile of one ping to the cells; samples that are not finite are left out."""
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
