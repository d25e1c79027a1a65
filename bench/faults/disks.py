"""A disk that is full, read-only or unplugged: recording stops visibly, tracks go on, and all is well afterwards."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nims_appliance.archive import FILE_NAME
from nims_appliance.recording.files import CLIPS_FOLDER, FOLDER

from ..processes import Appliance
from ..report import Report
from .appliance import LOAD, SONARS, Listener, ask, check, parts, wait_until

GROUP = "disk"
DISK_MB = 48
SEEN_S = 30.0
"""In so long a fault must be told, and be over when it has been mended: twice the longest interval of a retry."""
FAULT_S = 6.0
WRITERS = ("archive", *(f"recorder {name}" for name in SONARS))


def run(report: Report, folder: Path, command: list[str]) -> list[str]:
    """Do each fault to an appliance of its own; return what did not hold."""
    failures = []
    faults: dict[str, Callable[[Path], tuple[Callable[[], object], Callable[[], object]]]] = {
        "full": _full,
        "read-only": _read_only,
        "unplugged": _unplugged,
    }
    for name, make in faults.items():
        # What is unplugged is a folder, of any size; a small disk would be full besides.
        kind = {"full": "tmpfs", "read-only": "ext4"}.get(name, "")
        with _disk(folder / name.replace("-", "_"), kind) as (disk, real):
            if name == "read-only" and not real:
                report.problem(GROUP, "read-only: needs root and ext4 for a file system of its own")
                continue
            data = disk / "data"
            limit = None if real or name != "full" else _limit_files
            arguments = (*LOAD, "--set", "recording.reserve_mb=0")
            appliance = Appliance(data, *arguments, started_with=command, limit=limit)
            try:
                found = _try(appliance, data, *make(data), mends=limit is None and name != "read-only")
            finally:
                appliance.__exit__(None, None, None)
            if name == "read-only":
                found += _after_repair(command, data)
            what = f"{name}{'' if real or name == 'unplugged' else ' (files that may not grow)'}"
            report.add(GROUP, f"{what}: what did not hold", len(found), "", note="; ".join(found))
            failures += [f"disk {name}: {text}" for text in found]
    return failures


def _try(
    appliance: Appliance,
    data: Path,
    harm: Callable[[], object],
    mend: Callable[[], object],
    *,
    mends: bool,
) -> list[str]:
    """Return what did not hold while the disk was harmed, and after it was mended."""
    failures = []
    listener = Listener(appliance.tracks_port)

    def all_run() -> bool:
        return all(parts(appliance)[name]["state"] == "running" for name in WRITERS)

    if not wait_until(all_run, SEEN_S):
        return [f"it did not begin: {_states(appliance)}"]
    harm()
    # In the place of a folder that was moved away others are begun: that is a warning.
    if not wait_until(lambda: not all_run() or _warns(appliance), SEEN_S):
        failures.append("nothing told of the fault")
    before = _pings(listener)
    time.sleep(FAULT_S)
    if not appliance.is_alive:
        return ["the appliance ended"]
    if _pings(listener) - before < FAULT_S * 10:
        failures.append(f"only {_pings(listener) - before} pings in {FAULT_S:.0f} s of the fault")
    if not mends:
        return failures
    mend()
    if not wait_until(all_run, SEEN_S):
        failures.append(f"not recovered in {SEEN_S:.0f} s: {_states(appliance)}")
    written = _written(appliance)
    if not wait_until(lambda: _written(appliance) > written and (data / FILE_NAME).exists(), SEEN_S):
        failures.append("nothing is archived afterwards")
    listener.close()
    return failures


def _after_repair(command: list[str], data: Path) -> list[str]:
    """Return what is missing after the file system was repaired, as it is when the computer starts again."""
    disk = data.parent
    image = disk.with_suffix(".image")
    subprocess.run(["umount", disk], check=True)
    subprocess.run(["e2fsck", "-fy", image], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run(["mount", "-o", "loop", image, disk], check=True)
    code, text = check(command, data)
    # Recordings may tell of bytes that the disk did not take; that is what they are to tell.
    damaged = [part for part in text.split("; ") if FILE_NAME in part or "damaged" in part]
    return [f"after the repair nims check ended with {code}: {'; '.join(damaged)}"] if damaged else []


def _pings(listener: Listener) -> int:
    return sum(len(pings) for pings in listener.told().pings.values())


def _written(appliance: Appliance) -> int:
    told = ask(appliance, "/api/v1/state")["parts"]
    return next(part["statistics"]["written_bins"] for part in told if part["name"] == "archive")


def _warns(appliance: Appliance) -> bool:
    told = ask(appliance, "/api/v1/state")["parts"]
    return all(part["warning"] for part in told if part["name"] in WRITERS)


def _states(appliance: Appliance) -> str:
    return "; ".join(
        f"{name}: {part['state']}, {part['detail']}" for name, part in parts(appliance).items() if name in WRITERS
    )


def _full(data: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    def make_room() -> None:
        for name in (FOLDER, CLIPS_FOLDER):
            for path in (data / name).glob("*/*"):
                path.unlink(missing_ok=True)

    return lambda: None, make_room  # the recordings fill it


def _read_only(data: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    # What ext4 does after an error of the disk: it takes nothing any more, also in open files.
    abort = ["mount", "-o", "remount,abort", str(data.parent)]
    return lambda: subprocess.run(abort, check=True), lambda: None


def _unplugged(data: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    away = data.with_name("unplugged")

    def plug_in() -> None:
        if data.exists():
            shutil.rmtree(data)
        away.rename(data)

    return lambda: data.rename(away), plug_in


@contextmanager
def _disk(mount_point: Path, kind: str) -> Iterator[tuple[Path, bool]]:
    """Give a small file system of its own, and True; without root or a kind, a folder and False."""
    mount_point.mkdir()
    image = mount_point.with_suffix(".image")
    if kind == "ext4":
        with image.open("wb") as file:
            file.truncate(DISK_MB * 10**6)
        commands: list[list[str]] = [
            ["mkfs.ext4", "-q", str(image)],
            ["mount", "-o", "loop", str(image), str(mount_point)],
        ]
    else:
        commands = [["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "nims-faults", str(mount_point)]]
    made = (
        os.geteuid() == 0 and kind != "" and all(subprocess.run(line, check=False).returncode == 0 for line in commands)
    )
    try:
        yield mount_point, made
    finally:
        if made:
            subprocess.run(["umount", "-l", mount_point], check=False)


def _limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, 4_000_000))
