"""The moving picture of a clip: its bytes decoded again, and sent as the live socket's pictures.

Decoding goes on in a worker thread, a few hundredths of a second at a time, and rests as long as it has worked, one
player at a time: whoever looks at the past takes no more than half a core from the present. What a viewer has not
taken yet holds up the decoder.
"""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import AsyncGenerator, Generator, Iterator
from typing import TYPE_CHECKING

import trio

from ..analysis import ChannelChoice
from ..config.store import one_sonar
from ..errors import NimsError
from ..file_decoder import FileDecoder
from ..pipeline.display import DisplayEncoder, reduced
from ..plugin_host.host import make_decoder_context

if TYPE_CHECKING:
    from pathlib import Path

    from ..context import Context
    from ..recording.clips import Clip
    from ..settings import SonarSettings

log = logging.getLogger(__name__)

WORK_S = 0.03
"""So long a worker thread is taken at once."""
END = struct.pack("<I", 0)
"""After the last picture: the clip is complete."""


class ClipError(NimsError):
    """A clip that cannot be shown."""


class Players:
    """Who looks at clips; whoever begins another player ends their last one."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tickets: dict[str, object] = {}
        self._turn = trio.CapacityLimiter(1)

    async def play(
        self, clip: Clip, *, client: str, reduction: int = 1, rate_hz: float = 0.0, channel: str = ""
    ) -> AsyncGenerator[bytes, None]:
        """Return the pictures of a clip, each after its length (uint32, little-endian), then `END`.

        Args:
          client: has one player at a time.
          reduction: 1, 2 or 4: cells joined to one along each axis.
          rate_hz: most pictures a second of the recording; 0: each ping.
          channel: of a sounder: the one whose name contains this; empty: the one that is searched for tracks.

        Raises:
          ClipError: its file is gone or cannot be read, or there is no ping in it.
          NimsError: its profile is not known.
        """
        ticket = self._tickets[client] = object()
        settings = clip_settings(self._context, clip)
        found = _pictures(self._context, clip, settings, reduction, rate_hz, channel)
        try:
            first, more = await self._work(found)
            while more and not first:
                first, more = await self._work(found)
        except (OSError, NimsError) as error:
            raise ClipError(f"{clip.name}: {getattr(error, 'strerror', None) or error}") from None
        if not first:
            raise ClipError(f"{clip.name}: there is no ping in it")

        async def pieces() -> AsyncGenerator[bytes, None]:
            nonlocal first, more
            try:
                yield first
                while more and self._tickets.get(client) is ticket:
                    try:
                        piece, more = await self._work(found)
                    except (OSError, NimsError) as error:
                        log.warning("clip %s: %s", clip.name, error)
                        return  # without END
                    if piece:
                        yield piece
                if not more:
                    yield END
            finally:
                if self._tickets.get(client) is ticket:
                    del self._tickets[client]
                found.close()

        return pieces()

    async def _work(self, found: Iterator[bytes | None]) -> tuple[bytes, bool]:
        """Return the next pictures and whether there may be more."""

        def work() -> tuple[bytes, bool]:
            began_s = time.monotonic()
            pieces = bytearray()
            for piece in found:
                pieces += piece or b""
                if time.monotonic() - began_s > WORK_S:
                    return bytes(pieces), True
            return bytes(pieces), False

        async with self._turn:
            began_s = trio.current_time()
            done = await trio.to_thread.run_sync(work)
            await trio.sleep(trio.current_time() - began_s)
        return done


def clip_settings(context: Context, clip: Clip) -> SonarSettings:
    """Return the settings with which a clip is decoded: its sonar's, or its profile's where that has changed.

    Raises:
      NimsError: neither is known.
    """
    configured = context.config.current.sonars.get(clip.sonar)
    if configured is not None and clip.profile in ("", configured.profile):
        return configured
    if not clip.profile:
        raise ClipError(f"{clip.name}: nothing tells which sonar it is of")
    return one_sonar(context.plugins, clip.profile, {})


def _pictures(
    context: Context, clip: Clip, settings: SonarSettings, reduction: int, rate_hz: float, channel: str
) -> Generator[bytes | None, None, None]:
    """Yield a picture with its length for each ping; None for one that is passed over. Blocks."""
    path: Path = context.clips.path(clip)
    profile = context.config.profile(settings.profile)
    driver = context.plugins.driver(profile)
    decoder = FileDecoder(driver, make_decoder_context(profile, settings, driver), profile.limits.packet_bytes)
    choice = ChannelChoice(channel or settings.channel)
    display = DisplayEncoder()
    next_s = -1e18
    frames = decoder.frames(path)
    try:
        for number, (frame, arrival) in enumerate(frames, 1):
            try:
                frame.check()
            except Exception:  # noqa: BLE001 - a vendor's frame may be anything; live it was counted
                yield None
                continue
            # A hundredth of tolerance: pings of 10 Hz are no less than 10 Hz for the jitter of their clock.
            if not choice.wants(frame) or (rate_hz and next_s - 2.0 / rate_hz < frame.time_s < next_s - 0.01 / rate_hz):
                yield None
                continue
            next_s = frame.time_s + (1.0 / rate_hz if rate_hz else 0.0)
            payload = display.encode(frame.stamped(clip.sonar, number, arrival)).payload
            if reduction > 1:
                payload = reduced(payload, reduction)
            yield struct.pack("<I", len(payload)) + payload
    finally:
        frames.close()  # type: ignore[attr-defined]
