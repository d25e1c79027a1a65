"""What all WebSockets share: senders and a reader beside each other, and an orderly end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import trio
from quart import websocket

from .auth import SESSION_ENDED, until_not_allowed

if TYPE_CHECKING:
    from ..context import Context, Sonar

GOING_AWAY = 1001
FOLLOW_INTERVAL_S = 1.0


async def serve_socket(
    context: Context,
    senders: Sequence[Callable[[], Awaitable[None]]],
    receive: Callable[[str], Awaitable[None]],
) -> None:
    """Accept the WebSocket and run `senders` until the client leaves (cancelled) or the appliance stops (closed, 1001).

    It is closed with `auth.SESSION_ENDED` when who opened it may not see it any more.
    `receive` gets every text message; binary messages are ignored. A sender must wait for something in its loop:
    sending to a dead connection returns at once and is not a checkpoint.
    """
    await websocket.accept()

    async def read() -> None:
        while True:
            message = await websocket.receive()
            if isinstance(message, str):
                await receive(message)

    code, reason = GOING_AWAY, "the appliance stops"

    async def end(when: Callable[[], Awaitable[None]], its_code: int, its_reason: str) -> None:
        nonlocal code, reason
        await when()
        code, reason = its_code, its_reason
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for sender in senders:
            nursery.start_soon(sender)
        nursery.start_soon(read)
        nursery.start_soon(end, context.stopping.wait, code, reason)
        nursery.start_soon(end, until_not_allowed, SESSION_ENDED, "the login has ended")
    await websocket.close(code, reason)


async def follow_sonars(
    context: Context, wanted: Callable[[str], bool], serve: Callable[[Sonar], Awaitable[None]]
) -> None:
    """Run `serve` for every sonar whose name is wanted, for as long as it is there.

    Sonars come and go when the configuration changes; one that was set up anew is another object.
    """
    followed: dict[str, tuple[Sonar, trio.CancelScope]] = {}

    async def run(sonar: Sonar, scope: trio.CancelScope) -> None:
        with scope:
            await serve(sonar)

    async with trio.open_nursery() as nursery:
        while True:
            there = {name: sonar for name, sonar in context.sonars.items() if wanted(name)}
            for name, (sonar, scope) in list(followed.items()):
                if there.get(name) is not sonar:
                    scope.cancel()
                    del followed[name]
            for name, sonar in there.items():
                if name not in followed:
                    scope = trio.CancelScope()
                    followed[name] = (sonar, scope)
                    nursery.start_soon(run, sonar, scope)
            await trio.sleep(FOLLOW_INTERVAL_S)


async def ignore(message: str) -> None:
    """Take a message that means nothing here."""
