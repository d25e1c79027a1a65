# cython: boundscheck=False, wraparound=False
"""Decode: samples as sonars send them to intensity as frames hold it, in one pass; and finding packets in a stream."""

import numpy as np

cdef extern from *:
    r"""
    #include <float.h>
    #include <math.h>
    #include <stdint.h>
    #include <string.h>

    /* One binary for every x86-64: the loader takes the fastest clone. Sanitizers instrument the resolver that chooses,
       which runs before they are ready. */
    #if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) \
        && !defined(__SANITIZE_ADDRESS__)
    #define NIMS_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
    #else
    #define NIMS_CLONES
    #endif

    /* A tile of LINES x ELEMENTS is read along the lines of the packet and written along the rows of the frame, so that
       both sides move whole cache lines and everything between stays in the first-level cache. */
    enum { NIMS_LINES = 16, NIMS_ELEMENTS = 64 };

    enum { NIMS_U8, NIMS_I8, NIMS_U16, NIMS_I16, NIMS_U24, NIMS_U32, NIMS_I32, NIMS_F32, NIMS_CI16, NIMS_CF32 };
    enum { NIMS_AMPLITUDE, NIMS_POWER, NIMS_DECIBEL };

    /* The wire is little-endian and at any alignment. Big-endian processors are not supported by the build. */
    #define NIMS_LOAD(TYPE) do {                                   \
        for (long k = 0; k < n; k++) {                             \
            TYPE value;                                            \
            memcpy(&value, wire + k * sizeof value, sizeof value); \
            re[k] = (float)value * scale + shift;                  \
        }                                                          \
    } while (0)
    #define NIMS_LOAD_COMPLEX(TYPE) do {                           \
        for (long k = 0; k < n; k++) {                             \
            TYPE value[2];                                         \
            memcpy(value, wire + k * sizeof value, sizeof value);  \
            re[k] = (float)value[0] * scale;                       \
            im[k] = (float)value[1] * scale;                       \
        }                                                          \
    } while (0)

    /* Power of n elements of one line; complex values are left in re and im if `keep`. Returns how many were no number
       >= 0. */
    NIMS_CLONES
    static long nims_line_power(const unsigned char *wire, long n, int element, int law, float scale, float shift,
                                float factor, int keep, float *restrict re, float *restrict im,
                                float *restrict power)
    {
        long k;
        int bad = 0;
        if (element == NIMS_CF32 && !keep) {  /* the M3's: in one loop, a quarter faster than by the steps below */
            for (k = 0; k < n; k++) {
                float value[2];
                memcpy(value, wire + k * sizeof value, sizeof value);
                const float a = value[0] * scale, b = value[1] * scale, p = (a * a + b * b) * factor;
                const int good = p <= FLT_MAX;
                bad += !good;
                power[k] = good ? p : 0;
            }
            return bad;
        }
        switch (element) {
        case NIMS_U8: NIMS_LOAD(uint8_t); break;
        case NIMS_I8: NIMS_LOAD(int8_t); break;
        case NIMS_U16: NIMS_LOAD(uint16_t); break;
        case NIMS_I16: NIMS_LOAD(int16_t); break;
        case NIMS_U24:
            for (k = 0; k < n; k++) {
                const unsigned char *b = wire + 3 * k;
                re[k] = (float)(b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16) * scale + shift;
            }
            break;
        case NIMS_U32: NIMS_LOAD(uint32_t); break;
        case NIMS_I32: NIMS_LOAD(int32_t); break;
        case NIMS_F32: NIMS_LOAD(float); break;
        case NIMS_CI16: NIMS_LOAD_COMPLEX(int16_t); break;
        default: NIMS_LOAD_COMPLEX(float); break;
        }
        if (element == NIMS_CI16 || element == NIMS_CF32) {
            for (k = 0; k < n; k++)
                power[k] = (re[k] * re[k] + im[k] * im[k]) * factor;
        } else if (law == NIMS_AMPLITUDE) {
            for (k = 0; k < n; k++)
                power[k] = re[k] * re[k] * factor;
        } else if (law == NIMS_POWER) {
            for (k = 0; k < n; k++)
                power[k] = re[k] * factor;
        } else {
            for (k = 0; k < n; k++)
                power[k] = expf(re[k] * 0.230258509f) * factor;  /* ln(10) / 10 */
        }
        for (k = 0; k < n; k++) {
            int good = (power[k] >= 0) & (power[k] <= FLT_MAX);  /* false for NaN too */
            bad += !good;
            power[k] = good ? power[k] : 0;
        }
        if (bad && (element == NIMS_CI16 || element == NIMS_CF32))
            for (k = 0; k < n; k++)
                if (!(re[k] * re[k] + im[k] * im[k] <= FLT_MAX))
                    re[k] = im[k] = 0;
        return bad;
    }

    /* Lines are beams: turn the tile. power[i * stride + k] belongs to beam i, sample k. */
    NIMS_CLONES
    static void nims_turn(const float *restrict power, long lines, long n, float *out, long row, long step)
    {
        if (lines == NIMS_LINES && step == 1) {
            for (long k = 0; k < n; k++)
                for (long i = 0; i < NIMS_LINES; i++)
                    out[k * row + i] = power[i * NIMS_ELEMENTS + k];
        } else {
            for (long k = 0; k < n; k++)
                for (long i = 0; i < lines; i++)
                    out[k * row + i * step] = power[i * NIMS_ELEMENTS + k];
        }
    }

    static long nims_power(const unsigned char *wire, long line_bytes, long element_bytes, long lines, long from,
                           long to, long elements, int element, int law, float scale, float shift,
                           const float *line_factor, int beam_major, int flip, float *out, float *samples)
    {
        float re[NIMS_LINES * NIMS_ELEMENTS], im[NIMS_LINES * NIMS_ELEMENTS], power[NIMS_LINES * NIMS_ELEMENTS];
        const long beams = beam_major ? lines : elements, step = flip ? -1 : 1;
        long bad = 0;
        for (long line = from; line < to; line += NIMS_LINES) {
            const long some = to - line < NIMS_LINES ? to - line : NIMS_LINES;
            for (long first = 0; first < elements; first += NIMS_ELEMENTS) {
                const long n = elements - first < NIMS_ELEMENTS ? elements - first : NIMS_ELEMENTS;
                for (long i = 0; i < some; i++)
                    bad += nims_line_power(wire + (line + i) * line_bytes + first * element_bytes, n, element, law,
                                           scale, shift, line_factor ? line_factor[line + i] : 1.0f, samples != NULL,
                                           re + i * NIMS_ELEMENTS, im + i * NIMS_ELEMENTS, power + i * NIMS_ELEMENTS);
                /* Where element k of line i goes: start + k * along + i * across. */
                const long beam = beam_major ? line : first, row = beam_major ? first : line;
                const long start = row * beams + (flip ? beams - 1 - beam : beam);
                const long along = beam_major ? beams : step, across = beam_major ? step : beams;
                if (beam_major)
                    nims_turn(power, some, n, out + start, beams, step);
                else
                    for (long i = 0; i < some; i++)
                        for (long k = 0; k < n; k++)
                            out[start + i * across + k * along] = power[i * NIMS_ELEMENTS + k];
                if (samples)
                    for (long k = 0; k < n; k++)
                        for (long i = 0; i < some; i++) {
                            float *sample = samples + 2 * (start + k * along + i * across);
                            sample[0] = re[i * NIMS_ELEMENTS + k];
                            sample[1] = im[i * NIMS_ELEMENTS + k];
                        }
            }
        }
        return bad;
    }
    """
    int NIMS_AMPLITUDE, NIMS_POWER, NIMS_DECIBEL
    int NIMS_U8, NIMS_I8, NIMS_U16, NIMS_I16, NIMS_U24, NIMS_U32, NIMS_I32, NIMS_F32, NIMS_CI16, NIMS_CF32
    int NIMS_LINES
    long nims_power(const unsigned char *wire, long line_bytes, long element_bytes, long lines, long from_, long to,
                    long elements, int element, int law, float scale, float shift, const float *line_factor,
                    int beam_major, int flip, float *out, float *samples) nogil

