"""Link: keeps the connection to one sonar open, for months, and says how it stands."""

from __future__ import annotations

import logging
import random
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from typing import Any

import trio

from ..decoder import Simulator
from ..errors import LinkError
from ..playback import Playback
from ..recording.files import read_index
from .address import FileLink, LinkSettings, SerialLink, SimulatorLink, TcpLink, UdpLink
from .connection import DatagramConnection, StreamConnection, Tap
from .file import open_file, recorded_transport, recordings_of
from .serial import open_serial
from .tcp import connect_tcp
from .udp import UdpConnection, bind_udp

log = logging.getLogger(__name__)

SILENCE_S = 10.0
"""Without data for so long, the sonar is shown as waiting."""
RECONNECT_AFTER_S = 30.0
"""Without data for so long, the connection is made anew: the other end may have forgotten it."""

Connection = StreamConnection | DatagramConnection
Report = Callable[[str, str], None]
"""Called with a state of `health.STATES` and a detail for people."""


class Backoff:
    """Delays between attempts: doubling, with jitter so that many sonars do not knock together."""

    def __init__(self, first_s: float = 1.0, most_s: float = 30.0) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._next_s = first_s

    def next_s(self) -> float:
        """Return the next delay, and double it."""
        delay_s = self._next_s * random.uniform(0.8, 1.2)
        self._next_s = min(2 * self._next_s, self._most_s)
        return delay_s

    def reset(self) -> None:
        """Start again with the first delay."""
        self._next_s = self._first_s


