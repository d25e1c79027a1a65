"""Batch: recordings through the same decoder and chain as live, as fast as they go."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import itertools
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import msgspec
import numpy as np

from .analysis import Analysis, MetricsOfChannels, kind_of_note
from .decoder import Driver
from .errors import ConfigError, NimsError
from .file_decoder import FileDecoder
from .frame import Arrival, Frame
from .outputs.track_message import describe_result
from .outputs.track_summary import POSITION_KEYS, SUMMARY_KEYS, describe_summary
from .pipeline.classify import Classifier
from .pipeline.metrics import EchoMetrics, MetricsBin
from .pipeline.results import PingResult
from .plugin_host.host import make_decoder_context
from .profile import Profile
from .settings import SonarSettings
from .times import iso_time

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes of all files."""


@dataclass(slots=True)
class Notes:
    """What happened to the detector again and again, of one kind."""

    pings: int
    first: str
    """In its own words, with its numbers."""
    first_ping: int
    """The sonar's number of the ping."""
    first_time_s: float
    file: str
    last_ping: int


@dataclass(slots=True)
class Summary:
    """What a run over files has found."""

    files: int = 0
    bytes: int = 0
    pings: int = 0
    """Pings of the channel that was detected on."""
    frames: int = 0
    """Pings of every channel."""
    detections: int = 0
    tracks: int = 0
    """Confirmed tracks."""
    resyncs: int = 0
    skipped_bytes: int = 0
    packet_errors: Counter[str] = field(default_factory=Counter)
    bad_frames: int = 0
    failures: int = 0
    """Pings that could not be analysed."""
    notes: dict[str, Notes] = field(default_factory=dict)
    """What happened to the detector, by kind."""
    errors: list[str] = field(default_factory=list)
    """Files that could not be read to their end, or had no ping, in a sentence each."""
    seconds: float = 0.0


def process_files(
    files: Sequence[str | Path],
    sonar_settings: SonarSettings,
    profile: Profile,
    driver: Driver,
    *,
    tracks: str | Path | None = None,
    detections: str | Path | None = None,
    metrics: str | Path | None = None,
    summaries: str | Path | None = None,
    progress: Progress | None = None,
    sonar: str = "file",
    classifiers: Iterable[Classifier] = (),
    recognise: Callable[[bytes], str] = lambda head: "",
) -> Summary:
    """Detect and track in recordings, one after the other; tracks continue from one file into the next.

    Args:
      files: in order of time.
      tracks: where the track server's messages go, one JSON object a line, one line a ping; "-" is standard output.
      detections: the same for detections.
      metrics: where echo metrics go, as CSV with the units in the header: for each time bin a row of the whole column,
        `part` 0, and one of each layer.
      summaries: where the descriptions of ended tracks go: as CSV if the name ends in .csv, else one JSON object a
        line, with the path. Keys name their units.
      progress: called often.
      sonar: the name of the sonar in the outputs.
      recognise: names the driver whose data the bytes look like, for files without a ping.

    A file that cannot be read is named in `Summary.errors`, and the next is taken.

    Raises:
      ConfigError: a file is a recording of what the driver does not decode, its settings do not fit, or an output
        cannot be written.
    """
    paths = [Path(file) for file in files]
    context = make_decoder_context(profile, sonar_settings, driver)
    total = sum(path.stat().st_size for path in paths if path.is_file())
    _check_distinct(tracks, detections, metrics, summaries)
    with _writing(), contextlib.ExitStack() as stack:
        opened = [_open_output(stack, output, paths) for output in (tracks, detections, metrics, summaries)]
        outputs = _Outputs(*opened, summaries_as_csv=str(summaries).lower().endswith(".csv"))
        decoder = FileDecoder(
            driver, context, profile.limits.packet_bytes, lambda done: progress and progress(done, total)
        )
        run = _Run(sonar, sonar_settings, classifiers, outputs, decoder)
        started = time.perf_counter()
        for path in paths:
            try:
                run.read(path)
                run.summary.files += 1
            except (ConfigError, BrokenPipeError):
                raise  # the outputs cannot be written: going on would be in vain
            except (NimsError, OSError) as error:
                run.summary.errors.append(f"{path}: {getattr(error, 'strerror', None) or error}")
            if run.empty_head is not None:
                run.summary.errors.append(_no_ping(path, driver, recognise(run.empty_head)))
        run.finish()
        run.summary.seconds = time.perf_counter() - started
    return run.summary


