"""Packages that some exports need and the appliance does not bring: importing them, or saying how to get them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ..errors import NimsError

_NETCDF = "h5netcdf h5py packaging"
WHEELS = {"h5netcdf": _NETCDF, "h5py": _NETCDF, "pyarrow": "pyarrow", "pyarrow.parquet": "pyarrow"}
"""Package -> the wheels that bring it to a Python that has NumPy."""


def need(package: str, purpose: str, data: Path) -> Any:
    """Return an optional package.

    Args:
      purpose: what cannot be written without it.
      data: the data folder, whose wheels the plugin host has put on the path.

    Raises:
      NimsError: it is not there, or does not work; says how to get it.
    """
    try:
        return importlib.import_module(package)
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError)
        reason = "which is not there" if missing else f"which does not work here ({type(error).__name__}: {error})"
        raise NimsError(
            f"{purpose} needs the Python package {package}, {reason}. With nims.pyz: python3 -m pip download --no-deps "
            f"--only-binary :all: -d {data / 'plugins'} {WHEELS[package]} (or copy these wheels there by hand); "
            "with an installed appliance: pip install 'nims-appliance[export]'"
        ) from error
