"""Links: where a sonar's bytes come from."""

from __future__ import annotations

from .address import FileLink, LinkSettings, SimulatorLink, TcpLink, UdpLink, parse_link
from .connection import Datagram, DatagramConnection, StreamConnection, Tap
from .link import Connection, Link

__all__ = [
    "Connection",
    "Datagram",
    "DatagramConnection",
    "FileLink",
    "Link",
    "LinkSettings",
    "SimulatorLink",
    "StreamConnection",
    "Tap",
    "TcpLink",
    "UdpLink",
    "parse_link",
]
