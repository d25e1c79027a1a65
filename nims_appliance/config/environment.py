"""Settings that environment variables give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..settings import ApplianceSettings
from .build import Layer
from .yaml import parse_scalar

ENVIRONMENT_PREFIX = "NIMS_"


def environment_layer(environ: Mapping[str, str], below: dict[str, Any], warnings: list[str]) -> Layer:
    """Return the settings that variables give: NIMS_WEB__PORT=8081, levels joined by two underscores.

    Args:
      below: what the files say; a sonar's name is found in it whatever its case.
      warnings: told of variables that look like settings and are none.
    """
    values: dict[tuple[str, ...], tuple[Any, str]] = {}
    sections = [field.name for field in msgspec.structs.fields(ApplianceSettings)]
    sonars = below.get("sonars")
    names = {name.lower(): name for name in sonars} if isinstance(sonars, dict) else {}
    for variable in sorted(environ):
        key = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if not variable.startswith(ENVIRONMENT_PREFIX) or not environ[variable]:
            continue
        if "__" not in key:
            if any(key.startswith(f"{section}_") for section in sections):
                example = f"{ENVIRONMENT_PREFIX}WEB__PORT"
                warnings.append(f"environment {variable}: ignored; write two underscores between levels: {example}")
            continue
        path = tuple(key.split("__"))
        if path[0] == "sonars":
            path = (path[0], names.get(path[1], path[1]), *path[2:])
        values[path] = (parse_scalar(environ[variable]), f"environment {variable}")
    return Layer.of_values(values)
