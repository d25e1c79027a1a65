"""Everything that the health page, `/api/v1/health`, `/metrics` and the text for support tell: one snapshot.

It is drawn from the parts' `statistics()`, the buses', and what the plugin host lists; nothing is counted here.
"""

from __future__ import annotations

import importlib.metadata
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..config.masking import Masking
from ..config.yaml import leaves
from ..recent_log import without_secrets

if TYPE_CHECKING:
    from ..bus import Bus
    from ..context import Context
    from .state import WebState

PACKAGES = ("trio", "numpy", "quart", "quart-trio", "hypercorn", "msgspec", "pluggy", "pyyaml", "jinja2")
"""Whose versions are told: what a fault may come from."""
_SECRET_KEYS = ("password", "secret", "token", "key")


def describe_health(context: Context, state: WebState) -> dict[str, Any]:
    """Return the state of the appliance with all that is counted, JSON-able: what `/api/v1/state` has, and more."""
    told = state.state()
    return {
        **told,
        "version": __version__,
        "uptime_s": told["time_s"] - told["started_utc_s"],
        "versions": versions(),
        "data": str(context.data),
        "warnings": list(context.config.warnings),
        "buses": [describe_bus(name, bus) for name, bus in buses(context)],
        "plugins": context.plugins.describe(),
        "profiles": len(context.plugins.profiles),
        "profile_errors": list(context.plugins.profile_errors),
        "notes": list(context.plugins.notes),
        "log_counts": dict(context.log.counts),
    }


def buses(context: Context) -> Iterator[tuple[str, Bus[Any]]]:
    """Yield every bus of the appliance with its name."""
    yield "results", context.results
    yield "metrics", context.metrics
    yield "config changes", context.config.changes
    for sonar in context.sonars.values():
        yield f"{sonar.name} frames", sonar.frames
        yield f"{sonar.name} pictures", sonar.pictures


def describe_bus(name: str, bus: Bus[Any]) -> dict[str, Any]:
    """Return the counters of one bus and its subscribers; `published`, `dropped` and `delivered` never fall."""
    return {**asdict(bus.statistics()), "name": name}


@cache
def versions() -> dict[str, str]:
    """Return what runs here, by name."""
    found = {"nims": __version__, "python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = ""
    return found | {"system": platform.platform(), "machine": platform.machine()}


def support_text(context: Context, state: WebState) -> str:
    """Return all that somebody far away needs to know, as text for a message; without secrets."""
    told = describe_health(context, state)
    lines = [
        f"NIMS {told['version']}, {_utc(told['time_s'])}, running for {told['uptime_s'] / 3600:.1f} h",
        "all parts are well" if told["ok"] else "NOT all parts are well",
        *(f"error: {text}" for text in told["errors"]),
        *(f"warning: {text}" for text in told["warnings"]),
        *_section("Versions", (f"{name} {version}" for name, version in told["versions"].items())),
        *_section("Parts", _part_lines(told["parts"])),
        *_section("Queues", _bus_lines(told["buses"])),
        *_section("Plugins", _plugin_lines(told)),
        *_section("Settings that are not the default", _setting_lines(context)),
        *_section("Log", _log_lines(context)),
    ]
    return without_secrets("\n".join(lines)) + "\n"


def _section(title: str, lines: Iterator[str]) -> Iterator[str]:
    yield from ("", f"== {title}")
    yield from lines


def _utc(time_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_s))


def _part_lines(parts: list[dict[str, Any]]) -> Iterator[str]:
    for part in parts:
        since = f"since {_utc(part['since_utc_s'])}, {part['restarts']} restarts"
        yield f"{part['name']}: {part['state']} {since}: {part['detail']}"
        if part["warning"]:
            yield f"    warning: {part['warning']}"
        if part["last_error"]:
            yield f"    last error ({_utc(part['last_error_utc_s'])}): {part['last_error']}"
        for name, value in part["statistics"].items():
            yield f"    {name}: {value}"


def _bus_lines(described: list[dict[str, Any]]) -> Iterator[str]:
    for bus in described:
        yield f"{bus['name']}: {bus['published']} published, {bus['dropped']} dropped"
        for subscriber in bus["subscribers"]:
            told = ", ".join(f"{name} {subscriber[name]}" for name in ("delivered", "dropped", "queued", "lag_s"))
            yield f"    {subscriber['name']} ({subscriber['policy']}): {told}"


def _plugin_lines(told: dict[str, Any]) -> Iterator[str]:
    for plugin in told["plugins"]:
        yield f"{plugin['name']} {plugin['version']} ({plugin['origin']}): {plugin['state']} {plugin['error']}".rstrip()
    yield from told["profile_errors"]
    yield from told["notes"]


def _setting_lines(context: Context) -> Iterator[str]:
    masking = Masking(context.plugins)
    for path, value in leaves(masking.mask(context.config.values(), operator=False)):
        key = ".".join(path)
        origin = context.config.origin(key)
        if origin != "default":
            secret = value not in (None, "") and any(word in path[-1].lower() for word in _SECRET_KEYS)
            yield f"{key}: {'***' if secret else value} ({origin})"


def _log_lines(context: Context) -> Iterator[str]:
    for record in context.log.records():
        yield f"{_utc(record.time_utc_s)} {record.level:7} {record.source}: {record.text}"
