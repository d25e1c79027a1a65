"""kill -9 at random moments under load: what had been told more than a second before is on disk."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path

from nims_appliance.plugin_host.host import PluginHost
from nims_appliance.recording.clips import ClipStore
from nims_appliance.recording.files import CLIPS_FOLDER, FOLDER

from ..processes import Appliance
from ..report import Report, percentile
from .appliance import LOAD, Listener, Told, archived, check, recorded

GROUP = "kill -9 under load"
MOST_LOST_S = 1.0
RESTART_S = 3.0
LONGEST_RUN_S = 4.0
KILLS_PER_FOLDER = 25


def run(report: Report, plugins: PluginHost, folder: Path, command: list[str], kills: int, seed: int) -> list[str]:
    """Kill an appliance again and again, on data folders that were killed before; return what did not hold."""
    chance = random.Random(seed)
    failures: list[str] = []
    starts_s: list[float] = []
    tracks = pings = files = 0
    data = folder / "kills"
    for number in range(1, kills + 1):
        if number % KILLS_PER_FOLDER == 1:
            shutil.rmtree(data, ignore_errors=True)
        where = f"kill {number} of {kills}"
        try:
            appliance = Appliance(data, *LOAD, started_with=command)
        except RuntimeError as error:
            failures.append(f"{where}: {error}")
            break
        if number % KILLS_PER_FOLDER != 1:
            starts_s.append(appliance.address_s - appliance.started_s)
        listener = Listener(appliance.tracks_port)
        # From the first writing of anything on: also at the start of the archive and of the files.
        time.sleep(chance.uniform(0.0, LONGEST_RUN_S))
        told = listener.told()
        killed_s = time.monotonic()
        appliance.kill()
        appliance.__exit__(None, None, None)
        listener.close()
        lost, counted = _missing(plugins, data, command, told, killed_s - MOST_LOST_S)
        failures += [f"{where}: {text}" for text in lost]
        tracks, pings, files = tracks + counted[0], pings + counted[1], files + counted[2]
        for name in (FOLDER, CLIPS_FOLDER):
            shutil.rmtree(data / name, ignore_errors=True)
        if lost or number % 10 == 0:
            print(f"    {where}: {'; '.join(lost) or 'nothing missing'}", flush=True)
    report.add(GROUP, "kills after which something was missing", len({f.partition(":")[0] for f in failures}), "")
    report.add(GROUP, "kills", kills, "", note=f"at random moments of the first {LONGEST_RUN_S:.0f} s, seed {seed}")
    report.add(GROUP, "tracks that ended more than 1 s before, all archived", tracks, "")
    report.add(GROUP, "pings told more than 1 s before, all recorded", pings, "")
    report.add(GROUP, "recordings and clips read to their last whole record", files, "")
    if starts_s:
        report.add(GROUP, "start on a killed data folder, median", percentile(starts_s, 0.5), "s")
        report.add(GROUP, "... slowest", max(starts_s), "s", note=f"{sum(s > RESTART_S for s in starts_s)} over 3 s")
        if percentile(starts_s, 0.5) > RESTART_S:
            failures.append(f"starts on a killed data folder take {percentile(starts_s, 0.5):.1f} s at the median")
    return failures


def _missing(
    plugins: PluginHost, data: Path, command: list[str], told: Told, before_s: float
) -> tuple[list[str], tuple[int, int, int]]:
    """Return what should be there and is not, and how many tracks, pings and files were looked for."""
    lost = []
    code, text = check(command, data)
    if code:
        lost.append(f"nims check ended with {code}: {text}")
    tracks = {number for number, moment_s in told.ended.items() if moment_s < before_s}
    if absent := tracks - archived(data):
        lost.append(f"{len(absent)} of {len(tracks)} tracks are not in the archive, {sorted(absent)[:3]}")
    on_disk = recorded(plugins, data)
    count = 0
    for name, moments in told.pings.items():
        pings = {number for number, moment_s in moments.items() if moment_s < before_s}
        count += len(pings)
        if gone := pings - on_disk[name]:
            lost.append(f"{len(gone)} of {len(pings)} pings of {name} are not in its recordings, {sorted(gone)[:3]}")
    files = len(list((data / FOLDER).glob("*/*.index")))
    clips = ClipStore(data)
    clips.load()
    for clip in clips.all():
        files += 1
        if not clips.path(clip).is_file():
            lost.append(f"the bytes of clip {clip.name} are gone")
    return lost, (len(tracks), count, files)
