"""Optimal assignment against trying everything."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from nims_ext.assign import assign, join
from nims_ext.pairs import PAIR

costs = arrays.arrays(
    float,
    st.tuples(st.integers(0, 4), st.integers(0, 5)),
    elements=st.one_of(st.floats(-9, 3, width=16), st.just(math.inf), st.just(math.nan)),
)


def least(cost: np.ndarray) -> float:
    """The least sum by trying every way to give each row a column or none."""
    rows, columns = cost.shape
    price = np.where(cost < 0, cost, 0.0)
    options = [*range(columns), *([-1] * rows)]
    ways = set(itertools.permutations(options, rows))
    return min((sum(price[r, c] for r, c in enumerate(way) if c >= 0) for way in ways), default=0.0)


@given(costs)
def test_no_other_assignment_costs_less(cost: np.ndarray) -> None:
    given_ = assign(np.ascontiguousarray(cost))
    pairs = [(r, int(c)) for r, c in enumerate(given_) if c >= 0]
    assert len({c for _, c in pairs}) == len(pairs)
    assert all(cost[p] < 0 for p in pairs)
    assert sum(cost[p] for p in pairs) == pytest.approx(least(cost))


@given(costs)
def test_joining_in_parts_is_as_good_as_all_at_once(cost: np.ndarray) -> None:
    with np.errstate(invalid="ignore"):
        rows, columns = np.nonzero(cost < 0)
    pairs = np.zeros(len(rows), PAIR)
    pairs["track"], pairs["detection"], pairs["gain"] = rows, columns, -cost[rows, columns]
    joined = pairs[join(pairs, *cost.shape)]
    assert len(set(joined["track"].tolist())) == len(joined)
    assert len(set(joined["detection"].tolist())) == len(joined)
    assert -joined["gain"].sum() == pytest.approx(least(cost))


def test_pairs_beyond_the_tables_are_refused() -> None:
    pairs = np.zeros(1, PAIR)
    pairs["track"] = 3
    with pytest.raises(ValueError, match="index out of range"):
        join(pairs, 2, 2)
