"""Plays a simulated device on the network: `nims simulate`, ``simulator:`` links, the demo and the tests.

Real sockets and real bytes even within one process, so that what is simulated takes the whole way of a live sonar.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import trio

from .decoder import SimulatedDevice, SimulatedPing, Simulator
from .errors import LinkError

QUEUED_PINGS = 2
"""Pings that may wait for a client; whoever is slower loses whole pings."""
IDLE_INTERVAL_S = 1.0
LARGEST_REQUEST = 65536
"""Bytes of a client's unfinished message that are kept."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong on the wire, every so many pings; 0 is never.

    For tests and for vendors who want to see that a driver survives. The same seed gives the same damage.
    """

    garbage_every: int = 0
    """Random bytes come before the ping."""
    truncate_every: int = 0
    """The last packet of the ping ends early."""
    flip_every: int = 0
    """One bit of the ping is wrong."""
    lose_every: int = 0
    """One packet of the ping is missing: the whole ping of a device that sends it as one."""
    disconnect_every: int = 0
    """All clients are thrown out after the ping (TCP)."""
    stall_every: int = 0
    """The device is silent for `stall_s` before the ping."""
    stall_s: float = 1.0
    seed: int = 1

    def damage(self, number: int, packets: list[bytes]) -> list[bytes]:
        """Return the packets of ping `number` (from 1) as they travel."""
        rng = np.random.default_rng((self.seed, number))
        packets = list(packets)
        if _due(self.lose_every, number) and packets:
            del packets[int(rng.integers(len(packets)))]
        if _due(self.flip_every, number) and packets:
            which = int(rng.integers(len(packets)))
            damaged = bytearray(packets[which])
            damaged[int(rng.integers(len(damaged)))] ^= 1 << int(rng.integers(8))
            packets[which] = bytes(damaged)
        if _due(self.truncate_every, number) and packets:
            packets[-1] = packets[-1][: int(rng.integers(1, max(len(packets[-1]), 2)))]
        if _due(self.garbage_every, number):
            packets.insert(0, rng.bytes(int(rng.integers(1, 1400))))
        return packets


def _due(every: int, number: int) -> bool:
    return every > 0 and number % every == 0


@dataclass(slots=True)
class PlayerStatistics:
    """Counters of a simulated device since its start."""

    pings: int = 0
    late_pings: int = 0
    """Left out because the computer was too slow to make them in time."""
    connections: int = 0
    clients: int = 0
    """Connected now."""
    dropped_pings: int = 0
    """Whole pings that slow clients have lost, over all clients."""
    sent_bytes: int = 0


class PingClock:
    """Tells when to ping, without drift.

    When the caller is late, the times that have passed are left out and counted rather than made up for in a burst.
    """

    def __init__(self, rate_hz: Callable[[], float]) -> None:
        """Args:
        rate_hz: asked before each ping.
        """
        self._rate_hz = rate_hz
        self._due: float | None = None

    async def next(self) -> tuple[float, int]:
        """Wait for the next ping; return (its time on the trio clock, pings missed before it)."""
        period = 1.0 / self._rate_hz()
        self._due = trio.current_time() if self._due is None else self._due + period
        await trio.sleep_until(self._due)
        missed = int(max(trio.current_time() - self._due, 0.0) / period)
        self._due += missed * period
        return self._due, missed


async def serve_simulator(
    simulator: Simulator,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    rate_hz: float | None = None,
    beams: int | None = None,
    samples: int | None = None,
    seed: int = 1,
    faults: Faults = Faults(),
    statistics: PlayerStatistics | None = None,
    on_ping: Callable[[SimulatedPing], None] | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Play the device until cancelled.

    TCP devices listen on `host`:`port` and send every ping to all clients; UDP devices send to `host`:`port`.

    Args:
      port: None for the device's own; 0 for any free one (TCP).
      rate_hz, beams, samples: None for the device's own.
      statistics: counted into while it plays.
      on_ping: called on the trio thread with each ping before it is sent, for the truth of a test.
      task_status: started with the port.

    Raises:
      LinkError: the port is taken, or the host is not known.
      ValueError: the device cannot have so many beams or samples.
    """
    if rate_hz is not None and not 0 < rate_hz <= 1000:
        raise ValueError(f"rate_hz must be above 0 and at most 1000, got {rate_hz}")
    device = await trio.to_thread.run_sync(
        partial(simulator.make, rate_hz=rate_hz, beams=beams, samples=samples, seed=seed)
    )
    player = _Player(device, faults, statistics or PlayerStatistics(), on_ping)
    port = simulator.default_port if port is None else port
    if simulator.transport == "udp":
        await _play_udp(player, host, port, task_status)
    else:
        await _play_tcp(player, host, port, task_status)


