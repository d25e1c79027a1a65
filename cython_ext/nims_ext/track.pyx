# cython: boundscheck=False, wraparound=False, cdivision=True
"""Track: the arithmetic of the tracker over all tracks and detections of a ping.

States are (position, velocity) of `axes` = 2 or 3 dimensions in metres and metres a second: arrays of shape
(tracks, 2 axes), covariances (tracks, 2 axes, 2 axes), C order. A thousand tracks and a thousand detections stay within
the second-level cache; the work is in the pairs that are near each other, found by sorting the detections by range.
"""

from libc.math cimport INFINITY, exp, log, sqrt
from libc.stdlib cimport free, malloc, realloc

import numpy as np

PAIR = np.dtype(
    [("track", "i4"), ("detection", "i4"), ("explanation", "i4"), ("padding", "i4"), ("place", "f8"), ("gain", "f8")]
)
"""A detection that may belong to a track, as `find_pairs` returns it."""

POINT, BODY, TURN = 0, 1, 2
"""What explains the distance between detection and prediction best: the expected scatter; another part of a long body;
a turn since the animal was last seen."""

cdef struct Pair:
    int track
    int detection
    int explanation
    int padding
    double place
    double gain

cdef double LOG_TWO_PI = 1.8378770664093453


cdef void _check(bint right, str what) except *:
    if not right:
        raise ValueError(what)


def predict(double[:, ::1] state, double[:, :, ::1] covariance, double dt_s, double noise_m2_s3):
    """Move all tracks on by `dt_s` at constant velocity, in place.

    The acceleration is white noise of spectral density `noise_m2_s3` (Bar-Shalom, Li & Kirubarajan 2001, section 6.2).
    """
    cdef Py_ssize_t t, i, j, tracks = state.shape[0], size = state.shape[1], axes = size // 2
    _check(covariance.shape[0] == tracks and covariance.shape[1] == size and covariance.shape[2] == size, "covariance")
    cdef double pp = noise_m2_s3 * dt_s * dt_s * dt_s / 3, pv = noise_m2_s3 * dt_s * dt_s / 2, vv = noise_m2_s3 * dt_s
    with nogil:
        for t in range(tracks):
            for i in range(axes):
                state[t, i] += dt_s * state[t, i + axes]
            for i in range(axes):  # P F': columns of position gain dt times columns of velocity
                for j in range(size):
                    covariance[t, j, i] += dt_s * covariance[t, j, i + axes]
            for i in range(axes):  # F (P F'): the same for rows
                for j in range(size):
                    covariance[t, i, j] += dt_s * covariance[t, i + axes, j]
            for i in range(axes):
                covariance[t, i, i] += pp
                covariance[t, i, i + axes] += pv
                covariance[t, i + axes, i] += pv
                covariance[t, i + axes, i + axes] += vv


cdef double _invert(const double *s, int axes, double *inverse) noexcept nogil:
    """Fill the inverse of a symmetric matrix of 2 or 3 rows; return its determinant."""
    cdef double d, a, b, c
    if axes == 2:
        d = s[0] * s[3] - s[1] * s[2]
        inverse[0] = s[3] / d
        inverse[1] = -s[1] / d
        inverse[2] = -s[2] / d
        inverse[3] = s[0] / d
        return d
    a = s[4] * s[8] - s[5] * s[7]
    b = s[5] * s[6] - s[3] * s[8]
    c = s[3] * s[7] - s[4] * s[6]
    d = s[0] * a + s[1] * b + s[2] * c
    inverse[0] = a / d
    inverse[1] = (s[2] * s[7] - s[1] * s[8]) / d
    inverse[2] = (s[1] * s[5] - s[2] * s[4]) / d
    inverse[3] = b / d
    inverse[4] = (s[0] * s[8] - s[2] * s[6]) / d
    inverse[5] = (s[2] * s[3] - s[0] * s[5]) / d
    inverse[6] = c / d
    inverse[7] = (s[1] * s[6] - s[0] * s[7]) / d
    inverse[8] = (s[0] * s[4] - s[1] * s[3]) / d
    return d


