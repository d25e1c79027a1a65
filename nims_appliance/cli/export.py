"""`nims export`: tracks and metrics of the archive, and recordings, in the formats of others."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import ConfigError
from ..times import parse_time
from .common import data_option, load, parse_settings, start_logging

if TYPE_CHECKING:
    from ..archive import ArchiveReader, TrackFilter
    from ..export.pings import Pings
    from ..export.places import Places
    from ..export.text import Rows

SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".geojson": "geojson", ".parquet": "parquet"}


class _Time(click.ParamType):
    """Seconds since 1970, or a date and time; without a zone it is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds since 1970."""
        if isinstance(value, float):
            return value
        try:
            seconds = float(value)
        except ValueError:
            try:
                seconds = parse_time(value)
            except ValueError:
                self.fail(f"expected 2026-07-01, 2026-07-01T12:30:00Z or seconds since 1970, got {value!r}")
        if not math.isfinite(seconds):
            self.fail(f"expected a time, got {value!r}")
        return seconds


def _table_options(formats: str) -> Callable[[Callable], Callable]:
    options = [
        data_option,
        click.option("-o", "--output", default="-", metavar="FILE", help="[default: -, which is standard output]"),
        click.option(
            "--format", "kind", type=click.Choice(formats.split()), help="[default: by FILE's ending, else csv]"
        ),
        click.option("--from", "from_s", type=_Time(), metavar="TIME", help="What ended then or later, by the sonar."),
        click.option("--to", "to_s", type=_Time(), metavar="TIME", help="What ended before."),
        click.option("--sonar", default="", metavar="NAME", help="Of this sonar only."),
    ]

    def decorate(function: Callable) -> Callable:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


@click.group("export")
def export_command() -> None:
    """Write tracks, echo metrics and recordings in the formats of others."""


@export_command.command("tracks")
@_table_options("csv jsonl geojson parquet")
@click.option("--label", metavar="CLASS", help="Of this class only; an empty text: of none.")
@click.option("--zone", default="", metavar="NAME", help="Tracks that were in this watched zone.")
@click.option("--min-length-m", type=float, help="At least so long, mean.")
@click.option("--min-speed-m-s", type=float, help="At least so fast, mean.")
@click.option("--min-duration-s", type=float, help="Seen for at least so long.")
def tracks(data: Path, output: str, kind: str | None, **filters: Any) -> None:
    """Write the ended tracks of the archive; JSON lines, GeoJSON and Parquet have their paths."""
    from ..archive import TrackFilter
    from ..export.places import Places, placed
    from ..export.table_files import write_parquet, write_text
    from ..export.tables import TRACK_COLUMNS, counted, track_pages
    from ..export.text import csv_text, geojson_text, json_lines

    wanted: TrackFilter = TrackFilter(**filters)
    kind = _kind(kind, output)
    reader = _reader(data)
    told = _Counter("tracks")
    _, config = load(data)
    places = Places(reader, config.current.sonars)
    pages: Rows = counted(placed(track_pages(reader, wanted, positions=True), places, whole=kind != "csv"), told)
    if kind == "parquet":
        write_parquet(pages, TRACK_COLUMNS, output, data, positions=True)
    elif kind == "geojson":
        write_text(geojson_text(pages), output)
        _tell_missing(places)
    else:
        write_text(json_lines(pages) if kind == "jsonl" else csv_text(pages, TRACK_COLUMNS), output)
    told.finish(output)


@export_command.command("metrics")
@_table_options("csv jsonl parquet")
@click.option("--channel", metavar="NAME", help="Of this channel only.")
@click.option("--layer", type=click.IntRange(0), metavar="N", help="Of this layer only; 0 is the whole column.")
def metrics(data: Path, output: str, kind: str | None, **filters: Any) -> None:
    """Write the echo metrics of the archive: a row for each bin of each channel and layer."""
    from ..export.table_files import write_parquet, write_text
    from ..export.tables import METRIC_COLUMNS, counted, metric_pages
    from ..export.text import csv_text, json_lines

    kind = _kind(kind, output)
    told = _Counter("bins of metrics")
    pages = counted(metric_pages(_reader(data), **filters), told)
    if kind == "geojson":
        raise ConfigError("metrics have no place on the map: expected csv, jsonl or parquet")
    if kind == "parquet":
        load(data)
        write_parquet(pages, METRIC_COLUMNS, output, data)
    else:
        write_text(json_lines(pages) if kind == "jsonl" else csv_text(pages, METRIC_COLUMNS), output)
    told.finish(output)


class _Counter:
    """Counts rows, for a line at the end."""

    def __init__(self, of_what: str) -> None:
        self._of_what = of_what
        self._rows = 0

    def __call__(self, rows: int) -> None:
        self._rows = rows

    def finish(self, output: str) -> None:
        """Say what was written, where no output is in the way."""
        click.echo(f"{self._rows} {self._of_what}{'' if output == '-' else f' in {output}'}", err=True)


def _tell_missing(places: Places) -> None:
    """Say which sonars have no place."""
    for sonar, count in sorted(places.missing.items()):
        click.echo(
            f"nims: {count} tracks of {sonar} have no place on the map: set sonars.{sonar}.location "
            "(source: navigation, or fixed with latitude_deg, longitude_deg, axis_deg)",
            err=True,
        )


def _kind(kind: str | None, output: str) -> str:
    return kind or SUFFIXES.get(Path(output).suffix.lower(), "csv")


def _reader(data: Path) -> ArchiveReader:
    from ..archive import FILE_NAME, ArchiveReader

    path = data / FILE_NAME
    if not path.is_file():
        raise ConfigError(f"{path}: there is no archive; give the data folder of an appliance with --data DIR")
    return ArchiveReader(path)


def _recording_options(function: Callable) -> Callable:
    options = [
        click.argument("recordings", nargs=-1, required=True, metavar="RECORDING...", type=click.Path(path_type=Path)),
        data_option,
        click.option("--profile", required=True, metavar="P", help="Firmware profile of the sonar that made them."),
        click.option(
            "-o", "--output", required=True, metavar="OUT.nc", type=click.Path(path_type=Path), help="File to write."
        ),
        click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting: location.source=fixed"),
        click.option(
            "--sonar",
            default="",
            metavar="NAME",
            help="Whose positions in the archive of --data are those of pings without their own. "
            "[default: as the recording says]",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@export_command.command("sv")
@_recording_options
def sv(
    recordings: tuple[Path, ...], data: Path, profile: str, output: Path, settings: tuple[str, ...], sonar: str
) -> None:
    """Write the Sv of an echosounder's recordings as netCDF, in the shape that echopype works on."""
    from ..export.sv import export_sv

    pings = _pings(recordings, data, profile, output, settings, sonar, want_samples=False)
    _tell(pings, export_sv(pings, recordings, output, data), output)