cdef extern from "string.h" nogil:
    void *memmem(const void *haystack, size_t haystack_bytes, const void *needle, size_t needle_bytes)
    void *memchr(const void *bytes, int byte, size_t count)
    int memcmp(const void *one, const void *other, size_t count)

cdef Py_ssize_t SHORT = 4

_ELEMENTS = {
    "u8": (NIMS_U8, 1), "i8": (NIMS_I8, 1), "u16": (NIMS_U16, 2), "i16": (NIMS_I16, 2), "u24": (NIMS_U24, 3),
    "u32": (NIMS_U32, 4), "i32": (NIMS_I32, 4), "f32": (NIMS_F32, 4), "ci16": (NIMS_CI16, 4), "cf32": (NIMS_CF32, 8),
}
TILE_LINES = NIMS_LINES
"""So many lines are decoded together: part of a packet is best a multiple of them."""

ELEMENT_BYTES = {name: size for name, (_, size) in _ELEMENTS.items()}
"""Bytes of one sample by element type; ci16 and cf32 are complex, real part first."""

_LAWS = {"amplitude": NIMS_AMPLITUDE, "power": NIMS_POWER, "decibel": NIMS_DECIBEL}
LAWS = tuple(_LAWS)
"""What a sample says: intensity is its square, itself, or 10^(x / 10). Complex samples are always squared."""


