"""What faults are done to: an appliance under load, and a program that listens to it."""

from __future__ import annotations

import contextlib
import json
import socket
import sqlite3
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nims_appliance.archive import FILE_NAME
from nims_appliance.errors import LinkError
from nims_appliance.file_decoder import FileDecoder
from nims_appliance.plugin_host.host import PluginHost, make_decoder_context
from nims_appliance.recording.files import list_recordings
from nims_appliance.settings import SonarSettings

from ..processes import Appliance

SONARS = {
    "pen": ("kongsberg-m3", "simulator:kongsberg-m3?rate=50&beams=32&samples=200"),
    "fan": ("simrad-ek60", "simulator:simrad-ek60?rate=50"),
}
LOAD = (
    *(part for name, (profile, link) in SONARS.items() for part in ("--sonar", f"{name}={link},profile={profile}")),
    *("--record", "all"),
    # Many short tracks, most of them of noise: there is always one that has just ended.
    *(
        part
        for name in SONARS
        for part in (
            *("--set", f"sonars.{name}.clips=true"),
            *("--set", f"sonars.{name}.tracker.max_gap_s=0.2"),
            *("--set", f"sonars.{name}.tracker.false_tracks_per_hour=1e6"),
            *("--set", f"sonars.{name}.detector.false_alarms_per_ping=30"),
            *("--set", f"sonars.{name}.metrics.time_bin_s=1"),
        )
    ),
    *("--set", "storage.min_free_gb=0"),
)
"""Two small sonars at 50 Hz, of a byte stream and of datagrams; recording, clips, echo metrics."""


@dataclass
class Told:
    """What the track server has told, and when: of every sonar its pings, and the tracks that were there no more."""

    pings: dict[str, dict[int, float]] = field(default_factory=dict)
    ended: dict[int, float] = field(default_factory=dict)


class Listener(threading.Thread):
    """A program that listens to the track server until it hangs up."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socket.settimeout(None)
        self._socket.sendall(b"{}")
        self._live: dict[tuple[str, str], set[int]] = {}
        self._lock = threading.Lock()
        self._told = Told()
        self.start()

    def run(self) -> None:
        """Take messages apart as they come."""
        pending = b""
        try:
            while data := self._socket.recv(1 << 16):
                now_s = time.monotonic()
                *messages, pending = (pending + data).split(b"\0")
                for text in filter(None, messages):
                    self._take(json.loads(text), now_s)
        except OSError:
            return  # the appliance is gone; that is what this is about

    def _take(self, message: dict[str, Any], now_s: float) -> None:
        series = message["sonar_id"], message["channel"]
        live = {track["id"] for track in message["tracks"]}
        with self._lock:
            self._told.pings.setdefault(message["sonar_id"], {}).setdefault(message["ping_num_sonar"], now_s)
            for gone in self._live.get(series, set()) - live:
                self._told.ended[gone] = now_s
            self._live[series] = live

    def told(self) -> Told:
        """Return a copy of what has been told so far."""
        with self._lock:
            return Told({name: dict(pings) for name, pings in self._told.pings.items()}, dict(self._told.ended))

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def check(command: list[str], data: Path) -> tuple[int, str]:
    """Run `nims check` on a data folder; return its exit code and what it printed of damage."""
    done = subprocess.run(
        [*command, "check", str(data), "--json"], capture_output=True, text=True, cwd=data.parent, check=False
    )
    bad = [finding for line in done.stdout.splitlines() if not (finding := json.loads(line))["ok"]]
    return done.returncode, "; ".join(f"{finding['name']}: {finding['text']}" for finding in bad) or done.stderr[-500:]


def archived(data: Path) -> set[int]:
    """Return the ids of the tracks in the archive; none where its first start was cut off."""
    with contextlib.closing(sqlite3.connect(data / FILE_NAME, timeout=5)) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'tracks'").fetchone():
            return set()
        return {number for (number,) in database.execute("SELECT id FROM tracks")}


def recorded(plugins: PluginHost, data: Path) -> dict[str, set[int]]:
    """Return the numbers of the pings in the recordings of each sonar."""
    found: dict[str, set[int]] = {name: set() for name in SONARS}
    for recording in list_recordings(data):
        profile = plugins.profiles[SONARS[recording.sonar][0]]
        driver = plugins.drivers[profile.driver]
        context = make_decoder_context(profile, SonarSettings(profile=profile.name, link=""), driver)
        decoder = FileDecoder(driver, context, profile.limits.packet_bytes)
        # One that was begun at the very moment may have nothing in it; `nims check` judges that.
        with contextlib.suppress(LinkError):
            found[recording.sonar] |= {frame.ping_number for frame, _ in decoder.frames(recording.path)}
    return found


def ask(appliance: Appliance, path: str) -> dict[str, Any]:
    """Return the appliance's answer to GET, also one that tells of trouble."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{appliance.web_port}{path}", timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def parts(appliance: Appliance) -> dict[str, dict[str, Any]]:
    """Return how every part stands, by its name."""
    return {part["name"]: part for part in ask(appliance, "/healthz")["parts"]}


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Return whether it came true in time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.1)
    return True
