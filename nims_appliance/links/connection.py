"""Connections: bytes of one open link, received in place and stamped with the time of their arrival."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import trio

from ..errors import LinkError, PluginError
from ..frame import Arrival

FIRST_CAPACITY_BYTES = 256 * 1024
SLACK_BYTES = 64 * 1024
"""A receive may bring so much more than the decoder needs; the most that is ever moved to the front."""
SILENCE_CHECK_S = 1.0


class Tap(Protocol):
    """Sees every received byte, untouched (a recorder)."""

    def __call__(self, data: memoryview, sender: str, arrival: Arrival) -> None:
        """Called on the trio thread before the bytes are decoded; copy what is kept. `sender` is "" for streams."""


class ReceiveBuffer:
    """Bytes between the link and a stream decoder: filled at the back, consumed at the front, never beyond a limit.

    A packet that the decoder has announced is received into one piece of memory and decoded there.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._memory = memoryview(bytearray(min(FIRST_CAPACITY_BYTES, limit_bytes)))
        self._start = self._end = 0

    def __len__(self) -> int:
        return self._end - self._start

    @property
    def view(self) -> memoryview:
        """All bytes that are there; valid until the next `room`."""
        return self._memory[self._start : self._end]

    def consume(self, count: int) -> None:
        """Forget `count` bytes at the front."""
        if not 0 <= count <= len(self):
            raise PluginError(f"the decoder consumed {count} bytes of {len(self)}")
        self._start += count
        if self._start == self._end:
            self._start = self._end = 0

    def room(self, need: int, more: int) -> memoryview:
        """Return free memory behind the bytes: what is missing to `need` bytes, or `more` where that is larger.

        Raises:
          PluginError: `need` is beyond the limit.
        """
        if need > self.limit_bytes:
            raise PluginError(f"the decoder needs {need} bytes at once, the profile allows {self.limit_bytes}")
        held = len(self)
        wanted = min(max(need - held, more), self.limit_bytes - held)
        if self._end + wanted > len(self._memory):
            memory = self._memory
            if held + wanted > len(memory):
                # A fresh bytearray instead of a resize: arrays of a plugin may still refer to the old memory.
                memory = memoryview(bytearray(min(self.limit_bytes, 2 * (held + wanted))))
            memory[:held] = self.view
            self._memory, self._start, self._end = memory, 0, held
        return self._memory[self._end : self._end + wanted]

    def filled(self, count: int) -> memoryview:
        """Say that `count` bytes were received into `room`; returns them."""
        self._end += count
        return self._memory[self._end - count : self._end]


class StreamConnection:
    """One open byte stream.

    Args:
      receive_into: fills a memoryview from its start, returns how many bytes came; 0 at the end.
      send: sends bytes to the sonar; None where there is nobody to send to.
      limit_bytes: most bytes that may wait for the decoder.
      taps: shown every received byte; the list may change.
      on_silence: called every second without data with the seconds since the last byte; may raise to give up.
      live: whether a device is at the other end.
      chunk_bytes: receive so much at once when the decoder needs less.
      clock: tells when the bytes that were received last have arrived.
    """

    def __init__(
        self,
        receive_into: Callable[[memoryview], Awaitable[int]],
        *,
        limit_bytes: int,
        send: Callable[[bytes], Awaitable[None]] | None = None,
        taps: list[Tap] | None = None,
        on_silence: Callable[[float], None] | None = None,
        live: bool = True,
        chunk_bytes: int = SLACK_BYTES,
        clock: Callable[[], Arrival] = lambda: now(),
    ) -> None:
        self.buffer = ReceiveBuffer(limit_bytes + chunk_bytes)
        self.live = live
        self.received_bytes = 0
        self.arrival = now()
        """Of the last byte in the buffer."""
        self._receive_into = receive_into
        self._send = send
        self._taps = taps if taps is not None else []
        self._on_silence = on_silence
        self._chunk_bytes = chunk_bytes
        self._clock = clock

    async def fill(self, need: int, *, room: int = 0) -> bool:
        """Wait until the buffer holds `need` bytes, or at least one more than now; False at the end of the stream.

        Args:
          need: without so many bytes nothing can be decoded.
          room: of so many bytes, where that is more, all that have come are taken.

        Raises:
          LinkError: the connection was lost.
        """
        wanted = max(need, len(self.buffer) + 1)
        while len(self.buffer) < wanted:
            count = await self._receive(self.buffer.room(max(wanted, room), self._chunk_bytes))
            if count == 0:
                return False
            self.arrival = self._clock()
            self.received_bytes += count
            data = self.buffer.filled(count)
            for tap in self._taps:
                tap(data, "", self.arrival)
        return True

    async def _receive(self, room: memoryview) -> int:
        if self._on_silence is None:
            return await self._receive_into(room)
        silent_since = trio.current_time()
        while True:
            with trio.move_on_after(SILENCE_CHECK_S):
                return await self._receive_into(room)
            self._on_silence(trio.current_time() - silent_since)

    async def send(self, data: bytes) -> None:
        """Send to the sonar; forgotten where nobody listens (a file).

        Raises:
          LinkError: the sonar does not take the bytes.
        """
        if not data or self._send is None:
            return
        with trio.move_on_after(5) as scope:
            await self._send(data)
        if scope.cancelled_caught:
            raise LinkError("the sonar took no bytes for 5 s")


@dataclass(frozen=True, slots=True)
class Datagram:
    """One received datagram."""

    data: memoryview
    """Valid until the next `receive`."""
    sender: str
    """"host:port"."""
    arrival: Arrival


class DatagramConnection(Protocol):
    """One open datagram socket."""

    live: bool
    received_bytes: int

    async def receive(self) -> list[Datagram]:
        """Wait for datagrams and return those that are there, a bounded number; none at the end of a recording."""

    async def send(self, data: bytes) -> None:
        """Send to the sonar, where the link names one."""


def now() -> Arrival:
    """Return this moment on both clocks."""
    return Arrival(time.time(), time.monotonic())
