"""The command line, as an operator types it."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from nims_appliance import __version__
from nims_appliance.cli import _COMMANDS, common, main, nims
from nims_appliance.cli.common import parse_settings
from nims_appliance.cli.run import parse_sonar
from nims_appliance.data_folder import default_data, lock_data
from nims_appliance.errors import ConfigError
from nims_appliance.plugin_host.offers import OWN_COMMANDS

ENVIRON = {key: value for key, value in os.environ.items() if not key.startswith(("NIMS_", "PYTEST"))}
FIXTURES = Path(__file__).parent / "plugins_fixtures"


@dataclass
class Result:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(monkeypatch):
    """Run `nims ...` to its end, in this process: imports are what takes the time of a command."""
    for key in set(os.environ) - set(ENVIRON):
        if key != "PYTEST_CURRENT_TEST":
            monkeypatch.delenv(key)

    def run_here(*arguments: object, environ: dict[str, str] | None = None) -> Result:
        stdout, stderr, code = io.StringIO(), io.StringIO(), 0
        with monkeypatch.context() as patch, redirect_stdout(stdout), redirect_stderr(stderr):
            for key, value in (environ or {}).items():
                patch.setenv(key, value)
            try:
                main([str(argument) for argument in arguments])
            except SystemExit as end:
                code = end.code or 0
        return Result(code, stdout.getvalue(), stderr.getvalue())

    yield run_here
    root = logging.getLogger()
    for handler in list(root.handlers):
        if (
            isinstance(handler, logging.StreamHandler)
            and handler.formatter
            and "levelname" in str(handler.formatter._fmt)
        ):
            root.removeHandler(handler)
            handler.close()


@contextmanager
def running(*arguments: str, until: str):
    """Run `nims ...` until the line `until` is printed; kill it at the end if it is still there."""
    command = [sys.executable, "-m", "nims_appliance", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRON)
    process.lines = []
    try:
        while not process.lines or until not in process.lines[-1]:
            line = process.stdout.readline()
            if not line:
                pytest.fail(f"ended before {until!r}: {process.lines} {process.stderr.read()}")
            process.lines.append(line.rstrip())
        yield process
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
        process.stderr.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_help_lists_every_command_without_loading_a_plugin_or_numpy():
    code = "import sys; from nims_appliance.cli import nims; nims.main(['--help'], standalone_mode=False);"
    code += "print([m for m in ('numpy', 'trio', 'nims_m3', 'pluggy', 'msgspec') if m in sys.modules])"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRON, check=True, timeout=60
    )
    assert output.stdout.splitlines()[-1] == "[]"
    assert all(f"  {name} " in output.stdout for name in _COMMANDS)


@pytest.mark.parametrize(
    "command", [[name] for name in _COMMANDS] + [["config", name] for name in ("check", "show", "schema")]
)
def test_every_command_explains_itself(command):
    result = CliRunner().invoke(nims, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage: nims" in result.output


def test_version(run):
    assert run("--version").stdout.strip() == f"nims, version {__version__}"


def test_unknown_command_is_named(run):
    result = run("rnu")
    assert (result.returncode, "No such command 'rnu'" in result.stderr) == (2, True)


def test_plugins_are_listed(run, tmp_path):
    result = run("plugins", "--data", tmp_path)
    assert result.returncode == 0, result.stdout
    assert "nims_m3" in result.stdout
    assert "drivers: m3" in result.stdout


def test_plugins_with_an_error_are_listed_and_counted_in_the_exit_code(run, tmp_path):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "bad.py").write_text("import no_such_sdk\n")
    result = run("plugins", "--data", tmp_path)
    assert result.returncode == 1
    assert "error: bad: cannot be loaded: it needs the package 'no_such_sdk'" in result.stdout
    (bad,) = [entry for entry in json.loads(run("plugins", "--json", "--data", tmp_path).stdout) if entry["error"]]
    assert bad["name"] == "bad"


def test_command_of_a_plugin_cannot_replace_one_of_the_appliance(run, tmp_path):
    assert list(OWN_COMMANDS) == list(_COMMANDS)
    (tmp_path / "plugins").mkdir()
    text = "import click\nfrom nims_appliance.hookspecs import hookimpl\n"
    text += "@hookimpl\ndef nims_commands(): return [click.Command('run')]\n"
    (tmp_path / "plugins" / "greedy.py").write_text(text)
    result = run("plugins", "--data", tmp_path)
    assert "greedy: nims_commands: command 'run': the appliance has one of that name" in result.stdout


def test_command_of_a_plugin_runs(run, tmp_path):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "hello.py").write_bytes((FIXTURES / "files" / "json.py").read_bytes())
    assert run("hello", environ={"NIMS_DATA": str(tmp_path)}).stdout == "hello from a plugin\n"


def test_profiles_are_listed(run, tmp_path):
    result = run("profiles", "--data", tmp_path)
    assert result.returncode == 0
    for name in ("kongsberg-m3", "simrad-ek60", "blueprint-oculus"):
        assert name in result.stdout
    names = [
        profile["name"] for profile in json.loads(run("profiles", "--json", "--data", tmp_path).stdout)["profiles"]
    ]
    assert "simrad-ek60" in names


def test_config_check_show_and_schema(run, tmp_path):
    (tmp_path / "config.yaml").write_text(
        "sonars:\n  pen:\n    profile: kongsberg-m3\n    link: tcp://10.0.0.5:20001\n"
    )
    check = run("config", "check", "--data", tmp_path)
    assert (check.returncode, check.stdout) == (0, f"{tmp_path}/config.yaml: no errors, 1 sonar\n")
    show = run("config", "show", "--data", tmp_path, environ={"NIMS_WEB__PORT": "81"})
    assert re.search(r'sonars.pen.link +"tcp://10.0.0.5:20001" +config.yaml:4', show.stdout)
    assert re.search(r"web.port +81 +environment NIMS_WEB__PORT", show.stdout)
    assert re.search(r"tracks.port +8001 +default", show.stdout)
    assert json.loads(run("config", "show", "--json", "--data", tmp_path).stdout)["web.port"]["value"] == 8080
    (tmp_path / "overrides.yaml").write_text("sonars:\n  pen: removed\n")
    show = run("config", "show", "--data", tmp_path)
    assert re.search(r"sonars.pen +removed +overrides.yaml:2; it stands in config.yaml:2", show.stdout)
    schema = json.loads(run("config", "schema", "--data", tmp_path).stdout)
    assert "driver m3" in schema["$defs"]


def test_config_check_says_all_that_is_wrong(run, tmp_path):
    (tmp_path / "config.yaml").write_text("web:\n  prot: 1\n  host: 3\n")
    check = run("config", "check", "--data", tmp_path)
    assert check.returncode == 1
    assert [line.split(": ")[1] for line in check.stdout.splitlines()] == ["config.yaml:2", "config.yaml:3"]


def test_run_demo_says_where_it_is_and_stops_on_ctrl_c(tmp_path):
    with running(
        "run", "--demo", "--data", tmp_path, "--web-port", "0", "--tracks-port", "0", until="Ctrl-C stops"
    ) as process:
        text = "\n".join(process.lines)
        port = int(re.search(r"open http://localhost:(\d+)/", text)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"
        assert f"data folder: {tmp_path}" in text
        assert "sonar demo: kongsberg-m3 at simulator:kongsberg-m3" in text
        assert "can be seen by everybody on the network; settings are changed after a login" in text
        password = re.search(r"password +([a-z0-9]{4}(?:-[a-z0-9]{4}){3}) ", text)[1]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert "Traceback" not in process.stderr.read()
    logged = (tmp_path / "logs" / "nims.log").read_text()
    assert "stopping" in logged
    assert password not in logged
    assert password not in (tmp_path / "users.json").read_text()


def test_run_without_a_sonar_says_what_to_do(tmp_path):
    with running(
        "run", "--data", tmp_path, "--web-port", "0", "--tracks-port", "0", "--host", "127.0.0.1", until="Ctrl-C stops"
    ) as process:
        text = "\n".join(process.lines)
        assert "no sonar is configured: use --demo or --sonar NAME=LINK,profile=PROFILE" in text
        assert "can be seen by this computer only (--host 0.0.0.0 opens it to the network)" in text
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_run_with_a_broken_config_is_safe_mode(tmp_path):
    (tmp_path / "config.yaml").write_text("sonars:\n  pen:\n    profile: kongsberg-m33\n    link: tcp://x:1\n")
    with running("run", "--data", tmp_path, "--web-port", "0", "--tracks-port", "0", until="Ctrl-C stops") as process:
        text = "\n".join(process.lines)
        assert "safe mode" in text
        assert "config.yaml:3: sonars.pen.profile: no firmware profile 'kongsberg-m33'" in text


def test_second_appliance_on_a_data_folder_is_refused(tmp_path):
    with (
        lock_data(tmp_path),
        pytest.raises(ConfigError, match=rf"another appliance uses it \(process {os.getpid()}\)"),
        lock_data(tmp_path),
    ):
        pass
    with lock_data(tmp_path):
        pass


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--sonar", "pen"], "--sonar 'pen': expected NAME=LINK,profile=PROFILE"),
        (["--sonar", "pen=tcp://a:1,profile=nope"], "sonars.pen.profile: no firmware profile 'nope'"),
        (["--sonar", "pen=tpc://a:1,profile=kongsberg-m3"], "sonars.pen.link: 'tpc://a:1': expected tcp://"),
        (["--set", "web.prot=1"], "web.prot: unknown key (did you mean 'port'?)"),
        (["--set", "web.port"], "--set 'web.port': expected KEY=VALUE"),
        (["--host", "203.0.113.77"], "is not an address of this computer"),
        (["--web-port", "99999"], "99999 is not in the range"),
        (["--data", "/proc/nims"], "give another with --data DIR or NIMS_DATA=DIR"),
    ],
)
def test_run_refuses_mistakes_in_one_sentence(run, tmp_path, arguments, error):
    result = run("run", "--data", tmp_path, "--web-port", "0", "--tracks-port", "0", *arguments)
    assert result.returncode == 2
    assert error in result.stderr
    assert "Traceback" not in result.stderr


def test_port_in_use_is_one_sentence(run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = run("run", "--data", tmp_path, "--web-port", port, "--tracks-port", "0")
    assert result.returncode == 2
    assert result.stderr.startswith(f"nims: port {port} is in use")


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("pen=tcp://a:1,profile=p", {"sonars.pen.profile": "p", "sonars.pen.link": "tcp://a:1"}),
        (
            "pen=file:///x,y=z,profile=q.raw?a=b,profile=p",
            {"sonars.pen.profile": "p", "sonars.pen.link": "file:///x,y=z,profile=q.raw?a=b"},
        ),
        ("pen=,profile=p", {"sonars.pen.profile": "p"}),
    ],
)
def test_sonar_option_may_have_commas_and_equals_signs_in_its_link(text, settings):
    assert parse_sonar(text) == settings


@pytest.mark.parametrize(
    "text", ["", "pen", "pen=tcp://a:1", "=tcp://a:1,profile=p", "pen=tcp://a:1,profile=", "a.b=c,profile=p"]
)
def test_malformed_sonar_option_is_refused(text):
    with pytest.raises(ConfigError, match="expected NAME=LINK,profile=PROFILE"):
        parse_sonar(text)


def test_set_option_reads_values_as_yaml():
    assert parse_settings(("a.b=1", "c=x=y", "d=")) == {"a.b": 1, "c": "x=y", "d": None}


def test_log_goes_to_a_file_that_is_turned_over(tmp_path, run, monkeypatch):
    monkeypatch.setattr(common, "LOG_BYTES", 2000)
    common.start_logging(tmp_path)
    for number in range(400):
        logging.getLogger("test").info("event %d", number)
    logs = sorted(path.name for path in tmp_path.iterdir())
    assert logs == ["nims.log", "nims.log.1", "nims.log.2", "nims.log.3", "nims.log.4"]
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO    test: event 399", (tmp_path / logs[0]).read_text().splitlines()[-1]
    )


def test_log_that_cannot_be_written_stops_nothing(tmp_path, run, capsys):
    (tmp_path / "nims.log").mkdir()
    common.start_logging(tmp_path)
    logging.getLogger("test").warning("still seen")
    error = capsys.readouterr().err
    assert "still seen" in error
    assert "Traceback" not in error


def test_default_data_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["nims"])
    monkeypatch.delenv("NIMS_DATA", raising=False)
    assert default_data() == tmp_path / "nims-data"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nims.pyz").write_text("")
    monkeypatch.setattr(sys, "argv", ["bin/nims.pyz"])
    assert default_data() == tmp_path / "bin" / "nims-data"
    monkeypatch.setenv("NIMS_DATA", "elsewhere")
    assert default_data() == tmp_path / "elsewhere"


def test_simulate_listens_and_stops_on_ctrl_c(tmp_path):
    with running(
        "simulate",
        "kongsberg-m3",
        "--data",
        tmp_path,
        "--port",
        "0",
        "--beams",
        "16",
        "--samples",
        "64",
        until="Ctrl-C stops",
    ) as process:
        port = int(re.search(r"tcp://127.0.0.1:(\d+)", process.lines[-1])[1])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            assert client.recv(4)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_simulate_names_what_it_cannot(run, tmp_path):
    result = run("simulate", "kongsberg", "--data", tmp_path)
    assert (result.returncode, "did you mean 'kongsberg-m3'" in result.stderr) == (2, True)
    result = run("simulate", "kongsberg-m3", "--data", tmp_path, "--beams", "100000")
    assert (result.returncode, "--beams: expected at most" in result.stderr) == (2, True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        result = run("simulate", "kongsberg-m3", "--data", tmp_path, "--port", server.getsockname()[1])
    assert result.returncode == 2
    assert "cannot listen on" in result.stderr


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    """A recording of a few pings of the simulated M3, as it came over the wire."""
    tmp_path = tmp_path_factory.mktemp("recording")
    path = tmp_path / "pings.imb"
    with running(
        "simulate",
        "kongsberg-m3",
        "--data",
        tmp_path,
        "--port",
        "0",
        "--beams",
        "16",
        "--samples",
        "64",
        "--rate",
        "40",
        until="Ctrl-C stops",
    ) as process:
        port = int(re.search(r"tcp://127.0.0.1:(\d+)", process.lines[-1])[1])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            data = b""
            while len(data) < 200_000:
                data += client.recv(65536)
    path.write_bytes(data)
    return path


def test_process_writes_tracks_detections_and_metrics(run, tmp_path, recording):
    outputs = [tmp_path / name for name in ("tracks.jsonl", "detections.jsonl", "metrics.csv")]
    result = run(
        "process",
        recording,
        "--profile",
        "kongsberg-m3",
        "--data",
        tmp_path,
        "--set",
        "detector.false_alarms_per_ping=5",
        "--tracks",
        outputs[0],
        "--detections",
        outputs[1],
        "--metrics",
        outputs[2],
    )
    assert result.returncode == 0, result.stderr
    pings = int(re.search(r"(\d+) pings in \d", result.stderr)[1])
    assert pings > 3
    tracks = [json.loads(line) for line in outputs[0].read_text().splitlines()]
    assert len(tracks) == len(outputs[1].read_text().splitlines()) == pings
    assert {"frame_num", "num_tracks", "tracks"} <= set(tracks[0])
    assert outputs[2].read_text().startswith("start_iso,")


def test_process_to_standard_output(run, tmp_path, recording):
    result = run("process", recording, "--profile", "kongsberg-m3", "--data", tmp_path, "--tracks", "-")
    assert all("num_tracks" in json.loads(line) for line in result.stdout.splitlines())
    assert result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["--profile", "simrad-ek60"], 1, "this looks like Kongsberg M3"),
        (["--profile", "nope"], 2, "profile: no firmware profile 'nope'"),
        (["--profile", "kongsberg-m3", "--set", "detector.x=1"], 2, "detector.x: unknown key"),
        (["--profile", "kongsberg-m3", "--tracks", "/proc/x/y"], 2, "cannot write /proc/x/y"),
        (["--profile", "kongsberg-m3", "missing.imb"], 1, "missing.imb: No such file"),
        ([], 2, "Missing option '--profile'"),
    ],
)
def test_process_says_what_is_wrong(run, tmp_path, recording, arguments, code, error):
    result = run("process", recording, "--data", tmp_path, *arguments)
    assert (result.returncode, error in result.stderr) == (code, True), result.stderr
    assert "Traceback" not in result.stderr


def test_doctor_reports(run, tmp_path):
    result = run(
        "doctor",
        "--data",
        tmp_path,
        "--json",
        environ={"NIMS_WEB__PORT": str(free_port()), "NIMS_TRACKS__PORT": str(free_port())},
    )
    findings = json.loads(result.stdout)
    assert {
        "python",
        "processor",
        "data folder",
        "disk",
        "clock",
        "clock sync",
        "udp buffer",
        "web.port",
        "plugins",
        "config",
    } <= {finding["name"] for finding in findings}
    assert result.returncode == (1 if any(finding["level"] == "fail" for finding in findings) else 0)


def test_closed_pipe_is_no_error(tmp_path):
    command = f"{sys.executable} -m nims_appliance config schema --data {tmp_path} | head -c 10"
    result = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=ENVIRON, timeout=60, check=False
    )
    assert result.stderr == ""
