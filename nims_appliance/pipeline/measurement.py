"""Measurement: the detections of a ping as a tracker uses them, in metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from nims_ext.measure import places

from . import strength


@dataclass(slots=True)
class Echoes:
    """The detections of a ping, nearest first; all arrays have one row for each."""

    detections: np.ndarray
    """dtype DETECTION."""
    place: np.ndarray
    """Metres, shape (echoes, axes)."""
    noise: np.ndarray
    """Covariance of the place, m^2, shape (echoes, axes, axes)."""
    odds: np.ndarray
    """See `strength.odds`."""
    log_clutter: np.ndarray
    """Log of the density of noise around each, m^-axes."""

    @classmethod
    def of(cls, detections: np.ndarray, log_clutter: np.ndarray, axes: int) -> Echoes:
        """Return detections, which are in the order of range, in `axes` dimensions."""
        detections = np.ascontiguousarray(detections)
        place, noise = places(detections, axes)
        return cls(detections, place, noise, strength.odds(detections["exceedance"]), log_clutter)

    def __len__(self) -> int:
        return len(self.detections)

    def take(self, which: np.ndarray) -> Echoes:
        """Return some of them, given by indices."""
        return Echoes(
            self.detections[which], self.place[which], self.noise[which], self.odds[which], self.log_clutter[which]
        )


def polar(position_m: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return range, bearing and elevation of positions, shape (..., 2 or 3); the inverse of `to_xyz`."""
    x, y = position_m[..., 0], position_m[..., 1]
    z = position_m[..., 2] if position_m.shape[-1] == 3 else np.zeros_like(x)
    range_m = np.sqrt(x * x + y * y + z * z)
    near = np.maximum(range_m, 1e-9)
    behind = y < 0
    bearing = np.where(behind, np.arctan2(x, y), np.arcsin(np.clip(x / near, -1, 1)))
    return range_m, bearing, np.arcsin(np.clip(z / near, -1, 1))
