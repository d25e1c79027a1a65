# cython: boundscheck=False, wraparound=False, cdivision=True
"""Table: the rows of all tracks, and what the echoes of a ping change in them.

Each step here and in `nims_ext.score` is one pass over the rows, 270 bytes of scalars and 72 of strengths each: a
thousand tracks stay within the second-level cache. What a confirmed track needs beyond that is done in Python: there
are few of them.
"""

from libc.math cimport expm1, isfinite, log
from libc.string cimport memmove, memset

import numpy as np

from .records cimport Detection, Pair, Track

TRACK = np.dtype(
    [
        ("id", "i8"),  # 0: not confirmed
        ("first_s", "f8"),
        ("last_hit_s", "f8"),
        ("age_s", "f8"),
        ("gap_s", "f8"),  # since it was last seen; 0: seen in this ping
        ("unseen_s", "f8"),  # the same, but time in places where it could not be seen counts less
        ("background", "f8"),  # sum over the hits of the intensity around them
        ("dimmed", "f8"),  # by how much the surroundings of the prediction outshine those where it was seen
        ("score", "f8"),  # log-likelihood ratio of an animal to noise
        ("best", "f8"),
        ("visible", "f8"),  # probability that it can be seen now
        ("body_m2", "f8"),  # variance of the echoes over its body
        ("body_chance", "f8"),
        ("company", "f8"),  # share of the last pings with echoes beside its own that are nobody's
        ("sure_s", "f8"),  # when it was last seen beyond doubt
        ("area_m2", "f8"),  # sums over the hits
        ("power", "f8"),
        ("length_m", "f8"),  # of the last hit
        ("width_m", "f8"),
        ("range_sd_m", "f8"),
        ("bearing_sd_rad", "f8"),
        ("min_range_m", "f8"),
        ("max_range_m", "f8"),
        ("min_bearing_rad", "f8"),
        ("max_bearing_rad", "f8"),
        ("min_elevation_rad", "f8"),
        ("max_elevation_rad", "f8"),
        ("log_seen", "f8"),  # of this ping (`expect`): log of the probability that it is there to be seen
        ("log_missed", "f8"),  # ... that it is missed
        ("leap_chance", "f8"),  # ... probability of an echo from another part of its body
        ("turn_m2", "f8"),  # ... variance that a turn adds to its place
        ("turn_chance", "f8"),
        ("hits", "i4"),
        ("pings", "i4"),
        ("lost", "?"),  # confirmed once, and followed noise since: waits to be continued
        ("merged", "?"),  # it has been taken over and is to be removed
        ("calibrated", "?"),
        ("joined", "?"),  # seen in this ping
    ],
    align=True,
)
"""The scalars of a track."""

cdef double DIM = 4.0, SHADOW_PATIENCE = 4.0
# Where the surroundings are so much brighter, waiting for an animal takes so many times longer.
cdef double FIRST_VISIBLE = 0.95
cdef double FIRST_BODY_M2 = 0.15 * 0.15, FIRST_BODY_CHANCE = 0.1
# What is assumed of a body before its echoes tell: their scatter beyond the sonar's, and how often it matters.


cdef void _check(bint right, str what) except *:
    if not right:
        raise ValueError(f"{what}: expected one row for each track or detection")


cdef void _measure(Track *row, const Detection *echo) noexcept nogil:
    row.calibrated = isfinite(echo.ts_db)
    row.power += 10 ** (echo.ts_db / 10) if row.calibrated else echo.peak
    row.area_m2 += echo.area_m2
    row.background += echo.peak / 10 ** (echo.snr_db / 10)
    row.length_m = echo.length_m
    row.width_m = echo.width_m
    row.range_sd_m = echo.range_sd_m
    row.bearing_sd_rad = echo.bearing_sd_rad


cdef void _hit(
    Track *row, double *strength, Py_ssize_t classes, const Detection *echo, const double *odds, const Pair *pair,
    double time_s, int axes,
) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t k
    for k in range(classes):
        strength[k] *= odds[k]
        total += strength[k]
    total = max(total, 1e-300)
    for k in range(classes):
        strength[k] /= total
    row.score += log(total) + pair.place
    row.visible = 1
    row.gap_s = 0
    row.unseen_s = 0
    row.last_hit_s = time_s
    row.hits += 1
    row.min_range_m = min(row.min_range_m, echo.range_m)
    row.max_range_m = max(row.max_range_m, echo.range_m)
    row.min_bearing_rad = min(row.min_bearing_rad, echo.bearing_rad)
    row.max_bearing_rad = max(row.max_bearing_rad, echo.bearing_rad)
    if axes == 3:
        row.min_elevation_rad = min(row.min_elevation_rad, echo.elevation_rad)
        row.max_elevation_rad = max(row.max_elevation_rad, echo.elevation_rad)
    _measure(row, echo)
    # a single leap is a turn, many are a body; so all leaps count for the body's chance
    cdef bint leap = pair.explanation != 0
    row.body_chance = min(max(row.body_chance + 0.1 * (leap - row.body_chance), 0.005), 0.9)
    if leap:
        row.body_m2 = min(max(row.body_m2 + 0.1 * (pair.apart_m2 - row.body_m2), 0.05 * 0.05), 0.5 * 0.5)


