"""UDP: receives a sonar's datagrams without losing bursts."""

from __future__ import annotations

import errno
import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from ..errors import LinkError
from .address import UdpLink, join_host_port
from .connection import SILENCE_CHECK_S, Datagram, Tap, now

log = logging.getLogger(__name__)

ASKED_BUFFER_BYTES = 4 * 2**20
BATCH = 64
"""Most datagrams taken at one wake, so that other tasks have their turn in a flood."""
DATAGRAM_BYTES = 65536
SO_RCVBUFFORCE = 33
"""Linux: a buffer beyond net.core.rmem_max, for processes with CAP_NET_ADMIN (socket(7))."""
SO_RXQ_OVFL = 40
"""Linux: each datagram brings the count of those that the kernel has dropped before it (socket(7))."""


class UdpConnection:
    """One bound UDP socket."""

    live = True

    def __init__(
        self,
        sock: socket.socket,
        *,
        peers: frozenset[str] = frozenset(),
        send_to: tuple | None = None,
        taps: list[Tap] | None = None,
        on_silence: Callable[[float], None] | None = None,
    ) -> None:
        self.received_bytes = 0
        self.kernel_drops = 0
        """Datagrams that the kernel dropped because its buffer was full."""
        self.foreign = 0
        """Datagrams of senders other than the configured one, not taken."""
        self.foreign_sender = ""
        self._socket = sock
        self._peers = peers
        self._send_to = send_to
        self._taps = taps if taps is not None else []
        self._on_silence = on_silence
        self._slab = memoryview(bytearray(BATCH * DATAGRAM_BYTES))

    async def receive(self) -> list[Datagram]:
        """Wait for datagrams and return up to 64 of those that are there; their data is valid until the next call."""
        silent_since = trio.current_time()
        while True:
            with trio.move_on_after(SILENCE_CHECK_S):
                await trio.lowlevel.wait_readable(self._socket)
            if batch := self._drain():
                return batch
            if self._on_silence is not None and trio.current_time() - silent_since >= SILENCE_CHECK_S:
                self._on_silence(trio.current_time() - silent_since)

    def _drain(self) -> list[Datagram]:
        batch: list[Datagram] = []
        for index in range(BATCH):
            slot = self._slab[index * DATAGRAM_BYTES : (index + 1) * DATAGRAM_BYTES]
            try:
                count, ancillary, _flags, address = self._socket.recvmsg_into([slot], socket.CMSG_SPACE(4))
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                # An ICMP answer to something that we sent; the socket is as good as before.
                if error.errno in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH):
                    continue
                raise LinkError(f"cannot receive: {error.strerror or error}") from error
            arrival = now()
            for level, kind, value in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, SO_RXQ_OVFL):
                    self.kernel_drops = struct.unpack("=I", value)[0]
            sender = join_host_port(address[0], address[1])
            if self._peers and address[0] not in self._peers:
                self.foreign += 1
                self.foreign_sender = sender
                continue
            data = slot[:count]
            self.received_bytes += count
            for tap in self._taps:
                tap(data, sender, arrival)
            batch.append(Datagram(data, sender, arrival))
        return batch

    async def send(self, data: bytes) -> None:
        """Send one datagram to the sonar; forgotten where the link names none."""
        await trio.lowlevel.checkpoint()
        if not data or self._send_to is None:
            return
        try:
            self._socket.sendto(data, self._send_to)
        except BlockingIOError:
            pass  # a full send buffer loses a datagram, as any network may
        except OSError as error:
            raise LinkError(f"cannot send to {self._send_to[0]}: {error.strerror or error}") from error


@asynccontextmanager
async def bind_udp(
    link: UdpLink, *, taps: list[Tap], on_silence: Callable[[float], None], warn: Callable[[str], None] = log.warning
) -> AsyncIterator[UdpConnection]:
    """Bind the link's port, join its group, and close the socket at the end.

    Raises:
      LinkError: the port is taken, or an address is wrong; the text says what to do.
    """
    peer = await _resolve(link.host, link.port, "the sonar's address") if link.host else None
    bind_address = await _resolve(link.bind, link.port, "bind") if link.bind else None
    family = (peer or bind_address or (socket.AF_INET,))[0]
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        if link.is_multicast:
            # Several programs on one computer may listen to the same group.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        granted = _ask_for_buffer(sock)
        if granted < ASKED_BUFFER_BYTES:
            warn(
                f"{link}: the kernel gives a receive buffer of {granted // 1024} KiB only, bursts may be lost: "
                f"set it with 'sysctl -w net.core.rmem_max={ASKED_BUFFER_BYTES}'"
            )
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
        except OSError:
            log.debug("%s: this kernel does not count dropped datagrams", link)
        everywhere = "::" if family == socket.AF_INET6 else "0.0.0.0"
        # A group's socket is bound to the group: bound to everything it would also hear other groups on that port.
        local = peer[1] if peer and link.is_multicast else bind_address[1] if bind_address else (everywhere, link.port)
        try:
            sock.bind(local)
            if peer and link.is_multicast:
                _join(sock, peer, bind_address)
        except OSError as error:
            raise LinkError(_why(error, link, local)) from error
        if peer is None or link.is_multicast:
            yield UdpConnection(sock, send_to=peer[1] if peer else None, taps=taps, on_silence=on_silence)
        else:
            peers = frozenset({peer[1][0]})
            yield UdpConnection(sock, peers=peers, send_to=peer[1], taps=taps, on_silence=on_silence)


def _ask_for_buffer(sock: socket.socket) -> int:
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ASKED_BUFFER_BYTES)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ASKED_BUFFER_BYTES)
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


async def _resolve(host: str, port: int, what: str) -> tuple:
    """Return (family, address) of a name."""
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise LinkError(f"{what}: cannot find {host!r}: {error.strerror or error}") from error
    family, _, _, _, address = found[0]
    return family, address


def _join(sock: socket.socket, group: tuple, interface: tuple | None) -> None:
    address = socket.inet_pton(group[0], group[1][0].partition("%")[0])
    if group[0] == socket.AF_INET6:
        index = group[1][3] or (interface[1][3] if interface else 0)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, address + struct.pack("@I", index))
    else:
        local = socket.inet_aton(interface[1][0] if interface else "0.0.0.0")
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, address + local)


def _why(error: OSError, link: UdpLink, local: tuple) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"UDP port {link.port} is in use: another program (or another sonar of this one) listens there"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{local[0]} is not an address of this computer: see 'ip address'"
    if error.errno == errno.EACCES:
        return f"UDP port {link.port} needs rights that this program lacks: use a port from 1024"
    if error.errno == errno.ENODEV:
        return f"no network interface to join {link.host} on: give one with ?bind=ADDRESS"
    return f"cannot listen on {link}: {error.strerror or error}"
