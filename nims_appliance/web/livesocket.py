"""`/livesocket`: the live page's socket. Pictures as binary messages, everything else as JSON text.

docs/live-socket.md is the protocol. A viewer acknowledges each fan picture that it has drawn; at most `WINDOW` are on
their way, so what it draws is never older than its link makes it, and a slow viewer sees fewer pictures instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import trio
from quart import websocket
from quart_trio import QuartTrio

from ..bus import LATEST, all_within
from .sockets import follow_sonars, serve_socket
from .state import STATE_INTERVAL_S, WebState, from_json, to_json
from .transport import text_message

if TYPE_CHECKING:
    from ..context import Context, Sonar
    from ..pipeline.display import Picture

PROTOCOL = 1
WINDOW = 2
"""Pictures of one sonar that may be on their way to a viewer; 2 hide one round trip."""
COLUMNS_WAITING = 256
"""Echogram columns that may wait for a viewer; they are small and each is wanted."""


class _Seen(msgspec.Struct):
    type: str
    sonar: str = ""
    frame: int = 0


class _Viewer:
    """One open page: what is on its way to it."""

    def __init__(self, context: Context, state: WebState) -> None:
        self._context = context
        self._state = state
        self._on_the_way: dict[str, list[int]] = {}
        self._seen = trio.Event()

    async def take(self, text: str) -> None:
        try:
            message = from_json(text, _Seen)
        except ValueError:
            return  # a message of a later protocol, or nonsense: neither concerns this viewer's pictures
        if message.type == "seen":
            waiting = self._on_the_way.get(message.sonar, [])
            waiting[:] = [frame for frame in waiting if frame > message.frame]
            self._seen.set()
            self._seen = trio.Event()

    async def send_state(self) -> None:
        while True:
            await websocket.send(self._state.state_message())
            await trio.sleep(STATE_INTERVAL_S)

    async def send_tracks(self) -> None:
        with self._context.results.subscribe("viewer", all_within(64)) as results:
            for result in list(self._state.last_results.values()):
                await websocket.send(self._state.tracks_message(result))
            async for result in results:
                await websocket.send(self._state.tracks_message(result))

    async def send_changes(self) -> None:
        with self._context.config.changes.subscribe("viewer", all_within(64)) as changes:
            async for change in changes:
                event = {"type": "config", "changes": sorted(change.changes), "author": change.author}
                await websocket.send(text_message(to_json(event)))

    async def send_pictures(self) -> None:
        await follow_sonars(self._context, lambda name: True, self._send_pictures_of)

    async def _send_pictures_of(self, sonar: Sonar) -> None:
        with sonar.pictures.subscribe("viewer", LATEST) as pictures:
            try:
                newest = sonar.last_picture or await pictures.receive()
            except trio.EndOfChannel:
                return
        await self._send_picture(newest)
        if newest.kind == "fan":
            await self._send_fans(sonar)
        else:
            with sonar.pictures.subscribe("viewer", all_within(COLUMNS_WAITING)) as pictures:
                async for picture in pictures:
                    await self._send_picture(picture)

    async def _send_fans(self, sonar: Sonar) -> None:
        waiting = self._on_the_way.setdefault(sonar.name, [])
        waiting.clear()
        with sonar.pictures.subscribe("viewer", LATEST) as pictures:
            while True:
                while len(waiting) >= WINDOW:
                    await self._seen.wait()
                try:
                    picture = await pictures.receive()
                except trio.EndOfChannel:
                    return
                waiting.append(picture.frame_number)
                await self._send_picture(picture)

    async def _send_picture(self, picture: Picture) -> None:
        await websocket.send(self._state.picture_message(picture))


def register(app: QuartTrio, context: Context, state: WebState, version: str) -> None:
    """Add the socket to the application."""

    @app.websocket("/livesocket")
    async def live() -> None:
        viewer = _Viewer(context, state)

        async def send_hello_then_state() -> None:
            hello = {"type": "hello", "protocol": PROTOCOL, "version": version, "window": WINDOW}
            await websocket.send(text_message(to_json(hello)))
            await viewer.send_state()

        state.viewers += 1
        try:
            senders = [send_hello_then_state, viewer.send_tracks, viewer.send_changes, viewer.send_pictures]
            await serve_socket(context, senders, viewer.take)
        finally:
            state.viewers -= 1
