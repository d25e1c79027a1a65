"""Supervision, in virtual time."""

from __future__ import annotations

import logging

import pytest
import trio

from nims_appliance.errors import LinkError
from nims_appliance.health import Part
from nims_appliance.supervisor import Child, RestartPolicy, explain, is_expected, supervise

POLICY = RestartPolicy(first_delay_s=1, max_delay_s=4, max_restarts=4, window_s=100, slow_delay_s=60)


class Failing:
    """Fails the first `times` times, after running for `lasts_s`."""

    def __init__(self, times: int, error: BaseException | None = None, lasts_s: float = 0) -> None:
        self.times = times
        self.error = error or LinkError("the cable is out")
        self.lasts_s = lasts_s
        self.started_s: list[float] = []

    async def __call__(self) -> None:
        self.started_s.append(trio.current_time())
        await trio.sleep(self.lasts_s)
        if len(self.started_s) <= self.times:
            raise self.error

    @property
    def pauses_s(self) -> list[float]:
        return [round(b - a - self.lasts_s, 6) for a, b in zip(self.started_s, self.started_s[1:], strict=False)]


async def test_delays_double_and_then_stay(autojump_clock) -> None:
    part = Part("camera")
    function = Failing(4)
    await supervise(part, function, POLICY)
    assert function.pauses_s == [1, 2, 4, 4]
    assert (part.state, part.restarts) == ("stopped", 4)
    assert part.last_error == "the cable is out"


class _Odd(BaseException):
    """Raised by nobody who knows Python well."""


@pytest.mark.parametrize("error", [SystemExit(3), _Odd("x"), BaseExceptionGroup("g", [_Odd("x"), ValueError("y")])])
async def test_whatever_a_part_raises_ends_only_the_part(autojump_clock, error: BaseException) -> None:
    part = Part("camera")
    await supervise(part, Failing(2, error), POLICY)
    assert (part.state, part.restarts) == ("stopped", 2)


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), BaseExceptionGroup("g", [KeyboardInterrupt(), ValueError("y")])]
)
async def test_the_operators_interrupt_is_no_failure_of_the_part(autojump_clock, error: BaseException) -> None:
    with pytest.raises(type(error)):
        await supervise(Part("camera"), Failing(2, error), POLICY)


async def test_too_many_failures_are_retried_slowly_for_ever(autojump_clock) -> None:
    function = Failing(10)
    await supervise(Part("camera"), function, POLICY)
    # Five failures within 100 s: from then on every 60 s, until fewer than five lie within the window.
    assert function.pauses_s[:5] == [1, 2, 4, 4, 60]
    assert len(function.started_s) == 11
    assert max(function.pauses_s) == 60


async def test_the_detail_says_when_it_is_tried_again(autojump_clock) -> None:
    part = Part("camera")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervise, part, Failing(20), POLICY)
        await trio.sleep(0.5)
        assert (part.state, part.detail) == ("failed", "the cable is out; next try in 1 s")
        await trio.sleep(20)
        assert part.detail == "the cable is out; failed 5 times in 2 min, next try in 60 s"
        nursery.cancel_scope.cancel()


async def test_a_long_good_run_forgives(autojump_clock) -> None:
    function = Failing(3, lasts_s=200)
    await supervise(Part("camera"), function, POLICY)
    assert function.pauses_s == [1, 1, 1]


async def test_a_mistake_is_one_line_and_a_defect_has_its_traceback(autojump_clock, caplog) -> None:
    await supervise(Part("camera"), Failing(1), POLICY)
    assert [(record.getMessage(), record.exc_info) for record in caplog.records] == [("camera: the cable is out", None)]
    caplog.clear()
    with caplog.at_level(logging.ERROR):
        await supervise(Part("camera"), Failing(1, ZeroDivisionError("division by zero")), POLICY)
    assert caplog.records[0].exc_info is not None


async def test_groups_of_errors_are_looked_into(autojump_clock) -> None:
    group = ExceptionGroup("tasks", [ExceptionGroup("", [LinkError("no cable")]), LinkError("no power")])
    part = Part("camera")
    await supervise(part, Failing(1, group), POLICY)
    assert part.last_error == "no cable; no power"
    assert is_expected(group)
    mixed = ExceptionGroup("", [group, KeyError("x")])
    assert not is_expected(mixed)
    assert explain(mixed) == "no cable; no power; KeyError: 'x'"


async def test_cancelling_is_not_a_failure(autojump_clock) -> None:
    part = Part("camera")
    with trio.move_on_after(5):
        await supervise(part, trio.sleep_forever, POLICY)
    assert (part.restarts, part.last_error) == (0, "")


async def test_a_part_that_wants_to_end_the_program_is_started_again(autojump_clock) -> None:
    part = Part("camera")
    await supervise(part, Failing(1, BaseExceptionGroup("", [SystemExit(3), KeyError("x")])), POLICY)
    assert part.last_error == "SystemExit: 3; KeyError: 'x'"


async def test_keyboard_interrupt_is_not_held_up(autojump_clock) -> None:
    with pytest.raises(KeyboardInterrupt):
        await supervise(Part("camera"), Failing(1, KeyboardInterrupt()), POLICY)


async def test_a_child_can_be_stopped_by_itself(autojump_clock) -> None:
    async with trio.open_nursery() as nursery:
        child = Child(nursery, Part("camera"), trio.sleep_forever, POLICY)
        other = Child(nursery, Part("lamp"), trio.sleep_forever, POLICY)
        await trio.sleep(1)
        await child.stop()
        assert child.ended.is_set()
        assert not other.ended.is_set()
        await other.stop()
