"""Shared fixtures: async tests run under trio, recordings are found or the reason is given."""

from __future__ import annotations

import inspect
import os
from functools import partial
from pathlib import Path

import hypothesis
import pytest
import trio
import trio.testing

DEADLINE_S = 30.0

# A busy machine is no failure.
# In CI the same examples each time: a change is judged by itself, new examples are for the developer's runs.
hypothesis.settings.register_profile("nims", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("nims")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run ``async def test_*`` under trio, each with a deadline; with `autojump_clock` time is virtual."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    clock = next((value for value in arguments.values() if isinstance(value, trio.testing.MockClock)), None)

    async def run_with_deadline() -> None:
        deadline_s = 3 * 3600.0 if clock else DEADLINE_S
        with trio.fail_after(deadline_s):
            await pyfuncitem.obj(**arguments)

    trio.run(partial(run_with_deadline), clock=clock)
    return True


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    """Virtual time: sleeping is instant whenever every task waits."""
    return trio.testing.MockClock(autojump_threshold=0)


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings; a checkout without them skips, CI must have them."""
    default = Path(__file__).resolve().parent.parent.parent / "shared" / "recordings"
    folder = Path(os.environ.get("NIMS_RECORDINGS", default))
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"no recordings at {folder}: set NIMS_RECORDINGS")
        pytest.skip(f"no recordings at {folder}: set NIMS_RECORDINGS to their folder")
    return folder