cdef double _distance(const double *s, const double *innovation, int axes, double *log_density) noexcept nogil:
    """Return the squared Mahalanobis distance; `log_density` becomes the log of the Gaussian there."""
    cdef double inverse[9]
    cdef double determinant = _invert(s, axes, inverse), d2 = 0
    cdef int i, j
    if not determinant > 0:
        log_density[0] = -INFINITY
        return INFINITY
    for i in range(axes):
        for j in range(axes):
            d2 += innovation[i] * inverse[i * axes + j] * innovation[j]
    log_density[0] = -0.5 * (d2 + log(determinant) + axes * LOG_TWO_PI)
    return d2


def find_pairs(
    const double[:, ::1] state,
    const double[:, :, ::1] covariance,
    const double[:, ::1] place,
    const double[:, :, ::1] noise,
    const double[::1] range_m,
    const double[:, ::1] strength_odds,
    const double[::1] log_clutter,
    const double[:, ::1] strengths,
    const double[::1] log_seen,
    const double[::1] log_missed,
    const double[::1] turn_variance,
    const double[::1] turn_chance,
    const double[::1] body_variance,
    const double[::1] body_chance,
    double gate,
):
    """Return the pairs of track and detection that are near each other and better joined than alone.

    Args:
      state, covariance: predicted tracks.
      place, noise: detections, m: shape (detections, axes) and (detections, axes, axes).
      range_m: distance of the detections from the sonar, increasing.
      strength_odds: shape (detections, strengths): density of the measured strength for an animal of each strength
        over that for clutter.
      log_clutter: log of the density of clutter around each detection, m^-axes.
      strengths: shape (tracks, strengths): probability that the track is of each strength.
      log_seen, log_missed: per track, log of the probability of being there to be seen, and of a miss.
      turn_variance, turn_chance: per track, position variance that a turn adds and its probability; 0: not considered.
      body_variance, body_chance: the same for scatter over a long body.
      gate: squared Mahalanobis distance beyond which nothing is joined.

    Returns: structured array of dtype PAIR: `place` is the log-likelihood ratio of the position against clutter, `gain`
      that of the whole against a miss, always positive.
    """
    cdef int tracks = <int>state.shape[0], detections = <int>place.shape[0], axes = <int>place.shape[1]
    cdef int size = 2 * axes, classes = <int>strengths.shape[1]
    _check(axes == 2 or axes == 3, "expected 2 or 3 axes")
    _check(state.shape[1] == size and covariance.shape[0] == tracks and covariance.shape[1] == size, "tracks")
    _check(covariance.shape[2] == size and strengths.shape[0] == tracks, "tracks")
    _check(noise.shape[0] == detections and noise.shape[1] == axes and noise.shape[2] == axes, "noise")
    _check(range_m.shape[0] == detections and log_clutter.shape[0] == detections, "detections")
    _check(strength_odds.shape[0] == detections and strength_odds.shape[1] == classes, "strength_odds")
    _check(log_seen.shape[0] == tracks and log_missed.shape[0] == tracks, "tracks")
    _check(turn_variance.shape[0] == tracks and turn_chance.shape[0] == tracks, "tracks")
    _check(body_variance.shape[0] == tracks and body_chance.shape[0] == tracks, "tracks")
    cdef int t, d, i, j, k, low, high, middle, best
    cdef double centre, reach, widest
    cdef double spread[9]
    cdef double inverse[9]
    cdef double innovation[3]
    cdef double density[3]
    cdef double d2, nearest, total, odds, add
    cdef Py_ssize_t count = 0, capacity = 1024
    cdef Pair *pairs = <Pair *>malloc(capacity * sizeof(Pair))
    cdef Pair *grown
    cdef double most_noise = 0
    cdef bint failed = pairs == NULL
    with nogil:
        for d in range(detections):
            for i in range(axes):
                most_noise = max(most_noise, noise[d, i, i])
        for t in range(tracks):
            if failed:
                break
            centre = 0
            widest = 0
            for i in range(axes):
                centre += state[t, i] * state[t, i]
                widest += covariance[t, i, i]
            centre = sqrt(centre)
            # no ellipse reaches farther than its largest eigenvalue, and that is at most the trace
            reach = sqrt(gate * (widest + axes * (most_noise + max(turn_variance[t], body_variance[t]))))
            low, high = 0, detections
            while low < high:
                middle = (low + high) // 2
                if range_m[middle] < centre - reach:
                    low = middle + 1
                else:
                    high = middle
            for d in range(low, detections):
                if range_m[d] > centre + reach:
                    break
                d2 = 0
                for i in range(axes):
                    innovation[i] = place[d, i] - state[t, i]
                    d2 += innovation[i] * innovation[i]
                if d2 > reach * reach:
                    continue
                # most are rejected here, by the widest of the explanations and without a logarithm
                add = max(turn_variance[t], body_variance[t])
                for i in range(axes):
                    for j in range(axes):
                        spread[i * axes + j] = covariance[t, i, j] + noise[d, i, j]
                    spread[i * axes + i] += add
                if _invert(spread, axes, inverse) > 0:
                    d2 = 0
                    for i in range(axes):
                        for j in range(axes):
                            d2 += innovation[i] * inverse[i * axes + j] * innovation[j]
                    if d2 > gate:
                        continue
                density[0] = density[1] = density[2] = -INFINITY
                nearest = INFINITY
                for k in range(3):
                    if k == 1 and not body_chance[t] > 0 or k == 2 and not turn_chance[t] > 0:
                        continue
                    add = 0 if k == 0 else (body_variance[t] if k == 1 else turn_variance[t])
                    for i in range(axes):
                        for j in range(axes):
                            spread[i * axes + j] = covariance[t, i, j] + noise[d, i, j]
                        spread[i * axes + i] += add
                    nearest = min(nearest, _distance(spread, innovation, axes, &density[k]))
                if nearest > gate:
                    continue
                density[0] += log(max(1e-9, 1 - body_chance[t] - turn_chance[t]))
                density[1] += log(body_chance[t]) if body_chance[t] > 0 else 0
                density[2] += log(turn_chance[t]) if turn_chance[t] > 0 else 0
                best = 0
                if density[1] > density[best]:
                    best = 1
                if density[2] > density[best]:
                    best = 2
                total = 0
                for k in range(3):
                    total += exp(density[k] - density[best])
                odds = 0
                for k in range(classes):
                    odds += strengths[t, k] * strength_odds[d, k]
                if count == capacity:
                    capacity *= 2
                    grown = <Pair *>realloc(pairs, capacity * sizeof(Pair))
                    if grown == NULL:
                        failed = True
                        break
                    pairs = grown
                pairs[count].track = t
                pairs[count].detection = d
                pairs[count].explanation = best
                pairs[count].padding = 0
                pairs[count].place = density[best] + log(total) + log_seen[t] - log_clutter[d]
                pairs[count].gain = pairs[count].place + log(max(odds, 1e-300)) - log_missed[t]
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


