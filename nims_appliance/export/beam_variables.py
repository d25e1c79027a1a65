"""Variables of a beam group of SONAR-netCDF4: which there are for a kind of pings, and what each says of a ping.

The platform's coordinates are those of the sonar head: x along the acoustic axis of an imaging sonar, y to the side of
positive bearings, z down. A split-beam transducer is taken to look down; how it is mounted is not known. What a sonar
does not tell is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..frame import Calibration, Frame, Pose
from . import netcdf

_NO_POSE = Pose()


def _singles(values: list[float]) -> np.ndarray:
    return np.array(values, np.float32)


_ANGLE: dict[str, Any] = {"units": "arc_degree", "valid_range": _singles([-180.0, 180.0])}
PLACED = {"coordinates": "ping_time platform_latitude platform_longitude"}
"""Attribute of variables with one value for each ping."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable with a value for each ping."""

    name: str
    dimensions: tuple[str, ...]
    kind: Any
    """Type of an element, or the name of one of the convention's."""
    value: Callable[[Frame], Any]
    """Of one ping, without the dimension of time."""
    attributes: dict[str, Any]


def variables_of(first: Frame) -> list[Variable]:
    """Return the variables of a group of pings like this one."""
    found: list[Variable] = []

    def add(
        name: str, where: str, kind: Any, value: Callable[[Frame], Any], long_name: str, units: str = "", **more: Any
    ) -> None:
        dimensions = ("ping_time", *where.split())
        attributes = {"long_name": long_name, **({"units": units} if units else {}), **more}
        if not where and name != "ping_time":
            attributes |= PLACED
        found.append(Variable(name, dimensions, kind, value, attributes))

    def beams(value_of: Callable[[Frame], float]) -> Callable[[Frame], np.ndarray]:
        return lambda frame: np.full(len(frame.bearing_rad), value_of(frame), np.float32)

    def one(value_of: Callable[[Frame], float]) -> Callable[[Frame], np.ndarray]:
        return lambda frame: np.full(1, value_of(frame))

    def pose(name: str) -> Callable[[Frame], float]:
        return lambda frame: getattr(frame.pose or _NO_POSE, name)

    def degrees(name: str) -> Callable[[Frame], float]:
        return lambda frame: math.degrees(getattr(frame.pose or _NO_POSE, name))

    single = np.float32
    positive: dict[str, Any] = {"valid_min": single(0.0)}
    time_texts = {"axis": "T", "calendar": "gregorian", "standard_name": "time", **PLACED}
    add(
        "ping_time",
        "",
        np.uint64,
        lambda frame: netcdf.time_ns(frame.time_s),
        "Time-stamp of each ping",
        netcdf.EPOCH_UNITS,
        **time_texts,
    )

    counts = {"counts^2": "counts", "W": "W"}.get(first.unit, first.unit)
    add("backscatter_r", "beam", "sample_t", _real, "Raw backscatter measurements (real part)", counts)
    if first.samples is not None:
        add("backscatter_i", "beam", "sample_t", _imaginary, "Raw backscatter measurements (imaginary part)", counts)
    lengths = beams(lambda frame: len(frame.range_m))
    add(
        "sample_count",
        "beam",
        np.int32,
        lengths,
        "Number of samples in each beam, per ping",
        "1",
        valid_min=np.int32(0),
    )
    if first.is_split_beam:
        for number, (name, field) in enumerate((("major", "athwart_rad"), ("minor", "along_rad"))):
            title = f"Echo arrival angle in the {name} beam coordinate"
            add(f"echoangle_{name}", "beam", "angle_t", _electrical(number, field), title, **_ANGLE)

    widths: dict[str, Any] = {
        "units": "arc_degree",
        "valid_range": _singles([0.0, 360.0]),
        "substitute_value_used": np.int32(0),
    }
    for number, (name, axis) in enumerate((("major", "horizontal"), ("minor", "vertical"))):
        title = f"Half power one-way receive beam width along {name} ({axis}) axis of beam"
        width = beams(lambda frame, number=number: math.degrees(_beam_widths_rad(frame)[number]))  # type: ignore[misc]
        add(f"beamwidth_receive_{name}", "beam", single, width, title, **widths)
    bearings: dict[str, Callable[[Frame], np.ndarray]] = {
        "phi": beams(lambda frame: 0.0),
        # An imaging sonar's beams are turned up from straight down to the axis, then to their bearings.
        "theta": beams(lambda frame: 90.0 if len(frame.bearing_rad) > 1 else 0.0),
        "psi": lambda frame: np.degrees(frame.bearing_rad).astype(single),
    }
    for name, axis in (("phi", "x"), ("theta", "y"), ("psi", "z")):
        limits = _singles([-90.0, 90.0] if name == "theta" else [-180.0, 180.0])
        angle: dict[str, Any] = {"units": "arc_degree", "valid_range": limits}
        title = f"beam angular rotation about the {axis} axis"
        add(f"rx_beam_rotation_{name}", "beam", single, bearings[name], f"receive {title}", **angle)
        middle = {"theta": 90.0 if len(first.bearing_rad) > 1 else 0.0}.get(name, 0.0)
        add(
            f"tx_beam_rotation_{name}",
            "tx_beam",
            single,
            one(lambda frame, middle=middle: middle),  # type: ignore[misc]
            f"transmit {title}",
            **angle,
        )
    solid: dict[str, Any] = {"valid_range": _singles([0.0, 4 * math.pi]), "substitute_value_used": np.int32(0)}
    add("equivalent_beam_angle", "beam", single, beams(_equivalent_sr), "Equivalent beam angle", "sr", **solid)
    unscaled = np.int16(first.unit != "W")
    add(
        "non_quantitative_processing",
        "",
        np.int16,
        lambda frame: unscaled,
        "Presence or not of non-quantitative processing applied to the backscattering data (sonar specific)",
        flag_meanings="no_non_quantitative_processing unknown_gain",
        flag_values=np.array([0, 1], np.int16),
    )
    add("sample_interval", "", single, _interval_s, "Interval between recorded raw data samples", "s", **positive)
    title = "Time offset that is subtracted from the timestamp of each sample"
    add("sample_time_offset", "tx_beam", single, one(_offset_s), title, "s")
    title = "Amount of time during reception where samples are discarded"
    add("blanking_interval", "beam", single, beams(_blanking_s), title, "s", **positive)
    pulse = one(lambda frame: frame.pulse_length_s)
    title = "Nominal duration of transmitted pulse"
    add("transmit_duration_nominal", "tx_beam", single, pulse, title, "s", **positive)
    frequency = one(lambda frame: frame.frequency_hz)
    for name in ("start", "stop"):
        title = f"{name.capitalize()} frequency in transmitted pulse"
        hertz: dict[str, Any] = {"standard_name": "sound_frequency", **positive}
        add(f"transmit_frequency_{name}", "tx_beam", single, frequency, title, "Hz", **hertz)
    speed: dict[str, Any] = {"standard_name": "speed_of_sound_in_sea_water", **positive}
    title = "Indicative sound speed at ping time and transducer depth"
    add("sound_speed_at_transducer", "", single, lambda frame: frame.sound_speed_m_s, title, "m/s", **speed)
    if first.calibration is not None:
        effective = one(lambda frame: frame.pulse_length_s * 10 ** (_calibrated(frame).sa_correction_db / 5))
        title = "Effective duration of received pulse"
        add("receive_duration_effective", "tx_beam", single, effective, title, "s", **positive)
        power = one(lambda frame: _calibrated(frame).transmit_power_w)
        add("transmit_power", "tx_beam", single, power, "Nominal transmit power", "W", **positive)
        gain = beams(lambda frame: _calibrated(frame).gain_db)
        add("transducer_gain", "beam", single, gain, "Gain of transducer", "dB")

    north, east = "degrees_north", "degrees_east"
    add("platform_latitude", "", float, pose("latitude_deg"), "latitude", north, standard_name="Platform latitude")
    add("platform_longitude", "", float, pose("longitude_deg"), "longitude", east, standard_name="Platform longitude")
    heading: Callable[[Frame], float] = lambda frame: math.degrees((frame.pose or _NO_POSE).heading_rad) % 360.0  # noqa: E731
    add("platform_heading", "", single, heading, "Platform heading(true)", north, standard_name="platform_orientation")
    arc = "arc_degree"
    add("platform_pitch", "", single, degrees("pitch_rad"), "pitch angle", arc, standard_name="platform_pitch_angle")
    add("platform_roll", "", single, degrees("roll_rad"), "roll angle", arc, standard_name="platform_roll_angle")
    title = "Platform vertical distance from reference point to the water line"
    add("platform_vertical_offset", "", single, pose("depth_m"), title, "m")
    return found


