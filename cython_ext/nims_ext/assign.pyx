# cython: boundscheck=False, wraparound=False, cdivision=True
"""Assign: which detection each track is given, so that the sum of all gains is the greatest."""

from libc.math cimport INFINITY
from libc.stdlib cimport free, malloc

import numpy as np

from .records cimport Pair


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
