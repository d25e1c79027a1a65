"""The display kernel against a slow NumPy version, and what the header of a picture says."""

from __future__ import annotations

import dataclasses
import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nims_ext.display import pool_and_quantise

from nims_appliance.acoustics.calibration import sv_db
from nims_appliance.frame import Calibration, Frame, Pose
from nims_appliance.pipeline.display import SPAN_DB, DisplayEncoder, Picture


def slow_picture(power: np.ndarray, row_step: int, beam_step: int, db_min: float, db_span: float) -> np.ndarray:
    """The definition, in float64, before rounding."""
    with np.errstate(all="ignore"):
        clean = np.where(power > 0, power, 0).astype(np.float64)
        rows = [clean[first : first + row_step].max(axis=0) for first in range(0, power.shape[0], row_step)]
        pooled = np.array(rows)
        columns = [pooled[:, first : first + beam_step].max(axis=1) for first in range(0, power.shape[1], beam_step)]
        db = 10 * np.log10(np.array(columns).T)
    return np.clip((db - db_min) * 255 / db_span, 0, 255)


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(1, 70),
    beams=st.integers(1, 70),
    row_step=st.integers(1, 9),
    beam_step=st.integers(1, 9),
    db_min=st.floats(-200, 100),
    db_span=st.floats(1, 200),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_kernel_is_the_slow_version(
    samples: int, beams: int, row_step: int, beam_step: int, db_min: float, db_span: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    power = (10 ** random.uniform(-25, 15, (samples, beams))).astype(np.float32)
    odd = random.random((samples, beams)) < 0.2
    power[odd] = random.choice(np.array([0, -1, np.nan, np.inf, -np.inf, 1e-42], np.float32), odd.sum())
    out = np.empty((-(-samples // row_step), -(-beams // beam_step)), np.uint8)
    pool_and_quantise(power, row_step, beam_step, db_min, db_span, out)
    expected = slow_picture(power, row_step, beam_step, db_min, db_span)
    # Half a step of rounding, and what the fast logarithm may be off (1e-4 dB); subnormal numbers count as nothing.
    subnormal = expected < (-378 - db_min) * 255 / db_span
    assert np.all(np.abs(out - expected) <= 0.5 + 2e-3 + 1e-4 * 255 / db_span + 255 * subnormal)


@pytest.mark.parametrize(
    ("row_step", "beam_step", "span", "shape"),
    [
        (0, 1, 10.0, (4, 4)),
        (1, -1, 10.0, (4, 4)),
        (1, 1, 0.0, (4, 4)),
        (1, 1, float("nan"), (4, 4)),
        (2, 1, 10.0, (4, 4)),
    ],
)
def test_the_kernel_refuses_what_does_not_fit(
    row_step: int, beam_step: int, span: float, shape: tuple[int, int]
) -> None:
    with pytest.raises(ValueError, match="expected"):
        pool_and_quantise(np.ones((4, 4), np.float32), row_step, beam_step, 0.0, span, np.empty(shape, np.uint8))


def test_the_kernel_takes_an_empty_ping() -> None:
    pool_and_quantise(np.empty((0, 4), np.float32), 1, 1, 0.0, 10.0, np.empty((0, 4), np.uint8))


def make_frame(intensity: np.ndarray, **changes: object) -> Frame:
    samples, beams = intensity.shape
    frame = Frame(
        intensity=intensity.astype(np.float32),
        unit="counts^2",
        range_m=0.5 + 0.1 * np.arange(samples),
        bearing_rad=np.linspace(-0.5, 0.5, beams) if beams > 1 else np.zeros(1),
        time_s=1.7e9,
        ping_number=5,
        sound_speed_m_s=1500.0,
        frequency_hz=120e3,
        pulse_length_s=1e-3,
        ping_interval_s=0.1,
        beam_width_rad=0.02,
        range_resolution_m=0.1,
        sonar_id="pen",
        frame_number=1,
        received_utc_s=1.7e9,
    )
    return dataclasses.replace(frame, **changes).check()  # type: ignore[arg-type]


def unpack(picture: Picture) -> tuple[dict, np.ndarray]:
    (length,) = struct.unpack_from("<I", picture.payload)
    assert (4 + length) % 8 == 0
    head = json.loads(picture.payload[4 : 4 + length])
    cells = np.frombuffer(picture.payload, np.uint8, offset=4 + length)
    return head, cells.reshape(head["rows"], head["columns"])


def test_a_bright_cell_is_where_the_header_says() -> None:
    image = np.full((1500, 700), 1.0)
    image[901, 333] = 1e6
    frame = make_frame(image)
    head, cells = unpack(DisplayEncoder().encode(frame))
    assert cells.shape == (500, 350)
    row, column = np.unravel_index(cells.argmax(), cells.shape)
    step_m = (head["range_last_m"] - head["range_first_m"]) / head["rows"]
    near_m = head["range_first_m"] + row * step_m
    assert near_m <= frame.range_m[901] <= near_m + step_m
    assert head["bearing_rad"][column] == pytest.approx(frame.bearing_rad[332:334].mean(), abs=1e-6)
    assert head["db_min"] + cells[row, column] * SPAN_DB / 255 == pytest.approx(60, abs=0.2)
    assert head["db_min"] + cells[0, 0] * SPAN_DB / 255 == pytest.approx(0, abs=0.2)


def test_an_uneven_range_axis_is_given_row_by_row() -> None:
    range_m = np.cumsum(np.linspace(0.1, 0.5, 40))
    head, _ = unpack(DisplayEncoder().encode(make_frame(np.ones((40, 8)), range_m=range_m)))
    assert head["range_m"] == pytest.approx(range_m, abs=1e-6)


def test_a_changed_geometry_is_told() -> None:
    encoder = DisplayEncoder()
    assert unpack(encoder.encode(make_frame(np.ones((40, 8)))))[0]["range_last_m"] == pytest.approx(4.45)
    assert unpack(encoder.encode(make_frame(np.ones((40, 8)), range_m=1.0 * np.arange(40))))[0][
        "range_last_m"
    ] == pytest.approx(39.5)
    assert len(unpack(encoder.encode(make_frame(np.ones((40, 9)))))[0]["bearing_rad"]) == 9


def test_levels_stay_while_noise_flickers_and_follow_a_jump() -> None:
    random = np.random.default_rng(1)
    encoder = DisplayEncoder()
    told = []
    for _ in range(40):
        head, _ = unpack(encoder.encode(make_frame(random.exponential(1e4, (300, 64)))))
        told.append((head["db_min"], head["low_db"], head["high_db"]))
    assert len(set(told[5:])) == 1
    _, low_db, high_db = told[-1]
    assert low_db == pytest.approx(10 * np.log10(1e4 * np.log(2)), abs=1.5)
    assert high_db >= low_db + 25
    for scale, jump_db in ((1e11, 70), (1e-6, -100)):
        for _ in range(3):
            head, cells = unpack(encoder.encode(make_frame(random.exponential(scale, (300, 64)))))
        assert head["low_db"] == pytest.approx(low_db + jump_db, abs=2)
        assert head["db_min"] < head["low_db"] < head["high_db"] <= head["db_max"]
        assert ((cells == 255) | (cells == 0)).mean() < 0.01


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -1.0, 1e-45, 3e38])
def test_a_ping_of_nothing_else_is_still_a_picture(value: float) -> None:
    encoder = DisplayEncoder()
    for _ in range(3):
        head, cells = unpack(encoder.encode(make_frame(np.full((20, 10), value))))
    assert cells.shape == (20, 10)
    assert np.isfinite([head["db_min"], head["low_db"], head["high_db"]]).all()


def test_a_calibrated_echogram_shows_sv() -> None:
    calibration = Calibration(
        transmit_power_w=1000,
        gain_db=27,
        sa_correction_db=-0.3,
        equivalent_beam_angle_db=-21,
        absorption_db_m=0.0387,
        sample_interval_s=256e-6,
        range_offset_m=0.38,
        beamwidth_along_rad=0.12,
        beamwidth_athwart_rad=0.12,
    )
    power = 10 ** np.random.default_rng(2).uniform(-12, -10, (300, 1))
    frame = make_frame(power, calibration=calibration, unit="W")
    picture = DisplayEncoder().encode(frame)
    head, cells = unpack(picture)
    assert picture.kind == head["kind"] == "echogram"
    assert (head["quantity"], head["unit"]) == ("Sv", "dB re 1 m-1")
    shown_db = head["db_min"] + cells[:, 0] * SPAN_DB / 255
    expected_db = sv_db(frame)
    inside = (cells[:, 0] > 0) & (cells[:, 0] < 255)
    assert inside.mean() > 0.9
    assert np.abs(shown_db - expected_db)[inside].max() < 0.2


def test_the_header_tells_what_is_known_of_the_place_of_the_sonar() -> None:
    frame = make_frame(np.ones((8, 4), np.float32))
    head, _ = unpack(DisplayEncoder().encode(frame))
    assert "pose" not in head
    head, _ = unpack(DisplayEncoder().encode(dataclasses.replace(frame, pose=Pose(heading_rad=1.5, pitch_rad=0.1))))
    assert head["pose"] == {"heading_rad": 1.5}
    head, _ = unpack(DisplayEncoder().encode(dataclasses.replace(frame, pose=Pose(pitch_rad=0.1))))
    assert "pose" not in head
