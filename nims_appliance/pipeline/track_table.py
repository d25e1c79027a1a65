"""TrackTable: all tracks of a sonar, confirmed or not, as arrays with one row each."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
from nims_ext.table import TRACK, begin, compact

from . import strength
from .measurement import Echoes

Row = namedtuple("Row", TRACK.names or ())  # type: ignore[misc]
"""The scalars of one track as plain numbers: ten times faster to read than a row of the array."""
FIRST_ROOM = 256
"""Rows for which memory is taken at first; it doubles when they are used up."""


class TrackTable:
    """Rows of tracks; `table["score"]` is the column of a scalar, see `nims_ext.table.TRACK`.

    The arrays are views of larger ones: `keep` and `append` make new views, and old ones show other tracks then.

    Args:
      axes: 2 or 3 dimensions.
    """

    rows: np.ndarray
    """Scalars, dtype TRACK, shape (tracks,)."""
    state: np.ndarray
    """Position and velocity, m and m/s, shape (tracks, 2 axes)."""
    covariance: np.ndarray
    """Of the state, shape (tracks, 2 axes, 2 axes)."""
    strengths: np.ndarray
    """Probability of each strength of `strength.STRENGTHS_DB`, shape (tracks, strengths)."""
    first: np.ndarray
    """Position of the first detection, m, shape (tracks, axes)."""
    first_noise: np.ndarray
    """Its covariance, m^2, shape (tracks, axes, axes)."""
    last: np.ndarray
    """State when it was last seen beyond doubt, shape (tracks, 2 axes)."""
    extent: np.ndarray
    """Covariance of the echoes over a body, m^2, shape (tracks, axes, axes); 0: no longer than the sonar resolves."""

    def __init__(self, axes: int) -> None:
        self.axes = axes
        size = 2 * axes
        self._held = {
            "rows": np.zeros(FIRST_ROOM, TRACK),
            "state": np.zeros((FIRST_ROOM, size)),
            "covariance": np.zeros((FIRST_ROOM, size, size)),
            "strengths": np.zeros((FIRST_ROOM, len(strength.SHARES))),
            "first": np.zeros((FIRST_ROOM, axes)),
            "first_noise": np.zeros((FIRST_ROOM, axes, axes)),
            "last": np.zeros((FIRST_ROOM, size)),
            "extent": np.zeros((FIRST_ROOM, axes, axes)),
        }
        self._show(0)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.rows[name]

    def _show(self, count: int) -> None:
        for name, held in self._held.items():
            setattr(self, name, held[:count])

    def row(self, index: int) -> Any:
        """Return the scalars of one track, a `Row`."""
        return Row._make(self.rows[index].item())

    def confirmed(self) -> np.ndarray:
        """Return the rows of the tracks that are confirmed, lost ones among them."""
        return np.flatnonzero(self.rows["id"])

    def shown(self) -> np.ndarray:
        """Return the rows of the tracks that are confirmed and not lost."""
        confirmed = self.confirmed()
        return confirmed[~self.rows["lost"][confirmed]]

    def keep(self, mask: np.ndarray) -> None:
        """Keep the rows of a mask, in their order."""
        if mask.all():
            return
        count = 0
        for name in self._held:
            rows = getattr(self, name)
            count = compact(mask.view(np.uint8), rows.reshape(len(rows), -1).view(np.uint8))
        self._show(count)

    def append(
        self, echoes: Echoes, chosen: np.ndarray, score: np.ndarray, max_speed_m_s: float, time_s: float
    ) -> None:
        """Add a track at each of the chosen echoes, at rest but for a velocity of up to the largest expected.

        Args:
          chosen: indices of echoes.
          score: first score, one for each echo.
        """
        count, axes, before = len(chosen), self.axes, len(self)
        if not count:
            return
        room = len(self._held["rows"])
        if before + count > room:
            for name, held in self._held.items():
                self._held[name] = np.zeros((max(2 * room, before + count), *held.shape[1:]), held.dtype)
                self._held[name][:before] = held[:before]
        self._show(before + count)
        new = slice(before, None)
        begin(
            self.rows[new],
            self.strengths[new],
            echoes.detections,
            chosen,
            echoes.odds,
            score,
            axes=axes,
            time_s=time_s,
        )
        state, covariance = self.state[new], self.covariance[new]
        self.first[new] = state[:, :axes] = echoes.place[chosen]
        state[:, axes:] = 0.0
        self.last[new] = state
        covariance[:] = 0.0
        self.first_noise[new] = covariance[:, :axes, :axes] = echoes.noise[chosen]
        covariance[:, range(axes, 2 * axes), range(axes, 2 * axes)] = (0.4 * max_speed_m_s) ** 2
        self.extent[new] = 0.0

    def take_over(self, new: int, old: int) -> None:
        """The track `new` is the continuation of the lost track `old`, which is to be removed."""
        table = self.rows
        for name in ("id", "first_s", "pings", "age_s"):
            table[name][new] = table[name][old]
        for name in ("min_range_m", "min_bearing_rad", "min_elevation_rad"):
            table[name][new] = min(table[name][new], table[name][old])
        for name in ("max_range_m", "max_bearing_rad", "max_elevation_rad"):
            table[name][new] = max(table[name][new], table[name][old])
        for name in ("hits", "area_m2", "power", "background"):
            table[name][new] += table[name][old]
        table["merged"][old] = True
        self.first[new] = self.first[old]
