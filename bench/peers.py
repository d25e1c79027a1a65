"""The same job done with what everybody has: NumPy and SciPy, and OpenCV. Timed beside ours, never shipped.

Each takes an intensity image (samples, beams) and gives one row per group of cells above the background: centroid, sum,
maximum. The thresholds let noise alone pass in about one cell of 10,000; lower ones would only make them slower.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

WINDOW = 300
FALSE_ALARM = 1e-4


class NumpyPeer:
    """Exact mean and standard deviation over a window by running sums; scipy.ndimage groups."""

    name = "NumPy running sums + scipy.ndimage"

    def __init__(self) -> None:
        from scipy import ndimage

        self._ndimage = ndimage
        self._window: deque[np.ndarray] = deque()
        # For an exponential intensity the standard deviation is the mean.
        self._deviations = -math.log(FALSE_ALARM) - 1
        self._sum: np.ndarray | None = None
        self._squares: np.ndarray | None = None

    def detect(self, intensity: np.ndarray) -> np.ndarray:
        """Return (groups, 4): row, column, sum, maximum."""
        image = intensity.astype(np.float64)
        squares = image**2
        if self._sum is None or self._squares is None:
            self._sum, self._squares = np.zeros_like(image), np.zeros_like(image)
        count = max(len(self._window), 1)
        mean = self._sum / count
        variance = self._squares / count
        variance -= mean**2
        np.sqrt(np.maximum(variance, 0.0, out=variance), out=variance)
        variance *= self._deviations
        variance += mean
        mask = image > variance
        self._sum += image
        self._squares += squares
        self._window.append(intensity)
        if len(self._window) > WINDOW:
            oldest = self._window.popleft().astype(np.float64)
            self._sum -= oldest
            self._squares -= oldest**2
        labels, groups = self._ndimage.label(mask, structure=np.ones((3, 3)))
        # Only the cells of groups are summed: ndimage's own statistics pass over the whole image for each.
        rows, columns = np.nonzero(mask)
        index, values = labels[rows, columns] - 1, image[rows, columns]
        sums = np.bincount(index, values, groups)
        maxima = np.zeros(groups)
        np.maximum.at(maxima, index, values)
        row_means = np.bincount(index, values * rows, groups) / sums
        return np.column_stack((row_means, np.bincount(index, values * columns, groups) / sums, sums, maxima))


class OpenCvPeer:
    """Mixture of Gaussians (MOG2) on the amplitude in 8 bit; connected components with statistics."""

    name = "OpenCV MOG2 + connected components"

    def __init__(self) -> None:
        import cv2

        cv2.setNumThreads(1)
        self._cv2 = cv2
        self._model = cv2.createBackgroundSubtractorMOG2(history=WINDOW, varThreshold=25, detectShadows=False)

    def detect(self, intensity: np.ndarray) -> np.ndarray:
        """Return (groups, 4): row, column, area, 0."""
        image = np.minimum(np.sqrt(intensity) * 40, 255).astype(np.uint8)
        mask = self._model.apply(image)
        groups, _, statistics, centres = self._cv2.connectedComponentsWithStats(mask, connectivity=8)
        return np.column_stack((centres[1:, ::-1], statistics[1:, 4], np.zeros(groups - 1)))
