"""Pings and single targets as ICES SONAR-netCDF4, convention 2.0.

A beam group holds the pings of one channel with one set of beams; where a sonar is switched over, another group begins.
What a sonar does not tell is NaN. What is written for each kind of data:

* calibrated echosounders: received power in W, conversion equation type 1, with the transducer's gain, the effective
  pulse length (which holds the Sa correction) and the range offset in `sample_time_offset`
* imaging sonars: the complex samples in counts where they are known, else the amplitude. Nothing is known of their
  gain, so `non_quantitative_processing` says that they cannot be calibrated.

The platform's coordinates are those of the sonar head: x along the acoustic axis of an imaging sonar, y to the side of
positive bearings, z down. A split-beam transducer is taken to look down; how it is mounted is not known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..errors import NimsError
from ..frame import Calibration, Frame, Pose
from . import netcdf
from .pings import Pings
from .single_targets import SingleTargets

BLOCK_BYTES = 16 * 2**20
"""So much of the pings of a group is gathered before it is written."""
UNEVEN = 0.01
"""Most that samples may be away from an even spacing, in samples: the convention knows no other axis."""
ENUMERATIONS = {
    "beam_stabilisation_t": {"not_stabilised": 0, "stabilised": 1},
    "beam_t": {
        "single": 0,
        "split_aperture_angles": 1,
        "split_aperture_4_subbeams": 2,
        "split_aperture_3_subbeams": 3,
        "split_aperture_3_1_subbeams": 4,
    },
    "conversion_equation_t": {f"type_{number}": number for number in range(1, 7)},
    "transmit_t": {"CW": 0, "LFM": 1, "HFM": 2},
}
WITH_SOURCE_LEVEL, WITH_POWER = 2, 1
"""Types of the conversion equation: of sonars with a source level and a receiver sensitivity; of calibrated power."""
_NO_POSE = Pose()


def _singles(values: list[float]) -> np.ndarray:
    return np.array(values, np.float32)


_ANGLE: dict[str, Any] = {"units": "arc_degree", "valid_range": _singles([-180.0, 180.0])}
_PLACED = {"coordinates": "ping_time platform_latitude platform_longitude"}


def export_sonar_netcdf(pings: Pings, paths: Sequence[Path], output: Path, data: Path) -> int:
    """Write the pings of recordings, and the single targets of split-beam pings; return how many pings were written.

    Raises:
      NimsError: there is no ping, or the file cannot be written.
    """
    with netcdf.new_file(output, data) as file:
        writer = _Writer(file, pings)
        for frame in pings.read(paths):
            writer.add(frame)
        if not writer.written:
            raise NimsError("; ".join(pings.errors) or f"no ping of {pings.profile.title} can be written")
        writer.finish()
    return writer.written


class _Writer:
    def __init__(self, file: Any, pings: Pings) -> None:
        self.written = 0
        self._file = file
        self._pings = pings
        self._groups: dict[tuple, _BeamGroup] = {}
        self._sonar = file.create_group("Sonar")
        self.types: dict[str, Any] = {
            name: self._sonar.create_enumtype(np.int8, name, members) for name, members in ENUMERATIONS.items()
        }
        for name in ("sample_t", "angle_t"):
            self.types[name] = self._sonar.create_vltype(np.float32, name)

    def add(self, frame: Frame) -> None:
        uneven = _unevenness(frame.range_m)
        if uneven > UNEVEN:
            self._pings.left_out[f"samples {uneven:.2g} of their spacing away from an even one"] += 1
            return
        key = (frame.channel, frame.bearing_rad.tobytes(), frame.is_split_beam, frame.samples is None, frame.unit)
        group = self._groups.get(key)
        if group is None:
            name = f"Beam_group{len(self._groups) + 1}"
            group = _BeamGroup(self._sonar.create_group(name), frame, self.types, self._pings)
            self._groups[key] = group
        group.add(frame)
        self.written += 1

    def finish(self) -> None:
        for group in self._groups.values():
            group.finish()
        firsts = [group.first for group in self._groups.values()]
        profile, sources = self._pings.profile, ", ".join(path.name for path in self._pings.sources)
        self._file.attrs.update(
            {
                "Conventions": "CF-1.7, SONAR-netCDF4-2.0, ACDD-1.3",
                "date_created": netcdf.now_text(),
                "keywords": f"sonar, {profile.title}",
                "license": "None",
                "sonar_convention_authority": "ICES",
                "sonar_convention_name": "SONAR-netCDF4",
                "sonar_convention_version": "2.0",
                "summary": f"{self.written} pings of {profile.title} from {sources}",
                "title": f"Pings of {profile.title}",
            }
        )
        self._sonar.attrs.update(
            {
                "sonar_manufacturer": profile.title.split(" ")[0],
                "sonar_model": firsts[0].device or profile.title,
                "sonar_serial_number": "",
                "sonar_software_name": "",
                "sonar_software_version": "",
                "sonar_type": "omni-sonar" if firsts[0].intensity.shape[1] > 1 else "echosounder",
            }
        )
        self._file.create_group("Annotation")
        self._write_environment(firsts)
        self._write_platform(firsts)
        provenance = self._file.create_group("Provenance")
        provenance.attrs.update(netcdf.software() | {"history": f"{netcdf.now_text()} nims export sonar-netcdf"})
        provenance.dimensions = {"filenames": len(self._pings.sources)}
        names = provenance.create_variable("source_filenames", ("filenames",), netcdf.string_type())
        names[:] = netcdf.strings([path.name for path in self._pings.sources])
        names.attrs["long_name"] = "Source filenames"
        vendor = self._file.create_group("Vendor_specific")
        vendor.attrs.update(
            {
                "nims_version": __version__,
                "nims_profile": profile.name,
                "comment": "backscatter in counts is of unknown gain; a frequency is the nominal one, and every pulse "
                "is written as CW, because sonars do not tell; substitute values are NaN",
            }
        )

    def _write_environment(self, firsts: Sequence[Frame]) -> None:
        group = self._file.create_group("Environment")
        absorption = {
            frame.frequency_hz: frame.calibration.absorption_db_m if frame.calibration else math.nan for frame in firsts
        }
        group.dimensions = {"frequency": len(absorption)}
        texts = {"long_name": "Acoustic frequency", "standard_name": "sound_frequency", "units": "Hz", "valid_min": 0.0}
        _fixed(group, "frequency", ("frequency",), np.float32, list(absorption), texts)
        texts = {"long_name": "Indicative acoustic absorption", "units": "dB/m", "valid_min": 0.0}
        _fixed(group, "absorption_indicative", ("frequency",), np.float32, list(absorption.values()), texts)
        texts = {"long_name": "Indicative sound speed", "standard_name": "speed_of_sound_in_sea_water"}
        texts |= {"units": "m/s", "valid_min": 0.0}
        _fixed(group, "sound_speed_indicative", (), np.float32, firsts[0].sound_speed_m_s, texts)

    def _write_platform(self, firsts: Sequence[Frame]) -> None:
        group = self._file.create_group("Platform")
        channels = list(dict.fromkeys(frame.channel or "1" for frame in firsts))
        group.dimensions = {"transducer": len(channels), "position": 1, "MRU": 1}
        group.attrs["comment"] = "coordinates of the sonar head; position and attitude are in the beam groups"
        function = group.create_enumtype(
            np.int8, "transducer_type_t", {"receive_only": 0, "transmit_only": 1, "monostatic": 3}
        )
        variable = netcdf.write_enumerated(group, "transducer_function", ("transducer",), function, "monostatic")
        variable.attrs["long_name"] = "Transducer function (transmit_only, receive_only, monostatic)"
        ids = group.create_variable("transducer_ids", ("transducer",), netcdf.string_type())
        ids[:] = netcdf.strings(channels)
        for sensor, dimension in (("Position", "position"), ("Attitude", "MRU")):
            group.create_group(sensor)
            names = group.create_variable(f"{dimension}_ids", (dimension,), netcdf.string_type())
            names[:] = netcdf.strings([sensor])


def _fixed(group: Any, name: str, dimensions: tuple[str, ...], dtype: Any, values: Any, attributes: dict) -> None:
    variable = group.create_variable(name, dimensions, dtype)
    variable[...] = values
    variable.attrs.update({key: np.float32(text) if key == "valid_min" else text for key, text in attributes.items()})


class _BeamGroup:
    """One /Sonar/Beam_groupN."""

    def __init__(self, group: Any, first: Frame, types: dict[str, Any], pings: Pings) -> None:
        self.first = first
        self._group = group
        self._waiting: list[Frame] = []
        self._bytes = 0
        self._done = 0
        beams = len(first.bearing_rad)
        conversion = WITH_POWER if first.unit == "W" else WITH_SOURCE_LEVEL
        group.attrs["beam_mode"] = "horizontal" if beams > 1 else "vertical"
        netcdf.set_enumerated(group, "conversion_equation_type", types["conversion_equation_t"], conversion)
        group.dimensions = {"beam": beams, "tx_beam": 1, "frequency": 1, "ping_time": None}
        names = group.create_variable("beam", ("beam",), netcdf.string_type())
        names[:] = netcdf.strings([first.channel or str(beam + 1) for beam in range(beams)])
        names.attrs["long_name"] = "Beam name"
        kind = "split_aperture_angles" if first.is_split_beam else "single"
        kinds: dict[str, tuple[tuple[str, ...], str, str, str]] = {"beam_type": ((), "beam_t", kind, "Type of beam")}
        kinds["beam_stabilisation"] = (
            ("ping_time",), "beam_stabilisation_t", "not_stabilised", "Beam stabilisation applied (or not)",
        )  # fmt: skip
        kinds["transmit_type"] = (("ping_time", "tx_beam"), "transmit_t", "CW", "Type of transmitted pulse")
        self._kinds = kinds
        self._types = types
        self._variables = list(_variables(first))
        for variable in self._variables:
            made = group.create_variable(
                variable.name,
                variable.dimensions,
                types.get(variable.kind, variable.kind),
                **_chunking(variable, beams),
            )
            made.attrs.update(variable.attributes)
        if first.is_split_beam:
            for name, sensitivity in zip(("major", "minor"), _sensitivities(first), strict=True):
                texts = {"long_name": f"{name.capitalize()} angle scaling factor", "units": "1", "valid_min": 0.0}
                _fixed(group, f"echoangle_{name}_sensitivity", ("beam",), np.float32, [sensitivity], texts)
        self._targets = SingleTargets(group, pings.settings) if first.is_split_beam else None

    def finish(self) -> None:
        """Write what is left, and what has one value for all pings."""
        self.flush()
        for name, (dimensions, enumeration, member, long_name) in self._kinds.items():
            variable = netcdf.write_enumerated(self._group, name, dimensions, self._types[enumeration], member)
            variable.attrs["long_name"] = long_name
            if dimensions == ("ping_time",):
                variable.attrs.update(_PLACED)

    def add(self, frame: Frame) -> None:
        self._waiting.append(frame)
        self._bytes += frame.intensity.nbytes * (3 if frame.samples is not None else 1)
        if self._bytes >= BLOCK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Append what has been gathered."""
        if not self._waiting:
            return
        first, last = self._done, self._done + len(self._waiting)
        self._group.resize_dimension("ping_time", last)
        for variable in self._variables:
            values = [variable.value(frame) for frame in self._waiting]
            if variable.kind in ("sample_t", "angle_t"):
                netcdf.write_ragged(self._group.variables[variable.name], first, values)
            else:
                self._group.variables[variable.name][first:last] = np.array(values)
        if self._targets is not None:
            self._targets.write(first, self._waiting)
        self._done, self._waiting, self._bytes = last, [], 0