cdef void _miss(Track *row, double *strength, Py_ssize_t classes, const double *missed) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t k
    for k in range(classes):
        strength[k] *= missed[k]
        total += strength[k]
    total = max(total, 1e-9)
    for k in range(classes):
        strength[k] /= total
    # visible and yet missed, over all ways to be missed
    row.visible = min(max((total - (1 - row.visible)) / total, 0.0), 1.0)
    row.score += log(total)


def tell(
    Track[::1] rows,
    double[:, ::1] strengths,
    const double[:, ::1] missed,
    const Pair[::1] pairs,
    const Detection[::1] detections,
    const double[:, ::1] odds,
    *,
    int axes,
    double dt_s,
    double time_s,
    double hidden_after_s,
    double visible_after_s,
):
    """Give each track what the ping says about it: its echo, or that there was none.

    Args:
      rows, strengths: changed in place.
      missed: as left by `expect`.
      pairs: dtype PAIR, at most one for a track and a detection.
      detections, odds: dtype DETECTION, and shape (detections, strengths) as for `find_pairs`.
      hidden_after_s, visible_after_s: mean times after which a visible animal fades, and after which it is back.

    Raises:
      ValueError: lengths do not fit, or a pair names a track or detection that is not there.
    """
    cdef Py_ssize_t t, p, tracks = rows.shape[0], classes = strengths.shape[1], count = detections.shape[0]
    _check(strengths.shape[0] == tracks and missed.shape[0] == tracks and missed.shape[1] == classes, "strengths")
    _check(odds.shape[0] == count and odds.shape[1] == classes, "odds")
    cdef double hide = -expm1(-dt_s / hidden_after_s), show = -expm1(-dt_s / visible_after_s)
    cdef Track *row
    for p in range(pairs.shape[0]):
        if not (0 <= pairs[p].track < tracks and 0 <= pairs[p].detection < count):
            raise ValueError("pairs: index out of range")
    with nogil:
        for t in range(tracks):
            row = &rows[t]
            row.joined = False
            row.age_s += dt_s
            row.gap_s += dt_s
            row.unseen_s += dt_s / SHADOW_PATIENCE if row.dimmed > DIM else dt_s
            row.pings += 1
        for p in range(pairs.shape[0]):
            t = pairs[p].track
            rows[t].joined = True
            _hit(
                &rows[t], &strengths[t, 0], classes, &detections[pairs[p].detection],
                &odds[pairs[p].detection, 0], &pairs[p], time_s, axes,
            )
        for t in range(tracks):
            row = &rows[t]
            if not row.joined:
                _miss(row, &strengths[t, 0], classes, &missed[t, 0])
            row.visible = min(max(row.visible - hide * row.visible + show * (1 - row.visible), 0.02), 0.99)


def begin(
    Track[::1] rows,
    double[:, ::1] strengths,
    const Detection[::1] detections,
    const Py_ssize_t[::1] chosen,
    const double[:, ::1] odds,
    const double[::1] score,
    *,
    int axes,
    double time_s,
):
    """Fill new rows, one for each of the chosen detections.

    Args:
      rows, strengths: to be filled, as long as `chosen`.
      odds: shape (detections, strengths); every strength is as likely before it was heard.
      score: one for each detection.

    Raises:
      ValueError: lengths do not fit, or a detection is not there.
    """
    cdef Py_ssize_t n, d, k, count = chosen.shape[0], classes = strengths.shape[1]
    _check(rows.shape[0] == count and strengths.shape[0] == count, "rows")
    _check(odds.shape[0] == detections.shape[0] and odds.shape[1] == classes, "odds")
    _check(score.shape[0] == detections.shape[0], "score")
    for n in range(count):
        if not 0 <= chosen[n] < detections.shape[0]:
            raise ValueError("chosen: index out of range")
    cdef Track *row
    cdef const Detection *echo
    cdef double total
    with nogil:
        for n in range(count):
            d = chosen[n]
            row, echo = &rows[n], &detections[d]
            memset(row, 0, sizeof(Track))
            row.first_s = row.last_hit_s = row.sure_s = time_s
            row.hits = row.pings = 1
            row.score = row.best = score[d]
            row.visible = FIRST_VISIBLE
            row.dimmed = 1
            row.body_m2, row.body_chance = FIRST_BODY_M2, FIRST_BODY_CHANCE
            row.min_range_m = row.max_range_m = echo.range_m
            row.min_bearing_rad = row.max_bearing_rad = echo.bearing_rad
            if axes == 3:
                row.min_elevation_rad = row.max_elevation_rad = echo.elevation_rad
            _measure(row, echo)
            total = 0
            for k in range(classes):
                total += odds[d, k]
            for k in range(classes):
                strengths[n, k] = odds[d, k] / max(total, 1e-300)


def compact(const unsigned char[::1] keep, unsigned char[:, ::1] rows):
    """Move the rows to be kept to the front, in their order; return how many there are.

    Args:
      keep: one for each row, 0 or 1.
      rows: bytes of any array, shape (rows, bytes of a row).
    """
    cdef Py_ssize_t count = rows.shape[0], size = rows.shape[1], start = 0, stop, kept = 0
    _check(keep.shape[0] == count, "keep")
    with nogil:
        while start < count:
            if not keep[start]:
                start += 1
                continue
            stop = start + 1
            while stop < count and keep[stop]:
                stop += 1
            if kept < start and size > 0:
                memmove(&rows[kept, 0], &rows[start, 0], (stop - start) * size)
            kept += stop - start
            start = stop
    return kept