def _pings(
    recordings: tuple[Path, ...],
    data: Path,
    profile: str,
    output: Path,
    settings: tuple[str, ...],
    sonar: str,
    *,
    want_samples: bool,
) -> Pings:
    from ..config.store import one_sonar
    from ..export.pings import Pings
    from ..export.places import recorded_poses
    from ..plugin_host.host import PluginHost

    start_logging(None)
    plugins = PluginHost.load(data)
    used = one_sonar(plugins, profile, parse_settings(settings))
    if any(output.exists() and path.exists() and output.samefile(path) for path in recordings):
        raise ConfigError(f"{output} is one of the recordings: the export would overwrite it")
    found = plugins.profile(profile)
    poses = recorded_poses(data, sonar)
    return Pings(found, plugins.driver(found), used, pose_of=poses, want_samples=want_samples)


def _tell(pings: Pings, written: int, output: Path) -> None:
    click.echo(f"{written} pings of {len(pings.sources)} files in {output}", err=True)
    for reason, count in pings.left_out.most_common():
        click.echo(f"left out {count}: {reason}", err=True)
    for error in pings.errors:
        click.echo(f"nims: {error}", err=True)
    raise SystemExit(1 if pings.errors else 0)


@export_command.command("sonar-netcdf")
@_recording_options
def sonar_netcdf(
    recordings: tuple[Path, ...], data: Path, profile: str, output: Path, settings: tuple[str, ...], sonar: str
) -> None:
    """Write the pings of recordings, and single targets of split-beam pings, as ICES SONAR-netCDF4 2.0."""
    from ..export.sonar_netcdf import export_sonar_netcdf

    pings = _pings(recordings, data, profile, output, settings, sonar, want_samples=True)
    _tell(pings, export_sonar_netcdf(pings, recordings, output, data), output)
