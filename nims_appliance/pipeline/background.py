"""Background: what each cell looks like without animals."""

from __future__ import annotations

import math

import numpy as np


class Background:
    """Running mean of the intensity of each cell, over about `memory_s` seconds.

    The first pings count equally (a plain mean), later ones fade exponentially. Update it after the ping has been
    tested, or the ping hides in its own background.
    """

    def __init__(self, memory_s: float) -> None:
        self._memory_s = memory_s
        self.mean: np.ndarray | None = None
        """float32, shape (samples, beams), in the unit of the frames; None before the first ping."""
        self.pings = 0.0
        """How many independent pings the mean is worth."""

    def reset(self) -> None:
        """Forget everything: the picture is another one."""
        self.mean = None
        self.pings = 0.0

    def update(self, intensity: np.ndarray, keep: np.ndarray | None, interval_s: float) -> None:
        """Learn one ping.

        Args:
          intensity: float32, shape (samples, beams).
          keep: bool, same shape: cells that are not learnt, because an animal is there; None: all are.
          interval_s: time since the last ping.
        """
        if self.mean is None:
            self.mean = intensity.astype(np.float32)
            self.pings = 1.0
            return
        most = max(2.0 * self._memory_s / max(interval_s, 1e-3), 1.0)  # exponential weights e^-t/T are worth 2 T pings
        self.pings = min(self.pings + 1.0, most)
        share = max(1.0 / self.pings, -math.expm1(-interval_s / self._memory_s))
        step = (intensity - self.mean) * np.float32(share)
        if keep is not None:
            step[keep] = 0.0
        self.mean += step
