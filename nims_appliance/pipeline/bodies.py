"""Bodies: one track for each animal, also where it is longer than the sonar resolves and echoes in several places.

A confirmed track with echoes beside its own again and again is of a long animal. So are two of which the second was
confirmed beside the first and which have moved alike since: the older takes the younger over. From then on all echoes
within that body are joined to their centroid before they are given to tracks. Closeness alone joins nothing:
what has been farther away once must keep its place for longer, and animals that cross move apart.

J. W. Koch, "Bayesian approach to extended object and cluster tracking using random matrices", IEEE Trans. Aerosp.
Electron. Syst. 44 (2008) 1042-1059: the scatter as a matrix learnt beside the state. Here it is a running mean.
"""

from __future__ import annotations

import math

import numpy as np
from nims_ext.bodies import NOBODYS, covered, owners, unite

from .measurement import Echoes
from .track_table import TrackTable

BODY_GATE = 9.0
"""Squared Mahalanobis distance of an echo from the middle; the ends of an evenly echoing body are at 3."""
ALIKE = 6.0
"""Squared Mahalanobis distance of two velocities below which they may be the same (95 % in two dimensions)."""
TELLING_M_S = 0.2
"""Standard deviation below which a difference of two velocities says anything."""
BESIDE_S = 1.5
"""Tracks that have moved side by side for so long are of one body ..."""
DRIFT_M_S = 0.3
"""... unless one has drawn away from the other faster than this."""
LONG_BESIDE_S, LONG_DRIFT_M_S = 5.0, 0.1
"""The same for tracks that have been farther apart before."""
COMPANY_S, OFTEN = 1.0, 0.5
"""A track is long when in this share of the pings, averaged over the time, there were echoes beside its own."""
LEARNING_S = 2.0
"""Time over which the scatter is learnt; an animal turns no faster."""
THINNEST_M = 0.05
"""Least standard deviation of the echoes of a body."""
EVEN = 1 / math.sqrt(12)
"""Standard deviation of an even spread over a length of 1."""