cdef _copy(result, Pair *pairs, Py_ssize_t count):
    cdef Pair[::1] out = result
    cdef Py_ssize_t i
    for i in range(count):
        out[i] = pairs[i]


def correct(
    double[:, ::1] state,
    double[:, :, ::1] covariance,
    const int[::1] tracks,
    const int[::1] detections,
    const double[:, ::1] place,
    const double[:, :, ::1] noise,
    const double[::1] body_variance,
    const double[::1] turn_variance,
    const double[::1] turn_time_s,
):
    """Correct tracks by their detections, in place: the Kalman update in Joseph's form, which keeps symmetry.

    Args:
      tracks, detections: indices of the pairs.
      body_variance: per pair, m^2, added to the noise of the detection.
      turn_variance, turn_time_s: per pair, variance of a change of velocity, m^2/s^2, and how long ago it was at most;
        it is added to the predicted covariance before.
    """
    cdef Py_ssize_t pairs = tracks.shape[0], p, t, d, i, j, k
    cdef int axes = <int>place.shape[1], size = 2 * axes
    _check(axes == 2 or axes == 3, "expected 2 or 3 axes")
    _check(state.shape[1] == size and covariance.shape[1] == size and covariance.shape[2] == size, "tracks")
    _check(covariance.shape[0] == state.shape[0] and detections.shape[0] == pairs, "pairs")
    _check(noise.shape[0] == place.shape[0] and noise.shape[1] == axes and noise.shape[2] == axes, "noise")
    _check(body_variance.shape[0] == pairs and turn_variance.shape[0] == pairs, "pairs")
    _check(turn_time_s.shape[0] == pairs, "pairs")
    cdef double spread[9]
    cdef double inverse[9]
    cdef double error[9]
    cdef double innovation[3]
    cdef double gain[18]
    cdef double left[36]
    cdef double v, tau, value
    with nogil:
        for p in range(pairs):
            t = tracks[p]
            d = detections[p]
            if t < 0 or t >= state.shape[0] or d < 0 or d >= place.shape[0]:
                continue
            v, tau = turn_variance[p], turn_time_s[p]
            for i in range(axes):
                covariance[t, i, i] += v * tau * tau
                covariance[t, i, i + axes] += v * tau
                covariance[t, i + axes, i] += v * tau
                covariance[t, i + axes, i + axes] += v
                innovation[i] = place[d, i] - state[t, i]
                for j in range(axes):
                    error[i * axes + j] = noise[d, i, j] + (body_variance[p] if i == j else 0)
            for i in range(axes):
                for j in range(axes):
                    spread[i * axes + j] = covariance[t, i, j] + error[i * axes + j]
            if not _invert(spread, axes, inverse) > 0:
                continue
            for i in range(size):
                for j in range(axes):
                    value = 0
                    for k in range(axes):
                        value += covariance[t, i, k] * inverse[k * axes + j]
                    gain[i * axes + j] = value
            for i in range(size):
                for j in range(axes):
                    state[t, i] += gain[i * axes + j] * innovation[j]
            # (1 - K H) P (1 - K H)' + K R K'
            for i in range(size):
                for j in range(size):
                    value = covariance[t, i, j]
                    for k in range(axes):
                        value -= gain[i * axes + k] * covariance[t, k, j]
                    left[i * size + j] = value
            for i in range(size):
                for j in range(i + 1):
                    value = left[i * size + j]
                    for k in range(axes):
                        value -= left[i * size + k] * gain[j * axes + k]
                    for k in range(axes):
                        v = 0
                        for d in range(axes):
                            v += error[k * axes + d] * gain[j * axes + d]
                        value += gain[i * axes + k] * v
                    covariance[t, i, j] = value
                    covariance[t, j, i] = value


