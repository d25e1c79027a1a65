"""`/livesocket`: the live page's socket. Pictures as binary messages, everything else as JSON text.

docs/live-socket.md is the protocol. A viewer acknowledges each fan picture that it has drawn; at most `WINDOW` are on
their way, so what it draws is never older than its link makes it, and a slow viewer sees fewer pictures instead, and
smaller ones (detail.py).

Every message is made once, and one task hands it to the connections of all viewers: twenty of them must not keep the
event loop from the pings.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import trio
from quart import websocket
from quart_trio import QuartTrio

from ..bus import all_within
from .auth import needs
from .detail import Detail
from .hypercorn_streams import CONNECTION, Message, binary_message, text_message
from .metrics_api import describe_bin
from .sockets import follow_sonars, ignore, serve_socket
from .state import STATE_INTERVAL_S, WebState, to_json
from .transport import Connection

if TYPE_CHECKING:
    from ..context import Context, Sonar
    from ..pipeline.display import Picture

PROTOCOL = 1
WINDOW = 3
"""Pictures of one sonar that may be on their way to a viewer; 3 hide a round trip and a late frame of its screen."""
MOST_WAITING_BYTES = 2**20
"""A viewer that has so much to take yet loses what is not a fan picture: those have their own limit."""
HISTORY_MESSAGE_BYTES = 64 * 1024
"""Columns of the past are handed over in pieces of about this size."""


class _Seen(msgspec.Struct):
    type: str
    sonar: str = ""
    frame: int = 0


@dataclass(slots=True, eq=False)
class _Feed:
    """One sonar's pictures on their way to one viewer."""

    sonar: Sonar
    newest: int
    """Frame number of the newest picture that was sent."""
    detail: Detail
    on_the_way: list[tuple[int, float]] = field(default_factory=list)
    """Frame number of each, and when it was sent."""
    missed: Picture | None = None
    """The newest fan picture, while too many are on the way."""


class _Viewer:
    """One open page."""

    def __init__(self, connection: Connection, state: WebState, *, pictures: bool = True) -> None:
        self._connection = connection
        self._state = state
        self._wants_pictures = pictures
        self._feeds: dict[str, _Feed] = {}

    def tell(self, message: Message) -> None:
        if self._connection.waiting_bytes < MOST_WAITING_BYTES:
            self._connection.send_soon(message)

    def catch_up(self, sonar: Sonar) -> None:
        """Send what shows the sonar at once: the newest fan picture, or the echogram of the last minutes."""
        if not self._wants_pictures:
            return
        past = [*sonar.columns] or ([sonar.last_picture] if sonar.last_picture else [])
        newest = past[-1].frame_number if past else -1
        self._feeds[sonar.name] = _Feed(sonar, newest, Detail(trio.current_time()))
        piece = bytearray()
        for picture in past:
            piece += binary_message(picture.payload)
            if len(piece) >= HISTORY_MESSAGE_BYTES or picture is past[-1]:
                self._connection.send_soon(bytes(piece))
                piece.clear()

    def show(self, picture: Picture, sonar: Sonar) -> None:
        feed = self._feeds.get(sonar.name)
        if feed is None or feed.sonar is not sonar or picture.frame_number <= feed.newest:
            return
        if picture.kind != "fan":
            self.tell(self._state.picture_message(picture))
        elif len(feed.on_the_way) < WINDOW:
            feed.on_the_way.append((picture.frame_number, trio.current_time()))
            self._connection.send_soon(self._state.picture_message(picture, feed.detail.reduction))
        else:
            feed.missed = picture
            return
        feed.newest = picture.frame_number

    def take(self, text: str) -> None:
        try:
            message = msgspec.json.decode(text, type=_Seen)
        except msgspec.DecodeError:
            return  # a message of a later protocol, or nonsense: neither concerns this viewer's pictures
        feed = self._feeds.get(message.sonar)
        if message.type == "seen" and feed is not None:
            while feed.on_the_way and feed.on_the_way[0][0] <= message.frame:
                _, sent_s = feed.on_the_way.pop(0)
                feed.detail.answered(sent_s, trio.current_time())
            missed, feed.missed = feed.missed, None
            if missed is not None:
                self.show(missed, feed.sonar)


