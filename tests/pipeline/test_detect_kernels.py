"""The kernels of detection against slow, plain versions of themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from nims_ext.detect import find_peaks, neighbours, normalise, raise_level
from nims_ext.group import extend, group_cells

from nims_appliance.pipeline.background import GAIN_CHANGE, _gain
from nims_appliance.pipeline.results import DETECTION

images = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 12), st.integers(1, 140)),
    elements=st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, float("nan")]),
    fill=st.sampled_from([0.0, 1.5]),
)


def flood(mask: np.ndarray) -> list[set[tuple[int, int]]]:
    """Groups of 8-connected cells by flooding from each cell in turn."""
    left = {(int(r), int(c)) for r, c in np.argwhere(mask)}
    groups = []
    while left:
        group, border = set(), [left.pop()]
        while border:
            r, c = border.pop()
            group.add((r, c))
            for near in [(r + i, c + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]:
                if near in left:
                    left.remove(near)
                    border.append(near)
        groups.append(group)
    return groups


@given(images)
def test_groups_are_those_of_flooding(image: np.ndarray) -> None:
    power = np.arange(image.size, dtype=np.float32).reshape(image.shape) + 1
    with np.errstate(invalid="ignore"):
        expected = flood(image > 1.0)
    found = group_cells(image, power, 1.0)
    assert len(found) == len(expected)
    by_corner = {(min(g)[0], min(c for _, c in g), len(g)): g for g in expected}
    for group in found:
        cells = by_corner[(group["first_row"], group["first_column"], group["cells"])]
        rows, columns = np.array(sorted(cells)).T
        weight = power[rows, columns].astype(float)
        assert group["last_row"] == rows.max()
        assert group["last_column"] == columns.max()
        assert group["total"] == pytest.approx(weight.sum())
        assert group["row"] == pytest.approx((weight * rows).sum() / weight.sum())
        assert group["column"] == pytest.approx((weight * columns).sum() / weight.sum())
        mean = (weight * columns).sum() / weight.sum()
        variance = (weight * (columns - mean) ** 2).sum() / weight.sum()
        assert group["column_variance"] == pytest.approx(variance, abs=1e-6)
        assert group["peak"] == image[rows, columns].max()
        assert (group["peak_row"], group["peak_column"]) in cells


@given(images)
def test_detections_have_the_extent_of_the_groups_whose_greatest_cell_they_are(image: np.ndarray) -> None:
    groups = group_cells(image, image, 1.0)
    cells = sorted({(int(g["peak_row"]), int(g["peak_column"])) for g in groups[::2]} | {(0, 0)})
    rows, columns = np.array(cells, np.int32).reshape(-1, 2).T.copy()
    found = np.zeros(len(cells), DETECTION)
    found["range_m"] = 2.0 + rows
    step_m, step_rad = np.linspace(0.1, 0.2, image.shape[0]), np.linspace(0.01, 0.03, image.shape[1])
    extend(found, rows, columns, groups, step_m, step_rad)
    of = {(int(g["peak_row"]), int(g["peak_column"])): g for g in groups}
    for detection, cell in zip(found, cells, strict=True):
        if cell not in of:
            assert detection["cells"] == 0
            continue
        group, width = of[cell], step_rad[cell[1]] * detection["range_m"]
        assert detection["cells"] == group["cells"]
        assert detection["total"] == group["total"] == pytest.approx(detection["mean"] * group["cells"])
        assert detection["length_m"] == pytest.approx(
            (np.ptp([group["first_row"], group["last_row"]]) + 1) * step_m[cell[0]]
        )
        assert detection["width_m"] == pytest.approx(
            (np.ptp([group["first_column"], group["last_column"]]) + 1) * width
        )
        assert detection["area_m2"] == pytest.approx(group["cells"] * step_m[cell[0]] * width)
    with pytest.raises(ValueError, match="expected one for each detection"):
        extend(found, rows[:0], columns, groups, step_m, step_rad)


def test_a_flooded_ping_is_refused_and_not_grouped() -> None:
    chequered = np.indices((40, 40)).sum(0).astype(np.float32) % 2
    assert group_cells(chequered, chequered, 0.5, max_runs=100) is None
    assert len(group_cells(chequered, chequered, 0.5)) == 1


@given(images, st.integers(1, 3), st.integers(1, 3))
def test_peaks_are_the_greatest_around(image: np.ndarray, reach_rows: int, reach_columns: int) -> None:
    rows, columns = image.shape
    scale = np.ones((rows, columns), np.float32)
    scale[:, : columns // 2] = 2.0
    expected = []
    for r, c in np.ndindex(image.shape):
        if not image[r, c] > 1.2 * scale[r, c]:
            continue
        around = [
            (i, j)
            for i in range(max(0, r - reach_rows), min(rows, r + reach_rows + 1))
            for j in range(max(0, c - reach_columns), min(columns, c + reach_columns + 1))
        ]
        if not any(image[p] > image[r, c] or (image[p] == image[r, c] and p < (r, c)) for p in around):
            expected.append((r, c))
    found, more = find_peaks(image, scale, 1, 1, 1.2, reach_rows, reach_columns)
    assert [(p["peak_row"], p["peak_column"]) for p in found] == expected
    assert not more
    assert (np.abs(found["row"] - found["peak_row"]) <= 0.5).all()
    assert (np.abs(found["column"] - found["peak_column"]) <= 0.5).all()


def test_the_place_of_a_gaussian_peak_is_exact_between_cells() -> None:
    rows, columns = np.indices((20, 20))
    image = 100 * np.exp(-((rows - 9.3) ** 2) / 2 - ((columns - 11.8) ** 2) / 3)
    found, _ = find_peaks(image.astype(np.float32), np.ones((1, 1), np.float32), 20, 20, 5.0, 2, 2)
    assert found["row"][0] == pytest.approx(9.3, abs=1e-3)
    assert found["column"][0] == pytest.approx(11.8, abs=1e-3)


def test_peaks_stop_at_the_limit() -> None:
    image = np.zeros((50, 50), np.float32)
    image[::3, ::3] = 10
    found, more = find_peaks(image, np.ones((1, 1), np.float32), 50, 50, 5.0, 1, 1, most=20)
    assert len(found) == 20
    assert more


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (33, 130)])
def test_normalise_is_the_plain_arithmetic(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    power = rng.exponential(5, shape).astype(np.float32)
    power.flat[0] = 1e4
    if power.size > 10:
        power.flat[3], power.flat[5], power.flat[7] = np.nan, np.inf, -1.0
    mean = rng.uniform(1, 9, shape).astype(np.float32)
    blocks = (-(-shape[0] // 4), -(-shape[1] // 3))
    scale = rng.uniform(1, 2, blocks).astype(np.float32)
    level = np.repeat(np.repeat(scale, 4, 0), 3, 1)[: shape[0], : shape[1]].astype(float)
    old = np.maximum(mean.astype(float) * 1.5, 0.01)
    raw = power.astype(float) / old
    ratio = np.where(np.isfinite(raw) & (raw >= 0), raw, 1.0)
    held = np.where(ratio > 8 * level, 0.001, 0.02)
    expected_mean = old * (1 + held * (np.minimum(ratio, 4) * 1.02 - 1))
    seen = np.where(ratio > 8 * level, level, np.minimum(ratio, 4 * level) * 1.02)
    got, sums = np.empty(shape, np.float32), np.empty(blocks, np.float32)
    normalise(
        power, mean, got, scale, sums, 4, 3, gain=1.5, floor=0.01, share=0.02, held_share=0.001, held_above=8.0,
        clip=4.0, inverse_clipped_mean=1.02,
    )  # fmt: skip
    np.testing.assert_allclose(got, np.minimum(ratio, 1e6), rtol=1e-5)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-5)
    for r, c in np.ndindex(blocks):
        assert sums[r, c] == pytest.approx(seen[4 * r : 4 * r + 4, 3 * c : 3 * c + 3].mean(), rel=1e-5)


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9))
def test_local_level_is_that_of_the_blocks_around(seed: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    sums, level = rng.exponential(3, (2, rows, columns)).astype(np.float32)
    expected, scale = level.astype(float), np.empty_like(level)
    padded = np.pad(sums.astype(float), 2, mode="edge")
    around = np.empty((rows, columns))
    for r, c in np.ndindex(rows, columns):
        block = padded[r : r + 5, c : c + 5]
        around[r, c] = max((block[1:4, 1:4].sum() - block[2, 2]) / 8, (block[:, 2].sum() - block[2, 2]) / 4)
    expected = np.clip(expected + 0.2 * (around - expected), 0.1, 1e3)
    raise_level(sums, level, scale, 0.2)
    np.testing.assert_allclose(level, expected, rtol=1e-5)
    np.testing.assert_allclose(scale, np.maximum(np.maximum(expected, around / 1.6), 1.0), rtol=1e-5)


@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(2, 40))
def test_correlation_of_neighbours_is_pearsons(seed: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    ratio = rng.exponential(2, (rows, columns)).astype(np.float32)
    ratio[1:] += ratio[:-1]
    clipped = np.minimum(ratio.astype(float), 3.0)
    for found, a, b in zip(
        neighbours(ratio, 3, 3.0),
        (clipped[: rows - 1 : 3], clipped[::3, :-1]),
        (clipped[1::3][: len(clipped[: rows - 1 : 3])], clipped[::3, 1:]),
        strict=True,
    ):
        expected = np.corrcoef(a.ravel(), b.ravel())[0, 1] if a.size >= 100 else math.nan
        assert found == pytest.approx(expected, abs=1e-6, nan_ok=True)


@given(st.integers(0, 10**6), st.floats(0.3, 3.0), st.floats(0, 0.3))
def test_gain_is_the_median_over_that_of_noise_where_it_has_changed(seed: int, gain: float, missing: float) -> None:
    rng = np.random.default_rng(seed)
    ratio = gain * rng.exponential(1, 501).astype(np.float32)
    ratio[rng.random(501) < missing] = np.nan
    middle = np.nanmedian(ratio) / math.log(2)
    assert _gain(ratio) == pytest.approx(1.0 if 1 / GAIN_CHANGE < middle < GAIN_CHANGE else middle)


def test_kernels_refuse_arrays_that_do_not_fit() -> None:
    image, small = np.ones((4, 4), np.float32), np.ones((3, 4), np.float32)
    with pytest.raises(ValueError, match="expected intensity of shape"):
        group_cells(image, small, 1.0)
    with pytest.raises(ValueError, match="scale: expected one value per block"):
        find_peaks(image, image, 2, 2, 1.0, 1, 1)
    with pytest.raises(ValueError, match="level: expected the shape of sums"):
        raise_level(image, small, image, 0.1)
    with pytest.raises(ValueError, match="mean: expected the shape of intensity"):
        normalise(
            image, small, image, image, image, 1, 1, gain=1, floor=0, share=0, held_share=0, held_above=1, clip=4,
            inverse_clipped_mean=1,
        )  # fmt: skip
