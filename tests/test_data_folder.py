"""The data folder of a computer whose disk is full or not there."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nims_appliance.data_folder import holder_of, lock_data, prepare_data
from nims_appliance.errors import ConfigError


@contextmanager
def full_disk() -> Iterator[None]:
    """No byte can be written to any file; not a fixture, since the runner's own report may go to a file."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_keeps_nobody_from_starting(tmp_path: Path) -> None:
    with full_disk():
        prepare_data(tmp_path / "data")
        start_twice(tmp_path / "data")


def start_twice(data: Path) -> None:
    with lock_data(data):
        assert holder_of(data) == "?"
        with (
            pytest.raises(ConfigError, match=r"another appliance uses it \(process \?\)"),
            lock_data(data),
        ):
            pass


def test_a_lock_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    said = "cannot be written: Is a directory; give another with --data"
    with pytest.raises(ConfigError, match=said), lock_data(tmp_path):
        pass
