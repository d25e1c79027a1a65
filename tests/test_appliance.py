"""The appliance as a whole: it starts, shows, archives, and stops in time whatever its clients do."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from nims_appliance.appliance import Addresses, run_appliance
from nims_appliance.config.store import ConfigStore
from nims_appliance.context import Context
from nims_appliance.errors import ConfigError
from nims_appliance.plugin_host.host import PluginHost

SIMULATOR = "simulator:kongsberg-m3?rate=20&beams=32&samples=200"


def make_context(data: Path, config_text: str = "", **line) -> Context:
    data.mkdir(exist_ok=True)
    if config_text:
        (data / "config.yaml").write_text(config_text)
    plugins = PluginHost.load(None)
    command_line = {"web.port": 0, "tracks.port": 0} | line
    return Context(data, ConfigStore.load(data, plugins=plugins, command_line=command_line), plugins)


@asynccontextmanager
async def running(context: Context):
    async with trio.open_nursery() as nursery:
        addresses: Addresses = await nursery.start(partial(run_appliance, context, handle_signals=False))
        try:
            yield addresses
        finally:
            context.stopping.set()


def port_of(address: str) -> int:
    return int(address.rsplit(":", 1)[1])


async def read_message(stream: trio.SocketStream) -> dict:
    received = b""
    while b"\0" not in received:
        data = await stream.receive_some(65536)
        assert data
        received += data
    return json.loads(received.split(b"\0")[0])


async def get(address: str, path: str) -> bytes:
    async with await trio.open_tcp_stream("127.0.0.1", port_of(address)) as stream:
        await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while data := await stream.receive_some(65536):
            received += data
    return received


async def until_running(context: Context, name: str) -> None:
    while context.health.part(name).state != "running":
        await trio.sleep(0.02)


async def test_a_simulated_sonar_reaches_the_track_server_and_the_web(tmp_path: Path) -> None:
    line = {"sonars.pen.profile": "kongsberg-m3", "sonars.pen.link": SIMULATOR}
    context = make_context(tmp_path / "nims-data", **line)
    async with running(context) as addresses:
        async with await trio.open_tcp_stream("127.0.0.1", port_of(addresses.tracks[0])) as client:
            await client.send_all(b"{}")
            message = await read_message(client)
        assert message["sonar_id"] == "pen"
        assert message["frame_num"] >= 1
        health = await get(addresses.web[0], "/healthz")
        assert health.startswith(b"HTTP/1.1 200")
        names = {part["name"]: part["state"] for part in context.health.snapshot()["parts"]}
        assert names["sonar pen"] == names["archive"] == names["web"] == names["track server"] == "running"
    assert context.health.part("archive").state == "stopped"


async def test_a_broken_configuration_leaves_the_pages_reachable(tmp_path: Path) -> None:
    text = "sonars:\n  pen:\n    profile: kongsberg-m3\n    lnk: tcp://10.0.0.5:20001\n"
    context = make_context(tmp_path / "nims-data", text)
    assert context.config.errors
    async with running(context) as addresses:
        await until_running(context, "sonars")
        assert context.sonars == {}
        part = context.health.part("configuration")
        assert part.state == "failed"
        assert "config.yaml:4" in part.last_error
        assert b"config.yaml:4" in await get(addresses.web[0], "/api/v1/state")


async def test_a_port_in_use_is_one_sentence_and_nothing_runs(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        context = make_context(tmp_path / "nims-data", **{"web.port": taken.getsockname()[1]})
        with pytest.raises(ConfigError, match="is in use: another program"):
            await run_appliance(context, handle_signals=False)
    assert context.archive is None


async def test_outputs_of_plugins_are_supervised(tmp_path: Path) -> None:
    context = make_context(tmp_path / "nims-data")
    seen = trio.Event()

    async def good(output_context: Context) -> None:
        assert output_context is context
        seen.set()
        await trio.sleep_forever()

    async def leaves(output_context: Context) -> None:
        raise SystemExit(3)

    async def breaks(output_context: Context) -> None:
        raise KeyError("its own mistake")

    context.plugins.outputs.update({"a.good": good, "a.leaves": leaves, "a.breaks": breaks})
    async with running(context):
        await seen.wait()
        for name, error in (("a.leaves", "SystemExit: 3"), ("a.breaks", "KeyError")):
            part = context.health.part(f"output {name}")
            while part.state != "failed":
                await trio.sleep(0.02)
            assert error in part.last_error


SCRIPT = """
    import sys
    from pathlib import Path

    import trio

    from nims_appliance.appliance import run_appliance
    from nims_appliance.config.store import ConfigStore
    from nims_appliance.context import Context
    from nims_appliance.plugin_host.host import PluginHost

    async def main():
        data = Path(sys.argv[1])
        plugins = PluginHost.load(None)
        line = {"web.port": 0, "tracks.port": 0, "sonars.pen.profile": "kongsberg-m3", "sonars.pen.link": sys.argv[2]}
        context = Context(data, ConfigStore.load(data, plugins=plugins, command_line=line), plugins)
        async with trio.open_nursery() as nursery:
            addresses = await nursery.start(run_appliance, context)
            print(addresses.web[0], addresses.tracks[0], flush=True)

    trio.run(main)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_within_three_seconds_whatever_clients_do(tmp_path: Path, number: int) -> None:
    """Four clients hang on: one track client and one browser that read nothing, and two that have said nothing yet."""
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(tmp_path / "nims-data"), SIMULATOR]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    clients: list[socket.socket] = []
    try:
        web, tracks = (port_of(address) for address in process.stdout.readline().split())
        for port, hello in ((tracks, b"{}"), (tracks, b""), (web, b""), (web, b"")):
            clients.append(socket.create_connection(("127.0.0.1", port), timeout=20))
            clients[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            clients[-1].sendall(hello)
        clients[-1].sendall(
            b"GET /echosocket HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" % web
        )
        assert clients[0].recv(10), "pings are coming"
        time.sleep(1)
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
        for client in clients:
            client.close()
    assert process.returncode == 0, f"0: it ended by itself; 1: it was forced to after 3 s\n{errors}"
    assert (tmp_path / "nims-data" / "nims.sqlite3").exists()


def test_it_outlives_its_terminal_under_nohup(tmp_path: Path) -> None:
    command = ["nohup", sys.executable, "-c", textwrap.dedent(SCRIPT), str(tmp_path / "nims-data"), SIMULATOR]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        port = port_of(process.stdout.readline().split()[1])
        process.send_signal(signal.SIGHUP)
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(b"{}")
            assert client.recv(10), "it goes on"
            assert client.recv(10)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0


def test_a_second_interrupt_forces_the_end(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(tmp_path / "nims-data"), SIMULATOR]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        process.stdout.readline()
        os.kill(process.pid, signal.SIGINT)
        while process.poll() is None:
            os.kill(process.pid, signal.SIGINT)
            time.sleep(0.001)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode in (0, 130, -signal.SIGINT)
