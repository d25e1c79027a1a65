"""Background: what each cell looks like without animals, and how a ping stands out of it."""

from __future__ import annotations

import math

import numpy as np
from nims_ext.detect import normalise, raise_level

CLIP = 4.0
"""A cell teaches the background no more than this many times its mean, so that no animal lifts it by much."""
UNBIASED = -1.0 / math.expm1(-CLIP)
"""Undoes the loss of the mean of exponential noise when it is clipped: E[min(x, c)] = 1 - e^-c."""
HELD = 0.1
"""How much slower a cell is learnt while something is detected in it: a resting animal stays visible for minutes."""
SCALE_S = 0.5
"""Memory of the local level of the noise, seconds; a cloud of bubbles drifts through its own width in a few seconds."""
BLOCK_SPREADS = 6.0, 2.0
"""Size of the blocks of the local level, in point spreads along range and across beams. A cloud is as wide as long, and
beams are several times wider than samples: a block of more beams is too coarse for its crest."""
GAIN_CHANGE = 1.25
"""A ping whose median differs by more has another gain; with thousands of cells the median itself is known to 2 %."""
MOST_PROBES = 8192


class Background:
    """Running mean of the intensity of each cell over about `memory_s` seconds, and the noise around each cell now.

    The temporal mean takes out all that stands still: texture, structure, the beam pattern, spreading. The local level
    (cell-averaging over a ring of blocks, and briefly over time) takes out what comes and goes: bubbles, interference.
    It only ever raises the threshold: where the surroundings are quiet the temporal mean alone decides.

    Args:
      memory_s: time constant; the first pings count equally, later ones fade exponentially.
    """

    def __init__(self, memory_s: float) -> None:
        self._memory_s = memory_s
        self.mean: np.ndarray | None = None
        """float32, shape (samples, beams), in the unit of the frames; None before the first ping."""
        self.ratio = np.zeros((0, 0), np.float32)
        """The last ping over the background that was known before it."""
        self.scale = np.ones((0, 0), np.float32)
        """Local level of the ratio, one value per block of cells."""
        self.block = (1, 1)
        """Samples and beams of a block."""
        self.pings = 0
        self.gain_db = 0.0
        """By how much the last ping was brighter than the background as a whole; 0 where the gain has not changed."""
        self._probes: np.ndarray | None = None

    def reset(self, shape: tuple[int, int], point_spread: tuple[float, float]) -> None:
        """Forget everything: the picture is another one.

        Args:
          shape: samples and beams.
          point_spread: standard deviation of the sonar's point spread in samples and beams.
        """
        self.mean = None
        self.pings = 0
        self.block = tuple(  # type: ignore[assignment]
            min(max(1, round(spreads * spread)), max(1, length // 8))
            for spreads, spread, length in zip(BLOCK_SPREADS, point_spread, shape, strict=True)
        )
        blocks = tuple(-(-length // size) for length, size in zip(shape, self.block, strict=True))
        self.scale = np.ones(blocks, np.float32)
        self._level = np.ones(blocks, np.float32)
        self._sums = np.ones(blocks, np.float32)
        self.ratio = np.ones(shape, np.float32)

    def probes(self, intensity: np.ndarray) -> np.ndarray:
        """Return a sparse sample of the ping's cells, spread over the whole picture; a copy."""
        stride = max(1, intensity.size // MOST_PROBES)
        stride += 1 - math.gcd(stride, 2) % 2  # odd strides visit all columns of the usual even numbers of beams
        return intensity.reshape(-1)[::stride].copy()

    def update(self, intensity: np.ndarray, interval_s: float, held_above: float) -> None:
        """Compare a ping with the background (`ratio`, `scale`), then learn it.

        Args:
          intensity: float32, shape (samples, beams); cells that are no numbers are passed over.
          interval_s: time since the last ping.
          held_above: ratio to the local level above which a cell counts as detected and is hardly learnt.
        """
        if self.mean is None:
            self.mean = _smooth(intensity, self.block)
        probes, learnt = self.probes(intensity), self.probes(self.mean)
        floor = 1e-4 * float(np.mean(learnt))
        gain = _gain(probes / np.maximum(learnt, max(floor, 1e-30))) if self.pings else 1.0
        self.gain_db = 10 * math.log10(gain)
        fading = -math.expm1(-interval_s / self._memory_s)
        share = max(1.0 / (self.pings + 2), fading)
        normalise(
            intensity,
            self.mean,
            self.ratio,
            self._level,
            self._sums,
            *self.block,
            gain=gain,
            floor=max(floor, 1e-30),
            share=share,
            held_share=HELD * share,
            held_above=held_above,
            clip=CLIP,
            inverse_clipped_mean=UNBIASED,
        )
        self.pings += 1
        raise_level(self._sums, self._level, self.scale, -math.expm1(-interval_s / SCALE_S))


def _gain(ratio: np.ndarray) -> float:
    """Return by how much a sample of cells over their background is brighter as a whole; 1 where it hardly is."""
    low, high = math.log(2) / GAIN_CHANGE, math.log(2) * GAIN_CHANGE  # the median of exponential noise is ln 2
    # that the median lies between them is told by counting, which is ten times faster than finding it
    if min(np.count_nonzero(ratio > low), np.count_nonzero(ratio < high)) > len(ratio) / 2:
        return 1.0
    middle = float(np.nanmedian(ratio)) / math.log(2)
    return middle if middle > 0 and not 1 / GAIN_CHANGE < middle < GAIN_CHANGE else 1.0


def _smooth(image: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    """Return the mean over blocks, at the size of the image: a first guess of the background from one ping."""
    rows, columns = image.shape
    finite = np.where(np.isfinite(image) & (image >= 0), image, 0.0).astype(np.float32)
    high, wide = -(-rows // block[0]), -(-columns // block[1])
    padded = np.pad(finite, ((0, high * block[0] - rows), (0, wide * block[1] - columns)), mode="edge")
    means = padded.reshape(high, block[0], wide, block[1]).mean(axis=(1, 3))
    return np.ascontiguousarray(np.repeat(np.repeat(means, block[0], 0), block[1], 1)[:rows, :columns], np.float32)
