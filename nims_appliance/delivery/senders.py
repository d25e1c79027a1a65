"""Senders: one for each place where messages go, so that one that is slow or gone holds up no other."""

from __future__ import annotations

import ipaddress
import logging
import socket
import sqlite3
from collections import deque
from dataclasses import dataclass

import trio

from .address import Action, without_login
from .deliveries import Delivery, UndeliveredError, attempt
from .outbox import Outbox

log = logging.getLogger(__name__)

MOST_WAITING = 1000
"""Messages in memory for one action; more are lost, and counted. What is kept on disk leaves the memory."""
FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 60.0
AT_ONCE = 20
"""Messages read from the disk, and removed when all have been delivered."""
KEEP_S = 0.5
"""A message that has not arrived after so long is on disk: a power cut costs no more."""


class UdpSender:
    """Sends datagrams without waiting for anything."""

    def __init__(self, action: Action) -> None:
        self.sent = self.failed = 0
        self.last_error = ""
        self.known = trio.Event()
        """Its address has been looked up, or is none."""
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
        self.known.set()

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
        self.last_error = ""
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
            self.known.set()
            return
        family, _, _, _, address = found[0]
        if address != self._address:
            self._open(family, address)

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


@dataclass(slots=True, eq=False)
class _Message:
    body: bytes
    number: int = 0
    """In the outbox; 0: it is in memory only."""


class QueuedSender:
    """Delivers messages one after the other; what does not arrive waits on disk, where the action asks for that.

    A message leaves the disk when it has arrived, or never will: whatever ends the appliance in between, it is
    delivered at least once, and twice only if it ended just then.
    """

    def __init__(self, action: Action, deliver: Delivery, outbox: Outbox) -> None:
        self.sent = self.failed = self.lost = 0
        self.last_error = ""
        self._action = action
        self._deliver = deliver
        self._outbox = outbox
        self._queue: deque[_Message] = deque()
        self._more = trio.Event()
        self._keeping = trio.Lock()
        self._backlog = True
        """Something may wait on disk; that goes first."""
        self._done: list[int] = []
        """What has been delivered and is still on disk."""
        self._is_disk_bad = False

    @property
    def waiting(self) -> int:
        """Messages in memory."""
        return len(self._queue)

    def send(self, body: bytes) -> bool:
        """Take a message to be delivered soon; return whether there was room for it."""
        if len(self._queue) >= MOST_WAITING:
            self.lost += 1
            return False
        self._queue.append(_Message(body))
        self._more.set()
        return True

    async def run(self) -> None:
        """Deliver until cancelled; what waits in memory then is put on disk."""
        try:
            async with trio.open_nursery() as nursery:
                if self._action.is_delivered_later:
                    nursery.start_soon(self._keep_what_waits)
                await self._deliver_all()
        finally:
            with trio.move_on_after(1) as scope:
                scope.shield = True
                if self._action.is_delivered_later:
                    await self._put_on_disk()
                await self._deliver.close()

    async def _deliver_all(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            if self._action.is_delivered_later and self._backlog and not await self._work_off():
                await trio.sleep(retry_s)
                retry_s = min(2 * retry_s, LONGEST_RETRY_S)
                continue
            retry_s = FIRST_RETRY_S
            while not self._queue and not (self._backlog and self._action.is_delivered_later):
                await self._more.wait()
                self._more = trio.Event()
            if not self._queue:
                continue
            message = self._queue[0]
            error = await self._attempt(message.body)
            if error is not None and error.again and self._action.is_delivered_later:
                await self._put_on_disk()
                await trio.sleep(retry_s)
            else:
                await self._forget(message)

    async def _attempt(self, body: bytes) -> UndeliveredError | None:
        error = await attempt(self._deliver, self._action, body)
        if error is None:
            if self.last_error:
                log.info("trigger %s: delivered again", without_login(self._action))
            self.last_error = ""
            self.sent += 1
            return None
        self.failed += 1
        text = f"{without_login(self._action)}: {error}"
        if text != self.last_error:
            again = error.again and self._action.is_delivered_later
            log.warning("trigger %s%s", text, "; trying again" if again else "; given up")
        self.last_error = text
        return error

    async def _work_off(self) -> bool:
        """Deliver what waits on disk; return whether nothing is left there, or the disk cannot be read."""
        self._backlog = False  # what is put there from now on may not be seen below
        try:
            while messages := await trio.to_thread.run_sync(self._outbox.first, str(self._action), AT_ONCE):
                for number, body in messages:
                    if number in self._done:
                        continue
                    error = await self._attempt(body)
                    if error is not None and error.again:
                        self._backlog = True
                        return False
                    self._done.append(number)
                if not await self._remove_done():
                    break
        except (OSError, sqlite3.Error) as error:
            self._told_by_disk(error)
        finally:
            with trio.CancelScope(shield=True):
                await self._remove_done()
        return True

    async def _remove_done(self) -> bool:
        try:
            if self._done:
                await trio.to_thread.run_sync(self._outbox.remove, list(self._done))
                self._done.clear()
        except (OSError, sqlite3.Error) as error:
            self._told_by_disk(error)
            return False
        return True

    async def _forget(self, message: _Message) -> None:
        """Forget a message that has arrived or never will, wherever it is by now."""
        if not self._keeping.locked() and not message.number:
            self._queue.remove(message)
            return
        async with self._keeping:
            if message.number:
                self._done.append(message.number)
                await self._remove_done()
            else:
                self._queue.remove(message)

    async def _keep_what_waits(self) -> None:
        """Put on disk what could not be delivered at once, also while it is being tried."""
        while True:
            before = self._queue[-1] if self._queue else None
            await trio.sleep(KEEP_S)
            if before is not None and before in self._queue:
                await self._put_on_disk()
            if self._is_disk_bad:
                self._is_disk_bad, self._backlog = False, True
                self._more.set()

    def _told_by_disk(self, error: Exception) -> None:
        """The disk cannot be used: what is in memory is delivered all the same, and it is tried again."""
        self._is_disk_bad = True
        self.last_error = f"outbox: {error}"

    async def _put_on_disk(self) -> None:
        async with self._keeping:
            messages = list(self._queue)
            if not messages:
                return
            bodies = [message.body for message in messages]
            try:
                numbers = await trio.to_thread.run_sync(self._outbox.add, str(self._action), bodies)
            except (OSError, sqlite3.Error) as error:
                self._told_by_disk(error)
                return
            for message, number in zip(messages, numbers, strict=True):
                message.number = number
                self._queue.popleft()
            self._backlog = True
            self._more.set()
