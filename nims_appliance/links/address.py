"""Link addresses: what `link:` in the configuration may say, and what each part of it means."""

from __future__ import annotations

import ipaddress
import math
import termios
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from ..errors import LinkError
from ..times import parse_time

EXPECTED = (
    "tcp://host:port, udp://:port, serial:///dev/ttyUSB0?baud=115200, file:///path?speed=1&loop=yes "
    "or simulator:profile"
)


@dataclass(frozen=True, slots=True)
class TcpLink:
    """``tcp://host:port``: the sonar (or its software) listens, the appliance connects."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"tcp://{join_host_port(self.host, self.port)}"


@dataclass(frozen=True, slots=True)
class UdpLink:
    """``udp://:port`` or ``udp://host:port``: the appliance listens on `port` of this computer.

    `host` is the sonar: only its datagrams are taken, and what the driver sends goes to its `port`. A multicast group
    as host is joined instead, and datagrams of every sender are taken. ``?bind=ADDRESS`` listens on one address of
    this computer (joins the group on its interface) instead of all.
    """

    host: str
    port: int
    bind: str = ""

    @property
    def is_multicast(self) -> bool:
        """Whether `host` is a group to join."""
        try:
            return ipaddress.ip_address(self.host.partition("%")[0]).is_multicast
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"udp://{join_host_port(self.host, self.port)}"


@dataclass(frozen=True, slots=True)
class FileLink:
    """``file:///path`` or ``file:path``: a recording, or all in a folder in their order, played as if it were live."""

    path: Path
    speed: float = 1.0
    """Times the pace of the recorded pings; 0: as fast as possible."""
    loop: bool = False
    start_s: float | None = None
    """Begin at this time of arrival, UTC seconds, as near as the recording's index allows."""
    paused: bool = False
    """Wait before the first ping."""

    def __str__(self) -> str:
        return f"file:{self.path}"


@dataclass(frozen=True, slots=True)
class SimulatorLink:
    """``simulator:profile``: a simulated device of that profile, over its real protocol on this computer's loopback."""

    profile: str
    rate_hz: float = 10.0
    beams: int | None = None
    samples: int | None = None
    seed: int = 1

    def __str__(self) -> str:
        return f"simulator:{self.profile}"


@dataclass(frozen=True, slots=True)
class SerialLink:
    """``serial:///dev/ttyUSB0?baud=4800``: a serial line, 8 bits, no parity, one stop bit."""

    path: Path
    baud: int = 115200

    def __str__(self) -> str:
        return f"serial:{self.path}"


MAX_SIMULATED_CELLS = 2**22
"""Making a ping cannot be interrupted: one of this size takes about a second."""

LinkSettings = TcpLink | UdpLink | SerialLink | FileLink | SimulatorLink


