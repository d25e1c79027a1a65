"""The receive buffer: bytes arrive in place, whatever the chunks, and never beyond the limit."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from nims_appliance.errors import LinkError, PluginError
from nims_appliance.links.connection import ReceiveBuffer, StreamConnection


def fill(buffer: ReceiveBuffer, data: bytes) -> int:
    room = buffer.room(len(buffer) + len(data), 1)
    count = min(len(room), len(data))
    room[:count] = data[:count]
    buffer.filled(count)
    return count


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 300)), max_size=60))
def test_bytes_come_out_as_they_went_in(steps: list[tuple[int, int]]) -> None:
    buffer = ReceiveBuffer(1000)
    sent, expected = 0, bytearray()
    for size, consumed in steps:
        data = bytes((sent + i) % 251 for i in range(min(size, 1000 - len(buffer))))
        while data:
            count = fill(buffer, data)
            expected += data[:count]
            sent += count
            data = data[count:]
        consumed = min(consumed, len(buffer))
        assert bytes(buffer.view) == expected
        buffer.consume(consumed)
        del expected[:consumed]
    assert bytes(buffer.view) == expected


def test_a_packet_that_was_announced_is_received_in_one_piece() -> None:
    buffer = ReceiveBuffer(10 * 2**20)
    fill(buffer, b"head")
    assert len(buffer.room(3 * 2**20, 64 * 1024)) == 3 * 2**20 - 4


def test_more_than_the_limit_is_refused() -> None:
    buffer = ReceiveBuffer(1000)
    with pytest.raises(PluginError, match="needs 1001 bytes at once, the profile allows 1000"):
        buffer.room(1001, 1)


def test_consuming_what_is_not_there_is_refused() -> None:
    buffer = ReceiveBuffer(1000)
    fill(buffer, b"abc")
    with pytest.raises(PluginError, match="consumed 4 bytes of 3"):
        buffer.consume(4)
    with pytest.raises(PluginError, match="consumed -1"):
        buffer.consume(-1)


def chunks(*data: bytes):
    waiting = list(data)

    async def receive_into(view: memoryview) -> int:
        await trio.lowlevel.checkpoint()
        if not waiting:
            return 0
        count = min(len(view), len(waiting[0]))
        view[:count] = waiting[0][:count]
        waiting[0] = waiting[0][count:]
        if not waiting[0]:
            waiting.pop(0)
        return count

    return receive_into


async def test_fill_waits_for_what_is_needed_and_tells_the_end() -> None:
    seen = []
    connection = StreamConnection(
        chunks(b"ab", b"cd", b"efgh"),
        limit_bytes=100,
        taps=[lambda data, sender, arrival: seen.append(bytes(data))],
    )
    assert await connection.fill(3)
    assert bytes(connection.buffer.view) == b"abcd"
    connection.buffer.consume(4)
    assert await connection.fill(1)
    assert not await connection.fill(100)
    assert bytes(connection.buffer.view) == b"efgh"
    assert b"".join(seen) == b"abcdefgh"
    assert connection.received_bytes == 8


async def test_the_arrival_is_that_of_the_last_byte() -> None:
    connection = StreamConnection(chunks(b"a", b"b"), limit_bytes=100)
    await connection.fill(1)
    first = connection.arrival
    await connection.fill(2)
    assert connection.arrival.monotonic_s > first.monotonic_s


async def test_silence_is_reported_every_second_and_may_end_the_wait(autojump_clock) -> None:
    silences = []

    async def nothing(view: memoryview) -> int:
        await trio.sleep_forever()
        raise AssertionError

    def on_silence(silent_s: float) -> None:
        silences.append(silent_s)
        if silent_s >= 5:
            raise LinkError("given up")

    with pytest.raises(LinkError, match="given up"):
        await StreamConnection(nothing, limit_bytes=10, on_silence=on_silence).fill(1)
    assert silences == [1, 2, 3, 4, 5]


async def test_a_sonar_that_takes_no_bytes_is_an_error(autojump_clock) -> None:
    async def stuck(data: bytes) -> None:
        await trio.sleep_forever()

    connection = StreamConnection(chunks(), limit_bytes=10, send=stuck)
    with pytest.raises(LinkError, match="took no bytes for 5 s"):
        await connection.send(b"fire")