cdef int _augment(
    const double *cost, int rows, int columns, int start,
    double *row_price, double *column_price, int *owner, int *before, double *distance, char *done,
) noexcept nogil:
    """Give row `start` a column along the shortest augmenting path; return the number of columns scanned."""
    # columns >= `columns` are private: column columns + r costs row r nothing and means "alone"
    cdef int total = columns + rows, c, row = start, nearest, last, scanned = 0, previous
    cdef double reached = 0, through
    for c in range(total):
        distance[c] = INFINITY
        before[c] = -1
        done[c] = 0
    while True:
        for c in range(columns):
            if not done[c] and cost[row * columns + c] < 0:
                through = reached + cost[row * columns + c] - row_price[row] - column_price[c]
                if through < distance[c]:
                    distance[c] = through
                    before[c] = row
        c = columns + row
        if not done[c]:
            through = reached - row_price[row] - column_price[c]
            if through < distance[c]:
                distance[c] = through
                before[c] = row
        nearest = -1
        for c in range(total):
            if not done[c] and (nearest < 0 or distance[c] < distance[nearest]):
                nearest = c
        reached = distance[nearest]
        done[nearest] = 1
        scanned += 1
        if owner[nearest] < 0:
            break
        row = owner[nearest]
    row_price[start] += reached
    for c in range(total):
        if done[c]:
            if owner[c] >= 0:
                row_price[owner[c]] += reached - distance[c]
            column_price[c] -= reached - distance[c]
    last = nearest
    while True:
        row = before[last]
        # the column that this row gives up becomes the next to be filled
        previous = -1
        if row != start:
            for c in range(total):
                if owner[c] == row:
                    previous = c
                    break
        owner[last] = row
        if row == start:
            break
        last = previous
    return scanned


