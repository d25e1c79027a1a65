"""Backup: settings, users, profiles and the archive of a data folder as one file, and the way back.

A backup is a zip file whose `manifest.json` names every file in it with its size and SHA-256. The archive is copied as
SQLite copies a file that is in use; recordings, clips and logs are not in it, and of plugins only their names are.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import sqlite3
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from . import __version__
from .access.store import USERS_FILE
from .archive import FILE_NAME, SCHEMA_VERSION
from .archive.schema import open_read_only
from .config.history import HISTORY_FILE, SEEN_FILE
from .config.store import CONFIG_FILE, OVERRIDES_FILE
from .data_folder import lock_data, prepare_data
from .errors import NimsError

MANIFEST = "manifest.json"
FORMAT = 1
SETTINGS = (CONFIG_FILE, OVERRIDES_FILE, USERS_FILE, HISTORY_FILE, SEEN_FILE)
PROFILE = re.compile(r"profiles/[A-Za-z0-9][A-Za-z0-9._+-]{0,119}\.ya?ml")
SIDE_FILES = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside the archive; of another archive it would spoil a restored one."""
PIECE_BYTES = 2**20
MAX_MANIFEST_BYTES = 2**22


class BackupError(NimsError):
    """A backup cannot be made or restored."""


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a backup."""

    name: str
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What a backup says of itself."""

    format: int
    made: str
    """Time, UTC."""
    version: str
    """Of the appliance that made it."""
    files: list[Entry]
    plugins: list[str] = []
    """Names of the files in the plugins folder, which are not in the backup."""


def make_backup(data: Path, output: Path) -> Manifest:
    """Write a backup of a data folder, which may be in use; only its owner may read it, for it holds passwords' hashes.

    Raises:
      BackupError: there is nothing to back up, a file cannot be read, or the backup cannot be written.
    """
    names = [name for name in SETTINGS if (data / name).is_file()]
    names += [f"profiles/{path.name}" for path in sorted((data / "profiles").glob("*.y*ml"))]
    names = [name for name in names if name in SETTINGS or PROFILE.fullmatch(name)]
    has_archive = (data / FILE_NAME).is_file()
    if not names and not has_archive:
        raise BackupError(f"{data}: there is nothing to back up; give the data folder of an appliance with --data DIR")
    plugins = sorted(path.name for path in (data / "plugins").glob("[!._]*"))
    try:
        with tempfile.TemporaryDirectory(prefix=".nims-backup-", dir=output.parent) as folder:
            written = Path(folder) / "backup"
            entries = []
            with zipfile.ZipFile(written, "x", zipfile.ZIP_DEFLATED, compresslevel=1) as backup:
                for name in names:
                    entries.append(_put(backup, name, data / name))
                if has_archive:
                    copy = Path(folder) / FILE_NAME
                    _copy_archive(data / FILE_NAME, copy)
                    entries.append(_put(backup, FILE_NAME, copy))
                made = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                manifest = Manifest(FORMAT, made, __version__, entries, plugins)
                backup.writestr(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
            written.chmod(0o600)
            _sync(written)
            os.replace(written, output)
            _sync(output.parent)
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"cannot back up {data} to {output}: {_reason(error)}") from error
    return manifest


def _put(backup: zipfile.ZipFile, name: str, path: Path) -> Entry:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as source, backup.open(name, "w", force_zip64=True) as sink:
        while piece := source.read(PIECE_BYTES):
            digest.update(piece)
            size += len(piece)
            sink.write(piece)
    return Entry(name, size, digest.hexdigest())


def _copy_archive(source: Path, target: Path) -> None:
    """Copy the archive as it is at one moment; its writer goes on meanwhile."""
    with contextlib.closing(open_read_only(source)) as archive, contextlib.closing(sqlite3.connect(target)) as copy:
        archive.execute("PRAGMA busy_timeout = 10000")
        # In one step: in several, SQLite begins again whenever something was written in between.
        archive.backup(copy)


def read_manifest(backup: zipfile.ZipFile) -> Manifest:
    """Return the manifest of an open backup, checked: every file is one that a backup may hold, and is there once.

    Raises:
      BackupError: it is none, or of a newer version.
    """
    members = {member.filename: member for member in backup.infolist()}
    if MANIFEST not in members or members[MANIFEST].file_size > MAX_MANIFEST_BYTES:
        raise BackupError("it is no backup of an appliance: expected a zip file with a manifest.json")
    try:
        manifest = msgspec.json.decode(backup.read(MANIFEST), type=Manifest)
    except msgspec.DecodeError as error:
        raise BackupError(f"manifest.json is damaged: {error}") from None
    if manifest.format != FORMAT:
        raise BackupError(f"a newer appliance ({manifest.version}) made it, in format {manifest.format}")
    names = [entry.name for entry in manifest.files]
    for name in names:
        if name not in (*SETTINGS, FILE_NAME) and not PROFILE.fullmatch(name):
            raise BackupError(f"{name!r} has no place in a backup")
    if sorted([*names, MANIFEST]) != sorted(member.filename for member in backup.infolist()):
        raise BackupError("its files are not those that its manifest names")
    for entry in manifest.files:
        if members[entry.name].file_size != entry.bytes:
            raise BackupError(
                f"{entry.name}: expected {entry.bytes} bytes, got {members[entry.name].file_size}: it is damaged"
            )
    return manifest


