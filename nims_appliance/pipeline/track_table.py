"""TrackTable: all tracks of a sonar, confirmed or not, as arrays with one row each."""

from __future__ import annotations

import numpy as np

from . import strength

SCALARS = np.dtype(
    [
        ("id", "i8"),  # 0: not confirmed
        ("first_s", "f8"),
        ("last_hit_s", "f8"),
        ("age_s", "f8"),
        ("gap_s", "f8"),  # since it was last seen; 0: seen in this ping
        ("unseen_s", "f8"),  # the same, but time in places where it could not be seen counts less
        ("background", "f8"),  # sum over the hits of the intensity around them
        ("dimmed", "f8"),  # by how much the surroundings of the prediction outshine those where it was seen
        ("hits", "i4"),
        ("pings", "i4"),
        ("score", "f8"),  # log-likelihood ratio of an animal to noise
        ("best", "f8"),
        ("visible", "f8"),  # probability that it can be seen now
        ("body_m2", "f8"),  # variance of the echoes over its body
        ("body_chance", "f8"),
        ("company", "f8"),  # share of the last pings with echoes beside its own that are nobody's
        ("lost", "?"),  # confirmed once, and followed noise since: waits to be continued
        ("sure_s", "f8"),  # when it was last seen beyond doubt
        ("merged", "?"),
        ("area_m2", "f8"),  # sums over the hits
        ("power", "f8"),
        ("calibrated", "?"),
        ("length_m", "f8"),  # of the last hit
        ("width_m", "f8"),
        ("min_range_m", "f8"),
        ("max_range_m", "f8"),
        ("min_bearing_rad", "f8"),
        ("max_bearing_rad", "f8"),
        ("min_elevation_rad", "f8"),
        ("max_elevation_rad", "f8"),
        ("range_sd_m", "f8"),
        ("bearing_sd_rad", "f8"),
    ],
    align=True,
)
DIM, SHADOW_PATIENCE = 4.0, 4.0
"""Where the surroundings are so much brighter, waiting for an animal takes so many times longer."""
POLAR = ("range_m", "bearing_rad", "elevation_rad")
FIRST_BODY_M2, FIRST_BODY_CHANCE = 0.15**2, 0.1
"""What is assumed of a body before its echoes tell: their scatter beyond the sonar's, and how often it matters."""


