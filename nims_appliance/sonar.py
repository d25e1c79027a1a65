"""One sonar's nursery: receiving, detection and tracking, echo metrics, pictures; each on its own and at its pace."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
import trio

from . import rubbish
from .analysis import Analysis, MetricsOfChannels, kind_of_note
from .bus import Bus, Subscription, all_within
from .context import Context, Sonar
from .frame import Arrival, Frame, Pose
from .health import Part, percentile_ms
from .links import Link, parse_link
from .links.connection import now
from .navigation.fixes import completed
from .pipeline.chain import Chain, make_chain
from .pipeline.columns import ColumnMaker, PingColumn, keep_column
from .pipeline.display import DisplayEncoder, Picture
from .pipeline.metrics import EchoMetrics
from .pipeline.results import PingResult
from .rate_limit import RateLimit
from .receiver import Receiver
from .recording.clips import ClipRecorder
from .recording.container import Header
from .recording.files import CLIPS_FOLDER, FOLDER, FileFormat
from .recording.recorder import Recorder
from .settings import MetricsSettings, SonarSettings

log = logging.getLogger(__name__)

QUEUED_FRAMES = 32
"""Frames that may wait for the analysis: 0.8 s at 40 Hz, 50 MB at 256 x 1500."""
TRACKS_FIRST_S = 0.05
"""So long pictures and metrics wait for the tracks of their ping: they take processor and interpreter from them."""
ROUNDS_TO_SEND = 3
"""Rounds of the scheduler in which a result becomes a message, and this is sent, before other work begins."""
KEPT_COLUMNS_S = 180.0
KEPT_COLUMNS = 2048
"""Of an echogram, for viewers that come late: 180 s of it, at most 3 MB."""
NOTE_INTERVAL_S = 60.0
"""Notes of one kind are logged no more often."""
RESTART_SETTINGS = ("profile", "link", "driver", "mounting", "enabled")
"""A change of these starts the sonar anew; the others take effect at the next ping."""


@dataclass(frozen=True, slots=True)
class Makers:
    """What makes the parts of a sonar that keep memory of its pings."""

    chain: Callable[[SonarSettings], Chain] = make_chain
    metrics: Callable[[MetricsSettings], EchoMetrics] = EchoMetrics
    display: Callable[[], DisplayEncoder] = field(default=DisplayEncoder)


MAKERS = Makers()


def new_sonar(name: str, context: Context) -> Sonar:
    """Return the sonar as the configuration describes it, with buses that nobody listens to yet."""
    settings = context.config.sonar(name)
    profile = context.config.profile(settings.profile)
    return Sonar(name, settings, profile, Bus(f"{name} frames"), Bus(f"{name} pictures"))


class SonarRunner:
    """Runs one sonar until cancelled, or until its recording has ended; made anew for each start."""

    def __init__(self, sonar: Sonar, context: Context, part: Part, makers: Makers = MAKERS) -> None:
        self._sonar = sonar
        self._context = context
        self._part = part
        self._makers = makers
        self._settings_used = sonar.settings
        self._analysis = self._make_analysis()
        self._metrics = self._make_metrics()
        self._metrics_used = _measuring(sonar.settings.metrics)
        self._latencies_s: deque[float] = deque(maxlen=1000)
        self._notes: deque[str] = deque(maxlen=5)
        self._noted_s: dict[str, float] = {}
        self._frames: tuple[Subscription[Frame], ...] = ()
        self._display_failures = 0
        self._analysed = 0.0
        """Number of the newest frame whose result is published; infinite when there will be none any more."""
        self._analysed_more = trio.Event()
        settings = sonar.settings
        link = Link(
            parse_link(settings.link),
            limit_bytes=sonar.profile.limits.packet_bytes,
            report=part.set,
            simulators=context.plugins.simulators,
        )
        self.link = link
        self._receiver = Receiver(
            sonar,
            link,
            context.plugins.driver(sonar.profile),
            context.plugins,
            part,
            pose=self._pose,
            backlog=lambda: max((frames.queued for frames in self._frames), default=0),
            most_backlog=QUEUED_FRAMES // 4,
        )
        format = self._file_format()
        self._recorder = self._make_recorder(FOLDER, "recorder", format, lambda: sonar.settings.record)
        self._clips = ClipRecorder(
            context.clips,
            format,
            wanted=lambda: sonar.settings.clips,
            settings=lambda: context.config.current.clips,
            recorder=partial(self._make_recorder, CLIPS_FOLDER, "clips", format),
        )
        link.taps += [self._recorder.take, self._clips.take]
        part.statistics = self.statistics

    def _pose(self, frame: Frame, arrival: Arrival) -> Pose | None:
        location = self._sonar.settings.location
        if location.source == "unknown" or (location.source == "navigation" and not self.link.is_live):
            return frame.pose  # the vessel is elsewhere now than when the recording was made
        most_age_s = self._context.config.current.navigation.max_age_s
        return completed(frame, self._context.navigation.pose(location, arrival.monotonic_s, most_age_s))

    def _file_format(self) -> FileFormat:
        sonar, link = self._sonar, self.link
        driver = self._context.plugins.driver(sonar.profile)
        transport = "datagram" if link.is_datagram else "stream"
        header = Header(sonar.name, sonar.profile.name, str(link.settings), transport)
        return FileFormat(header, driver.plain_suffix if transport == "stream" else "", driver.packet_start)

    def _make_recorder(self, folder: str, part: str, format: FileFormat, wanted: Callable[[], bool]) -> Recorder:
        sonar, context = self._sonar, self._context
        return Recorder(
            context.data / folder / sonar.name,
            format,
            context.health.part(f"{part} {sonar.name}"),
            wanted=wanted,
            settings=lambda: context.config.current.recording,
            connects=lambda: self.link.connects,
        )

    def _make_analysis(self) -> Analysis:
        settings = self._sonar.settings
        self._settings_used = settings
        classifiers = self._context.plugins.classifiers.values()
        return Analysis(self._sonar.name, settings, classifiers, self._makers.chain)

    def _make_metrics(self) -> MetricsOfChannels:
        settings = _measuring(self._sonar.settings.metrics)
        self._metrics_used = settings
        return MetricsOfChannels(self._sonar.name, lambda: self._makers.metrics(settings))

    async def run(self) -> None:
        """Run the sonar; tracks that are alive at the end are ended and published.

        Raises:
          NimsError: the configuration does not fit; nothing runs then.
        """
        frames = self._sonar.frames
        async with trio.open_nursery() as nursery:
            with (
                frames.subscribe("pipeline", all_within(QUEUED_FRAMES)) as pipeline,
                frames.subscribe("metrics", all_within(QUEUED_FRAMES)) as metrics,
                frames.subscribe("display", all_within(QUEUED_FRAMES)) as display,
            ):
                self._frames = (pipeline, metrics, display)
                nursery.start_soon(self._analyse, pipeline)
                nursery.start_soon(self._measure, metrics)
                nursery.start_soon(self._draw, display)
                beside = trio.CancelScope()
                nursery.start_soon(self._beside, beside)
                self._sonar.playback = self.link.playback
                try:
                    await self._receiver.run()
                finally:
                    self._sonar.playback = None
            # The subscriptions are left: the tasks end when they have worked off what waits.
            beside.cancel()

    async def _analyse(self, frames: Subscription[Frame]) -> None:
        try:
            async for frame in frames:
                if self._settings_used is not self._sonar.settings:
                    self._take_settings()
                if self._analysis.wants(frame):
                    result = await trio.to_thread.run_sync(self._analysis.process, frame)
                    if result is None:
                        self._part.last_error = self._analysis.last_error
                    else:
                        self._publish(result)
                        self._latencies_s.append(now().monotonic_s - frame.received_monotonic_s)
                        for _ in range(ROUNDS_TO_SEND):
                            await trio.lowlevel.checkpoint()
                self._mark_analysed(frame.frame_number)
                if not frames.queued:
                    await trio.to_thread.run_sync(self._settle)
        finally:
            self._mark_analysed(math.inf)
            self._publish(self._analysis.finish())

    def _settle(self) -> None:
        self._analysis.settle()
        rubbish.collect()

    def _mark_analysed(self, frame_number: float) -> None:
        self._analysed = frame_number
        self._analysed_more.set()
        self._analysed_more = trio.Event()

    async def _let_tracks_go_first(self, frame: Frame) -> None:
        with trio.move_on_after(TRACKS_FIRST_S):
            while self._analysed < frame.frame_number:
                await self._analysed_more.wait()

    def _take_settings(self) -> None:
        before, after = self._settings_used, self._sonar.settings
        self._settings_used = after
        if any(
            getattr(before, name) != getattr(after, name)
            for name in ("detector", "single_target", "tracker", "channel", "zones", "current")
        ):
            self._publish(self._analysis.finish())
            failures = self._analysis.failures
            self._analysis = self._make_analysis()
            self._analysis.failures = failures

    def _publish(self, result: PingResult | None) -> None:
        if result is None or self._context.results.closed:
            return
        if self._context.triggers is not None:
            self._context.triggers.look(result)
        for note in result.notes:
            self._notes.append(note)
            kind = kind_of_note(note)
            now_s = trio.current_time()
            if now_s >= self._noted_s.get(kind, -math.inf) + NOTE_INTERVAL_S:
                self._noted_s[kind] = now_s
                log.info("%s: ping %d: %s", self._sonar.name, result.ping_number, note)
        self._clips.look(result)
        self._context.results.publish(result)

    async def _measure(self, frames: Subscription[Frame]) -> None:
        bus = self._context.metrics
        try:
            async for frame in frames:
                if self._metrics_used != _measuring(self._sonar.settings.metrics):
                    for done in self._metrics.finish():
                        bus.publish(done)
                    self._metrics = self._make_metrics()
                await self._let_tracks_go_first(frame)
                for done in await trio.to_thread.run_sync(self._metrics.add, frame):
                    bus.publish(done)
        finally:
            if not bus.closed:
                for done in self._metrics.finish():
                    bus.publish(done)

    async def _draw(self, frames: Subscription[Frame]) -> None:
        encoder = self._makers.display()
        maker = ColumnMaker()
        limit, without_viewers = RateLimit(), RateLimit()
        pictures = self._sonar.pictures

        def draw(frame: Frame, is_fan: bool, is_wanted: bool) -> tuple[PingColumn | None, Picture | None]:
            return maker.make(frame) if is_fan else None, encoder.encode(frame) if is_wanted else None

        async for frame in frames:
            # A fan is looked at, at a pace for eyes; a column of an echogram is needed even when others follow.
            is_fan = frame.intensity.shape[1] > 1
            now_s = trio.current_time()
            if is_fan and not limit.passes(frame.channel, now_s, 1 / self._context.config.current.web.picture_rate_hz):
                continue
            is_wanted = not is_fan or bool(pictures.subscribers) or without_viewers.passes(frame.channel, now_s, 1.0)
            await self._let_tracks_go_first(frame)
            try:
                column, picture = await trio.to_thread.run_sync(draw, frame, is_fan, is_wanted)
            except Exception as error:
                self._display_failures += 1
                self._part.last_error = f"{type(error).__name__}: {error}"
                if self._display_failures == 1:
                    log.exception("%s: ping %d could not be drawn", self._sonar.name, frame.ping_number)
                continue
            if column is not None:
                keep_column(self._sonar.strongest.setdefault(frame.channel, deque()), column)
            if picture is None:
                continue
            self._sonar.last_picture = picture
            if picture.kind == "echogram":
                self._keep(picture)
            pictures.publish(picture)

    def _keep(self, picture: Picture) -> None:
        columns = self._sonar.columns
        columns.append(picture)
        while len(columns) > KEPT_COLUMNS or picture.received_utc_s - columns[0].received_utc_s > KEPT_COLUMNS_S:
            columns.popleft()

    async def _beside(self, scope: trio.CancelScope) -> None:
        """Do what goes on for as long as bytes can come."""
        with scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._recorder.run)
                nursery.start_soon(self._clips.run)
                while True:
                    await trio.sleep(1)
                    self._receiver.look()

    def statistics(self) -> dict[str, Any]:
        """Return everything that is counted, as JSON-able values."""
        dropped = {
            subscriber.name: subscriber.dropped
            for subscriber in self._sonar.frames.statistics().subscribers
            if subscriber.name in ("pipeline", "metrics", "display")
        }
        return {
            **self._receiver.statistics(),
            "dropped": dropped.get("pipeline", 0),
            "dropped_by": dropped,
            "detections": self._analysis.detections,
            "tracks": self._analysis.tracks,
            "pipeline_failures": self._analysis.failures,
            "metrics_failures": self._metrics.failures,
            "display_failures": self._display_failures,
            "latency_p50_ms": percentile_ms(self._latencies_s, 0.5),
            "latency_p99_ms": percentile_ms(self._latencies_s, 0.99),
            "notes": list(self._notes),
        }


def _measuring(settings: MetricsSettings) -> MetricsSettings:
    """Return the settings without the alarms: a bin is not cut short because its bounds have changed."""
    return msgspec.structs.replace(settings, alarms={})
