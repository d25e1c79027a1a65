"""Rate limit: thins what comes often to what is wanted, evenly."""

from __future__ import annotations

import math


class RateLimit:
    """Lets one item of each kind pass in every interval, on average.

    What comes at just the wanted rate, with jitter, passes undiminished: due times advance by whole intervals, and an
    item may come half an interval before it is due.
    """

    def __init__(self) -> None:
        self._due_s: dict[str, float] = {}

    def passes(self, kind: str, now_s: float, interval_s: float) -> bool:
        """Whether an item of this kind that comes now is wanted; `interval_s` may change from call to call."""
        due_s = self._due_s.get(kind, -math.inf)
        if now_s < due_s - interval_s / 2:
            return False
        next_s = due_s + interval_s
        self._due_s[kind] = next_s if next_s > now_s else now_s + interval_s
        return True
