"""The disk never fills: what is removed, in which order, and what never is."""

from __future__ import annotations

import os
import time
from collections import namedtuple
from pathlib import Path

import pytest

from nims_appliance import storage
from nims_appliance.config.store import ConfigStore
from nims_appliance.context import Context
from nims_appliance.plugin_host.host import PluginHost
from nims_appliance.recording.clips import Clip, ClipStore
from nims_appliance.recording.files import CLIPS_FOLDER, FOLDER, INDEX_SUFFIX
from nims_appliance.settings import StorageSettings
from nims_appliance.storage import clean

NOW_S = 1_763_800_000.0
MB = 10**6
Usage = namedtuple("Usage", "total used free")


class Disk:
    """A data folder on a small disk: what is free follows from what is in it."""

    def __init__(self, data: Path, size_mb: float, monkeypatch) -> None:
        self.data = data
        self.clips = ClipStore(data)
        self.size = int(size_mb * MB)
        monkeypatch.setattr(storage.shutil, "disk_usage", self.usage)

    def usage(self, path: Path) -> Usage:
        used = sum(os.stat(file).st_size for file in self.data.rglob("*") if file.is_file())
        return Usage(self.size, used, self.size - used)

    def add(self, folder: str, days_ago: float, *, keep: bool | None = None, writing: bool = False) -> str:
        start_s = NOW_S - days_ago * 86400
        name = f"pen_{time.strftime('%Y%m%dT%H%M%S', time.gmtime(start_s))}.000Z"
        path = self.data / folder / "pen" / f"{name}.imb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(MB))
        path.with_name(path.name + INDEX_SUFFIX).write_bytes(b"NIMSIDX1")
        if keep is not None:
            clip = Clip(
                name=name,
                sonar="pen",
                profile="kongsberg-m3",
                suffix=".imb",
                start_s=start_s,
                end_s=start_s,
                tracks=[],
                reason="track",
                keep=keep,
                bytes=MB,
            )
            self.clips.write(clip)
        if not writing:
            os.utime(path, (1e9, 1e9))
        return path.name

    def clean(self, **settings: float) -> storage.Removed:
        return clean(self.data, self.clips, StorageSettings(**{"min_free_gb": 0.0} | settings), NOW_S)

    def left(self, folder: str) -> list[str]:
        return sorted(file.name for file in (self.data / folder).rglob("*.imb"))


@pytest.fixture
def disk(tmp_path: Path, monkeypatch) -> Disk:
    return Disk(tmp_path, 20, monkeypatch)


def test_nothing_is_removed_without_need(disk: Disk) -> None:
    disk.add(FOLDER, 400)
    assert disk.clean().files == 0


def test_the_oldest_go_when_a_budget_is_spent(disk: Disk) -> None:
    names = [disk.add(FOLDER, days) for days in (5, 4, 3, 2, 1)]
    removed = disk.clean(recordings_gb=0.003)
    assert (removed.files, removed.bytes) == (2, 2 * MB)
    assert disk.left(FOLDER) == names[2:]
    assert len(list((disk.data / FOLDER / "pen").iterdir())) == 6, "the index goes with its file"


def test_what_is_too_old_goes(disk: Disk) -> None:
    disk.add(CLIPS_FOLDER, 31, keep=False)
    kept = disk.add(CLIPS_FOLDER, 32, keep=True)
    young = disk.add(CLIPS_FOLDER, 29, keep=False)
    disk.clean(clips_days=30)
    assert disk.left(CLIPS_FOLDER) == sorted([kept, young])


def test_when_room_is_needed_recordings_go_first_and_kept_clips_last(disk: Disk) -> None:
    disk.size = 6 * MB + 10_000
    for days in (2, 1):
        disk.add(FOLDER, days)
        disk.add(CLIPS_FOLDER, days + 10, keep=False)
        disk.add(CLIPS_FOLDER, days + 20, keep=True)
    left = []
    for free_mb in (1.9, 3.9, 4.9, 5.9):
        removed = disk.clean(min_free_gb=free_mb / 1000)
        left.append((len(disk.left(FOLDER)), len(disk.left(CLIPS_FOLDER)), len(removed.kept_clips)))
    assert left == [(0, 4, 0), (0, 2, 0), (0, 1, 1), (0, 0, 1)]


def test_a_file_that_is_being_written_stays(disk: Disk) -> None:
    name = disk.add(FOLDER, 1, writing=True)
    disk.clean(min_free_gb=1.0, recordings_days=0.1)
    assert disk.left(FOLDER) == [name]


def test_what_cannot_be_removed_is_told_and_hinders_nothing(disk: Disk, monkeypatch) -> None:
    stuck = disk.add(FOLDER, 3)
    disk.add(FOLDER, 2)
    real = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.name == stuck:
            raise PermissionError(13, "Permission denied")
        real(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    removed = disk.clean(recordings_days=1)
    assert disk.left(FOLDER) == [stuck]
    assert removed.errors == [f"{FOLDER}/pen/{stuck}: Permission denied"]


async def test_another_folder_in_place_of_the_data_folder_is_told_on_every_page(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    plugins = PluginHost.load(None)
    context = Context(data, ConfigStore.load(data, plugins=plugins), plugins)
    part = context.health.part("storage")
    looks = storage.Storage(context, part)
    await looks._look()
    assert (part.state, part.warning) == ("running", "")
    data.rename(tmp_path / "gone")
    data.mkdir()
    await looks._look()
    assert "is not the folder of the start" in part.warning
    data.rmdir()
    (tmp_path / "gone").rename(data)
    await looks._look()
    assert part.warning == ""
