"""The bus: publishing never waits, policies are kept, nothing is lost unseen."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from nims_appliance.bus import LATEST, Bus, all_within


async def test_latest_sees_the_newest_and_counts_what_it_missed() -> None:
    bus: Bus[int] = Bus("numbers")
    with bus.subscribe("viewer", LATEST) as viewer:
        for number in range(5):
            bus.publish(number)
        assert await viewer.receive() == 4
        assert viewer.dropped == 4
    assert bus.statistics().dropped == 4


async def test_all_within_drops_the_oldest_beyond_its_depth() -> None:
    bus: Bus[int] = Bus("numbers")
    with bus.subscribe("pipeline", all_within(3)) as pipeline:
        for number in range(5):
            bus.publish(number)
        assert [await pipeline.receive() for _ in range(3)] == [2, 3, 4]
        assert (pipeline.delivered, pipeline.dropped) == (3, 2)


async def test_a_slow_subscriber_costs_the_others_nothing() -> None:
    bus: Bus[int] = Bus("numbers")
    with bus.subscribe("slow", all_within(1)), bus.subscribe("fast", all_within(10)) as fast:
        for number in range(10):
            bus.publish(number)
        assert [await fast.receive() for _ in range(10)] == list(range(10))
        dropped = {subscriber.name: subscriber.dropped for subscriber in bus.statistics().subscribers}
        assert dropped == {"slow": 9, "fast": 0}


async def test_nothing_is_kept_for_those_that_come_later() -> None:
    bus: Bus[int] = Bus("numbers")
    bus.publish(1)
    with bus.subscribe("late", all_within(5)) as late:
        assert late.queued == 0
        bus.publish(2)
        assert await late.receive() == 2


async def test_a_waiting_subscriber_is_woken_for_every_item() -> None:
    bus: Bus[int] = Bus("numbers")
    seen: list[int] = []

    async def collect(subscription) -> None:
        async for number in subscription:
            seen.append(number)

    async with trio.open_nursery() as nursery:
        with bus.subscribe("collector", all_within(4)) as subscription:
            nursery.start_soon(collect, subscription)
            for number in range(50):
                bus.publish(number)
                if number % 3 == 0:  # publish both into a waiting and into a running subscriber
                    await trio.testing.wait_all_tasks_blocked()
            bus.close()
    assert seen == list(range(50))


async def test_closing_ends_the_iteration_after_what_waits() -> None:
    bus: Bus[int] = Bus("numbers")
    with bus.subscribe("collector", all_within(4)) as subscription:
        bus.publish(1)
        bus.close()
        assert [number async for number in subscription] == [1]
        with pytest.raises(trio.EndOfChannel):
            await subscription.receive()
    with pytest.raises(trio.ClosedResourceError, match="'numbers' is closed"):
        bus.publish(2)


async def test_leaving_ends_the_iteration_after_what_waits() -> None:
    bus: Bus[int] = Bus("numbers")
    with bus.subscribe("collector", all_within(4)) as subscription:
        bus.publish(1)
    bus.publish(2)
    assert [number async for number in subscription] == [1]
    assert bus.subscribers == 0


async def test_closing_wakes_those_that_wait() -> None:
    bus: Bus[int] = Bus("numbers")
    async with trio.open_nursery() as nursery:
        with bus.subscribe("collector", LATEST) as subscription:

            async def wait() -> None:
                assert [number async for number in subscription] == []

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            bus.close()


async def test_lag_is_the_wait_of_the_oldest(autojump_clock) -> None:
    bus: Bus[int] = Bus("numbers")
    with bus.subscribe("slow", all_within(4)) as slow:
        bus.publish(1)
        await trio.sleep(3)
        bus.publish(2)
        assert slow.statistics().lag_s == pytest.approx(3)
        assert slow.statistics().queued == 2
        await slow.receive()
        assert slow.statistics().lag_s == pytest.approx(0)


async def test_receiving_is_a_checkpoint_even_when_items_wait() -> None:
    bus: Bus[int] = Bus("numbers")
    with bus.subscribe("busy", all_within(4)) as busy:
        bus.publish(1)
        with trio.testing.assert_checkpoints():
            await busy.receive()


def test_a_depth_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="depth must be at least 1, got 0"):
        all_within(0)
