"""Thinned metrics are what a slow, plain computation gives, however the bins came in."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nims_appliance.archive.downsample import Buckets, bucket_length_s

bins = st.lists(
    st.tuples(
        st.floats(0, 5000),
        st.integers(1, 500),
        st.one_of(st.floats(-150, 20), st.just(math.nan)),
        st.one_of(st.floats(-1e6, 1e6), st.just(math.nan)),
    ),
    max_size=60,
)


def slowly(rows: list[tuple], bucket_s: float) -> list[tuple]:
    """Return (time_s, pings, (mean, least, most) of dB, the same of the plain column) of each bucket."""
    found = []
    for number in sorted({math.floor(end_s / bucket_s) for end_s, *_ in rows}):
        inside = [row for row in rows if math.floor(row[0] / bucket_s) == number]
        columns = []
        for column, linear, back in ((2, lambda db: 10 ** (db / 10), lambda x: 10 * math.log10(x)), (3, float, float)):
            known = [(row[1], row[column]) for row in inside if not math.isnan(row[column])]
            if not known:
                columns.append((math.nan,) * 3)
                continue
            mean = sum(pings * linear(value) for pings, value in known) / sum(pings for pings, _ in known)
            values = [value for _, value in known]
            columns.append((back(mean), min(values), max(values)))
        found.append(((number + 0.5) * bucket_s, sum(row[1] for row in inside), *columns))
    return found


@given(rows=bins, bucket_s=st.sampled_from([1.0, 10.0, 60.0, 1800.0]), piece=st.integers(1, 20))
def test_buckets_are_as_a_slow_computation_gives_them(rows: list[tuple], bucket_s: float, piece: int) -> None:
    rows = sorted(rows, key=lambda row: row[0])
    buckets = Buckets(bucket_s, np.array([True, False]))
    for start in range(0, len(rows), piece):
        table = np.array(rows[start : start + piece], dtype=np.float64)
        buckets.add(table[:, 0], table[:, 1], table[:, 2:])
    points = buckets.finish()
    expected = slowly(rows, bucket_s)
    assert points.time_s.tolist() == [row[0] for row in expected]
    assert points.pings.tolist() == [row[1] for row in expected]
    for column in (0, 1):
        for position, values in enumerate((points.mean, points.least, points.most)):
            wanted = [row[2 + column][position] for row in expected]
            assert values[:, column].tolist() == pytest.approx(wanted, rel=1e-9, abs=1e-6, nan_ok=True)


def test_the_mean_of_decibels_is_that_of_the_energy() -> None:
    buckets = Buckets(10.0, np.array([True]))
    buckets.add(np.array([1.0, 2.0]), np.array([1.0, 3.0]), np.array([[-40.0], [-60.0]]))
    points = buckets.finish()
    # (1 x 1e-4 + 3 x 1e-6) / 4
    assert points.mean[0, 0] == pytest.approx(10 * math.log10(2.575e-5))
    assert (points.least[0, 0], points.most[0, 0]) == (-60.0, -40.0)


@pytest.mark.parametrize(
    ("span_s", "points", "expected"),
    [(900, 900, 1), (86400, 600, 300), (3600, 600, 10), (30 * 86400, 600, 7200), (400 * 86400, 100, 4 * 86400)],
)
def test_buckets_have_lengths_that_people_count_in(span_s: float, points: int, expected: float) -> None:
    assert bucket_length_s(span_s, points) == expected
