"""Sv of calibrated echosounders in the shape of echopype's datasets, so that its masks, MVBS and NASC run on it.

Dimensions channel, ping_time, range_sample; variables Sv, echo_range, frequency_nominal, and the angles of split beams.
A time at which some channels did not ping is NaN for them, as echopype has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..acoustics.calibration import sv_db
from ..errors import NimsError
from ..frame import Frame, Pose
from . import netcdf
from .pings import Pings

BLOCK_BYTES = 16 * 2**20
"""So much of the pings is gathered before it is written."""
CHUNK_PINGS, CHUNK_SAMPLES = 64, 1024
_DIMENSIONS = ("channel", "ping_time", "range_sample")
_ANGLES = {"angle_alongship": "along_rad", "angle_athwartship": "athwart_rad"}


def export_sv(pings: Pings, paths: Sequence[Path], output: Path, data: Path) -> int:
    """Write the Sv of recordings; return how many pings of all channels were written.

    Uncalibrated pings are left out and counted in `pings.left_out`.

    Raises:
      NimsError: there is no calibrated ping, or the file cannot be written.
    """
    with netcdf.new_file(output, data) as file:
        writer = _Writer(file)
        for frame in pings.read(paths):
            if frame.calibration is None or frame.intensity.shape[1] != 1:
                pings.left_out["not calibrated, so without Sv"] += 1
            else:
                writer.add(frame)
        if not writer.written:
            raise NimsError(
                "; ".join(pings.errors)
                or f"no ping of {pings.profile.title} is calibrated: Sv needs an echosounder that tells its calibration"
            )
        writer.finish(pings.sources)
    return writer.written


class _Writer:
    """Gathers pings to blocks, rows of one time each, and appends them."""

    def __init__(self, file: Any) -> None:
        self.written = 0
        self._file = file
        self._channels: dict[str, Frame] = {}
        """The first ping of each channel, in the order in which they came."""
        self._rows: list[dict[str, Frame]] = []
        self._bytes = 0
        self._done = 0
        """Rows in the file."""
        self._samples = 0
        file.dimensions = dict.fromkeys(_DIMENSIONS)
        self._variable("Sv", _DIMENSIONS, np.float32, "Volume backscattering strength (Sv re 1 m-1)", "dB")
        self._variable("echo_range", _DIMENSIONS, np.float64, "Range distance", "m")
        self._variable("sound_speed", ("channel", "ping_time"), np.float64, "Sound speed in water", "m/s")
        self._variable("sound_absorption", ("channel", "ping_time"), np.float64, "Acoustic absorption", "dB/m")
        time = file.create_variable("ping_time", ("ping_time",), np.int64, chunks=(CHUNK_PINGS * 16,))
        time.attrs.update({"long_name": "Timestamp of each ping", "standard_name": "time", "axis": "T"})
        time.attrs.update({"units": "nanoseconds since 1970-01-01T00:00:00Z", "calendar": "proleptic_gregorian"})

    def _variable(self, name: str, dimensions: tuple[str, ...], dtype: type, long_name: str, units: str) -> None:
        sizes = {"channel": 1, "ping_time": CHUNK_PINGS, "range_sample": CHUNK_SAMPLES}
        chunks = tuple(sizes[dimension] for dimension in dimensions)
        nan = dtype(np.nan)
        made = self._file.create_variable(name, dimensions, dtype, fillvalue=nan, chunks=chunks, **netcdf.COMPRESSED)
        made.attrs.update({"long_name": long_name, "units": units})

    def add(self, frame: Frame) -> None:
        row = self._rows[-1] if self._rows else None
        if row is None or frame.channel in row or next(iter(row.values())).time_s != frame.time_s:
            if self._bytes >= BLOCK_BYTES:
                self._flush()
            row = {}
            self._rows.append(row)
        row[frame.channel] = frame
        self._channels.setdefault(frame.channel, frame)
        self._bytes += 8 * frame.intensity.size
        self.written += 1

    def _flush(self) -> None:
        """Append the rows; those of other channels and the samples beyond a ping's last stay NaN."""
        if not self._rows:
            return
        first, last = self._done, self._done + len(self._rows)
        longest = max(len(frame.range_m) for row in self._rows for frame in row.values())
        self._samples = max(self._samples, longest)
        for name, size in (("channel", len(self._channels)), ("ping_time", last), ("range_sample", self._samples)):
            if self._file.dimensions[name].size != size:
                self._file.resize_dimension(name, size)
        variables = self._file.variables
        variables["ping_time"][first:last] = [netcdf.time_ns(next(iter(row.values())).time_s) for row in self._rows]
        for index, channel in enumerate(self._channels):
            frames = [row.get(channel) for row in self._rows]
            for name, values_of in _PROFILES.items():
                block = _block(frames, longest, values_of)
                if name in _ANGLES and name not in variables:
                    if np.isnan(block).all():
                        continue
                    self._variable(name, _DIMENSIONS, np.float32, f"split-beam {name[6:]} angle", "degree")
                variables[name][index, first:last, :longest] = block
            speeds = [np.nan if frame is None else frame.sound_speed_m_s for frame in frames]
            variables["sound_speed"][index, first:last] = speeds
            absorptions = [
                np.nan if frame is None or frame.calibration is None else frame.calibration.absorption_db_m
                for frame in frames
            ]
            variables["sound_absorption"][index, first:last] = absorptions
        poses = [next((frame.pose for frame in row.values() if frame.pose is not None), Pose()) for row in self._rows]
        for name, units in (("latitude", "degrees_north"), ("longitude", "degrees_east")):
            values = np.array([getattr(pose, f"{name}_deg") for pose in poses])
            if name not in variables and not np.isnan(values).all():
                self._variable(name, ("ping_time",), np.float64, f"Platform {name}", units)
            if name in variables:
                variables[name][first:last] = values
        self._done, self._rows, self._bytes = last, [], 0

    def finish(self, sources: Sequence[Path]) -> None:
        self._flush()
        file = self._file
        names = file.create_variable("channel", ("channel",), netcdf.string_type())
        names[:] = netcdf.strings([name or "1" for name in self._channels])
        names.attrs["long_name"] = "Vendor channel ID"
        frequency = file.create_variable("frequency_nominal", ("channel",), np.float64)
        frequency[:] = [frame.frequency_hz for frame in self._channels.values()]
        frequency.attrs.update(
            {"long_name": "Transducer frequency", "units": "Hz", "standard_name": "sound_frequency", "valid_min": 0.0}
        )
        sample = file.create_variable("range_sample", ("range_sample",), np.int64)
        sample[:] = np.arange(self._samples)
        sample.attrs["long_name"] = "Along-range sample number, base 0"
        file.attrs.update(netcdf.software())
        if "latitude" in file.variables:
            file.attrs["processing_level"] = "Level 2A"  # echopype asks for it where a position is known
        file.attrs.update(
            {
                "title": "Volume backscattering strength",
                "source_filenames": ", ".join(path.name for path in sources),
                "instruments": ", ".join(dict.fromkeys(frame.device for frame in self._channels.values())),
                "comment": "echo_range: of the middle of each sample; for Sv the TVG start correction was subtracted, "
                "and Sv is NaN where nothing is left",
            }
        )


def _sv(frame: Frame) -> np.ndarray:
    return sv_db(frame)


def _echo_range(frame: Frame) -> np.ndarray:
    return frame.range_m


def _angle(name: str) -> Callable[[Frame], np.ndarray | None]:
    def degrees(frame: Frame) -> np.ndarray | None:
        angle_rad = getattr(frame, name)
        return None if angle_rad is None else np.degrees(angle_rad)

    return degrees


_PROFILES: dict[str, Callable[[Frame], np.ndarray | None]] = {
    "Sv": _sv,
    "echo_range": _echo_range,
    **{name: _angle(field) for name, field in _ANGLES.items()},
}


def _block(frames: Sequence[Frame | None], samples: int, values_of: Callable[[Frame], np.ndarray | None]) -> np.ndarray:
    """Return values of shape (pings, samples), NaN where there are none."""
    block = np.full((len(frames), samples), np.nan)
    for row, frame in zip(block, frames, strict=True):
        values = None if frame is None else values_of(frame)
        if values is not None:
            row[: len(values)] = values
    return block
