"""One /Sonar/Beam_groupN of SONAR-netCDF4: the pings of one channel with one set of beams, gathered and appended."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..frame import Frame
from . import netcdf
from .beam_variables import PLACED, Variable, sensitivities, variables_of
from .pings import Pings
from .single_targets import SingleTargets

BLOCK_BYTES = 16 * 2**20
"""So much of the pings of a group is gathered before it is written."""
WITH_SOURCE_LEVEL, WITH_POWER = 2, 1
"""Types of the conversion equation: of sonars with a source level and a receiver sensitivity; of calibrated power."""


class BeamGroup:
    """A group that grows.

    Args:
      group: empty, of h5netcdf.
      first: a ping like all that it will be given.
      types: the convention's, by name.
    """

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
        self._variables = list(variables_of(first))
        for variable in self._variables:
            made = group.create_variable(
                variable.name,
                variable.dimensions,
                types.get(variable.kind, variable.kind),
                **_chunking(variable, beams),
            )
            made.attrs.update(variable.attributes)
        if first.is_split_beam:
            for name, sensitivity in zip(("major", "minor"), sensitivities(first), strict=True):
                texts = {"long_name": f"{name.capitalize()} angle scaling factor", "units": "1", "valid_min": 0.0}
                netcdf.write_fixed(group, f"echoangle_{name}_sensitivity", ("beam",), np.float32, [sensitivity], texts)
        self._targets = SingleTargets(group, pings.settings) if first.is_split_beam else None

    def finish(self) -> None:
        """Write what is left, and what has one value for all pings."""
        self.flush()
        for name, (dimensions, enumeration, member, long_name) in self._kinds.items():
            variable = netcdf.write_enumerated(self._group, name, dimensions, self._types[enumeration], member)
            variable.attrs["long_name"] = long_name
            if dimensions == ("ping_time",):
                variable.attrs.update(PLACED)

    def add(self, frame: Frame) -> None:
        """Take a ping; it is written with the others of its block."""
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


def _chunking(variable: Variable, beams: int) -> dict[str, Any]:
    if variable.kind in ("sample_t", "angle_t"):
        return {"chunks": (1, beams)}
    return {"chunks": tuple({"ping_time": 256, "beam": beams}.get(dimension, 1) for dimension in variable.dimensions)}
