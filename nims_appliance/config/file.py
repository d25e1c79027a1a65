"""The two configuration files on disk: read whatever is there, write so that a power cut leaves the old or the new."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from ..errors import ConfigError
from .yaml import MAX_BYTES, Document, read_document

HEADER = (
    "# Changes made in the browser, laid over config.yaml. The appliance writes this file: stop it before you edit.\n"
)


def read_config_file(path: Path) -> Document:
    """Return what is in a file; an absent one is empty, an unreadable one has an error."""
    try:
        if path.is_fifo():
            # Opening it would wait for a writer, for ever.
            return Document(path.name, errors=[f"{path.name}: expected a file, got a pipe"])
        with path.open("rb") as file:
            # One byte more than is accepted: enough to be refused for its size.
            return read_document(file.read(MAX_BYTES + 1), path.name)
    except FileNotFoundError:
        return Document(path.name)
    except OSError as error:
        return Document(path.name, errors=[f"{path.name}: cannot be read: {error.strerror}"])


def set_aside(path: Path) -> None:
    """Rename a file that cannot be used, so that nothing in it is lost.

    Raises:
      ConfigError: it cannot be renamed.
    """
    target = path.with_name(f"{path.name}.broken-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    try:
        os.replace(path, target)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ConfigError(f"{path.name}: cannot be set aside: {error.strerror} (nothing was changed)") from None


def write_overrides(path: Path, text: str) -> None:
    """Replace the content of overrides.yaml at once, under its header.

    Raises:
      ConfigError: it cannot be written; the file is as it was.
    """
    replace_file(path, (HEADER + text).encode())


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file's content at once: temporary file, fsync, rename, fsync of the folder.

    Raises:
      ConfigError: it cannot be written; the file is as it was.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise ConfigError(f"{path.name}: cannot be written: {error.strerror} (nothing was changed)") from None


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut; some network file systems cannot, which is no reason to fail."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
