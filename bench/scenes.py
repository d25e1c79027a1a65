"""``python -m bench.scenes``: how well animals are found and followed in synthetic scenes whose truth is known.

The scenes and their scores come from two programs outside of the project, ``make_scene.py`` and ``score_tracks.py``, in
the folder that NIMS_BENCH names (default ../shared/bench beside the project). Each scene is made as a recording of a
Kongsberg M3, goes through ``nims process`` with the defaults of that profile, and is deleted. Figures are means over
the seeds.
"""

from __future__ import annotations

import argparse
import collections
import csv
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
ROWS = {
    "snr 20": "--fish 5 --snr 20",
    "snr 15": "--fish 5 --snr 15",
    "snr 12": "--fish 5 --snr 12",
    "snr 9": "--fish 5 --snr 9",
    "snr 6": "--fish 5 --snr 6",
    "ten": "--fish 10 --snr 12",
    "fading": "--fish 5 --snr 12 --fading",
    "passing": "--fish 0 --passing 20 --current 0.8 --snr 12",
    "plumes": "--fish 5 --snr 12 --plumes 2",
    "empty": "--fish 0 --frames 6000",
    "empty, plumes": "--fish 0 --plumes 2 --frames 6000",
    "long": "--fish 5 --snr 12 --extent 0.5",
}
"""Name: arguments of make_scene.py."""
COLUMNS = ("HOTA", "DetA", "AssA", "GOSPA", "id_switches", "count_error", "false_tracks_per_hour", "tracks", "fish")
PLACE = ("range_bias_m", "range_sd_m", "across_bias_m", "across_sd_m")
LEARNING_PINGS = 300
NEAR_M = 1.5
"""A track farther from a fish is not of it; as in score_tracks.py."""


def place_errors(truth: Path, tracks: Path, skip: int) -> dict[str, float | None]:
    """Return mean and standard deviation of how far tracks lie from their fish, along range and across it, metres.

    Each fish counts with the track that is nearest to it in each ping after the first `skip`.

    Args:
      truth: CSV with the columns ping, id, range_m, bearing_deg.
      tracks: JSON lines as the track server sends them.
    """
    fish = collections.defaultdict(list)
    with truth.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["id"] and int(row["ping"]) > skip:
                fish[int(row["ping"])].append((float(row["range_m"]), math.radians(float(row["bearing_deg"]))))
    errors = []
    for line in tracks.read_text().splitlines():
        message = json.loads(line)
        found = np.array([(t["last_pos_range"], math.radians(t["last_pos_bearing"])) for t in message["tracks"]])
        if not len(found):
            continue
        for range_m, bearing_rad in fish.pop(message["ping_num_sonar"], []):
            along_m, across_m = found[:, 0] - range_m, range_m * (found[:, 1] - bearing_rad)
            nearest = int(np.argmin(np.hypot(along_m, across_m)))
            if math.hypot(along_m[nearest], across_m[nearest]) < NEAR_M:
                errors.append((along_m[nearest], across_m[nearest]))
    if not errors:
        return dict.fromkeys(PLACE)
    bias, sd = np.mean(errors, axis=0), np.std(errors, axis=0)
    return dict(zip(PLACE, (round(float(v), 4) for v in (bias[0], sd[0], bias[1], sd[1])), strict=True))


def run_scene(tools: Path, arguments: str, seed: int, settings: Iterable[str], folder: Path) -> dict[str, Any]:
    """Return the scores of one scene; the recording is deleted."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="scene-") as name:
        scene, tracks = Path(name) / "scene", Path(name) / "tracks.jsonl"
        make = [sys.executable, str(tools / "make_scene.py"), str(scene), *arguments.split(), "--seed", str(seed)]
        subprocess.run(make, check=True)
        command = [sys.executable, "-m", "nims_appliance", "process", f"{scene}.imb", "--profile", "kongsberg-m3"]
        command += ["--data", name, "--tracks", str(tracks), "--quiet"]
        for setting in settings:
            command += ["--set", setting]
        began = time.perf_counter()
        subprocess.run(command, check=True, cwd=ROOT)
        elapsed_s = time.perf_counter() - began
        score = [sys.executable, str(tools / "score_tracks.py"), f"{scene}_truth.csv", str(tracks)]
        scored = subprocess.run(
            [*score, "--skip", str(LEARNING_PINGS)], check=True, capture_output=True, text=True, cwd=tools
        )
        result = json.loads(scored.stdout)
        result |= place_errors(Path(f"{scene}_truth.csv"), tracks, LEARNING_PINGS)
        result["pings_per_s"] = sum(1 for _ in tracks.open()) / elapsed_s
        return result


def mean(scores: list[dict[str, Any]], column: str) -> float | None:
    """Return the mean of a column over the seeds; None where it has no meaning."""
    values = [score[column] for score in scores if score.get(column) is not None]
    return sum(values) / len(values) if values else None


def main() -> None:
    """Run the rows asked for and print their means."""
    parser = argparse.ArgumentParser(prog="python -m bench.scenes", description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="*", help=f"of {', '.join(ROWS)}; default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--set", action="append", default=[], dest="settings", help="a setting of `nims process`")
    parser.add_argument("--more", default="", help="arguments of make_scene.py added to each row")
    parser.add_argument("--jobs", type=int, default=1, help="scenes at the same time")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where recordings are made")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results")
    arguments = parser.parse_args()
    tools = Path(os.environ.get("NIMS_BENCH", ROOT.parent / "shared" / "bench")).resolve()
    if not (tools / "make_scene.py").is_file():
        parser.error(f"no make_scene.py in {tools}: set NIMS_BENCH to its folder")
    unknown = [row for row in arguments.rows if row not in ROWS]
    if unknown:
        parser.error(f"no row {unknown[0]!r}; there are {', '.join(ROWS)}")
    rows = {}
    print(
        f"{'row':14s} "
        + " ".join(f"{column[:9]:>9s}" for column in COLUMNS + PLACE)
        + "  first message, s (median, 90 %)"
    )
    arguments.results.mkdir(parents=True, exist_ok=True)
    path = arguments.results / time.strftime("scenes-%Y-%m-%dT%H%M%S.json", time.gmtime())
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for name in arguments.rows or ROWS:
            options = f"{ROWS[name]} {arguments.more}"
            runs = [
                pool.submit(run_scene, tools, options, seed, arguments.settings, arguments.folder)
                for seed in arguments.seeds
            ]
            scores = [run.result() for run in runs]
            rows[name] = {
                "arguments": options.strip(),
                "seeds": dict(zip(map(str, arguments.seeds), scores, strict=True)),
            }
            cells = [mean(scores, column) for column in COLUMNS + PLACE]
            waits = [score["first_message_s"] for score in scores if score["first_message_s"]]
            first = " ".join(f"{sum(wait[i] for wait in waits) / len(waits):.2f}" for i in (0, 1)) if waits else "-"
            print(
                f"{name:14s} "
                + " ".join("        -" if cell is None else f"{cell:9.3f}" for cell in cells)
                + f"  {first}",
                flush=True,
            )
            # what is done stays when a run of hours is broken off
            path.write_text(json.dumps({"settings": arguments.settings, "rows": rows}, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
