"""Checks a computer before, or after, something is wrong; every finding says what to do."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .config.store import ConfigStore
from .data_folder import holder_of, prepare_data
from .errors import NimsError
from .listening import bind, opened
from .plugin_host.host import PluginHost
from .settings import TrackServerSettings, WebSettings

WANTED_UDP_BUFFER_BYTES = 4 * 2**20
FREE_DISK_FAIL_BYTES = 200 * 2**20
FREE_DISK_WARN_BYTES = 2 * 2**30
EARLIEST_YEAR = 2024
_UNSYNCHRONISED = 0x40
_RMEM_MAX = Path("/proc/sys/net/core/rmem_max")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    level: str
    """"ok", "warn" (works, but not as it should) or "fail"."""
    text: str
    remedy: str = ""
    """What to do; empty where all is well."""


def examine(data: Path, plugins: PluginHost, config: ConfigStore) -> list[Finding]:
    """Return what was found, one of each check at least."""
    findings = [check_python(), check_processor()]
    findings += check_data_folder(data)
    findings += [check_clock_year(time.time()), check_clock_synchronised(read_clock_status())]
    findings.append(check_udp_buffer(_RMEM_MAX))
    holder = holder_of(data)
    if holder:
        findings.append(Finding("appliance", "ok", f"runs on this data folder, as process {holder}; it has the ports"))
    else:
        # users: the first start makes one
        web = opened(config.current.web, users=True)
        findings += [check_port("web", web), check_port("tracks", config.current.tracks)]
    findings += check_plugins(plugins)
    findings += check_config(config)
    return findings


def check_python() -> Finding:
    """Python itself, and that the compiled kernels fit it."""
    text = f"{platform.python_implementation()} {platform.python_version()}"
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        return Finding("python", "fail", text, "use Python 3.11, 3.12 or 3.13")
    try:
        from nims_ext import pool  # noqa: F401
    except ImportError as error:
        return Finding(
            "python", "fail", f"{text}: the kernels do not load: {error}", "use a nims.pyz made for this Python"
        )
    return Finding("python", "ok", text)


def check_processor() -> Finding:
    """Kind and number of processors."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    text = f"{count} x {platform.machine()}"
    if count < 2:
        return Finding("processor", "warn", text, "give it two processors: one for the samples, one for the pages")
    return Finding("processor", "ok", text)


def check_data_folder(data: Path) -> Iterator[Finding]:
    """Whether the data folder can be written, and how much room it has."""
    try:
        prepare_data(data)
    except NimsError as error:
        yield Finding("data folder", "fail", str(error), "give another with --data DIR or NIMS_DATA=DIR")
        return
    yield Finding("data folder", "ok", str(data))
    free = shutil.disk_usage(data).free
    level = "fail" if free < FREE_DISK_FAIL_BYTES else "warn" if free < FREE_DISK_WARN_BYTES else "ok"
    yield Finding(
        "disk", level, f"{free / 2**30:.1f} GiB free", "" if level == "ok" else "make room, or use a larger disk"
    )


def check_clock_year(now_s: float) -> Finding:
    """A clock that starts at 1970 or 2000 after a power cut is common on small computers."""
    text = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s))
    if time.gmtime(now_s).tm_year < EARLIEST_YEAR:
        return Finding("clock", "fail", text, "set the clock (`sudo date -s ...`), and its battery or NTP")
    return Finding("clock", "ok", text)


def read_clock_status() -> int | None:
    """Return the status bits of the kernel's clock discipline; None where it has none."""
    try:
        # struct timex is smaller than this on every platform; five words of the size of a long lead to the status.
        buffer = (ctypes.c_byte * 512)()
        if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(buffer)) < 0:
            return None
    except (AttributeError, OSError):
        return None
    offset = 5 * ctypes.sizeof(ctypes.c_long)
    return ctypes.c_int.from_buffer(buffer, offset).value


def check_clock_synchronised(status: int | None) -> Finding:
    """Whether something (NTP, PTP) keeps the clock right: times of tracks are only as good as it is."""
    if status is None:
        return Finding("clock sync", "warn", "cannot be told on this system", "check that NTP runs")
    if status & _UNSYNCHRONISED:
        remedy = "start NTP: `sudo timedatectl set-ntp true`, or chrony with a GPS receiver where there is no network"
        return Finding("clock sync", "warn", "nothing keeps the clock right", remedy)
    return Finding("clock sync", "ok", "kept right by NTP or PTP")


def check_udp_buffer(limit_file: Path) -> Finding:
    """Whether the kernel grants a receive buffer that holds a ping sent as a burst of datagrams."""
    try:
        limit = int(limit_file.read_text())
    except (OSError, ValueError):
        return Finding("udp buffer", "warn", "the limit cannot be read on this system", "see that it is 4 MiB or more")
    if limit < WANTED_UDP_BUFFER_BYTES:
        command = f"sudo sysctl -w net.core.rmem_max={WANTED_UDP_BUFFER_BYTES}"
        return Finding(
            "udp buffer",
            "warn",
            f"at most {limit // 1024} KiB: pings of sonars on udp:// may be lost",
            f"`{command}`, and the same in /etc/sysctl.d/90-nims.conf",
        )
    return Finding("udp buffer", "ok", f"up to {limit // 1024} KiB")


def check_port(section: str, settings: WebSettings | TrackServerSettings) -> Finding:
    """Whether the address of a server can be listened on."""
    name = f"{section}.port"
    try:
        for sock in bind(settings, section):
            sock.close()
    except NimsError as error:
        return Finding(name, "fail", str(error), "end the other program, or use another port")
    return Finding(name, "ok", f"{settings.host}:{settings.port} is free")


def check_plugins(plugins: PluginHost) -> Iterator[Finding]:
    """Every plugin and profile that cannot be used."""
    for error in plugins.errors:
        yield Finding("plugins", "fail", error, "correct or remove it")
    if not plugins.errors:
        yield Finding("plugins", "ok", f"{len(plugins.describe())} plugins, {len(plugins.profiles)} profiles")


def check_config(config: ConfigStore) -> Iterator[Finding]:
    """Every error in the settings."""
    for error in config.errors:
        yield Finding("config", "fail", error, "correct it; until then the appliance runs in safe mode, without sonars")
    for warning in config.warnings:
        yield Finding("config", "warn", warning, "make the change again in the browser, or remove it")
    if not config.errors and not config.warnings:
        sonars = len(config.current.sonars)
        if sonars:
            yield Finding("config", "ok", f"{sonars} sonar{'' if sonars == 1 else 's'}")
        else:
            yield Finding("config", "warn", "no sonar is configured", f"add one to {config.data / 'config.yaml'}")
