"""What a sonar driver promises: bytes in, frames out, no I/O.

A driver is a plugin's offer (`Driver`) to make decoders. A decoder never touches a socket, file, clock or thread; the
core drives it, so the same code serves live sonars, replay, tests, fuzzing and the batch command.

Rules for every decoder:

* Bad bytes are never an exception. Count them in `statistics`, find the next good packet, go on.
* Check every length from the wire against `profile.limits` before allocating or indexing.
* `decode` may run in a worker thread, never in two at once. Release the GIL where samples are touched.
* The view is valid during the call only: keep a copy of what is needed later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from .frame import Arrival, Frame
from .settings import MountingSettings

if TYPE_CHECKING:
    import numpy as np

    from .profile import Profile


@dataclass(slots=True)
class Decoded:
    """Answer of a stream decoder to one call."""

    consumed: int = 0
    """Bytes at the front of the view that the link may forget."""
    need: int = 1
    """Bytes, counted from the first unconsumed one, without which another call is useless; bounded by the limits."""
    frames: list[Frame] = field(default_factory=list)
    send: bytes = b""
    """Bytes to send to the sonar now (control messages, answers)."""
    ahead: int = 0
    """Size of the unfinished packet at the front, if what has come of it is decoded already: the link makes room for
    all of it, and calls again as soon as `need` bytes are there. 0: nothing is decoded ahead."""


@dataclass(slots=True)
class DecoderStatistics:
    """Counters that every decoder keeps; shown on the health page as they are."""

    frames: int = 0
    resyncs: int = 0
    """Times that the decoder lost its place and searched for the next packet."""
    skipped_bytes: int = 0
    """Bytes that belonged to no good packet."""
    errors: Counter[str] = field(default_factory=Counter)
    """Rejected packets by reason: a short, fixed phrase, so that the number of keys stays small."""
    last_error: str = ""
    """The last rejection in full: what was expected, what came, where."""

    def reject(self, reason: str, detail: str) -> None:
        """Count one rejected packet."""
        self.errors[reason] += 1
        self.last_error = detail


class StreamDecoder(Protocol):
    """Decodes a byte stream (TCP, serial, file)."""

    statistics: DecoderStatistics

    def on_connect(self) -> bytes:
        """Return what to send to a sonar when the link is up; called again after each reconnection.

        Forget any partial packet here: the stream starts anew.
        """

    def decode(self, view: memoryview, arrival: Arrival) -> Decoded:
        """Decode what is complete at the front of `view` (bytes, contiguous); stop after at most a few frames.

        Called again with the rest until nothing is consumed, then when `need` bytes are there.
        """

    def finish(self, arrival: Arrival) -> list[Frame]:
        """The stream has ended: return frames that were waiting for more, forget the rest."""


class DatagramDecoder(Protocol):
    """Decodes datagrams (UDP)."""

    statistics: DecoderStatistics

    def on_connect(self) -> bytes:
        """As for streams; sent to the link's peer, where it has one."""

    def decode_datagram(self, datagram: memoryview, sender: str, arrival: Arrival) -> Decoded:
        """Decode one datagram of `sender` ("host:port"); `consumed` and `need` are not used."""

    def finish(self, arrival: Arrival) -> list[Frame]:
        """As for streams."""


@dataclass(frozen=True, slots=True)
class DecoderContext:
    """What the core tells a driver when it asks for a decoder."""

    profile: Profile
    """The firmware profile; its `settings` are the driver's own, checked against `Driver.settings_type`."""
    settings: Any
    """An instance of `Driver.settings_type`: profile and operator's settings merged."""
    live: bool = False
    """True if the bytes come from a device that can be talked to; False for files."""
    timed: bool = False
    """True if the arrivals are those of the sonar's own bytes: live, and in recordings that keep the time."""
    want_samples: bool = False
    """True if the pipeline wants complex samples beside the intensity."""
    mounting: MountingSettings = field(default_factory=MountingSettings)
    """How the head sits: imaging decoders turn the bearings (and columns) of every frame by it."""


@dataclass(frozen=True, slots=True)
class Driver:
    """A plugin's offer to decode one family of sonars."""

    name: str
    """As profiles name it in `driver:`, e.g. "m3"."""
    title: str
    """For people, e.g. "Kongsberg M3 beamformed data (IMB)"."""
    settings_type: type
    """A msgspec.Struct (kw_only, frozen, forbid_unknown_fields) with the driver's settings, units in their names."""
    stream: Callable[[DecoderContext], StreamDecoder] | None = None
    """Makes a decoder for tcp://, serial:// and file:// links; None if there is none."""
    datagram: Callable[[DecoderContext], DatagramDecoder] | None = None
    """Makes a decoder for udp:// links; None if there is none."""
    plain_suffix: str = ""
    """If its stream is a file format of its own: what such files end in (".imb"); recordings are then such files."""
    packet_start: bytes = b""
    """What each packet of its stream begins with, if anything: recordings are divided there."""
    recognise: Callable[[bytes], bool] = lambda head: False
    """Whether the first bytes (up to 64 KiB) look like this driver's data; must not raise."""


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedPing:
    """What a simulated device hears in one ping."""

    number: int
    time_s: float
    """Seconds since 1970-01-01 UTC on the device's clock."""
    samples: np.ndarray
    """complex64, shape (samples, beams); |z|^2 is power."""
    range_m: np.ndarray
    bearing_rad: np.ndarray
    along_rad: np.ndarray | None = None
    athwart_rad: np.ndarray | None = None
    """float32 (samples,) for split-beam devices, which have one beam."""
    truth: tuple[Any, ...] = ()
    """The animals that are really there (`nims_simulator.swarm.Animal` for the built-in scene), for tests."""


class SimulatedDevice(Protocol):
    """The device's side of the wire, without I/O, clock or thread; driven by `simulate.serve_simulator`.

    All clients of a device see the same pings, as with the real ones.
    """

    rate_hz: float
    """Pings a second; may change when a client asks for it."""

    @property
    def pinging(self) -> bool:
        """False while the device waits for a command to start."""

    def ping(self, number: int, time_s: float) -> SimulatedPing:
        """Return what is heard now. Pings are asked for in order of time; may run in a worker thread."""

    def encode(self, ping: SimulatedPing) -> list[bytes]:
        """Return the packets of one ping: chunks of a stream, or datagrams. May run in a worker thread."""

    def idle(self) -> bytes:
        """Return what a device that is not pinging sends about once a second; empty for nothing."""

    def receive(self, data: bytes) -> tuple[int, bytes]:
        """Take what a client has sent so far (TCP); return (bytes consumed, answer). Garbage is consumed."""


@dataclass(frozen=True, slots=True)
class Simulator:
    """A plugin's offer to play a device."""

    profile: str
    """The profile whose device is simulated, e.g. "kongsberg-m3"."""
    title: str
    transport: str
    """"tcp" (listens, like the device) or "udp" (sends to a receiver)."""
    default_port: int
    make: Callable[..., SimulatedDevice]
    """make(rate_hz=..., beams=..., samples=..., seed=...) with None for the device's default."""
