"""Serial lines, over a pseudo-terminal: the kernel's own line without a cable."""

from __future__ import annotations

import os
import pty
import termios
from pathlib import Path

import pytest
import trio

from nims_appliance.errors import LinkError
from nims_appliance.links.address import SerialLink, parse_link
from nims_appliance.links.serial import open_serial


@pytest.fixture
def line():
    """(handle of the other end, path of the line)."""
    other, own = pty.openpty()
    path = Path(os.ttyname(own))
    os.close(own)
    yield other, path
    os.close(other)


def opened(path: Path, baud: int = 4800):
    return open_serial(SerialLink(path, baud), limit_bytes=65536, taps=[], on_silence=lambda silent_s: None)


async def test_bytes_come_and_go_unchanged(line) -> None:
    other, path = line
    every_byte = bytes(range(256))
    with trio.fail_after(10):
        async with opened(path) as connection:
            os.write(other, every_byte)
            while len(connection.buffer) < 256:
                await connection.fill(len(connection.buffer) + 1)
            assert bytes(connection.buffer.view) == every_byte
            await connection.send(every_byte)
            assert await trio.to_thread.run_sync(os.read, other, 1000) == every_byte
            assert termios.tcgetattr(other)[4] == termios.B4800


async def test_an_adapter_that_is_pulled_is_a_lost_connection(line) -> None:
    other, path = line
    gone = os.dup(other)
    with trio.fail_after(10):
        async with opened(path) as connection:
            os.close(gone)
            os.dup2(os.open(os.devnull, os.O_RDONLY), other)
            with pytest.raises(LinkError, match="pulled"):
                await connection.fill(1)


async def test_what_is_no_line_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, said in ((tmp_path / "none", "is the adapter plugged in"), (tmp_path / "file", "is no serial line")):
        with pytest.raises(LinkError, match=said):
            async with opened(path):
                pass


def test_addresses_of_lines() -> None:
    assert parse_link("serial:///dev/ttyUSB0?baud=4800") == SerialLink(Path("/dev/ttyUSB0"), 4800)
    assert parse_link("serial:/dev/ttyS1") == SerialLink(Path("/dev/ttyS1"), 115200)
    for bad in ("serial://ttyUSB0", "serial:///dev/ttyUSB0?baud=4801", "serial:///dev/ttyUSB0?speed=1", "serial:"):
        with pytest.raises(LinkError):
            parse_link(bad)
