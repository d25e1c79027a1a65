# cython: boundscheck=False, wraparound=False, cdivision=True
"""Score: what the scores of all tracks come to in a ping: what they expect, who is confirmed, who ends."""

from libc.math cimport INFINITY, asin, atan2, expm1, log, sqrt

import numpy as np

from .records cimport Track


cdef void _check(bint right, str what) except *:
    if not right:
        raise ValueError(f"{what}: expected one row for each track")


def expect(
    Track[::1] rows,
    const double[:, ::1] strengths,
    const double[:, :, ::1] extent,
    double[:, ::1] chance,
    *,
    double dt_s,
    double placed,
    double turn_speed_m_s,
    double turns_per_s,
):
    """Fill the columns of this ping: what each track expects of it.

    Args:
      rows: dtype TRACK.
      strengths: shape (tracks, strengths): probability of each strength.
      extent: shape (tracks, axes, axes); 0 for points.
      chance: shape (tracks, strengths): probability that a visible animal of each strength is above the threshold;
        becomes the probability that the track is missed.
      placed: probability that the echo of a visible animal lies in the gate and is not hidden.
      turn_speed_m_s: standard deviation of a change of velocity.
    """
    cdef Py_ssize_t t, k, tracks = rows.shape[0], classes = strengths.shape[1]
    cdef Py_ssize_t cells = extent.shape[1] * extent.shape[2]
    _check(strengths.shape[0] == tracks and chance.shape[0] == tracks, "strengths")
    _check(chance.shape[1] == classes and extent.shape[0] == tracks, "extent")
    cdef double missed, away_s
    cdef bint long_
    cdef Track *row
    with nogil:
        for t in range(tracks):
            row = &rows[t]
            missed = 0
            for k in range(classes):
                chance[t, k] = 1 - chance[t, k] * row.visible * placed
                missed += strengths[t, k] * chance[t, k]
            row.log_missed = log(max(missed, 1e-9))
            row.log_seen = -INFINITY if row.lost else log(max(row.visible, 1e-3) * placed)
            row.leap_chance = row.body_chance
            row.turn_m2 = 0
            row.turn_chance = 0
            if row.id > 0:
                away_s = row.gap_s + dt_s
                row.turn_m2 = turn_speed_m_s * away_s * turn_speed_m_s * away_s
                row.turn_chance = -expm1(-turns_per_s * away_s)
                long_ = False
                for k in range(cells):
                    long_ = long_ or (&extent[t, 0, 0])[k] != 0
                if long_:
                    row.leap_chance = 0


def judge(
    Track[::1] rows,
    const double[:, ::1] state,
    double[:, ::1] sure_state,
    *,
    double time_s,
    double threshold,
    double most,
    double loss,
    double doubt,
    int least_hits,
):
    """Settle the scores of a ping; return which tracks are to be confirmed, in the order of rows.

    Args:
      state: shape (tracks, 2 axes); copied to `sure_state` where a track was seen beyond doubt.
      threshold: score at which a track of at least `least_hits` hits is confirmed.
      most: score that a confirmed track does not exceed.
      loss, doubt: a confirmed track whose score has fallen so far below `most` is lost; in doubt.
    """
    cdef Py_ssize_t t, i, tracks = rows.shape[0], size = state.shape[1], count = 0
    _check(state.shape[0] == tracks and sure_state.shape[0] == tracks and sure_state.shape[1] == size, "state")
    found = np.empty(tracks, np.intp)
    cdef Py_ssize_t[::1] out = found
    cdef Track *row
    with nogil:
        for t in range(tracks):
            row = &rows[t]
            if row.id > 0:
                row.score = min(row.score, most)
                row.lost = row.lost or row.score < most - loss
            row.best = max(row.best, row.score)
            if row.gap_s == 0 and (row.id <= 0 or row.score > most - doubt):
                row.sure_s = time_s
                for i in range(size):
                    sure_state[t, i] = state[t, i]
            if row.id == 0 and row.score > threshold and row.hits >= least_hits:
                out[count] = t
                count += 1
    return found[:count]


def end(
    Track[::1] rows,
    const double[:, ::1] state,
    *,
    double time_s,
    double max_gap_s,
    double never_seen_s,
    double single_s,
    double loss,
    double max_speed_m_s,
    double nearest_m,
    double farthest_m,
    double leftmost_rad,
    double rightmost_rad,
):
    """Return which tracks end with this ping, shape (tracks,), bool.

    Args:
      state: shape (tracks, 2 axes).
      max_gap_s: a confirmed track ends when unseen for so long.
      never_seen_s, single_s: the same for one that is not confirmed, after several hits and after one.
      loss: one that is not confirmed ends when its score is so far below its best, or below 0.
      max_speed_m_s: no animal is faster.
      nearest_m, farthest_m, leftmost_rad, rightmost_rad: what the picture spans. Who has swum out of it may turn back:
        a confirmed track is lost there, and a lost one may be continued.
    """
    cdef Py_ssize_t t, i, tracks = rows.shape[0]
    cdef int axes = <int>state.shape[1] // 2
    _check(state.shape[0] == tracks, "state")
    ended = np.empty(tracks, np.uint8)
    cdef unsigned char[::1] out = ended
    cdef double range_m, bearing_rad, speed2, patience_s
    cdef bint outside
    cdef Track *row
    with nogil:
        for t in range(tracks):
            row = &rows[t]
            range_m = speed2 = 0
            for i in range(axes):
                range_m += state[t, i] * state[t, i]
                speed2 += state[t, axes + i] * state[t, axes + i]
            range_m = sqrt(range_m)
            if axes == 2 or state[t, 1] < 0:
                bearing_rad = atan2(state[t, 0], state[t, 1])
            else:
                bearing_rad = asin(min(max(state[t, 0] / max(range_m, 1e-9), -1.0), 1.0))
            outside = range_m < nearest_m or range_m > farthest_m
            outside = outside or bearing_rad < leftmost_rad or bearing_rad > rightmost_rad
            if row.id > 0:
                out[t] = row.lost and time_s - row.sure_s > max_gap_s
                row.lost = row.lost or outside
                patience_s = max_gap_s
            else:
                out[t] = row.score < 0 or row.score < row.best - loss or outside
                patience_s = min(never_seen_s if row.hits > 1 else single_s, max_gap_s)
            if row.unseen_s > patience_s or speed2 > max_speed_m_s * max_speed_m_s or row.merged:
                out[t] = True
    return ended.view(bool)