def _real(frame: Frame) -> np.ndarray:
    """Return samples of shape (beams, samples)."""
    if frame.samples is not None:
        return np.ascontiguousarray(frame.samples.real.T)
    image = np.sqrt(frame.intensity) if frame.unit == "counts^2" else frame.intensity
    return np.ascontiguousarray(image.T)


def _imaginary(frame: Frame) -> np.ndarray:
    assert frame.samples is not None
    return np.ascontiguousarray(frame.samples.imag.T)


def _electrical(number: int, field: str) -> Callable[[Frame], np.ndarray]:
    def angles(frame: Frame) -> np.ndarray:
        electrical = np.degrees(getattr(frame, field)) * sensitivities(frame)[number]
        return electrical[np.newaxis].astype(np.float32)

    return angles


def sensitivities(frame: Frame) -> tuple[float, float]:
    """Return electrical over mechanical angle (athwart, along); 1 where it is not known: angles are mechanical then."""
    if frame.calibration is None:
        return 1.0, 1.0
    known = frame.calibration.angle_sensitivity_athwart, frame.calibration.angle_sensitivity_along
    return known if all(map(math.isfinite, known)) else (1.0, 1.0)


def _beam_widths_rad(frame: Frame) -> tuple[float, float]:
    """Return the widths (athwart or in bearing, along or in elevation)."""
    if frame.calibration is None:
        return frame.beam_width_rad, math.nan
    return frame.calibration.beamwidth_athwart_rad, frame.calibration.beamwidth_along_rad


def _equivalent_sr(frame: Frame) -> float:
    return math.nan if frame.calibration is None else 10 ** (frame.calibration.equivalent_beam_angle_db / 10)


def _calibrated(frame: Frame) -> Calibration:
    return frame.calibration or Calibration(*[math.nan] * 9)


def _interval_s(frame: Frame) -> float:
    if len(frame.range_m) < 2:
        return 2.0 * frame.range_resolution_m / frame.sound_speed_m_s
    return 2.0 * (frame.range_m[-1] - frame.range_m[0]) / (len(frame.range_m) - 1) / frame.sound_speed_m_s


def _blanking_s(frame: Frame) -> float:
    return max(2.0 * frame.range_m[0] / frame.sound_speed_m_s, 0.0)


def _offset_s(frame: Frame) -> float:
    """Return what makes the convention's range that of the sonar equation; a first sample before 0 m included."""
    offset_m = 0.0 if frame.calibration is None else frame.calibration.range_offset_m
    return 2.0 * (offset_m - min(frame.range_m[0], 0.0)) / frame.sound_speed_m_s
