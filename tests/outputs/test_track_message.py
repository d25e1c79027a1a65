"""The track server's message: the original's keys, the units of their names, null for what is not finite."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from nims_appliance.outputs.track_message import encode_message
from nims_appliance.pipeline.results import DETECTION, PingResult, TrackState

ORIGINAL_KEYS = {
    *("id", "size_sq_m", "speed_mps", "target_strength", "first_detect", "pings_visible"),
    *("min_range_m", "max_range_m", "min_bearing_deg", "max_bearing_deg", "min_elevation_deg", "max_elevation_deg"),
    *("last_pos_range", "last_pos_bearing", "last_pos_elevation"),
    *("last_vel_range", "last_vel_bearing", "last_vel_elevation"),
    *("width", "length", "height"),
}


def make_track(**changes) -> TrackState:
    values = {
        "id": 2**52 + 1,
        "state": "confirmed",
        "position_m": (1.0, 2.0, 0.0),
        "velocity_m_s": (0.1, -0.2, 0.0),
        "covariance": ((0.01, 0.0), (0.0, 0.02)),
        "range_m": 10.0,
        "bearing_rad": math.radians(30),
        "elevation_rad": math.radians(-2),
        "range_rate_m_s": 0.5,
        "bearing_rate_rad_s": math.radians(3),
        "elevation_rate_rad_s": math.radians(-1),
        "first_time_s": 1700000000.125,
        "hits": 70_000,
        "min_range_m": 9.0,
        "max_range_m": 11.0,
        "min_bearing_rad": math.radians(-10),
        "max_bearing_rad": math.radians(40),
        "min_elevation_rad": math.radians(-5),
        "max_elevation_rad": math.radians(5),
        "length_m": 0.3,
        "width_m": 0.4,
        "height_m": math.nan,
        "mean_area_m2": 0.12,
        "strength_db": -45.5,
        "calibrated": True,
        "speed_m_s": 1.5,
    }
    return TrackState(**(values | changes))


def make_result(*tracks: TrackState, **changes) -> PingResult:
    values = {
        "sonar_id": "pen",
        "frame_number": 7,
        "ping_number": 8722,
        "time_s": 1700000001.5,
        "received_utc_s": 1700000001.6,
        "received_monotonic_s": 5.0,
        "channel": "",
        "detections": np.zeros(0, DETECTION),
        "tracks": tracks,
        "ended": (),
    }
    return PingResult(**(values | changes))


def test_the_message_has_the_original_keys_and_the_additions() -> None:
    message = json.loads(encode_message(make_result(make_track())))
    assert (message["frame_num"], message["ping_num_sonar"], message["ping_time"]) == (7, 8722, 1700000001.5)
    assert (message["num_tracks"], message["sonar_id"], message["version"]) == (1, "pen", 2)
    assert message["ping_time_iso"] == "2023-11-14T22:13:21.500Z"
    (track,) = message["tracks"]
    assert set(track) >= ORIGINAL_KEYS | {"state", "x_m", "y_m", "z_m", "covariance", "class"}


def test_units_are_those_of_the_names() -> None:
    (track,) = json.loads(encode_message(make_result(make_track())))["tracks"]
    expected = {
        "id": 2**52 + 1,
        "size_sq_m": 0.12,
        "speed_mps": 1.5,
        "target_strength": -45.5,
        "min_range_m": 9.0,
        "max_range_m": 11.0,
        "min_bearing_deg": -10.0,
        "max_bearing_deg": 40.0,
        "min_elevation_deg": -5.0,
        "max_elevation_deg": 5.0,
        "first_detect": 1700000000.125,
        "pings_visible": 70_000,
        "last_pos_range": 10.0,
        "last_pos_bearing": 30.0,
        "last_pos_elevation": -2.0,
        "last_vel_range": 0.5,
        "last_vel_bearing": 3.0,
        "last_vel_elevation": -1.0,
        "width": 0.4,
        "length": 0.3,
        "height": None,
        "x_m": 1.0,
        "y_m": 2.0,
        "vx_m_s": 0.1,
        "vy_m_s": -0.2,
        "covariance": [[0.01, 0.0], [0.0, 0.02]],
    }
    for key, value in expected.items():
        assert track[key] == (pytest.approx(value) if isinstance(value, float) else value), key


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_null(value: float) -> None:
    track = make_track(strength_db=value, speed_m_s=value, covariance=((value, 0.0), (0.0, 1.0)))
    (encoded,) = json.loads(encode_message(make_result(track)), parse_constant=pytest.fail)["tracks"]
    assert (encoded["target_strength"], encoded["speed_mps"], encoded["covariance"][0][0]) == (None, None, None)


def test_a_ping_without_tracks_is_a_message_too() -> None:
    message = json.loads(encode_message(make_result()))
    assert (message["num_tracks"], message["tracks"]) == (0, [])


def test_no_nul_can_be_inside_a_message() -> None:
    assert b"\0" not in encode_message(make_result(sonar_id="a\0b"))


def test_the_class_so_far_is_told() -> None:
    named = make_result(make_track(), make_track(label="possible animal", probability=0.45))
    nothing, something = json.loads(encode_message(named))["tracks"]
    assert (nothing["class"], nothing["class_probability"]) == (None, None)
    assert (something["class"], something["class_probability"]) == ("possible animal", 0.45)
