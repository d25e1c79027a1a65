"""Times as text, and back."""

from __future__ import annotations

import math

import pytest

from nims_appliance.times import iso_time, parse_time


@pytest.mark.parametrize(
    ("time_s", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_000_000_000.25, "2001-09-09T01:46:40.250Z"),
        (1e300, None),
        (math.nan, None),
        (-1e20, None),
    ],
)
def test_a_time_is_told_in_utc_if_a_calendar_has_it(time_s: float, text: str | None) -> None:
    assert iso_time(time_s) == text


@pytest.mark.parametrize(
    ("text", "time_s"),
    [
        ("2001-09-09T01:46:40Z", 1e9),
        ("2001-09-09T01:46:40.25", 1_000_000_000.25),
        ("2001-09-09T03:46:40+02:00", 1e9),
        ("1970-01-02", 86400.0),
    ],
)
def test_a_time_without_a_zone_is_utc(text: str, time_s: float) -> None:
    assert parse_time(text) == time_s


@pytest.mark.parametrize("text", ["", "yesterday", "2001-13-09", "1e9"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time as 20"):
        parse_time(text)
