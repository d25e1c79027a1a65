"""Describe: a live track as its state, an ended one, or what is known of a live one, as its summary."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from ..frame import Frame
from ..settings import CurrentSettings, SonarSettings
from .course import Course
from .results import TrackState, TrackSummary
from .track_table import TrackTable
from .zones import Zones

BLOCK_PINGS = 256
"""A place is smoothed with at least so many pings after it, and then only the course remembers it."""
STEADY_VELOCITY = 1.01
"""Where a ping made the velocity less certain than predicted, by more than this factor, the filter saw a turn."""
LOSS_AT_END = 15.0
"""About how far the score of a confirmed track falls from its best until it is given up."""
PLACES_SO_FAR = 24
"""Of the pings that a living track holds, so many are smoothed to describe it: a quarter of a millisecond."""
FEW_HITS = 5
TOLD_APART_M_S = 0.1
"""A track whose net velocity is known no better than this (standard deviation) is not said to drift, nor not to."""
CHI_SQUARE_95 = {2: 5.99, 3: 7.81}
"""95 % of the sums of so many squared normal deviates are below."""


class History:
    """What a confirmed track leaves at every ping; memory does not grow with its age.

    Pings after the last in which it was seen count only when it is seen again.
    """

    def __init__(self, axes: int, settings: SonarSettings) -> None:
        self.axes = axes
        self.row: Any = None
        """The track's scalars, a `Row`, when it was last seen; None before there is one."""
        self.channel = ""
        self.described_s = math.inf
        """When it was described last while it lived, at first when its life began; infinite: before that."""
        self.label, self.probability = "", math.nan
        """What it was called then."""
        self.zones = Zones(settings.zones)
        self.current_m_s = _velocity(settings.current)
        self._current_sd_m_s = settings.current.uncertainty_m_s
        self._noise_m2_s3 = settings.tracker.process_noise_m2_s3
        self._course = Course(self.zones.watched, self.current_m_s)
        self._times_s: list[float] = []
        self._states: list[np.ndarray] = []
        self._covariances: list[np.ndarray] = []
        self._sure = 0
        """How many of these are up to the last ping in which it was seen."""
        self._first_covariance = self._last_covariance = np.zeros((2 * axes, 2 * axes))
        self._seen = 0
        self._length_m = self._width_m = 0.0
        """Sums over the pings in which it was seen."""
        self._ease, self._ease_pings = 0.0, 0
        """Sum of how near the score was to its best, and of how many pings, up to the last sight ..."""
        self._eased, self._eased_pings = 0.0, 0
        """... and since."""

    def __len__(self) -> int:
        """Return how many pings it holds in full."""
        return len(self._times_s)

    def add(self, table: TrackTable, index: int, row: Any, time_s: float) -> None:
        """Add the track of row `index` as it is after a ping; `row` are its scalars, a `Row`."""
        seen = row.gap_s == 0
        if seen or self.row is None:
            self.row = row
        if self._times_s and time_s <= self._times_s[-1]:
            return
        self.described_s = min(self.described_s, time_s)
        self._eased += 1.0 - min(max((row.best - row.score) / LOSS_AT_END, 0.0), 1.0)
        self._eased_pings += 1
        if not seen and len(self) - self._sure >= BLOCK_PINGS:
            return  # while it is only predicted every ping says the same
        self._times_s.append(time_s)
        self._states.append(table.state[index].copy())
        self._covariances.append(table.covariance[index].copy())
        if self._course.last is None and len(self) == 1:
            self._first_covariance = self._covariances[0]
        if seen:
            self._sure = len(self)
            self._seen += 1
            self._length_m += row.length_m
            self._width_m += row.width_m
            self._ease += self._eased
            self._ease_pings += self._eased_pings
            self._eased, self._eased_pings = 0.0, 0
            # not all tracks in the same ping: it takes milliseconds
            if self._sure >= 2 * BLOCK_PINGS + row.id % BLOCK_PINGS:
                self._fold(self._sure - BLOCK_PINGS)

    def _fold(self, count: int) -> None:
        """Give the first `count` pings to the course, smoothed by those after them."""
        sure, axes = self._sure, self.axes
        times = np.array(self._times_s[:sure])
        states = smooth(times, self._states[:sure], self._covariances[:sure], self._noise_m2_s3)[:count]
        places = np.zeros((len(states), 3))
        places[:, :axes] = states[:, :axes]
        self._course.add(times[:count], places, np.sqrt((states[:, axes:] ** 2).sum(1)))
        del self._times_s[:count], self._states[:count], self._covariances[:count]
        self._sure -= count

    def so_far(self) -> History:
        """Return what can be finished while this one goes on: its last pings thinned, so that it is cheap."""
        other = copy.copy(self)
        other._course = self._course.copy()
        sure = max(self._sure, min(len(self), 1))
        kept = np.unique(np.linspace(0, sure - 1, min(sure, PLACES_SO_FAR)).round().astype(int)).tolist()
        other._times_s = [self._times_s[i] for i in kept]
        other._states = [self._states[i] for i in kept]
        other._covariances = [self._covariances[i] for i in kept]
        other._sure = len(kept)
        return other

    def finish(self) -> Course:
        """Return the course up to where the track was last seen; nothing can be added afterwards."""
        self._sure = max(self._sure, min(len(self), 1))
        self._last_covariance = self._covariances[self._sure - 1]
        self._fold(self._sure)
        return self._course

    def mean_size_m(self) -> tuple[float, float]:
        """Return the mean length and width of its echoes."""
        return self._length_m / max(self._seen, 1), self._width_m / max(self._seen, 1)

    def quality(self) -> float:
        """Return `TrackSummary.quality`."""
        assert self.row is not None
        hits, pings = self.row.hits, self.row.pings
        ease = self._ease / max(self._ease_pings, 1)
        return float(min(hits / max(pings, 1), 1.0) * ease * hits / (hits + FEW_HITS))

    def net_covariance(self) -> np.ndarray:
        """Return the covariance of the net displacement, m^2; after `finish`.

        The ends are taken as independent, with the uncertainty of the filter, which is above that after smoothing.
        """
        axes = self.axes
        return (self._first_covariance + self._last_covariance)[:axes, :axes]

    def net_sd_m(self) -> float:
        """Return the standard deviation of the net displacement along its worst direction; after `finish`."""
        return math.sqrt(max(float(np.linalg.eigvalsh(self.net_covariance())[-1]), 0.0))

    def drifting(self) -> bool | None:
        """Return whether the net motion through the water cannot be told from none; after `finish`.

        A chi-square test at 95 % of net velocity minus current, against the track's own uncertainty and that of the
        current. None: no current is configured, or the track is too short or too uncertain to tell.
        """
        axes, course = self.axes, self._course
        if self.current_m_s is None or not course.duration_s:
            return None
        own = self.net_covariance() / course.duration_s**2
        if np.linalg.eigvalsh(own)[-1] > TOLD_APART_M_S**2:
            return None
        through_water = (course.net_m / course.duration_s - self.current_m_s)[:axes]
        covariance = own + self._current_sd_m_s**2 * np.eye(axes)
        return bool(through_water @ np.linalg.solve(covariance, through_water) < CHI_SQUARE_95[axes])


