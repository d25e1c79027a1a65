# cython: boundscheck=False, wraparound=False, cdivision=True
"""Detect: the kernels that turn one ping into detections.

Images are float32, shape (samples, beams), C order.
"""

from libc.math cimport log
from libc.stdlib cimport free, malloc

import numpy as np

cdef extern from *:
    """
    /* gcc on x86-64 with glibc chooses the widest instructions at run time; everybody else compiles the plain loop. */
    #if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && defined(__GNUC__) && __GNUC__ >= 12
    #define NIMS_DETECT_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
    #else
    #define NIMS_DETECT_CLONES
    #endif

    /* One row: ratio to the background, and the background's next value. Reads 8 and writes 8 bytes a cell. A cell
       that is no number tells nothing: its ratio is 1. The comparisons are written so that NaN takes the second arm. */
    NIMS_DETECT_CLONES static void nims_detect_row(
        const float *restrict power, float *restrict mean, float *restrict ratio, const float *restrict scale,
        float *restrict sums, long count, float gain, float floor, float share, float held_share, float held_above,
        float clip, float inverse_clipped_mean, float most)
    {
        for (long i = 0; i < count; i++) {
            float m = mean[i] * gain;
            m = m > floor ? m : floor;
            float x = power[i] / m;
            float finite = (x >= 0.0f && x < 1e30f) ? x : 1.0f;
            float held = finite > held_above * scale[i] ? held_share : share;
            float cut = finite < clip ? finite : clip;
            float local = clip * scale[i];
            float seen = finite < local ? finite : local;
            mean[i] = m + m * held * (cut * inverse_clipped_mean - 1.0f);
            sums[i] += finite > held_above * scale[i] ? scale[i] : seen * inverse_clipped_mean;
            ratio[i] = finite < most ? finite : most;
        }
    }

    /* Whether any of the cells is above the threshold: lets whole stretches of noise be passed over. */
    NIMS_DETECT_CLONES static int nims_detect_any(const float *restrict row, long count, float threshold)
    {
        int any = 0;
        for (long i = 0; i < count; i++)
            any |= row[i] > threshold;
        return any;
    }
    """
    void nims_detect_row(
        const float *power, float *mean, float *ratio, const float *scale, float *sums, long count, float gain,
        float floor, float share, float held_share, float held_above, float clip, float inverse_clipped_mean,
        float most,
    ) noexcept nogil
    int nims_detect_any(const float *row, long count, float threshold) noexcept nogil

PEAK = np.dtype([("row", "f8"), ("column", "f8"), ("value", "f8"), ("peak_row", "i4"), ("peak_column", "i4")])
"""A local maximum, as `find_peaks` returns it; row and column are between cells."""

cdef struct Peak:
    double row
    double column
    double value
    int peak_row
    int peak_column

cdef float MOST = 1e6  # of a ratio: squares and sums of it stay finite


cdef void _check(bint right, str what) except *:
    if not right:
        raise ValueError(what)


