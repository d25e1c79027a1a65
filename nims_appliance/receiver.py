"""Receiver: one sonar's way from bytes to published frames."""

from __future__ import annotations

import logging
import operator
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import trio

from .context import Sonar
from .decoder import DatagramDecoder, Decoded, DecoderStatistics, Driver, StreamDecoder
from .errors import ConfigError, PluginError
from .frame import Arrival, Frame, Pose
from .health import Part
from .links import DatagramConnection, Link, StreamConnection
from .links.connection import SLACK_BYTES, now
from .links.link import SILENCE_S
from .plugin_host.host import PluginHost, make_decoder_context

log = logging.getLogger(__name__)

INLINE_BYTES = 512 * 1024
"""Fewer bytes are decoded on the event loop, in 0.3 ms: a hop to a worker thread would cost more."""
PIECE_BYTES = 256 * 1024
"""Of a packet that is decoded while it comes no more is received at once: it is still in the processor's cache then."""
HEAD_BYTES = 64 * 1024
"""So many bytes without one good packet, or so many seconds of them, and we ask whose they are."""
HEAD_S = 5.0
NO_PING = "no ping for"
RATE_WINDOW_S = 10.0

Decoder = StreamDecoder | DatagramDecoder


class Receiver:
    """Decodes what a link brings, and publishes it.

    Args:
      sonar: whose frames bus is fed.
      link: where the bytes come from.
      driver: makes the decoder; made again when it raises.
      plugins: asked whose bytes they are when they are not the driver's.
      part: told how it stands.
      pose: where the sonar was at a ping, as far as anybody knows.
      backlog: how many frames wait for the analysis; recordings are held back by it, live sonars never.
    """

    def __init__(
        self,
        sonar: Sonar,
        link: Link,
        driver: Driver,
        plugins: PluginHost,
        part: Part,
        *,
        pose: Callable[[Frame, Arrival], Pose | None] = lambda frame, arrival: frame.pose,
        backlog: Callable[[], int] = lambda: 0,
        most_backlog: int = 8,
    ) -> None:
        self._sonar = sonar
        self._link = link
        self._driver = driver
        self._plugins = plugins
        self._part = part
        self._pose = pose
        self._backlog = backlog
        self._most_backlog = most_backlog
        self._playback = link.playback
        self._decoder: Decoder | None = None
        self._past = DecoderStatistics()
        self._head = bytearray()
        self._head_since_s = 0.0
        self._good = False
        self._seen_bytes = 0
        """So many bytes at the front of the buffer are of an unfinished packet, and decoded already."""
        self._stranger = ""
        """What was found out about bytes that are not the driver's."""
        self._skipped_before = 0
        self._arrivals_s: deque[float] = deque(maxlen=256)
        self._last_time_s = float("nan")
        self._last_channel = ""
        link.taps.append(self._collect)
        self.pings = 0
        self.bad_frames: Counter[str] = Counter()
        self.decoder_crashes = 0

    async def run(self) -> None:
        """Receive until cancelled, or until a recording has ended.

        Raises:
          ConfigError: the driver cannot decode what this kind of link brings, or its settings are wrong.
        """
        self._decoder = self._make_decoder()
        await self._link.run(self._datagrams if self._link.is_datagram else self._stream)
        if not self._good:
            why = self._stranger or self._totals().last_error
            self._part.set("waiting", f"{self._part.detail}, and no ping is in it{f': {why}' if why else ''}")

    def _make_decoder(self) -> Decoder:
        datagram = self._link.is_datagram
        make = self._driver.datagram if datagram else self._driver.stream
        if make is None:
            have, want = ("datagrams", "a tcp:// or file://") if datagram else ("a byte stream", "a udp://")
            raise ConfigError(
                f"sonars.{self._sonar.name}.link: {self._link.settings} brings {have}, "
                f"but {self._driver.title} needs {want} link"
            )
        context = make_decoder_context(
            self._sonar.profile,
            self._sonar.settings,
            self._driver,
            live=self._link.is_live,
            timed=self._link.is_timed,
        )
        return make(context)

    async def _stream(self, connection: Any) -> None:
        assert isinstance(connection, StreamConnection)
        self._begin()
        decoder = self._decoder
        await connection.send(self._connect(decoder))
        answer, self._seen_bytes, room = Decoded(), 0, 0
        while await connection.fill(answer.need, room=min(room, len(connection.buffer) + PIECE_BYTES)):
            answer = await self._decode_stream(connection)
            if answer.ahead:
                room = answer.ahead + SLACK_BYTES  # the next packet is most likely as large
            if self._is_sent_elsewhere:
                return
        frames = self._guarded(lambda: self._decoder.finish(connection.arrival))  # type: ignore[union-attr]
        await self._publish(frames or [], connection.arrival)
        if self._head:
            self._look_for_strangers(ended=True)

    async def _decode_stream(self, connection: StreamConnection) -> Decoded:
        """Decode what is in the buffer; return the last answer, which says what the next call needs."""
        buffer = connection.buffer
        while True:
            decoded = await self._decode(buffer.view, connection.arrival)
            if decoded is None:
                # The same bytes would bring the decoder down again.
                self._seen_bytes = 0
                buffer.consume(len(buffer))
                await connection.send(self._connect(self._decoder))
                return Decoded()
            self._seen_bytes = len(buffer) - decoded.consumed if decoded.ahead else 0
            buffer.consume(decoded.consumed)
            await self._publish(decoded.frames, connection.arrival)
            await connection.send(decoded.send)
            if not decoded.consumed or len(buffer) < max(decoded.need, 1) or self._is_sent_elsewhere:
                return decoded

    async def _decode(self, view: memoryview, arrival: Arrival) -> Decoded | None:
        def decode() -> Decoded:
            return _checked(self._decoder.decode(view, arrival), len(view))  # type: ignore[union-attr]

        if len(view) - self._seen_bytes <= INLINE_BYTES:
            return self._guarded(decode)
        return await trio.to_thread.run_sync(self._guarded, decode)

    async def _datagrams(self, connection: Any) -> None:
        source: DatagramConnection = connection
        self._begin()
        await source.send(self._connect(self._decoder))
        arrival = now()
        while batch := await source.receive():
            for datagram in batch:
                arrival = datagram.arrival
                decoded = self._guarded(
                    lambda d=datagram: _checked(  # type: ignore[misc]
                        self._decoder.decode_datagram(d.data, d.sender, d.arrival)  # type: ignore[union-attr]
                    )
                )
                if decoded is None:
                    await source.send(self._connect(self._decoder))
                    continue
                await self._publish(decoded.frames, datagram.arrival)
                if self._is_sent_elsewhere:
                    return
                if decoded.send:
                    await source.send(decoded.send)
        frames = self._guarded(lambda: self._decoder.finish(arrival))  # type: ignore[union-attr]
        await self._publish(frames or [], arrival)

    @property
    def _is_sent_elsewhere(self) -> bool:
        """Whether a recording is to be played on from another moment."""
        return self._playback is not None and self._playback.is_seeking

    def _connect(self, decoder: Decoder | None) -> bytes:
        return self._guarded(lambda: decoder.on_connect()) or b""  # type: ignore[union-attr]

    def _guarded(self, call: Callable[[], Any]) -> Any:
        """Return what the decoder answers, or None when it raised and was made anew. Runs in any thread."""
        try:
            return call()
        except Exception as error:
            self.decoder_crashes += 1
            self._part.last_error = f"{self._driver.title}: {type(error).__name__}: {error}"
            if self.decoder_crashes == 1 or self.decoder_crashes % 100 == 0:
                log.exception(
                    "%s: the driver %r raised (%d times so far)",
                    self._sonar.name,
                    self._driver.name,
                    self.decoder_crashes,
                )
            self._retire_decoder()
            self._decoder = self._make_decoder()
            return None

    def _retire_decoder(self) -> None:
        if self._decoder is not None:
            old, past = self._decoder.statistics, self._past
            past.resyncs += old.resyncs
            past.skipped_bytes += old.skipped_bytes
            past.errors.update(old.errors)
            past.last_error = old.last_error or past.last_error

    async def _publish(self, frames: list[Frame], arrival: Arrival) -> None:
        for frame in frames:
            try:
                frame.check()
            except Exception as error:  # noqa: BLE001 - a vendor's frame may be anything
                text = str(error) or type(error).__name__
                if not self.bad_frames:
                    log.error("%s: the driver %r gave a bad frame: %s", self._sonar.name, self._driver.name, text)
                self.bad_frames[text.partition(":")[0]] += 1
                self._part.last_error = text
                continue
            if self._playback is not None:
                if not await self._playback.wait(frame.time_s):
                    continue
                while self._backlog() >= self._most_backlog:
                    await trio.sleep(0.001)
                arrival = now()
            self._published(frame, arrival)

    def _published(self, frame: Frame, arrival: Arrival) -> None:
        sonar = self._sonar
        number = sonar.last_frame.frame_number + 1 if sonar.last_frame else 1
        frame = frame.stamped(sonar.name, number, arrival, self._pose(frame, arrival))
        if frame.time_s != self._last_time_s or frame.channel == self._last_channel:
            # The channels of a sounder ping together: frames of one time count once.
            self.pings += 1
            self._arrivals_s.append(arrival.monotonic_s)
            self._last_time_s, self._last_channel = frame.time_s, frame.channel
        if not self._good:
            self._good = True
            self._head.clear()
            self._link.good_data()
        if self._part.state != "running":
            self._part.set("running", frame.device)
        sonar.last_frame = frame
        sonar.frames.publish(frame)

    def _begin(self) -> None:
        """A connection was made: what comes is unknown until the first ping."""
        self._good = False
        self._stranger = ""
        self._head.clear()
        self._skipped_before = self._totals().skipped_bytes

    def _collect(self, data: memoryview, sender: str, arrival: Arrival) -> None:
        """Keep the first bytes of a connection until its first ping; a tap of the link."""
        if not self._good and len(self._head) < HEAD_BYTES:
            if not self._head:
                self._head_since_s = trio.current_time()
            self._head += data[: HEAD_BYTES - len(self._head)]

    def look(self) -> None:
        """Say so when bytes come but no pings; call it every second or so."""
        if self._good:
            self._look_for_pings()
        elif self._head:
            self._look_for_strangers()

    def _look_for_pings(self) -> None:
        frame, part = self._sonar.last_frame, self._part
        if frame is None or not self._link.is_live:
            return
        age_s = now().monotonic_s - frame.received_monotonic_s
        # Without any bytes it is the link that says so.
        if age_s >= SILENCE_S and (part.state == "running" or part.detail.startswith(NO_PING)):
            part.set("waiting", f"{NO_PING} {age_s:.0f} s, though data come: is the sonar pinging?")

    def _look_for_strangers(self, *, ended: bool = False) -> None:
        """Find out whose bytes they are that are not the driver's; `ended`: there will be no more of them."""
        if not ended and len(self._head) < HEAD_BYTES and trio.current_time() - self._head_since_s < HEAD_S:
            return
        looks_like = self._plugins.recognise(bytes(self._head))
        skipped = self._totals().skipped_bytes - self._skipped_before
        nothing = f"no packet of {self._driver.title} in the first {len(self._head)} bytes"
        if looks_like and looks_like != self._driver.title:
            text = f"{nothing}; this looks like {looks_like}: check the profile"
        elif not looks_like and skipped >= len(self._head) / 2:
            what = "the address, the port" if self._link.is_live else "the file"
            text = f"{nothing}, nor of any other driver: check {what} and the profile"
        else:
            return
        if text != self._part.last_error:
            log.error("%s: %s", self._sonar.name, text)
        self._stranger = self._part.last_error = text
        self._part.set("waiting", text)

    def _totals(self) -> DecoderStatistics:
        current = self._decoder.statistics if self._decoder is not None else DecoderStatistics()
        past = self._past
        return DecoderStatistics(
            resyncs=past.resyncs + current.resyncs,
            skipped_bytes=past.skipped_bytes + current.skipped_bytes,
            errors=past.errors + current.errors,
            last_error=current.last_error or past.last_error,
        )

    def statistics(self) -> dict[str, Any]:
        """Return counters since the start, as JSON-able values."""
        totals = self._totals()
        frame = self._sonar.last_frame
        arrival = now()
        recent = [moment for moment in self._arrivals_s if moment > arrival.monotonic_s - RATE_WINDOW_S]
        span_s = recent[-1] - recent[0] if len(recent) > 1 else 0.0
        return {
            **self._link.statistics(),
            "pings": self.pings,
            "frames": frame.frame_number if frame else 0,
            "rate_hz": (len(recent) - 1) / span_s if span_s > 0 else 0.0,
            "age_s": arrival.monotonic_s - frame.received_monotonic_s if frame else None,
            "clock_offset_s": frame.received_utc_s - frame.time_s if frame and self._link.is_live else None,
            "device": frame.device if frame else "",
            "samples": int(frame.intensity.shape[0]) if frame else 0,
            "beams": int(frame.intensity.shape[1]) if frame else 0,
            "resyncs": totals.resyncs,
            "skipped_bytes": totals.skipped_bytes,
            "packet_errors": dict(totals.errors),
            "last_packet_error": totals.last_error,
            "bad_frames": dict(self.bad_frames),
            "decoder_crashes": self.decoder_crashes,
            **({"replay": self._playback.state()} if self._playback else {}),
        }


def _checked(answer: Any, length: int | None = None) -> Decoded:
    """Return the answer of a decoder if it keeps the contract; `length` is how many bytes of a stream it was shown.

    Raises:
      PluginError: it does not.
    """
    if not isinstance(answer, Decoded):
        raise PluginError(f"expected Decoded, got {type(answer).__name__}")
    if not isinstance(answer.frames, list):
        raise PluginError(f"frames: expected a list, got {type(answer.frames).__name__}")
    if not isinstance(answer.send, bytes):
        raise PluginError(f"send: expected bytes, got {type(answer.send).__name__}")
    if length is None:
        return answer
    for name in ("consumed", "need", "ahead"):
        try:
            operator.index(getattr(answer, name))
        except TypeError:
            raise PluginError(f"{name}: expected a whole number, got {getattr(answer, name)!r:.80}") from None
    if not 0 <= answer.consumed <= length:
        raise PluginError(f"consumed: expected 0 to {length} bytes, got {answer.consumed}")
    return answer
