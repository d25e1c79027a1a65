"""Describe: a live track as its state, an ended one as its summary."""

from __future__ import annotations

import math

import numpy as np

from ..frame import Frame
from ..settings import TrackerSettings
from .results import TrackState, TrackSummary
from .track_table import TrackTable


class History:
    """What a confirmed track leaves at every ping."""

    def __init__(self, axes: int) -> None:
        self.axes = axes
        self.times_s: list[float] = []
        self.states: list[np.ndarray] = []
        self.covariances: list[np.ndarray] = []
        self.seen: list[bool] = []
        self.sizes_m: list[tuple[float, float]] = []
        self.row: np.void | None = None
        self.channel = ""

    def add(self, table: TrackTable, index: int, time_s: float) -> None:
        """Add the track of row `index` as it is after a ping."""
        self.row = table._scalars[index].copy()
        if self.times_s and time_s <= self.times_s[-1]:
            return
        self.times_s.append(time_s)
        self.states.append(table.state[index].copy())
        self.covariances.append(table.covariance[index].copy())
        self.seen.append(bool(table["gap_s"][index] == 0))
        self.sizes_m.append((float(table["length_m"][index]), float(table["width_m"][index])))


def state_of(table: TrackTable, index: int, frame: Frame, history: History) -> TrackState:
    """Return the confirmed track of row `index` at this ping."""
    axes = table.axes
    history.channel = frame.channel
    row = table._scalars[index]
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
        id=int(row["id"]),
        state="confirmed" if row["gap_s"] == 0 else "coasting",
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
        first_time_s=float(row["first_s"]),
        hits=int(row["hits"]),
        min_range_m=float(row["min_range_m"]),
        max_range_m=float(row["max_range_m"]),
        min_bearing_rad=float(row["min_bearing_rad"]),
        max_bearing_rad=float(row["max_bearing_rad"]),
        min_elevation_rad=float(row["min_elevation_rad"]),
        max_elevation_rad=float(row["max_elevation_rad"]),
        length_m=float(row["length_m"]),
        width_m=float(row["width_m"]),
        height_m=math.nan,
        mean_area_m2=float(row["area_m2"]) / max(int(row["hits"]), 1),
        strength_db=10 * math.log10(max(float(row["power"]) / max(int(row["hits"]), 1), 1e-30)),
        calibrated=bool(row["calibrated"]),
        speed_m_s=math.hypot(*velocity),
        channel=frame.channel,
    )


def summary_of(history: History, settings: TrackerSettings) -> TrackSummary:
    """Return the description of a track that has ended, up to where it was last seen."""
    row, axes = history.row, history.axes
    assert row is not None
    last = max((i for i, seen in enumerate(history.seen) if seen), default=0) + 1
    times = np.array(history.times_s[:last])
    states = smooth(times, history.states[:last], history.covariances[:last], settings.process_noise_m2_s3)
    path = np.zeros((last, 3))
    path[:, :axes] = states[:, :axes]
    speeds = np.sqrt((states[:, axes:] ** 2).sum(1))
    path_m = float(np.sqrt((np.diff(path, axis=0) ** 2).sum(1)).sum())
    net = path[-1] - path[0]
    net_m = float(np.sqrt(net @ net))
    duration_s = float(times[-1] - times[0])
    sizes = np.array(history.sizes_m[:last])
    hits = int(row["hits"])
    return TrackSummary(
        id=int(row["id"]),
        first_time_s=float(row["first_s"]),
        last_time_s=float(row["last_hit_s"]),
        hits=hits,
        pings=int(row["pings"]),
        mean_speed_m_s=path_m / duration_s if duration_s > 0 else float(speeds.mean()),
        peak_speed_m_s=float(speeds.max()),
        path_m=path_m,
        net_m=net_m,
        straightness=min(net_m / path_m, 1.0) if path_m > 0 else 0.0,
        heading_rad=math.atan2(net[0], net[1]),
        min_range_m=float(row["min_range_m"]),
        max_range_m=float(row["max_range_m"]),
        min_bearing_rad=float(row["min_bearing_rad"]),
        max_bearing_rad=float(row["max_bearing_rad"]),
        min_elevation_rad=float(row["min_elevation_rad"]),
        max_elevation_rad=float(row["max_elevation_rad"]),
        mean_length_m=float(sizes[:, 0].mean()),
        mean_width_m=float(sizes[:, 1].mean()),
        mean_area_m2=float(row["area_m2"]) / max(hits, 1),
        strength_db=10 * math.log10(max(float(row["power"]) / max(hits, 1), 1e-30)),
        calibrated=bool(row["calibrated"]),
        quality=sum(history.seen[:last]) / last,
        channel=history.channel,
        positions=tuple((float(t), *map(float, place)) for t, place in zip(times, path, strict=True)),
    )


def smooth(times_s: np.ndarray, states: list[np.ndarray], covariances: list[np.ndarray], noise: float) -> np.ndarray:
    """Return the states given all pings, not only those before: the Rauch-Tung-Striebel smoother.

    H. Rauch, F. Tung, C. Striebel, "Maximum likelihood estimates of linear dynamic systems", AIAA J. 3 (1965) 1445-1450.

    Args:
      times_s: shape (pings,), increasing.
      states, covariances: filtered, one per ping.
      noise: process noise of the filter, m^2/s^3.

    Returns: float64, shape (pings, 2 axes).
    """
    out = np.array(states)
    axes = out.shape[1] // 2
    unit = np.eye(axes)
    for i in range(len(out) - 2, -1, -1):
        dt = times_s[i + 1] - times_s[i]
        move = np.block([[unit, dt * unit], [0 * unit, unit]])
        added = noise * np.block([[dt**3 / 3 * unit, dt**2 / 2 * unit], [dt**2 / 2 * unit, dt * unit]])
        predicted = move @ covariances[i] @ move.T + added
        gain = np.linalg.solve(predicted, move @ covariances[i]).T
        out[i] = states[i] + gain @ (out[i + 1] - move @ states[i])
    return out
