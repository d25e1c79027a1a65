"""Instruments over UDP, TCP and a serial line, with all that is wrong on real lines."""

from __future__ import annotations

import os
import pty
import socket
import termios
import tty
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from nims_appliance.config.store import ConfigStore
from nims_appliance.context import Context
from nims_appliance.links.connection import now
from nims_appliance.navigation import receive
from nims_appliance.plugin_host.host import PluginHost

GGA = b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n"
HDT = b"$GPHDT,318.4,T*3B\r\n"
ZDA = b"$GPZDA,123519.00,21,11,2026,00,00*6E\r\n"
RUBBISH = (
    b"\xff\x00\xfe half a sentence,12*00\r\n",
    b"$GPGGA,123519,9907.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n",  # a digit that was disturbed
    b"$GPHDT,31\xb8.4,T*3B\r\n",
    b"$\r\n$*\r\n$GPHDT*\r\n",
)


@asynccontextmanager
async def receiving(data: Path, *sources: str):
    plugins = PluginHost.load(None)
    config = ConfigStore.load(data, plugins=plugins, command_line={"navigation.sources": list(sources)})
    assert not config.errors
    context = Context(data, config, plugins)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive.receive_navigation, context)
            yield context
            nursery.cancel_scope.cancel()


async def until(condition) -> None:
    while not condition():
        await trio.sleep(0.01)


def known(context: Context) -> dict:
    return context.navigation.describe(now().monotonic_s)


def is_right(context: Context) -> bool:
    told = known(context)
    if told["position_deg"] is None or told["heading_deg"] is None or told["clock_offset_s"] is None:
        return False
    assert told["position_deg"]["value"] == pytest.approx([48.1173, 11.516667], abs=1e-6)
    assert told["heading_deg"]["value"] == pytest.approx(318.4)
    return True


def free_port(kind: int) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


async def test_datagrams_with_and_without_rubbish(tmp_path: Path) -> None:
    port = free_port(socket.SOCK_DGRAM)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as instrument:
        async with receiving(tmp_path, f"udp://127.0.0.1:{port}") as context:

            def is_told() -> bool:
                # again and again: the socket may not be open yet
                for datagram in (*RUBBISH, GGA + HDT, b"UdPbC\0\\s:II0001*1C\\" + ZDA):
                    instrument.sendto(datagram, ("127.0.0.1", port))
                return is_right(context)

            await until(is_told)
            told = known(context)["instruments"][f"udp://127.0.0.1:{port}"]
            assert told["not_understood"] >= len(RUBBISH)
            assert told["age_s"] < 5


async def test_a_stream_in_pieces_with_rubbish_between(tmp_path: Path) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        endless = b"x" * 5000
        for piece in (GGA[10:], *RUBBISH, endless, b"\r\n", GGA[:20], GGA[20:] + HDT[:3], HDT[3:] + ZDA):
            await stream.send_all(piece)
            await trio.sleep(0.02)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        async with receiving(tmp_path, f"tcp://127.0.0.1:{listener.socket.getsockname()[1]}") as context:
            await until(lambda: is_right(context))
            assert known(context)["not_understood"] >= len(RUBBISH)
        nursery.cancel_scope.cancel()


async def test_a_serial_line_at_its_usual_speed(tmp_path: Path) -> None:
    other, own = pty.openpty()
    tty.setraw(other)
    path = os.ttyname(own)
    try:
        async with receiving(tmp_path, f"serial://{path}?baud=4800") as context:
            # what comes before it is open is thrown away
            await until(lambda: termios.tcgetattr(own)[4] == termios.B4800)

            def is_told() -> bool:
                for piece in (HDT[5:], *RUBBISH, GGA, HDT, ZDA):
                    os.write(other, piece)
                return is_right(context)

            await until(is_told)
    finally:
        os.close(own)
        os.close(other)


async def test_an_instrument_that_falls_silent_is_named_with_its_age(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(receive, "LOOK_INTERVAL_S", 0.02)
    first, second = (f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}" for _ in range(2))
    async with receiving(tmp_path, first, second) as context:
        part = context.health.part("navigation")
        await until(lambda: part.state == "waiting")
        long_ago, arrival = now(), now()
        long_ago = type(arrival)(arrival.utc_s - 60.0, arrival.monotonic_s - 60.0)
        context.navigation.take(HDT.strip(), first, long_ago)
        context.navigation.take(GGA.strip(), second, arrival)
        await until(lambda: part.state == "running")
        assert part.detail == f"position from 2 instruments; {first} silent for 60 s"


async def test_one_that_has_never_spoken_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(receive, "LOOK_INTERVAL_S", 0.02)
    first, second = (f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}" for _ in range(2))
    async with receiving(tmp_path, first, second) as context:
        part = context.health.part("navigation")
        await until(lambda: part.state == "waiting")
        context.navigation.take(HDT.strip(), first, now())
        await until(lambda: part.state == "running")
        assert part.detail == f"heading from 2 instruments; nothing from {second}"
