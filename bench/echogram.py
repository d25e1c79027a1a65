"""``python -m bench.echogram RECORDING OUT.png``: the tracks of an echosounder's recording over its echogram.

The tracks are those that ``nims process`` writes with the defaults of the profile, and the picture under them is the
channel that they were found on. Each track is drawn where it was seen as a line of dots, where it only coasted thin.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from nims_appliance.acoustics.calibration import sv_db
from nims_appliance.analysis import ChannelChoice
from nims_appliance.config.store import one_sonar
from nims_appliance.file_decoder import FileDecoder
from nims_appliance.plugin_host.host import PluginHost, make_decoder_context

from .report import ROOT

LEVELS = 6
"""Shades of the echogram, so that the picture stays small."""
COLOURS = 64
BLOCK = 2
"""Pings and samples that are one cell of the picture."""
INK = ("#e6194b", "#0a84ff", "#00a651", "#ff8c00", "#b400d8", "#00b7c3", "#a05a00")
"""Of the tracks, one after the other."""


def read_pings(recording: Path, profile_name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return times in seconds since 1970, ranges in metres, and Sv in dB re 1 m-1, shape (pings, samples).

    The channel is the one that `nims process` chooses; without calibration it is the received intensity in dB.
    """
    plugins = PluginHost.load(None)
    profile = plugins.profile(profile_name)
    driver = plugins.driver(profile)
    context = make_decoder_context(profile, one_sonar(plugins, profile_name, {}), driver)
    choice = ChannelChoice()
    frames = [
        frame
        for frame, _ in FileDecoder(driver, context, profile.limits.packet_bytes).frames(recording)
        if choice.wants(frame)
    ]
    if not frames:
        raise SystemExit(f"{recording}: no ping of {profile_name} in it")
    samples = min(len(frame.range_m) for frame in frames)
    with np.errstate(divide="ignore"):
        values = [
            sv_db(frame) if frame.calibration is not None else 10 * np.log10(frame.intensity.max(axis=1))
            for frame in frames
        ]
    return (
        np.array([frame.time_s for frame in frames]),
        frames[0].range_m[:samples],
        np.array([value[:samples] for value in values]),
    )


def find_tracks(recording: Path, profile_name: str) -> dict[int, np.ndarray]:
    """Return of each track what `nims process` tells of it: time, range, and 1 where it was seen, a row for each ping.

    Shape (pings, 3) each; seconds since 1970, metres.
    """
    with tempfile.TemporaryDirectory() as folder:
        tracks = Path(folder) / "tracks.jsonl"
        command = [sys.executable, "-m", "nims_appliance", "process", str(recording), "--profile", profile_name]
        subprocess.run([*command, "--data", folder, "--tracks", str(tracks), "--quiet"], check=True, cwd=ROOT)
        rows: dict[int, list[tuple[float, float, int]]] = {}
        for line in tracks.read_text().splitlines():
            message = json.loads(line)
            for track in message["tracks"]:
                rows.setdefault(track["id"], []).append(
                    (message["ping_time"], track["last_pos_range"], track["pings_visible"])
                )
    found = {number: np.array(told) for number, told in rows.items()}
    for told in found.values():
        told[:, 2] = np.diff(told[:, 2], prepend=told[0, 2] - 1) > 0
    return found


def draw(
    times_s: np.ndarray, range_m: np.ndarray, level_db: np.ndarray, tracks: dict[int, np.ndarray], out: Path
) -> None:
    """Write the picture as PNG with few colours."""
    # the mean of neighbouring pings and samples, as a screen has no more of them
    pings, samples = len(level_db) // BLOCK * BLOCK, level_db.shape[1] // BLOCK * BLOCK
    power = 10 ** (np.nan_to_num(level_db[:pings, :samples], nan=-200.0) / 10)
    power = power.reshape(pings // BLOCK, BLOCK, samples // BLOCK, BLOCK).mean((1, 3))
    level_db = 10 * np.log10(power)
    finite = level_db[level_db > -200.0]
    low, high = np.percentile(finite, (20, 99))
    shades = np.round(np.clip((level_db - low) / (high - low), 0, 1) * LEVELS)
    figure = Figure(figsize=(13, 7.5), dpi=90)
    canvas, axes = FigureCanvasAgg(figure), figure.add_subplot()
    axes.imshow(
        shades.T,
        aspect="auto",
        cmap="gray_r",
        vmin=0,
        vmax=1.35 * LEVELS,  # the darkest echoes leave the tracks to be seen
        interpolation="nearest",
        extent=(0, times_s[-1] - times_s[0], range_m[-1], range_m[0]),
    )
    for order, (_, told) in enumerate(sorted(tracks.items())):
        colour = INK[order % len(INK)]
        seen = told[:, 2] > 0
        at_s = told[:, 0] - times_s[0]
        axes.plot(at_s, told[:, 1], "-", color=colour, linewidth=0.6)
        axes.plot(at_s[seen], told[seen, 1], ".", color=colour, markersize=3.5)
    axes.set_xlabel("time, s")
    axes.set_ylabel("range, m")
    axes.set_title(f"{len(tracks)} tracks: dots where seen, thin lines between; Sv {low:.0f} (white) to {high:.0f} dB")
    figure.tight_layout()
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    picture.quantize(COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(out, optimize=True)


def main() -> None:
    """Find the tracks of a recording and draw them over it."""
    parser = argparse.ArgumentParser(prog="python -m bench.echogram", description=__doc__.partition("\n")[0])
    parser.add_argument("recording", type=Path)
    parser.add_argument("out", type=Path, help="a PNG file")
    parser.add_argument("--profile", default="simrad-ek60")
    arguments = parser.parse_args()
    recording = arguments.recording.resolve()
    draw(*read_pings(recording, arguments.profile), find_tracks(recording, arguments.profile), arguments.out)


if __name__ == "__main__":
    main()
