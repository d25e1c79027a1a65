"""Browsers that watch, as cheap as they can be: ``python -m bench.viewers PORT COUNT [STALLED [SLOW]]``.

One process follows `COUNT` live sockets, acknowledges each picture as the live page does, and prints a line of JSON
with what it got since the last one whenever it reads a line from standard input. It looks at no byte of an image: what
is measured is the appliance and not the viewers. Stalled viewers read nothing at all, slow ones `SLOW_BYTES_S`; neither
is counted.
"""

from __future__ import annotations

import json
import selectors
import socket
import struct
import sys
import time

HANDSHAKE = (
    "GET /livesocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
BINARY, CLOSE, PING = 2, 8, 9
SLOW_BYTES_S = 60_000
SLOW_READ_BYTES = 3000


class Viewer:
    """One socket: takes frames apart and acknowledges pictures."""

    def __init__(self, port: int, receive_buffer_bytes: int = 0) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(10)
        if receive_buffer_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(HANDSHAKE.format(port=port).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            data = self.socket.recv(4096)
            if not data:
                raise ConnectionError("the server closed the socket during the handshake")
            head += data
        status, _, rest = head.partition(b"\r\n\r\n")
        if b" 101 " not in status.split(b"\r\n")[0]:
            raise ConnectionError(f"no WebSocket: {status[:200]!r}")
        self._pending = bytearray(rest)
        self.pictures = 0
        self.picture_bytes = 0
        self.messages = 0
        self.first_picture_s = 0.0
        self.arrivals: list[tuple[int, float]] = []
        """Ping number of each picture, and when the last byte of it had been read."""
        self.reductions: set[int] = set()

    def read(self, most_bytes: int = 1 << 20) -> bool:
        """Take what has come; return whether the socket is still open."""
        data = self.socket.recv(most_bytes)
        if not data:
            return False
        self._pending += data
        while (frame := self._next_frame()) is not None:
            kind, payload = frame
            if kind == CLOSE:
                return False
            if kind == PING:
                self._send(10, bytes(payload))
            self.messages += 1
            if kind == BINARY:
                now_s = time.monotonic()
                if not self.pictures:
                    self.first_picture_s = now_s
                self.pictures += 1
                self.picture_bytes += len(payload)
                (length,) = struct.unpack_from("<I", payload)
                header = json.loads(bytes(payload[4 : 4 + length]))
                self.arrivals.append((header["ping"], now_s))
                self.reductions.add(header["reduction"])
                seen = {"type": "seen", "sonar": header["sonar"], "frame": header["frame"]}
                self._send(1, json.dumps(seen).encode())
        return True

    def _next_frame(self) -> tuple[int, bytearray] | None:
        pending = self._pending
        if len(pending) < 2:
            return None
        length, start = pending[1] & 0x7F, 2
        if length > 125:
            start += 2 if length == 126 else 8
            if len(pending) < start:
                return None
            length = int.from_bytes(pending[2:start], "big")
        if len(pending) < start + length:
            return None
        frame = pending[0] & 0x0F, pending[start : start + length]
        del pending[: start + length]
        return frame

    def _send(self, kind: int, payload: bytes) -> None:
        # The mask may be anything, also zero; these messages are short.
        self.socket.sendall(bytes((0x80 | kind, 0x80 | len(payload), 0, 0, 0, 0)) + payload)


def main() -> None:
    """Watch until standard input ends."""
    port, count, stalled, slow = (int(text) for text in [*sys.argv[1:], "0", "0"][:4])
    viewers = [Viewer(port) for _ in range(count)]
    stalled_viewers = [Viewer(port, 4096) for _ in range(stalled)]
    slow_viewers = [Viewer(port, 16384) for _ in range(slow)]
    selector = selectors.DefaultSelector()
    for viewer in viewers:
        selector.register(viewer.socket, selectors.EVENT_READ, viewer)
    selector.register(sys.stdin, selectors.EVENT_READ, None)
    for viewer in slow_viewers:
        viewer.socket.settimeout(0.001)
    print("ready", flush=True)
    lost = 0
    slow_read_s = time.monotonic()
    while True:
        for key, _ in selector.select(SLOW_READ_BYTES / SLOW_BYTES_S if slow_viewers else None):
            if key.data is None:
                if not sys.stdin.readline():
                    return
                print(json.dumps(_state(viewers, count - lost, slow_viewers)), flush=True)
            elif not key.data.read():
                selector.unregister(key.data.socket)
                lost += 1
        if slow_viewers and time.monotonic() >= slow_read_s:
            slow_read_s = time.monotonic() + SLOW_READ_BYTES / SLOW_BYTES_S
            slow_viewers = [viewer for viewer in slow_viewers if _read_a_little(viewer)]
        assert len(stalled_viewers) == stalled  # they stay open, and unread


def _read_a_little(viewer: Viewer) -> bool:
    try:
        return viewer.read(SLOW_READ_BYTES)
    except TimeoutError:
        return True


def _state(viewers: list[Viewer], open_viewers: int, slow_viewers: list[Viewer]) -> dict[str, object]:
    arrivals = [arrival for viewer in viewers for arrival in viewer.arrivals]
    for viewer in viewers:
        viewer.arrivals.clear()
    return {
        "viewers": open_viewers,
        "pictures": sum(viewer.pictures for viewer in viewers),
        "picture_bytes": sum(viewer.picture_bytes for viewer in viewers),
        "first_picture_s": min((v.first_picture_s for v in viewers if v.pictures), default=0.0),
        "arrivals": arrivals,
        "slow_pictures": sum(viewer.pictures for viewer in slow_viewers),
        "slow_reductions": sorted(set().union(*(viewer.reductions for viewer in slow_viewers))),
    }


if __name__ == "__main__":
    main()