def join_host_port(host: str, port: int) -> str:
    """Return host and port as one text, IPv6 addresses in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_link(text: str) -> LinkSettings:
    """Return what a link's text means.

    Raises:
      LinkError: the text is not a link; the message says what was expected.
    """
    scheme, colon, rest = text.strip().partition(":")
    rest, _, query = rest.partition("?")
    match scheme.lower() if colon else "":
        case "tcp":
            _options(text, query, {})
            host, port = _host_port(text, rest)
            if not host:
                raise LinkError(f"{text!r}: expected the sonar's address: tcp://host:{port}")
            return TcpLink(host, port)
        case "udp":
            options = _options(text, query, {"bind": str})
            host, port = _host_port(text, rest)
            return UdpLink("" if host in ("0.0.0.0", "::", "*") else host, port, options.get("bind", ""))
        case "file":
            options = _options(text, query, {"speed": _speed, "loop": _yes_no, "from": parse_time, "step": _yes_no})
            return FileLink(
                _path(text, rest),
                options.get("speed", 1.0),
                options.get("loop", False),
                options.get("from"),
                options.get("step", False),
            )
        case "simulator":
            names = {"rate": _rate, "beams": _beams, "samples": _samples, "seed": int}
            options = _options(text, query, names)
            profile = unquote(rest.removeprefix("//"))
            if not profile:
                raise LinkError(f"{text!r}: expected a profile's name: simulator:kongsberg-m3")
            if options.get("beams", 1) * options.get("samples", 1) > MAX_SIMULATED_CELLS:
                raise LinkError(f"{text!r}: expected beams x samples of at most {MAX_SIMULATED_CELLS}")
            return SimulatorLink(
                profile,
                options.get("rate", 10.0),
                options.get("beams"),
                options.get("samples"),
                options.get("seed", 1),
            )
        case "serial":
            options = _options(text, query, {"baud": _baud})
            path = unquote(rest.removeprefix("//"))
            if not path.startswith("/") or "\0" in path:
                raise LinkError(f"{text!r}: expected the path of a serial line: serial:///dev/ttyUSB0?baud=4800")
            return SerialLink(Path(path), options.get("baud", 115200))
        case _:
            raise LinkError(f"{text!r}: expected {EXPECTED}")


def _host_port(text: str, rest: str) -> tuple[str, int]:
    if not rest.startswith("//"):
        raise LinkError(f"{text!r}: expected // after the colon: {EXPECTED}")
    try:
        parts = urlsplit(rest)
        port = parts.port
    except ValueError as error:
        raise LinkError(f"{text!r}: expected host:port ({error})") from None
    if parts.path not in ("", "/") or parts.fragment or parts.username is not None:
        raise LinkError(f"{text!r}: expected nothing but host:port after //")
    if not port:
        raise LinkError(f"{text!r}: expected a port from 1 to 65535, as in {text.rstrip('/:')}:20001")
    return unquote(parts.hostname or ""), port


def _path(text: str, rest: str) -> Path:
    if rest.startswith("//") and not rest.startswith("///"):
        host, slash, path = rest[2:].partition("/")
        if host == "~":
            rest = f"~{slash}{path}"
        elif host == "localhost":
            rest = f"/{path}"
        else:
            raise LinkError(
                f"{text!r}: expected file:///absolute/path (three slashes) or, relative to the folder where the "
                f"appliance was started, file:{rest[2:]}"
            )
    elif rest.startswith("///"):
        rest = rest[2:]
    path = unquote(rest)
    if not path or path == "/" or "\0" in path:
        raise LinkError(f"{text!r}: expected the path of a recording: file:///path/to/recording")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise LinkError(f"{text!r}: cannot tell the home folder of {path.partition('/')[0]!r}") from None


def _options(text: str, query: str, known: dict) -> dict:
    options = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            expected = f"only {', '.join(known)}" if known else "no options"
            raise LinkError(f"{text!r}: unknown option {name!r}: expected {expected}")
        if name in options:
            raise LinkError(f"{text!r}: option {name!r} is given twice")
        try:
            options[name] = known[name](value)
        except ValueError as error:
            raise LinkError(f"{text!r}: option {name}={value!r}: {error}") from None
    return options


def _yes_no(value: str) -> bool:
    answers = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    if value.lower() not in answers:
        raise ValueError("expected yes or no")
    return answers[value.lower()]


def _number(value: str, expected: str) -> float:
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"expected {expected}") from None
    if not math.isfinite(number):
        raise ValueError(f"expected {expected}")
    return number


def _speed(value: str) -> float:
    speed = _number(value, "a number, 0 or more (0: as fast as possible)")
    if speed < 0:
        raise ValueError("expected 0 (as fast as possible) or more")
    return speed


def _rate(value: str) -> float:
    rate_hz = _number(value, "pings a second, more than 0")
    if rate_hz <= 0:
        raise ValueError("expected pings a second, more than 0")
    return rate_hz


def _baud(value: str) -> int:
    rate = _count(value, 4_000_000)
    if not hasattr(termios, f"B{rate}"):
        raise ValueError("expected a rate that serial lines have, as 4800, 9600, 38400, 115200")
    return rate


def _beams(value: str) -> int:
    return _count(value, 1024)


def _samples(value: str) -> int:
    return _count(value, 30_000)


def _count(value: str, most: int) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 9 or not 1 <= int(value) <= most:
        raise ValueError(f"expected a whole number from 1 to {most}")
    return int(value)