class TrackTable:
    """Rows of tracks; `table["score"]` is the column of a scalar.

    Args:
      axes: 2 or 3 dimensions.
    """

    def __init__(self, axes: int) -> None:
        self.axes = axes
        self._scalars = np.zeros(0, SCALARS)
        self.state = np.zeros((0, 2 * axes))
        self.covariance = np.zeros((0, 2 * axes, 2 * axes))
        self.strengths = np.zeros((0, len(strength.SHARES)))
        """Probability of each strength of `strength.STRENGTHS_DB`."""
        self.first = np.zeros((0, axes))
        """Position of the first detection."""
        self.first_noise = np.zeros((0, axes, axes))
        self.last = np.zeros((0, 2 * axes))
        """State when it was last seen beyond doubt."""
        self.extent = np.zeros((0, axes, axes))
        """Covariance of the echoes over a body longer than the sonar resolves, m^2; 0: a point."""

    def __len__(self) -> int:
        return len(self._scalars)

    def __getitem__(self, name: str) -> np.ndarray:
        return self._scalars[name]

    def __setitem__(self, name: str, values: np.ndarray) -> None:
        self._scalars[name] = values

    def keep(self, rows: np.ndarray) -> None:
        """Keep the rows of a mask."""
        if rows.all():
            return
        for name in ("_scalars", "state", "covariance", "strengths", "first", "first_noise", "last", "extent"):
            setattr(self, name, getattr(self, name)[rows])

    def append(
        self,
        detections: np.ndarray,
        place: np.ndarray,
        noise: np.ndarray,
        odds: np.ndarray,
        score: np.ndarray,
        max_speed_m_s: float,
        time_s: float,
    ) -> None:
        """Add a track at each detection, at rest but for a velocity of up to the largest expected."""
        count, axes = len(detections), self.axes
        if not count:
            return
        scalars = np.zeros(count, SCALARS)
        scalars["first_s"] = scalars["last_hit_s"] = scalars["sure_s"] = time_s
        scalars["hits"] = scalars["pings"] = 1
        scalars["score"] = scalars["best"] = score
        scalars["visible"] = 0.95
        scalars["dimmed"] = 1.0
        scalars["body_m2"], scalars["body_chance"] = FIRST_BODY_M2, FIRST_BODY_CHANCE
        for name in POLAR[:axes]:
            scalars["min_" + name] = scalars["max_" + name] = detections[name]
        _measure(scalars, np.arange(count), detections)
        state = np.zeros((count, 2 * axes))
        state[:, :axes] = place
        covariance = np.zeros((count, 2 * axes, 2 * axes))
        covariance[:, :axes, :axes] = noise
        covariance[:, range(axes, 2 * axes), range(axes, 2 * axes)] = (0.4 * max_speed_m_s) ** 2
        weights = odds * strength.SHARES
        weights /= np.maximum(weights.sum(1, keepdims=True), 1e-300)
        self._scalars = np.concatenate([self._scalars, scalars])
        self.state = np.concatenate([self.state, state])
        self.covariance = np.concatenate([self.covariance, covariance])
        self.strengths = np.concatenate([self.strengths, weights])
        self.first = np.concatenate([self.first, place])
        self.first_noise = np.concatenate([self.first_noise, noise])
        self.last = np.concatenate([self.last, state])
        self.extent = np.concatenate([self.extent, np.zeros((count, axes, axes))])

    def advance(self, dt_s: float) -> None:
        """One ping has passed."""
        self["age_s"] += dt_s
        self["gap_s"] += dt_s
        self["unseen_s"] += dt_s / np.where(self["dimmed"] > DIM, SHADOW_PATIENCE, 1.0)
        self["pings"] += 1

    def hit(self, rows: np.ndarray, detections: np.ndarray, odds: np.ndarray, place: np.ndarray, time_s: float) -> None:
        """The tracks of `rows` were seen as `detections`; `place` is the log-likelihood ratio of the position."""
        weights = self.strengths[rows] * odds
        total = np.maximum(weights.sum(1), 1e-300)
        self.strengths[rows] = weights / total[:, None]
        table = self._scalars
        table["score"][rows] += np.log(total) + place
        table["visible"][rows] = 1.0
        table["gap_s"][rows] = 0.0
        table["unseen_s"][rows] = 0.0
        table["last_hit_s"][rows] = time_s
        table["hits"][rows] += 1
        for name in POLAR[: self.axes]:
            value = detections[name]
            table["min_" + name][rows] = np.minimum(table["min_" + name][rows], value)
            table["max_" + name][rows] = np.maximum(table["max_" + name][rows], value)
        _measure(table, rows, detections)

    def miss(self, rows: np.ndarray, missed: np.ndarray) -> None:
        """The tracks of `rows` were not seen; `missed` is the probability of that, shape (tracks, strengths)."""
        weights = self.strengths[rows] * missed[rows]
        total = np.maximum(weights.sum(1), 1e-9)
        self.strengths[rows] = weights / total[:, None]
        visible = self["visible"][rows]
        # visible and yet missed, over all ways to be missed
        self["visible"][rows] = np.clip((total - (1 - visible)) / total, 0.0, 1.0)
        self["score"][rows] += np.log(total)

    def learn_body(self, rows: np.ndarray, body: np.ndarray, turn: np.ndarray, innovation_m2: np.ndarray) -> None:
        """Learn how far the echoes of the tracks of `rows` scatter over their bodies.

        Args:
          body, turn: whether that explained the last echo.
          innovation_m2: squared distance of the echo from the prediction, per axis.
        """
        # a single leap is a turn, many are a body; so all leaps count for the body's chance
        leap = body | turn
        chance = self["body_chance"][rows]
        self["body_chance"][rows] = np.clip(chance + 0.1 * (leap - chance), 0.005, 0.9)
        variance = self["body_m2"][rows[leap]]
        self["body_m2"][rows[leap]] = np.clip(variance + 0.1 * (innovation_m2[leap] - variance), 0.05**2, 0.5**2)

    def take_over(self, new: int, old: int) -> None:
        """The track `new` is the continuation of the lost track `old`, which is to be removed."""
        table = self._scalars
        for name in ("id", "first_s", "min_range_m", "min_bearing_rad", "min_elevation_rad"):
            table[name][new] = (
                table[name][old] if name in ("id", "first_s") else min(table[name][new], table[name][old])
            )
        for name in ("max_range_m", "max_bearing_rad", "max_elevation_rad"):
            table[name][new] = max(table[name][new], table[name][old])
        for name in ("hits", "area_m2", "power", "background"):
            table[name][new] += table[name][old]
        table["pings"][new] = table["pings"][old]
        table["age_s"][new] = table["age_s"][old]
        table["merged"][old] = True
        self.first[new] = self.first[old]


def _measure(scalars: np.ndarray, rows: np.ndarray, detections: np.ndarray) -> None:
    calibrated = np.isfinite(detections["ts_db"])
    scalars["calibrated"][rows] = calibrated
    scalars["power"][rows] += np.where(calibrated, 10 ** (detections["ts_db"] / 10), detections["peak"])
    scalars["area_m2"][rows] += detections["area_m2"]
    scalars["background"][rows] += detections["peak"] / 10 ** (detections["snr_db"] / 10)
    for name in ("length_m", "width_m", "range_sd_m", "bearing_sd_rad"):
        scalars[name][rows] = detections[name]
