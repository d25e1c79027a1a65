"""The appliance as a process of its own, as people run it, and what the kernel says about it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from .report import ROOT

ZIPAPP = ROOT / "dist" / "nims.pyz"
ADDRESS = re.compile(r"open http://\S+:(\d+)/")
TRACKS = re.compile(r"tracks for programs: .*?(\d+)$", re.MULTILINE)

ANY_PORTS = ("--web-port", "0", "--tracks-port", "0")


def command() -> list[str]:
    """Return how the appliance is started: the zipapp where it has been built, else this checkout."""
    # -I as in the zipapp's first line: nothing from outside replaces what is bundled.
    return [sys.executable, "-I", str(ZIPAPP)] if ZIPAPP.exists() else [sys.executable, "-m", "nims_appliance"]


class Appliance:
    """One running appliance; stopped at the end of the ``with`` block."""

    def __init__(
        self,
        data: Path,
        *arguments: str,
        timeout_s: float = 60.0,
        started_with: list[str] | None = None,
        environment: dict[str, str] | None = None,
        limit: Callable[[], None] | None = None,
    ) -> None:
        """Start it and wait until it is reachable.

        Args:
          started_with: what it is started with, instead of `command()`.
          environment: variables for it beside those of this process.
          limit: called in the new process before it begins.

        Raises:
          RuntimeError: it did not print its address in time.
        """
        self._log = (data.parent / f"{data.name}.log").open("w+")
        self.started_s = time.monotonic()
        self._process = subprocess.Popen(
            [*(started_with or command()), "run", "--data", str(data), *ANY_PORTS, *arguments],
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=data.parent,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            preexec_fn=limit,
        )
        self.pid = self._process.pid
        self.web_port = self.tracks_port = 0
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        printed = ""
        while not (self.web_port and self.tracks_port):
            printed += (self._process.stdout.read() or b"").decode()
            if (found := ADDRESS.search(printed)) and not self.web_port:
                self.web_port, self.address_s = int(found[1]), time.monotonic()
            if found := TRACKS.search(printed):
                self.tracks_port = int(found[1])
            if self._process.poll() is not None or time.monotonic() > self.started_s + timeout_s:
                self._log.seek(0)
                errors = self._log.read()[-1500:]
                self.__exit__(None, None, None)
                raise RuntimeError(f"the appliance did not start: {printed[-500:]} {errors}")
            time.sleep(0.002)

    def __enter__(self) -> Appliance:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it as a power cut would: it is not asked."""
        self._process.kill()
        self._process.wait()

    def cpu_s(self) -> float:
        """Return the processor time used so far, seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self, kind: str) -> float:
        """Return VmRSS (now) or VmHWM (most so far), MB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{kind}:"):
                return int(line.split()[1]) * 1024 / 1e6
        raise RuntimeError(f"the kernel does not tell {kind}")


class Viewers:
    """Browsers in a process of their own; gone at the end of the ``with`` block."""

    def __init__(self, port: int, count: int, *, stalled: int = 0, slow: int = 0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.viewers", *(str(number) for number in (port, count, stalled, slow))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "ready":
            raise RuntimeError("the viewers could not connect")

    def __enter__(self) -> Viewers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def state(self) -> dict[str, Any]:
        """Return how many still watch, what all have got so far, and when the pictures came since the last call."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())
