"""Listening: sockets bound before anything runs, so that a port in use is one clear sentence."""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import socket
import struct

import msgspec

from .errors import ConfigError
from .links.address import join_host_port
from .settings import TrackServerSettings, WebSettings

AUTOMATIC = "automatic"
EVERYWHERE = "0.0.0.0"
HERE = "127.0.0.1"

# netdevice(7)
_SIOCGIFFLAGS, _SIOCGIFADDR = 0x8913, 0x8915
_UP, _LOOPBACK, _RUNNING = 0x1, 0x8, 0x40
_INSIDE = ("docker", "br-", "veth", "virbr", "lxc")
"""Names of interfaces that lead to containers and virtual machines only."""


def opened(settings: WebSettings, *, users: bool) -> WebSettings:
    """Return the settings with the address to listen on instead of "automatic".

    `users`: whether somebody can log in. Before that nobody could correct what is wrong, so nobody is let near.
    """
    if settings.host != AUTOMATIC:
        return settings
    return msgspec.structs.replace(settings, host=EVERYWHERE if users else HERE)


def bind(settings: WebSettings | TrackServerSettings, section: str) -> list[socket.socket]:
    """Return listening TCP sockets on every address of the settings' host; port 0 is any free one.

    `section` is where the settings stand in the configuration, for errors.

    Raises:
      ConfigError: the address cannot be listened on; the text says what to do.
    """
    host, port = settings.host, settings.port
    where = join_host_port(host, port)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(f"{section}.host: cannot find {host!r}: {error.strerror or error}") from None
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in found:
            if sockets and port == 0:
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.listen(128)
            sock.setblocking(False)
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise ConfigError(_why(error, where, host, port, section)) from None
    return sockets


def _why(error: OSError, where: str, host: str, port: int, section: str) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"port {port} is in use: another program, or another appliance, listens on {where}; stop it, or choose "
                f"another port with --{section}-port or {section}.port in config.yaml (who it is: 'ss -ltnp')"
            )
        case errno.EACCES:
            return f"port {port} needs rights that this program lacks: choose one from 1024 with --{section}-port"
        case errno.EADDRNOTAVAIL:
            return (
                f"{section}.host: {host} is not an address of this computer: see 'ip address', or use 0.0.0.0 for all"
            )
    return f"cannot listen on {where}: {error.strerror or error}"


def url(scheme: str, sock: socket.socket) -> str:
    """Return how to reach a listening socket from this computer, as a URL."""
    host, port = sock.getsockname()[:2]
    if ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
        host = "localhost"
    return f"{scheme}://{join_host_port(host, port)}"


def network_urls(scheme: str, sock: socket.socket) -> list[str]:
    """Return how other computers may reach a listening socket, as URLs; none if it listens for this one only.

    The last one is by this computer's name, which networks with mDNS (Bonjour) know.
    """
    host, port = sock.getsockname()[:2]
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.is_loopback:
        return []
    hosts = [host]
    if address.is_unspecified:
        name = socket.gethostname().partition(".")[0]
        hosts = [*(interface_addresses() if address.version == 4 else []), f"{name}.local"]
    return [f"{scheme}://{join_host_port(host, port)}" for host in hosts]


def interface_addresses() -> list[str]:
    """Return the IPv4 addresses of the interfaces that run, without those inside this computer; Linux."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            if name.startswith(_INSIDE):
                continue
            request = struct.pack("256s", name.encode()[:15])
            try:
                (flags,) = struct.unpack_from("=H", fcntl.ioctl(sock, _SIOCGIFFLAGS, request), 16)
                address = fcntl.ioctl(sock, _SIOCGIFADDR, request)[20:24]
            except OSError:
                continue  # without an address
            if flags & _UP and flags & _RUNNING and not flags & _LOOPBACK:
                found.append(socket.inet_ntoa(address))
    return found
