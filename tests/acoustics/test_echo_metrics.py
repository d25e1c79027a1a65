"""Echo metrics against hand-computed profiles and the properties that their formulas have."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nims_appliance.acoustics.echo_metrics import NOTHING, ProfileMetrics, count_layers, profile_metrics

DEPTH_M = np.arange(0.25, 20.0, 0.5)


def between(*layers: tuple[float, float, float]) -> np.ndarray:
    profile = np.zeros(40)
    for top_m, bottom_m, s_v in layers:
        profile[(top_m < DEPTH_M) & (bottom_m > DEPTH_M)] = s_v
    return profile


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (between((5, 10, 1e-6)), ProfileMetrics(-66.0206, -53.0103, 7.5, 2.0625, 0.25, 5.0, 0.2, 1)),
        (
            between((2, 4, 1e-6), (12, 16, 5e-7)),
            ProfileMetrics(-66.9897, -53.9794, 8.5, 31.0625, 0.30, 16 / 3, 0.1875, 2),
        ),
    ],
    ids=["one layer", "two layers"],
)
def test_vectors(profile: np.ndarray, expected: ProfileMetrics) -> None:
    metrics = profile_metrics(profile, DEPTH_M, 0.5)
    for name, value in dataclasses.asdict(expected).items():
        assert getattr(metrics, name) == pytest.approx(value, rel=1e-5), name


def test_invalid_cells_shrink_the_depth() -> None:
    profile = between((5, 10, 1e-6))
    profile[-20:] = np.nan
    profile[0], profile[1] = np.inf, -1e-6
    metrics = profile_metrics(profile, DEPTH_M, 0.5)
    assert metrics.sa_db == pytest.approx(-53.0103, abs=1e-4)
    assert metrics.sv_db == pytest.approx(10 * math.log10(5e-6 / 9.0))
    assert metrics.proportion_occupied == pytest.approx(5.0 / 9.0)
    assert metrics.center_of_mass_m == pytest.approx(7.5)


@pytest.mark.parametrize("profile", [np.full(40, np.nan), np.empty(0)], ids=["all invalid", "no cells"])
def test_nothing_to_measure(profile: np.ndarray) -> None:
    assert profile_metrics(profile, DEPTH_M[: len(profile)], 0.5) is NOTHING


def test_empty_water_is_not_occupied() -> None:
    metrics = profile_metrics(np.zeros(40), DEPTH_M, 0.5)
    assert metrics.proportion_occupied == 0.0
    assert metrics.layers == 0
    assert math.isnan(metrics.sv_db)


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1.0, 1e20, 1e300])
def test_scale_changes_nothing_but_the_level(scale: float) -> None:
    base = profile_metrics(between((2, 4, 1.0), (12, 16, 0.5)), DEPTH_M, 0.5, occupied_threshold_db=-10.0)
    scaled = profile_metrics(
        between((2, 4, scale), (12, 16, 0.5 * scale)),
        DEPTH_M,
        0.5,
        occupied_threshold_db=10 * math.log10(scale) - 10.0,
    )
    assert scaled.sv_db == pytest.approx(base.sv_db + 10 * math.log10(scale))
    same = dataclasses.replace(base, sv_db=0.0, sa_db=0.0)
    assert dataclasses.astuple(dataclasses.replace(scaled, sv_db=0.0, sa_db=0.0)) == pytest.approx(
        dataclasses.astuple(same)
    )


@given(st.lists(st.floats(0.0, 1e-3, allow_subnormal=False), min_size=1, max_size=60))
def test_bounds(values: list[float]) -> None:
    profile = np.array(values)
    depth_m = 1.0 + 0.5 * np.arange(len(values))
    metrics = profile_metrics(profile, depth_m, 0.5)
    assert 0.0 <= metrics.proportion_occupied <= 1.0
    assert 0 <= metrics.layers <= len(values)
    if profile.max() > 1e-200:
        assert depth_m[0] - 1e-9 <= metrics.center_of_mass_m <= depth_m[-1] + 1e-9
        assert metrics.inertia_m2 >= 0.0
        assert 0.5 * (1 - 1e-9) <= metrics.equivalent_area_m <= 0.5 * len(values) * (1 + 1e-9)
        assert metrics.aggregation_index_per_m == pytest.approx(1.0 / metrics.equivalent_area_m)


def test_layers_of_smooth_profiles() -> None:
    depth_m = np.arange(0.25, 100.0, 0.5)

    def layer(center_m: float, width_m: float, s_v: float) -> np.ndarray:
        return s_v * np.exp(-(((depth_m - center_m) / width_m) ** 2))

    background = np.full(len(depth_m), 1e-11)
    one, two, three = layer(20, 4, 1e-6), layer(50, 5, 1e-5), layer(80, 6, 3e-7)
    assert count_layers(background, 0.5) == 0
    assert count_layers(background + one, 0.5) == 1
    assert count_layers(background + one + two, 0.5) == 2
    assert count_layers(background + one + two + three, 0.5) == 3
    assert count_layers(background + layer(20, 4, 5e-11), 0.5) == 0, "below the threshold"
