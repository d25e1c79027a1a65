# cython: boundscheck=False, wraparound=False, cdivision=True
"""Group: cells above a threshold that touch each other, as one thing with a place and an extent.

Images are float32, shape (samples, beams), C order.
"""

from libc.stdlib cimport free, malloc

import numpy as np

from .records cimport Detection
from .scan cimport next_above

GROUP = np.dtype(
    [
        ("cells", "i4"),
        ("first_row", "i4"),
        ("last_row", "i4"),
        ("first_column", "i4"),
        ("last_column", "i4"),
        ("peak_row", "i4"),
        ("peak_column", "i4"),
        ("padding", "i4"),
        ("row", "f8"),  # centroid, weighted by intensity
        ("column", "f8"),
        ("row_variance", "f8"),  # weighted second moment about the centroid
        ("column_variance", "f8"),
        ("total", "f8"),  # sum of the intensity
        ("peak", "f8"),  # largest statistic
    ]
)
"""One group of 8-connected cells, as `group_cells` returns it."""

cdef struct Group:
    int cells
    int first_row
    int last_row
    int first_column
    int last_column
    int peak_row
    int peak_column
    int padding
    double row
    double column
    double row_variance
    double column_variance
    double total
    double peak

cdef struct Run:
    int row
    int first
    int last
    int parent


cdef int _root(Run *runs, int index) noexcept nogil:
    while runs[index].parent != index:
        runs[index].parent = runs[runs[index].parent].parent
        index = runs[index].parent
    return index


cdef int _find_runs(const float *image, int rows, int columns, float threshold, Run *runs, int capacity) noexcept nogil:
    """Fill `runs` with the stretches of cells above the threshold, joined to those they touch in the row before.

    Returns their number, or -1 when there are more than `capacity`.
    """
    cdef int count = 0, row, column, previous = 0, previous_end = 0, row_start, candidate, a, b
    cdef const float *line
    for row in range(rows):
        line = image + <Py_ssize_t>row * columns
        row_start = count
        candidate = previous
        column = 0
        while True:
            column = <int>next_above(line, column, columns, threshold)
            if column == columns:
                break
            if count == capacity:
                return -1
            runs[count].row = row
            runs[count].first = column
            while column < columns and line[column] > threshold:
                column += 1
            runs[count].last = column - 1
            runs[count].parent = count
            # runs of the row before that end left of this one (diagonals included) cannot touch later ones either
            while candidate < previous_end and runs[candidate].last < runs[count].first - 1:
                candidate += 1
            a = candidate
            while a < previous_end and runs[a].first <= runs[count].last + 1:
                b = _root(runs, a)
                runs[b].parent = _root(runs, count)
                a += 1
            count += 1
        previous, previous_end = row_start, count
    return count


