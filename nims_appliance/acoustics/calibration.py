"""From received power to volume backscattering strength and target strength.

Source: the sonar equation of Simrad's echosounders (ER60 reference manual; SONAR-netCDF4 convention, conversion
equation type 1), with r' the range less the echosounder's TVG start correction:

    Sv = P + 20 lg r' + 2 a r' - 10 lg(Pt lambda^2 c tau psi / (32 pi^2)) - 2 G - 2 Sa
    TS = P + 40 lg r' + 2 a r' - 10 lg(Pt lambda^2 / (16 pi^2)) - 2 G
"""

from __future__ import annotations

import math

import numpy as np

from ..errors import FrameError
from ..frame import Calibration, Frame


def sv_linear(frame: Frame) -> np.ndarray:
    """Return the volume backscattering coefficient s_v, m-1: float64, shape (samples,).

    NaN where r' is not positive, that is in the first samples after the transmission.

    Raises:
      FrameError: the ping has no calibration, or more than one beam.
    """
    calibration = _calibration(frame)
    wavelength_m = frame.sound_speed_m_s / frame.frequency_hz
    constant_db = (
        10.0
        * math.log10(
            calibration.transmit_power_w
            * wavelength_m**2
            * frame.sound_speed_m_s
            * frame.pulse_length_s
            / (32.0 * math.pi**2)
        )
        + calibration.equivalent_beam_angle_db
        + 2.0 * calibration.gain_db
        + 2.0 * calibration.sa_correction_db
    )
    return _compensated(frame, calibration, 2, constant_db)


def ts_linear(frame: Frame) -> np.ndarray:
    """Return what the backscattering cross-section would be of one target on the axis, m2: float64, shape (samples,).

    NaN and errors as for `sv_linear`. Add `beam_compensation_db` for a target off the axis.
    """
    calibration = _calibration(frame)
    wavelength_m = frame.sound_speed_m_s / frame.frequency_hz
    constant_db = (
        10.0 * math.log10(calibration.transmit_power_w * wavelength_m**2 / (16.0 * math.pi**2))
        + 2.0 * calibration.gain_db
    )
    return _compensated(frame, calibration, 4, constant_db)


def sv_db(frame: Frame) -> np.ndarray:
    """Return Sv, dB re 1 m-1: `sv_linear` in dB; -inf where no power was received."""
    return to_db(sv_linear(frame))


def ts_db(frame: Frame) -> np.ndarray:
    """Return TS not compensated for the beam pattern, dB re 1 m2: `ts_linear` in dB."""
    return to_db(ts_linear(frame))


def beam_compensation_db(
    along_rad: np.ndarray, athwart_rad: np.ndarray, beamwidth_along_rad: float, beamwidth_athwart_rad: float
) -> np.ndarray:
    """Return what the beam pattern takes from a target's echo on both ways, dB >= 0 within the main lobe.

    The polynomial of the EK60 for one-way -3 dB widths; 6.02 dB at half the width, on either axis. Outside the main
    lobe it means nothing.
    """
    x = 2.0 * np.asarray(along_rad, dtype=np.float64) / beamwidth_along_rad
    y = 2.0 * np.asarray(athwart_rad, dtype=np.float64) / beamwidth_athwart_rad
    x, y = x * x, y * y
    return 6.0206 * (x + y - 0.18 * x * y)


def to_db(linear: np.ndarray) -> np.ndarray:
    """Return 10 lg of linear values; -inf for 0, NaN for NaN and for negative values."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return 10.0 * np.log10(linear)


def _calibration(frame: Frame) -> Calibration:
    if frame.calibration is None:
        raise FrameError(f"ping {frame.ping_number} {frame.channel}: expected a calibrated ping, got none")
    if frame.intensity.shape[1] != 1:
        raise FrameError(f"ping {frame.ping_number} {frame.channel}: expected one beam, got {frame.intensity.shape[1]}")
    return frame.calibration


def _compensated(frame: Frame, calibration: Calibration, spreading_power: int, constant_db: float) -> np.ndarray:
    """Return power x r'^spreading_power x 10^(2 a r' / 10) / 10^(constant / 10)."""
    range_m = frame.range_m - calibration.range_offset_m
    # Half a millionth of a sample: the second sample lies on the limit, and rounding must not let it pass.
    range_m = np.where(range_m > 1e-6 * calibration.range_offset_m, range_m, np.nan)
    gain = 10.0 ** ((2.0 * calibration.absorption_db_m * range_m - constant_db) / 10.0)
    return frame.intensity[:, 0] * range_m**spreading_power * gain
