"""netCDF-4 through h5netcdf: opening a file that is whole or not there, and what both exports write alike."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
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
