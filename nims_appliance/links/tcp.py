"""TCP: connects to a sonar that listens."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from ..errors import LinkError
from .address import TcpLink, join_host_port
from .connection import StreamConnection, Tap

CONNECT_TIMEOUT_S = 5.0
KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""A sonar without power is noticed within 25 s even when the driver never expects data."""


@asynccontextmanager
async def connect_tcp(
    link: TcpLink, *, limit_bytes: int, taps: list[Tap], on_silence: Callable[[float], None]
) -> AsyncIterator[StreamConnection]:
    """Connect, and close the connection at the end.

    Raises:
      LinkError: there is no connection; the text says what to look at.
    """
    stream = await _open(link)
    async with stream:
        # The receive buffer is left to the kernel: it grows to the largest of net.ipv4.tcp_rmem (6 MiB), whereas
        # SO_RCVBUF would pin it at net.core.rmem_max, which is usually far less.
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE.items():
            if hasattr(socket, name):
                stream.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        yield StreamConnection(
            _translating(stream.socket.recv_into),
            send=_translating(stream.send_all),
            limit_bytes=limit_bytes,
            taps=taps,
            on_silence=on_silence,
        )


async def _open(link: TcpLink) -> trio.SocketStream:
    where = join_host_port(link.host, link.port)
    try:
        with trio.fail_after(CONNECT_TIMEOUT_S):
            return await trio.open_tcp_stream(link.host, link.port)
    except trio.TooSlowError:
        raise LinkError(
            f"no answer from {where} within {CONNECT_TIMEOUT_S:.0f} s: check the sonar's power, cable and address"
        ) from None
    except OSError as error:
        raise LinkError(_why(error, where)) from error


def _why(error: OSError, where: str) -> str:
    if isinstance(error, socket.gaierror):
        return f"cannot find {where}: check the name, or write the address in numbers ({error.strerror})"
    # A name with several addresses gives a group of errors, one for each.
    causes = error.__cause__.exceptions if isinstance(error.__cause__, ExceptionGroup) else (error.__cause__ or error,)
    codes = {getattr(cause, "errno", None) for cause in causes}
    if errno.ECONNREFUSED in codes:
        return f"{where} refused the connection: is the sonar's software running, and is this its data port?"
    if codes & {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ETIMEDOUT}:
        return f"no way to {where}: check the sonar's power, the cable and this computer's network address"
    return f"cannot connect to {where}: {causes[0]}"


def _translating(call: Callable[..., Awaitable]) -> Callable[..., Awaitable]:
    async def translated(data: bytes | memoryview) -> int | None:
        try:
            return await call(data)
        except trio.BrokenResourceError as error:
            raise LinkError(f"connection lost: {error.__cause__ or error}") from error
        except OSError as error:
            raise LinkError(f"connection lost: {error.strerror or error}") from error

    return translated