class Viewers:
    """All open pages of one web server. Nothing is subscribed to while there are none."""

    def __init__(self, context: Context, state: WebState, version: str) -> None:
        self._context = context
        self._state = state
        self._version = version
        self._viewers: set[_Viewer] = set()
        self._shown: set[Sonar] = set()
        self._changed = trio.Event()

    @contextmanager
    def joined(self, viewer: _Viewer) -> Iterator[None]:
        """Greet a viewer, and let it see everything inside the ``with`` block."""
        hello = {"type": "hello", "protocol": PROTOCOL, "version": self._version, "window": WINDOW}
        viewer.tell(text_message(to_json(hello)))
        viewer.tell(self._state.state_message())
        for result in self._state.last_results.values():
            viewer.tell(self._state.tracks_message(result))
        for sonar in self._shown:
            viewer.catch_up(sonar)
        self._change(viewer, self._viewers.add)
        try:
            yield
        finally:
            self._change(viewer, self._viewers.discard)

    def _change(self, viewer: _Viewer, change: object) -> None:
        change(viewer)  # type: ignore[operator]
        self._state.viewers = len(self._viewers)
        self._changed.set()
        self._changed = trio.Event()

    async def run(self) -> None:
        """Serve the viewers; runs as long as the web server."""
        while True:
            while not self._viewers:
                await self._changed.wait()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tell_state)
                nursery.start_soon(self._tell_tracks)
                nursery.start_soon(self._tell_metrics)
                nursery.start_soon(self._tell_changes)
                nursery.start_soon(follow_sonars, self._context, lambda name: True, self._show)
                while self._viewers:
                    await self._changed.wait()
                nursery.cancel_scope.cancel()

    def _tell(self, message: Message) -> None:
        for viewer in self._viewers:
            viewer.tell(message)

    async def _tell_state(self) -> None:
        while True:
            await trio.sleep(STATE_INTERVAL_S)
            self._tell(self._state.state_message())

    async def _tell_tracks(self) -> None:
        with self._context.results.subscribe("viewers", all_within(64)) as results:
            async for result in results:
                # The track server's programs come first: it encodes in this round of the scheduler, sends in the next.
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
                self._tell(self._state.tracks_message(result))

    async def _tell_metrics(self) -> None:
        with self._context.metrics.subscribe("viewers", all_within(64)) as bins:
            async for done in bins:
                parts = [describe_bin(part) for part in (done, *done.by_layer)]
                message = {"type": "metrics", "sonar": done.sonar_id, "channel": done.channel, "bins": parts}
                self._tell(text_message(to_json(message)))

    async def _tell_changes(self) -> None:
        with self._context.config.changes.subscribe("viewers", all_within(64)) as changes:
            async for change in changes:
                event = {"type": "config", "changes": sorted(change.changes), "author": change.author}
                self._tell(text_message(to_json(event)))

    async def _show(self, sonar: Sonar) -> None:
        with sonar.pictures.subscribe("viewers", all_within(64)) as pictures:
            self._shown.add(sonar)
            try:
                for viewer in self._viewers:
                    viewer.catch_up(sonar)
                async for picture in pictures:
                    for viewer in list(self._viewers):
                        viewer.show(picture, sonar)
                        # A picture is large: pings go on between two viewers.
                        await trio.lowlevel.checkpoint()
            finally:
                self._shown.discard(sonar)


def register(app: QuartTrio, context: Context, state: WebState, viewers: Viewers) -> None:
    """Add the socket to the application."""

    @app.websocket("/livesocket")
    @needs("viewer")
    async def live() -> None:
        connection: Connection = websocket.scope["state"][CONNECTION]
        viewer = _Viewer(connection, state, pictures=websocket.args.get("pictures") != "no")
        connection.take_text = viewer.take

        async def watch() -> None:
            with viewers.joined(viewer):
                await trio.sleep_forever()

        await serve_socket(context, [watch], ignore)
