"""The classifier by motion: what it says of clear cases, and that it keeps silent where motion cannot tell."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nims_classifier import classify_by_motion

from nims_appliance.pipeline.results import TrackSummary
from nims_appliance.plugin_host.host import PluginHost


def make_track(**changes: object) -> TrackSummary:
    """A straight, sure track of ten seconds at 0.5 m/s with no current known."""
    values: dict = {
        "id": 1, "first_time_s": 0.0, "last_time_s": 10.0, "hits": 95, "pings": 100, "mean_speed_m_s": 0.5,
        "peak_speed_m_s": 0.6, "path_m": 5.1, "net_m": 5.0, "straightness": 0.98, "heading_rad": 0.0,
        "min_range_m": 5.0, "max_range_m": 10.0, "min_bearing_rad": -0.1, "max_bearing_rad": 0.1,
        "min_elevation_rad": 0.0, "max_elevation_rad": 0.0, "mean_length_m": 0.2, "mean_width_m": 0.3,
        "mean_area_m2": 0.05, "strength_db": 10.0, "calibrated": False, "quality": 0.9, "net_sd_m": 0.06,
        "farthest_m": 5.0,
    }  # fmt: skip
    return TrackSummary(**(values | changes))


STILL = {"net_m": 0.05, "farthest_m": 0.2, "straightness": 0.02}


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, "possible animal"),
        ({"drifting": False, "mean_speed_through_water_m_s": 0.6}, "probable animal"),
        ({"drifting": True, "mean_speed_through_water_m_s": 0.06}, "drifting"),
        ({"drifting": True, "mean_speed_through_water_m_s": 0.8}, "possible animal"),
        ({"net_m": 1.0, "straightness": 0.2}, "probable animal"),  # swam out 5 m and came back 4
        ({"path_m": 12.0, "straightness": 0.42}, "probable animal"),  # wound its way
        ({"drifting": False, "quality": 0.4}, "possible animal"),
        ({"drifting": False, "quality": 0.1}, None),
        ({"drifting": False, "hits": 4}, None),
        ({"drifting": False, "last_time_s": 0.8}, None),
        (STILL, None),
        (STILL | {"last_time_s": 59.0}, None),
        (STILL | {"last_time_s": 600.0}, "structure"),
        (STILL | {"last_time_s": 600.0, "drifting": True}, "structure"),  # still water
        ({"mean_length_m": 8.0}, None),  # moved less than it is long
        ({"net_sd_m": 2.0}, None),
        ({"net_sd_m": math.nan}, None),
    ],
)
def test_labels_of_clear_and_unclear_tracks(changes: dict, label: str | None) -> None:
    opinion = classify_by_motion(make_track(**changes))
    assert (opinion and opinion[0]) == label


def test_a_surer_track_gets_a_higher_probability_and_none_is_certain() -> None:
    for changes in ({}, {"drifting": False}, {"drifting": True}, STILL | {"last_time_s": 3000.0}):
        likely = classify_by_motion(make_track(**changes, quality=0.95))
        less = classify_by_motion(make_track(**changes, quality=0.6))
        assert likely is not None
        assert less is not None
        assert less[0] == likely[0]
        assert less[1] < likely[1] <= 0.9
    probable, possible = classify_by_motion(make_track(drifting=False)), classify_by_motion(make_track())
    assert probable is not None
    assert possible is not None
    assert probable[1] > 0.5 >= possible[1]


numbers = st.floats(allow_nan=True, allow_infinity=True)
MEASURED = [
    field.name
    for field in dataclasses.fields(TrackSummary)
    if field.type == "float" and field.name not in ("probability", "quality")
]


@given(st.dictionaries(st.sampled_from(MEASURED), numbers), st.floats(0, 1), st.sampled_from([None, True, False]))
def test_any_track_gets_a_label_with_a_probability_or_none(values: dict, quality: float, drifting: bool | None) -> None:
    opinion = classify_by_motion(make_track(**values, quality=quality, drifting=drifting))
    if opinion is not None:
        assert opinion[0] in ("probable animal", "possible animal", "drifting", "structure")
        assert 0.0 <= opinion[1] <= 0.9


def test_it_comes_with_the_appliance() -> None:
    assert PluginHost.load(None).classifiers["motion"].classify is classify_by_motion
