"""Health: the state of every part of the appliance, in one place.

The health page, `/healthz` and the state line of the live page are drawn from `Health.snapshot` and nothing else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

log = logging.getLogger(__name__)

STATES = ("starting", "running", "waiting", "failed", "stopped")
"""waiting: alive but without what it needs (a sonar that does not answer); failed: being restarted after an error."""


@dataclass(slots=True)
class Part:
    """One supervised part; its owner writes, everybody reads."""

    name: str
    state: str = "starting"
    detail: str = ""
    """What it is doing or waiting for, for people."""
    restarts: int = 0
    since_utc_s: float = field(default_factory=time.time)
    statistics: Callable[[], dict[str, Any]] | None = None
    """Returns counters as JSON-able values; called on the trio thread, must be quick."""
    warning: str = ""
    """What somebody should look at although the part works: every page shows it."""
    last_error_utc_s: float | None = None
    """When `last_error` was last told; the same error again counts too."""
    _last_error: str = ""

    @property
    def last_error(self) -> str:
        """What went wrong last, for people; empty: nothing yet."""
        return self._last_error

    @last_error.setter
    def last_error(self, text: str) -> None:
        self._last_error = text
        self.last_error_utc_s = time.time() if text else None

    def set(self, state: str, detail: str = "") -> None:
        """Change the state; the time of the last change is kept."""
        assert state in STATES, state
        if state != self.state:
            self.since_utc_s = time.time()
        self.state, self.detail = state, detail

    def count(self) -> dict[str, Any]:
        """Return the counters; none where they fail, which must not hide the other parts."""
        if self.statistics is None:
            return {}
        try:
            return self.statistics()
        except Exception as error:
            text = f"statistics: {type(error).__name__}: {error}"
            if text != self.last_error:
                log.exception("%s: its counters cannot be read", self.name)
            self.last_error = text
            return {}


class Health:
    """All parts by name, in the order in which they were made."""

    def __init__(self) -> None:
        self.started_utc_s = time.time()
        self._parts: dict[str, Part] = {}

    def part(self, name: str) -> Part:
        """Return the part of that name, made on first use."""
        return self._parts.setdefault(name, Part(name))

    def remove(self, name: str) -> None:
        """Forget a part that no longer exists (a sonar that was removed)."""
        self._parts.pop(name, None)

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts there are now."""
        return tuple(self._parts.values())

    @property
    def ok(self) -> bool:
        """Whether no part is failed."""
        return all(part.state != "failed" for part in self._parts.values())

    def snapshot(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {
            "ok": self.ok,
            "started_utc_s": self.started_utc_s,
            "parts": [
                {
                    "statistics": part.count(),
                    "name": part.name,
                    "state": part.state,
                    "detail": part.detail,
                    "since_utc_s": part.since_utc_s,
                    "restarts": part.restarts,
                    "last_error": part.last_error,
                    "last_error_utc_s": part.last_error_utc_s,
                    "warning": part.warning,
                }
                for part in self._parts.values()
            ],
        }


def percentile_ms(values_s: Collection[float], fraction: float) -> float | None:
    """Return a percentile of durations in milliseconds, None without any."""
    if not values_s:
        return None
    return float(np.percentile(np.fromiter(values_s, float, len(values_s)), 100 * fraction) * 1e3)
