"""How much of a picture a viewer's link carries: full size, or a half or a quarter of its rows and columns.

What counts is how long a viewer takes to say that it has drawn a picture; on a slow link this is the time that the
picture is under way, behind those that were sent before it.
"""

from __future__ import annotations

REDUCTIONS = (1, 2, 4)
"""Cells of a picture that become one, along each axis."""
SLOW_S = 0.5
"""A picture that comes so late is no longer live: a smaller one is better."""
MOST = 0.75
"""Part of the answers that must be slow."""
COARSER_AFTER_S = 2.0
FINER_AFTER_S = 5.0
LONGEST_PATIENCE_S = 320.0
"""Each time that finer pictures turn out to be slow, the wait before they are tried again is twice as long."""


class Detail:
    """Chooses the size of one sonar's pictures for one viewer."""

    def __init__(self, now_s: float) -> None:
        self._step = 0
        self._patience_s = FINER_AFTER_S
        self._trying = False
        self._begin(now_s)

    def _begin(self, now_s: float) -> None:
        self._since_s = now_s
        self._first_answer_s = float("nan")
        self._answers = 0
        self._slow_answers = 0
        self._total_s = 0.0

    @property
    def reduction(self) -> int:
        """How many cells become one along each axis: 1, 2 or 4."""
        return REDUCTIONS[self._step]

    def answered(self, sent_s: float, now_s: float) -> None:
        """Take into account that a picture that was sent at `sent_s` has been drawn by now."""
        if sent_s < self._since_s:
            return  # it says nothing of the size that was chosen since
        if not self._answers:
            self._first_answer_s = now_s
        self._answers += 1
        self._slow_answers += now_s - sent_s > SLOW_S
        self._total_s += now_s - sent_s
        elapsed_s = now_s - self._first_answer_s
        # Most, not one: a page that was in the background answers late once, and its link is as good as ever.
        slow = self._slow_answers > MOST * self._answers
        if elapsed_s >= COARSER_AFTER_S and slow:
            if self._trying:
                self._patience_s = min(2 * self._patience_s, LONGEST_PATIENCE_S)
            self._change(+1, now_s)
        elif elapsed_s >= self._patience_s:
            if not self._step:
                self._patience_s = FINER_AFTER_S
            # The next finer picture has four times the cells.
            quick = 4 * self._total_s / self._answers < SLOW_S
            self._change(-1 if quick else 0, now_s)

    def _change(self, steps: int, now_s: float) -> None:
        before = self._step
        self._step = min(max(self._step + steps, 0), len(REDUCTIONS) - 1)
        self._trying = self._step < before
        self._begin(now_s)
