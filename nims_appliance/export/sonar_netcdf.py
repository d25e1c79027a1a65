"""Pings and single targets as ICES SONAR-netCDF4, convention 2.0: the file and its groups.

A beam group (beam_group.py, beam_variables.py) holds the pings of one channel with one set of beams; where a sonar is
switched over, another group begins. What a sonar does not tell is NaN. What is written for each kind of data:

* calibrated echosounders: received power in W, conversion equation type 1, with the transducer's gain, the effective
  pulse length (which holds the Sa correction) and the range offset in `sample_time_offset`
* imaging sonars: the complex samples in counts where they are known, else the amplitude. Nothing is known of their
  gain, so `non_quantitative_processing` says that they cannot be calibrated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..errors import NimsError
from ..frame import Frame
from . import netcdf
from .beam_group import BeamGroup
from .pings import Pings

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
        self._groups: dict[tuple, BeamGroup] = {}
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
            group = BeamGroup(self._sonar.create_group(name), frame, self.types, self._pings)
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
        netcdf.write_fixed(group, "frequency", ("frequency",), np.float32, list(absorption), texts)
        texts = {"long_name": "Indicative acoustic absorption", "units": "dB/m", "valid_min": 0.0}
        netcdf.write_fixed(group, "absorption_indicative", ("frequency",), np.float32, list(absorption.values()), texts)
        texts = {"long_name": "Indicative sound speed", "standard_name": "speed_of_sound_in_sea_water"}
        texts |= {"units": "m/s", "valid_min": 0.0}
        netcdf.write_fixed(group, "sound_speed_indicative", (), np.float32, firsts[0].sound_speed_m_s, texts)

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
        for axis in "xyz":
            title = f"{axis}-axis distance from the platform coordinate system origin to the sonar transducer"
            texts = {"long_name": title, "units": "m"}
            netcdf.write_fixed(group, f"transducer_offset_{axis}", ("transducer",), np.float32, 0.0, texts)
            title = f"Extrinsic rotation about the {axis}-axis from the transducer to reference coordinate systems"
            turned = {"long_name": title, "units": "arc_degree", "valid_range": np.array([-180.0, 180.0], np.float32)}
            netcdf.write_fixed(group, f"transducer_rotation_{axis}", ("transducer",), np.float32, 0.0, turned)
        for sensor, dimension in (("Position", "position"), ("Attitude", "MRU")):
            group.create_group(sensor)
            names = group.create_variable(f"{dimension}_ids", (dimension,), netcdf.string_type())
            names[:] = netcdf.strings([sensor])


def _unevenness(range_m: np.ndarray) -> float:
    """Return how far samples are from an even spacing, in samples."""
    if len(range_m) < 3:
        return 0.0
    even = np.linspace(range_m[0], range_m[-1], len(range_m))
    return float(np.abs(range_m - even).max() / (even[1] - even[0]))
