"""Rubbish: when Python looks for objects that refer to each other in circles, and what becomes of freed memory.

Whenever Python looks, everything else waits, for milliseconds if it looks at much. It is made to do so between pings,
and seldom by itself, so that no track waits for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc

AFTER_OBJECTS = 2_000
"""So many new objects, and the young ones are looked through at the next opportunity: a fraction of a millisecond."""
MOST_OBJECTS = 50_000
"""So many, and Python does it by itself, also where no sonar pings."""
ROUNDS = 10
"""So often, and those that have survived are looked through as well; as Python does it by itself."""


_M_ARENA_MAX = -8
"""Of mallopt(3)."""


def share_freed_memory() -> None:
    """Let what one thread frees be used by every other; to be called before there are threads.

    glibc gives each thread a heap of its own, and each of them grows to the largest that any job has ever needed: for
    hours memory seems to leak. Almost all is taken while the interpreter is held, so nobody waits for a shared heap.
    """
    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


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
