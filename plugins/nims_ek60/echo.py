"""From the numbers of one EK60 ping to a Frame; what .raw files and EK500 telegrams have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from nims_ext.ek60 import decode_angles, decode_power
from nims_ext.pool import Pool

from nims_appliance.frame import Calibration, Frame, Pose
from nims_appliance.settings import MountingSettings

from . import wire

TVG_START_SAMPLES = 2
"""The EK60 compensates spreading and absorption for the range less two samples (its TVG starts late)."""


@dataclass(frozen=True, slots=True)
class Transducer:
    """What a transceiver's configuration says about one channel, for the pulse length in use."""

    gain_db: float
    sa_correction_db: float
    equivalent_beam_angle_db: float
    beamwidth_along_deg: float
    beamwidth_athwart_deg: float
    angle_sensitivity_along: float
    """Electrical over mechanical degrees."""
    angle_sensitivity_athwart: float
    angle_offset_along_deg: float
    angle_offset_athwart_deg: float
    split_beam: bool = True

    @property
    def has_angles(self) -> bool:
        """Whether angle steps of this transducer can be turned into angles."""
        sensitivities = (self.angle_sensitivity_along, self.angle_sensitivity_athwart)
        offsets = (self.angle_offset_along_deg, self.angle_offset_athwart_deg)
        return (
            self.split_beam
            and all(math.isfinite(value) and value > 0.1 for value in sensitivities)
            and all(math.isfinite(value) for value in offsets)
        )


@dataclass(frozen=True, slots=True)
class PingHeader:
    """The numbers of one ping of one channel."""

    channel: str
    number: int
    time_s: float
    offset: int
    """Number of the first sample, counted from the transmission."""
    sample_interval_s: float
    pulse_length_s: float
    sound_speed_m_s: float
    frequency_hz: float
    transmit_power_w: float
    absorption_db_m: float
    device: str
    pose: Pose | None = None

    def implausible(self) -> str:
        """Return what cannot be, with the value; empty if all can be."""
        for name, value, low, high in (
            ("sample interval, s", self.sample_interval_s, 1e-7, 1.0),
            ("pulse length, s", self.pulse_length_s, 1e-6, 1.0),
            ("sound speed, m/s", self.sound_speed_m_s, 1000.0, 2000.0),
            ("frequency, Hz", self.frequency_hz, 1e3, 1e7),
            # A flipped bit in the high word moves the clock by centuries; the tracker should not see that.
            ("time, s since 1970", self.time_s, 0.0, 2.0**32),
            ("first sample", self.offset, 0, 2**24),
        ):
            if not low <= value <= high:
                return f"{name}: expected {low:g}..{high:g}, got {value:g}"
        return ""


USUAL_BEAMWIDTH_RAD = math.radians(7.0)
"""Of the split-beam transducers made for it; stands in where the configuration does not tell."""

MAX_AXES = 64
"""Range axes kept, one for each channel; damaged channel numbers must not fill the memory."""


