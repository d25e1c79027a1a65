"""Course: where a track went, as figures that need no memory of every ping, and a path of bounded length."""

from __future__ import annotations

import copy
import math

import numpy as np

from .results import ZonePassage
from .zones import Zone

MOST_POSITIONS = 4096
"""Beyond so many the positions are thinned: to one a second, then one in two seconds, and so on."""

Position = tuple[float, float, float, float]
"""time_s, x_m, y_m, z_m."""


class Course:
    """Takes smoothed places in order of time; its figures are of all of them, however many.

    Args:
      watched: zones whose passages are told.
      current_m_s: the water's velocity, shape (3,); None where it is not known.
    """

    def __init__(self, watched: tuple[Zone, ...], current_m_s: np.ndarray | None) -> None:
        self.path_m = 0.0
        self.peak_speed_m_s = 0.0
        self.farthest_m = 0.0
        self.min_z_m, self.max_z_m = math.inf, -math.inf
        self.first: np.ndarray | None = None
        """time_s, x_m, y_m, z_m of the first place; None before there is one."""
        self.last: np.ndarray | None = None
        self._current_m_s = current_m_s
        self._through_water_m = 0.0
        self._passages = [_Passage(zone) for zone in watched]
        self._positions: list[Position] = []
        self._spacing_s = 0.0

    def copy(self) -> Course:
        """Return one that goes on by itself."""
        other = copy.copy(self)
        other._passages = [copy.copy(passage) for passage in self._passages]
        other._positions = self._positions.copy()
        return other

    @property
    def duration_s(self) -> float:
        """Time from the first place to the last."""
        return 0.0 if self.first is None or self.last is None else float(self.last[0] - self.first[0])

    @property
    def net_m(self) -> np.ndarray:
        """From the first place to the last, shape (3,)."""
        return np.zeros(3) if self.first is None or self.last is None else self.last[1:] - self.first[1:]

    @property
    def mean_speed_through_water_m_s(self) -> float:
        """Mean speed relative to the current; NaN where it is not known, or for a single place."""
        if self._current_m_s is None or not self.duration_s:
            return math.nan
        return self._through_water_m / self.duration_s

    def add(self, times_s: np.ndarray, places_m: np.ndarray, speeds_m_s: np.ndarray) -> None:
        """Add places.

        Args:
          times_s: shape (places,), increasing and later than those before.
          places_m: shape (places, 3).
          speeds_m_s: shape (places,).
        """
        if not len(times_s):
            return
        points = np.column_stack([times_s, places_m])
        if self.first is None:
            self.first = points[0]
        before = points[:1] if self.last is None else self.last[None]
        steps = np.diff(np.concatenate([before, points]), axis=0)
        self.path_m += float(np.sqrt((steps[:, 1:] ** 2).sum(1)).sum())
        if self._current_m_s is not None:
            own = steps[:, 1:] - steps[:, :1] * self._current_m_s
            self._through_water_m += float(np.sqrt((own**2).sum(1)).sum())
        self.peak_speed_m_s = max(self.peak_speed_m_s, float(speeds_m_s.max()))
        away = places_m - self.first[1:]
        self.farthest_m = max(self.farthest_m, float(np.sqrt((away**2).sum(1).max())))
        self.min_z_m = min(self.min_z_m, float(places_m[:, 2].min()))
        self.max_z_m = max(self.max_z_m, float(places_m[:, 2].max()))
        for passage in self._passages:
            passage.add(points, steps[:, 0])
        self.last = points[-1]
        for point in points.tolist():
            self._keep(tuple(point))

    def _keep(self, position: Position) -> None:
        if self._positions and position[0] < self._positions[-1][0] + self._spacing_s:
            return
        self._positions.append(position)
        while len(self._positions) > MOST_POSITIONS:
            self._spacing_s = 2 * self._spacing_s or 1.0
            thinned = self._positions[:1]
            for later in self._positions[1:]:
                if later[0] >= thinned[-1][0] + self._spacing_s:
                    thinned.append(later)
            self._positions = thinned

    def positions(self) -> tuple[Position, ...]:
        """Return the path; the last place is always in it."""
        if self.last is None or self._positions[-1][0] == self.last[0]:
            return tuple(self._positions)
        return (*self._positions, tuple(self.last.tolist()))

    def passages(self) -> tuple[ZonePassage, ...]:
        """Return how it passed each watched zone."""
        return tuple(passage.told() for passage in self._passages)


class _Passage:
    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._closest_m = math.inf
        self._closest_time_s = self._entered_time_s = math.nan
        self._inside_s = 0.0

    def add(self, points: np.ndarray, elapsed_s: np.ndarray) -> None:
        distance_m = self._zone.distance_m(points[:, 1:])
        nearest = int(np.argmin(distance_m))
        if distance_m[nearest] < self._closest_m:
            self._closest_m, self._closest_time_s = float(distance_m[nearest]), float(points[nearest, 0])
            if self._closest_m == 0.0:
                self._entered_time_s = self._closest_time_s
        self._inside_s += float(elapsed_s[distance_m == 0.0].sum())

    def told(self) -> ZonePassage:
        return ZonePassage(self._zone.name, self._closest_m, self._closest_time_s, self._entered_time_s, self._inside_s)
