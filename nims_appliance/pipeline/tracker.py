"""Tracker: joins detections over pings to tracks of animals."""

from __future__ import annotations

import itertools
import math
import secrets
import time
from dataclasses import dataclass, field

import numpy as np

from ..frame import Frame
from ..settings import SonarSettings
from .association import assign
from .chain import Tracker
from .results import DETECTION, TrackState, TrackSummary, to_xyz

GATE = 16.0
"""Squared Mahalanobis distance beyond which a detection cannot belong to a track (99.97 % in two dimensions)."""
DETECTED = 0.8
"""Probability that a present animal is detected in one ping."""


def _first_id() -> int:
    # Milliseconds since 1970 in the upper bits: a later start begins above every number that an earlier one can have
    # reached, and the number stays below 2^53, so that JSON readers that know only doubles keep it exact.
    return (time.time_ns() // 1_000_000 << 11) + secrets.randbelow(1 << 11)


_IDS = itertools.count(_first_id())
"""Numbers of tracks, shared by all sonars of the process; never reused."""


@dataclass(slots=True)
class _Track:
    state: np.ndarray
    covariance: np.ndarray
    score: float
    first_time_s: float
    last_hit_s: float
    last: np.void
    id: int = 0
    best: float = 0.0
    pings: int = 1
    seen: bool = True
    hits: list[np.void] = field(default_factory=list)
    path: list[tuple[float, float, float, float]] = field(default_factory=list)
    since_confirmed: int = 0


def measurement_covariance(range_m: float, bearing_rad: float, range_sd_m: float, bearing_sd_rad: float) -> np.ndarray:
    """Return the covariance (x, y) of a detection, m^2: the ellipse along range and arc, turned to its bearing."""
    sine, cosine = math.sin(bearing_rad), math.cos(bearing_rad)
    along, across = range_sd_m**2, (range_m * bearing_sd_rad) ** 2
    return np.array(
        [
            [along * sine**2 + across * cosine**2, (along - across) * sine * cosine],
            [(along - across) * sine * cosine, along * cosine**2 + across * sine**2],
        ]
    )


class PlaneTracker:
    """Tracks in two dimensions: a Kalman filter for each, optimal association, life and death by a score."""

    def __init__(self, settings: SonarSettings) -> None:
        self._settings = settings.tracker
        self._tracks: list[_Track] = []
        self._time_s = math.nan
        self._density = 0.01
        self._confirm = math.nan

    def update(self, frame: Frame, detections: np.ndarray) -> tuple[list[TrackState], list[TrackSummary]]:
        """Return the tracks confirmed at this ping, and those that have ended with it."""
        dt = frame.time_s - self._time_s
        ended: list[TrackSummary] = []
        if not dt >= 0 or dt > 10 * self._settings.max_gap_s:
            ended = self.finish()
            dt = 0.0
        self._time_s = frame.time_s
        area = _area_m2(frame)
        self._density += 0.05 * (len(detections) / area - self._density)
        density = max(self._density, 0.05 / area)
        interval_s = max(dt, 1e-3)
        self._confirm = math.log(3600 / interval_s * density * area / self._settings.false_tracks_per_hour) + 2
        self._predict(dt)
        used = self._associate(detections, density)
        ended += self._end(frame.time_s)
        for index in np.flatnonzero(~used):
            self._start(detections[index], frame.time_s)
        return self._confirmed(frame), ended

    def finish(self) -> list[TrackSummary]:
        """End all tracks and return the confirmed ones."""
        tracks, self._tracks = self._tracks, []
        return [_summary(track) for track in tracks if track.id]

    def _predict(self, dt: float) -> None:
        q = self._settings.process_noise_m2_s3
        step = np.eye(4)
        step[0, 2] = step[1, 3] = dt
        noise = np.zeros((4, 4))
        noise[[0, 1], [0, 1]] = q * dt**3 / 3
        noise[[2, 3], [2, 3]] = q * dt
        noise[[0, 1, 2, 3], [2, 3, 0, 1]] = q * dt**2 / 2
        for track in self._tracks:
            track.state = step @ track.state
            track.covariance = step @ track.covariance @ step.T + noise

    def _associate(self, detections: np.ndarray, density: float) -> np.ndarray:
        used = np.zeros(len(detections), dtype=bool)
        cost = np.full((len(self._tracks), len(detections)), np.inf)
        where = [to_xyz(d["range_m"], d["bearing_rad"])[:2] for d in detections]
        noise = [
            measurement_covariance(d["range_m"], d["bearing_rad"], d["range_sd_m"], d["bearing_sd_rad"])
            for d in detections
        ]
        for i, track in enumerate(self._tracks):
            for j in range(len(detections)):
                innovation = np.subtract(where[j], track.state[:2])
                spread = track.covariance[:2, :2] + noise[j]
                distance = innovation @ np.linalg.solve(spread, innovation)
                if distance < GATE:
                    volume = 2 * math.pi * math.sqrt(np.linalg.det(spread))
                    cost[i, j] = 0.5 * distance - math.log(DETECTED / (1 - DETECTED) / (density * volume))
        given = assign(cost)
        for i, track in enumerate(self._tracks):
            track.pings += 1
            track.score += math.log(1 - DETECTED)
            j = given[i]
            track.seen = j >= 0
            if j >= 0:
                used[j] = True
                track.score -= cost[i, j]
                track.last_hit_s = self._time_s
                track.last = detections[j]
                track.hits.append(detections[j])
                self._correct(track, np.array(where[j]), noise[j])
            track.best = max(track.best, track.score)
            track.path.append((self._time_s, float(track.state[0]), float(track.state[1]), 0.0))
        return used

    @staticmethod
    def _correct(track: _Track, where: np.ndarray, noise: np.ndarray) -> None:
        spread = track.covariance[:2, :2] + noise
        gain = np.linalg.solve(spread, track.covariance[:2]).T
        track.state = track.state + gain @ (where - track.state[:2])
        keep = np.eye(4)
        keep[:, :2] -= gain
        track.covariance = keep @ track.covariance @ keep.T + gain @ noise @ gain.T

    def _start(self, detection: np.void, time_s: float) -> None:
        x, y, _ = to_xyz(detection["range_m"], detection["bearing_rad"])
        covariance = np.zeros((4, 4))
        covariance[:2, :2] = measurement_covariance(
            detection["range_m"], detection["bearing_rad"], detection["range_sd_m"], detection["bearing_sd_rad"]
        )
        covariance[2, 2] = covariance[3, 3] = (self._settings.max_speed_m_s / 2) ** 2
        track = _Track(np.array([x, y, 0.0, 0.0]), covariance, 0.0, time_s, time_s, detection)
        track.hits.append(detection)
        track.path.append((time_s, x, y, 0.0))
        self._tracks.append(track)

    def _end(self, time_s: float) -> list[TrackSummary]:
        ended, kept = [], []
        for track in self._tracks:
            if not track.id and track.score > self._confirm:
                track.id = next(_IDS)
            lost = time_s - track.last_hit_s > self._settings.max_gap_s if track.id else track.score < -3
            if not lost:
                kept.append(track)
            elif track.id:
                ended.append(_summary(track))
        self._tracks = kept
        return ended

    def _confirmed(self, frame: Frame) -> list[TrackState]:
        return [_state(track, frame) for track in self._tracks if track.id]


def _area_m2(frame: Frame) -> float:
    bearings = frame.bearing_rad
    return 0.5 * float(frame.range_m[-1] ** 2 - frame.range_m[0] ** 2) * max(float(bearings[-1] - bearings[0]), 1e-3)


def _state(track: _Track, frame: Frame) -> TrackState:
    x, y, vx, vy = (float(v) for v in track.state)
    range_m = math.hypot(x, y)
    hits = np.array(track.hits, DETECTION)
    near = max(range_m, 1e-6)
    return TrackState(
        id=track.id,
        state="confirmed" if track.seen else "coasting",
        position_m=(x, y, 0.0),
        velocity_m_s=(vx, vy, 0.0),
        covariance=tuple(tuple(float(v) for v in row) for row in track.covariance[:2, :2]),
        range_m=range_m,
        bearing_rad=math.atan2(x, y),
        elevation_rad=0.0,
        range_rate_m_s=(x * vx + y * vy) / near,
        bearing_rate_rad_s=(y * vx - x * vy) / near**2,
        elevation_rate_rad_s=0.0,
        first_time_s=track.first_time_s,
        hits=len(hits),
        min_range_m=float(hits["range_m"].min()),
        max_range_m=float(hits["range_m"].max()),
        min_bearing_rad=float(hits["bearing_rad"].min()),
        max_bearing_rad=float(hits["bearing_rad"].max()),
        min_elevation_rad=0.0,
        max_elevation_rad=0.0,
        length_m=float(track.last["length_m"]),
        width_m=float(track.last["width_m"]),
        height_m=math.nan,
        mean_area_m2=float(hits["area_m2"].mean()),
        strength_db=10 * math.log10(max(float(hits["peak"].mean()), 1e-30)),
        calibrated=False,
        speed_m_s=math.hypot(vx, vy),
        channel=frame.channel,
    )


def _summary(track: _Track) -> TrackSummary:
    hits = np.array(track.hits, DETECTION)
    path = np.array(track.path)
    moves = np.diff(path, axis=0)
    lengths = np.hypot(moves[:, 1], moves[:, 2])
    speeds = lengths / np.maximum(moves[:, 0], 1e-6)
    net = path[-1, 1:3] - path[0, 1:3]
    path_m, net_m = float(lengths.sum()), float(np.hypot(*net))
    duration_s = max(float(path[-1, 0] - path[0, 0]), 1e-6)
    return TrackSummary(
        id=track.id,
        first_time_s=track.first_time_s,
        last_time_s=track.last_hit_s,
        hits=len(hits),
        pings=track.pings,
        mean_speed_m_s=path_m / duration_s,
        peak_speed_m_s=float(speeds.max(initial=0.0)),
        path_m=path_m,
        net_m=net_m,
        straightness=net_m / path_m if path_m > 0 else 0.0,
        heading_rad=math.atan2(net[0], net[1]),
        min_range_m=float(hits["range_m"].min()),
        max_range_m=float(hits["range_m"].max()),
        min_bearing_rad=float(hits["bearing_rad"].min()),
        max_bearing_rad=float(hits["bearing_rad"].max()),
        min_elevation_rad=0.0,
        max_elevation_rad=0.0,
        mean_length_m=float(hits["length_m"].mean()),
        mean_width_m=float(hits["width_m"].mean()),
        mean_area_m2=float(hits["area_m2"].mean()),
        strength_db=10 * math.log10(max(float(hits["peak"].mean()), 1e-30)),
        calibrated=False,
        quality=len(hits) / max(track.pings, 1),
        positions=tuple(track.path),
    )


def make_tracker(settings: SonarSettings) -> Tracker:
    """Return the tracker that the settings describe."""
    return PlaneTracker(settings)