class FrameMaker:
    """Makes frames of one sounder; keeps the memory pool and the last range axis of each channel."""

    def __init__(self, mounting: MountingSettings) -> None:
        # A head that hangs upside down is turned half about its axis: both angles change sign.
        self._along_sign = -1.0 if mounting.inverted else 1.0
        self._athwart_sign = self._along_sign * (-1.0 if mounting.bearing_sign < 0 else 1.0)
        self._pool = Pool()
        self._axes: dict[str, tuple[tuple[int, int, float], np.ndarray]] = {}
        self._bearing_rad = np.zeros(1)
        self._bearing_rad.flags.writeable = False

    def frame(
        self,
        header: PingHeader,
        transducer: Transducer | None,
        samples: int,
        power: tuple[memoryview, int],
        angles: tuple[memoryview, int] | None,
        *,
        angles_lost: bool = False,
    ) -> Frame:
        """Return the frame of one ping.

        Args:
          header: plausible (see `PingHeader.implausible`).
          transducer: None where the configuration is not known: no calibration, no angles.
          samples: at least 1; power and angles hold two bytes for each.
          power: bytes and where in them the samples start.
          angles: the same for angle pairs, or None.
          angles_lost: a split beam whose angles did not arrive: they are NaN.
        """
        intensity = self._pool.take((samples, 1), np.float32)
        decode_power(power[0], power[1], intensity)
        along_rad = athwart_rad = None
        if angles is not None and transducer is not None and transducer.has_angles:
            athwart_rad = self._pool.take((samples,), np.float32)
            along_rad = self._pool.take((samples,), np.float32)
            decode_angles(
                angles[0],
                angles[1],
                self._athwart_sign * wire.ELECTRICAL_DEG_PER_STEP / transducer.angle_sensitivity_athwart,
                self._athwart_sign * transducer.angle_offset_athwart_deg,
                self._along_sign * wire.ELECTRICAL_DEG_PER_STEP / transducer.angle_sensitivity_along,
                self._along_sign * transducer.angle_offset_along_deg,
                athwart_rad,
                along_rad,
            )
        elif angles_lost and transducer is not None and transducer.has_angles:
            athwart_rad = along_rad = np.full(samples, np.nan, np.float32)
        cell_m = header.sample_interval_s * header.sound_speed_m_s / 2.0
        pulse_m = header.pulse_length_s * header.sound_speed_m_s / 2.0
        beam_width_rad = math.radians(transducer.beamwidth_athwart_deg) if transducer is not None else math.nan
        return Frame(
            intensity=intensity,
            unit="W",
            range_m=self._range_axis(header.channel, header.offset, samples, cell_m),
            bearing_rad=self._bearing_rad,
            time_s=header.time_s,
            ping_number=header.number,
            sound_speed_m_s=header.sound_speed_m_s,
            frequency_hz=header.frequency_hz,
            pulse_length_s=header.pulse_length_s,
            ping_interval_s=math.nan,
            beam_width_rad=beam_width_rad if 0.0 < beam_width_rad < math.pi else USUAL_BEAMWIDTH_RAD,
            range_resolution_m=max(cell_m, pulse_m),
            channel=header.channel,
            along_rad=along_rad,
            athwart_rad=athwart_rad,
            calibration=_calibration(header, transducer, cell_m),
            pose=header.pose,
            device=header.device,
        )

    def _range_axis(self, channel: str, offset: int, samples: int, cell_m: float) -> np.ndarray:
        key = (offset, samples, cell_m)
        known = self._axes.get(channel)
        if known is not None and known[0] == key:
            return known[1]
        axis = (offset + np.arange(samples)) * cell_m
        axis.flags.writeable = False
        if len(self._axes) >= MAX_AXES:
            self._axes.clear()
        self._axes[channel] = (key, axis)
        return axis


def _calibration(header: PingHeader, transducer: Transducer | None, cell_m: float) -> Calibration | None:
    """Return the calibration, or None where a number is missing or the transmitter was off (passive mode)."""
    if transducer is None:
        return None
    calibration = Calibration(
        transmit_power_w=header.transmit_power_w,
        gain_db=transducer.gain_db,
        sa_correction_db=transducer.sa_correction_db,
        equivalent_beam_angle_db=transducer.equivalent_beam_angle_db,
        absorption_db_m=header.absorption_db_m,
        sample_interval_s=header.sample_interval_s,
        range_offset_m=TVG_START_SAMPLES * cell_m,
        beamwidth_along_rad=math.radians(transducer.beamwidth_along_deg),
        beamwidth_athwart_rad=math.radians(transducer.beamwidth_athwart_deg),
        angle_sensitivity_along=transducer.angle_sensitivity_along if transducer.has_angles else math.nan,
        angle_sensitivity_athwart=transducer.angle_sensitivity_athwart if transducer.has_angles else math.nan,
    )
    finite = all(
        math.isfinite(value)
        for value in (
            calibration.transmit_power_w,
            calibration.gain_db,
            calibration.sa_correction_db,
            calibration.equivalent_beam_angle_db,
            calibration.absorption_db_m,
        )
    )
    widths = (calibration.beamwidth_along_rad, calibration.beamwidth_athwart_rad)
    usable = finite and calibration.transmit_power_w > 0 and all(0.0 < width < math.pi for width in widths)
    return calibration if usable else None
