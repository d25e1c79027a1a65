"""Importing a plugin's files by path, and saying in one sentence why that failed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from ..errors import PluginError


def import_file(module_name: str, file: Path, package: Path | None = None) -> ModuleType:
    """Import one file as a module, the way `import` does it."""
    forget_module(module_name)
    locations = [str(package)] if package else None
    spec = importlib.util.spec_from_file_location(module_name, file, submodule_search_locations=locations)
    if spec is None or spec.loader is None:
        raise PluginError(f"cannot be imported from {file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module


def forget_module(name: str) -> None:
    """Remove a module and its submodules, so that half an import does not pass for a whole one."""
    for key in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
        del sys.modules[key]


def is_from(module: ModuleType, folder: Path) -> bool:
    """Return whether a module is the package in that folder."""
    return Path(getattr(module, "__file__", None) or "/").resolve().parent == folder.resolve()


def explain(error: BaseException) -> str:
    """Return an error of somebody else's code in one sentence, with what to do where that is clear."""
    if isinstance(error, PluginError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"it needs the package {error.name!r}, which is not there; put its wheel into the plugins folder too"
    if isinstance(error, SyntaxError):
        return f"{Path(error.filename or '?').name}:{error.lineno}: not valid Python: {error.msg}"
    if isinstance(error, SystemExit):
        return f"it tried to end the process (exit {error.code})"
    place = ""
    trace = error.__traceback__
    while trace:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<"):
            place = f" ({Path(file).name}:{trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(error).__name__}: {error}{place}"