def assign(const double[:, ::1] cost):
    """Return for each row the column that it is given, or -1, with the least possible sum of costs.

    Zero is the price of leaving a row or a column alone; only pairs of negative cost are made, and NaN or +inf are
    forbidden pairs. Shortest augmenting paths (Jonker & Volgenant 1987) over the columns and one private column for
    each row that means "alone".

    Args:
      cost: float64, shape (rows, columns).
    """
    cdef int rows = <int>cost.shape[0], columns = <int>cost.shape[1], total = rows + columns, i
    given = np.full(rows, -1, np.int32)
    if rows == 0 or columns == 0:
        return given
    cdef int[::1] out = given
    cdef double *prices = <double *>malloc((rows + 2 * total) * sizeof(double))
    cdef int *links = <int *>malloc(2 * total * sizeof(int))
    cdef char *done = <char *>malloc(total)
    try:
        if prices == NULL or links == NULL or done == NULL:
            raise MemoryError
        with nogil:
            for i in range(rows + total):
                prices[i] = 0
            for i in range(total):
                links[i] = -1
            # duals start at each row's least cost, so that all reduced costs are non-negative
            for i in range(rows):
                prices[i] = _least(&cost[i, 0], columns)
            for i in range(rows):
                _augment(
                    &cost[0, 0], rows, columns, i,
                    prices, prices + rows, links, links + total, prices + rows + total, done,
                )
            for i in range(columns):
                if links[i] >= 0:
                    out[links[i]] = i
        return given
    finally:
        free(prices)
        free(links)
        free(done)


cdef double _least(const double *row, int columns) noexcept nogil:
    cdef double least = 0
    cdef int c
    for c in range(columns):
        if row[c] < least:
            least = row[c]
    return least


cdef int _top(int *parent, int node) noexcept nogil:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


def join(pairs, int tracks, int detections):
    """Return the indices of the pairs to be joined: those of the greatest sum of gains, each track and detection once.

    Tracks and detections that no chain of pairs connects do not matter to each other: each connected part is solved by
    itself (`assign`), and most have one pair.

    Args:
      pairs: dtype PAIR, of positive gain, at most one for a track and a detection.
      tracks, detections: how many there are.
    """
    cdef Py_ssize_t count = len(pairs), i, j, start, stop
    if count == 0:
        return np.zeros(0, np.intp)
    cdef Pair[::1] pair = np.ascontiguousarray(pairs)
    parents = np.arange(tracks + detections, dtype=np.int32)
    cdef int[::1] parent = parents
    parts = np.empty(count, np.int32)
    cdef int[::1] part = parts
    cdef int a, b
    for i in range(count):
        if not (0 <= pair[i].track < tracks and 0 <= pair[i].detection < detections):
            raise ValueError("pairs: index out of range")
        a = _top(&parent[0], pair[i].track)
        b = _top(&parent[0], tracks + pair[i].detection)
        parent[max(a, b)] = min(a, b)
    for i in range(count):
        part[i] = _top(&parent[0], pair[i].track)
    cdef Py_ssize_t[::1] order = np.argsort(parts, kind="stable").astype(np.intp)
    # rows and columns of a part by track and detection; -1: not yet met in this part
    cdef int[::1] place = np.full(tracks + detections, -1, np.int32)
    cdef list joined = []
    cdef int rows, columns
    start = 0
    while start < count:
        stop = start + 1
        while stop < count and part[order[stop]] == part[order[start]]:
            stop += 1
        if stop - start == 1:
            joined.append(order[start])
            start = stop
            continue
        rows = columns = 0
        for i in range(start, stop):
            j = order[i]
            if place[pair[j].track] < 0:
                place[pair[j].track] = rows
                rows += 1
            if place[tracks + pair[j].detection] < 0:
                place[tracks + pair[j].detection] = columns
                columns += 1
        joined += _join_part(pair, order[start:stop], place, tracks, rows, columns)
        start = stop
    return np.array(joined, np.intp)


cdef list _join_part(Pair[::1] pair, Py_ssize_t[::1] members, int[::1] place, int tracks, int rows, int columns):
    cdef Py_ssize_t i, best = members[0]
    cdef int row, column
    if rows == 1 or columns == 1:
        for i in range(members.shape[0]):
            if pair[members[i]].gain > pair[best].gain:
                best = members[i]
        return [best]
    costs = np.full((rows, columns), np.inf)
    whiches = np.full((rows, columns), -1, np.intp)
    cdef double[:, ::1] cost = costs
    cdef Py_ssize_t[:, ::1] which = whiches
    for i in range(members.shape[0]):
        row = place[pair[members[i]].track]
        column = place[tracks + pair[members[i]].detection]
        cost[row, column] = -pair[members[i]].gain
        which[row, column] = members[i]
    cdef int[::1] given = assign(cost)
    return [which[row, given[row]] for row in range(rows) if given[row] >= 0]
