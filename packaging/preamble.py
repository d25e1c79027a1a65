"""Run by shiv after unpacking, before the appliance: removes what earlier builds unpacked.

Only folders that packaging/start.py made are touched, and none that is in use: a running appliance holds a shared lock
on its folder, which the kernel takes back however the process ends.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sys
from pathlib import Path

STAMP = "nims-complete"
UNPACKED = re.compile(r".+_[0-9a-f]{64}(\.tmp)?")


def remove_old(root: Path, keep: Path) -> list[Path]:
    """Folders in `root`, other than `keep`, that were unpacked by other builds, are not in use, and are now gone."""
    if not os.access(root, os.W_OK):
        return []
    removed = []
    lock = os.open(root, os.O_RDONLY)
    try:
        if not lock_now(lock):  # somebody is unpacking; the next start cleans up
            return []
        for folder in sorted(root.iterdir()):
            if folder != keep and is_unpacked(folder) and remove_unused(folder):
                removed.append(folder)
    finally:
        os.close(lock)
    return removed


def is_unpacked(folder: Path) -> bool:
    """Whether the zipapp made this folder: complete with its stamp, or left half-way when power was lost."""
    if not UNPACKED.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
        return False
    half = folder.name.endswith(".tmp") and [*folder.iterdir()] == [folder / "site-packages"]
    return half or (folder / STAMP).is_file()


def remove_unused(folder: Path) -> bool:
    """Remove `folder` unless a process holds it; False if it stays."""
    held = os.open(folder, os.O_RDONLY)
    try:
        if not lock_now(held):
            return False
        # First the stamp: whoever opened the folder meanwhile finds it incomplete and unpacks again.
        (folder / STAMP).unlink(missing_ok=True)
        shutil.rmtree(folder)
        return True
    except OSError as error:
        print(f"nims: an old unpacked version stays in {folder}: {error.strerror}", file=sys.stderr)
        return False
    finally:
        os.close(held)


def lock_now(descriptor: int) -> bool:
    """Whether nobody else holds a lock on it; False also where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    # `site_packages` is given by shiv. SHIV_ROOT, set by start.py, must not reach other zipapps started from here.
    os.environ.pop("SHIV_ROOT", None)
    unpacked = globals()["site_packages"].parent
    remove_old(unpacked.parent, keep=unpacked)
