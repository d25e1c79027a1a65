"""The data folder: which one, made on first use, and held by one appliance at a time."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import ConfigError

DATA_VARIABLE = "NIMS_DATA"


def default_data() -> Path:
    """Return the data folder that counts when none is given: NIMS_DATA, or nims-data beside the zipapp or here."""
    given = os.environ.get(DATA_VARIABLE)
    if given:
        return Path(given).expanduser().absolute()
    program = Path(sys.argv[0]).resolve()
    beside = program.parent if program.suffix in (".pyz", ".pex") and program.is_file() else Path.cwd()
    return beside / "nims-data"


def prepare_data(data: Path) -> None:
    """Make the data folder and its sub-folders, and check that they can be written.

    Raises:
      ConfigError: they cannot; says what to set.
    """
    try:
        for folder in (data, data / "plugins", data / "profiles", data / "logs"):
            folder.mkdir(parents=True, exist_ok=True)
        probe = data / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise _unwritable(data, error) from None


def _unwritable(data: Path, error: OSError) -> ConfigError:
    remedy = f"give another with --data DIR or {DATA_VARIABLE}=DIR"
    return ConfigError(f"data folder {data}: cannot be written: {error.strerror}; {remedy}")


@contextmanager
def lock_data(data: Path) -> Iterator[None]:
    """Hold the data folder; the kernel lets go of it however the process ends.

    Raises:
      ConfigError: another appliance holds it, or it cannot be written.
    """
    try:
        lock = (data / ".lock").open("ab+", buffering=0)
    except OSError as error:
        raise _unwritable(data, error) from None
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ConfigError(
                f"data folder {data}: another appliance uses it (process {file.read().decode().strip() or '?'}); "
                "stop that one, or give this one its own with --data DIR"
            ) from None
        except OSError:
            pass  # a network file system without locks
        with suppress(OSError):  # on a full disk the number is missing, nothing else
            file.truncate(0)
            file.write(str(os.getpid()).encode())
        yield


def is_at(path: Path, known: os.stat_result) -> bool:
    """Return whether a path still leads to the file or folder that it led to before.

    It does not when that was moved or deleted, or when its disk was pulled out or came back.
    """
    try:
        now = path.stat()
    except OSError:
        return False
    return (now.st_dev, now.st_ino) == (known.st_dev, known.st_ino)


def holder_of(data: Path) -> str:
    """Return the process number of the appliance that holds a data folder; "" if none does."""
    try:
        with (data / ".lock").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read().strip() or "?"
    except OSError:
        pass
    return ""
