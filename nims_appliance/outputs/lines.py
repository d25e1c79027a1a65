"""Lines for plotters and servers of the vessel: made of the results of every sonar, so many a second at most."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import trio

from ..bus import all_within
from ..context import Context
from ..delivery.lines import LineSender
from ..pipeline.results import PingResult


async def send_lines(
    context: Context,
    name: str,
    destinations: Iterable[str],
    rate_hz: float,
    lines_of: Callable[[PingResult], Iterable[bytes]],
) -> None:
    """Send until cancelled, as the output `name`.

    Args:
      rate_hz: pings of each sonar that are told in a second, at most; one in which a track ends is told in any case.
      lines_of: makes the lines of a ping, without their ends.
    """
    sender, part = LineSender(destinations), context.health.part(f"output {name}")
    told_s: dict[str, float] = {}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender.run)
        with context.results.subscribe(name, all_within(256)) as results:
            async for result in results:
                now_s = trio.current_time()
                if now_s - told_s.get(result.sonar_id, -math.inf) < 1 / rate_hz and not result.ended:
                    continue
                told_s[result.sonar_id] = now_s
                for line in lines_of(result):
                    sender.send(line)
                part.last_error = sender.error
                part.set("waiting" if sender.error else "running", sender.error or f"{sender.sent} lines sent")
        nursery.cancel_scope.cancel()
