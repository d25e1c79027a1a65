"""Playback: the pace at which a recording is played, and the hand on it: pause, single pings, speed, another moment."""

from __future__ import annotations

import math
from typing import Any

import trio

LONGEST_PAUSE_S = 10.0
"""A jump in the times of a recording beyond this is not waited for."""
LATE_S = 1.0


class Playback:
    """Holds the pings of one recording back until they are due. From the trio thread.

    Args:
      speed: times the pace at which the pings were made; 0: as fast as possible.
      paused: wait before the first ping.
    """

    def __init__(self, speed: float = 1.0, *, paused: bool = False) -> None:
        self.speed = speed
        self.paused = paused
        self.position_s: float | None = None
        """Time of the last ping that was played, by the sonar's clock."""
        self._steps = 0
        self._seek_s: float | None = None
        self._skip_to_s = -math.inf
        self._pace = Pacer(speed)
        self._changed = trio.Event()

    async def wait(self, time_s: float) -> bool:
        """Wait until the ping of that time is to be played; False: it is to be left out."""
        while True:
            if self.is_seeking or time_s < self._skip_to_s:
                await trio.lowlevel.checkpoint()
                return False
            self._skip_to_s = -math.inf
            changed = self._changed
            if not self.paused:
                with trio.move_on_at(self._pace.due_s(time_s)) as scope:
                    await changed.wait()
                if scope.cancelled_caught:
                    break
            elif time_s == self.position_s:
                break  # another channel of a ping that was let through
            elif self._steps:
                self._steps -= 1
                break
            else:
                await changed.wait()
        self.position_s = time_s
        return True

    @property
    def is_seeking(self) -> bool:
        """Whether what is being read is not wanted any more."""
        return self._seek_s is not None

    def take_seek(self) -> float | None:
        """Return to which moment playing shall go, once; None: nowhere."""
        moment_s, self._seek_s = self._seek_s, None
        return moment_s

    def skip_to(self, time_s: float) -> None:
        """Leave out the pings before a time of the sonar's clock: the recording has no index to find it by."""
        self._skip_to_s = time_s

    def pause(self) -> None:
        """Wait before the next ping."""
        self.paused, self._steps = True, 0
        self._wake()

    def play(self) -> None:
        """Go on."""
        self.paused, self._steps = False, 0
        self._wake()

    def step(self, pings: int = 1) -> None:
        """Play single pings, then wait."""
        self.paused = True
        self._steps += pings
        self._wake()

    def set_speed(self, speed: float) -> None:
        """Play at another pace from here on."""
        self.speed = speed
        self._wake()

    def seek(self, utc_s: float) -> None:
        """Go to a moment, as near as the recording's index allows; a paused recording shows the ping there."""
        self._seek_s = utc_s
        self._steps = int(self.paused)
        self.position_s = None
        self._wake()

    def _wake(self) -> None:
        self._pace = Pacer(self.speed)
        self._changed.set()
        self._changed = trio.Event()

    def state(self) -> dict[str, Any]:
        """Return how it is played, as JSON-able values."""
        return {"paused": self.paused, "speed": self.speed, "position_s": self.position_s}


class Pacer:
    """Tells when pings are due that are played at the pace at which they were made."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._anchor: tuple[float, float] | None = None
        self._last_s = 0.0

    def due_s(self, time_s: float) -> float:
        """Return when the ping of that time is due, on trio's clock, not before now; jumps are not waited for."""
        now_s = trio.current_time()
        if self._speed == 0:
            return now_s
        if self._anchor is None or not 0 <= time_s - self._last_s <= LONGEST_PAUSE_S:
            self._anchor = (time_s, now_s)
        due_s = self._anchor[1] + (time_s - self._anchor[0]) / self._speed
        if due_s < now_s - LATE_S:
            # Too slow to keep the pace: go on from here instead of rushing after it.
            self._anchor = (time_s, now_s)
        self._last_s = time_s
        return max(due_s, now_s)
