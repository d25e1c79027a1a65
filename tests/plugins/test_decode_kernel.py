"""The kernel that turns samples into intensity, against NumPy in double precision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nims_ext.decode import ELEMENT_BYTES, find, to_intensity

FLOAT_MAX = np.finfo(np.float32).max
DTYPES = {
    "u8": "u1", "i8": "i1", "u16": "<u2", "i16": "<i2", "u32": "<u4", "i32": "<i4", "f32": "<f4", "cf32": "<c8",
}  # fmt: skip


def reference(wire, lines, elements, offset, line_bytes, element, law, scale, shift, factor, beam_major, flip):
    """The same, one element at a time."""
    values = np.empty((lines, elements), np.complex128)
    size = ELEMENT_BYTES[element]
    for i in range(lines):
        for k in range(elements):
            raw = wire[offset + i * line_bytes + k * size :][:size]
            if element == "u24":
                values[i, k] = int.from_bytes(raw, "little") * scale + shift
            elif element == "ci16":
                values[i, k] = complex(*np.frombuffer(raw, "<i2").tolist()) * scale
            elif element == "cf32":
                values[i, k] = np.frombuffer(raw, "<c8")[0].astype(complex) * scale
            else:
                values[i, k] = float(np.frombuffer(raw, DTYPES[element])[0]) * scale + shift
    if law == "amplitude" or element[0] == "c":
        power = values.real**2 + values.imag**2
    elif law == "power":
        power = values.real
    else:
        power = 10 ** (values.real / 10)
    power = power * np.asarray(factor)[:, None]
    image = power.T if beam_major else power
    return (image[:, ::-1] if flip else image), values


@given(
    element=st.sampled_from(sorted(ELEMENT_BYTES)),
    law=st.sampled_from(["amplitude", "power", "decibel"]),
    lines=st.integers(1, 20),
    elements=st.integers(1, 70),
    offset=st.integers(0, 9),
    gap=st.integers(0, 7),
    beam_major=st.booleans(),
    flip=st.booleans(),
    factors=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_intensity_is_what_numpy_computes(element, law, lines, elements, offset, gap, beam_major, flip, factors, seed):
    rng = np.random.default_rng(seed)
    size = ELEMENT_BYTES[element]
    line_bytes = elements * size + gap
    wire = bytearray(rng.bytes(offset + lines * line_bytes))
    if element in ("f32", "cf32"):  # random bits are seldom sensible numbers: put some in
        for i in range(lines):
            at = offset + i * line_bytes
            wire[at : at + elements * size] = rng.normal(0, 100, elements * size // 4).astype("<f4").tobytes()
    scale, shift = (0.001, -2.0) if element in ("u32", "i32", "u24") else (0.01, 0.5)
    factor = rng.uniform(0.1, 10, lines).astype(np.float32) if factors else None
    shape = (elements, lines) if beam_major else (lines, elements)
    image = np.full(shape, np.nan, np.float32)
    invalid = to_intensity(
        bytes(wire), image, offset=offset, line_bytes=line_bytes, element=element, law=law, scale=scale, shift=shift,
        beam_major=beam_major, flip=flip, line_factor=factor,
    )  # fmt: skip
    with np.errstate(over="ignore"):
        expected, _ = reference(
            bytes(wire), lines, elements, offset, line_bytes, element, law, scale, shift,
            np.ones(lines) if factor is None else factor, beam_major, flip,
        )  # fmt: skip
        without_factor, _ = reference(
            bytes(wire), lines, elements, offset, line_bytes, element, law, scale, shift,
            np.ones(lines), beam_major, flip,
        )  # fmt: skip
    good = (expected >= 0) & (expected <= FLOAT_MAX)
    borderline = np.abs(np.log(np.where(good, np.maximum(expected, 1e-300), 1)) - np.log(FLOAT_MAX)) < 1e-3
    # What a float32 cannot hold is not brought back into its range by a factor below 1.
    borderline |= good & (without_factor > 0.999 * FLOAT_MAX)
    assert invalid == pytest.approx(int((~good).sum()), abs=int(borderline.sum()))
    sure = ~borderline
    # 10^(x / 10) of large x multiplies the rounding of x.
    tolerance = 1e-4 if law == "decibel" else 2e-6
    absolute = 1e-5 if law == "power" else 1e-9
    np.testing.assert_allclose(image[sure], np.where(good, expected, 0)[sure], rtol=tolerance, atol=absolute)


@pytest.mark.parametrize("beam_major", [False, True])
@pytest.mark.parametrize("flip", [False, True])
def test_complex_samples_lie_like_the_intensity(beam_major, flip):
    rng = np.random.default_rng(5)
    lines, elements = 21, 70
    values = (rng.normal(size=(lines, elements)) + 1j * rng.normal(size=(lines, elements))).astype("<c8")
    expected = values.T if beam_major else values
    expected = expected[:, ::-1] if flip else expected
    image = np.empty(expected.shape, np.float32)
    samples = np.empty(expected.shape, np.complex64)
    to_intensity(
        values.tobytes(), image, offset=0, line_bytes=elements * 8, element="cf32", beam_major=beam_major, flip=flip,
        samples=samples,
    )  # fmt: skip
    assert (samples == expected).all()
    np.testing.assert_allclose(image, np.abs(expected) ** 2, rtol=1e-6)


@pytest.mark.parametrize("beam_major", [False, True])
@pytest.mark.parametrize("flip", [False, True])
def test_lines_can_be_decoded_a_few_at_a_time(beam_major, flip):
    rng = np.random.default_rng(6)
    wire = rng.normal(size=(37, 70)).astype("<f4").tobytes()
    shape = (70, 37) if beam_major else (37, 70)
    layout = {"offset": 0, "line_bytes": 280, "element": "f32", "beam_major": beam_major, "flip": flip}
    whole, parts = np.empty(shape, np.float32), np.empty(shape, np.float32)
    to_intensity(wire, whole, **layout)
    for first, last in ((0, 16), (16, 19), (19, 37)):
        to_intensity(wire[: last * 280], parts, first=first, last=last, **layout)
    assert (parts == whole).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_samples_that_are_no_numbers_become_zero_and_are_counted(bad):
    values = np.ones((20, 90), "<c8")
    values[3, 77] = complex(bad, 1)
    values[19, 0] = complex(0, bad)
    image = np.empty((90, 20), np.float32)
    samples = np.empty((90, 20), np.complex64)
    invalid = to_intensity(
        values.tobytes(), image, offset=0, line_bytes=720, element="cf32", beam_major=True, samples=samples
    )
    assert invalid == 2
    expected = np.ones((90, 20))
    expected[77, 3] = expected[0, 19] = 0
    assert (image == expected).all()
    assert (samples == expected).all()


@pytest.mark.parametrize(
    ("offset", "line_bytes", "packet_bytes"),
    [(0, 8, 31), (1, 8, 32), (-1, 8, 64), (0, 7, 64), (0, 2**62, 64), (2**62, 8, 64), (33, 8, 40)],
)
def test_lines_beyond_the_packet_are_refused(offset, line_bytes, packet_bytes):
    image = np.zeros((4, 8), np.float32)
    with pytest.raises(ValueError, match="do not fit"):
        to_intensity(bytes(packet_bytes), image, offset=offset, line_bytes=line_bytes, element="u8")


def test_arrays_that_do_not_fit_are_refused():
    image = np.zeros((4, 8), np.float32)
    with pytest.raises(ValueError, match="line_factor: expected 4 values, got 5"):
        to_intensity(bytes(32), image, offset=0, line_bytes=8, element="u8", line_factor=np.ones(5, np.float32))
    for first, last in ((2, 2), (3, 1), (-1, 2), (0, 5)):
        with pytest.raises(ValueError, match="expected some of 4 lines"):
            to_intensity(bytes(32), image, offset=0, line_bytes=8, element="u8", first=first, last=last)
    with pytest.raises(ValueError, match="samples: expected complex64"):
        to_intensity(bytes(32), image, offset=0, line_bytes=8, element="u8", samples=np.zeros((4, 8), np.complex64))
    with pytest.raises(ValueError, match="at least one sample"):
        to_intensity(bytes(32), np.zeros((0, 8), np.float32), offset=0, line_bytes=8, element="u8")


SIMILAR = st.lists(st.integers(0, 1), max_size=80).map(bytes)


@given(
    st.one_of(st.binary(max_size=60), SIMILAR),
    st.one_of(st.binary(max_size=6), SIMILAR.map(lambda pattern: pattern[:7])).filter(len),
    st.integers(0, 90),
)
def test_find_is_bytes_find(wire, pattern, start):
    assert find(memoryview(wire), pattern, start) == wire.find(pattern, start)


def test_find_refuses_what_has_no_answer():
    with pytest.raises(ValueError, match="expected a pattern"):
        find(b"abc", b"")
    with pytest.raises(ValueError, match="a start that is not negative"):
        find(b"abc", b"a", -1)
