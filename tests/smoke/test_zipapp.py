"""The zipapp on a machine with Python and nothing else: its commands, the appliance, and trouble around it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_BYTES = 40_000_000
# Not the virtual environment's: what is installed there must not help.
PYTHON = getattr(sys, "_base_executable", None) or sys.executable
DEADLINE_S = 60.0
PROFILES = {"kongsberg-m3", "simrad-ek60", "blueprint-oculus"}


@dataclass(frozen=True, slots=True)
class Running:
    """An appliance that has said its addresses."""

    process: subprocess.Popen[bytes]
    web_port: int
    tracks_port: int

    def terminate(self) -> int:
        """Send SIGTERM and give the exit code; fails when it has not ended within 3 s and a little."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=4.0)


@dataclass(frozen=True, slots=True)
class Zipapp:
    """A copy of the zipapp in a folder of its own, with an empty home beside it."""

    path: Path
    home: Path

    def environment(self, **changes: str) -> dict[str, str]:
        """Give the environment of a fresh login."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8", **changes}

    def run(self, *arguments: str, python: str = PYTHON, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, with nothing to read on stdin."""
        return subprocess.run(
            [python, str(self.path), *arguments],
            env=self.environment(**changes),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            cwd=self.home,
        )

    @contextmanager
    def start(self, data: Path, *arguments: str) -> Iterator[Running]:
        """Start `nims run` on free ports and wait until it says its addresses; it is killed at the end if need be."""
        command = [PYTHON, str(self.path), "run", "--data", str(data), "--web-port", "0", "--tracks-port", "0"]
        data.mkdir(exist_ok=True)
        with (data / "output.txt").open("w") as output:
            process = subprocess.Popen(
                [*command, *arguments],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.home,
            )
        try:
            yield await_addresses(process, data)
        finally:
            process.kill()
            process.wait(timeout=DEADLINE_S)
            print((data / "output.txt").read_text())  # shown by pytest when a test fails


def await_addresses(process: subprocess.Popen[bytes], data: Path) -> Running:
    """Wait until the appliance has said where it can be reached."""
    deadline_s = time.monotonic() + DEADLINE_S
    while process.poll() is None:
        said = (data / "output.txt").read_text()
        web = re.search(r"open http://\S*?:(\d+)/", said)
        tracks = re.search(r"tracks for programs: \S*?:(\d+)\s", said)
        if web and tracks:
            return Running(process, int(web[1]), int(tracks[1]))
        assert time.monotonic() < deadline_s, "no address until now"
        time.sleep(0.02)
    raise AssertionError(f"ended with exit code {process.returncode} before it said its addresses")


@pytest.fixture(scope="session")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Zipapp:
    """The zipapp, alone in a folder."""
    folder = tmp_path_factory.mktemp("field-computer")
    home = folder / "home"
    home.mkdir()
    return Zipapp(Path(shutil.copy2(os.environ["NIMS_PYZ"], folder)), home)


def other_pythons() -> list[str]:
    """Pythons of this machine that the zipapp is not made for."""
    found = subprocess.run([str(ROOT / "packaging" / "find-python")], capture_output=True, text=True, check=True)
    return [path for version, path in (line.split() for line in found.stdout.splitlines()) if version != made_for()]


def made_for() -> str:
    return sysconfig.get_python_version()