class Bodies:
    """Which tracks and echoes are of one animal.

    Args:
      max_body_m: the longest animal; 0: every animal is a point.
    """

    def __init__(self, max_body_m: float) -> None:
        self._max_m = max_body_m
        self._beside: dict[tuple[int, int], tuple[float, np.ndarray, float]] = {}
        """Ids of tracks side by side: since when, how the younger lay from the older then, and how fast one draws away
        from the other at most if both are of one body."""
        self._scatter: dict[int, np.ndarray] = {}
        """Id: scatter of the echoes of this ping about their centroid, m^2."""

    def gather(self, table: TrackTable, echoes: Echoes, dt_s: float) -> Echoes:
        """Make one of the echoes of each body, in place; return those that are left, by range.

        Its place is the centroid weighted by amplitude; its covariance says how far the middle can be from that.
        """
        self._scatter = {}
        rows = table.shown()
        if not self._max_m or table.axes != 2 or not len(rows) or not len(echoes):
            return echoes
        owner, density = owners(
            echoes.place,
            echoes.noise,
            rows,
            table.state,
            table.covariance,
            table.extent,
            reach_m=self._max_m,
            gate=BODY_GATE,
        )
        is_long = table.extent[rows, 0, 0] > 0
        self._notice(table, rows[~is_long], echoes.take(np.flatnonzero(owner == NOBODYS)), dt_s)
        if not is_long.any():
            return echoes
        owned = np.flatnonzero(owner >= 0)
        likely = density[owned] - echoes.log_clutter[owned] + _log_odds(echoes.odds[owned], table, owner[owned])
        owned = owned[likely > 0]
        left = np.ones(len(echoes), bool)
        for row in sorted(set(rows[is_long].tolist()).intersection(owner[owned].tolist())):
            left[self._join(table, row, owned[owner[owned] == row], echoes)] = False
        if left.all():
            return echoes
        every = np.flatnonzero(left)
        return echoes.take(every[np.argsort(echoes.detections["range_m"][every], kind="stable")])

    def _notice(self, table: TrackTable, rows: np.ndarray, strays: Echoes, dt_s: float) -> None:
        """Notice the tracks of `rows` beside which there are echoes of nobody again and again: they are long."""
        variance = (self._max_m / 6) ** 2
        apart = strays.place - table.state[rows, None, :2]
        distance2 = (apart**2).sum(2)
        near, stray = np.nonzero(distance2 < BODY_GATE * variance)
        likely = -0.5 * distance2[near, stray] / variance - math.log(2 * math.pi * variance) - strays.log_clutter[stray]
        likely += _log_odds(strays.odds[stray], table, rows[near])
        beside = np.zeros(distance2.shape, bool)
        beside[near, stray] = likely > 0
        company = table["company"]
        company[rows] += -math.expm1(-dt_s / COMPANY_S) * (beside.any(1) - company[rows])
        for i in np.flatnonzero((company[rows] > OFTEN) & beside.any(1)).tolist():
            row, away = rows[i], apart[i, beside[i]]
            between = away.T @ away / len(away) / 4
            table.extent[row] = self._limited(between)
            table.covariance[row, :2, :2] += between

    def _join(self, table: TrackTable, row: int, members: np.ndarray, echoes: Echoes) -> np.ndarray:
        """Make one echo of those of `members`, the strongest of them; return the others."""
        scatter = np.zeros((2, 2))
        best = unite(echoes.detections, echoes.place, echoes.noise, members, table.extent[row], scatter)
        if len(members) > 1:  # one echo alone says nothing about a length
            self._scatter[int(table["id"][row])] = scatter
        return members[members != best]

    def learn(self, table: TrackTable, dt_s: float) -> None:
        """Learn the extent of the tracks that were seen in this ping."""
        share = -math.expm1(-dt_s / LEARNING_S)
        for row in table.confirmed().tolist():
            scatter = self._scatter.get(int(table["id"][row])) if table["joined"][row] else None
            if scatter is not None:
                table.extent[row] = self._limited(table.extent[row] + share * (scatter - table.extent[row]))

    def _limited(self, extent: np.ndarray) -> np.ndarray:
        """Return the covariance with its variances along both axes kept between the least and the most."""
        (a, b), (_, c) = extent.tolist()
        middle, half = (a + c) / 2, math.hypot((a - c) / 2, b)  # the variances are middle + half and middle - half
        least, most = THINNEST_M**2, (EVEN * self._max_m) ** 2
        high, low = (min(max(variance, least), most) for variance in (middle + half, middle - half))
        turned = (extent - middle * np.eye(2)) / half if half > 0 else np.zeros((2, 2))
        return (high + low) / 2 * np.eye(2) + (high - low) / 2 * turned

    def covers(self, table: TrackTable, place: np.ndarray) -> np.ndarray:
        """Return which places lie on the body of a confirmed track, shape (places,), bool."""
        rows = table.shown()
        if not len(rows) or not len(place):
            return np.zeros(len(place), bool)
        return covered(place, table.rows, rows, table.state, table.extent, thinnest_m=THINNEST_M, gate=BODY_GATE)

    def confirm(self, table: TrackTable, new: int) -> bool:
        """Return whether a track about to be confirmed is an animal of its own, as far as can be told yet.

        Where it is of the body of a confirmed one, that takes it over.
        """
        if not self._max_m or table.axes != 2:
            return True
        for old in self._alive(table):
            if self._within(table, old, new):
                distance, sd_m_s = _velocities(table, old, new)
                if distance < ALIKE:
                    if sd_m_s < TELLING_M_S:
                        self._absorb(table, old, new)
                    return False
        return True

    def confirmed(self, table: TrackTable, new: int, time_s: float) -> None:
        """Remember beside which others a track was when it was confirmed."""
        if not self._max_m or table.axes != 2:
            return
        for old in self._alive(table):
            if old != new and self._within(table, old, new):
                key = int(table["id"][old]), int(table["id"][new])
                self._beside[key] = time_s, table.state[new, :2] - table.state[old, :2], DRIFT_M_S

    def _meet(self, table: TrackTable, rows: list[int], time_s: float) -> None:
        """Remember which tracks have come beside an older one."""
        if not self._max_m or table.axes != 2 or len(rows) < 2:
            return
        rows = sorted(rows, key=lambda row: int(table["id"][row]))
        place = table.state[rows, :2]
        apart = place[None] - place[:, None]
        for a, b in np.argwhere(np.triu((apart**2).sum(2) < self._max_m**2, 1)).tolist():
            key = int(table["id"][rows[a]]), int(table["id"][rows[b]])
            self._beside.setdefault(key, (time_s, apart[a, b], LONG_DRIFT_M_S))

    def unite(self, table: TrackTable, time_s: float) -> list[tuple[int, bool]]:
        """Let confirmed tracks take over younger ones that have moved beside them for long enough.

        What has been farther away once is another animal until it has kept its place beside the other for longer.

        Returns: the id of each track taken over, and whether it had been farther away.
        """
        united: list[tuple[int, bool]] = []
        row = {int(table["id"][i]): i for i in self._alive(table)}
        self._meet(table, list(row.values()), time_s)
        for key, (since_s, first, drift_m_s) in list(self._beside.items()):
            old, young = row.get(key[0], -1), row.get(key[1], -1)
            if min(old, young) < 0 or table["merged"][old] or table["merged"][young]:
                del self._beside[key]
                continue
            apart = table.state[young, :2] - table.state[old, :2]
            if np.hypot(*apart) > self._max_m:
                del self._beside[key]
                continue
            for_s = time_s - since_s
            least_s = BESIDE_S if drift_m_s == DRIFT_M_S else LONG_BESIDE_S
            steady = for_s > least_s and np.hypot(*(apart - first)) < drift_m_s * for_s
            if steady and _velocities(table, old, young)[0] < ALIKE:
                united.append((key[1], drift_m_s < DRIFT_M_S))
                self._absorb(table, old, young)
        return united

    def _alive(self, table: TrackTable) -> list[int]:
        rows = table.shown()
        return rows[~table["merged"][rows]].tolist()

    def _within(self, table: TrackTable, old: int, new: int) -> bool:
        return float(np.hypot(*(table.state[new, :2] - table.state[old, :2]))) < self._max_m

    def _absorb(self, table: TrackTable, old: int, new: int) -> None:
        """The track `new` is of the body of `old`; it is to be removed."""
        apart = table.state[new, :2] - table.state[old, :2]
        between = np.outer(apart, apart) / 4  # of two equal masses about their middle
        table.extent[old] = self._limited((table.extent[old] + table.extent[new]) / 2 + between)
        table.covariance[old, :2, :2] += between
        table["merged"][new] = True


def _log_odds(odds: np.ndarray, table: TrackTable, rows: np.ndarray) -> np.ndarray:
    """Return how much likelier the strengths of echoes are for the track of the same place in `rows` than for noise."""
    return np.log(np.maximum((odds * table.strengths[rows]).sum(1), 1e-300))


def _velocities(table: TrackTable, a: int, b: int) -> tuple[float, float]:
    """Return the squared Mahalanobis distance of two velocities, and the standard deviation of their difference."""
    axes = table.axes
    apart = table.state[a, axes:] - table.state[b, axes:]
    covariance = table.covariance[a, axes:, axes:] + table.covariance[b, axes:, axes:]
    return float(apart @ np.linalg.solve(covariance, apart)), math.sqrt(np.trace(covariance) / axes)
