"""Units of settings and metrics, which stand in their names."""

from __future__ import annotations

_UNITS = {
    "_m2_s3": "m²/s³",
    "_m_s": "m/s",
    "_m2": "m²",
    "_db_m": "dB/m",
    "_rad_s": "rad/s",
    "_per_ping": "per ping",
    "_per_hour": "per hour",
    "_ms": "ms",
    "_us": "µs",
    "_hz": "Hz",
    "_db": "dB",
    "_deg": "°",
    "_rad": "rad",
    "_bytes": "bytes",
    "_mb": "MB",
    "_gb": "GB",
    "_minutes": "min",
    "_days": "days",
    "_sd": "standard deviations",
    "_steps": "steps",
    "_m": "m",
    "_s": "s",
    "_w": "W",
    "_v": "V",
}


def split_unit(name: str) -> tuple[str, str]:
    """Return ("min_range", "m") for "min_range_m"; the unit is empty where the name has none."""
    for suffix, unit in _UNITS.items():
        if name.endswith(suffix):
            return name.removesuffix(suffix), unit
    return name, ""
