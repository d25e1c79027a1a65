# cython: boundscheck=False, wraparound=False, cdivision=True
"""Pairs: which detections may belong to which tracks, and how much is gained by joining them.

A thousand tracks and a thousand detections stay within the second-level cache. Of a million pairs most are passed over
because the detections are sorted by range, most others without a branch, and few are left for logarithms.
"""

from libc.math cimport INFINITY, exp, fabs, log, sqrt
from libc.stdlib cimport free, malloc, realloc

import numpy as np

from .matrix cimport invert, quadratic
from .records cimport Pair, Track

PAIR = np.dtype(
    [
        ("track", "i4"),
        ("detection", "i4"),
        ("explanation", "i4"),  # POINT, BODY or TURN
        ("padding", "i4"),
        ("apart_m2", "f8"),  # squared distance from the prediction, mean of the axes
        ("place", "f8"),  # log-likelihood ratio of the position against clutter
        ("gain", "f8"),  # that of the whole against a miss
    ]
)
"""A detection that may belong to a track, as `find_pairs` returns it."""

POINT, BODY, TURN = 0, 1, 2
"""What explains the distance between detection and prediction best: the expected scatter; another part of a long body;
a turn since the animal was last seen."""

cdef double LOG_TWO_PI = 1.8378770664093453


cdef void _check(bint right, str what) except *:
    if not right:
        raise ValueError(what)


cdef double _distance(const double *s, const double *innovation, int axes, double *log_density) noexcept nogil:
    """Return the squared Mahalanobis distance; `log_density` becomes the log of the Gaussian there."""
    cdef double inverse[9]
    cdef double determinant = invert(s, axes, inverse), d2
    if not determinant > 0:
        log_density[0] = -INFINITY
        return INFINITY
    d2 = quadratic(innovation, inverse, axes)
    log_density[0] = -0.5 * (d2 + log(determinant) + axes * LOG_TWO_PI)
    return d2


cdef bint _explain(
    const Track *row, const double *covariance, const double *noise, const double *innovation, int axes, double gate,
    Pair *pair,
) noexcept nogil:
    """Find what explains a distance best; fill `explanation` and, for now, `place` with the log of all together.

    Returns whether any of the explanations has it within the gate.
    """
    cdef double spread[9]
    cdef double density[3]
    cdef double variance[3]
    cdef double chance[3]
    cdef double nearest = INFINITY, total = 0
    cdef int i, j, k, best = 0
    chance[0], chance[1], chance[2] = max(1e-9, 1 - row.leap_chance - row.turn_chance), row.leap_chance, row.turn_chance
    variance[0], variance[1], variance[2] = 0, row.body_m2, row.turn_m2
    for k in range(3):
        density[k] = -INFINITY
        if not chance[k] > 0:
            continue
        for i in range(axes):
            for j in range(axes):
                spread[i * axes + j] = covariance[2 * axes * i + j] + noise[i * axes + j]
            spread[i * axes + i] += variance[k]
        nearest = min(nearest, _distance(spread, innovation, axes, &density[k]))
        density[k] += log(chance[k])
        if density[k] > density[best]:
            best = k
    if nearest > gate or density[best] == -INFINITY:
        return False
    for k in range(3):
        total += exp(density[k] - density[best])
    pair.explanation = best
    pair.place = density[best] + log(total)
    return True


cdef double _widest(
    const double *covariance, const double *noise, const double *innovation, double add, int axes, double *narrowest
) noexcept nogil:
    """Return the squared Mahalanobis distance when the variance `add` is added, the least of all explanations.

    `narrowest` becomes the determinant without it.
    """
    cdef double spread[9]
    cdef double inverse[9]
    cdef double a, b, c, x, y
    cdef int i, j
    if axes == 2:
        a, b, c = covariance[0] + noise[0], covariance[1] + noise[1], covariance[5] + noise[3]
        x, y = innovation[0], innovation[1]
        narrowest[0] = a * c - b * b
        a += add
        c += add
        return (c * x * x - 2 * b * x * y + a * y * y) / (a * c - b * b)
    for i in range(axes):
        for j in range(axes):
            spread[i * axes + j] = covariance[2 * axes * i + j] + noise[i * axes + j]
    narrowest[0] = invert(spread, axes, inverse)
    for i in range(axes):
        spread[i * axes + i] += add
    invert(spread, axes, inverse)
    return quadratic(innovation, inverse, axes)


