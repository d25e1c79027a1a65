# cython: boundscheck=False, wraparound=False, cdivision=True
"""Measure: what a ping says about places: detections in metres, and how bright it is around a prediction."""

from libc.math cimport cos, isfinite, sin, sqrt

import numpy as np

from .records cimport Detection

cdef double UNKNOWN_SD = 0.05
# Metres or radians: where a detector does not say how sure it is.

cdef enum:
    REACH = 3


def places(const Detection[::1] detections, int axes):
    """Return positions and covariances of detections in sonar coordinates (see `pipeline.results.to_xyz`).

    Linearised conversion R = J diag(sr^2, sb^2[, se^2]) J'; its bias is below 1e-3 of the range for standard deviations
    of angle below 2 degrees (Longbin et al. 1998 give the exact moments).

    Args:
      detections: dtype DETECTION.
      axes: 2 (x, y) or 3 (x, y, z).

    Returns: float64, shapes (detections, axes) and (detections, axes, axes), m and m^2.
    """
    if axes != 2 and axes != 3:
        raise ValueError("expected 2 or 3 axes")
    cdef Py_ssize_t count = detections.shape[0], d
    cdef int i, j, k
    place = np.empty((count, axes))
    noise = np.empty((count, axes, axes))
    cdef double[:, ::1] out = place
    cdef double[:, :, ::1] covariance = noise
    cdef const Detection *echo
    cdef double jacobian[9]  # columns: along range, along bearing, along elevation
    cdef double sd[3]
    cdef double r, x, y, z, cosine, elevation_rad, value
    with nogil:
        for d in range(count):
            echo = &detections[d]
            r, x, cosine = echo.range_m, sin(echo.bearing_rad), cos(echo.bearing_rad)
            sd[0], sd[1], sd[2] = echo.range_sd_m, echo.bearing_sd_rad, echo.elevation_sd_rad
            if axes == 2:
                jacobian[0], jacobian[1] = x, r * cosine
                jacobian[2], jacobian[3] = cosine, -r * x
            else:
                elevation_rad = echo.elevation_rad if isfinite(echo.elevation_rad) else 0
                z = sin(elevation_rad)
                y = sqrt(max(1.0 - x * x - z * z, 1e-6))
                jacobian[0], jacobian[1], jacobian[2] = x, r * cosine, 0
                jacobian[3], jacobian[4] = y, -r * x * cosine / y
                jacobian[5] = -r * z * cos(elevation_rad) / y
                jacobian[6], jacobian[7], jacobian[8] = z, 0, r * cos(elevation_rad)
            for i in range(axes):
                out[d, i] = jacobian[i * axes] * r
                for k in range(axes):
                    jacobian[i * axes + k] *= sd[k] if sd[k] > 1e-6 else UNKNOWN_SD
            for i in range(axes):
                for j in range(axes):
                    value = 0
                    for k in range(axes):
                        value += jacobian[i * axes + k] * jacobian[j * axes + k]
                    covariance[d, i, j] = value
    return place, noise


def surroundings(const float[:, ::1] intensity, const Py_ssize_t[::1] rows, const Py_ssize_t[::1] columns):
    """Return the median intensity of the 7 x 7 cells around each of some cells; NaN where none is in the picture.

    Args:
      intensity: shape (samples, beams).
      rows, columns: of the cells; they may lie outside.

    Returns: float64, shape (cells,).
    """
    cdef Py_ssize_t count = rows.shape[0], n, row, column
    if columns.shape[0] != count:
        raise ValueError("columns: expected one for each row")
    median = np.full(count, np.nan)
    cdef double[::1] out = median
    cdef float sorted_[(2 * REACH + 1) * (2 * REACH + 1)]
    cdef float value
    cdef int found, i
    with nogil:
        for n in range(count):
            found = 0
            for row in range(max(rows[n] - REACH, 0), min(rows[n] + REACH + 1, intensity.shape[0])):
                for column in range(max(columns[n] - REACH, 0), min(columns[n] + REACH + 1, intensity.shape[1])):
                    value = intensity[row, column]
                    i = found
                    while i > 0 and not sorted_[i - 1] <= value:
                        sorted_[i] = sorted_[i - 1]
                        i -= 1
                    sorted_[i] = value
                    found += 1
            if found:
                out[n] = (sorted_[(found - 1) // 2] + sorted_[found // 2]) / 2
    return median