def group_cells(const float[:, ::1] statistic, const float[:, ::1] intensity, float threshold, int max_runs=200_000):
    """Return the groups of 8-connected cells whose `statistic` is above `threshold`; NaN is below.

    Args:
      statistic, intensity: float32, shape (samples, beams).
      max_runs: a ping with more stretches of cells above the threshold is flooded.

    Returns: structured array of dtype GROUP, or None when the ping is flooded.

    One pass over the statistic (4 bytes read per cell); intensity is read only inside groups.
    """
    cdef int rows = <int>statistic.shape[0], columns = <int>statistic.shape[1], count, groups = 0, i, j, column
    if intensity.shape[0] != rows or intensity.shape[1] != columns:
        given = (intensity.shape[0], intensity.shape[1])
        raise ValueError(f"expected intensity of shape {(rows, columns)}, got {given}")
    cdef Run *runs = <Run *>malloc(max(max_runs, 1) * sizeof(Run))
    cdef int *label = NULL
    cdef Group *group
    cdef Group[::1] out
    cdef const float *stat = &statistic[0, 0]
    cdef const float *power = &intensity[0, 0]
    cdef Py_ssize_t at
    cdef double w
    if runs == NULL:
        raise MemoryError
    try:
        with nogil:
            count = _find_runs(stat, rows, columns, threshold, runs, max_runs)
        if count < 0:
            return None
        label = <int *>malloc(max(count, 1) * sizeof(int))
        if label == NULL:
            raise MemoryError
        for i in range(count):
            if _root(runs, i) == i:
                label[i] = groups
                groups += 1
        result = np.zeros(groups, GROUP)
        if groups == 0:
            return result
        out = result
        with nogil:
            for i in range(groups):
                out[i].first_row = rows
                out[i].first_column = columns
                out[i].last_row = -1
                out[i].last_column = -1
                out[i].peak = -1e300
            for i in range(count):
                j = label[_root(runs, i)]
                group = &out[j]
                group.first_row = min(group.first_row, runs[i].row)
                group.last_row = max(group.last_row, runs[i].row)
                group.first_column = min(group.first_column, runs[i].first)
                group.last_column = max(group.last_column, runs[i].last)
                for column in range(runs[i].first, runs[i].last + 1):
                    at = <Py_ssize_t>runs[i].row * columns + column
                    w = power[at] if power[at] > 0 else 0.0
                    group.cells += 1
                    group.total += w
                    group.row += w * runs[i].row
                    group.column += w * column
                    group.row_variance += w * runs[i].row * runs[i].row
                    group.column_variance += w * column * <double>column
                    if stat[at] > group.peak:
                        group.peak = stat[at]
                        group.peak_row = runs[i].row
                        group.peak_column = column
            for i in range(groups):
                group = &out[i]
                if group.total > 0:
                    group.row /= group.total
                    group.column /= group.total
                    group.row_variance = max(0.0, group.row_variance / group.total - group.row * group.row)
                    group.column_variance = max(0.0, group.column_variance / group.total - group.column * group.column)
                else:
                    group.row = group.peak_row
                    group.column = group.peak_column
        return result
    finally:
        free(runs)
        free(label)


def extend(
    Detection[::1] detections,
    const int[::1] rows,
    const int[::1] columns,
    const Group[::1] groups,
    const double[::1] step_m,
    const double[::1] step_rad,
):
    """Give detections the extent of the groups of cells whose greatest cell they are, in place.

    Args:
      detections: dtype DETECTION.
      rows, columns: their cells, in the order of rows and then of columns.
      groups: dtype GROUP.
      step_m, step_rad: size of a cell, one for each row and one for each column of the picture.

    Raises:
      ValueError: lengths do not fit, or a group is beyond the picture.
    """
    cdef Py_ssize_t count = detections.shape[0], g, low, high, middle
    cdef int row, column
    cdef double height_m, width_m
    cdef Detection *echo
    cdef const Group *group
    if rows.shape[0] != count or columns.shape[0] != count:
        raise ValueError("rows, columns: expected one for each detection")
    for g in range(groups.shape[0]):
        if not (0 <= groups[g].peak_row < step_m.shape[0] and 0 <= groups[g].peak_column < step_rad.shape[0]):
            raise ValueError("groups: beyond the picture")
    with nogil:
        for g in range(groups.shape[0]):
            group = &groups[g]
            row, column = group.peak_row, group.peak_column
            low, high = 0, count
            while low < high:
                middle = (low + high) // 2
                if rows[middle] < row or rows[middle] == row and columns[middle] < column:
                    low = middle + 1
                else:
                    high = middle
            if low == count or rows[low] != row or columns[low] != column:
                continue
            echo = &detections[low]
            height_m, width_m = step_m[row], step_rad[column] * echo.range_m
            echo.length_m = (group.last_row - group.first_row + 1) * height_m
            echo.width_m = (group.last_column - group.first_column + 1) * width_m
            echo.area_m2 = group.cells * height_m * width_m
            echo.total = group.total
            echo.mean = group.total / group.cells
            echo.cells = group.cells
