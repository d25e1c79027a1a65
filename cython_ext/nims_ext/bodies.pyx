# cython: boundscheck=False, wraparound=False, cdivision=True
"""Bodies: which echoes lie on which of the confirmed tracks; there are few of these, and a thousand echoes."""

from libc.math cimport INFINITY, atan2, hypot, log, sqrt

import numpy as np

from .matrix cimport invert, quadratic
from .records cimport Detection, Track

FAR, NOBODYS = -1, -2
"""What `owners` says of echoes that are of no track: beyond reach of all, and near one."""

cdef double LOG_TWO_PI = 1.8378770664093453


cdef void _check(bint right, str what) except *:
    if not right:
        raise ValueError(what)


cdef bint _is_long(const double *extent, int axes) noexcept nogil:
    cdef int i
    for i in range(axes * axes):
        if extent[i] != 0:
            return True
    return False


def owners(
    const double[:, ::1] place,
    const double[:, :, ::1] noise,
    const Py_ssize_t[::1] tracks,
    const double[:, ::1] state,
    const double[:, :, ::1] covariance,
    const double[:, :, ::1] extent,
    *,
    double reach_m,
    double gate,
):
    """Return of which track each echo is, be that long or a point: of the one where its place is likeliest.

    Args:
      place, noise: echoes, shape (echoes, axes) and (echoes, axes, axes).
      tracks: the rows that count.
      state, covariance, extent: of all rows.
      reach_m: echoes that are no nearer to any of the tracks are not looked at.
      gate: squared Mahalanobis distance beyond which an echo is not of a track.

    Returns: int32 (echoes,): a row, FAR or NOBODYS; float64 (echoes,): log of the density there, m^-axes.
    """
    cdef Py_ssize_t echoes = place.shape[0], count = tracks.shape[0], e, n, t
    cdef int axes = <int>place.shape[1], i, j
    _check(axes == 2 or axes == 3, "expected 2 or 3 axes")
    _check(noise.shape[0] == echoes and noise.shape[1] == axes and noise.shape[2] == axes, "noise")
    _check_tracks(tracks, state, covariance, extent, axes)
    owner = np.full(echoes, FAR, np.int32)
    density = np.full(echoes, -np.inf)
    cdef int[::1] out = owner
    cdef double[::1] best = density
    cdef int nobodys = NOBODYS
    cdef double spread[9]
    cdef double inverse[9]
    cdef double innovation[3]
    cdef double determinant, d2, apart, log_density
    cdef bint near
    with nogil:
        for e in range(echoes):
            near = False
            for n in range(count):
                apart = 0
                for i in range(axes):
                    innovation[i] = place[e, i] - state[tracks[n], i]
                    apart += innovation[i] * innovation[i]
                near = near or apart < reach_m * reach_m
            if not near:
                continue
            out[e] = nobodys
            for n in range(count):
                t = tracks[n]
                for i in range(axes):
                    innovation[i] = place[e, i] - state[t, i]
                    for j in range(axes):
                        spread[i * axes + j] = covariance[t, i, j] + extent[t, i, j] + noise[e, i, j]
                determinant = invert(spread, axes, inverse)
                d2 = quadratic(innovation, inverse, axes) if determinant > 0 else INFINITY
                if not d2 <= gate:
                    continue
                log_density = -0.5 * (d2 + log(determinant) + axes * LOG_TWO_PI)
                if log_density > best[e]:
                    best[e] = log_density
                    out[e] = <int>t
    return owner, density


def covered(
    const double[:, :] place,
    const Track[::1] rows,
    const Py_ssize_t[::1] tracks,
    const double[:, ::1] state,
    const double[:, :, ::1] extent,
    *,
    double thinnest_m,
    double gate,
):
    """Return which places lie on the body of a track, shape (places,), bool.

    Args:
      place: shape (places, axes), any order.
      rows, state, extent: dtype TRACK, and shape (tracks, 2 axes) and (tracks, axes, axes).
      tracks: the rows that count.
      thinnest_m: least standard deviation of the echoes of a long body.
      gate: squared Mahalanobis distance up to which a place is on a long body. One is also on a body where it is nearer
        to the middle than the last echo was wide, and the scatter of the echoes.
    """
    cdef Py_ssize_t places = place.shape[0], n, p, t
    cdef int axes = <int>place.shape[1], i, j
    _check(axes == 2 or axes == 3, "expected 2 or 3 axes")
    _check(rows.shape[0] == state.shape[0], "rows")
    _check_tracks(tracks, state, None, extent, axes)
    on = np.zeros(places, np.uint8)
    cdef unsigned char[::1] out = on
    cdef double spread[9]
    cdef double inverse[9]
    cdef double away[3]
    cdef double apart, near
    cdef bint long_
    with nogil:
        for n in range(tracks.shape[0]):
            t = tracks[n]
            near = rows[t].width_m * rows[t].width_m + rows[t].body_m2
            long_ = _is_long(&extent[t, 0, 0], axes)
            if long_:
                for i in range(axes):
                    for j in range(axes):
                        spread[i * axes + j] = extent[t, i, j] + (thinnest_m * thinnest_m if i == j else 0)
                long_ = invert(spread, axes, inverse) > 0
            for p in range(places):
                apart = 0
                for i in range(axes):
                    away[i] = place[p, i] - state[t, i]
                    apart += away[i] * away[i]
                if apart < near or long_ and quadratic(away, inverse, axes) < gate:
                    out[p] = True
    return on.view(bool)


