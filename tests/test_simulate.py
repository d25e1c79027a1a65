"""The network side of simulated devices: whole pings for everybody, in time, and damage where it is asked for."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import numpy as np
import pytest
import trio
import trio.testing

from nims_appliance.decoder import SimulatedPing, Simulator
from nims_appliance.errors import LinkError
from nims_appliance.simulate import Faults, PingClock, PlayerStatistics, serve_simulator

HEAD = struct.Struct("<4sIQ")


class CountingDevice:
    """Sends packets that say their length and number; starts with "go" if it is told to wait."""

    def __init__(self, packet_bytes: int = 64, wait: bool = False, rate_hz: float = 200.0) -> None:
        self.rate_hz = rate_hz
        self.pinging = not wait
        self._payload = bytes(packet_bytes)

    def ping(self, number: int, time_s: float) -> SimulatedPing:
        empty = np.zeros((1, 1), np.complex64)
        return SimulatedPing(number, time_s, empty, np.zeros(1), np.zeros(1))

    def encode(self, ping: SimulatedPing) -> list[bytes]:
        return [HEAD.pack(b"PING", len(self._payload), ping.number), self._payload]

    def idle(self) -> bytes:
        return HEAD.pack(b"IDLE", 0, 0)

    def receive(self, data: bytes) -> tuple[int, bytes]:
        if not data.startswith(b"go."):
            return 0, b""  # it may come in pieces
        self.pinging = True
        return 3, HEAD.pack(b"GONE", 0, 0)


def simulator(transport: str = "tcp", **device: object) -> Simulator:
    return Simulator("test", "test", transport, 0, lambda **_: CountingDevice(**device))  # type: ignore[arg-type]


class Reader:
    """Reads whole packets; fails on anything between them."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._pending = b""

    async def _take(self, count: int) -> bytes:
        while len(self._pending) < count:
            data = await self.stream.receive_some(1 << 20)
            if not data:
                raise EOFError
            self._pending += data
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken

    async def packet(self) -> tuple[bytes, int]:
        kind, length, number = HEAD.unpack(await self._take(HEAD.size))
        assert kind in (b"PING", b"IDLE", b"GONE")
        assert await self._take(length) == bytes(length)
        return kind, number

    async def read_on(self) -> None:
        while True:
            await self.packet()


@asynccontextmanager
async def playing(
    simulator: Simulator, statistics: PlayerStatistics | None = None, **options: object
) -> AsyncIterator[Callable[[], Awaitable[Reader]]]:
    """Serve on loopback; give what opens a client. All are closed in the end."""
    async with trio.open_nursery() as nursery, AsyncExitStack() as clients:
        serve = partial(serve_simulator, simulator, statistics=statistics, **{"port": 0, **options})
        port = await nursery.start(serve)

        async def connect() -> Reader:
            return Reader(await clients.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port)))

        yield connect
        nursery.cancel_scope.cancel()


async def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        await trio.sleep(0.005)


def follows(numbers: list[int], made: list[int]) -> bool:
    """Whether `numbers` are pings that the device made, none of them left out in between.

    The device itself leaves out pings on a computer that is too slow: their numbers are missing for everybody.
    """
    begin = made.index(numbers[0])
    return numbers == made[begin : begin + len(numbers)]


async def test_all_clients_get_the_same_whole_pings_in_order() -> None:
    made: list[int] = []
    async with playing(simulator(), on_ping=lambda ping: made.append(ping.number)) as connect:
        readers = [await connect() for _ in range(3)]
        numbers = [[(await reader.packet())[1] for _ in range(20)] for reader in readers]
    for series in numbers:
        assert follows(series, made)


async def test_slow_client_loses_whole_pings_and_nobody_else_does() -> None:
    statistics = PlayerStatistics()
    made: list[int] = []
    # Larger than the socket buffers of both sides, so that a packet is stuck in the middle.
    device = simulator(packet_bytes=8_000_000, rate_hz=4.0)
    async with playing(device, statistics, on_ping=lambda ping: made.append(ping.number)) as connect:
        slow = await connect()
        quick = await connect()
        numbers = [(await quick.packet())[1] for _ in range(8)]
        assert follows(numbers, made)
        assert statistics.dropped_pings > 0
        numbers = [(await slow.packet())[1] for _ in range(6)]
    assert numbers == sorted(set(numbers))
    assert not follows(numbers, made)


async def test_client_that_vanishes_is_forgotten() -> None:
    statistics = PlayerStatistics()
    async with playing(simulator(packet_bytes=4_000_000), statistics) as connect:
        vanishing, staying = (await connect()).stream, await connect()
        await wait_until(lambda: statistics.clients == 2)
        linger_then_reset = struct.pack("ii", 1, 0)
        vanishing.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_then_reset)
        await vanishing.aclose()
        await wait_until(lambda: statistics.clients == 1)
        await staying.packet()
    assert statistics.connections == 2


