"""Receives the sentences of the vessel's instruments, over UDP, TCP or a serial line; follows the settings."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from ..bus import all_within
from ..links import DatagramConnection, Link, StreamConnection, parse_link
from ..links.connection import now

if TYPE_CHECKING:
    from ..context import Context

MOST_LINE_BYTES = 1024
LOOK_INTERVAL_S = 1.0


async def receive_navigation(context: Context) -> None:
    """Receive until cancelled."""
    part = context.health.part("navigation")
    part.statistics = lambda: context.navigation.describe(now().monotonic_s)
    with context.config.changes.subscribe("navigation", all_within(100)) as changes:
        while True:
            sources = context.config.current.navigation.sources
            context.navigation.expect(sources)
            async with trio.open_nursery() as nursery:
                states = dict.fromkeys(sources, "")
                for text in sources:
                    nursery.start_soon(_receive, context, text, states)
                nursery.start_soon(_tell, context, part, states)
                async for _ in changes:
                    if context.config.current.navigation.sources != sources:
                        break
                else:
                    return
                nursery.cancel_scope.cancel()


async def _tell(context: Context, part: Any, states: dict[str, str]) -> None:
    while True:
        told = context.navigation.describe(now().monotonic_s)
        most_age_s = context.config.current.navigation.max_age_s
        fresh = [
            name.rpartition("_")[0].replace("_", " ")
            for name in ("position_deg", "heading_deg", "clock_offset_s")
            if told[name] is not None and told[name]["age_s"] <= most_age_s
        ]
        if not states:
            part.set("stopped", "no instrument is configured")
        elif fresh:
            silent = [
                f"{source} silent for {heard['age_s']:.0f} s"
                for source, heard in told["instruments"].items()
                if heard["age_s"] is not None and heard["age_s"] > most_age_s
            ]
            silent += [
                f"nothing from {source}" for source, heard in told["instruments"].items() if not heard["sentences"]
            ]
            part.set("running", "; ".join([f"{', '.join(fresh)} from {len(states)} instruments", *silent]))
        else:
            part.set("waiting", "; ".join(filter(None, states.values())) or "nothing has been told yet")
        await trio.sleep(LOOK_INTERVAL_S)


async def _receive(context: Context, text: str, states: dict[str, str]) -> None:
    def report(state: str, detail: str) -> None:
        states[text] = detail

    link = Link(parse_link(text), limit_bytes=2**16, report=report)
    take = partial(_datagrams if link.is_datagram else _stream, context, text, link)
    await link.run(take)


async def _datagrams(context: Context, text: str, link: Link, connection: DatagramConnection) -> None:
    while batch := await connection.receive():
        for datagram in batch:
            for line in bytes(datagram.data).splitlines():
                _take(context, text, link, line)


async def _stream(context: Context, text: str, link: Link, connection: StreamConnection) -> None:
    buffer = connection.buffer
    while await connection.fill(len(buffer) + 1):
        *lines, rest = bytes(buffer.view).split(b"\n")
        if len(rest) > MOST_LINE_BYTES:
            rest = b""  # no instrument speaks like this
            context.navigation.not_understood(text)
        buffer.consume(len(buffer) - len(rest))
        for line in lines:
            _take(context, text, link, line)


def _take(context: Context, text: str, link: Link, line: bytes) -> None:
    # IEC 61162-450 puts "UdPbC" and a tag block before the sentence
    start = max(line.find(b"$"), line.find(b"!")) if line.startswith((b"UdPbC", b"\\")) else 0
    line = line[start:].strip()
    if line:
        context.navigation.take(line, text, now())
        link.good_data()