def normalise(
    const float[:, ::1] intensity,
    float[:, ::1] mean,
    float[:, ::1] ratio,
    const float[:, ::1] scale,
    float[:, ::1] sums,
    int block_rows,
    int block_columns,
    *,
    float gain,
    float floor,
    float share,
    float held_share,
    float held_above,
    float clip,
    float inverse_clipped_mean,
):
    """Fill `ratio` with the intensity over its background, and let the background learn the ping afterwards.

    Args:
      intensity: the ping.
      mean: the background; multiplied by `gain`, kept above `floor`, and moved by `share` of the difference to the
        intensity, of which no more than `clip` times the background counts. `inverse_clipped_mean` undoes the bias
        of that (1 / (1 - e^-clip) for exponential noise).
      ratio: written; capped at 1e6.
      scale: local level of the noise, shape (ceil(samples / block_rows), ceil(beams / block_columns)).
      sums: same shape, written: mean over each block of the ratio, clipped, without cells that stand out.
      held_share: used instead of `share` where the ratio is above `held_above` times the local level.

    One pass: 8 bytes read and 8 written per cell, and two rows of `beams` that stay in the first-level cache.
    """
    cdef Py_ssize_t rows = intensity.shape[0], columns = intensity.shape[1], row, column, block, last, b
    _check(mean.shape[0] == rows and mean.shape[1] == columns, "mean: expected the shape of intensity")
    _check(ratio.shape[0] == rows and ratio.shape[1] == columns, "ratio: expected the shape of intensity")
    _check(block_rows > 0 and block_columns > 0 and rows > 0 and columns > 0, "expected cells and blocks")
    cdef Py_ssize_t high = (rows + block_rows - 1) // block_rows, wide = (columns + block_columns - 1) // block_columns
    _check(scale.shape[0] == high and scale.shape[1] == wide, "scale: expected one value per block")
    _check(sums.shape[0] == high and sums.shape[1] == wide, "sums: expected one value per block")
    cdef float *line = <float *>malloc(2 * columns * sizeof(float))
    if line == NULL:
        raise MemoryError
    cdef float *total = line + columns
    cdef double sum_
    with nogil:
        for block in range(high):
            for column in range(columns):
                line[column] = scale[block, column // block_columns]
                total[column] = 0
            last = min((block + 1) * block_rows, rows)
            for row in range(block * block_rows, last):
                nims_detect_row(
                    &intensity[row, 0], &mean[row, 0], &ratio[row, 0], line, total, columns, gain, floor, share,
                    held_share, held_above, clip, inverse_clipped_mean, MOST,
                )
            for b in range(wide):
                sum_ = 0
                for column in range(b * block_columns, min((b + 1) * block_columns, columns)):
                    sum_ += total[column]
                sums[block, b] = sum_ / (
                    (last - block * block_rows) * (min((b + 1) * block_columns, columns) - b * block_columns)
                )
    free(line)


cdef double _vertex(double before, double at, double after) noexcept nogil:
    """Return where the parabola through the logarithms of three neighbours has its top, -0.5..0.5 from the middle one.

    The point spread of a sonar is close to a Gaussian, whose logarithm is a parabola.
    """
    cdef double bend
    if not (before > 0 and after > 0):
        return 0.0
    before, at, after = log(before), log(at), log(after)
    bend = before - 2 * at + after
    if not bend < 0:
        return 0.0
    return max(-0.5, min(0.5, 0.5 * (before - after) / bend))


def find_peaks(
    const float[:, ::1] ratio,
    const float[:, ::1] scale,
    int block_rows,
    int block_columns,
    double threshold,
    int reach_rows,
    int reach_columns,
    int most=20_000,
):
    """Return the local maxima that are above `threshold` times the local level of the noise.

    Args:
      ratio, scale, block_rows, block_columns: as for `normalise`.
      reach_rows, reach_columns: a maximum is the greatest within that many cells in each direction; of equal cells
        the first counts.
      most: stop after so many.

    Returns: structured array of dtype PEAK in the order of rows, `value` relative to the local level; and whether
    there were more than `most`.

    4 bytes are read per cell; stretches of 64 cells without anything are passed over at the speed of memory.
    """
    cdef Py_ssize_t rows = ratio.shape[0], columns = ratio.shape[1], row, column, start, stop, i, j, count = 0
    _check(block_rows > 0 and block_columns > 0 and rows > 0 and columns > 0, "expected cells and blocks")
    _check(scale.shape[0] == (rows + block_rows - 1) // block_rows, "scale: expected one value per block")
    _check(scale.shape[1] == (columns + block_columns - 1) // block_columns, "scale: expected one value per block")
    _check(most > 0, "most: expected at least 1")
    cdef double lowest = threshold * float(np.min(scale)), level
    cdef float value
    cdef bint greatest
    result = np.empty(most, PEAK)
    cdef Peak[::1] out = result
    cdef bint more = False
    with nogil:
        for row in range(rows):
            if more:
                break
            for start in range(0, columns, 64):
                stop = min(start + 64, columns)
                if not nims_detect_any(&ratio[row, start], stop - start, <float>lowest):
                    continue
                for column in range(start, stop):
                    value = ratio[row, column]
                    level = scale[row // block_rows, column // block_columns]
                    if not value > threshold * level:
                        continue
                    greatest = True
                    for i in range(max(0, row - reach_rows), min(rows, row + reach_rows + 1)):
                        for j in range(max(0, column - reach_columns), min(columns, column + reach_columns + 1)):
                            if ratio[i, j] > value or (ratio[i, j] == value and (i < row or (i == row and j < column))):
                                greatest = False
                                break
                        if not greatest:
                            break
                    if not greatest:
                        continue
                    if count == most:
                        more = True
                        break
                    out[count].peak_row = <int>row
                    out[count].peak_column = <int>column
                    out[count].value = value / level
                    out[count].row = row
                    out[count].column = column
                    if 0 < row < rows - 1:
                        out[count].row += _vertex(ratio[row - 1, column], value, ratio[row + 1, column])
                    if 0 < column < columns - 1:
                        out[count].column += _vertex(ratio[row, column - 1], value, ratio[row, column + 1])
                    count += 1
                if more:
                    break
    return result[:count].copy(), more


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
        while column < columns:
            if not line[column] > threshold:
                column += 1
                if column % 64 == 0 and column < columns:
                    while column + 64 <= columns and not nims_detect_any(line + column, 64, threshold):
                        column += 64
                continue
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
