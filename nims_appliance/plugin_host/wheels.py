"""Wheels that a vendor drops into the data folder: do they fit this Python, and where are their files.

The zipapp must not need pip, so the few rules of wheel tags that matter here are spelled out (PEP 425, 600, 656).
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from ..errors import PluginError

MAX_UNPACKED_BYTES = 2**30
_LEGACY_MANYLINUX = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}


def check_wheel_fits(filename: str) -> None:
    """Check a wheel's name against the running Python and platform.

    Raises:
      PluginError: the name is not that of a wheel, or the wheel was built for something else; says for what.
    """
    parts = filename.removesuffix(".whl").split("-")
    if not filename.endswith(".whl") or len(parts) not in (5, 6):
        raise PluginError(
            f"{filename}: expected name-version-python-abi-platform.whl; keep the name that the wheel was built with"
        )
    pythons, abis, platforms = (tag.split(".") for tag in parts[-3:])
    here = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    if not any(_python_fits(python, abi) for python in pythons for abi in abis):
        raise PluginError(
            f"{filename}: built for {parts[-3]}-{parts[-2]}, this is {here}; ask the vendor for a wheel for {here}"
        )
    if not any(_platform_fits(name) for name in platforms):
        machine = sysconfig.get_platform()
        raise PluginError(
            f"{filename}: built for {parts[-1]}, this is {machine}; ask the vendor for a wheel for {machine}"
        )


def _python_fits(python: str, abi: str) -> bool:
    major, minor = sys.version_info[:2]
    match = re.fullmatch(r"(py|cp)(\d)(\d*)", python)
    if not match or int(match[2]) != major:
        return False
    wanted_minor = int(match[3]) if match[3] else None
    if abi == "none":
        return wanted_minor is None or wanted_minor <= minor if match[1] == "py" else wanted_minor in (None, minor)
    if match[1] != "cp" or sys.implementation.name != "cpython":
        return False
    if abi == "abi3":
        return wanted_minor is not None and wanted_minor <= minor
    return wanted_minor == minor and abi == f"cp{major}{minor}{getattr(sys, 'abiflags', '')}"


def _platform_fits(name: str) -> bool:
    if name == "any":
        return True
    here = re.sub(r"[-.]", "_", sysconfig.get_platform())
    if name == here:
        return True
    if here.startswith("linux_"):
        machine = here.removeprefix("linux_")
        match = re.fullmatch(r"(manylinux\d+|manylinux_\d+_\d+|musllinux_\d+_\d+)_" + re.escape(machine), name)
        if not match:
            return False
        library, version = _c_library()
        if match[1].startswith("musllinux"):
            return library == "musl"
        needed = _LEGACY_MANYLINUX.get(match[1]) or tuple(int(n) for n in match[1].split("_")[1:])
        return library == "glibc" and len(needed) == 2 and needed <= version
    if here.startswith("macosx_"):
        match = re.fullmatch(r"macosx_(\d+)_(\d+)_(\w+)", name)
        release = tuple(int(n) for n in platform.mac_ver()[0].split(".")[:2])
        if not match or match[3] not in (platform.machine(), "universal2"):
            return False
        return (int(match[1]), int(match[2])) <= release
    return False


def _c_library() -> tuple[str, tuple[int, int]]:
    """Return ("glibc", (2, 36)), or ("musl", (0, 0)) where there is no glibc."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        major, minor = version.split(".")[:2]
        return name, (int(major), int(minor))
    except (AttributeError, OSError, ValueError):
        return "musl", (0, 0)


def unpack_wheel(wheel: Path, cache: Path) -> Path:
    """Return the folder with a wheel's files, unpacked under `cache` on first use; it goes on ``sys.path``.

    The folder is named by the wheel's content, so a wheel that is replaced is unpacked anew.

    Raises:
      PluginError: the wheel does not fit, is damaged, or cannot be unpacked.
    """
    check_wheel_fits(wheel.name)
    try:
        with wheel.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        target = cache / f"{'-'.join(wheel.name.split('-')[:2])}-{digest}"
        if target.is_dir():
            return target
        cache.mkdir(parents=True, exist_ok=True)
        with (
            zipfile.ZipFile(wheel) as archive,
            tempfile.TemporaryDirectory(dir=cache, prefix=".unpacking-") as temporary,
        ):
            _extract(archive, Path(temporary) / "files", wheel.name)
            # Else a power cut could leave the folder with its name and without what is in it.
            if hasattr(os, "sync"):
                os.sync()
            os.replace(Path(temporary) / "files", target)
        return target
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise PluginError(f"{wheel.name}: not a readable wheel ({error}); copy it again") from None
    except OSError as error:
        raise PluginError(f"{wheel.name}: cannot be unpacked to {cache}: {error}") from None


def _extract(archive: zipfile.ZipFile, target: Path, name: str) -> None:
    members = [member for member in archive.infolist() if not member.is_dir()]
    size = sum(member.file_size for member in members)
    if size > MAX_UNPACKED_BYTES:
        raise PluginError(f"{name}: expected at most {MAX_UNPACKED_BYTES >> 20} MiB of files, got {size >> 20} MiB")
    if not any(member.filename.split("/")[0].endswith(".dist-info") for member in members):
        raise PluginError(f"{name}: expected a .dist-info folder in it, got none; is it a wheel")
    target.mkdir()
    for member in members:
        path = PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename:
            raise PluginError(f"{name}: a file in it wants to be outside of it: {member.filename!r}")
        if path.parts[0].endswith(".data"):
            # purelib and platlib belong beside the rest; scripts, headers and data have no place in a plugin.
            if len(path.parts) < 3 or path.parts[1] not in ("purelib", "platlib"):
                continue
            path = PurePosixPath(*path.parts[2:])
        file = target.joinpath(*path.parts)
        file.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(member) as source, file.open("wb") as sink:
            shutil.copyfileobj(source, sink)


def forget_other_wheels(cache: Path, keep: set[Path]) -> None:
    """Remove unpackings of wheels that are no longer there; what cannot be removed stays."""
    if cache.is_dir():
        for folder in cache.iterdir():
            if folder not in keep:
                shutil.rmtree(folder, ignore_errors=True)
