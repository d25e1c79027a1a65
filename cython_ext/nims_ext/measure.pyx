# cython: boundscheck=False, wraparound=False, cdivision=True
"""Measure: what a ping says about places: maxima and detections in metres, and how bright it is around a prediction."""

from libc.math cimport NAN, asin, atan2, cos, isfinite, log, log10, sin, sqrt

import numpy as np

from .records cimport Detection, Peak, Track

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


def locate(
    Detection[::1] out,
    const Peak[::1] peaks,
    const float[:, ::1] intensity,
    const double[::1] range_m,
    const double[::1] bearing_rad,
    const double[::1] step_m,
    const double[::1] step_rad,
    *,
    double samples,
    double beams,
    double placing_limit,
    double wander_m,
):
    """Fill detections from local maxima: places between the cells, their standard deviations, size and strength.

    The standard deviation of a maximum's place is that of the point spread over the amplitude ratio to the noise, what
    the sampling leaves open, and the wandering of the echo over the body.

    Args:
      out: dtype DETECTION, written; `exceedance` and `candidate` are left.
      peaks: dtype PEAK, one for each.
      range_m, bearing_rad, step_m, step_rad: the axes of the picture, and the size of its cells.
      samples, beams: standard deviation of the point spread in cells.
      placing_limit: standard deviation of the sampling in cells.
      wander_m: that of the echo over the body.

    Raises:
      ValueError: lengths do not fit, or a maximum is beyond the picture.
    """
    cdef Py_ssize_t count = out.shape[0], n, row, column
    cdef double ratio, spread
    cdef Detection *echo
    if peaks.shape[0] != count:
        raise ValueError("peaks: expected one for each detection")
    if step_m.shape[0] != range_m.shape[0] or intensity.shape[0] != range_m.shape[0] or range_m.shape[0] < 1:
        raise ValueError("range_m, step_m: expected one for each sample")
    if step_rad.shape[0] != bearing_rad.shape[0] or intensity.shape[1] != bearing_rad.shape[0] or \
            bearing_rad.shape[0] < 1:
        raise ValueError("bearing_rad, step_rad: expected one for each beam")
    for n in range(count):
        if not (0 <= peaks[n].peak_row < range_m.shape[0] and 0 <= peaks[n].peak_column < bearing_rad.shape[0]):
            raise ValueError("peaks: beyond the picture")
    with nogil:
        for n in range(count):
            echo = &out[n]
            row, column = peaks[n].peak_row, peaks[n].peak_column
            ratio = max(peaks[n].value, 1.0)
            echo.range_m = _between(range_m, peaks[n].row)
            echo.bearing_rad = _between(bearing_rad, peaks[n].column)
            echo.elevation_rad = echo.elevation_sd_rad = echo.ts_db = NAN
            spread = step_m[row] * step_m[row] * (samples * samples / ratio + placing_limit * placing_limit)
            echo.range_sd_m = sqrt(spread + wander_m * wander_m)
            spread = step_rad[column] * step_rad[column] * (beams * beams / ratio + placing_limit * placing_limit)
            echo.bearing_sd_rad = sqrt(spread + (wander_m / max(echo.range_m, wander_m)) ** 2)
            echo.length_m, echo.width_m = step_m[row], step_rad[column] * echo.range_m
            echo.area_m2 = step_m[row] * step_rad[column] * echo.range_m
            echo.peak = echo.mean = echo.total = intensity[row, column]
            echo.snr_db = 10 * log10(ratio)
            echo.cells = 1


cdef double _between(const double[::1] axis, double place) noexcept nogil:
    """Return the value of an axis at a place between its cells, the first or last one beyond its ends."""
    cdef Py_ssize_t last = axis.shape[0] - 1, cell
    if not place > 0:
        return axis[0]
    if place >= last:
        return axis[last]
    cell = <Py_ssize_t>place
    return axis[cell] + (place - cell) * (axis[cell + 1] - axis[cell])


def dim(
    Track[::1] rows,
    const double[:, ::1] state,
    const Py_ssize_t[::1] tracks,
    const float[:, ::1] intensity,
    const double[::1] range_m,
    const double[::1] bearing_rad,
):
    """Fill how much brighter it is around each track than it usually was around its echoes: 1 where it is not.

    Args:
      rows: dtype TRACK; `dimmed` is written, from the median of 7 x 7 cells around the prediction.
      state: shape (tracks, 2 axes).
      tracks: the rows that count.
      intensity: shape (samples, beams).
      range_m, bearing_rad: axes of the picture, increasing.

    Returns: those of `tracks` around which it is brighter.
    """
    cdef Py_ssize_t n, t, count = tracks.shape[0], found = 0
    cdef int axes = <int>state.shape[1] // 2
    if state.shape[0] != rows.shape[0] or (axes != 2 and axes != 3):
        raise ValueError("state: expected one of 2 or 3 axes for each track")
    if intensity.shape[0] != range_m.shape[0] or intensity.shape[1] != bearing_rad.shape[0]:
        raise ValueError("expected an intensity for each sample and beam")
    for n in range(count):
        if not 0 <= tracks[n] < rows.shape[0]:
            raise ValueError("tracks: index out of range")
    brighter = np.empty(count, np.intp)
    cdef Py_ssize_t[::1] out = brighter
    cdef double r, x, y, z, bearing, ambient, usual
    with nogil:
        for n in range(count):
            t = tracks[n]
            x, y, z = state[t, 0], state[t, 1], (state[t, 2] if axes == 3 else 0.0)
            r = sqrt(x * x + y * y + z * z)
            # as `pipeline.measurement.polar` has it
            bearing = atan2(x, y) if y < 0 else asin(min(max(x / max(r, 1e-9), -1.0), 1.0))
            ambient = _median_around(intensity, _beyond(range_m, r), _beyond(bearing_rad, bearing))
            usual = rows[t].background / max(rows[t].hits, 1)
            # the median of exponential noise is ln 2 of its mean, and the animal itself fills less than half the cells
            rows[t].dimmed = 1.0
            if usual > 0 and ambient / log(2.0) > usual:
                rows[t].dimmed = ambient / log(2.0) / usual
                out[found] = t
                found += 1
    return brighter[:found]


cdef Py_ssize_t _beyond(const double[::1] axis, double value) noexcept nogil:
    """Return the index of the first that is not below the value; the length where there is none."""
    cdef Py_ssize_t low = 0, high = axis.shape[0], middle
    while low < high:
        middle = (low + high) // 2
        if axis[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


cdef double _median_around(const float[:, ::1] intensity, Py_ssize_t row, Py_ssize_t column) noexcept nogil:
    """Return the median of the 7 x 7 cells around one, of those that are in the picture; 0 where there are none."""
    cdef float sorted_[(2 * REACH + 1) * (2 * REACH + 1)]
    cdef float value
    cdef Py_ssize_t r, c
    cdef int found = 0, i
    for r in range(max(row - REACH, 0), min(row + REACH + 1, intensity.shape[0])):
        for c in range(max(column - REACH, 0), min(column + REACH + 1, intensity.shape[1])):
            value = intensity[r, c]
            i = found
            while i > 0 and not sorted_[i - 1] <= value:
                sorted_[i] = sorted_[i - 1]
                i -= 1
            sorted_[i] = value
            found += 1
    return (sorted_[(found - 1) // 2] + sorted_[found // 2]) / 2 if found else 0.0
