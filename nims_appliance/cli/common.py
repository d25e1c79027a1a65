"""What several commands share: the option for the data folder, loading of plugins and settings, logging."""

from __future__ import annotations

import logging
import logging.handlers
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import click
import trio

from ..data_folder import default_data
from ..errors import ConfigError
from ..recent_log import RecentLog

if TYPE_CHECKING:
    from ..config.store import ConfigStore
    from ..plugin_host.host import PluginHost

T = TypeVar("T")

LOG_BYTES = 5_000_000
LOG_FILES = 5


def _to_path(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Path:
    return Path(value).expanduser().absolute() if value else default_data()


data_option = click.option(
    "--data",
    metavar="DIR",
    callback=_to_path,
    help="Data folder. [default: $NIMS_DATA, or nims-data beside nims.pyz, or in the current folder]",
)


class WhenStarted(Generic[T], trio.TaskStatus[T]):
    """A task status that calls a function with what the task reports, once it has started."""

    def __init__(self, tell: Callable[[T], object]) -> None:
        self._tell = tell

    def started(self, value: T) -> None:
        """Called by the task."""
        self._tell(value)


def load(data: Path, command_line: dict[str, Any] | None = None) -> tuple[PluginHost, ConfigStore]:
    """Return plugins and settings of a data folder."""
    from ..config.store import ConfigStore
    from ..plugin_host.host import PluginHost

    plugins = PluginHost.load(data)
    return plugins, ConfigStore.load(data, plugins=plugins, environ=os.environ, command_line=command_line)


def start_logging(folder: Path | None) -> RecentLog:
    """Send events to stderr and, with a folder, to nims.log in it; a full disk silences the file, nothing else.

    Returns the last of them, kept in memory for the health page.
    """
    logging.raiseExceptions = False
    recent = RecentLog()
    handlers: list[logging.Handler] = [logging.StreamHandler(), recent]
    if folder is not None:
        handlers.append(
            logging.handlers.RotatingFileHandler(
                folder / "nims.log", maxBytes=LOG_BYTES, backupCount=LOG_FILES - 1, encoding="utf-8", delay=True
            )
        )
    formatter = logging.Formatter("%(asctime)sZ %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    for handler in handlers:
        handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    # These report what the appliance reports itself, each client twice.
    for noisy in ("hypercorn", "quart", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return recent


def parse_settings(texts: tuple[str, ...]) -> dict[str, Any]:
    """Return {"detector.min_range_m": 2.0} for ("detector.min_range_m=2",).

    Raises:
      ConfigError: a text is not key=value.
    """
    from ..config.yaml import parse_scalar

    settings: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not all(key.split(".")):
            raise ConfigError(f"--set {text!r}: expected KEY=VALUE, as in detector.min_range_m=2")
        settings[key] = parse_scalar(value)
    return settings
