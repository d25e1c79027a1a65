"""Deliveries: how one message gets to a TCP server, a webhook or a program, whatever is wrong at the other end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import Protocol

import httpx
import trio

from .address import Action

ATTEMPT_S = 10.0
COMMAND_S = 60.0
TERM_S = 2.0
"""From asking a command to end to ending it."""
LATER_STATUS = (408, 425, 429)
MOST_ANSWER_BYTES = 64 * 1024
"""Nothing of a webhook's answer but its status is of use; a longer one is not read."""
REST_S = 1.0
MOST_TOLD_BYTES = 4096
COMMANDS_FOLDER = "commands"


class UndeliveredError(Exception):
    """A message did not arrive; `again` says whether it may later."""

    def __init__(self, text: str, again: bool = True) -> None:
        super().__init__(text)
        self.again = again


class Delivery(Protocol):
    """Delivers messages to one place."""

    async def __call__(self, body: bytes) -> None:
        """Deliver one message.

        Raises:
          UndeliveredError: it did not arrive.
        """

    async def close(self) -> None:
        """Let go of connections."""


def make_delivery(action: Action, data: Path) -> Delivery:
    """Return what delivers to an action that is neither a datagram nor a clip."""
    match action.scheme:
        case "tcp":
            return TcpDelivery(action)
        case "command":
            return CommandDelivery(action, data)
        case _:
            return WebhookDelivery(action)


async def attempt(delivery: Delivery, action: Action, body: bytes) -> UndeliveredError | None:
    """Deliver a message within the time that the action has for it; return why it did not arrive, None: it did."""
    limit_s = COMMAND_S if action.scheme == "command" else ATTEMPT_S
    try:
        with trio.fail_after(limit_s):
            await delivery(body)
    except UndeliveredError as error:
        return error
    except trio.TooSlowError:
        what = "was ended: it ran" if action.scheme == "command" else "no answer"
        return UndeliveredError(f"{what} for {limit_s:.0f} s")
    return None


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
            raise UndeliveredError(_reason(error)) from error
        except BaseException:
            await self.close()
            raise

    async def _was_closed(self) -> bool:
        """Whether the other end has closed: then a line would be taken by the kernel and be lost."""
        assert self._stream is not None
        while self._stream.socket.is_readable():
            if await self._stream.receive_some(65536) == b"":
                return True
        return False

    async def close(self) -> None:
        """Close the connection."""
        if self._stream is not None:
            await trio.aclose_forcefully(self._stream)
            self._stream = None


def _reason(error: BaseException) -> str:
    """Return why there is no connection; trio tells it of each address of a name, below an error that does not."""
    cause = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    told = [getattr(one, "strerror", None) or str(one) for one in (cause, error) if one is not None]
    return next(filter(None, told), "the connection was lost")


class WebhookDelivery:
    """Posts messages."""

    def __init__(self, action: Action) -> None:
        self._action = action
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, body: bytes) -> None:
        if self._client is None:
            # In a thread, because it reads a hundred certificates. trust_env: a proxy of the environment is for
            # people's browsers, not for the camera beside us.
            make = partial(httpx.AsyncClient, timeout=ATTEMPT_S, trust_env=False, follow_redirects=False)
            self._client = await trio.to_thread.run_sync(make)
        content_type = "application/json" if body[:1] == b"{" else "text/plain; charset=utf-8"
        headers = {"Content-Type": content_type, "User-Agent": "nims", "Accept-Encoding": "identity"}
        try:
            async with self._client.stream("POST", self._action.target, content=body, headers=headers) as answer:
                await _read_rest(answer)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise UndeliveredError(str(error) or type(error).__name__) from error
        if not answer.is_success:
            again = answer.status_code >= 500 or answer.status_code in LATER_STATUS
            where = f", which is at {answer.headers['Location']:.200}" if answer.has_redirect_location else ""
            raise UndeliveredError(f"answered {answer.status_code} {answer.reason_phrase:.100}{where}", again)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


async def _read_rest(answer: httpx.Response) -> None:
    """Read a short answer to its end, so that its connection serves again; its status has been told already."""
    length = answer.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) <= MOST_ANSWER_BYTES:
        with trio.move_on_after(REST_S), contextlib.suppress(httpx.HTTPError):
            await answer.aread()


class CommandDelivery:
    """Runs a program of the folder `commands` in the data folder, the message being its input.

    It has done when it ends; what it leaves running goes on. One that runs too long is ended with all that it started.
    """

    def __init__(self, action: Action, data: Path) -> None:
        self._path = data / COMMANDS_FOLDER / action.target

    async def __call__(self, body: bytes) -> None:
        if not os.access(self._path, os.X_OK) or not self._path.is_file():
            raise UndeliveredError(f"{self._path} is not a program that can be run", again=False)
        try:
            process = await trio.lowlevel.open_process(
                [self._path],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise UndeliveredError(f"{error.strerror or error}", again=False) from error
        told = bytearray()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_write, process, body)
                nursery.start_soon(_listen, process, told)
                await process.wait()
                # What it has left running may hold its error output open.
                nursery.cancel_scope.deadline = trio.current_time() + 0.1
        finally:
            with trio.CancelScope(shield=True):
                if process.returncode is None:
                    await _end(process)
                for stream in (process.stdin, process.stderr):
                    if stream is not None:
                        await trio.aclose_forcefully(stream)
        if process.returncode:
            last = (told.decode(errors="replace").strip().splitlines() or [""])[-1]
            plain = "".join(filter(str.isprintable, last))[-200:]
            raise UndeliveredError(f"ended with {process.returncode} {plain}".rstrip(), again=False)

    async def close(self) -> None:
        """There is nothing to let go of."""


async def _write(process: trio.Process, body: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(trio.BrokenResourceError):  # it need not read
        await process.stdin.send_all(body)
    await process.stdin.aclose()


async def _listen(process: trio.Process, told: bytearray) -> None:
    assert process.stderr is not None
    async for chunk in process.stderr:
        told += chunk
        del told[:-MOST_TOLD_BYTES]


async def _end(process: trio.Process) -> None:
    """End a process and all of its group."""
    with contextlib.suppress(ProcessLookupError):  # all of it has ended by itself
        os.killpg(process.pid, signal.SIGTERM)
        with trio.move_on_after(TERM_S):
            await process.wait()
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
