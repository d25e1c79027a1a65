"""Single targets of split-beam pings as the subgroup `SingleTarget` of a beam group of SONAR-netCDF4."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..acoustics.calibration import beam_compensation_db
from ..frame import Frame
from ..pipeline.single_target import PHASE_STEP_DEG, SingleTargetDetector
from ..settings import SonarSettings
from . import netcdf

MIN_SPACING = 1.0
"""Pulse lengths between two targets; part of the detector."""


class SingleTargets:
    """Finds and writes the targets of one channel: those that the appliance would detect, in the order of the pings."""

    def __init__(self, beam_group: Any, settings: SonarSettings) -> None:
        self._detector = SingleTargetDetector(settings)
        self._count = 0
        group = self._group = beam_group.create_group("SingleTarget")
        types = {name: group.create_vltype(np.float32, name) for name in ("target_range", "target_angle", "target_TS")}
        types["target_identifier"] = group.create_vltype(np.int32, "target_identifier")
        place = ("ping_time", "beam")
        angle = {"units": "arc_degree", "valid_range": np.array([-180.0, 180.0], np.float32)}
        described: dict[str, tuple[tuple[str, ...], str, dict[str, Any]]] = {
            "single_target_identifier": (place, "target_identifier", {"long_name": "Index of single target detected"}),
            "single_target_range": (
                place,
                "target_range",
                {"units": "m", "long_name": "Range of single target detected"},
            ),
            "single_target_alongship_angle": (
                place,
                "target_angle",
                {"long_name": "Single target arrival angle in the minor beam coordinate", **angle},
            ),
            "single_target_athwartship_angle": (
                place,
                "target_angle",
                {"long_name": "Single target arrival angle in the major beam coordinate", **angle},
            ),
            "compensated_TS": (
                (*place, "frequency"),
                "target_TS",
                {"units": "dB", "long_name": "Target Strength after compensation for off-axis angle"},
            ),
            "uncompensated_TS": (
                (*place, "frequency"),
                "target_TS",
                {"units": "dB", "long_name": "Target Strength uncompensated for off-axis angle"},
            ),
        }
        self._ragged = list(described)
        for name, (dimensions, kind, attributes) in described.items():
            made = group.create_variable(name, dimensions, types[kind], chunks=(64,) + (1,) * (len(dimensions) - 1))
            made.attrs.update(attributes)
        count = group.create_variable("single_target_count", place, np.int32, chunks=(256, 1))
        count.attrs.update(
            {"long_name": "Number of single target detection in each beam, per ping", "valid_min": np.int32(0)}
        )
        criteria = settings.single_target
        self._parameters = {
            "param_TS_threshold": (criteria.min_ts_db, "dB", "Minimum TS"),
            # The appliance's limit is of both ways.
            "param_gain_compensation": (criteria.max_gain_compensation_db / 2, "dB", "Maximum one-way compensation"),
            "param_minimum_echo_duration": (criteria.min_echo_length, "1", "Minimum echo duration in nominal pulses"),
            "param_maximum_echo_duration": (criteria.max_echo_length, "1", "Maximum echo duration in nominal pulses"),
            "param_maximum_phase_deviation": (
                criteria.max_phase_sd_steps * PHASE_STEP_DEG,
                "arc_degree",
                "Maximum standard deviation of the electrical phase",
            ),
            "param_minimum_echo_spacing": (MIN_SPACING, "1", "Minimum distance between targets in nominal pulses"),
        }
        for name, (_, units, long_name) in self._parameters.items():
            made = group.create_variable(name, place, np.float32, chunks=(256, 1))
            made.attrs.update({"units": units, "long_name": long_name})
        group.attrs["comment"] = (
            "criteria of Soule et al. (1997); targets also stand out of the past of their range, as live: the first "
            "pings of a recording have none"
        )

    def write(self, first: int, frames: Sequence[Frame]) -> None:
        """Append the targets of pings; the dimension of time is long enough already."""
        last = first + len(frames)
        columns: dict[str, list[np.ndarray]] = {name: [] for name in self._ragged}
        counts = []
        for frame in frames:
            found = self._detector.detect(frame)
            counts.append([len(found)])
            identifiers = np.arange(self._count, self._count + len(found), dtype=np.int32)
            self._count += len(found)
            compensation_db = _compensation_db(frame, found)
            values = (
                identifiers,
                found["range_m"],
                np.degrees(found["elevation_rad"]),
                np.degrees(found["bearing_rad"]),
                found["ts_db"],
                found["ts_db"] - compensation_db,
            )
            for name, column in zip(self._ragged, values, strict=True):
                columns[name].append(column[np.newaxis])
        for name, column_of_pings in columns.items():
            netcdf.write_ragged(self._group.variables[name], first, column_of_pings)
        self._group.variables["single_target_count"][first:last] = np.array(counts, np.int32)
        for name, (value, _, _) in self._parameters.items():
            self._group.variables[name][first:last] = np.full((len(frames), 1), value, np.float32)


def _compensation_db(frame: Frame, found: np.ndarray) -> np.ndarray:
    if frame.calibration is None:
        return np.zeros(len(found))
    return beam_compensation_db(
        found["elevation_rad"],
        found["bearing_rad"],
        frame.calibration.beamwidth_along_rad,
        frame.calibration.beamwidth_athwart_rad,
    )