def to_intensity(const unsigned char[::1] wire, float[:, ::1] intensity, *, Py_ssize_t offset, Py_ssize_t line_bytes,
                 str element, str law="amplitude", double scale=1.0, double shift=0.0, bint beam_major=False,
                 bint flip=False, const float[::1] line_factor=None, samples=None, Py_ssize_t first=0,
                 Py_ssize_t last=-1):
    """Fill `intensity`, float32 (samples, beams), from the samples of a packet; return how many were no numbers >= 0.

    A line is what lies together in the packet: one beam if `beam_major`, else one range. Line i starts at
    ``offset + i * line_bytes``. Each element is read as ``raw * scale + shift`` (complex: ``raw * scale``), made
    power-like by `law`, and multiplied by `line_factor` (lines,) if given. NaN, infinite and negative powers become 0
    and are counted. `flip` reverses the order of the beams. `samples`, complex64 like `intensity`, is filled too if
    given; only complex elements have them. Only the lines `first` to `last` (behind the last one; -1: all) are read,
    and only what they fill is written: a packet can be decoded while the rest of it is on its way.

    Raises:
      ValueError: the lines reach beyond the packet, or the arrays do not fit each other.
    """
    code, size = _ELEMENTS[element]
    cdef int element_code = code, law_code = _LAWS[law]
    cdef Py_ssize_t element_bytes = size
    cdef Py_ssize_t lines = intensity.shape[1] if beam_major else intensity.shape[0]
    cdef Py_ssize_t elements = intensity.shape[0] if beam_major else intensity.shape[1]
    cdef float scale_f = scale, shift_f = shift
    cdef float[:, ::1] pairs
    cdef float *pairs_start = NULL
    cdef const float *factor = NULL
    cdef long bad
    if lines < 1 or elements < 1:
        raise ValueError(f"expected at least one sample and beam, got ({intensity.shape[0]}, {intensity.shape[1]})")
    if last < 0:
        last = lines
    if not 0 <= first < last <= lines:
        raise ValueError(f"expected some of {lines} lines, got {first} to {last}")
    if offset < 0 or line_bytes < elements * element_bytes or \
            offset > wire.shape[0] - elements * element_bytes or \
            (last - 1) > (wire.shape[0] - elements * element_bytes - offset) // line_bytes:
        raise ValueError(
            f"{last} lines of {line_bytes} bytes from byte {offset} do not fit a packet of {wire.shape[0]} bytes"
        )
    if samples is not None:
        if element not in ("ci16", "cf32") or samples.dtype != np.complex64 or \
                samples.shape != (intensity.shape[0], intensity.shape[1]):
            raise ValueError("samples: expected complex64 of the shape of the intensity, and complex elements")
        pairs = samples.view(np.float32)
        pairs_start = &pairs[0, 0]
    if line_factor is not None:
        if line_factor.shape[0] != lines:
            raise ValueError(f"line_factor: expected {lines} values, got {line_factor.shape[0]}")
        factor = &line_factor[0]
    with nogil:
        bad = nims_power(&wire[offset], line_bytes, element_bytes, lines, first, last, elements, element_code,
                         law_code, scale_f, shift_f, factor, beam_major, flip, &intensity[0, 0], pairs_start)
    return bad


def find(const unsigned char[::1] wire, bytes pattern, Py_ssize_t start=0):
    """Return where `pattern` occurs first at or after `start`, or -1. Unlike ``bytes.find`` it takes any buffer."""
    cdef const unsigned char *needle = pattern
    cdef const unsigned char *found
    cdef const unsigned char *end
    cdef Py_ssize_t length = len(pattern)
    if start < 0 or length < 1:
        raise ValueError("expected a pattern, and a start that is not negative")
    if start > wire.shape[0] - length:
        return -1
    with nogil:
        found = &wire[start]
        end = &wire[0] + wire.shape[0]
        if length >= SHORT:
            found = <const unsigned char *>memmem(found, end - found, needle, length)
        else:  # the library is ten times slower with short patterns than a search for their first byte
            while True:
                found = <const unsigned char *>memchr(found, needle[0], end - found)
                if found == NULL or end - found < length:
                    found = NULL
                    break
                if memcmp(found, needle, length) == 0:
                    break
                found += 1
    return -1 if found == NULL else found - &wire[0]
