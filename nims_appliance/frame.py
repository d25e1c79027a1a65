"""Frame: one ping of one sonar, as everything downstream of the decoders sees it."""

from __future__ import annotations

import dataclasses
import math
import operator
from dataclasses import dataclass

import numpy as np

from .errors import FrameError


@dataclass(frozen=True, slots=True)
class Arrival:
    """When the last byte of a ping arrived, on this computer's clocks."""

    utc_s: float
    """Seconds since 1970-01-01 UTC; may step when the computer's clock is set."""
    monotonic_s: float
    """Seconds of the monotonic clock; for intervals and latencies only."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Position and attitude of the sonar head; NaN where the sonar does not tell."""

    latitude_deg: float = math.nan
    longitude_deg: float = math.nan
    depth_m: float = math.nan
    heading_rad: float = math.nan
    pitch_rad: float = math.nan
    roll_rad: float = math.nan
    heave_m: float = math.nan
    tilt_rad: float = 0.0
    """How far the acoustic axis points below the horizontal, as the settings say; a sonar tells only how it moves."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What turns the received power of a calibrated echosounder into Sv and TS (see `acoustics.calibration`)."""

    transmit_power_w: float
    gain_db: float
    """Transducer gain G for the pulse length in use, dB."""
    sa_correction_db: float
    equivalent_beam_angle_db: float
    """10 lg of the equivalent beam angle in steradian."""
    absorption_db_m: float
    sample_interval_s: float
    range_offset_m: float
    """Subtracted from the range before spreading and absorption are compensated (TVG start correction)."""
    beamwidth_along_rad: float
    """Two-way compensation uses the full -3 dB width, fore-aft."""
    beamwidth_athwart_rad: float
    angle_sensitivity_along: float = math.nan
    """Electrical over mechanical angle; NaN where not known."""
    angle_sensitivity_athwart: float = math.nan


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One ping, immutable once published. Arrays belong to the frame; copy before you write.

    A decoder fills everything but the stamps (`sonar_id`, `frame_number`, `received_*`), which `stamped` adds when
    the frame is published.
    """

    intensity: np.ndarray
    """float32, shape (samples, beams), C order, row 0 nearest, linear and power-like (|z|^2, or 10^(dB/10))."""
    unit: str
    """Of what: "counts^2", "W" or "relative"."""
    range_m: np.ndarray
    """float64, shape (samples,), strictly increasing, of the middle of each sample; not assumed uniform."""
    bearing_rad: np.ndarray
    """float64, shape (beams,), strictly increasing; 0 ahead, positive as the profile's `bearing_sign` says."""
    time_s: float
    """Time of the ping, seconds since 1970-01-01 UTC on the sonar's clock (float64: 0.2 us steps)."""
    ping_number: int
    """The sonar's own count; may wrap or repeat."""
    sound_speed_m_s: float
    frequency_hz: float
    pulse_length_s: float
    ping_interval_s: float
    """Nominal; NaN where the sonar does not tell."""
    beam_width_rad: float
    """-3 dB width of one receive beam in bearing (imaging), or athwartship (split beam)."""
    range_resolution_m: float
    """Length in range that one point target smears over: the larger of c tau / 2 and one sample."""
    channel: str = ""
    """Names the transducer channel of a multi-channel sounder; empty where there is only one."""
    samples: np.ndarray | None = None
    """complex64, like `intensity`; only when the pipeline asked for it and the sonar has it."""
    along_rad: np.ndarray | None = None
    """float32, shape (samples,): alongship angle of a split-beam ping, positive forward; NaN where it was lost."""
    athwart_rad: np.ndarray | None = None
    """float32, shape (samples,): athwartship angle of a split-beam ping, positive to starboard."""
    calibration: Calibration | None = None
    pose: Pose | None = None
    device: str = ""
    """Maker, model and mode in a few words, for people."""
    sonar_id: str = ""
    frame_number: int = 0
    """Counts the published frames of this sonar in this run, from 1, without gaps."""
    received_utc_s: float = math.nan
    received_monotonic_s: float = math.nan

    def __post_init__(self) -> None:
        # Decoders compute with NumPy; its scalars would be refused when a header is written as JSON.
        for name in _FLOATS:
            value = getattr(self, name)
            if type(value) is not float:
                object.__setattr__(self, name, float(value))
        for name in ("ping_number", "frame_number"):
            value = getattr(self, name)
            if type(value) is not int:
                object.__setattr__(self, name, operator.index(value))

    @property
    def is_split_beam(self) -> bool:
        """Whether the ping carries angles beside a single beam."""
        return self.along_rad is not None and self.athwart_rad is not None

    def stamped(self, sonar_id: str, frame_number: int, arrival: Arrival, pose: Pose | None = None) -> Frame:
        """Return the frame with what the publisher knows, arrays shared; without `pose` it keeps its own."""
        return dataclasses.replace(
            self,
            sonar_id=sonar_id,
            frame_number=frame_number,
            received_utc_s=arrival.utc_s,
            received_monotonic_s=arrival.monotonic_s,
            pose=pose or self.pose,
        )

    def check(self) -> Frame:
        """Return the frame itself if it keeps the contract.

        Decoders of plugins are checked once per ping here, so that a vendor's mistake is named at the door instead of
        crashing a kernel: shapes and types only, no pass over the samples.

        Raises:
          FrameError: an array has another shape, type or order than the contract says, an axis does not increase or
            is not finite, or a scalar that all need is not finite.
        """
        image = self.intensity
        if image.ndim != 2 or image.dtype != np.float32 or not image.flags.c_contiguous:
            raise FrameError(f"intensity: expected C-ordered float32 (samples, beams), got {_describe(image)}")
        samples, beams = image.shape
        if samples < 1 or beams < 1:
            raise FrameError(f"intensity: expected at least one sample and beam, got shape {image.shape}")
        for name, axis, length in (("range_m", self.range_m, samples), ("bearing_rad", self.bearing_rad, beams)):
            if axis.shape != (length,) or axis.dtype != np.float64:
                raise FrameError(f"{name}: expected float64 ({length},), got {_describe(axis)}")
            if not (np.isfinite(axis).all() and (np.diff(axis) > 0).all()):
                raise FrameError(f"{name}: expected finite, strictly increasing values")
        for name in ("along_rad", "athwart_rad"):
            angle = getattr(self, name)
            if angle is not None and (angle.shape != (samples,) or angle.dtype != np.float32):
                raise FrameError(f"{name}: expected float32 ({samples},), got {_describe(angle)}")
        if self.samples is not None and (self.samples.shape != image.shape or self.samples.dtype != np.complex64):
            raise FrameError(f"samples: expected complex64 {image.shape}, got {_describe(self.samples)}")
        for name in ("unit", "channel", "device"):
            _check_text(name, getattr(self, name))
        for name in ("time_s", "sound_speed_m_s", "beam_width_rad", "range_resolution_m"):
            if not math.isfinite(getattr(self, name)):
                raise FrameError(f"{name}: expected a finite number, got {getattr(self, name)!r}")
        return self


_FLOATS = tuple(field.name for field in dataclasses.fields(Frame) if field.type == "float")


MAX_TEXT = 200
"""Longest name of a unit, a channel or a device; it travels with every ping."""


def _check_text(name: str, text: object) -> None:
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise FrameError(f"{name}: expected at most {MAX_TEXT} characters of text, got {text!r:.80}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise FrameError(f"{name}: expected text that UTF-8 can hold, got {text!a:.80} ({error.reason})") from None


def _describe(array: np.ndarray) -> str:
    return f"{array.dtype} {array.shape}"
