"""Who changed which setting, when and from where: a bounded list in the data folder, a line of JSON for each change.

Lines are appended and never altered; beyond `MAX_ENTRIES` or `MAX_BYTES` the oldest go. A line that cannot be read, the
torn last one after a power cut, is passed over. What the files and the command line said at the last start is kept
beside it, so that an edit made while the appliance was stopped is noticed at the next.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..errors import ConfigError
from .file import replace_file

log = logging.getLogger(__name__)

HISTORY_FILE = "settings-history.jsonl"
SEEN_FILE = "settings-seen.json"
MAX_ENTRIES = 1000
MAX_BYTES = 4_000_000


class Row(msgspec.Struct, frozen=True):
    """One setting of a change."""

    key: str
    """Dotted; may name a whole sonar or zone."""
    old: Any
    """Effective before; None: there was none."""
    new: Any
    """Effective after."""
    override_before: Any = None
    """What overrides.yaml said; None: nothing."""
    override_after: Any = None


class Entry(msgspec.Struct, frozen=True):
    """One change."""

    number: int
    """Counts up from 1."""
    time_utc_s: float
    author: str
    source: str
    """"browser", "API", "config.yaml", "overrides.yaml", "environment" or "command line"."""
    rows: list[Row]
    undoes: int | None = None
    """Number of the change that this one took back."""


class History:
    """The list of one data folder; for one thread at a time."""

    def __init__(self, data: Path) -> None:
        self._path = data / HISTORY_FILE
        self._seen_path = data / SEEN_FILE
        self._entries: list[Entry] | None = None
        self._bytes = 0

    @property
    def entries(self) -> list[Entry]:
        """All that are kept, oldest first; read from the file on first use."""
        if self._entries is None:
            self._entries = self._read()
        return self._entries

    def entry(self, number: int) -> Entry:
        """Return one by its number.

        Raises:
          ConfigError: it is not kept (any more).
        """
        for entry in self.entries:
            if entry.number == number:
                return entry
        raise ConfigError(f"change {number}: not in the history, which keeps the last {MAX_ENTRIES}")

    def add(self, author: str, source: str, rows: Iterable[Row], undoes: int | None = None) -> Entry:
        """Append a change. A disk that does not take it is logged: the change itself has taken effect."""
        entries = self.entries
        number = entries[-1].number + 1 if entries else 1
        entry = Entry(number, time.time(), author, source, list(rows), undoes)
        entries.append(entry)
        line = msgspec.json.encode(entry) + b"\n"
        self._bytes += len(line)
        try:
            if len(entries) > MAX_ENTRIES * 5 // 4 or self._bytes > MAX_BYTES:
                self._trim()
            else:
                self._append(line)
        except (OSError, ConfigError) as error:
            log.error("%s: cannot be written: %s; the change of %s is not in it", self._path.name, error, author)
        return entry

    def notice(self, places: Mapping[str, Mapping[str, Any]]) -> list[Entry]:
        """Add what changed since the last start; returns what was added.

        Args:
          places: by "config.yaml", "command line" and so on, the values that they give by dotted key.
        """
        seen = self._read_seen()
        added = []
        if seen is not None:
            for place, values in places.items():
                before = seen.get(place, {})
                keys = [key for key in {**before, **values} if before.get(key) != values.get(key)]
                if keys:
                    rows = [Row(key, before.get(key), values.get(key)) for key in keys]
                    added.append(self.add("", place, rows))
        if seen != places:
            self.remember(places)
        return added

    def remember(self, places: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep what the files and the command line say, to compare with it at the next start."""
        try:
            replace_file(self._seen_path, msgspec.json.encode(places))
        except ConfigError as error:
            log.error("%s", error)

    def _read_seen(self) -> dict[str, dict[str, Any]] | None:
        try:
            return msgspec.json.decode(self._seen_path.read_bytes(), type=dict[str, dict[str, Any]])
        except (OSError, msgspec.DecodeError):
            return None  # the first start, or a torn file: begin anew

    def _read(self) -> list[Entry]:
        try:
            lines = self._path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        except OSError as error:
            log.error("%s: cannot be read: %s", self._path.name, error.strerror)
            return []
        entries = []
        for number, line in enumerate(lines, 1):
            try:
                entries.append(msgspec.json.decode(line, type=Entry))
            except msgspec.DecodeError as error:
                log.warning("%s:%d: passed over: %s", self._path.name, number, error)
        self._bytes = sum(map(len, lines))
        return entries

    def _append(self, line: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab+") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # torn by a power cut
                    file.write(b"\n")
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def _trim(self) -> None:
        lines = [msgspec.json.encode(entry) + b"\n" for entry in self.entries[-MAX_ENTRIES:]]
        while len(lines) > 1 and sum(map(len, lines)) > MAX_BYTES // 2:
            lines = lines[len(lines) // 2 :]
        self._entries = self.entries[-len(lines) :]
        self._bytes = sum(map(len, lines))
        replace_file(self._path, b"".join(lines))
