"""A webhook's server and an MQTT broker that go away and come back: what happened meanwhile arrives afterwards."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from ..processes import Appliance
from ..report import Report
from .appliance import LOAD, Listener, wait_until

GROUP = "peers away and back"
AWAY_S = 20.0
BACK_S = 100.0
"""The longest interval between attempts is 60 s; what waits comes one after the other then."""


class Hook:
    """A server that takes webhooks, on one port, and can be gone."""

    def __init__(self) -> None:
        self.tracks: set[int] = set()
        self.port = _free_port()
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Be there."""
        hook = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.tracks.add(body["track"])
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def stop(self) -> None:
        """Be gone, with every connection."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class Broker:
    """A real mosquitto, and a client that remembers which tracks it was told the end of."""

    def __init__(self, folder: Path, program: str) -> None:
        self.tracks: set[int] = set()
        self.port = _free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        self._program = program
        self._process: subprocess.Popen | None = None
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("nims/site/+/events/track_ended", 1)
        self._client.on_message = lambda _client, _data, message: self.tracks.add(json.loads(message.payload)["id"])

    def start(self) -> None:
        """Be there."""
        self._process = subprocess.Popen([self._program, "-c", self._config], stderr=subprocess.DEVNULL)
        if not wait_until(lambda: _answers(self.port), 10):
            raise RuntimeError("mosquitto does not answer")
        if not self._client.is_connected():
            self._client.connect("127.0.0.1", self.port)
            self._client.loop_start()

    def stop(self) -> None:
        """Be gone, without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Stop for good."""
        self._client.loop_stop()
        self.stop()


def run(report: Report, folder: Path, command: list[str], for_s: float = AWAY_S) -> list[str]:
    """Take both away at once for so long, and bring them back; return what did not arrive."""
    hook = Hook()
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    broker = Broker(folder, program) if program else None
    if broker is None:
        report.problem(GROUP, "MQTT: mosquitto is not installed")
    peers: list[Hook | Broker] = [hook, *([broker] if broker else [])]
    arguments = [*LOAD, "--set", "triggers.end.on=track_ended"]
    arguments += ["--set", f'triggers.end.actions=["http://127.0.0.1:{hook.port}/"]']
    if broker:
        arguments += ["--set", "outputs.mqtt.enabled=true", "--set", f"outputs.mqtt.port={broker.port}"]
    for peer in peers:
        peer.start()
    failures = []
    try:
        with Appliance(folder / "peers", *arguments, started_with=command) as appliance:
            listener = Listener(appliance.tracks_port)
            if not wait_until(lambda: bool(hook.tracks) and (not broker or bool(broker.tracks)), 30):
                return [f"peers: nothing came of {len(listener.told().ended)} tracks that ended"]
            for peer in peers:
                peer.stop()
            away_s = time.monotonic()
            time.sleep(for_s)
            for peer in peers:
                peer.start()
            back_s = time.monotonic()
            ended = {number for number, moment_s in listener.told().ended.items() if moment_s < back_s}
            meanwhile = sum(away_s < listener.told().ended[number] < back_s for number in ended)
            report.add(GROUP, "tracks that ended while both were away", meanwhile, "", note=f"{for_s:.0f} s")
            named: tuple[tuple[str, Hook | Broker | None], ...] = (("webhook", hook), ("MQTT broker", broker))
            for name, side in named:
                if side is None:
                    continue
                wait_until(lambda side=side: ended <= side.tracks, BACK_S + for_s / 10)  # type: ignore[misc]
                lost = len(ended - side.tracks)
                note = f"of {len(ended)}; after {time.monotonic() - back_s:.0f} s"
                report.add(GROUP, f"{name}: tracks that it was never told of", lost, "", note=note)
                failures += [f"{name}: {lost} of {len(ended)} messages did not arrive"] if lost else []
            listener.close()
    finally:
        hook.stop()
        if broker:
            broker.close()
    return failures


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
