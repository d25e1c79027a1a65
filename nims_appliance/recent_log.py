"""The last records of the log, kept in memory for the health page and for what is sent to support."""

from __future__ import annotations

import itertools
import logging
import re
import traceback
from collections import deque
from dataclasses import dataclass

KEPT_RECORDS = 500
MAX_CHARACTERS = 8000
"""Of one record; a longer one is cut."""

_SECRETS = (
    (re.compile(r"(?<=://)[^/\s@]+@"), "***@"),
    (
        re.compile(
            r"(?i)((?:password|passwd|secret|token|api[-_ ]?key|authorization|cookie)s?\"?\s*[=:]\s*)(\"[^\"]*\"|\S+)"
        ),
        r"\1***",
    ),
)


def without_secrets(text: str) -> str:
    """Return the text with stars in place of what looks like a password: in addresses, and behind such words."""
    for pattern, stars in _SECRETS:
        text = pattern.sub(stars, text)
    return text


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record, ready to be shown."""

    number: int
    """Counts up from 1, without gaps."""
    time_utc_s: float
    level: str
    """"DEBUG", "INFO", "WARNING", "ERROR" or "CRITICAL"."""
    source: str
    text: str
    """Without secrets; with the traceback of a defect."""


class RecentLog(logging.Handler):
    """Keeps the last records that pass the root logger; any thread may log, any thread may ask."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._records: deque[LogRecord] = deque(maxlen=KEPT_RECORDS)
        self._numbers = itertools.count(1)
        self.counts = {"WARNING": 0, "ERROR": 0}
        """Warnings, and errors of any kind, since the start."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record; called by logging, under the handler's lock."""
        try:
            text = record.getMessage()
            if record.exc_info and record.exc_info[0] is not None:
                text += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
        except Exception:  # noqa: BLE001 - a record whose arguments do not fit its text
            text = str(record.msg)
        if len(text) > MAX_CHARACTERS:
            text = text[:MAX_CHARACTERS] + " ..."
        if record.levelno >= logging.ERROR:
            self.counts["ERROR"] += 1
        elif record.levelno >= logging.WARNING:
            self.counts["WARNING"] += 1
        self._records.append(
            LogRecord(next(self._numbers), record.created, record.levelname, record.name, without_secrets(text))
        )

    @property
    def newest(self) -> int:
        """Number of the newest record, 0 before the first."""
        return self._records[-1].number if self._records else 0

    def records(self, after: int = 0, least_level: str = "INFO") -> list[LogRecord]:
        """Return the kept records with numbers above `after`, oldest first, of a level and above it.

        Raises:
          ValueError: there is no such level.
        """
        least = logging.getLevelNamesMapping().get(least_level.upper())
        if least is None:
            raise ValueError(f"expected DEBUG, INFO, WARNING, ERROR or CRITICAL, got {least_level!r}")
        self.acquire()
        try:
            kept = list(self._records)
        finally:
            self.release()
        names = logging.getLevelNamesMapping()
        return [record for record in kept if record.number > after and names.get(record.level, 0) >= least]
