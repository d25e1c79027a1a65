"""Sv and TS against vectors computed by others; the MATLAB reference of a real file is in the tests of the EK60."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nims_appliance.acoustics.calibration import beam_compensation_db, sv_db, sv_linear, ts_db
from nims_appliance.errors import FrameError
from nims_appliance.frame import Calibration, Frame

DB_PER_STEP = 0.011758984205624


def make_frame(
    steps: list[float],
    first: int,
    *,
    dt_s: float,
    c: float,
    watt: float,
    f_hz: float,
    alpha: float,
    gain: float,
    tau_s: float,
    eba: float,
    sa: float,
) -> Frame:
    power = 10.0 ** (np.array(steps) * DB_PER_STEP / 10.0)
    cell_m = dt_s * c / 2
    calibration = Calibration(watt, gain, sa, eba, alpha, dt_s, 2 * cell_m, math.radians(7), math.radians(7))
    return Frame(
        intensity=power.astype(np.float32)[:, np.newaxis], unit="W", range_m=(first + np.arange(len(steps))) * cell_m,
        bearing_rad=np.zeros(1), time_s=0.0, ping_number=1, sound_speed_m_s=c, frequency_hz=f_hz, pulse_length_s=tau_s,
        ping_interval_s=math.nan, beam_width_rad=0.12, range_resolution_m=cell_m, calibration=calibration,
    )  # fmt: skip


FIRST = {"dt_s": 256e-6, "c": 1490.0, "watt": 1000.0, "f_hz": 120e3, "alpha": 0.0387, "gain": 27.0, "tau_s": 0.256e-3,
         "eba": -21.0, "sa": -0.3}  # fmt: skip
SECOND = {"dt_s": 256e-6, "c": 1490.0, "watt": 2000.0, "f_hz": 38e3, "alpha": 0.0098, "gain": 26.5, "tau_s": 1.024e-3,
          "eba": -20.6, "sa": -0.6}  # fmt: skip


@pytest.mark.parametrize(
    ("step", "sample", "numbers", "sv", "ts"),
    [(-9000, 500, FIRST, -54.0269, -43.2704), (-7000, 250, SECOND, -60.8076, -50.2861)],
)
def test_one_sample(step: int, sample: int, numbers: dict[str, float], sv: float, ts: float) -> None:
    frame = make_frame([step], sample, **numbers)
    assert sv_db(frame)[0] == pytest.approx(sv, abs=1e-4)
    assert ts_db(frame)[0] == pytest.approx(ts, abs=1e-4)


def test_nothing_is_measured_before_the_tvg_starts() -> None:
    strength = sv_db(make_frame([-5000.0] * 6, 0, **FIRST))
    assert np.isnan(strength[:3]).all()
    assert np.isfinite(strength[3:]).all()


def test_no_power_is_minus_infinity_and_no_number_stays_none() -> None:
    frame = make_frame([-5000.0] * 3, 100, **FIRST)
    frame.intensity[1] = 0.0
    frame.intensity[2] = np.nan
    strength = sv_db(frame)
    assert strength[1] == -np.inf
    assert np.isnan(strength[2])


def test_uncalibrated_ping_is_refused() -> None:
    import dataclasses

    frame = make_frame([-5000.0] * 3, 100, **FIRST)
    with pytest.raises(FrameError, match="expected a calibrated ping"):
        sv_linear(dataclasses.replace(frame, calibration=None))
    with pytest.raises(FrameError, match="expected one beam, got 2"):
        sv_linear(dataclasses.replace(frame, intensity=np.ones((3, 2), np.float32)))


def test_beam_compensation() -> None:
    width = math.radians(7.0)
    assert beam_compensation_db(math.radians(3.5), 0.0, width, width) == pytest.approx(6.0206)
    assert beam_compensation_db(math.radians(2.0), math.radians(1.0), width, width) == pytest.approx(2.4285, abs=1e-4)
    assert beam_compensation_db(0.0, math.radians(2.0), width, 2 * width) == pytest.approx(6.0206 * (2 / 7) ** 2)
