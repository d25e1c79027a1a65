"""A small scene of our own: correlated speckle, a fixed texture, point targets where the test puts them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from nims_appliance.frame import Frame
from nims_appliance.settings import SonarSettings

Path = Callable[[float], tuple[float, float] | None]
"""Position (x, y) of a target at a time since the first ping, or None where it is not there."""


class Scene:
    """Pings of an imaging sonar with known targets.

    Args:
      shape: samples and beams.
      rate_hz: pings a second.
      spread: standard deviation of the point spread, which is that of the speckle, in samples and beams.
      targets: (path, SNR in dB).
    """

    def __init__(
        self,
        shape: tuple[int, int] = (160, 64),
        rate_hz: float = 10.0,
        spread: tuple[float, float] = (0.8, 0.9),
        targets: tuple[tuple[Path, float], ...] = (),
        far_m: float = 20.0,
        seed: int = 1,
    ) -> None:
        self.range_m = np.linspace(0.5, far_m, shape[0]) if shape[0] > 1 else np.array([far_m])
        self.bearing_rad = np.linspace(-0.8, 0.8, shape[1]) if shape[1] > 1 else np.array([0.0])
        self.rate_hz, self.spread, self.targets = rate_hz, spread, targets
        self.rng = np.random.default_rng(seed)
        self.sigma = np.exp(self.rng.normal(0, 0.3, shape)) * (0.5 + np.exp(-self.range_m / 5))[:, None]
        self.kernels = [np.exp(-0.5 * (np.arange(-4, 5) / s) ** 2) for s in spread]
        self.step = [np.gradient(a)[0] if len(a) > 1 else 1.0 for a in (self.range_m, self.bearing_rad)]

    def field(self, time_s: float) -> np.ndarray:
        """Complex samples of one ping."""
        shape = self.sigma.shape
        noise = self.rng.normal(size=(shape[0] + 8, shape[1] + 8)) + 1j * self.rng.normal(
            size=(shape[0] + 8, shape[1] + 8)
        )
        for axis, kernel in enumerate(self.kernels):
            noise = np.apply_along_axis(np.convolve, axis, noise, kernel / math.sqrt((kernel**2).sum()), "valid")
        field = noise * self.sigma / math.sqrt(2)
        for path, snr_db in self.targets:
            at = path(time_s)
            if at is None:
                continue
            row = (math.hypot(*at) - self.range_m[0]) / self.step[0]
            column = (math.atan2(*at) - self.bearing_rad[0]) / self.step[1]
            nearest = self.sigma[min(max(round(row), 0), shape[0] - 1), min(max(round(column), 0), shape[1] - 1)]
            amplitude = nearest * 10 ** (snr_db / 20) * np.exp(2j * math.pi * self.rng.random())
            rows = np.exp(-0.5 * ((np.arange(shape[0]) - row) / self.spread[0]) ** 2)
            columns = np.exp(-0.5 * ((np.arange(shape[1]) - column) / self.spread[1]) ** 2)
            field = field + amplitude * np.outer(rows, columns)
        return field

    def frame(self, intensity: np.ndarray, number: int, time_s: float | None = None, **other: object) -> Frame:
        """A frame with these samples."""
        values: dict = {
            "intensity": np.ascontiguousarray(intensity, np.float32),
            "unit": "counts^2",
            "range_m": self.range_m,
            "bearing_rad": self.bearing_rad,
            "time_s": 1e9 + number / self.rate_hz if time_s is None else time_s,
            "ping_number": number,
            "sound_speed_m_s": 1500.0,
            "frequency_hz": 5e5,
            "pulse_length_s": 2e-5,
            "ping_interval_s": 1 / self.rate_hz,
            "beam_width_rad": 2.2 * self.step[1],
            "range_resolution_m": 1.9 * self.step[0],
            "frame_number": number,
            "sonar_id": "pen",
        }
        return Frame(**(values | other)).check()

    def frames(self, count: int, first: int = 0) -> Iterator[Frame]:
        """Consecutive pings."""
        for number in range(first, first + count):
            yield self.frame(np.abs(self.field(number / self.rate_hz)) ** 2, number)


@pytest.fixture(scope="session")
def make_scene() -> type[Scene]:
    """The class Scene."""
    return Scene


@pytest.fixture
def settings() -> SonarSettings:
    """All defaults."""
    return SonarSettings(profile="test", link="file:///test")
