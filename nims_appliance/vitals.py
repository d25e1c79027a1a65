"""Vital signs of the computer: its clock, the disk with the data folder, memory and processor, as parts of the health.

The clocks are looked at every second. A system clock that was set, and a sonar whose clock jumped, are told with when
and by how much: whoever compares tracks with other instruments must know.
"""

from __future__ import annotations

import ctypes
import logging
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from .health import Health

if TYPE_CHECKING:
    from .context import Sonar

log = logging.getLogger(__name__)

LOOK_INTERVAL_S = 1.0
DISK_INTERVAL_S = 15.0
SYSTEM_STEP_S = 0.25
"""A clock that is slewed moves by 0.5 ms a second at most: more than this between two looks is a step."""
SONAR_STEP_S = 1.0
"""Less than this is the jitter of a network."""
CONFIRMING_LOOKS = 3
"""A step of a sonar's clock is believed when so many looks agree: a ping may merely have come late."""
STEP_WARNING_S = 3600.0
"""So long a step of the system clock stays on every page."""
KEPT_STEPS = 20
FILL_WINDOW_S = 3600.0
FILL_LEAST_S = 120.0
"""The rate at which the disk fills is told after so long."""
LOW_HOURS = 24.0
LOW_FRACTION = 0.02


@dataclass(frozen=True, slots=True)
class ClockStep:
    """A clock that jumped."""

    clock: str
    """"system", or the name of a sonar."""
    time_utc_s: float
    """By the system clock after the step."""
    step_s: float
    """Positive: it was set forward."""


@dataclass(slots=True)
class _SonarClock:
    distance_s: float
    """From the steady clock."""
    others_s: list[float] = field(default_factory=list)
    """Distances of the last looks that may be a step."""
    arrived_monotonic_s: float = math.nan


class ClockWatch:
    """Finds steps of the system clock and of the sonars' clocks, against a clock that cannot be set."""

    def __init__(self) -> None:
        self.steps: deque[ClockStep] = deque(maxlen=KEPT_STEPS)
        self.system_steps = 0
        self.sonar_steps: dict[str, int] = {}
        self._system: float | None = None
        self._sonars: dict[str, _SonarClock] = {}

    def look_at_system(self, utc_s: float, monotonic_s: float) -> ClockStep | None:
        """Return the step that the system clock has made since the last look."""
        distance_s, before_s = utc_s - monotonic_s, self._system
        self._system = distance_s
        if before_s is None or abs(distance_s - before_s) < SYSTEM_STEP_S:
            return None
        self.system_steps += 1
        return self._keep(ClockStep("system", utc_s, distance_s - before_s))

    def look_at_sonar(self, name: str, time_s: float, arrived_monotonic_s: float, utc_s: float) -> ClockStep | None:
        """Return the step of a sonar's clock once enough pings have confirmed it.

        Args:
          name: of the sonar.
          time_s: of its newest ping, by its own clock.
          arrived_monotonic_s: when that ping came, by the steady clock.
          utc_s: now, by the system clock.
        """
        distance_s = time_s - arrived_monotonic_s
        sonar = self._sonars.setdefault(name, _SonarClock(distance_s))
        if arrived_monotonic_s == sonar.arrived_monotonic_s:
            return None
        sonar.arrived_monotonic_s = arrived_monotonic_s
        if abs(distance_s - sonar.distance_s) < SONAR_STEP_S:
            sonar.distance_s, sonar.others_s = distance_s, []
            return None
        if sonar.others_s and abs(distance_s - sonar.others_s[-1]) >= SONAR_STEP_S:
            sonar.others_s = []
        sonar.others_s.append(distance_s)
        if len(sonar.others_s) < CONFIRMING_LOOKS:
            return None
        step_s = distance_s - sonar.distance_s
        sonar.distance_s, sonar.others_s = distance_s, []
        self.sonar_steps[name] = self.sonar_steps.get(name, 0) + 1
        return self._keep(ClockStep(name, utc_s, step_s))

    def forget(self, names: set[str]) -> None:
        """Forget sonars other than these."""
        self._sonars = {name: known for name, known in self._sonars.items() if name in names}
        self.sonar_steps = {name: count for name, count in self.sonar_steps.items() if name in names}

    def _keep(self, step: ClockStep) -> ClockStep:
        self.steps.append(step)
        return step


