# cython: boundscheck=False, wraparound=False, cdivision=True
"""Samples of the Simrad EK60: logarithmic power and angle steps to linear units."""

from libc.math cimport M_PI, ldexp

# A power step is 10 lg(2) / 256 dB, so a sample is 2^(steps / 256): the high byte is the exponent, the low byte the
# fraction. Two tables of 2 KiB stay in the cache, where one of 65536 entries would not.
cdef double[256] EXPONENT
cdef double[256] FRACTION
cdef Py_ssize_t entry
for entry in range(256):
    EXPONENT[entry] = ldexp(1.0, entry - 256 if entry > 127 else entry)
    FRACTION[entry] = 2.0 ** (entry / 256.0)


def decode_power(const unsigned char[::1] data, Py_ssize_t start, float[:, ::1] out):
    """Write the power of little-endian int16 samples from byte `start` of `data` into `out`, W.

    Args:
      data: bytes of at least `start` + 2 per sample.
      out: float32, shape (samples, 1).

    Raises:
      ValueError: `data` is too short, or `out` has another shape.
    """
    cdef Py_ssize_t count = out.shape[0], i
    cdef const unsigned char *pair
    cdef float *target
    if out.shape[1] != 1:
        raise ValueError(f"out: expected shape (samples, 1), got ({out.shape[0]}, {out.shape[1]})")
    _check("power", data.shape[0], start, count)
    if count == 0:
        return
    pair = &data[0] + start
    target = &out[0, 0]
    with nogil:
        for i in range(count):
            target[i] = <float>(EXPONENT[pair[2 * i + 1]] * FRACTION[pair[2 * i]])


def decode_angles(
    const unsigned char[::1] data,
    Py_ssize_t start,
    double athwart_scale_deg,
    double athwart_offset_deg,
    double along_scale_deg,
    double along_offset_deg,
    float[::1] athwart_rad,
    float[::1] along_rad,
):
    """Write the mechanical angles of byte pairs (athwart, along) from byte `start` of `data`, rad.

    Args:
      data: bytes of at least `start` + 2 per sample.
      athwart_scale_deg, along_scale_deg: mechanical degrees per step.
      athwart_offset_deg, along_offset_deg: subtracted; the angle is step * scale - offset.
      athwart_rad, along_rad: float32, shape (samples,).

    Raises:
      ValueError: `data` is too short, or lengths differ.
    """
    cdef Py_ssize_t count = athwart_rad.shape[0], i
    cdef float[256] athwart_table
    cdef float[256] along_table
    cdef const unsigned char *pair
    cdef float *athwart
    cdef float *along
    cdef double step
    if along_rad.shape[0] != count:
        raise ValueError(f"along_rad: expected {count} samples like athwart_rad, got {along_rad.shape[0]}")
    _check("angles", data.shape[0], start, count)
    if count == 0:
        return
    pair = &data[0] + start
    athwart = &athwart_rad[0]
    along = &along_rad[0]
    with nogil:
        for i in range(256):
            step = i - 256 if i > 127 else i
            athwart_table[i] = <float>((step * athwart_scale_deg - athwart_offset_deg) * M_PI / 180.0)
            along_table[i] = <float>((step * along_scale_deg - along_offset_deg) * M_PI / 180.0)
        for i in range(count):
            athwart[i] = athwart_table[pair[2 * i]]
            along[i] = along_table[pair[2 * i + 1]]


cdef _check(str what, Py_ssize_t have, Py_ssize_t start, Py_ssize_t count):
    # Written so that no sum can overflow.
    if start < 0 or start > have or count > (have - start) // 2:
        raise ValueError(f"{what}: expected {count} samples from byte {start}, got {have} bytes")