@dataclass(frozen=True, slots=True)
class _Variable:
    """A variable of a beam group with a value for each ping."""

    name: str
    dimensions: tuple[str, ...]
    kind: Any
    """Type of an element, or the name of one of the convention's."""
    value: Callable[[Frame], Any]
    """Of one ping, without the dimension of time."""
    attributes: dict[str, Any]


def _chunking(variable: _Variable, beams: int) -> dict[str, Any]:
    if variable.kind in ("sample_t", "angle_t"):
        return {"chunks": (1, beams)}
    return {"chunks": tuple({"ping_time": 256, "beam": beams}.get(dimension, 1) for dimension in variable.dimensions)}


def _variables(first: Frame) -> list[_Variable]:
    """Return the variables of a group of pings like this one."""
    found: list[_Variable] = []

    def add(
        name: str, where: str, kind: Any, value: Callable[[Frame], Any], long_name: str, units: str = "", **more: Any
    ) -> None:
        dimensions = ("ping_time", *where.split())
        attributes = {"long_name": long_name, **({"units": units} if units else {}), **more}
        if not where and name != "ping_time":
            attributes |= _PLACED
        found.append(_Variable(name, dimensions, kind, value, attributes))

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
    time_texts = {"axis": "T", "calendar": "gregorian", "standard_name": "time", **_PLACED}
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
        electrical = np.degrees(getattr(frame, field)) * _sensitivities(frame)[number]
        return electrical[np.newaxis].astype(np.float32)

    return angles


def _sensitivities(frame: Frame) -> tuple[float, float]:
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


def _unevenness(range_m: np.ndarray) -> float:
    """Return how far samples are from an even spacing, in samples."""
    if len(range_m) < 3:
        return 0.0
    even = np.linspace(range_m[0], range_m[-1], len(range_m))
    return float(np.abs(range_m - even).max() / (even[1] - even[0]))
