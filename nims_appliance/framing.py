"""Framing: packets out of a byte stream that may be damaged anywhere, for the stream decoders of drivers.

A driver says what its packets look like (`PacketFormat`); `StreamFramer` finds them, asks for more bytes, and after
damage searches on from the byte behind the rejected header, at any alignment, so that no intact packet is lost. What
is found depends on the bytes alone, never on how they were cut into reads. One loss remains: a header that was cut from
its packet is believed until so many bytes have come; a stream that ends before hides the smaller packets behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol

import numpy as np
from nims_ext.decode import find

from .decoder import Decoded, DecoderStatistics
from .frame import Arrival
from .settings import MountingSettings

MOST_FRAMES = 4
"""Frames of one call; more only delays the first of them."""
MOST_REJECTED = 1024
"""Candidates rejected in one call, or looked at inside one packet: bounds the time of a call in a stream made of sync
words."""
SILENCE_BYTES = 64 * 1024
"""After so many bytes without a packet the stream is said to be none of this format."""


class Rejected(Exception):  # noqa: N818 - control flow between a format and its framer, not an error of anybody's
    """What starts here is no good packet: `reason` is a short fixed phrase, `detail` what was expected and came."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class PacketHead(Protocol):
    """What a driver knows about the headers of its packets."""

    title: str
    """For people: "Kongsberg M3"."""
    sync: bytes
    """Every packet starts with these bytes."""
    head_bytes: int
    """With so many bytes `packet_bytes` can always tell."""
    proves_end: bool
    """Whether `take` can tell that a packet is cut, by a footer or checksum; else another header inside it tells."""
    is_sure: bool
    """Whether a good header hardly occurs by chance; if not, no header is looked for inside packets."""

    def packet_bytes(self, head: memoryview, in_step: bool) -> int:
        """Return how many bytes the packet at the front of `head` has.

        If `head` is too short to tell, return how many bytes are needed at least (more than it has). `in_step` is False
        while searching: then accept only what can hardly occur by chance.

        Raises:
          Rejected: it is no packet, or larger than the limits.
        """


class PacketFormat(PacketHead, Protocol):
    """What a driver knows about its packets."""

    def take(self, packet: memoryview, arrival: Arrival, answer: Decoded) -> None:
        """Decode one whole packet: append its frame, and what is to be sent, to `answer`.

        Raises:
          Rejected: it is damaged; the search goes on inside it.
        """


