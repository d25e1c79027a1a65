# cython: boundscheck=False, wraparound=False
"""Display: one pass from a ping of floats to a picture of bytes.

Groups of samples and beams are reduced to their maximum, so that a single bright cell is never lost to the screen's
resolution, and the result is quantised in dB.
"""

from libc.stdlib cimport calloc, free

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    /* gcc on x86-64 with glibc chooses the widest instructions at run time; everybody else compiles the plain loop. */
    #if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && defined(__GNUC__) && __GNUC__ >= 12
    #define NIMS_DISPLAY_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
    #else
    #define NIMS_DISPLAY_CLONES
    #endif

    /* A NaN compares false and is passed over; the reduction starts at 0, so negative values are too. */
    NIMS_DISPLAY_CLONES static void nims_display_max(const float *restrict row, float *restrict most, long count)
    {
        for (long i = 0; i < count; i++)
            most[i] = row[i] > most[i] ? row[i] : most[i];
    }

    /* log2 from the exponent bits and a near-minimax polynomial of the mantissa: within 2e-5 octaves, or 1e-4 dB.
       Zero and subnormal numbers come out near -380 dB, infinity near 385 dB: both are clamped. */
    NIMS_DISPLAY_CLONES static void nims_display_quantise(
        const float *restrict power, uint8_t *restrict out, long count, float db_min, float steps_per_db)
    {
        const float db_per_octave = 3.0102999566f;
        for (long i = 0; i < count; i++) {
            int32_t bits, mantissa_bits;
            float mantissa, octaves, step;
            memcpy(&bits, &power[i], 4);
            mantissa_bits = (bits & 0x007fffff) | 0x3f800000;
            memcpy(&mantissa, &mantissa_bits, 4);
            octaves = 0.043928628f;
            octaves = octaves * mantissa - 0.409475587f;
            octaves = octaves * mantissa + 1.610177547f;
            octaves = octaves * mantissa - 3.520218838f;
            octaves = octaves * mantissa + 5.069756317f;
            octaves = octaves * mantissa - 2.794153677f;
            octaves += (float)((bits >> 23) - 127);
            step = (db_per_octave * octaves - db_min) * steps_per_db + 0.5f;
            step = step > 0.0f ? step : 0.0f;
            step = step < 255.0f ? step : 255.0f;
            out[i] = (uint8_t)(int32_t)step;
        }
    }
    """
    void nims_display_max(const float *row, float *most, long count) nogil
    void nims_display_quantise(
        const float *power, unsigned char *out, long count, float db_min, float steps_per_db) nogil


def pool_and_quantise(
    const float[:, ::1] power,
    Py_ssize_t row_step,
    Py_ssize_t beam_step,
    float db_min,
    float db_span,
    unsigned char[:, ::1] out,
):
    """Fill `out` with the dB picture of `power`; the GIL is released.

    Cell (i, j) of `out` is round(255 (10 lg m - db_min) / db_span), clamped to 0..255, where m is the largest of
    `power[i row_step : (i + 1) row_step, j beam_step : (j + 1) beam_step]`. NaN and negative powers count as 0.

    Args:
      power: float32 (samples, beams), linear.
      out: uint8 (ceil(samples / row_step), ceil(beams / beam_step)).

    Raises:
      ValueError: a step is below 1, the span is not positive, or `out` has another shape.
      MemoryError: no memory for one row.
    """
    cdef Py_ssize_t samples = power.shape[0], beams = power.shape[1]
    if row_step < 1 or beam_step < 1 or not db_span > 0:
        raise ValueError(f"expected steps of at least 1 and a positive span, got {row_step}, {beam_step}, {db_span}")
    cdef Py_ssize_t rows = (samples + row_step - 1) // row_step
    cdef Py_ssize_t columns = (beams + beam_step - 1) // beam_step
    if out.shape[0] != rows or out.shape[1] != columns:
        raise ValueError(f"out: expected shape ({rows}, {columns}), got ({out.shape[0]}, {out.shape[1]})")
    if samples == 0 or beams == 0:
        return
    cdef float *most = <float *>calloc(beams, sizeof(float))
    if most == NULL:
        raise MemoryError("one row of a picture")
    cdef Py_ssize_t row, sample, last, column, beam
    cdef float largest
    cdef float steps_per_db = 255.0 / db_span
    with nogil:
        for row in range(rows):
            for beam in range(beams):
                most[beam] = 0
            last = min((row + 1) * row_step, samples)
            for sample in range(row * row_step, last):
                nims_display_max(&power[sample, 0], most, beams)
            if beam_step > 1:
                for column in range(columns):  # writes at or before what it still has to read
                    largest = 0
                    for beam in range(column * beam_step, min((column + 1) * beam_step, beams)):
                        largest = max(largest, most[beam])
                    most[column] = largest
            nims_display_quantise(most, &out[row, 0], columns, db_min, steps_per_db)
        free(most)
