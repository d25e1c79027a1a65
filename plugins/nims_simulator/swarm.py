"""Where the simulated animals are: they swim, turn at the edges of the view, or pass through it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Animal:
    """One animal at the time of a ping: the truth that detections and tracks can be held against."""

    id: int
    range_m: float
    bearing_rad: float
    """Across; athwartships for a split beam."""
    elevation_rad: float
    """Alongships for a split beam; 0 for an imaging sonar."""
    length_m: float
    strength_db: float
    """Imaging sonar: peak over the mean speckle power around it; split beam: target strength, dB re 1 m2."""
    velocity_m_s: tuple[float, float, float]
    """Along x (to positive bearing), y (away), z (to positive elevation)."""
    tail_gain: float
    """Factor on the amplitude from the beat of the tail, about 1."""


@dataclass(frozen=True, slots=True)
class Waters:
    """The part of space that animals swim in: a fan around the acoustic axis."""

    near_m: float
    far_m: float
    half_width_rad: float
    half_height_rad: float = 0.0


class Swarm:
    """Animals of different sizes that swim at constant velocity with a little acceleration noise.

    Residents turn back at the edges. Passers come in at one side, leave at the other, and are then followed by new ones
    with new ids.
    """

    TURN_MARGIN = 0.92
    """Residents turn at this part of the half width, so that whole animals stay in view."""

    def __init__(
        self,
        rng: np.random.Generator,
        waters: Waters,
        *,
        residents: int,
        passers: int,
        strength_db: tuple[float, float],
        length_m: tuple[float, float] = (0.15, 1.0),
        speed_m_s: tuple[float, float] = (0.3, 1.5),
        acceleration_m_s15: float = 0.05,
    ) -> None:
        """Args:
        strength_db, length_m, speed_m_s: least and most; drawn uniformly for each animal.
        acceleration_m_s15: noise on the velocity, m/s per root second.
        """
        self._rng = rng
        self._waters = waters
        self._strength_db, self._length_m, self._speed_m_s = strength_db, length_m, speed_m_s
        self._acceleration = acceleration_m_s15
        self._next_id = 1
        self._time_s = 0.0
        self._swimmers = [self._resident() for _ in range(residents)]
        # The first passers are on their way already, or the first minute would be empty.
        self._swimmers += [self._passer(distance_m=-rng.uniform(0.0, waters.far_m)) for _ in range(passers)]

    def move(self, dt_s: float) -> None:
        """Let `dt_s` seconds pass."""
        self._time_s += dt_s
        kick = self._acceleration * math.sqrt(dt_s)
        for i, swimmer in enumerate(self._swimmers):
            swimmer.velocity += self._rng.normal(0.0, kick, 3) * self._freedom
            if swimmer.passing:
                swimmer.position += swimmer.velocity * dt_s
                if self._has_left(swimmer):
                    self._swimmers[i] = self._passer(distance_m=self._rng.uniform(0.5, 5.0))
            else:
                self._turn(swimmer, swimmer.position + swimmer.velocity * dt_s)
                if not self._inside(swimmer.position + swimmer.velocity * dt_s):
                    self._head_for_the_middle(swimmer)
                swimmer.position += swimmer.velocity * dt_s

    def animals(self) -> tuple[Animal, ...]:
        """Return those that are within the waters now."""
        found = []
        for swimmer in self._swimmers:
            range_m, bearing_rad, elevation_rad = _polar(swimmer.position)
            if self._inside(swimmer.position):
                beat = math.sin(2 * math.pi * swimmer.tail_hz * self._time_s + swimmer.tail_phase_rad)
                found.append(
                    Animal(
                        id=swimmer.id,
                        range_m=range_m,
                        bearing_rad=bearing_rad,
                        elevation_rad=elevation_rad,
                        length_m=swimmer.length_m,
                        strength_db=swimmer.strength_db,
                        velocity_m_s=(swimmer.velocity[0], swimmer.velocity[1], swimmer.velocity[2]),
                        tail_gain=1.0 + 0.25 * beat,
                    )
                )
        return tuple(found)

    @property
    def _freedom(self) -> np.ndarray:
        """Axes along which animals move: an imaging sonar's waters are flat."""
        return np.array([1.0, 1.0, 1.0 if self._waters.half_height_rad > 0 else 0.0])

    def _resident(self) -> _Swimmer:
        waters = self._waters
        range_m = self._rng.uniform(waters.near_m + 0.15 * (waters.far_m - waters.near_m), 0.9 * waters.far_m)
        bearing_rad = self._rng.uniform(-0.8, 0.8) * waters.half_width_rad
        elevation_rad = self._rng.uniform(-0.8, 0.8) * waters.half_height_rad
        direction = self._rng.normal(0.0, 1.0, 3) * self._freedom
        return self._swimmer(_cartesian(range_m, bearing_rad, elevation_rad), direction, passing=False)

    def _passer(self, distance_m: float) -> _Swimmer:
        """Return an animal that will enter at a side, `distance_m` metres outside of it."""
        waters = self._waters
        side = -1.0 if self._rng.random() < 0.5 else 1.0
        range_m = self._rng.uniform(waters.near_m + 0.2 * (waters.far_m - waters.near_m), 0.85 * waters.far_m)
        edge = _cartesian(
            range_m, side * waters.half_width_rad, 0.5 * waters.half_height_rad * self._rng.uniform(-1, 1)
        )
        heading_rad = self._rng.normal(0.0, 0.3)
        direction = np.array([-side * math.cos(heading_rad), math.sin(heading_rad), 0.0])
        return self._swimmer(edge - direction * distance_m, direction, passing=True)

    def _swimmer(self, position: np.ndarray, direction: np.ndarray, *, passing: bool) -> _Swimmer:
        rng = self._rng
        swimmer = _Swimmer(
            id=self._next_id,
            position=position,
            velocity=direction / max(float(np.linalg.norm(direction)), 1e-9) * rng.uniform(*self._speed_m_s),
            passing=passing,
            length_m=rng.uniform(*self._length_m),
            strength_db=rng.uniform(*self._strength_db),
            tail_hz=rng.uniform(1.0, 3.0),
            tail_phase_rad=rng.uniform(0.0, 2 * math.pi),
        )
        self._next_id += 1
        return swimmer

    def _turn(self, swimmer: _Swimmer, ahead: np.ndarray) -> None:
        """Reflect the velocity of a resident that is about to leave; never traps one that is outside already."""
        waters = self._waters
        range_m, bearing_rad, elevation_rad = _polar(ahead)
        outward = ahead / max(range_m, 1e-9)
        span_m = waters.far_m - waters.near_m
        speed_out = float(swimmer.velocity @ outward)
        too_far = range_m > waters.far_m - 0.08 * span_m and speed_out > 0
        if too_far or (range_m < waters.near_m + 0.05 * span_m and speed_out < 0):
            swimmer.velocity -= 2 * speed_out * outward
        for axis, angle_rad, limit_rad in (
            (0, bearing_rad, waters.half_width_rad),
            (2, elevation_rad, waters.half_height_rad),
        ):
            if abs(angle_rad) > self.TURN_MARGIN * limit_rad and limit_rad > 0:
                across = np.zeros(3)
                across[axis], across[1] = math.cos(angle_rad), -math.sin(angle_rad)
                speed_across = float(swimmer.velocity @ across)
                if speed_across * angle_rad > 0:
                    swimmer.velocity -= 2 * speed_across * across

    def _inside(self, position: np.ndarray) -> bool:
        """Whether sound of the fan falls on the position; how high it is does not matter."""
        range_m, bearing_rad, _ = _polar(position)
        return self._waters.near_m <= range_m <= self._waters.far_m and abs(bearing_rad) <= self._waters.half_width_rad

    def _head_for_the_middle(self, swimmer: _Swimmer) -> None:
        """The last resort in a corner, where one reflection leads out at the other edge."""
        middle = _cartesian(0.5 * (self._waters.near_m + self._waters.far_m), 0.0, 0.0)
        way = (middle - swimmer.position) * self._freedom
        speed = float(np.linalg.norm(swimmer.velocity))
        swimmer.velocity = way / max(float(np.linalg.norm(way)), 1e-9) * speed

    def _has_left(self, swimmer: _Swimmer) -> bool:
        waters = self._waters
        range_m, bearing_rad, _ = _polar(swimmer.position)
        outward = float(swimmer.velocity @ swimmer.position)
        beyond = range_m > waters.far_m and outward > 0
        aside = abs(bearing_rad) > waters.half_width_rad and swimmer.velocity[0] * swimmer.position[0] > 0
        return beyond or aside or swimmer.position[1] < 0


@dataclass(slots=True)
class _Swimmer:
    id: int
    position: np.ndarray
    velocity: np.ndarray
    passing: bool
    length_m: float
    strength_db: float
    tail_hz: float
    tail_phase_rad: float


def _polar(position: np.ndarray) -> tuple[float, float, float]:
    """Return range, bearing and elevation; the inverse of `_cartesian`."""
    x, y, z = (float(value) for value in position)
    range_m = math.sqrt(x * x + y * y + z * z)
    if range_m == 0.0:
        return 0.0, 0.0, 0.0
    # Behind the sonar the arc sine would fold back into the fan.
    bearing_rad = math.asin(x / range_m) if y >= 0 else math.copysign(math.pi, x)
    return range_m, bearing_rad, math.asin(z / range_m)


def _cartesian(range_m: float, bearing_rad: float, elevation_rad: float) -> np.ndarray:
    x, z = math.sin(bearing_rad), math.sin(elevation_rad)
    return range_m * np.array([x, math.sqrt(max(0.0, 1.0 - x * x - z * z)), z])
