"""``python -m bench.soak [--pings N] [--minutes M]``: months in short. Does anything grow?

A small Kongsberg M3 pings as fast as the appliance works: the next pings are sent when the track server has told of
the last ones. Recording, clips, retention and archive are on; three clients follow: a live socket, the track server and
an echosocket. After each tenth it is told what the process holds.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from nims_appliance.plugin_host.host import PluginHost

from .endtoend import NUMBER_OFFSET, TIME_OFFSET
from .processes import Appliance, Viewers
from .report import FOLDER, Report
from .viewers import HANDSHAKE

GROUP = "soak"
BEAMS, SAMPLES = 16, 64
DISTINCT_PINGS = 400
IN_FLIGHT = 16
INTERVAL_S = 0.002
"""Least time between two pings: the sonar's clock counts milliseconds."""
FLAT = 0.02
FILLED_S = 200.0
"""Until then the three minutes of pictures are filled that viewers who come late are shown; that is no growth."""
SETTINGS = (
    *("--record", "all", "--set", "sonars.pen.clips=true"),
    *("--set", "sonars.pen.tracker.max_gap_s=0.3", "--set", "sonars.pen.tracker.false_tracks_per_hour=1e5"),
    *("--set", "sonars.pen.metrics.time_bin_s=1", "--set", "recording.file_mb=10"),
    *("--set", "storage.min_free_gb=0", "--set", "storage.recordings_gb=0.05", "--set", "storage.clips_gb=0.02"),
    # A minute and a half of tracks and metrics, so that what comes soon takes the room of what goes.
    *(
        "--set",
        "storage.tracks_days=0.001",
        "--set",
        "storage.metrics_days=0.001",
        "--set",
        "storage.events_days=0.001",
    ),
)


class Pinger:
    """The sonar; and the program at the track server that lets it go on."""

    def __init__(self, plugins: PluginHost) -> None:
        device = plugins.simulators["kongsberg-m3"].make(rate_hz=20.0, beams=BEAMS, samples=SAMPLES, seed=1)
        forth = [
            bytearray(b"".join(device.encode(device.ping(number, 1e9 + number / 20))))
            for number in range(1, DISTINCT_PINGS + 1)
        ]
        self._packets = forth + forth[-2:0:-1]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.sent = 0
        self.told = 0
        self.gone: dict[int, int] = {}
        """Tracks that the track server told of and then no more, and how often: one may come back."""
        self._client: socket.socket | None = None
        self._tracks: socket.socket | None = None
        self._last_time_s = 0.0

    @property
    def ended(self) -> int:
        """How many tracks have ended."""
        return len(self.gone)

    def connect(self, tracks_port: int) -> None:
        """Wait for the appliance, and listen to its tracks."""
        self._listener.settimeout(60)
        self._client, _ = self._listener.accept()
        self._tracks = socket.create_connection(("127.0.0.1", tracks_port))
        self._tracks.sendall(b"{}")
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._tracks is not None
        pending, live = b"", set[int]()
        while data := self._tracks.recv(1 << 16):
            *messages, pending = (pending + data).split(b"\0")
            for text in filter(None, messages):
                message = json.loads(text)
                now = {track["id"] for track in message["tracks"]}
                for number in live - now:
                    self.gone[number] = self.gone.get(number, 0) + 1
                live = now
                self.told = message["ping_num_sonar"]

    def ping(self, count: int, until_s: float) -> bool:
        """Send so many pings; False: the time is over, or nothing was told for a minute."""
        assert self._client is not None
        last_s = time.monotonic()
        for _ in range(count):
            while self.sent - self.told >= IN_FLIGHT:
                time.sleep(0.0005)
                if time.monotonic() > min(until_s, last_s + 60):
                    return False
            last_s = time.monotonic()
            self.sent += 1
            packet = self._packets[self.sent % len(self._packets)]
            time_s = max(time.time(), self._last_time_s + INTERVAL_S)
            time.sleep(max(time_s - time.time(), 0.0))
            self._last_time_s = time_s
            struct.pack_into("<II", packet, TIME_OFFSET, int(time_s), int(time_s * 1000) % 1000)
            struct.pack_into("<I", packet, NUMBER_OFFSET, self.sent)
            self._client.sendall(packet)
        return True


class EchoViewer(threading.Thread):
    """A page of the original's kind: reads what the echosocket sends."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.sendall(HANDSHAKE.format(port=port).replace("/livesocket", "/echosocket").encode())
        self.received_bytes = 0
        self.start()

    def run(self) -> None:
        """Read until the appliance closes."""
        while data := self._socket.recv(1 << 16):
            self.received_bytes += len(data)


def main() -> None:
    """Run; end with 1 where something grew or was lost."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--pings", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=24 * 60.0, help="stop after so long, wherever it is then")
    parser.add_argument("--results", type=Path, default=FOLDER / "results", help="folder of the JSON files")
    arguments = parser.parse_args()
    plugins, report = PluginHost.load(None), Report()
    with tempfile.TemporaryDirectory(prefix="nims-soak-") as folder:
        failures = _run(report, Pinger(plugins), Path(folder) / "data", arguments.pings, arguments.minutes)
    for text in failures:
        report.problem("did not hold", text)
    print(f"\n{report.write(arguments.results)}")
    raise SystemExit(1 if failures else 0)