class Link:
    """Where the bytes of one sonar come from.

    Args:
      settings: what `parse_link` gave.
      limit_bytes: largest packet of the sonar, from its profile.
      report: told how the link stands.
      simulators: by profile, for ``simulator:`` links.
    """

    def __init__(
        self,
        settings: LinkSettings,
        *,
        limit_bytes: int,
        report: Report,
        simulators: Mapping[str, Simulator] | None = None,
    ) -> None:
        self.settings = settings
        self.taps: list[Tap] = []
        """Shown every received byte; a recorder adds itself here."""
        self.playback = Playback(settings.speed, paused=settings.paused) if isinstance(settings, FileLink) else None
        """The hand on a recording; None where there is none."""
        self.connects = 0
        self.last_error = ""
        self.warning = ""
        self._limit_bytes = limit_bytes
        self._report = report
        self._simulators = simulators or {}
        self._backoff = Backoff()
        self._good = False
        self._logged = ""
        self._connection: Connection | None = None
        self._bytes_before = 0

    @property
    def is_datagram(self) -> bool:
        """Whether a datagram decoder is needed.

        Raises:
          LinkError: there is no simulator of that profile.
        """
        if isinstance(self.settings, SimulatorLink):
            return self._simulator(self.settings).transport == "udp"
        if isinstance(self.settings, FileLink):
            return recorded_transport(self.settings) == "datagram"
        return isinstance(self.settings, UdpLink)

    @property
    def is_live(self) -> bool:
        """Whether a device (or one that is played) is at the other end."""
        return not isinstance(self.settings, FileLink)

    @property
    def is_timed(self) -> bool:
        """Whether the times of arrival are those of the sonar's own bytes."""
        return not isinstance(self.settings, FileLink) or recorded_transport(self.settings) != ""

    def good_data(self) -> None:
        """Say that a ping was decoded: the next lost connection is retried at once."""
        self._good = True
        if self._logged:
            log.info("%s: pings again", self.settings)
            self._logged = ""

    async def run(self, session: Callable[[Connection], Awaitable[None]]) -> None:
        """Connect again and again, and run `session` on each connection; return when a file has been played.

        `session` returns at the end of the stream. LinkErrors are reported and retried; others end the link.
        """
        settings = self.settings
        if not isinstance(settings, SimulatorLink):
            await self._run(settings, session)
            return
        simulator = self._simulator(settings)
        # Loaded here, so that links can be used without the simulators.
        from ..simulate import serve_simulator

        async with trio.open_nursery() as nursery:
            serve = partial(
                serve_simulator,
                simulator,
                host="127.0.0.1",
                rate_hz=settings.rate_hz,
                beams=settings.beams,
                samples=settings.samples,
                seed=settings.seed,
            )
            if simulator.transport == "udp":
                port = _free_udp_port()
                nursery.start_soon(partial(serve, port=port))
                await self._run(UdpLink("", port, bind="127.0.0.1"), session)
            else:
                port = await nursery.start(partial(serve, port=0))
                await self._run(TcpLink("127.0.0.1", port), session)
            nursery.cancel_scope.cancel()

    async def _run(self, settings: TcpLink | UdpLink | SerialLink | FileLink, session: Callable) -> None:
        while True:
            self._good = False
            self._report("waiting", f"connecting to {self.settings}")
            try:
                if isinstance(settings, FileLink):
                    await self._play(settings, session)
                else:
                    await self._connect(settings, session)
                if isinstance(settings, FileLink):
                    if not settings.loop:
                        self._report("waiting", f"{settings.path.name} has been played to its end")
                        return
                    reason = f"no ping in {settings.path}"
                else:
                    reason = "the sonar closed the connection"
            except LinkError as error:
                reason = str(error)
            if self._good:
                self._backoff.reset()
                if isinstance(settings, FileLink):
                    await trio.lowlevel.checkpoint()
                    continue
            delay_s = self._backoff.next_s()
            if reason != self._logged:
                # Once for each reason: a sonar may be switched off for months.
                log.warning("%s: %s; trying again", self.settings, reason)
                self._logged = reason
            self.last_error = reason
            self._report("waiting", f"{reason}; trying again every {max(delay_s, 1):.0f} s")
            await trio.sleep(delay_s)

    async def _connect(self, settings: TcpLink | UdpLink | SerialLink | FileLink, session: Callable) -> None:
        try:
            async with self._open(settings) as connection:
                self.connects += 1
                self._connection = connection
                if not self._good:
                    self._report("waiting", f"connected to {self.settings}, no ping yet")
                await session(connection)
        finally:
            if self._connection is not None:
                self._bytes_before += self._connection.received_bytes
                self._connection = None

    async def _play(self, settings: FileLink, session: Callable) -> None:
        """Play what there is to its end, going where the playback is sent.

        Raises:
          LinkError: there is nothing that can be played; of a folder single recordings may be left out.
        """
        assert self.playback is not None
        start_s = settings.start_s
        while True:
            paths = await trio.to_thread.run_sync(recordings_of, settings, start_s)
            transport = await trio.to_thread.run_sync(recorded_transport, settings)
            for path in paths:
                file = replace(settings, path=path, start_s=start_s)
                try:
                    if len(paths) > 1 and await trio.to_thread.run_sync(recorded_transport, file) != transport:
                        raise LinkError(f"{path} is of another kind than the first recording of its folder")
                    await self._connect(file, session)
                except LinkError as error:
                    if len(paths) == 1:
                        raise
                    self.last_error = str(error)
                    log.warning("%s: %s; left out", self.settings, error)
                start_s = None
                if self.playback.is_seeking:
                    break
            start_s = self.playback.take_seek()
            if start_s is None:
                return
            if not await trio.to_thread.run_sync(read_index, paths[0]):
                self.playback.skip_to(start_s)

    def _open(self, settings: TcpLink | UdpLink | SerialLink | FileLink) -> AbstractAsyncContextManager[Any]:
        match settings:
            case TcpLink():
                return connect_tcp(settings, limit_bytes=self._limit_bytes, taps=self.taps, on_silence=self._on_silence)
            case UdpLink():
                return bind_udp(settings, taps=self.taps, on_silence=self._on_silence, warn=self._warn)
            case SerialLink():
                return open_serial(settings, limit_bytes=self._limit_bytes, taps=self.taps, on_silence=self._on_silence)
            case FileLink():
                return open_file(settings, limit_bytes=self._limit_bytes, taps=self.taps)

    def _on_silence(self, silent_s: float) -> None:
        if silent_s >= RECONNECT_AFTER_S:
            raise LinkError(f"no data for {RECONNECT_AFTER_S:.0f} s")
        if silent_s >= SILENCE_S:
            hint = ""
            if isinstance(self._connection, UdpConnection) and self._connection.foreign:
                hint = f"; datagrams came from {self._connection.foreign_sender} instead"
            self._report("waiting", f"no data for {silent_s:.0f} s: is the sonar pinging?{hint}")

    def _warn(self, text: str) -> None:
        if text != self.warning:
            log.warning("%s", text)
        self.warning = text

    def _simulator(self, settings: SimulatorLink) -> Simulator:
        if settings.profile not in self._simulators:
            names = ", ".join(sorted(self._simulators)) or "none is installed"
            raise LinkError(f"there is no simulator of {settings.profile!r}: expected one of: {names}")
        return self._simulators[settings.profile]

    def statistics(self) -> dict[str, Any]:
        """Return counters since the start, as JSON-able values."""
        connection = self._connection
        values: dict[str, Any] = {
            "link": str(self.settings),
            "connects": self.connects,
            "received_bytes": self._bytes_before + (connection.received_bytes if connection else 0),
            "link_error": self.last_error,
            "link_warning": self.warning,
        }
        if isinstance(connection, UdpConnection):
            values["kernel_drops"] = connection.kernel_drops
            values["foreign_datagrams"] = connection.foreign
        return values


def _free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
