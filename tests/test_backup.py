"""Backup and restore, from a data folder in use to another one; and every file that is not a whole backup."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from nims_appliance.archive.schema import FILE_NAME, connect
from nims_appliance.backup import BackupError, make_backup, restore_backup
from nims_appliance.cli import nims
from nims_appliance.data_folder import lock_data
from nims_appliance.errors import ConfigError

EVENT = "INSERT INTO events (time_s, part, kind, text, author) VALUES (?, 'sonar pen', 'start', 'ß', '')"


def events(data: Path) -> int:
    database = sqlite3.connect(data / FILE_NAME)
    try:
        return database.execute("SELECT COUNT(*) FROM events").fetchone()[0]
    finally:
        database.close()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    (folder / "profiles").mkdir(parents=True)
    (folder / "plugins").mkdir()
    (folder / "recordings").mkdir()
    (folder / "config.yaml").write_text("web: {port: 1234}\n")
    (folder / "overrides.yaml").write_text("zones: []\n")
    (folder / "users.json").write_bytes(b"{}")
    (folder / "profiles" / "mine.yaml").write_text("name: mine\n")
    (folder / "plugins" / "vendor.py").write_text("")
    (folder / "recordings" / "big.imb").write_bytes(bytes(1000))
    return folder


@pytest.fixture
def backup(data, tmp_path):
    """A backup of that folder, made while an appliance uses it and its archive."""
    database = connect(data / FILE_NAME)
    with database:
        database.executemany(EVENT, [(float(n),) for n in range(500)])
    with lock_data(data):
        make_backup(data, tmp_path / "b.zip")
    with database:
        database.execute(EVENT, (1e9,))  # after the backup
    database.close()
    return tmp_path / "b.zip"


def test_what_was_backed_up_comes_back(data, backup, tmp_path):
    result = CliRunner().invoke(nims, ["restore", str(backup), "--data", str(tmp_path / "new")], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    for name in ("config.yaml", "overrides.yaml", "users.json", "profiles/mine.yaml"):
        assert (tmp_path / "new" / name).read_bytes() == (data / name).read_bytes()
    assert events(tmp_path / "new") == 500
    assert not (tmp_path / "new" / "recordings").exists()
    assert "vendor.py" in result.output
    assert (tmp_path / "new" / "users.json").stat().st_mode & 0o077 == 0
    assert backup.stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip", "data", "new"]


def test_rows_of_an_archive_that_lost_its_writer_are_backed_up(data, tmp_path):
    database = connect(data / FILE_NAME)
    database.execute("PRAGMA wal_autocheckpoint = 0")
    with database:
        database.execute(EVENT, (1.0,))
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{data / FILE_NAME}{suffix}", crashed)
    database.close()
    make_backup(crashed, tmp_path / "b.zip")
    restore_backup(tmp_path / "b.zip", tmp_path / "new")
    assert events(tmp_path / "new") == 1


def test_a_folder_that_holds_something_is_replaced_only_by_force_and_kept_aside(backup, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.yaml").write_text("old")
    (other / "users.json").write_text("old")
    (other / f"{FILE_NAME}-wal").write_bytes(b"of another archive")
    (other / "settings-seen.json").write_text("old")  # which the backup has not
    with pytest.raises(BackupError, match=r"holds config.yaml, users.json.*--force"):
        restore_backup(backup, other)
    assert (other / "config.yaml").read_text() == "old"
    _, aside = restore_backup(backup, other, force=True)
    assert (other / "config.yaml").read_text() == "web: {port: 1234}\n"
    assert not (other / "settings-seen.json").exists()
    assert events(other) == 500
    assert aside is not None
    assert {name: (aside / name).read_text() for name in ("config.yaml", "users.json", "settings-seen.json")} == {
        "config.yaml": "old",
        "users.json": "old",
        "settings-seen.json": "old",
    }
    assert (aside / f"{FILE_NAME}-wal").read_bytes() == b"of another archive"


def test_a_folder_in_use_is_refused(backup, tmp_path):
    (tmp_path / "busy").mkdir()
    with lock_data(tmp_path / "busy"), pytest.raises(ConfigError, match="another appliance uses it"):
        restore_backup(backup, tmp_path / "busy", force=True)


def repack(source: Path, target: Path, change) -> Path:
    """Write a backup again, with its files changed: change({name: bytes}) -> None."""
    with zipfile.ZipFile(source) as old:
        files = {name: old.read(name) for name in old.namelist()}
    change(files)
    with zipfile.ZipFile(target, "w") as new:
        for name, content in files.items():
            new.writestr(name, content)
    return target


def _named(name: str, content: bytes):
    """Put a file under a name that fits the manifest."""

    def change(files):
        manifest = json.loads(files["manifest.json"])
        manifest["files"] = [entry for entry in manifest["files"] if entry["name"] != name]
        entry = {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        manifest["files"].append(entry)
        files[name], files["manifest.json"] = content, json.dumps(manifest).encode()

    return change


def _swap(old: bytes, new: bytes):
    def change(files):
        assert old in files["manifest.json"]
        files["manifest.json"] = files["manifest.json"].replace(old, new, 1)

    return change


DAMAGES = {
    "another content": (lambda files: files.update({"config.yaml": b"web: {port: 4321}\n"}), "checksum"),
    "a shorter file": (lambda files: files.update({"config.yaml": b"web"}), "expected 18 bytes, got 3"),
    "a file more": (lambda files: files.update({"extra.txt": b""}), "not those that its manifest names"),
    "a file less": (lambda files: files.pop("users.json"), "not those that its manifest names"),
    "no manifest": (lambda files: files.pop("manifest.json"), "no backup of an appliance"),
    "no JSON": (lambda files: files.update({"manifest.json": b"{"}), "manifest.json is damaged"),
    "a newer format": (_swap(b'"format": 1', b'"format": 2'), "a newer appliance"),
    "a way out": (_named("../evil.yaml", b"x"), "has no place"),
    "a way out through profiles": (_named("profiles/../../evil.yaml", b"x"), "has no place"),
    "a plugin": (_named("plugins/evil.py", b"x"), "has no place"),
    "an archive that is none": (_named(FILE_NAME, b"SQLite format 3\0" + bytes(5000)), "damaged"),
}


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("force", [False, True])
def test_a_bad_backup_changes_nothing(backup, tmp_path, kind, force):
    change, expected = DAMAGES[kind]
    bad = repack(backup, tmp_path / "bad.zip", change)
    target = tmp_path / "target"
    target.mkdir()
    if force:
        (target / "config.yaml").write_text("mine")
    with pytest.raises(BackupError, match=expected):
        restore_backup(bad, target, force=force)
    left = {name: content for name, content in contents(target).items() if name != ".lock"}
    assert left == ({"config.yaml": b"mine"} if force else {})
    assert not (tmp_path / "evil.yaml").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_file_that_was_cut_is_told(backup, tmp_path, share):
    whole = backup.read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BackupError, match=r"cut.zip"):
        restore_backup(tmp_path / "cut.zip", tmp_path / "new")


def test_flipped_bytes_never_pass_as_whole(backup, tmp_path):
    whole = bytearray(backup.read_bytes())
    for at in range(40, len(whole), max(len(whole) // 60, 1)):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        (tmp_path / "flip.zip").write_bytes(damaged)
        target = tmp_path / f"new{at}"
        try:
            restore_backup(tmp_path / "flip.zip", target)
        except BackupError:
            assert not (target / FILE_NAME).exists()
        else:
            # A byte that nobody reads, as the time of a member.
            assert events(target) == 500
            assert (target / "config.yaml").read_text() == "web: {port: 1234}\n"


def test_nothing_to_back_up_and_no_place_to_write_are_sentences(data, tmp_path):
    with pytest.raises(BackupError, match="nothing to back up"):
        make_backup(tmp_path / "empty", tmp_path / "b.zip")
    with pytest.raises(BackupError, match="cannot back up"):
        make_backup(data, tmp_path / "nowhere" / "b.zip")
    (data / FILE_NAME).write_bytes(b"no database" * 100)
    with pytest.raises(BackupError, match="cannot back up"):
        make_backup(data, tmp_path / "b.zip")
    assert not (tmp_path / "b.zip").exists()
