"""Links over real sockets and files: connecting, losing, finding again, and saying so.

Time runs fifty times faster than the computer's clock, so that waits are short and sockets still have time to work.
"""

from __future__ import annotations

import os
import socket
import struct
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from nims_appliance.errors import LinkError
from nims_appliance.links import Link, UdpLink, parse_link
from nims_appliance.links.link import Backoff
from nims_appliance.links.udp import bind_udp


@pytest.fixture
def fast_clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(rate=50)


class Reports:
    """What a link said, newest last; `until` waits for a text."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str]] = []
        self._changed = trio.Event()

    def __call__(self, state: str, detail: str) -> None:
        self.all.append((state, detail))
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, text: str) -> str:
        while True:
            for _, detail in self.all:
                if text in detail:
                    return detail
            await self._changed.wait()


async def collect_into(received: list[bytes], link: Link, connection) -> None:
    while await connection.fill(1):
        received.append(bytes(connection.buffer.view))
        connection.buffer.consume(len(connection.buffer))
        link.good_data()


def make_link(text: str, limit_bytes: int = 2**20) -> tuple[Link, Reports]:
    reports = Reports()
    return Link(parse_link(text), limit_bytes=limit_bytes, report=reports), reports


serve = partial(trio.serve_tcp, host="127.0.0.1")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


async def test_tcp_receives_and_sends(fast_clock) -> None:
    answers = []

    async def sonar(stream: trio.SocketStream) -> None:
        answers.append(await stream.receive_some(100))
        await stream.send_all(b"ping")
        await trio.sleep_forever()

    received: list[bytes] = []
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(serve, sonar, 0)
        link, _ = make_link(f"tcp://127.0.0.1:{listener.socket.getsockname()[1]}")
        got = trio.Event()

        async def session(connection) -> None:
            await connection.send(b"start")
            await connection.fill(4)
            received.append(bytes(connection.buffer.view))
            got.set()
            await trio.sleep_forever()

        nursery.start_soon(link.run, session)
        await got.wait()
        nursery.cancel_scope.cancel()
    assert (answers, received) == ([b"start"], [b"ping"])
    assert link.statistics()["received_bytes"] == 4


async def test_a_refused_connection_is_retried_until_the_sonar_is_there(fast_clock) -> None:
    port = free_port()
    link, reports = make_link(f"tcp://127.0.0.1:{port}")
    received: list[bytes] = []

    async def sonar(stream: trio.SocketStream) -> None:
        await stream.send_all(b"ping")
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run, lambda connection: collect_into(received, link, connection))
        detail = await reports.until("refused")
        assert detail.startswith(f"127.0.0.1:{port} refused the connection: is the sonar's software running")
        assert "trying again" in detail
        await nursery.start(serve, sonar, port)
        while not received:
            await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert received == [b"ping"]


async def test_a_sonar_that_was_unplugged_is_found_again(fast_clock, caplog) -> None:
    connections = 0

    async def sonar(stream: trio.SocketStream) -> None:
        nonlocal connections
        connections += 1
        await stream.send_all(b"ping%d" % connections)
        if connections == 1:
            # No orderly goodbye: the connection is reset.
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        if connections == 2:
            return
        await trio.sleep_forever()

    received: list[bytes] = []
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(serve, sonar, 0)
        link, reports = make_link(f"tcp://127.0.0.1:{listener.socket.getsockname()[1]}")
        nursery.start_soon(link.run, lambda connection: collect_into(received, link, connection))
        await reports.until("the sonar closed the connection")
        while connections < 3:
            await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert link.connects >= 2
    assert b"ping2" in received
    assert "closed the connection; trying again" in caplog.text


async def test_a_sonar_that_stays_away_is_logged_once(fast_clock, caplog) -> None:
    caplog.set_level("INFO")
    port = free_port()
    link, _ = make_link(f"tcp://127.0.0.1:{port}")

    async def sonar(stream: trio.SocketStream) -> None:
        await stream.send_all(b"ping")
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run, lambda connection: collect_into([], link, connection))
        await trio.sleep(20)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        await nursery.start(serve, sonar, port)
        while len(caplog.records) < 2:
            await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert caplog.records[1].getMessage() == f"tcp://127.0.0.1:{port}: pings again"


async def test_a_silent_sonar_is_shown_and_connected_to_again(fast_clock) -> None:
    connections = 0

    async def silent(stream: trio.SocketStream) -> None:
        nonlocal connections
        connections += 1
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(serve, silent, 0)
        link, reports = make_link(f"tcp://127.0.0.1:{listener.socket.getsockname()[1]}")
        nursery.start_soon(link.run, lambda connection: collect_into([], link, connection))
        assert (await reports.until("no data for 1")).endswith("is the sonar pinging?")
        while connections < 2:
            await trio.sleep(0.5)
        nursery.cancel_scope.cancel()
    silent_s = [int(detail.split()[3]) for _, detail in reports.all if detail.startswith("no data") and "?" in detail]
    assert min(silent_s) >= 10
    assert max(silent_s) < 35


async def test_an_unknown_host_is_named(fast_clock, monkeypatch) -> None:
    async def getaddrinfo(*args, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(trio.socket, "getaddrinfo", getaddrinfo)
    link, reports = make_link("tcp://sonra:20001")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run, lambda connection: trio.sleep_forever())
        assert "cannot find sonra:20001: check the name" in await reports.until("cannot find")
        nursery.cancel_scope.cancel()


async def test_a_file_is_read_to_its_end_once(tmp_path: Path, fast_clock) -> None:
    data = bytes(range(256)) * 20_000
    (tmp_path / "a.imb").write_bytes(data)
    link, reports = make_link(f"file:{tmp_path}/a.imb", limit_bytes=4096)
    received: list[bytes] = []
    await link.run(lambda connection: collect_into(received, link, connection))
    assert b"".join(received) == data
    assert reports.all[-1] == ("waiting", "a.imb has been played to its end")
    assert not link.is_live


async def test_a_file_can_loop(tmp_path: Path, fast_clock) -> None:
    (tmp_path / "a.imb").write_bytes(b"abc")
    link, _ = make_link(f"file:{tmp_path}/a.imb?loop=yes")
    received: list[bytes] = []
    with trio.move_on_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run, lambda connection: collect_into(received, link, connection))
            while len(received) < 20:
                await trio.sleep(0.1)
            nursery.cancel_scope.cancel()
    assert set(received) == {b"abc"}
    assert link.connects >= 20


async def test_a_looping_file_without_pings_does_not_spin(tmp_path: Path, fast_clock) -> None:
    (tmp_path / "a.imb").write_bytes(b"nothing of value")
    link, reports = make_link(f"file:{tmp_path}/a.imb?loop=yes")

    async def reject(connection) -> None:
        while await connection.fill(1):
            connection.buffer.consume(len(connection.buffer))

    with trio.move_on_after(10):
        await link.run(reject)
    assert link.connects <= 5
    assert any("no ping in" in detail for _, detail in reports.all)


async def test_a_missing_file_is_named_and_found_later(tmp_path: Path, fast_clock) -> None:
    path = tmp_path / "a.imb"
    link, reports = make_link(f"file:{path}")
    received: list[bytes] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run, lambda connection: collect_into(received, link, connection))
        assert f"there is no file {path}" in await reports.until("there is no file")
        path.write_bytes(b"abc")
    assert received == [b"abc"]


async def test_a_folder_without_recordings_is_none(tmp_path: Path, fast_clock) -> None:
    (tmp_path / "pen.imb.index").write_bytes(b"NIMSIDX1")
    link, reports = make_link(f"file:{tmp_path}/")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run, lambda connection: trio.sleep_forever())
        assert await reports.until("there is no recording in")
        nursery.cancel_scope.cancel()


async def test_a_folder_is_played_in_the_order_of_its_recordings(tmp_path: Path) -> None:
    for name, data in (("pen_2.imb", b"second"), ("pen_1.imb", b"first"), ("pen_1.imb.index", b"x"), (".new", b"x")):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "pen_3.imb").write_bytes(b"NIMSREC1 damaged")
    (tmp_path / "pen_4.imb").write_bytes(b"fourth")
    link, _ = make_link(f"file:{tmp_path}/")
    received: list[bytes] = []
    await link.run(lambda connection: collect_into(received, link, connection))
    assert received == [b"first", b"second", b"fourth"], "a damaged one is left out"
    assert "pen_3.imb" in link.last_error
    assert link.statistics()["received_bytes"] == len(b"".join(received))


async def test_a_pipe_is_no_recording(tmp_path: Path, fast_clock) -> None:
    os.mkfifo(tmp_path / "pipe")
    link, reports = make_link(f"file:{tmp_path}/pipe")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run, lambda connection: trio.sleep_forever())
        assert "expected the file of a recording" in await reports.until("is a pipe")
        nursery.cancel_scope.cancel()


async def test_a_simulator_that_is_not_there_is_an_error() -> None:
    link, _ = make_link("simulator:kongsberg-m4")
    with pytest.raises(LinkError, match="no simulator of 'kongsberg-m4': expected one of: none is installed"):
        _ = link.is_datagram


def quiet(_: float) -> None:
    """Ignore silence."""


async def test_udp_takes_a_burst_in_order() -> None:
    port = free_port()
    seen = []
    async with bind_udp(
        UdpLink("", port, bind="127.0.0.1"),
        taps=[lambda data, sender, arrival: seen.append(bytes(data))],
        on_silence=quiet,
        warn=lambda text: None,
    ) as connection:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sonar:
            for number in range(150):
                sonar.sendto(b"%d" % number, ("127.0.0.1", port))
            sender = f"127.0.0.1:{sonar.getsockname()[1]}"
            received: list[bytes] = []
            while len(received) < 150:
                batch = await connection.receive()
                assert len(batch) <= 64
                assert {datagram.sender for datagram in batch} == {sender}
                received += [bytes(datagram.data) for datagram in batch]
    assert received == [b"%d" % number for number in range(150)]
    assert seen == received
    assert connection.kernel_drops == 0


async def test_udp_counts_what_the_kernel_dropped(monkeypatch) -> None:
    monkeypatch.setattr("nims_appliance.links.udp.ASKED_BUFFER_BYTES", 20_000)
    port = free_port()
    async with bind_udp(UdpLink("", port, bind="127.0.0.1"), taps=[], on_silence=quiet) as connection:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sonar:
            for _ in range(200):
                sonar.sendto(bytes(1000), ("127.0.0.1", port))
            received = len(await connection.receive())
            while received < 200 and connection.kernel_drops == 0:
                # The count travels with the next datagram that has room.
                sonar.sendto(bytes(1000), ("127.0.0.1", port))
                received += len(await connection.receive())
    assert connection.kernel_drops > 0


async def test_udp_warns_of_a_small_buffer(monkeypatch) -> None:
    monkeypatch.setattr("nims_appliance.links.udp._ask_for_buffer", lambda sock: 212992)
    warnings: list[str] = []
    async with bind_udp(UdpLink("", free_port(), bind="127.0.0.1"), taps=[], on_silence=quiet, warn=warnings.append):
        pass
    assert "208 KiB only" in warnings[0]
    assert "sysctl -w net.core.rmem_max=4194304" in warnings[0]


async def test_udp_of_one_sonar_leaves_strangers_out() -> None:
    port = free_port()
    link = UdpLink("127.0.0.2", port, bind="127.0.0.1")
    async with bind_udp(link, taps=[], on_silence=quiet, warn=lambda text: None) as connection:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sonar,
        ):
            stranger.bind(("127.0.0.3", 0))
            sonar.bind(("127.0.0.2", port))
            stranger.sendto(b"stranger", ("127.0.0.1", port))
            sonar.sendto(b"sonar", ("127.0.0.1", port))
            batch = await connection.receive()
            assert [bytes(datagram.data) for datagram in batch] == [b"sonar"]
            assert connection.foreign == 1
            assert connection.foreign_sender.startswith("127.0.0.3:")
            await connection.send(b"subscribe")
            sonar.settimeout(5)
            assert sonar.recvfrom(100)[0] == b"subscribe"


async def test_udp_joins_a_multicast_group() -> None:
    port = free_port()
    link = UdpLink("239.255.12.34", port, bind="127.0.0.1")
    async with bind_udp(link, taps=[], on_silence=quiet, warn=lambda text: None) as connection:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sonar:
            sonar.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            sonar.sendto(b"ping", ("239.255.12.34", port))
            (datagram,) = await connection.receive()
            assert bytes(datagram.data) == b"ping"


async def test_a_udp_port_in_use_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", 0))
        port = taken.getsockname()[1]
        with pytest.raises(LinkError, match=f"UDP port {port} is in use"):
            async with bind_udp(UdpLink("", port), taps=[], on_silence=quiet):
                pass


async def test_an_address_of_another_computer_cannot_be_bound() -> None:
    with pytest.raises(LinkError, match=r"192\.0\.2\.1 is not an address of this computer"):
        async with bind_udp(UdpLink("", free_port(), bind="192.0.2.1"), taps=[], on_silence=quiet):
            pass


def test_backoff_doubles_up_to_its_limit_and_starts_again() -> None:
    backoff = Backoff(1, 30)
    delays = [backoff.next_s() for _ in range(8)]
    for delay_s, nominal_s in zip(delays, [1, 2, 4, 8, 16, 30, 30, 30], strict=True):
        assert 0.8 * nominal_s <= delay_s <= 1.2 * nominal_s
    backoff.reset()
    assert backoff.next_s() <= 1.2