def _no_ping(path: Path, driver: Driver, looks_like: str) -> str:
    if looks_like and looks_like != driver.title:
        return f"{path}: no packet of {driver.title}; this looks like {looks_like}: check the profile"
    return f"{path}: no ping of {driver.title} in it"


class _Run:
    """What lives from the first file to the last."""

    def __init__(
        self,
        sonar: str,
        settings: SonarSettings,
        classifiers: Iterable[Classifier],
        outputs: _Outputs,
        files: FileDecoder,
    ) -> None:
        self.summary = Summary()
        self.empty_head: bytes | None = None
        """The first bytes of the last file, when it had no ping."""
        self._path = Path()
        self._sonar = sonar
        self._outputs = outputs
        self._files = files
        self._analysis = Analysis(sonar, settings, classifiers)
        self._metrics: MetricsOfChannels | None = None
        if outputs.metrics is not None:
            self._metrics = MetricsOfChannels(sonar, lambda: EchoMetrics(settings.metrics))

    def read(self, path: Path) -> None:
        """Decode one file to its end; where the driver breaks down, what was read is left out.

        Raises:
          NimsError: the file is empty, cannot be one of this driver's, or the driver broke its contract.
          OSError: it cannot be read.
        """
        self.empty_head = None
        self._path = path
        frames_before = self.summary.frames
        try:
            for frame, arrival in self._files.frames(path):
                self._take(frame, arrival)
        finally:
            self.summary.errors += self._files.breakdowns
            self._files.breakdowns.clear()
        if self.summary.frames == frames_before:
            self.empty_head = self._files.head

    def _take(self, frame: Frame, arrival: Arrival) -> None:
        try:
            frame.check()
        except Exception as error:  # noqa: BLE001 - a vendor's frame may be anything
            if not self.summary.bad_frames:
                log.error("the driver gave a bad frame: %s", error)
            self.summary.bad_frames += 1
            return
        self.summary.frames += 1
        frame = frame.stamped(self._sonar, self.summary.frames, arrival)
        if self._metrics is not None:
            self._outputs.write_metrics(self._metrics.add(frame))
        if not self._analysis.wants(frame):
            return
        self.summary.pings += 1
        result = self._analysis.process(frame)
        if result is not None:
            self._outputs.write_result(result)
            self._note(result)

    def _note(self, result: PingResult) -> None:
        for note in result.notes:
            known = self.summary.notes.get(kind_of_note(note))
            if known is None:
                number = result.ping_number
                known = Notes(0, note, number, result.time_s, self._path.name, number)
                self.summary.notes[kind_of_note(note)] = known
            known.pings += 1
            known.last_ping = result.ping_number

    def finish(self) -> None:
        last = self._analysis.finish()
        if last is not None:
            self._outputs.write_summaries(last)
        if self._metrics is not None:
            self._outputs.write_metrics(self._metrics.finish())
        self.summary.detections = self._analysis.detections
        self.summary.tracks = self._analysis.tracks
        self.summary.failures = self._analysis.failures
        files = self._files
        self.summary.bytes = files.bytes
        self.summary.resyncs, self.summary.skipped_bytes = files.resyncs, files.skipped_bytes
        self.summary.packet_errors = files.errors


