"""Supervision: a part that fails is started again, with care, and everybody can see it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import trio

from .errors import NimsError
from .health import Part

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When a failed part is started again. It never is given up: nobody may be there to start it by hand."""

    first_delay_s: float = 1.0
    max_delay_s: float = 30.0
    """Delays double up to this."""
    max_restarts: int = 5
    window_s: float = 600.0
    """After more than `max_restarts` failures within so long ..."""
    slow_delay_s: float = 300.0
    """... this is the delay, until a run has lasted for `window_s`."""


DEFAULT = RestartPolicy()


async def supervise(part: Part, function: Callable[[], Awaitable[None]], policy: RestartPolicy = DEFAULT) -> None:
    """Run `function` until it returns, starting it again whenever it raises.

    A `NimsError` is somebody's mistake or a broken device: one sentence in the log. Everything else is a defect, and
    leaves its traceback; that includes a plugin's wish to end the program, and whatever else it may raise.
    """
    failures: deque[float] = deque()
    delay_s = policy.first_delay_s
    while True:
        started_s = trio.current_time()
        try:
            await function()
        except BaseException as error:
            if any(isinstance(leaf, (trio.Cancelled, KeyboardInterrupt, GeneratorExit)) for leaf in leaves(error)):
                raise  # cancelled, or interrupted by the operator
            text = explain(error)
            if is_expected(error):
                log.error("%s: %s", part.name, text)
            else:
                log.exception("%s: defect", part.name)
        else:
            part.set("stopped", part.detail)
            return
        now_s = trio.current_time()
        if now_s - started_s >= policy.window_s:
            delay_s = policy.first_delay_s
        failures.append(now_s)
        while failures[0] < now_s - policy.window_s:
            failures.popleft()
        part.last_error = text
        if len(failures) > policy.max_restarts:
            wait_s = policy.slow_delay_s
            times = f"failed {len(failures)} times in {policy.window_s / 60:.0f} min"
            detail = f"{text}; {times}, next try in {wait_s:.0f} s"
        else:
            wait_s, delay_s = delay_s, min(2 * delay_s, policy.max_delay_s)
            detail = f"{text}; next try in {wait_s:.0f} s"
        part.set("failed", detail)
        await trio.sleep(wait_s)
        part.restarts += 1
        part.set("starting")


class Child:
    """A supervised task of a nursery that can be stopped by itself."""

    def __init__(
        self,
        nursery: trio.Nursery,
        part: Part,
        function: Callable[[], Awaitable[None]],
        policy: RestartPolicy = DEFAULT,
    ) -> None:
        self.ended = trio.Event()
        self._scope = trio.CancelScope()
        nursery.start_soon(self._run, part, function, policy)

    async def _run(self, part: Part, function: Callable[[], Awaitable[None]], policy: RestartPolicy) -> None:
        try:
            with self._scope:
                await supervise(part, function, policy)
        finally:
            self.ended.set()

    async def stop(self) -> None:
        """Cancel the task and wait until it has ended."""
        self._scope.cancel()
        await self.ended.wait()


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Return the errors inside nested groups, in order."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def is_expected(error: BaseException) -> bool:
    """Whether only mistakes and broken devices are in it, no defect."""
    return all(isinstance(leaf, NimsError) for leaf in leaves(error))


def explain(error: BaseException) -> str:
    """Return the error in one line for people."""
    texts = []
    for leaf in leaves(error):
        texts.append(str(leaf) if isinstance(leaf, NimsError) else f"{type(leaf).__name__}: {leaf}")
    return "; ".join(dict.fromkeys(texts))
