"""`nims process`: recordings through the appliance's pipeline, without the appliance."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from ..config.store import one_sonar
from ..plugin_host.host import PluginHost
from ..process import Progress, Summary, process_files
from ..times import iso_time
from .common import data_option, parse_settings, start_logging

REDRAW_S = 0.2


@click.command("process")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@data_option
@click.option("--profile", required=True, metavar="P", help="Firmware profile of the sonar that made them.")
@click.option(
    "--tracks", metavar="OUT.jsonl", help="Write tracks: the track server's messages, one JSON object a line."
)
@click.option("--detections", metavar="OUT.jsonl", help="Write detections, one JSON object a line, one line a ping.")
@click.option(
    "--summaries",
    metavar="OUT.csv",
    help="Write what each ended track was: CSV, or by another name JSON with its path.",
)
@click.option("--metrics", metavar="OUT.csv", help="Write echo metrics.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting: detector.min_range_m=2")
@click.option("--quiet", is_flag=True, help="Neither progress nor summary.")
def process_command(
    files: tuple[Path, ...],
    data: Path,
    profile: str,
    tracks: str | None,
    detections: str | None,
    summaries: str | None,
    metrics: str | None,
    settings: tuple[str, ...],
    quiet: bool,
) -> None:
    """Find tracks in recordings, as fast as this computer can; tracks go on from one FILE into the next.

    Outputs may be "-", for standard output. Exit code 1 if a file could not be used to its end.
    """
    start_logging(None)
    plugins = PluginHost.load(data)
    sonar = one_sonar(plugins, profile, parse_settings(settings))
    found = plugins.profile(profile)
    with click.progressbar(
        length=1000, label="processing", file=sys.stderr, hidden=quiet or not sys.stderr.isatty()
    ) as bar:
        summary = process_files(
            files,
            sonar,
            found,
            plugins.driver(found),
            tracks=tracks,
            detections=detections,
            metrics=metrics,
            summaries=summaries,
            progress=_draw_on(bar),
            classifiers=plugins.classifiers.values(),
            recognise=plugins.recognise,
        )
    if not quiet:
        for line in describe(summary):
            click.echo(line, err=True)
    for error in summary.errors:
        click.echo(f"nims: {error}", err=True)
    raise SystemExit(1 if summary.errors else 0)


def _draw_on(bar: Any) -> Progress:
    drawn_s = 0.0

    def draw(done: int, total: int) -> None:
        nonlocal drawn_s
        now_s = time.monotonic()
        if now_s - drawn_s >= REDRAW_S or done == total:
            drawn_s = now_s
            bar.update(1000 * done // max(total, 1) - bar.pos)

    return draw


def describe(summary: Summary) -> list[str]:
    """Return what was done, in a few lines."""
    rate = summary.pings / summary.seconds if summary.seconds else 0.0
    lines = [
        f"{summary.files} files, {summary.bytes / 2**20:.1f} MiB, {summary.pings} pings in {summary.seconds:.1f} s "
        f"({rate:.0f} pings/s): {summary.detections} detections, {summary.tracks} tracks"
    ]
    if summary.skipped_bytes or summary.packet_errors:
        reasons = ", ".join(f"{count} x {reason}" for reason, count in summary.packet_errors.most_common(5))
        lines.append(f"skipped {summary.skipped_bytes} bytes of damaged packets{f' ({reasons})' if reasons else ''}")
    if summary.bad_frames:
        lines.append(f"left out {summary.bad_frames} pings that the driver got wrong")
    if summary.failures:
        lines.append(f"left out {summary.failures} pings that could not be analysed")
    for notes in summary.notes.values():
        where = f"ping {notes.first_ping} of {notes.file}, {iso_time(notes.first_time_s)}"
        more = f"; {notes.pings} pings, the last {notes.last_ping}" if notes.pings > 1 else ""
        lines.append(f"note: {notes.first} at {where}{more}")
    return lines
