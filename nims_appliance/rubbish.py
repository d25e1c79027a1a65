"""Rubbish: when Python looks for objects that refer to each other in circles and are of no more use.

Whenever it does, everything else waits, for milliseconds if it looks at much. It is made to do so between pings, and
seldom by itself, so that no track waits for it.
"""

from __future__ import annotations

import gc

AFTER_OBJECTS = 2_000
"""So many new objects, and the young ones are looked through at the next opportunity: a fraction of a millisecond."""
MOST_OBJECTS = 50_000
"""So many, and Python does it by itself, also where no sonar pings."""
ROUNDS = 10
"""So often, and those that have survived are looked through as well; as Python does it by itself."""


def keep_what_is_there() -> None:
    """Look only at what comes from now on: what is there once everything has been started stays to the end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(MOST_OBJECTS, ROUNDS, ROUNDS)


def collect() -> None:
    """Take an opportunity: nobody waits for anything now."""
    young, middle, old = gc.get_count()
    if young < AFTER_OBJECTS:
        return
    if middle < ROUNDS:
        gc.collect(0)
    elif old < ROUNDS:
        gc.collect(1)
    else:
        gc.collect(2)