class DiskWatch:
    """How fast the disk of a folder fills."""

    def __init__(self) -> None:
        self.total_bytes: int | None = None
        self.free_bytes: int | None = None
        self._seen: deque[tuple[float, int]] = deque()

    def look(self, free_bytes: int, total_bytes: int, now_s: float) -> None:
        """Take what is free (for this user) and the size, bytes."""
        self.free_bytes, self.total_bytes = free_bytes, total_bytes
        self._seen.append((now_s, free_bytes))
        while now_s - self._seen[0][0] > FILL_WINDOW_S:
            self._seen.popleft()

    @property
    def filling_bytes_s(self) -> float | None:
        """Bytes a second that the disk has lost over the last hour; negative: it was emptied; None: not yet known."""
        if not self._seen or self._seen[-1][0] - self._seen[0][0] < FILL_LEAST_S:
            return None
        (first_s, first), (last_s, last) = self._seen[0], self._seen[-1]
        return (first - last) / (last_s - first_s)

    @property
    def left_s(self) -> float | None:
        """Seconds until the disk is full at the rate of the last hour; None: unknown, or it does not fill."""
        rate = self.filling_bytes_s
        if rate is None or self.free_bytes is None or rate <= 0:
            return None
        return self.free_bytes / rate


class Vitals:
    """Keeps the parts "clock", "disk" and "process" of the health."""

    def __init__(self, data: Path, health: Health, sonars: Callable[[], dict[str, Sonar]]) -> None:
        self._data = data
        self._sonars = sonars
        self._clock_part, self._disk_part = health.part("clock"), health.part("disk")
        self._process_part = health.part("process")
        self._clock, self._disk = ClockWatch(), DiskWatch()
        self._offsets_s: dict[str, float] = {}
        self._processor_s = (time.monotonic(), time.process_time())
        self._processor_share = 0.0
        self._clock_part.statistics = self._clock_statistics
        self._disk_part.statistics = self._disk_statistics
        self._process_part.statistics = self._process_statistics
        self._process_part.set("running", f"process {os.getpid()}, Python {sys.version.split()[0]}")

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_disk)
            while True:
                self._look_at_clocks()
                self._look_at_processor()
                await trio.sleep(LOOK_INTERVAL_S)

    def _look_at_clocks(self) -> None:
        utc_s, monotonic_s = time.time(), time.monotonic()
        part, sonars = self._clock_part, self._sonars()
        found = [self._clock.look_at_system(utc_s, monotonic_s)]
        for name, sonar in sonars.items():
            frame = sonar.last_frame
            if frame is None or sonar.settings.link.startswith("file:"):
                self._offsets_s.pop(name, None)  # a recording has a time of its own
                continue
            self._offsets_s[name] = frame.received_utc_s - frame.time_s
            found.append(self._clock.look_at_sonar(name, frame.time_s, frame.received_monotonic_s, utc_s))
        self._clock.forget(set(sonars))
        self._offsets_s = {name: offset_s for name, offset_s in self._offsets_s.items() if name in sonars}
        for step in found:
            if step is not None:
                what = "the system clock" if step.clock == "system" else f"the clock of sonar {step.clock}"
                log.warning("%s was set %s by %.3f s", what, "forward" if step.step_s > 0 else "back", abs(step.step_s))
        recent = [step for step in self._clock.steps if 0 <= utc_s - step.time_utc_s < STEP_WARNING_S]
        part.warning = "; ".join(_describe(step) for step in recent if step.clock == "system")
        synchronised, error_s = kernel_clock()
        if synchronised is None:
            told = ""
        elif synchronised:
            told = f"set by a time server, right within {error_s:.3f} s"
        else:
            told = "not synced: no time server (NTP or GPS) sets it"
        part.set("running", told)

    async def _watch_disk(self) -> None:
        while True:
            try:
                # A network disk that does not answer must hold up nothing but this.
                usage = await trio.to_thread.run_sync(os.statvfs, self._data, abandon_on_cancel=True)
            except OSError as error:
                self._disk_part.last_error = f"{self._data}: {error.strerror}"
                self._disk_part.set("failed", self._disk_part.last_error)
            else:
                self._disk.look(usage.f_bavail * usage.f_frsize, usage.f_blocks * usage.f_frsize, trio.current_time())
                self._disk_part.set("running", str(self._data))
                self._disk_part.warning = self._disk_warning()
            await trio.sleep(DISK_INTERVAL_S)

    def _disk_warning(self) -> str:
        disk = self._disk
        if disk.free_bytes is None or disk.total_bytes is None:
            return ""
        if disk.free_bytes < LOW_FRACTION * disk.total_bytes:
            return f"only {disk.free_bytes / 1e9:.1f} GB of the disk are free"
        if disk.left_s is not None and disk.left_s < LOW_HOURS * 3600:
            left = f"{disk.left_s / 3600:.0f} h" if disk.left_s >= 7200 else f"{disk.left_s / 60:.0f} min"
            return f"the disk is full in {left} at the present rate"
        return ""

    def _look_at_processor(self) -> None:
        now_s, used_s = time.monotonic(), time.process_time()
        before_s, used_before_s = self._processor_s
        if now_s - before_s >= 0.5:
            self._processor_share = (used_s - used_before_s) / (now_s - before_s)
            self._processor_s = (now_s, used_s)

    def _clock_statistics(self) -> dict[str, Any]:
        synchronised, error_s = kernel_clock()
        return {
            "synchronised": synchronised,
            "estimated_error_s": error_s,
            "system_steps": self._clock.system_steps,
            "sonar_steps": dict(self._clock.sonar_steps),
            "sonar_offset_s": dict(self._offsets_s),
            "steps": [
                {"clock": step.clock, "time_utc_s": step.time_utc_s, "step_s": step.step_s}
                for step in self._clock.steps
            ],
        }

    def _disk_statistics(self) -> dict[str, Any]:
        disk = self._disk
        return {
            "free_bytes": disk.free_bytes,
            "total_bytes": disk.total_bytes,
            "filling_bytes_s": disk.filling_bytes_s,
            "left_s": disk.left_s,
        }

    def _process_statistics(self) -> dict[str, Any]:
        memory = _memory()
        return {
            "resident_bytes": _resident_bytes(),
            "memory_total_bytes": memory.get("MemTotal"),
            "memory_available_bytes": memory.get("MemAvailable"),
            "processor_s": time.process_time(),
            "processor_share": self._processor_share,
            "processors": os.cpu_count(),
            "load_1min": os.getloadavg()[0],
            "threads": threading.active_count(),
            "open_files": _open_files(),
        }


def _describe(step: ClockStep) -> str:
    when = time.strftime("%H:%M:%S UTC", time.gmtime(step.time_utc_s))
    return f"the clock was set {'forward' if step.step_s > 0 else 'back'} by {abs(step.step_s):.1f} s at {when}"


class _Timex(ctypes.Structure):
    """struct timex of Linux, up to `status`; the kernel writes 320 bytes at most."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 320),
    ]


_STA_UNSYNC = 0x40
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def kernel_clock() -> tuple[bool | None, float | None]:
    """Return whether a time server keeps the system clock, and its error in seconds as the kernel estimates it.

    None where the kernel does not tell. Source: adjtimex(2).
    """
    timex = _Timex()  # modes 0: nothing is set
    if _LIBC is None or _LIBC.adjtimex(ctypes.byref(timex)) < 0:
        return None, None
    synchronised = not timex.status & _STA_UNSYNC
    return synchronised, timex.maxerror / 1e6 if synchronised else None


def _memory() -> dict[str, int]:
    """Return what /proc/meminfo tells, in bytes; nothing elsewhere."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return {}
    return {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}


def _resident_bytes() -> int | None:
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _open_files() -> int | None:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return None
