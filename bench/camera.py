"""A camera's trigger: last byte of a ping sent -> UDP datagram received, with the appliance in its own process.

Rings of watched zones lie so close that at most pings an animal enters another one, and a rule tells the camera. The
clock is stopped as in endtoend.py; what the appliance counts of the same is shown beside it.
"""

from __future__ import annotations

import http.client
import json
import socket
import tempfile
import threading
import time
from pathlib import Path

from nims_appliance.plugin_host.host import PluginHost

from .endtoend import SETTLE_S, Sonar, TrackClient
from .processes import Appliance
from .report import Report, percentile

GROUP = "Last byte of a ping -> datagram to a camera, 256 x 1500, whole appliance"
RINGS, RING_M = 100, 0.3


class Camera(threading.Thread):
    """Remembers when each datagram came, and of which ping."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.received: list[tuple[int, float]] = []
        """(ping number, moment) of each."""
        self.start()

    def run(self) -> None:
        while text := self._socket.recv(65536):
            self.received.append((int(text), time.monotonic()))

    def close(self) -> None:
        """Listen no more."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self.join(5)
        self._socket.close()


def measure(report: Report, plugins: PluginHost, quick: bool) -> None:
    """Add the rows of this module."""
    with tempfile.TemporaryDirectory(prefix="nims-bench-") as folder:
        sonar, camera = Sonar(plugins), Camera()
        data = Path(folder) / "data"
        data.mkdir()
        (data / "config.yaml").write_text(_settings(sonar.port, camera.port))
        try:
            with Appliance(data) as appliance:
                sonar.accept()
                client = TrackClient(appliance.tracks_port)
                for rate_hz, duration_s in ((10.0, 60.0), (40.0, 15.0)):
                    sonar.play(rate_hz, SETTLE_S)
                    _phase(report, sonar, camera, client, rate_hz, duration_s / 5 if quick else duration_s)
                client.close()
                counted = _counted(appliance.web_port)
                for name in ("p50", "p99"):
                    note = "from the arrival, over the last thousand"
                    report.add(
                        GROUP, f"as the appliance counts: {name}", counted[f"latency_{name}_ms"], "ms", note=note
                    )
        finally:
            camera.close()
            sonar.close()


def _phase(
    report: Report, sonar: Sonar, camera: Camera, client: TrackClient, rate_hz: float, duration_s: float
) -> None:
    camera.received.clear()
    numbers = sonar.play(rate_hz, duration_s)
    delays_s = [moment_s - sonar.sent_s[number] for number, moment_s in camera.received if number in sonar.sent_s]
    if not delays_s:
        report.problem(GROUP, f"{rate_hz:.0f} Hz: no datagram came")
        return
    pings = len({number for number, _ in camera.received})
    report.add(GROUP, f"{rate_hz:.0f} Hz: p50", percentile(delays_s, 0.50) * 1e3, "ms")
    note = f"most {max(delays_s) * 1e3:.1f} ms; {len(delays_s)} datagrams of {pings} of {len(numbers)} pings"
    report.add(GROUP, f"{rate_hz:.0f} Hz: p99", percentile(delays_s, 0.99) * 1e3, "ms", note=note)
    ahead_s = [
        client.received_s[number] - moment_s for number, moment_s in camera.received if number in client.received_s
    ]
    if ahead_s:
        ahead = sum(value > 0 for value in ahead_s) / len(ahead_s)
        note = f"{100 * ahead:.0f} % of the datagrams came before it"
        report.add(
            GROUP, f"{rate_hz:.0f} Hz: before the track message, p50", percentile(ahead_s, 0.5) * 1e3, "ms", note=note
        )


def _settings(sonar_port: int, camera_port: int) -> str:
    zones = {
        f"ring{n}": {"kind": "watched", "min_range_m": RING_M * n, "max_range_m": RING_M * (n + 1)}
        for n in range(1, RINGS + 1)
    }
    pen = {"profile": "kongsberg-m3", "link": f"tcp://127.0.0.1:{sonar_port}", "zones": zones}
    camera = {"on": "zone_entered", "actions": [f"udp://127.0.0.1:{camera_port}"], "text": "{ping}"}
    return json.dumps({"sonars": {"pen": pen}, "triggers": {"camera": camera}})  # JSON is YAML too


def _counted(web_port: int) -> dict[str, float]:
    connection = http.client.HTTPConnection("127.0.0.1", web_port, timeout=10)
    connection.request("GET", "/api/v1/health")
    parts = json.loads(connection.getresponse().read())["parts"]
    connection.close()
    return next(part["statistics"] for part in parts if part["name"] == "triggers")