def _run(report: Report, sonar: Pinger, data: Path, pings: int, minutes: float) -> list[str]:
    link = f"pen=tcp://127.0.0.1:{sonar.port},profile=kongsberg-m3"
    with Appliance(data, "--sonar", link, *SETTINGS) as appliance:
        sonar.connect(appliance.tracks_port)
        began_s = time.monotonic()
        until_s = began_s + minutes * 60
        held = []
        with Viewers(appliance.web_port, 1) as live:
            echo = EchoViewer(appliance.web_port)
            for tenth in range(1, 11):
                # With a limit of time a tenth is one of the time.
                if not sonar.ping(pings // 10, min(until_s, began_s + tenth * minutes * 6)) and minutes >= 24 * 60:
                    break
                held.append({**_held(appliance, data), "s": round(time.monotonic() - began_s)})
                note = ", ".join(f"{value} {name}" for name, value in held[-1].items() if name != "memory_mb")
                name = f"memory after {sonar.sent} pings"
                report.add(GROUP, name, held[-1]["memory_mb"], "MB", note=f"{note}, {sonar.ended} tracks")
            rate_hz = sonar.sent / (time.monotonic() - began_s)
            report.add(GROUP, "pings", sonar.sent, "", note=f"{rate_hz:.0f} a second, of {pings} asked for")
            pictures = live.state()["pictures"]
            report.add(
                GROUP, "to the live socket", pictures, "pictures", note=f"{echo.received_bytes} echosocket bytes"
            )
        return [*_grown(report, held), *_lost(report, appliance, sonar)]


def _held(appliance: Appliance, data: Path) -> dict[str, Any]:
    process = Path(f"/proc/{appliance.pid}")
    handles = list((process / "fd").iterdir())
    return {
        "memory_mb": appliance.memory_mb("VmRSS"),
        "descriptors": len(handles),
        "sockets": sum("socket:" in str(path.readlink()) for path in handles if path.is_symlink()),
        "threads": len(list((process / "task").iterdir())),
        "MB on disk": round(sum(path.stat().st_size for path in data.rglob("*") if path.is_file()) / 1e6, 1),
    }


def _grown(report: Report, held: list[dict[str, Any]]) -> list[str]:
    if len(held) < 3:
        return [f"only {len(held)} tenths were reached"]
    filled = [entry for entry in held if entry["s"] >= FILLED_S]
    if len(filled) < 2:
        return [f"too short: memory is told from {FILLED_S:.0f} s on"]
    base, later = filled[0]["memory_mb"], [entry["memory_mb"] for entry in filled[1:]]
    growth = max(later) / base - 1
    note = f"2 % are allowed; from {filled[0]['s']} s on"
    report.add(GROUP, "memory, most over that of the first full tenth", 100 * growth, "%", note=note)
    failures = [f"memory grew by {100 * growth:.1f} %"] if growth > FLAT else []
    for name in ("descriptors", "sockets", "threads"):
        most = max(entry[name] for entry in held[1:])
        # A file and its index may just be open, or a query be answered.
        if most > held[0][name] + 6:
            failures.append(f"{name} grew from {held[0][name]} to {most}")
    return failures


def _lost(report: Report, appliance: Appliance, sonar: Pinger) -> list[str]:
    time.sleep(3.0)
    with urllib.request.urlopen(f"http://127.0.0.1:{appliance.web_port}/api/v1/health", timeout=10) as answer:
        parts = {part["name"]: part["statistics"] for part in json.load(answer)["parts"]}
    archive, pen = parts["archive"], parts["sonar pen"]
    report.add(GROUP, "tracks that ended", sonar.ended, "", note=f"{archive['written_tracks']} archived")
    report.add(GROUP, "rows that retention removed", parts["storage"]["removed_rows"], "")
    report.add(GROUP, "pings dropped before the analysis", pen["dropped"], "")
    report.add(GROUP, "recorded bytes lost", parts["recorder pen"]["lost_bytes"], "")
    lost = max(sonar.ended - archive["written_tracks"], 0) + archive["lost_tracks"]
    failures = [f"{lost} tracks were lost"] if lost else []
    if pen["dropped"] or parts["recorder pen"]["lost_bytes"]:
        failures.append(f"{pen['dropped']} pings and {parts['recorder pen']['lost_bytes']} recorded bytes were lost")
    return failures


if __name__ == "__main__":
    main()