def restore_backup(source: Path, data: Path, *, force: bool = False) -> tuple[Manifest, Path | None]:
    """Put a backup into a data folder; return its manifest, and where what was there has gone, if anything was.

    The whole backup is unpacked and checked before anything in the folder changes. What was there is moved aside, never
    removed.

    Raises:
      BackupError: the file is no whole backup, or the folder holds an appliance's files and `force` is not given.
      ConfigError: an appliance uses the folder, or it cannot be written.
    """
    try:
        backup = zipfile.ZipFile(source)
    except (OSError, zipfile.BadZipFile) as error:
        raise BackupError(f"{source}: cannot be read as a backup: {_reason(error)}") from None
    with backup, _explained(source):
        manifest = read_manifest(backup)
        prepare_data(data)
        with lock_data(data), _unpacking(data) as unpacked:
            present = _present(data)
            if present and not force:
                raise BackupError(
                    f"{data} holds {', '.join(present[:5])} already: give another folder with --data DIR, or --force "
                    "to move what is there aside"
                )
            needed, free = sum(entry.bytes for entry in manifest.files), shutil.disk_usage(data).free
            if needed > free:
                raise BackupError(f"{needed / 1e6:.0f} MB are needed on the disk of {data}, {free / 1e6:.0f} are free")
            for entry in manifest.files:
                _take(backup, entry, unpacked / entry.name)
            _check_archive(unpacked / FILE_NAME)
            return manifest, _exchange(data, unpacked, manifest, present)


@contextlib.contextmanager
def _unpacking(data: Path) -> Iterator[Path]:
    """Give a folder for a while; what a restore left behind that was cut short is removed."""
    for left in data.glob(".restore-*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=data) as folder:
        yield Path(folder)


def _present(data: Path) -> list[str]:
    """Return the files of a data folder that a backup replaces."""
    names = [*SETTINGS, FILE_NAME, *(f"{FILE_NAME}{suffix}" for suffix in SIDE_FILES)]
    found = [name for name in names if (data / name).exists()]
    return found + [f"profiles/{path.name}" for path in sorted((data / "profiles").glob("*.y*ml"))]


def _take(backup: zipfile.ZipFile, entry: Entry, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if entry.name == USERS_FILE else 0o644)
    with backup.open(entry.name) as source, open(descriptor, "wb") as sink:
        while piece := source.read(PIECE_BYTES):
            size += len(piece)
            if size > entry.bytes:
                break
            digest.update(piece)
            sink.write(piece)
        sink.flush()
        os.fsync(sink.fileno())
    if size != entry.bytes or digest.hexdigest() != entry.sha256:
        raise BackupError(f"{entry.name} is damaged: its checksum is not that of the manifest")


def _check_archive(path: Path) -> None:
    if not path.exists():
        return
    with contextlib.closing(sqlite3.connect(path)) as archive:
        (answer,) = archive.execute("PRAGMA quick_check(1)").fetchone()
        (version,) = archive.execute("PRAGMA user_version").fetchone()
    if answer != "ok":
        raise BackupError(f"{path.name} is damaged: {answer}")
    if version > SCHEMA_VERSION:
        raise BackupError(f"{path.name}: a newer appliance wrote it (schema {version}, known is {SCHEMA_VERSION})")


def _exchange(data: Path, unpacked: Path, manifest: Manifest, present: list[str]) -> Path | None:
    """Move what is there aside, then the unpacked files into place; whatever fails, nothing is lost."""
    aside = None
    if present:
        aside = Path(tempfile.mkdtemp(prefix=time.strftime("before-restore-%Y%m%dT%H%M%SZ-", time.gmtime()), dir=data))
        (aside / "profiles").mkdir()
    moved: list[tuple[Path, Path]] = []
    try:
        for name in present:
            assert aside is not None
            moved.append((data / name, aside / name))
            os.rename(*moved[-1])
        for entry in manifest.files:
            moved.append((unpacked / entry.name, data / entry.name))
            os.rename(*moved[-1])
    except OSError:
        for before, after in reversed(moved):
            with contextlib.suppress(OSError):
                os.rename(after, before)
        raise
    for folder in (data, data / "profiles", *([aside] if aside else [])):
        _sync(folder)
    return aside


@contextlib.contextmanager
def _explained(source: Path) -> Iterator[None]:
    """Name the backup in whatever is wrong with it."""
    try:
        yield
    except BackupError as error:
        raise BackupError(f"{source}: {error}") from None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise BackupError(f"{source}: cannot be restored: {_reason(error)}; nothing was changed") from error
    except sqlite3.Error as error:
        raise BackupError(f"{source}: {FILE_NAME} is damaged: {error}; nothing was changed") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