class _Player:
    """Makes pings in time; the transports send them."""

    def __init__(
        self,
        device: SimulatedDevice,
        faults: Faults,
        statistics: PlayerStatistics,
        on_ping: Callable[[SimulatedPing], None] | None,
    ) -> None:
        self.device, self.faults, self.statistics = device, faults, statistics
        self._on_ping = on_ping
        self._clock = PingClock(lambda: device.rate_hz)
        self._number = 0
        # The clock of the device starts at the computer's and then runs on its own: steady, as a sonar's does.
        self._offset_s = time.time() - trio.current_time()
        self._idle_due = trio.current_time()

    async def next(self, wanted: Callable[[], bool]) -> tuple[int, list[bytes]]:
        """Wait for and return the next (ping number, packets); time goes on, unheard, while nobody is `wanted`.

        Number 0 is a message of a device that waits for its start.
        """
        while True:
            due, missed = await self._clock.next()
            if not self.device.pinging:
                if due >= self._idle_due and wanted() and (message := self.device.idle()):
                    self._idle_due = due + IDLE_INTERVAL_S
                    return 0, [message]
                continue
            self._number += 1 + missed
            self.statistics.late_pings += missed
            if not wanted():
                continue
            ping, packets = await trio.to_thread.run_sync(self._make, self._number, self._offset_s + due)
            if self._on_ping is not None:
                self._on_ping(ping)
            if _due(self.faults.stall_every, self._number):
                await trio.sleep(self.faults.stall_s)
            self.statistics.pings += 1
            return self._number, packets

    def _make(self, number: int, time_s: float) -> tuple[SimulatedPing, list[bytes]]:
        ping = self.device.ping(number, time_s)
        return ping, self.faults.damage(number, self.device.encode(ping))


async def _play_udp(player: _Player, host: str, port: int, task_status: trio.TaskStatus[int]) -> None:
    try:
        addresses = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise LinkError(f"simulator: cannot find host {host!r}: {error}") from None
    family, kind, protocol, _, address = addresses[0]
    with trio.socket.socket(family, kind, protocol) as sender:
        task_status.started(port)
        while True:
            _, packets = await player.next(lambda: True)
            for packet in packets:
                try:
                    player.statistics.sent_bytes += await sender.sendto(packet, address)
                except OSError:  # nobody there, or the network is down: a real sounder does not notice either
                    player.statistics.dropped_pings += 1
                    break


@dataclass(slots=True, eq=False)
class _Client:
    stream: trio.SocketStream
    packets: trio.MemorySendChannel[list[bytes]]
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


async def _play_tcp(player: _Player, host: str, port: int, task_status: trio.TaskStatus[int]) -> None:
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        raise LinkError(f"simulator: cannot listen on {host}:{port}: {error.strerror or error}") from None
    clients: list[_Client] = []

    async def serve_client(stream: trio.SocketStream) -> None:
        player.statistics.connections += 1
        send, receive = trio.open_memory_channel[list[bytes]](QUEUED_PINGS)
        client = _Client(stream, send)
        clients.append(client)
        player.statistics.clients = len(clients)
        try:
            with client.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_listen_to_client, stream, player.device, client.scope)
                    async for packets in receive:
                        for packet in packets:
                            await stream.send_all(packet)
                            player.statistics.sent_bytes += len(packet)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has vanished: its own affair
        finally:
            clients.remove(client)
            player.statistics.clients = len(clients)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, serve_client, listeners))
        task_status.started(listeners[0].socket.getsockname()[1])
        while True:
            number, packets = await player.next(lambda: bool(clients))
            for client in clients:
                try:
                    client.packets.send_nowait(packets)
                except trio.WouldBlock:
                    player.statistics.dropped_pings += 1
            if number and _due(player.faults.disconnect_every, number):
                for client in clients:
                    client.scope.cancel()


async def _listen_to_client(stream: trio.SocketStream, device: SimulatedDevice, scope: trio.CancelScope) -> None:
    pending = b""
    async for data in stream:
        pending += data
        consumed, answer = device.receive(pending)
        pending = pending[consumed:][-LARGEST_REQUEST:]
        if answer:
            await stream.send_all(answer)
    scope.cancel()  # it has hung up
