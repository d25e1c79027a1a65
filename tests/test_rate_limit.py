"""Rate limit: the wanted rate in spite of jitter."""

from __future__ import annotations

import numpy as np
import pytest

from nims_appliance.rate_limit import RateLimit


@pytest.mark.parametrize(
    ("interval_s", "expected"), [(0.0, 1000), (0.1, 1000), (0.5, 200), (0.33, 303), (10.0, 10), (0.04, 1000)]
)
def test_the_rate_is_met_in_spite_of_jitter(interval_s: float, expected: int) -> None:
    limit = RateLimit()
    times_s = np.arange(1000) * 0.1 + np.random.default_rng(1).uniform(0, 0.04, 1000)  # 100 s at 10 Hz
    passed = sum(limit.passes("pen", time_s, interval_s) for time_s in times_s)
    assert abs(passed - expected) <= 2
    assert limit.passes("dam", 0.0, interval_s), "each sonar has its own"


def test_a_pause_is_not_made_up_for() -> None:
    limit = RateLimit()
    assert limit.passes("pen", 0.0, 1.0)
    passed = sum(limit.passes("pen", 100 + k * 0.1, 1.0) for k in range(30))
    assert passed == 3 or passed == 4
