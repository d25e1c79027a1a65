"""Bus: one publisher to many subscribers, in memory, without ever waiting for any of them.

Every subscriber has its own bounded queue. When it is full the oldest item is dropped and counted; the others do not
notice. Frames, tracks, pictures and events all travel on this one class.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Policy:
    """How many items may wait for a subscriber before the oldest is dropped."""

    name: str
    depth: int


LATEST = Policy("latest", 1)
"""For viewers: whoever is slow sees fewer items, but never an old one."""


def all_within(depth: int) -> Policy:
    """For the pipeline, archive and loggers: everything, as long as no more than `depth` items wait.

    Choose the depth as the longest pause to ride out times the rate: memory is held for that many frames.
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    return Policy(f"all_within({depth})", depth)


@dataclass(frozen=True, slots=True)
class SubscriberStatistics:
    """Counters of one subscriber since it subscribed."""

    name: str
    policy: str
    delivered: int
    dropped: int
    queued: int
    lag_s: float
    """How long the oldest waiting item has waited; 0 when none waits."""


@dataclass(frozen=True, slots=True)
class BusStatistics:
    """Counters of a bus since it was made."""

    name: str
    published: int
    dropped: int
    """Over all subscribers, including those that have left."""
    subscribers: tuple[SubscriberStatistics, ...]


class Subscription(Generic[T]):
    """One subscriber's end of a bus; iterate over it in one task only.

    The iteration ends when the bus is closed, or its ``with`` block has been left, and the queue has been drained.
    """

    def __init__(self, bus: Bus[T], name: str, policy: Policy) -> None:
        self._bus = bus
        self._policy = policy
        self._queue: deque[tuple[float, T]] = deque()
        self._wake = trio.Event()
        self._left = False
        self.name = name
        self.delivered = 0
        self.dropped = 0
        """Items this subscriber has lost because it was slow."""

    def _put(self, now: float, item: T) -> None:
        if len(self._queue) >= self._policy.depth:
            self._queue.popleft()
            self.dropped += 1
            self._bus._dropped += 1
        self._queue.append((now, item))
        self._wake.set()

    async def receive(self) -> T:
        """Return the next item, waiting for it; always a checkpoint.

        Raises:
          trio.EndOfChannel: the bus is closed or was left, and nothing is left in the queue.
        """
        await trio.lowlevel.checkpoint()
        while not self._queue:
            if self._bus.closed or self._left:
                raise trio.EndOfChannel
            self._wake = trio.Event()
            await self._wake.wait()
        _, item = self._queue.popleft()
        self.delivered += 1
        return item

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    @property
    def queued(self) -> int:
        """Items that wait now."""
        return len(self._queue)

    def statistics(self) -> SubscriberStatistics:
        """Return this subscriber's counters."""
        lag_s = trio.current_time() - self._queue[0][0] if self._queue else 0.0
        return SubscriberStatistics(self.name, self._policy.name, self.delivered, self.dropped, len(self._queue), lag_s)


class Bus(Generic[T]):
    """Publish to any number of subscribers; publishing takes microseconds and never waits.

    Use it from the trio thread only.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = False
        self._subscriptions: list[Subscription[T]] = []
        self._published = 0
        self._dropped = 0

    def publish(self, item: T) -> None:
        """Give `item` to every present subscriber. Nothing is kept for those that come later."""
        if self.closed:
            raise trio.ClosedResourceError(f"bus {self.name!r} is closed")
        self._published += 1
        now = trio.current_time()
        for subscription in self._subscriptions:
            subscription._put(now, item)

    @contextmanager
    def subscribe(self, name: str, policy: Policy) -> Iterator[Subscription[T]]:
        """Subscribe for the length of a ``with`` block; the name is for people reading the statistics."""
        subscription = Subscription(self, name, policy)
        self._subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)
            subscription._left = True
            subscription._wake.set()

    @property
    def subscribers(self) -> int:
        """How many subscribe at present."""
        return len(self._subscriptions)

    def close(self) -> None:
        """End every subscriber's iteration once it has drained its queue."""
        self.closed = True
        for subscription in self._subscriptions:
            subscription._wake.set()

    def statistics(self) -> BusStatistics:
        """Return the counters of the bus and of its present subscribers."""
        return BusStatistics(
            self.name, self._published, self._dropped, tuple(s.statistics() for s in self._subscriptions)
        )