def _velocity(current: CurrentSettings) -> np.ndarray | None:
    """Return the water's velocity in sonar coordinates, shape (3,); None where it is not known."""
    if not current.known:
        return None
    towards_rad = math.radians(current.towards_deg)
    return current.speed_m_s * np.array([math.sin(towards_rad), math.cos(towards_rad), 0.0])


def state_of(table: TrackTable, index: int, row: Any, frame: Frame, history: History) -> TrackState:
    """Return the confirmed track of row `index` at this ping; `row` are its scalars, a `Row`."""
    axes = table.axes
    history.channel = frame.channel
    position = (*table.state[index, :axes].tolist(), 0.0)[:3]
    velocity = (*table.state[index, axes:].tolist(), 0.0)[:3]
    range_m = math.hypot(*position)
    near = max(range_m, 1e-6)
    bearing_rad = math.atan2(position[0], position[1]) if axes == 2 else math.asin(position[0] / near)
    elevation_rad = math.asin(position[2] / near)
    near = max(range_m, 1e-6)
    range_rate = sum(p * v for p, v in zip(position, velocity, strict=True)) / near
    across = max(near * math.cos(bearing_rad), 1e-6)
    return TrackState(
        id=row.id,
        state="confirmed" if row.gap_s == 0 else "coasting",
        position_m=position,
        velocity_m_s=velocity,
        covariance=tuple(map(tuple, table.covariance[index, :axes, :axes].tolist())),
        range_m=range_m,
        bearing_rad=bearing_rad,
        elevation_rad=elevation_rad,
        range_rate_m_s=range_rate,
        bearing_rate_rad_s=(velocity[0] - range_rate * math.sin(bearing_rad)) / across,
        elevation_rate_rad_s=(velocity[2] - range_rate * math.sin(elevation_rad))
        / max(near * math.cos(elevation_rad), 1e-6),
        first_time_s=row.first_s,
        hits=row.hits,
        min_range_m=row.min_range_m,
        max_range_m=row.max_range_m,
        min_bearing_rad=row.min_bearing_rad,
        max_bearing_rad=row.max_bearing_rad,
        min_elevation_rad=row.min_elevation_rad,
        max_elevation_rad=row.max_elevation_rad,
        length_m=row.length_m,
        width_m=row.width_m,
        height_m=math.nan,
        mean_area_m2=row.area_m2 / max(row.hits, 1),
        strength_db=10 * math.log10(max(row.power / max(row.hits, 1), 1e-30)),
        calibrated=row.calibrated,
        speed_m_s=math.hypot(*velocity),
        channel=frame.channel,
        zones=history.zones.around(range_m, bearing_rad),
        label=history.label,
        probability=history.probability,
    )


