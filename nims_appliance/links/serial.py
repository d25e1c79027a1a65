"""Serial lines: opened raw, read when the kernel has bytes; a pulled adapter is a lost connection like any other."""

from __future__ import annotations

import errno
import os
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from ..errors import LinkError
from .address import SerialLink
from .connection import StreamConnection, Tap

_CC = 6
"""Place of the control characters in what `termios.tcgetattr` returns."""


@asynccontextmanager
async def open_serial(
    link: SerialLink, *, limit_bytes: int, taps: list[Tap], on_silence: Callable[[float], None]
) -> AsyncIterator[StreamConnection]:
    """Open the line, and close it at the end.

    Raises:
      LinkError: there is none, or it cannot be used; the text says what to look at.
    """
    handle = await trio.to_thread.run_sync(_open, link)
    try:

        async def receive_into(view: memoryview) -> int:
            while True:
                await trio.lowlevel.wait_readable(handle)
                try:
                    count = os.readv(handle, [view])
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise LinkError(f"{link.path}: {error.strerror or error}: was the adapter pulled?") from error
                if count == 0:
                    raise LinkError(f"{link.path}: the line has gone: was the adapter pulled?")
                return count

        async def send(data: bytes) -> None:
            view = memoryview(data)
            while view:
                await trio.lowlevel.wait_writable(handle)
                try:
                    view = view[os.write(handle, view) :]
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise LinkError(f"{link.path}: {error.strerror or error}") from error

        yield StreamConnection(receive_into, send=send, limit_bytes=limit_bytes, taps=taps, on_silence=on_silence)
    finally:
        trio.lowlevel.notify_closing(handle)
        os.close(handle)


def _open(link: SerialLink) -> int:
    try:
        handle = os.open(link.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise LinkError(_why(error, link)) from error
    try:
        settings = termios.tcgetattr(handle)
        rate = getattr(termios, f"B{link.baud}")
        # raw, 8N1, without flow control; modem lines are not waited for
        settings[0:6] = [0, 0, termios.CS8 | termios.CREAD | termios.CLOCAL, 0, rate, rate]
        settings[_CC][termios.VMIN], settings[_CC][termios.VTIME] = 1, 0
        termios.tcsetattr(handle, termios.TCSANOW, settings)
        termios.tcflush(handle, termios.TCIFLUSH)
    except termios.error as error:
        os.close(handle)
        raise LinkError(f"{link.path} is no serial line: {error.args[-1]}") from error
    return handle


def _why(error: OSError, link: SerialLink) -> str:
    if error.errno == errno.ENOENT:
        return f"there is no {link.path}: is the adapter plugged in? `ls /dev/serial/by-id` lists what is there"
    if error.errno == errno.EACCES:
        return f"{link.path} may not be opened: add this user to the group that owns it (often dialout)"
    return f"cannot open {link.path}: {error.strerror or error}"