def fetch(running: Running, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{running.web_port}{path}", timeout=DEADLINE_S) as answer:
        assert answer.status == 200
        return answer.read()


def messages(running: Running) -> Iterator[dict]:
    """Messages of the track stream, as a program gets them."""
    with socket.create_connection(("127.0.0.1", running.tracks_port), timeout=DEADLINE_S) as connection:
        connection.sendall(b'{"heartbeat": 1}')
        waiting = b""
        while received := connection.recv(65536):
            *complete, waiting = (waiting + received).split(b"\0")
            yield from (json.loads(message) for message in complete if message)


def first_with_tracks(running: Running) -> dict:
    deadline_s = time.monotonic() + DEADLINE_S
    for message in messages(running):
        if message["num_tracks"]:
            return message
        assert time.monotonic() < deadline_s, "no track until now"
    raise AssertionError("the track server closed the connection")


def test_it_is_small_enough_for_a_slow_link(zipapp: Zipapp) -> None:
    assert zipapp.path.stat().st_size < MAX_BYTES


def test_says_its_version_and_leaves_the_home_alone(zipapp: Zipapp) -> None:
    output = zipapp.run("--version")
    assert output.stdout.startswith("nims, version ")
    assert output.returncode == 0
    assert list(zipapp.home.iterdir()) == []


def test_starts_by_its_own_first_line(zipapp: Zipapp) -> None:
    output = subprocess.run([zipapp.path, "--version"], env=zipapp.environment(), capture_output=True, text=True)
    assert output.stdout.startswith("nims, version ")


def test_lists_the_plugins_and_profiles_inside(zipapp: Zipapp, tmp_path: Path) -> None:
    plugins = zipapp.run("plugins", "--json", "--data", str(tmp_path))
    assert plugins.returncode == 0, plugins.stderr
    names = {plugin["name"] for plugin in json.loads(plugins.stdout)}
    assert {"nims_m3", "nims_ek60", "nims_oculus", "nims_layout", "nims_simulator", "nims_classifier"} <= names
    profiles = zipapp.run("profiles", "--json", "--data", str(tmp_path))
    assert profiles.returncode == 0, profiles.stderr
    assert {profile["name"] for profile in json.loads(profiles.stdout)["profiles"]} >= PROFILES


def test_doctor_finds_nothing_wrong_on_a_good_machine(zipapp: Zipapp, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("web: {port: 0}\ntracks: {port: 0}\n")
    output = zipapp.run("doctor", "--data", str(tmp_path))
    assert output.returncode == 0, output.stdout
    assert "ok" in output.stdout


def test_a_recording_becomes_tracks(zipapp: Zipapp, tmp_path: Path, recordings: Path) -> None:
    recording = next((recordings / "ek60").rglob("RedSlip*.raw"))
    tracks = tmp_path / "tracks.jsonl"
    output = zipapp.run("process", str(recording), "--profile", "simrad-ek60", "--tracks", str(tracks))
    assert output.returncode == 0, output.stderr
    lines = [json.loads(line) for line in tracks.read_text().splitlines()]
    assert any(line["num_tracks"] for line in lines)
    assert {"frame_num", "ping_time", "num_tracks", "tracks"} <= set(lines[0])


def test_a_simulated_sonar_from_bytes_to_page_and_tracks(zipapp: Zipapp, tmp_path: Path) -> None:
    with zipapp.start(tmp_path, "--demo") as running:
        assert b"<html" in fetch(running, "/").lower()
        assert fetch(running, "/settings")
        fetch(running, "/healthz")
        message = first_with_tracks(running)
        assert message["sonar_id"] == "demo"
        assert running.terminate() == 0
    database = sqlite3.connect(tmp_path / "nims.sqlite3")
    assert database.execute("SELECT count(*) FROM tracks").fetchone()[0] >= 1
    database.close()


def test_the_documented_program_prints_tracks(zipapp: Zipapp, tmp_path: Path) -> None:
    documented = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "integrators.md").read_text(), re.DOTALL)
    assert documented
    with zipapp.start(tmp_path, "--demo") as running:
        program = documented[1].replace("8001", str(running.tracks_port))
        with subprocess.Popen([PYTHON, "-u", "-c", program], stdout=subprocess.PIPE, text=True) as reader:
            assert reader.stdout
            track_id, range_m, bearing_deg = reader.stdout.readline().split()
            reader.kill()
    assert int(track_id) > 0
    assert 0 < float(range_m) < 100
    assert -90 < float(bearing_deg) < 90