class StreamFramer:
    """Finds the packets of one stream.

    Args:
      packets: the format.
      statistics: counts what is skipped and rejected.
      ahead: shown what has come of a packet whose end is still to come, and the size of that packet; may decode it.
        Returns how many bytes of the packet it needs for its next step; its size where there is nothing more to do
        before. `take` is told nothing of it, and the packet may still be rejected.
    """

    def __init__(
        self,
        packets: PacketFormat,
        statistics: DecoderStatistics,
        ahead: Callable[[memoryview, int], int] | None = None,
    ) -> None:
        self._packets = packets
        self._statistics = statistics
        self._ahead = ahead
        self.restart()

    def restart(self) -> None:
        """The stream starts anew, at any place in a packet."""
        self._position = 0  # in the stream, of the first byte that was neither taken nor skipped
        self._lost = False
        self._silence = 0  # bytes skipped since the last packet
        self._cause = ""  # what was rejected first
        # A packet that has lost its last bytes may look whole with the first bytes of the next one. So what could be
        # the head of a next one is looked at once more; these bytes were delivered and are no loss when skipped.
        self._tail = 0

    def decode(self, view: memoryview, arrival: Arrival) -> Decoded:
        """Return the packets at the front of `view`; as `StreamDecoder.decode`."""
        packets, answer, at = self._packets, Decoded(), 0
        rejected = 0
        while len(answer.frames) < MOST_FRAMES and rejected < MOST_REJECTED:
            found = find(view, packets.sync, at)
            start = found if found >= 0 else len(view) - _sync_begun(view[at:], packets.sync)
            self._skip(start - at)
            at = start
            if found < 0:
                answer.need = len(view) - at + 1
                break
            packet = None
            try:
                size = packets.packet_bytes(view[at:], not self._lost and not self._tail)
                if size > len(view) - at:
                    answer.need = size
                    if self._ahead and len(view) - at >= packets.head_bytes:
                        answer.need, answer.ahead = self._ahead(view[at:], size), size
                    break
                packet = view[at : at + size]
                if packets.is_sure and not packets.proves_end:
                    self._refuse_cut(packet)
                packets.take(packet, arrival, answer)
            except Rejected as problem:
                rejected += 1
                # While searching, most candidates are no headers at all; only whole packets are worth a word.
                if not self._tail and not (self._lost and packet is None):
                    detail = f"{problem.detail} (at byte {self._position} of the stream)"
                    self._statistics.reject(problem.reason, detail)
                    self._cause = self._cause or f"; the search began with: {detail}"
                self._skip(1)
                at += 1
                continue
            self._lost, self._silence, self._cause = False, 0, ""
            self._tail = min(packets.head_bytes, size) - 1 if packets.is_sure else 0
            at += size - self._tail
            self._position += size - self._tail
        answer.consumed = at
        self._statistics.frames += len(answer.frames)
        return answer

    def _refuse_cut(self, packet: memoryview) -> None:
        packets, at = self._packets, 0
        last = len(packet) - packets.head_bytes
        for _ in range(MOST_REJECTED):
            at = find(packet, packets.sync, at + 1)
            if not 0 <= at <= last:
                return
            try:
                packets.packet_bytes(packet[at:], False)
            except Rejected:
                continue
            raise Rejected("packet cut short", f"{packets.title} packet cut short: another one begins in its byte {at}")

    def _skip(self, count: int) -> None:
        self._position += count
        delivered = min(count, self._tail)
        self._tail -= delivered
        count -= delivered
        if not count:
            return
        statistics = self._statistics
        statistics.skipped_bytes += count
        if not self._lost:
            self._lost = True
            statistics.resyncs += 1
        if self._silence < SILENCE_BYTES <= self._silence + count:
            statistics.reject(
                "no packet found",
                f"no {self._packets.title} packet in {SILENCE_BYTES} bytes up to byte {self._position} of the stream: "
                f"is the profile the right one for this sonar?{self._cause}",
            )
        self._silence += count


def _sync_begun(view: memoryview, sync: bytes) -> int:
    """Return how many bytes at the end of `view` may be the beginning of a sync word."""
    for count in range(min(len(view), len(sync) - 1), 0, -1):
        if view[-count:] == sync[:count]:
            return count
    return 0


def recognise(packets: PacketHead, head: bytes) -> bool:
    """Return whether a packet begins somewhere in `head`."""
    at, view = -1, memoryview(head)
    for _ in range(MOST_REJECTED):
        at = find(view, packets.sync, at + 1)
        if not 0 <= at <= len(head) - packets.head_bytes:
            return False
        try:
            packets.packet_bytes(view[at:], False)
        except Rejected:
            continue
        return True
    return False


class Axis:
    """The last range or bearing axis: sonars repeat theirs at every ping, and frames can share one array."""

    def __init__(self) -> None:
        self._key: Hashable = None
        self._values = np.empty(0)

    def get(self, key: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the axis for what it is made from; float64 and read-only, for all the frames that share it."""
        if key != self._key:
            values = np.ascontiguousarray(make(), dtype=np.float64)
            values.flags.writeable = False
            self._key, self._values = key, values
        return self._values


def is_mirrored(mounting: MountingSettings) -> bool:
    """Return whether the bearings of the sonar must change their sign."""
    return (mounting.bearing_sign < 0) != mounting.inverted
