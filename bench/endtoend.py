"""The whole way: last byte of a ping sent -> its track message received, with the appliance in its own process.

The clock is stopped conservatively: a ping's time begins before its last piece is given to the kernel, so that the
appliance cannot have had it, and ends when the whole message has been read from the track server's socket.
"""

from __future__ import annotations

import json
import socket
import struct
import tempfile
import threading
import time
from pathlib import Path

from nims_appliance.plugin_host.host import PluginHost

from .processes import Appliance, Viewers
from .report import Report, percentile

GROUP = "Last byte of a ping -> track message, 256 x 1500, whole appliance"
PACKET_HEADER_BYTES = 56
TIME_OFFSET, NUMBER_OFFSET = PACKET_HEADER_BYTES + 40, PACKET_HEADER_BYTES + 4208
LAST_PIECE_BYTES = 4096
DISTINCT_PINGS = 40
SETTLE_S = 3.0
BROWSERS = 20


class Sonar:
    """A Kongsberg M3 that has made its pings beforehand, so that sending is all that it does while it is timed."""

    def __init__(self, plugins: PluginHost) -> None:
        device = plugins.simulators["kongsberg-m3"].make(rate_hz=10.0, beams=256, samples=1500, seed=1)
        # Forth and back, so that no animal jumps where the pings begin again.
        forth = [
            bytearray(b"".join(device.encode(device.ping(number, 1e9 + number / 10))))
            for number in range(1, DISTINCT_PINGS + 1)
        ]
        self._packets = forth + forth[-2:0:-1]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._client: socket.socket | None = None
        self._number = 0
        self.sent_s: dict[int, float] = {}
        """Time at which the last piece of a ping was given to the kernel, by ping number."""

    def accept(self) -> None:
        """Wait for the appliance."""
        self._listener.settimeout(30)
        self._client, _ = self._listener.accept()
        self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def play(self, rate_hz: float, duration_s: float) -> list[int]:
        """Send pings at a steady rate; return their numbers."""
        assert self._client is not None
        start, numbers = time.monotonic(), []
        for i in range(int(rate_hz * duration_s)):
            time.sleep(max(start + i / rate_hz - time.monotonic(), 0.0))
            self._number += 1
            packet = self._packets[self._number % len(self._packets)]
            now_s = time.time()
            struct.pack_into("<II", packet, TIME_OFFSET, int(now_s), int(now_s * 1000) % 1000)
            struct.pack_into("<I", packet, NUMBER_OFFSET, self._number)
            view = memoryview(packet)
            self._client.sendall(view[:-LAST_PIECE_BYTES])
            self.sent_s[self._number] = time.monotonic()
            self._client.sendall(view[-LAST_PIECE_BYTES:])
            numbers.append(self._number)
        time.sleep(0.5)
        return numbers

    def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            self._client.close()
        self._listener.close()


class TrackClient(threading.Thread):
    """A program that listens to the track server; remembers when each message came."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=None)
        self._socket.sendall(b"{}")
        self.received_s: dict[int, float] = {}
        self.tracks = 0
        """Over all messages."""
        self.start()

    def run(self) -> None:
        pending = b""
        while data := self._socket.recv(1 << 16):
            now_s = time.monotonic()
            *messages, pending = (pending + data).split(b"\0")
            for text in filter(None, messages):
                message = json.loads(text)
                self.received_s[message["ping_num_sonar"]] = now_s
                self.tracks += message["num_tracks"]

    def close(self) -> None:
        """Hang up."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self.join(5)
        self._socket.close()


def measure(report: Report, plugins: PluginHost, quick: bool) -> None:
    """Add the rows of this module."""
    phases = [(10.0, 0, 60.0), (40.0, 0, 15.0), (10.0, BROWSERS, 40.0), (40.0, BROWSERS, 15.0)]
    if quick:
        phases = [(rate_hz, viewers, duration_s / 5) for rate_hz, viewers, duration_s in phases]
    with tempfile.TemporaryDirectory(prefix="nims-bench-") as folder:
        sonar = Sonar(plugins)
        link = f"pen=tcp://127.0.0.1:{sonar.port},profile=kongsberg-m3"
        try:
            with Appliance(Path(folder) / "data", "--sonar", link) as appliance:
                sonar.accept()
                client = TrackClient(appliance.tracks_port)
                for number, (rate_hz, viewers, duration_s) in enumerate(phases):
                    sonar.play(rate_hz, SETTLE_S)
                    if viewers:
                        with Viewers(appliance.web_port, viewers) as watching:
                            _phase(report, sonar, client, appliance, rate_hz, duration_s, watching)
                    else:
                        _phase(report, sonar, client, appliance, rate_hz, duration_s, None)
                    if number == 0:
                        note = f"after {duration_s + SETTLE_S:.0f} s at {rate_hz:.0f} Hz"
                        report.add(GROUP, "memory (resident)", appliance.memory_mb("VmRSS"), "MB", note=note)
                report.add(GROUP, "memory, most during all of this", appliance.memory_mb("VmHWM"), "MB")
                client.close()
        finally:
            sonar.close()


def _phase(
    report: Report,
    sonar: Sonar,
    client: TrackClient,
    appliance: Appliance,
    rate_hz: float,
    duration_s: float,
    watching: Viewers | None,
) -> None:
    if watching is not None:
        sonar.play(rate_hz, 1.0)
    pictures = watching.state()["pictures"] if watching is not None else 0
    cpu_s, tracks = appliance.cpu_s(), client.tracks
    numbers = sonar.play(rate_hz, duration_s)
    cpu_s = appliance.cpu_s() - cpu_s
    delays_s = [client.received_s[n] - sonar.sent_s[n] for n in numbers if n in client.received_s]
    state = watching.state() if watching is not None else None
    where = f"{rate_hz:.0f} Hz, {int(state['viewers']) if state else 0} browsers"
    if not delays_s:
        report.problem(GROUP, f"{where}: no track message came")
        return
    lost = len(numbers) - len(delays_s)
    report.add(GROUP, f"{where}: p50", percentile(delays_s, 0.50) * 1e3, "ms")
    note = f"most {max(delays_s) * 1e3:.1f} ms; {len(numbers)} pings, {lost} lost"
    report.add(GROUP, f"{where}: p99", percentile(delays_s, 0.99) * 1e3, "ms", note=note)
    note = f"{(client.tracks - tracks) / len(delays_s):.1f} tracks a ping"
    report.add(GROUP, f"{where}: processor", 100 * cpu_s / duration_s, "% of one", note=note)
    if state:
        rate = (state["pictures"] - pictures) / duration_s / max(state["viewers"], 1)
        report.add(GROUP, f"{where}: pictures to each", rate, "Hz")