async def test_waiting_device_sends_idle_messages_until_it_is_started() -> None:
    async with playing(simulator(wait=True)) as connect:
        reader = await connect()
        assert (await reader.packet())[0] == b"IDLE"
        await reader.stream.send_all(b"g")
        await trio.sleep(0.01)
        await reader.stream.send_all(b"o.")
        kinds = [(await reader.packet())[0] for _ in range(3)]
    assert b"GONE" in kinds
    assert kinds[-1] == b"PING"


async def test_udp_device_sends_each_packet_as_a_datagram() -> None:
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as receiver:
        await receiver.bind(("127.0.0.1", 0))
        port = receiver.getsockname()[1]
        async with playing(simulator("udp", packet_bytes=900), port=port):
            sizes = [len(await receiver.recv(4096)) for _ in range(4)]
    assert sizes == [HEAD.size, 900, HEAD.size, 900]


async def test_udp_device_goes_on_when_nobody_listens() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    statistics = PlayerStatistics()
    async with playing(simulator("udp"), statistics, port=port):
        await wait_until(lambda: statistics.pings > 5)


async def test_port_in_use_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LinkError, match=rf"^simulator: cannot listen on 127\.0\.0\.1:{port}: "):
            await serve_simulator(simulator(), port=port)


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("nan"), 1e6])
async def test_impossible_rate_is_refused(rate_hz: float) -> None:
    with pytest.raises(ValueError, match=r"^rate_hz must be above 0"):
        await serve_simulator(simulator(), port=0, rate_hz=rate_hz)


async def test_disconnecting_device_lets_clients_come_back() -> None:
    async with playing(simulator(), faults=Faults(disconnect_every=10)) as connect:
        for _ in range(2):
            with pytest.raises((EOFError, trio.BrokenResourceError)):
                await (await connect()).read_on()


async def test_stalled_device_leaves_pings_out() -> None:
    statistics = PlayerStatistics()
    async with playing(simulator(), statistics, faults=Faults(stall_every=5, stall_s=0.2)) as connect:
        reader = await connect()
        numbers = [(await reader.packet())[1] for _ in range(12)]
    assert max(np.diff(numbers)) >= 20
    assert statistics.late_pings >= 20


async def test_ping_times_do_not_drift(autojump_clock: trio.testing.MockClock) -> None:
    start, times, clock = trio.current_time(), [], PingClock(lambda: 10.0)
    for _ in range(1000):
        due, missed = await clock.next()
        assert missed == 0
        times.append(due - start)
        await trio.sleep(0.07)  # the work of a ping
    assert times == pytest.approx(np.arange(1000) * 0.1, abs=1e-6)


async def test_ping_times_leave_out_what_has_passed(autojump_clock: trio.testing.MockClock) -> None:
    start, seen, clock = trio.current_time(), [], PingClock(lambda: 10.0)
    for work_s in (0.01, 0.35, 0.01, 0.01):
        due, missed = await clock.next()
        seen.append((round(due - start, 6), missed))
        await trio.sleep(work_s)
    assert seen == [(0.0, 0), (0.1, 0), (0.4, 2), (0.5, 0)]


async def test_ping_times_follow_a_change_of_rate(autojump_clock: trio.testing.MockClock) -> None:
    rates_hz = iter([10.0, 10.0, 10.0, 2.0, 2.0])
    start, clock = trio.current_time(), PingClock(lambda: next(rates_hz))
    times = [(await clock.next())[0] - start for _ in range(5)]
    assert times == pytest.approx([0.0, 0.1, 0.2, 0.7, 1.2])


PACKETS = [bytes(range(256)), b"second packet"]


def test_no_faults_change_nothing() -> None:
    assert all(Faults().damage(number, PACKETS) == PACKETS for number in range(1, 50))


def test_faults_come_at_their_pings_only() -> None:
    faults = Faults(garbage_every=3)
    assert [len(faults.damage(number, PACKETS)) for number in range(1, 7)] == [2, 2, 3, 2, 2, 3]


def test_garbage_comes_before_the_ping() -> None:
    garbage, *rest = Faults(garbage_every=1).damage(1, PACKETS)
    assert rest == PACKETS
    assert len(garbage) > 0


def test_truncated_packet_is_a_proper_prefix() -> None:
    for number in range(1, 30):
        first, last = Faults(truncate_every=1).damage(number, PACKETS)
        assert first == PACKETS[0]
        assert PACKETS[1].startswith(last)
        assert len(last) < len(PACKETS[1])


def test_exactly_one_bit_is_flipped() -> None:
    before = np.frombuffer(b"".join(PACKETS), np.uint8)
    for number in range(1, 30):
        after = np.frombuffer(b"".join(Faults(flip_every=1).damage(number, PACKETS)), np.uint8)
        assert np.unpackbits(before ^ after).sum() == 1


def test_one_packet_is_lost() -> None:
    for number in range(1, 30):
        assert Faults(lose_every=1).damage(number, PACKETS) in ([PACKETS[0]], [PACKETS[1]])


def test_same_seed_gives_the_same_damage() -> None:
    faults = Faults(garbage_every=1, flip_every=1, truncate_every=1)
    assert faults.damage(7, PACKETS) == faults.damage(7, PACKETS)
    assert faults.damage(7, PACKETS) != faults.damage(8, PACKETS)