class _Outputs:
    """The open output files; each may be None."""

    def __init__(
        self,
        tracks: TextIO | None,
        detections: TextIO | None,
        metrics: TextIO | None,
        summaries: TextIO | None,
        *,
        summaries_as_csv: bool,
    ) -> None:
        self.metrics = metrics
        self._summaries = summaries
        self._summaries_csv: csv.DictWriter | None = None
        if summaries is not None and summaries_as_csv:
            self._summaries_csv = csv.DictWriter(summaries, SUMMARY_KEYS, lineterminator="\n")
            with _writing():
                self._summaries_csv.writeheader()
        self._tracks = tracks
        self._detections = detections
        self._metrics_columns: list[str] | None = None

    def write_result(self, result: PingResult) -> None:
        if self._tracks is not None:
            _write_line(self._tracks, describe_result(result))
        if self._detections is not None:
            _write_line(self._detections, describe_detections(result))
        self.write_summaries(result)

    def write_summaries(self, result: PingResult) -> None:
        for track in result.ended:
            if self._summaries_csv is not None:
                values = describe_summary(result.sonar_id, track)
                values["zones"] = msgspec.json.encode(values["zones"]).decode()
                with _writing():
                    self._summaries_csv.writerow(values)
            elif self._summaries is not None:
                positions = {"positions": [dict(zip(POSITION_KEYS, place, strict=True)) for place in track.positions]}
                _write_line(self._summaries, describe_summary(result.sonar_id, track) | positions)

    def write_metrics(self, bins: list[MetricsBin]) -> None:
        if self.metrics is None or not bins:
            return
        writer = csv.writer(self.metrics, lineterminator="\n")
        if self._metrics_columns is None:
            self._metrics_columns = [field.name for field in dataclasses.fields(bins[0]) if field.name != "by_layer"]
            with _writing():
                writer.writerow(["start_iso", *self._metrics_columns])
        for done in itertools.chain.from_iterable((column, *column.by_layer) for column in bins):
            with _writing():
                writer.writerow([iso_time(done.start_s), *(getattr(done, name) for name in self._metrics_columns)])


def describe_detections(result: PingResult) -> dict[str, Any]:
    """Return the detections of a ping, angles in degrees, JSON-able but for numbers that are not finite."""
    found = result.detections
    columns: dict[str, list] = {}
    for name in found.dtype.names or ():
        if name.endswith("_rad"):
            columns[name.removesuffix("_rad") + "_deg"] = np.degrees(found[name]).tolist()
        else:
            columns[name] = found[name].tolist()
    rows = zip(*columns.values(), strict=True)
    return {
        "frame_num": result.frame_number,
        "ping_num_sonar": result.ping_number,
        "ping_time": result.time_s,
        "ping_time_iso": iso_time(result.time_s),
        "sonar_id": result.sonar_id,
        "channel": result.channel,
        "num_detections": len(found),
        "detections": [dict(zip(columns, row, strict=True)) for row in rows],
    }


def _write_line(output: TextIO, value: dict[str, Any]) -> None:
    with _writing():
        output.write(msgspec.json.encode(value).decode() + "\n")


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    """Turn a full disk into a sentence; a closed pipe stays what it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ConfigError(f"cannot write the results: {error.strerror or error}") from error


def _check_distinct(*outputs: str | Path | None) -> None:
    files = [Path(output).resolve() for output in outputs if output is not None and str(output) != "-"]
    for file in files:
        if files.count(file) > 1:
            raise ConfigError(f"{file} is given for two kinds of results: one would overwrite the other")


def _open_output(stack: contextlib.ExitStack, output: str | Path | None, inputs: list[Path]) -> TextIO | None:
    if output is None:
        return None
    if str(output) == "-":
        return sys.stdout
    path = Path(output)
    if any(path.exists() and source.exists() and path.samefile(source) for source in inputs):
        raise ConfigError(f"{path} is one of the recordings: results would overwrite it")
    try:
        return stack.enter_context(open(path, "w", encoding="utf-8", newline=""))
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
