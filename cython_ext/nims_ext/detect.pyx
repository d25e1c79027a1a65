# cython: boundscheck=False, wraparound=False, cdivision=True
"""Detect: the kernels that turn one ping into detections.

Images are float32, shape (samples, beams), C order.
"""

from libc.math cimport NAN, log, sqrt
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy

import numpy as np

from .records cimport Peak
from .scan cimport next_above

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
    """
    void nims_detect_row(
        const float *power, float *mean, float *ratio, const float *scale, float *sums, long count, float gain,
        float floor, float share, float held_share, float held_above, float clip, float inverse_clipped_mean,
        float most,
    ) noexcept nogil

PEAK = np.dtype([("row", "f8"), ("column", "f8"), ("value", "f8"), ("peak_row", "i4"), ("peak_column", "i4")])
"""A local maximum, as `find_peaks` returns it; row and column are between cells."""

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


def raise_level(const float[:, ::1] sums, float[:, ::1] level, float[:, ::1] scale, float share):
    """Learn the local level of the noise from the blocks around each, and fill the scale that a ping is judged by.

    Args:
      sums: as `normalise` has left it; outside the picture the nearest block counts.
      level: running mean of the surroundings, moved by `share` towards those of this ping; kept in 0.1..1000.
      scale: written: the level, the surroundings of this ping where they are much greater, and at least 1.

    The surroundings are the greater of two means: the eight neighbours; the two nearer and two farther blocks of one
    bearing. The middle block, where an animal would be, is left out. At long range a beam is wider than many a cloud of
    bubbles: there only the cells of the same bearing tell.
    """
    cdef Py_ssize_t rows = sums.shape[0], columns = sums.shape[1], r, c, up, down, left, right
    _check(level.shape[0] == rows and level.shape[1] == columns, "level: expected the shape of sums")
    _check(scale.shape[0] == rows and scale.shape[1] == columns, "scale: expected the shape of sums")
    cdef float around, along
    with nogil:
        for r in range(rows):
            up, down = max(r - 1, 0), min(r + 1, rows - 1)
            for c in range(columns):
                left, right = max(c - 1, 0), min(c + 1, columns - 1)
                around = (
                    sums[up, left] + sums[up, c] + sums[up, right] + sums[r, left] + sums[r, right]
                    + sums[down, left] + sums[down, c] + sums[down, right]
                ) / 8
                along = (sums[max(r - 2, 0), c] + sums[up, c] + sums[down, c] + sums[min(r + 2, rows - 1), c]) / 4
                around = max(around, along)
                level[r, c] = min(max(level[r, c] + share * (around - level[r, c]), <float>0.1), <float>1e3)
                # a burst shows at once, in a level that is itself uncertain by about a sixth; hence the allowance
                scale[r, c] = max(max(level[r, c], around / <float>1.6), <float>1.0)


def neighbours(const float[:, ::1] ratio, Py_ssize_t step, float most):
    """Return the correlation of cells with the next sample and with the next beam; NaN where it cannot be told.

    Args:
      ratio: values above `most` count as that.
      step: of so many rows one is looked at, with the next.
    """
    cdef Py_ssize_t rows = ratio.shape[0], columns = ratio.shape[1], row, column, n
    _check(step > 0, "step: expected at least 1")
    cdef double along[6]
    cdef double across[6]
    cdef double a
    cdef int i
    for i in range(6):
        along[i] = across[i] = 0
    with nogil:
        for n in range((rows + step - 1) // step):
            row = n * step
            for column in range(columns):
                a = min(ratio[row, column], most)
                if row + 1 < rows:
                    _pair(along, a, min(ratio[row + 1, column], most))
                if column + 1 < columns:
                    _pair(across, a, min(ratio[row, column + 1], most))
    return _correlation(along), _correlation(across)


cdef inline void _pair(double *sums, double a, double b) noexcept nogil:
    sums[0] += 1
    sums[1] += a
    sums[2] += b
    sums[3] += a * a
    sums[4] += b * b
    sums[5] += a * b


cdef double _correlation(const double *sums) noexcept:
    cdef double n = sums[0], power
    if n < 100:
        return NAN
    power = (sums[3] / n - (sums[1] / n) ** 2) * (sums[4] / n - (sums[2] / n) ** 2)
    return (sums[5] / n - sums[1] / n * sums[2] / n) / sqrt(power) if power > 0 else NAN


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

    4 bytes are read per cell; stretches of noise are passed over at the speed of memory.
    """
    cdef Py_ssize_t rows = ratio.shape[0], columns = ratio.shape[1], row, column, i, j, count = 0
    _check(block_rows > 0 and block_columns > 0 and rows > 0 and columns > 0, "expected cells and blocks")
    _check(scale.shape[0] == (rows + block_rows - 1) // block_rows, "scale: expected one value per block")
    _check(scale.shape[1] == (columns + block_columns - 1) // block_columns, "scale: expected one value per block")
    _check(most > 0, "most: expected at least 1")
    cdef double lowest = threshold * float(np.min(scale)), level
    cdef float value
    cdef bint greatest, more = False
    cdef Py_ssize_t capacity = 1024
    cdef Peak *out = <Peak *>malloc(capacity * sizeof(Peak))
    cdef Peak *grown
    cdef bint failed = out == NULL
    with nogil:
        for row in range(0 if failed else rows):
            column = -1
            while not more:
                column = next_above(&ratio[row, 0], column + 1, columns, <float>lowest)
                if column == columns:
                    break
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
                if count == capacity:
                    capacity *= 2
                    grown = <Peak *>realloc(out, capacity * sizeof(Peak))
                    if grown == NULL:
                        failed = more = True
                        break
                    out = grown
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
    try:
        if failed:
            raise MemoryError
        result = np.empty(count, PEAK)
        if count:
            _copy(result, out, count)
        return result, more
    finally:
        free(out)


cdef _copy(result, const Peak *peaks, Py_ssize_t count):
    cdef Peak[::1] out = result
    memcpy(&out[0], peaks, count * sizeof(Peak))
