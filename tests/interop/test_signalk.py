"""Deltas in the real Signal K server, which is too large for the usual environment.

Run by hand where it is installed: npm install signalk-server, then
``SIGNALK_SERVER=node_modules/.bin/signalk-server pytest tests/interop``. Without it these tests are not collected.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import trio
import trio_websocket
from nims_signalk.publisher import SignalKSettings, publish

from nims_appliance.config.store import ConfigStore
from nims_appliance.context import Context
from nims_appliance.frame import Pose
from nims_appliance.links.connection import now
from nims_appliance.pipeline.results import PingResult, TrackState
from nims_appliance.plugin_host.host import PluginHost

SERVER = os.environ.get("SIGNALK_SERVER") or shutil.which("signalk-server") or ""
SECURED = {
    "strategy": "./tokensecurity",
    "security.json": {"allow_readonly": True, "expiration": "NEVER", "secretKey": "0" * 64, "users": [], "devices": []},
}


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


@asynccontextmanager
async def serving(folder: Path, *, secured: bool):
    """A server with a data connection of the type Signal K over UDP; gives its ports."""
    web, tcp, nmea, udp = free_ports(4)
    connection = {"type": "SignalK", "logging": False, "subOptions": {"type": "udp", "port": str(udp)}}
    settings = {
        "mdns": False,
        "pipedProviders": [
            {"id": "sonar", "enabled": True, "pipeElements": [{"type": "providers/simple", "options": connection}]}
        ],
    }
    if secured:
        settings["security"] = {"strategy": SECURED["strategy"]}
        (folder / "security.json").write_text(json.dumps(SECURED["security.json"]))
        (folder / "security.json").chmod(0o600)
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "package.json").write_text("{}")
    ports = {"PORT": str(web), "TCPSTREAMPORT": str(tcp), "NMEA0183PORT": str(nmea)}
    environment = os.environ | ports | {"SIGNALK_NODE_CONFIG_DIR": str(folder)}
    with open(folder / "server.log", "wb") as log:
        process = subprocess.Popen(
            [SERVER, "-c", folder], env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{web}") as client:
            with trio.fail_after(60):
                while True:
                    try:
                        if (await client.get("/signalk")).is_success:
                            break
                    except httpx.HTTPError:
                        pass
                    assert process.poll() is None, (folder / "server.log").read_text()
                    await trio.sleep(0.2)
            yield client, web, tcp, udp
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def publishing(folder: Path, *destinations: str):
    plugins = PluginHost.load(None)
    context = Context(folder, ConfigStore.load(folder, plugins=plugins), plugins)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(publish, context, SignalKSettings(enabled=True, destinations=destinations, rate_hz=20))
        while not context.results.subscribers:
            await trio.sleep(0.01)
        yield context
        nursery.cancel_scope.cancel()


def see(context: Context, *tracks: TrackState) -> None:
    arrival = now()
    pose = Pose(54.5, -3.5, heading_rad=math.radians(90.0))
    values = ("pen-1", 1, 1, arrival.utc_s, arrival.utc_s, arrival.monotonic_s, "", np.zeros(0), tracks, ())
    context.results.publish(PingResult(*values, pose=pose))


def track(number: int, *zones: str) -> TrackState:
    values = dict.fromkeys(TrackState.__slots__, 0.0)
    values |= {"id": number, "state": "confirmed", "position_m": (3.0, 4.0, 0.0), "velocity_m_s": (0.0, 1.0, 0.0)}
    values |= {"covariance": (), "calibrated": False, "channel": "", "zones": zones, "range_m": 5.0}
    return TrackState(**values | {"length_m": math.nan, "speed_m_s": 1.0})


async def told(client: httpx.AsyncClient, path: str) -> object:
    answer = await client.get(f"/signalk/v1/api/vessels/self/{path.replace('.', '/')}/value")
    return answer.json() if answer.is_success else answer.status_code


async def until(client: httpx.AsyncClient, path: str, value: object) -> None:
    with trio.fail_after(10):
        while (got := await told(client, path)) != value:
            await trio.sleep(0.05)
    assert got == value


@pytest.mark.parametrize(("transport", "secured"), [("udp", False), ("udp", True), ("tcp", False)])
async def test_the_server_knows_what_the_sonar_sees(tmp_path: Path, transport: str, secured: bool) -> None:
    with trio.fail_after(120):
        async with serving(tmp_path, secured=secured) as (client, web, tcp, udp):
            stream = f"ws://127.0.0.1:{web}/signalk/v1/stream?subscribe=all"
            destination = f"{transport}://127.0.0.1:{udp if transport == 'udp' else tcp}"
            assert (await client.get("/skServer/loginStatus")).json()["authenticationRequired"] is secured
            async with (
                publishing(tmp_path, destination) as context,
                trio_websocket.open_websocket_url(stream) as listener,
            ):
                see(context, track(2**60 + 1, "gate"), track(2))
                await until(client, "environment.sonar.pen-1.count", 2)
                found = await told(client, "environment.sonar.pen-1.tracks.0")
                assert found["id"] == str(2**60 + 1)
                assert (found["range"], found["length"]) == (5.0, None)
                # by hand: 3 m to the side of an axis that points east is 3 m south; a minute of latitude is 1855.8 m
                assert found["position"]["latitude"] == pytest.approx(54.5 - 3 / 1855.8 / 60, abs=1e-7)
                alert = await told(client, "notifications.sonar.pen-1.gate")
                assert (alert["state"], alert["method"]) == ("alert", ["visual", "sound"])
                heard = ""
                while "environment.sonar.pen-1.tracks.1" not in heard:
                    heard = await listener.get_message()
                assert json.loads(heard)["updates"][0]["$source"].endswith("pen-1")
                await trio.sleep(0.1)
                see(context)
                await until(client, "environment.sonar.pen-1.count", 0)
                assert await told(client, "environment.sonar.pen-1.tracks.0") is None
                assert (await told(client, "notifications.sonar.pen-1.gate"))["state"] == "normal"


async def test_three_hundred_tracks_arrive_whole(tmp_path: Path) -> None:
    with trio.fail_after(120):
        async with (
            serving(tmp_path, secured=False) as (client, _, tcp, udp),
            publishing(tmp_path, f"udp://127.0.0.1:{udp}", f"tcp://127.0.0.1:{tcp}") as context,
        ):
            see(context, *(track(2**60 + number) for number in range(300)))
            await until(client, "environment.sonar.pen-1.count", 300)
            with trio.fail_after(10):
                while not isinstance(await told(client, "environment.sonar.pen-1.tracks.299"), dict):
                    await trio.sleep(0.05)