def unite(
    Detection[::1] detections,
    double[:, ::1] place,
    double[:, :, ::1] noise,
    const Py_ssize_t[::1] members,
    const double[:, ::1] extent,
    double[:, ::1] scatter,
):
    """Make one echo of several on a body, in two dimensions; return which of them it has become, the strongest.

    Its place is the centroid weighted by amplitude, its covariance how far the middle of the body can be from that, its
    extent that of all of them.

    Args:
      detections, place, noise: dtype DETECTION, shape (echoes, 2) and (echoes, 2, 2); changed where it is returned.
      members: the echoes on the body, at least one.
      extent: covariance of the echoes over the body, shape (2, 2).
      scatter: written, shape (2, 2): that of these echoes, unbiased; 0 for a single one.

    Raises:
      ValueError: shapes do not fit, or an echo is not there.
    """
    cdef Py_ssize_t count = members.shape[0], n, e, best
    cdef int i, j
    _check(count > 0, "members: expected at least one")
    _check(place.shape[0] == noise.shape[0] == detections.shape[0] and place.shape[1] == 2, "place")
    _check(noise.shape[1] == noise.shape[2] == 2, "noise")
    _check(extent.shape[0] == extent.shape[1] == scatter.shape[0] == scatter.shape[1] == 2, "expected 2 axes")
    for n in range(count):
        _check(0 <= members[n] < detections.shape[0], "members: index out of range")
    cdef double centre[2]
    cdef double covariance[4]
    cdef double away[2]
    cdef double total = 0, squares = 0, weight, middle_m, area_m2 = 0, sum_ = 0
    cdef double nearest_m = INFINITY, farthest_m = -INFINITY, leftmost_m = INFINITY, rightmost_m = -INFINITY
    cdef int cells = 0
    cdef Detection *echo
    with nogil:
        best = members[0]
        centre[0] = centre[1] = 0
        for n in range(count):
            e = members[n]
            weight = sqrt(max(detections[e].peak, 1e-30))
            total += weight
            for i in range(2):
                centre[i] += weight * place[e, i]
            if detections[e].exceedance > detections[best].exceedance:
                best = e
        for i in range(2):
            centre[i] /= total
            for j in range(2):
                covariance[2 * i + j] = scatter[i, j] = 0
        middle_m = hypot(centre[0], centre[1])
        for n in range(count):
            e = members[n]
            echo = &detections[e]
            weight = sqrt(max(echo.peak, 1e-30)) / total
            squares += weight * weight
            for i in range(2):
                away[i] = place[e, i] - centre[i]
            for i in range(2):
                for j in range(2):
                    scatter[i, j] += weight * away[i] * away[j]
                    covariance[2 * i + j] += weight * weight * noise[e, i, j]
            nearest_m = min(nearest_m, echo.range_m - echo.length_m / 2)
            farthest_m = max(farthest_m, echo.range_m + echo.length_m / 2)
            leftmost_m = min(leftmost_m, echo.bearing_rad * middle_m - echo.width_m / 2)
            rightmost_m = max(rightmost_m, echo.bearing_rad * middle_m + echo.width_m / 2)
            area_m2 += echo.area_m2
            sum_ += echo.total
            cells += echo.cells
        for i in range(2):
            place[best, i] = centre[i]
            for j in range(2):
                scatter[i, j] = scatter[i, j] / (1 - squares) if count > 1 else 0
                # the places on a body are not drawn at random: the more of them echo, the nearer their centroid to its
                # middle
                noise[best, i, j] = covariance[2 * i + j] + squares * extent[i, j] / count
        if count > 1:
            echo = &detections[best]
            echo.length_m, echo.width_m = farthest_m - nearest_m, rightmost_m - leftmost_m
            echo.area_m2, echo.total, echo.cells = area_m2, sum_, cells
            echo.range_m, echo.bearing_rad = middle_m, atan2(centre[0], centre[1])
    return best


cdef void _check_tracks(
    const Py_ssize_t[::1] tracks, const double[:, ::1] state, const double[:, :, ::1] covariance,
    const double[:, :, ::1] extent, int axes,
) except *:
    cdef Py_ssize_t n, count = state.shape[0]
    _check(state.shape[1] == 2 * axes, "state")
    _check(extent.shape[0] == count and extent.shape[1] == axes and extent.shape[2] == axes, "extent")
    if covariance is not None:
        _check(covariance.shape[0] == count and covariance.shape[1] == covariance.shape[2] == 2 * axes, "covariance")
    for n in range(tracks.shape[0]):
        _check(0 <= tracks[n] < count, "tracks: index out of range")
