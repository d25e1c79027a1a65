"""Browsers that watch, as cheap as they can be: ``python -m bench.viewers PORT COUNT``.

One process follows `COUNT` live sockets, acknowledges each picture as the live page does, and prints a line of JSON
with what it got whenever it reads a line from standard input. It looks at no byte of an image: what is measured is the
appliance and not the viewers.
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


class Viewer:
    """One socket: takes frames apart and acknowledges pictures."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
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
        self.messages = 0
        self.first_picture_s = 0.0

    def read(self) -> bool:
        """Take what has come; return whether the socket is still open."""
        data = self.socket.recv(1 << 20)
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
                if not self.pictures:
                    self.first_picture_s = time.monotonic()
                self.pictures += 1
                (length,) = struct.unpack_from("<I", payload)
                header = json.loads(bytes(payload[4 : 4 + length]))
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
    port, count = int(sys.argv[1]), int(sys.argv[2])
    viewers = [Viewer(port) for _ in range(count)]
    selector = selectors.DefaultSelector()
    for viewer in viewers:
        selector.register(viewer.socket, selectors.EVENT_READ, viewer)
    selector.register(sys.stdin, selectors.EVENT_READ, None)
    print("ready", flush=True)
    lost = 0
    while True:
        for key, _ in selector.select():
            if key.data is None:
                if not sys.stdin.readline():
                    return
                state = {
                    "viewers": count - lost,
                    "pictures": sum(viewer.pictures for viewer in viewers),
                    "first_picture_s": min((v.first_picture_s for v in viewers if v.pictures), default=0.0),
                }
                print(json.dumps(state), flush=True)
            elif not key.data.read():
                selector.unregister(key.data.socket)
                lost += 1


if __name__ == "__main__":
    main()