def find_pairs(
    const Track[::1] rows,
    const double[:, ::1] state,
    const double[:, :, ::1] covariance,
    const double[:, ::1] strengths,
    const double[:, ::1] place,
    const double[:, :, ::1] noise,
    const double[::1] range_m,
    const double[:, ::1] odds,
    const double[::1] log_clutter,
    double gate,
):
    """Return the pairs of track and detection that are near each other and better joined than alone.

    Args:
      rows: dtype TRACK of `nims_ext.table`, as `expect` has filled them.
      state, covariance: predicted tracks, shape (tracks, 2 axes) and (tracks, 2 axes, 2 axes).
      strengths: shape (tracks, strengths): probability that the track is of each strength.
      place, noise: detections, m: shape (detections, axes) and (detections, axes, axes).
      range_m: distance of the detections from the sonar, increasing.
      odds: shape (detections, strengths): density of the measured strength for an animal of each strength over that
        for clutter.
      log_clutter: log of the density of clutter around each detection, m^-axes.
      gate: squared Mahalanobis distance beyond which nothing is joined.

    Returns: structured array of dtype PAIR, of positive `gain`.
    """
    cdef int tracks = <int>rows.shape[0], detections = <int>place.shape[0], axes = <int>place.shape[1]
    cdef int size = 2 * axes, classes = <int>strengths.shape[1]
    _check(axes == 2 or axes == 3, "expected 2 or 3 axes")
    _check(state.shape[0] == tracks and state.shape[1] == size and covariance.shape[0] == tracks, "tracks")
    _check(covariance.shape[1] == size and covariance.shape[2] == size and strengths.shape[0] == tracks, "tracks")
    _check(noise.shape[0] == detections and noise.shape[1] == axes and noise.shape[2] == axes, "noise")
    _check(range_m.shape[0] == detections and log_clutter.shape[0] == detections, "detections")
    _check(odds.shape[0] == detections and odds.shape[1] == classes, "odds")
    if tracks == 0 or detections == 0:
        return np.zeros(0, PAIR)
    cdef int t, d, i, n, first, last, found
    cdef double centre, widest, reach, add, apart, likely, d2, determinant, bound, ratio
    cdef double unit = 1.001 * exp(-0.5 * axes * LOG_TWO_PI)
    cdef double innovation[3]
    cdef Py_ssize_t count = 0, capacity = 1024
    cdef Pair *pairs = <Pair *>malloc(capacity * sizeof(Pair))
    cdef Pair *grown
    cdef int *near = <int *>malloc(detections * sizeof(int))
    cdef double *columns = <double *>malloc(4 * detections * sizeof(double))
    cdef double *x = columns
    cdef double *y = columns + detections
    cdef double *clutter = columns + 2 * detections
    # the largest variance of a detection along any axis, up to each detection in the order of range
    cdef double *most_noise = columns + 3 * detections
    cdef bint failed = pairs == NULL or near == NULL or columns == NULL
    with nogil:
        for d in range(0 if failed else detections):
            x[d], y[d], clutter[d] = place[d, 0], place[d, 1], exp(log_clutter[d])
            most_noise[d] = most_noise[d - 1] if d else 0
            for i in range(axes):
                most_noise[d] = max(most_noise[d], noise[d, i, i])
        for t in range(tracks):
            if failed:
                break
            centre = 0
            widest = 0
            for i in range(axes):
                centre += state[t, i] * state[t, i]
                widest += covariance[t, i, i]
            centre = sqrt(centre)
            ratio = exp(rows[t].log_seen - rows[t].log_missed)
            add = max(rows[t].turn_m2, rows[t].body_m2)
            # No ellipse reaches farther than its largest eigenvalue, and that is at most the trace. Detections that
            # are too far even with the noise of the farthest of all cannot widen the reach either.
            reach = sqrt(gate * (widest + axes * (most_noise[detections - 1] + add)))
            last = _first_beyond(range_m, centre + reach)
            if last == 0:
                continue
            reach = sqrt(gate * (widest + axes * (most_noise[last - 1] + add)))
            first = _first_beyond(range_m, centre - reach)
            reach = sqrt(gate * (max(covariance[t, 0, 0], covariance[t, 1, 1]) + most_noise[last - 1] + add))
            found = 0
            for d in range(first, last):  # most are passed over here, without a branch
                near[found] = d
                found += (fabs(x[d] - state[t, 0]) <= reach) & (fabs(y[d] - state[t, 1]) <= reach)
            for n in range(found):
                d = near[n]
                for i in range(axes):
                    innovation[i] = place[d, i] - state[t, i]
                d2 = _widest(&covariance[t, 0, 0], &noise[d, 0, 0], innovation, add, axes, &determinant)
                if d2 > gate:
                    continue
                likely = 0
                for i in range(classes):
                    likely += strengths[t, i] * odds[d, i]
                # and of the rest most here: no explanation gives more than exp(-d2 / 2) / sqrt(determinant), and
                # e^-x < 1 / (1 + x + x^2 / 2)
                bound = unit * likely * ratio / clutter[d] / (1 + 0.5 * d2 + 0.125 * d2 * d2)
                if bound * bound < determinant:
                    continue
                if count == capacity:
                    capacity *= 2
                    grown = <Pair *>realloc(pairs, capacity * sizeof(Pair))
                    if grown == NULL:
                        failed = True
                        break
                    pairs = grown
                if not _explain(
                    &rows[t], &covariance[t, 0, 0], &noise[d, 0, 0], innovation, axes, gate, &pairs[count]
                ):
                    continue
                apart = 0
                for i in range(axes):
                    apart += innovation[i] * innovation[i]
                pairs[count].track = t
                pairs[count].detection = d
                pairs[count].padding = 0
                pairs[count].apart_m2 = apart / axes
                pairs[count].place += rows[t].log_seen - log_clutter[d]
                pairs[count].gain = pairs[count].place + log(max(likely, 1e-300)) - rows[t].log_missed
                if pairs[count].gain > 0:
                    count += 1
    try:
        if failed:
            raise MemoryError
        result = np.empty(count, PAIR)
        if count:
            _copy(result, pairs, count)
        return result
    finally:
        free(pairs)
        free(near)
        free(columns)


cdef int _first_beyond(const double[::1] increasing, double value) noexcept nogil:
    """Return the index of the first that is not below the value; the length where there is none."""
    cdef int low = 0, high = <int>increasing.shape[0], middle
    while low < high:
        middle = (low + high) // 2
        if increasing[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


cdef _copy(result, Pair *pairs, Py_ssize_t count):
    cdef Pair[::1] out = result
    cdef Py_ssize_t i
    for i in range(count):
        out[i] = pairs[i]
