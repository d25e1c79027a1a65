"""What an instrument has told of one thing, and where that will have gone by the next ping.

A GPS tells a position a second; at 5 m/s a vessel is 5 m farther when the next one comes. So what is asked for between
two readings is carried on as it has been changing.
"""

from __future__ import annotations

from collections import deque

BASELINE_S = 2.5
"""Change is measured over so long: over less, the steps of a compass that tells tenths of a degree would count."""
LEAD_S = 2.0
"""Carried on for so long at most: then nothing is known of what the vessel does."""


class Trend:
    """Readings of a quantity with several values.

    Args:
      rounds: of each value: after how much it is the same again (360 for a longitude in degrees); 0: never.
    """

    def __init__(self, *rounds: float) -> None:
        self._rounds = rounds
        self._told: deque[tuple[float, tuple[float, ...]]] = deque()
        self._told_s = 0.0

    def tell(self, values: tuple[float, ...], moment_s: float, arrival_s: float) -> None:
        """Take a reading.

        Args:
          moment_s: when it was true, on the instrument's clock; what is told of the same moment again counts once.
          arrival_s: when it came.
        """
        told = self._told
        if told and not 0.0 <= moment_s - told[-1][0] <= BASELINE_S:
            told.clear()  # it was silent, or its clock was set
        if told and moment_s == told[-1][0]:
            told[-1] = moment_s, values
            return
        told.append((moment_s, values))
        self._told_s = arrival_s
        while moment_s - told[0][0] > BASELINE_S:
            told.popleft()

    @property
    def last(self) -> tuple[float, ...]:
        """The newest reading."""
        return self._told[-1][1]

    def at(self, now_s: float) -> tuple[float, ...]:
        """Return the values at a time of the clock that arrivals are of."""
        last_s, last = self._told[-1]
        first_s, first = self._told[0]
        if last_s == first_s:
            return last
        ahead = min(max(now_s - self._told_s, 0.0), LEAD_S) / (last_s - first_s)
        return tuple(
            after + ahead * _step(before, after, full)
            for before, after, full in zip(first, last, self._rounds, strict=True)
        )


def _step(before: float, after: float, full: float) -> float:
    step = after - before
    return (step + full / 2) % full - full / 2 if full else step
