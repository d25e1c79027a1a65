"""Zones: parts of the view, between two ranges and two bearings, that are ignored or watched."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..settings import ZoneSettings


class Zone:
    """One part of the view. Its edges belong to it.

    In three dimensions bearing is the athwartship angle, and the zone goes round the athwartship axis: a distance is
    that in the plane of athwartship position and distance from this axis.
    """

    def __init__(self, name: str, settings: ZoneSettings) -> None:
        self.name = name
        self._range_m = settings.min_range_m, settings.max_range_m
        self._bearing_rad = math.radians(settings.min_bearing_deg), math.radians(settings.max_bearing_deg)
        self._edges = [(math.sin(bearing), math.cos(bearing)) for bearing in self._bearing_rad]

    def holds(self, range_m: Any, bearing_rad: Any) -> Any:
        """Return which points are in it: of numbers a bool, of arrays an array of them."""
        (near, far), (left, right) = self._range_m, self._bearing_rad
        return (range_m >= near) & (range_m <= far) & (bearing_rad >= left) & (bearing_rad <= right)

    def distance_m(self, places_m: np.ndarray) -> np.ndarray:
        """Return how far places are from it, 0 inside.

        Args:
          places_m: shape (places, 3): x, y, z in sonar coordinates.

        Returns: float64, shape (places,).
        """
        x, y = flat(places_m)
        range_m, bearing_rad = np.hypot(x, y), np.arctan2(x, y)
        (near, far), (left, right) = self._range_m, self._bearing_rad
        radial = np.abs(range_m - np.clip(range_m, near, far))
        # beside it the nearest point is on one of its two straight edges
        beside = np.full(len(x), np.inf)
        for edge_x, edge_y in self._edges:
            along = np.clip(x * edge_x + y * edge_y, near, far)
            beside = np.minimum(beside, np.hypot(x - along * edge_x, y - along * edge_y))
        return np.where((bearing_rad >= left) & (bearing_rad <= right), radial, beside)


class Zones:
    """All zones of a sonar that count, from its settings by name."""

    def __init__(self, settings: Mapping[str, ZoneSettings]) -> None:
        zones = [(zone.kind, Zone(name, zone)) for name, zone in settings.items() if zone.enabled]
        self.watched = tuple(zone for kind, zone in zones if kind == "watched")
        self._ignored = tuple(zone for kind, zone in zones if kind == "ignored")

    def ignores(self, range_m: np.ndarray, bearing_rad: np.ndarray) -> np.ndarray:
        """Return which points are in an ignored zone, shape (points,), bool."""
        ignored = np.zeros(len(range_m), bool)
        for zone in self._ignored:
            ignored |= zone.holds(range_m, bearing_rad)
        return ignored

    def without_ignored(self, detections: np.ndarray) -> np.ndarray:
        """Return the detections outside of the ignored zones."""
        if not self._ignored or not len(detections):
            return detections
        return detections[~self.ignores(detections["range_m"], detections["bearing_rad"])]

    def around(self, range_m: float, bearing_rad: float) -> tuple[str, ...]:
        """Return the names of the watched zones that a point is in."""
        return tuple(zone.name for zone in self.watched if zone.holds(range_m, bearing_rad))


def flat(places_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return places in the plane of range and bearing: x, and y with the elevation turned into it."""
    x, y, z = places_m.T
    return x, np.copysign(np.hypot(y, z), y)
