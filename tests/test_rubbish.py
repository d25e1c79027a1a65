"""Cyclic garbage goes at opportunities, and only where there may be enough of it."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from nims_appliance import rubbish


class Ring:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def only_when_told() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_rings_go_once_there_are_many_new_objects() -> None:
    ring = weakref.ref(Ring())
    rubbish.collect()
    assert ring() is not None, "a few new objects are not worth a look"
    many = [[] for _ in range(rubbish.AFTER_OBJECTS + 100)]
    rubbish.collect()
    assert ring() is None
    assert many


def test_rings_that_have_survived_go_later() -> None:
    held, many, looks = Ring(), [], 0
    ring = weakref.ref(held)
    while ring() is not None and looks < (rubbish.ROUNDS + 2) ** 2:
        many += [[] for _ in range(rubbish.AFTER_OBJECTS + 100)]
        rubbish.collect()
        looks += 1
        held = None
    assert 2 <= looks <= rubbish.ROUNDS + 2


def test_what_is_there_is_kept_and_seldom_looked_for_by_itself() -> None:
    threshold = gc.get_threshold()
    try:
        rubbish.keep_what_is_there()
        assert gc.get_freeze_count() > 1000
        assert gc.get_threshold()[0] == rubbish.MOST_OBJECTS
    finally:
        gc.unfreeze()
        gc.set_threshold(*threshold)


ARENAS = """
import re, sys, threading
from nims_appliance import rubbish
if sys.argv[1] == "shared":
    rubbish.share_freed_memory()
held, met = [], threading.Barrier(9)
def work():
    held.append([bytes(1000) for _ in range(5000)])
    met.wait()
    met.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
met.wait()
# Heaps of threads begin at multiples of 64 MB, and what is not used yet of them cannot be read.
lines = [re.match(r"(\\w+)-(\\w+) (\\S+) \\S+ 00:00 0 *$", line) for line in open("/proc/self/maps")]
print(sum(int(found[1], 16) % (64 << 20) == 0 and found[3] == "rw-p" for found in lines if found))
met.wait()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have one heap")
def test_threads_share_one_heap() -> None:
    def heaps(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", ARENAS, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert heaps("each its own") >= 2, "the test looks at the wrong thing"
    assert heaps("shared") == 0
