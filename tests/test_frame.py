"""Frames: what keeps the contract passes, what does not is named."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from nims_appliance.errors import FrameError
from nims_appliance.frame import Arrival, Frame


def make_frame(**changes) -> Frame:
    values = {
        "intensity": np.ones((4, 3), np.float32),
        "unit": "counts^2",
        "range_m": np.array([1.0, 2.0, 3.0, 4.0]),
        "bearing_rad": np.array([-0.1, 0.0, 0.1]),
        "time_s": 1.7e9,
        "ping_number": 1,
        "sound_speed_m_s": 1500.0,
        "frequency_hz": 500e3,
        "pulse_length_s": 20e-6,
        "ping_interval_s": math.nan,
        "beam_width_rad": 0.02,
        "range_resolution_m": 0.02,
    }
    return Frame(**(values | changes))


def test_a_good_frame_passes() -> None:
    frame = make_frame()
    assert frame.check() is frame


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"intensity": np.ones((4, 3))}, r"intensity: expected C-ordered float32 .* got float64 \(4, 3\)"),
        ({"intensity": np.ones((3, 4), np.float32).T}, "intensity: expected C-ordered"),
        ({"intensity": np.ones(4, np.float32)}, "intensity"),
        ({"intensity": np.ones((0, 3), np.float32), "range_m": np.ones(0)}, "at least one sample"),
        ({"range_m": np.array([1.0, 2.0, 3.0])}, r"range_m: expected float64 \(4,\), got float64 \(3,\)"),
        ({"range_m": np.array([1, 2, 3, 4], np.float32)}, "range_m: expected float64"),
        ({"range_m": np.array([1.0, 2.0, 2.0, 3.0])}, "range_m: expected finite, strictly increasing"),
        ({"range_m": np.array([1.0, 2.0, np.nan, 3.0])}, "range_m: expected finite"),
        ({"bearing_rad": np.array([0.1, 0.0, -0.1])}, "bearing_rad: expected finite, strictly increasing"),
        ({"bearing_rad": np.array([0.0, 0.1, np.inf])}, "bearing_rad: expected finite"),
        ({"along_rad": np.zeros(3, np.float32)}, r"along_rad: expected float32 \(4,\)"),
        ({"athwart_rad": np.zeros(4)}, "athwart_rad: expected float32"),
        ({"samples": np.ones((3, 4), np.complex64)}, "samples: expected complex64"),
        ({"time_s": math.nan}, "time_s: expected a finite number, got nan"),
        ({"sound_speed_m_s": math.inf}, "sound_speed_m_s"),
        ({"beam_width_rad": math.nan}, "beam_width_rad"),
        ({"range_resolution_m": math.nan}, "range_resolution_m"),
    ],
)
def test_a_broken_contract_is_named(changes: dict, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        make_frame(**changes).check()


@pytest.mark.parametrize("text", [None, 5, "x" * 1000, "\ud800"])
def test_texts_travel_as_json_with_every_ping(text: object) -> None:
    for name in ("unit", "channel", "device"):
        with pytest.raises(FrameError, match=name):
            make_frame(**{name: text}).check()


def test_stamps_leave_the_arrays_where_they_are() -> None:
    frame = make_frame()
    stamped = frame.stamped("pen", 7, Arrival(utc_s=10.0, monotonic_s=20.0))
    assert stamped.intensity is frame.intensity
    assert (stamped.sonar_id, stamped.frame_number) == ("pen", 7)
    assert (stamped.received_utc_s, stamped.received_monotonic_s) == (10.0, 20.0)
    assert frame.sonar_id == ""


def test_a_frame_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_frame().time_s = 0.0  # type: ignore[misc]


def test_split_beam_needs_both_angles() -> None:
    angles = np.zeros(4, np.float32)
    assert not make_frame(along_rad=angles).is_split_beam
    assert make_frame(along_rad=angles, athwart_rad=angles).is_split_beam


def test_scalars_that_numpy_computed_become_plain_numbers() -> None:
    frame = make_frame(beam_width_rad=np.radians(1.0), sound_speed_m_s=1500, ping_number=np.uint32(7))
    assert type(frame.beam_width_rad) is type(frame.sound_speed_m_s) is float
    assert (type(frame.ping_number), frame.ping_number) == (int, 7)
