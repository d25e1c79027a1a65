"""netCDF-4 through h5netcdf: opening a file that is whole or not there, and what both exports write alike."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from .optional import need
from .table_files import whole_file

EPOCH_UNITS = "nanoseconds since 1970-01-01 00:00:00Z"
COMPRESSED = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


@contextlib.contextmanager
def new_file(path: Path, data: Path) -> Iterator[Any]:
    """Give an empty h5netcdf.File, which becomes the file `path` when all is written.

    Raises:
      NimsError: h5netcdf is not there, or the file cannot be written.
    """
    need("h5py", "netCDF", data)
    h5netcdf = need("h5netcdf", "netCDF", data)
    with whole_file(path) as temporary, h5netcdf.File(temporary, "w") as file:
        yield file


def now_text() -> str:
    """Return the time, UTC, as ACDD wants it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def software() -> dict[str, str]:
    """Return who has converted, as attributes."""
    return {
        "conversion_software_name": "NIMS appliance",
        "conversion_software_version": __version__,
        "conversion_time": now_text(),
    }


def time_ns(time_s: float) -> int:
    """Return nanoseconds since 1970; a float64 of seconds is of 0.2 us steps."""
    return round(time_s * 1e9)


def strings(values: list[str]) -> np.ndarray:
    """Return texts as h5py takes them."""
    return np.array(values, dtype=object)


def string_type() -> Any:
    """Return the type of a text of any length."""
    import h5py

    return h5py.string_dtype()


def write_fixed(group: Any, name: str, dimensions: tuple[str, ...], dtype: Any, values: Any, attributes: dict) -> None:
    """Write a variable whose values are all known; a `valid_min` gets the type that the convention wants."""
    variable = group.create_variable(name, dimensions, dtype)
    variable[...] = values
    variable.attrs.update({key: np.float32(text) if key == "valid_min" else text for key, text in attributes.items()})


def write_enumerated(group: Any, name: str, dimensions: tuple[str, ...], enumeration: Any, member: str) -> Any:
    """Write a variable that has one value throughout, when its dimensions have their last sizes; return it.

    h5netcdf cannot lengthen variables of enumerated types.
    """
    with warnings.catch_warnings():
        # It warns that a value never written reads as the member 0; all are written.
        warnings.filterwarnings("ignore", "Creating variable with default fill_value")
        variable = group.create_variable(name, dimensions, enumeration)
    variable[...] = np.full(variable.shape, enumeration.enum_dict[member], np.int8)
    return variable


def set_enumerated(group: Any, name: str, enumeration: Any, value: int) -> None:
    """Set an attribute of an enumerated type, which h5netcdf itself cannot."""
    group._h5group.attrs.create(name, np.int8(value), dtype=enumeration.dtype)


def write_ragged(variable: Any, first: int, rows: Sequence[np.ndarray]) -> None:
    """Write rows of ragged arrays from row `first` on: one of shape (beams, values) for each ping."""
    shape = (len(rows), *variable.shape[1:])
    table = np.empty(shape, dtype=object)
    for ping, beams in enumerate(rows):
        for beam, values in enumerate(beams):
            # A further dimension, of frequency, is 1.
            table[(ping, beam, *(0,) * (len(shape) - 2))] = values
    variable[first : first + len(rows)] = table
