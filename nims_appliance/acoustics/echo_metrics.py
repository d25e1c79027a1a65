"""Echo metrics: how much there is in the water column and how it is spread, from one profile of s_v.

Source: S. S. Urmy, J. K. Horne, D. H. Barbee, "Measuring the vertical distributional variability of pelagic fauna in
Monterey Bay", ICES J. Mar. Sci. 69 (2012) 184-196, table 1. Names and units are theirs, but inertia is in m2 (the table
prints m-2, which its formula does not give).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .calibration import to_db

LAYER_CELLS = 19
"""Cells over which a profile is smoothed; the paper's number, for cells of 0.5 m."""
LAYER_SLOPE_DB_M = 0.2
"""A layer is where the smoothed profile is flatter than this, and curved downwards."""
LAYER_RISE_DB = 1.0
"""A layer rises at least so far above the threshold after smoothing; for profiles that lie at the threshold."""


@dataclass(frozen=True, slots=True)
class ProfileMetrics:
    """The metrics of one profile; NaN where there is nothing to measure."""

    sv_db: float
    """Density: mean volume backscattering strength, dB re 1 m-1."""
    sa_db: float
    """Abundance: area backscattering strength, dB re 1 m2 m-2."""
    center_of_mass_m: float
    inertia_m2: float
    proportion_occupied: float
    """0..1."""
    equivalent_area_m: float
    aggregation_index_per_m: float
    layers: int


NOTHING = ProfileMetrics(math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, 0)
"""Of a profile without a valid cell."""


def profile_metrics(
    s_v: np.ndarray, depth_m: np.ndarray, cell_m: float, *, occupied_threshold_db: float = -90.0
) -> ProfileMetrics:
    """Return the metrics of one profile.

    Args:
      s_v: linear, m-1, shape (cells,). Cells that are not finite or negative are invalid and shrink the total depth.
      depth_m: of the middle of each cell, or range; same shape.
      cell_m: height of every cell.
      occupied_threshold_db: a cell above this Sv counts as occupied.

    Returns: for an empty column (valid, but all 0) Sv and Sa are NaN, and the proportion occupied is 0.
    """
    with np.errstate(invalid="ignore"):
        valid = np.isfinite(s_v) & (s_v >= 0.0)
    cells = int(valid.sum())
    if not cells:
        return NOTHING
    s_v, depth_m = s_v[valid], depth_m[valid]
    total_m = cells * cell_m
    occupied = float((s_v > 10.0 ** (occupied_threshold_db / 10.0)).mean())
    peak = float(s_v.max())
    if peak == 0.0:
        return ProfileMetrics(math.nan, math.nan, math.nan, math.nan, occupied, math.nan, math.nan, 0)
    # Relative to the peak, so that squares of s_v near 1e-12 or of counts near 1e20 neither vanish nor overflow.
    weight = s_v / peak
    sum_weight = float(weight.sum())
    sum_square = float((weight * weight).sum())
    center_m = float((weight * depth_m).sum()) / sum_weight
    equivalent_m = sum_weight**2 / sum_square * cell_m
    abundance_db = 10.0 * (math.log10(peak) + math.log10(sum_weight * cell_m))
    return ProfileMetrics(
        sv_db=abundance_db - 10.0 * math.log10(total_m),
        sa_db=abundance_db,
        center_of_mass_m=center_m,
        inertia_m2=float((weight * (depth_m - center_m) ** 2).sum()) / sum_weight,
        proportion_occupied=occupied,
        equivalent_area_m=equivalent_m,
        aggregation_index_per_m=1.0 / equivalent_m,
        layers=count_layers(s_v, cell_m, occupied_threshold_db=occupied_threshold_db),
    )


def count_layers(s_v: np.ndarray, cell_m: float, *, occupied_threshold_db: float = -90.0) -> int:
    """Return the number of layers in a profile of valid cells, as `find_layers` finds them."""
    return len(find_layers(s_v, cell_m, occupied_threshold_db=occupied_threshold_db))


def find_layers(s_v: np.ndarray, cell_m: float, *, occupied_threshold_db: float = -90.0) -> np.ndarray:
    """Return the cell of the crest of each layer in a profile of valid cells, int64, increasing.

    The paper finds layers in an image of depth and time; this is its rule along depth alone, for a profile that has
    been averaged over time: the profile in dB, no lower than the threshold, is smoothed over LAYER_CELLS cells; a
    layer is where it is above the threshold, nearly flat and curved downwards; crests nearer than half of LAYER_CELLS
    are one layer.
    """
    floor_db = occupied_threshold_db
    profile_db = np.maximum(to_db(s_v), floor_db)
    reach = LAYER_CELLS // 2
    # A window of 19 cells holds three standard deviations of the Gaussian to either side.
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (reach / 3.0)) ** 2)
    padded = np.concatenate((np.full(2 * reach, floor_db), profile_db, np.full(2 * reach, floor_db)))
    smooth_db = np.convolve(padded, kernel / kernel.sum(), mode="valid")
    slope = np.gradient(smooth_db, cell_m)
    crest = (np.gradient(slope, cell_m) < 0.0) & (smooth_db > floor_db + LAYER_RISE_DB)
    # The crest of a sharp layer is flat at one point between two cells: there the slope changes sign.
    flat = np.abs(slope) < LAYER_SLOPE_DB_M
    flat[:-1] |= (slope[:-1] > 0.0) & (slope[1:] <= 0.0)
    places = np.flatnonzero(crest & flat)
    if not places.size:
        return places
    groups = np.split(places, np.flatnonzero(np.diff(places) > reach) + 1)
    # Smoothing spreads the column by `reach` cells to either side, of which a crest at its end may be one.
    middles = np.array([int(group.mean()) for group in groups]) - reach
    return np.clip(middles, 0, len(s_v) - 1)