def test_clients_that_vanish_disturb_nobody(zipapp: Zipapp, tmp_path: Path) -> None:
    with zipapp.start(tmp_path, "--demo") as running:
        stays = messages(running)
        next(stays)
        for linger in (b"\0" * 8, b"\1" + b"\0" * 7):  # closed politely, and reset
            for _ in range(5):
                with socket.create_connection(("127.0.0.1", running.tracks_port), timeout=DEADLINE_S) as vanishes:
                    vanishes.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    vanishes.sendall(b"{}")
                    vanishes.recv(1)
        for _ in range(20):
            next(stays)
        parts = {part["name"]: part for part in json.loads(fetch(running, "/api/v1/state"))["parts"]}
        assert parts["track server"]["restarts"] == 0
        assert parts["track server"]["last_error"] == ""
        assert running.terminate() == 0


def test_a_recording_plays_as_a_sonar(zipapp: Zipapp, tmp_path: Path, recordings: Path) -> None:
    recording = next((recordings / "ek60").rglob("RedSlip*.raw"))
    with zipapp.start(tmp_path, "--sonar", f"pen=file://{recording}?speed=20&loop=yes,profile=simrad-ek60") as running:
        track = first_with_tracks(running)["tracks"][0]
        assert track["target_strength"] < 0
        assert running.terminate() == 0


def test_two_appliances_do_not_share_a_data_folder(zipapp: Zipapp, tmp_path: Path) -> None:
    with zipapp.start(tmp_path):
        second = zipapp.run("run", "--data", str(tmp_path), "--web-port", "0", "--tracks-port", "0")
    assert second.returncode == 2
    assert "another appliance uses it" in second.stderr


def test_works_without_a_writable_home(zipapp: Zipapp, tmp_path: Path) -> None:
    output = zipapp.run("--version", HOME="/dev/null", NIMS_DATA=str(tmp_path))
    assert output.returncode == 0, output.stderr
    assert (tmp_path / "cache").is_dir()


def test_says_what_to_set_when_nothing_can_be_written(zipapp: Zipapp) -> None:
    nowhere = "/dev/null"
    output = zipapp.run("--version", HOME=nowhere, NIMS_DATA=nowhere, TMPDIR=nowhere)
    assert output.returncode == 1
    assert "set NIMS_DATA" in output.stderr
    assert output.stderr.count("\n") == 1


@pytest.mark.parametrize("how", ["by its own first line", "by python3"])
def test_packages_of_the_user_do_not_replace_bundled_ones(zipapp: Zipapp, tmp_path: Path, how: str) -> None:
    for package in ("nims_appliance", "nims_m3", "numpy", "trio", "yaml"):
        (tmp_path / f"{package}.py").write_text("print('not the bundled one'); raise SystemExit(3)\n")
    command = [str(zipapp.path)] if how == "by its own first line" else [PYTHON, str(zipapp.path)]
    environment = zipapp.environment(PYTHONPATH=str(tmp_path))
    output = subprocess.run([*command, "profiles"], env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert "kongsberg-m3" in output.stdout


@pytest.mark.parametrize("python", other_pythons())
def test_a_wrong_python_is_one_sentence(zipapp: Zipapp, python: str) -> None:
    output = zipapp.run("--version", python=python, PATH="/nowhere")
    assert output.returncode == 1
    assert output.stderr.startswith(f"nims: this file is made for Python {made_for()} on ")
    assert output.stderr.count("\n") == 1


@pytest.mark.parametrize("python", other_pythons())
def test_a_wrong_python_hands_over_to_the_right_one(zipapp: Zipapp, tmp_path: Path, python: str) -> None:
    (tmp_path / f"python{made_for()}").symlink_to(PYTHON)
    output = zipapp.run("--version", python=python, PATH=str(tmp_path))
    assert output.stdout.startswith("nims, version ")