def summary_of(history: History) -> TrackSummary:
    """Return the description of a track up to where it was last seen; uses up the history, see `History.so_far`."""
    course, row, three = history.finish(), history.row, history.axes == 3
    assert row is not None
    net_m = float(np.sqrt(course.net_m @ course.net_m))
    hits = row.hits
    length_m, width_m = history.mean_size_m()
    duration_s = course.duration_s
    return TrackSummary(
        id=row.id,
        first_time_s=row.first_s,
        last_time_s=row.last_hit_s,
        hits=hits,
        pings=row.pings,
        mean_speed_m_s=course.path_m / duration_s if duration_s > 0 else course.peak_speed_m_s,
        peak_speed_m_s=course.peak_speed_m_s,
        path_m=course.path_m,
        net_m=net_m,
        straightness=min(net_m / course.path_m, 1.0) if course.path_m > 0 else 0.0,
        heading_rad=math.atan2(course.net_m[0], course.net_m[1]),
        min_range_m=row.min_range_m,
        max_range_m=row.max_range_m,
        min_bearing_rad=row.min_bearing_rad,
        max_bearing_rad=row.max_bearing_rad,
        min_elevation_rad=row.min_elevation_rad,
        max_elevation_rad=row.max_elevation_rad,
        mean_length_m=length_m,
        mean_width_m=width_m,
        mean_area_m2=row.area_m2 / max(hits, 1),
        strength_db=10 * math.log10(max(row.power / max(hits, 1), 1e-30)),
        calibrated=row.calibrated,
        quality=history.quality(),
        channel=history.channel,
        positions=course.positions(),
        min_z_m=course.min_z_m if three else math.nan,
        max_z_m=course.max_z_m if three else math.nan,
        net_sd_m=history.net_sd_m(),
        farthest_m=course.farthest_m,
        mean_speed_through_water_m_s=course.mean_speed_through_water_m_s,
        drifting=history.drifting(),
        zones=course.passages(),
    )


def smooth(times_s: np.ndarray, states: list[np.ndarray], covariances: list[np.ndarray], noise: float) -> np.ndarray:
    """Return the states given all pings, not only those before: the Rauch-Tung-Striebel smoother.

    H. Rauch, F. Tung, C. Striebel, "Maximum likelihood estimates of linear dynamic systems", AIAA J. 3 (1965)
    1445-1450.

    Args:
      times_s: shape (pings,), increasing.
      states, covariances: filtered, one per ping.
      noise: process noise of the filter, m^2/s^3.

    Returns: float64, shape (pings, 2 axes).
    """
    out = np.array(states)
    if len(out) < 2:
        return out
    axes = out.shape[1] // 2
    dt = np.diff(times_s)
    move = np.repeat(np.eye(2 * axes)[None], len(dt), axis=0)
    added = np.zeros_like(move)
    for i in range(axes):
        j = axes + i
        move[:, i, j] = dt
        added[:, i, i], added[:, j, j] = noise * dt**3 / 3, noise * dt
        added[:, i, j] = added[:, j, i] = noise * dt**2 / 2
    covariance = np.array(covariances)
    predicted = move @ covariance[:-1] @ move.transpose(0, 2, 1) + added
    gain = np.linalg.solve(predicted, move @ covariance[:-1]).transpose(0, 2, 1)
    # nothing is learnt of a velocity from what comes after a turn
    unsure = np.trace(covariance[:, axes:, axes:], axis1=1, axis2=2)
    gain[unsure[1:] > STEADY_VELOCITY * np.trace(predicted[:, axes:, axes:], axis1=1, axis2=2)] = 0.0
    known = out[:-1] - (gain @ (move @ out[:-1, :, None]))[..., 0]
    for i in range(len(dt) - 1, -1, -1):
        out[i] = known[i] + gain[i] @ out[i + 1]
    return out
