"""Senders: one for each place where messages go, so that one that is slow or gone holds up no other."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import sqlite3
import subprocess
from collections import deque
from pathlib import Path
from typing import Protocol

import httpx
import trio

from .address import Action, without_login
from .outbox import Outbox

log = logging.getLogger(__name__)

MOST_WAITING = 1000
"""Messages in memory for one action; more are lost, and counted."""
FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 60.0
ATTEMPT_S = 10.0
COMMAND_S = 60.0
LATER_STATUS = (408, 425, 429)
COMMANDS_FOLDER = "commands"


class UndeliveredError(Exception):
    """A message did not arrive; `again` says whether it may later."""

    def __init__(self, text: str, again: bool = True) -> None:
        super().__init__(text)
        self.again = again


class UdpSender:
    """Sends datagrams without waiting for anything."""

    def __init__(self, action: Action) -> None:
        self.sent = self.failed = 0
        self.last_error = ""
        self._action = action
        self._address: tuple | None = None
        self._socket: socket.socket | None = None
        try:
            family = socket.AF_INET6 if ipaddress.ip_address(action.host).version == 6 else socket.AF_INET
            self._open(family, (action.host, action.port))
        except ValueError:
            pass  # a name: looked up by `run`

    def _open(self, family: int, address: tuple) -> None:
        self.close()
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self._address = address

    def send(self, body: bytes) -> bool:
        """Send at once; return whether the datagram left this computer."""
        if self._socket is None or self._address is None:
            self.failed += 1
            self.last_error = self.last_error or f"the address of {self._action.host!r} is not known yet"
            return False
        try:
            self._socket.sendto(body, self._address)
        except OSError as error:
            self.failed += 1
            self.last_error = f"{without_login(self._action)}: {error.strerror or error}"
            return False
        self.sent += 1
        return True

    async def run(self) -> None:
        """Look the name up, now and then again: its address may change. The socket is closed at the end."""
        try:
            while True:
                await self._look_up()
                await trio.sleep(60.0 if self._address else 5.0)
        finally:
            self.close()

    async def _look_up(self) -> None:
        try:
            found = await trio.socket.getaddrinfo(self._action.host, self._action.port, type=socket.SOCK_DGRAM)
        except OSError as error:
            self.last_error = f"cannot find {self._action.host!r}: {error.strerror or error}"
            return
        family, _, _, _, address = found[0]
        if address != self._address:
            self._open(family, address)

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Delivery(Protocol):
    """Delivers messages to one place."""

    async def __call__(self, body: bytes) -> None:
        """Deliver one message.

        Raises:
          UndeliveredError: it did not arrive.
        """

    async def close(self) -> None:
        """Let go of connections."""


class QueuedSender:
    """Delivers messages one after the other; what does not arrive waits on disk, where the action asks for that."""

    def __init__(self, action: Action, deliver: Delivery, outbox: Outbox) -> None:
        self.sent = self.failed = self.lost = 0
        self.last_error = ""
        self._action = action
        self._deliver = deliver
        self._outbox = outbox
        self._queue: deque[bytes] = deque()
        self._more = trio.Event()
        self._backlog = True
        """Something may wait on disk; that goes first."""

    @property
    def waiting(self) -> int:
        """Messages in memory."""
        return len(self._queue)

    def send(self, body: bytes) -> bool:
        """Take a message to be delivered soon; return whether there was room for it."""
        if len(self._queue) >= MOST_WAITING:
            self.lost += 1
            return False
        self._queue.append(body)
        self._more.set()
        return True

    async def run(self) -> None:
        """Deliver until cancelled; what waits in memory then is put on disk."""
        retry_s = FIRST_RETRY_S
        try:
            while True:
                if self._action.is_delivered_later and self._backlog and not await self._work_off():
                    await self._put_on_disk()
                    await trio.sleep(retry_s)
                    retry_s = min(2 * retry_s, LONGEST_RETRY_S)
                    continue
                retry_s = FIRST_RETRY_S
                while not self._queue:
                    await self._more.wait()
                    self._more = trio.Event()
                body = self._queue[0]
                error = await self._attempt(body)
                if error is None or not error.again or not self._action.is_delivered_later:
                    self._queue.popleft()
                else:
                    await self._put_on_disk()
                    await trio.sleep(retry_s)
        finally:
            with trio.move_on_after(1) as scope:
                scope.shield = True
                if self._action.is_delivered_later:
                    await self._put_on_disk()
                await self._deliver.close()

    async def _attempt(self, body: bytes) -> UndeliveredError | None:
        try:
            with trio.fail_after(COMMAND_S if self._action.scheme == "command" else ATTEMPT_S):
                await self._deliver(body)
        except (UndeliveredError, trio.TooSlowError) as error:
            failure = error if isinstance(error, UndeliveredError) else UndeliveredError("no answer in time")
            self.failed += 1
            text = f"{without_login(self._action)}: {failure}"
            if text != self.last_error:
                log.warning("trigger %s%s", text, "; trying again" if failure.again else "; given up")
            self.last_error = text
            return failure
        if self.last_error:
            log.info("trigger %s: delivered again", self._action)
        self.last_error = ""
        self.sent += 1
        return None

    async def _work_off(self) -> bool:
        """Deliver what waits on disk; return whether nothing is left there."""
        try:
            while messages := await trio.to_thread.run_sync(self._outbox.first, str(self._action)):
                for number, body in messages:
                    error = await self._attempt(body)
                    if error is not None and error.again:
                        return False
                    await trio.to_thread.run_sync(self._outbox.remove, [number])
        except (OSError, sqlite3.Error) as error:
            self.last_error = f"outbox: {error}"
            return True  # what is in memory can still be delivered
        self._backlog = False
        return True

    async def _put_on_disk(self) -> None:
        bodies = list(self._queue)
        if not bodies:
            return
        try:
            await trio.to_thread.run_sync(self._outbox.add, str(self._action), bodies)
        except (OSError, sqlite3.Error) as error:
            self.last_error = f"outbox: {error}"
            return
        self._backlog = True
        for _ in bodies:
            self._queue.popleft()


class TcpDelivery:
    """Writes lines to a TCP server, over one connection."""

    def __init__(self, action: Action) -> None:
        self._action = action
        self._stream: trio.SocketStream | None = None

    async def __call__(self, body: bytes) -> None:
        try:
            if self._stream is not None and await self._was_closed():
                await self.close()
            if self._stream is None:
                self._stream = await trio.open_tcp_stream(self._action.host, self._action.port)
            await self._stream.send_all(body + b"\n")
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            await self.close()
            raise UndeliveredError(
                getattr(error, "strerror", None) or str(error) or "the connection was lost"
            ) from error
        except BaseException:
            await self.close()
            raise

    async def _was_closed(self) -> bool:
        """Whether the other end has closed: then a line would be taken by the kernel and be lost."""
        assert self._stream is not None
        return self._stream.socket.is_readable() and await self._stream.receive_some(1024) == b""

    async def close(self) -> None:
        """Close the connection."""
        if self._stream is not None:
            await trio.aclose_forcefully(self._stream)
            self._stream = None


class WebhookDelivery:
    """Posts messages."""

    def __init__(self, action: Action) -> None:
        self._action = action
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, body: bytes) -> None:
        if self._client is None:
            # trust_env: a proxy of the environment is for people's browsers, not for the camera beside us
            self._client = httpx.AsyncClient(timeout=ATTEMPT_S, trust_env=False, follow_redirects=False)
        content_type = "application/json" if body[:1] == b"{" else "text/plain; charset=utf-8"
        try:
            answer = await self._client.post(
                self._action.target, content=body, headers={"Content-Type": content_type, "User-Agent": "nims"}
            )
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise UndeliveredError(str(error) or type(error).__name__) from error
        if not answer.is_success:
            again = answer.status_code >= 500 or answer.status_code in LATER_STATUS
            raise UndeliveredError(f"answered {answer.status_code} {answer.reason_phrase}", again)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


class CommandDelivery:
    """Runs a program of the folder `commands` in the data folder, the message being its input."""

    def __init__(self, action: Action, data: Path) -> None:
        self._path = data / COMMANDS_FOLDER / action.target

    async def __call__(self, body: bytes) -> None:
        if not os.access(self._path, os.X_OK) or not self._path.is_file():
            raise UndeliveredError(f"{self._path} is not a program that can be run", again=False)
        try:
            done = await trio.run_process(
                [self._path], stdin=body, capture_stderr=True, stdout=subprocess.DEVNULL, check=False
            )
        except OSError as error:
            raise UndeliveredError(f"{error.strerror or error}", again=False) from error
        if done.returncode:
            told = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [""]
            raise UndeliveredError(f"ended with {done.returncode} {told[0][:200]}".rstrip(), again=False)

    async def close(self) -> None:
        """There is nothing to let go of."""
