"""Other ends that misbehave, an appliance that is killed, and rules that can never act."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import sys
import textwrap
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from nims_appliance.delivery import deliveries, senders
from nims_appliance.delivery.address import parse_action
from nims_appliance.delivery.deliveries import UndeliveredError, attempt, make_delivery
from nims_appliance.delivery.outbox import FILE_NAME, Outbox
from nims_appliance.delivery.senders import QueuedSender
from nims_appliance.settings import SonarSettings, TriggerSettings
from nims_appliance.settings.sonar import ZoneSettings
from nims_appliance.triggers.trial import hindrance

OK = b"HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n"


@asynccontextmanager
async def listening(serve):
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def until(condition) -> None:
    while not condition():
        await trio.sleep(0.01)


async def asked(stream: trio.SocketStream) -> bytes:
    """One whole request; b"" at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += await stream.receive_some(65536)
    return body


async def tried(url: str, data: Path = Path(), body: bytes = b"{}") -> UndeliveredError | None:
    action = parse_action(url)
    delivery = make_delivery(action, data)
    try:
        return await attempt(delivery, action, body)
    finally:
        await delivery.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(deliveries, "ATTEMPT_S", 5.0)
    monkeypatch.setattr(deliveries, "COMMAND_S", 5.0)
    monkeypatch.setattr(deliveries, "TERM_S", 0.2)
    monkeypatch.setattr(senders, "FIRST_RETRY_S", 0.02)
    monkeypatch.setattr(senders, "LONGEST_RETRY_S", 0.05)
    monkeypatch.setattr(senders, "KEEP_S", 0.05)


async def hang(stream: trio.SocketStream) -> None:
    await asked(stream)
    await trio.sleep_forever()


async def trickle(stream: trio.SocketStream) -> None:
    await asked(stream)
    for byte in b"HTTP/1.1 200 " + b"x" * 1000:
        await stream.send_all(bytes([byte]))
        await trio.sleep(0.05)


async def close(stream: trio.SocketStream) -> None:
    await asked(stream)


async def nonsense(stream: trio.SocketStream) -> None:
    await asked(stream)
    await stream.send_all(b"\x00\xff" * 1000)


async def redirect(stream: trio.SocketStream) -> None:
    await asked(stream)
    await stream.send_all(b"HTTP/1.1 302 Found\r\nLocation: https://else.where/hook\r\nContent-Length: 0\r\n\r\n")


async def refuse(stream: trio.SocketStream) -> None:
    await asked(stream)
    await stream.send_all(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("serve", "told", "again"),
    [
        (hang, "no answer for", True),
        (trickle, "no answer for", True),
        (close, "disconnected", True),
        (nonsense, "", True),
        (redirect, "answered 302 Found, which is at https://else.where/hook", False),
        (refuse, "answered 500 Oh", True),
    ],
)
async def test_webhooks_that_misbehave(serve, told: str, again: bool, monkeypatch) -> None:
    if "no answer" in told:
        monkeypatch.setattr(deliveries, "ATTEMPT_S", 0.3)
    with trio.fail_after(10):
        async with listening(serve) as port:
            error = await tried(f"http://127.0.0.1:{port}/hook")
    assert error is not None
    assert told in str(error)
    assert error.again is again


@pytest.mark.parametrize("head", [b"Content-Length: 1000000000", b"Transfer-Encoding: chunked"])
async def test_an_answer_without_end_is_taken_by_its_status_and_not_read(head: bytes) -> None:
    sent = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal sent
        await asked(stream)
        await stream.send_all(b"HTTP/1.1 200 Fine\r\n%b\r\n\r\n" % head)
        piece = b"x" * 2**20
        while True:
            await stream.send_all(b"%x\r\n%b\r\n" % (len(piece), piece) if b"chunked" in head else piece)
            sent += len(piece)

    with trio.fail_after(10):
        async with listening(lambda stream: _ended_by_the_other(serve, stream)) as port:
            assert await tried(f"http://127.0.0.1:{port}/hook") is None
    assert sent < 64 * 2**20


async def test_an_answer_whose_body_never_comes_counts_by_its_status(monkeypatch) -> None:
    monkeypatch.setattr(deliveries, "REST_S", 0.1)

    async def serve(stream: trio.SocketStream) -> None:
        await asked(stream)
        await stream.send_all(b"HTTP/1.1 201 Made\r\nContent-Length: 10\r\n\r\nhalf")
        await trio.sleep_forever()

    with trio.fail_after(10):
        async with listening(serve) as port:
            assert await tried(f"http://127.0.0.1:{port}/hook") is None


async def _ended_by_the_other(serve, stream: trio.SocketStream) -> None:
    with pytest.raises(trio.BrokenResourceError):
        await serve(stream)


def command(folder: Path, text: str) -> str:
    (folder / "commands").mkdir(exist_ok=True)
    path = folder / "commands" / "act"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return "command:act"


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_command_that_never_ends_is_ended_with_all_that_it_started(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(deliveries, "COMMAND_S", 0.5)
    action = command(tmp_path, f"trap '' TERM; sleep 1000 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/own; wait")
    with trio.fail_after(10):
        error = await tried(action, tmp_path)
        assert "was ended: it ran for" in str(error)
        for name in ("own", "child"):
            pid = int((tmp_path / name).read_text())
            await until(lambda pid=pid: not is_running(pid))


async def test_a_command_that_leaves_something_running_has_done_at_once(tmp_path: Path) -> None:
    with trio.fail_after(10):
        assert await tried(command(tmp_path, f"sleep 1000 & echo $! > {tmp_path}/child"), tmp_path) is None
    pid = int((tmp_path / "child").read_text())
    assert is_running(pid)
    os.kill(pid, signal.SIGKILL)


async def test_a_command_that_floods_its_error_output_or_does_not_read(tmp_path: Path) -> None:
    with trio.fail_after(10):
        flood = "head -c 100000000 /dev/zero >&2; echo no film >&2; exit 4"
        error = await tried(command(tmp_path, flood), tmp_path, b"x" * 1_000_000)
    assert str(error).endswith("no film")
    assert error.again is False


async def test_a_tcp_server_that_never_reads_is_given_up_and_its_lines_are_kept(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(deliveries, "ATTEMPT_S", 0.3)

    async def serve(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    with trio.fail_after(20):
        async with listening(serve) as port:
            url = f"tcp://127.0.0.1:{port}"
            action = parse_action(url)
            sender = QueuedSender(action, make_delivery(action, tmp_path), Outbox(tmp_path))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sender.run)
                for number in range(20):
                    sender.send(b"%d " % number + b"x" * 2**20)
                await until(lambda: "no answer" in sender.last_error)
                nursery.cancel_scope.cancel()
    kept = Outbox(tmp_path).first(url)
    assert sender.sent + len(kept) == 20
    assert [int(body.split()[0]) for _, body in kept] == list(range(sender.sent, 20))


async def test_hundreds_a_second_for_a_slow_webhook_are_not_lost(tmp_path: Path) -> None:
    got: list[int] = []

    async def serve(stream: trio.SocketStream) -> None:
        while body := await asked(stream):
            await trio.sleep(0.002)
            got.append(int(body))
            await stream.send_all(OK)

    with trio.fail_after(60):
        async with listening(serve) as port:
            action = parse_action(f"http://127.0.0.1:{port}/hook")
            sender = QueuedSender(action, make_delivery(action, tmp_path), Outbox(tmp_path))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sender.run)
                for number in range(600):
                    assert sender.send(b"%d" % number)
                    if number % 10 == 0:
                        await trio.sleep(0.01)
                await until(lambda: len(got) >= 600)
                await until(lambda: not sender.waiting)
                nursery.cancel_scope.cancel()
    assert got == list(range(600))
    assert sender.lost == 0
    assert Outbox(tmp_path).actions() == {}


KILLED = """
    import sys, trio
    from pathlib import Path
    from nims_appliance.delivery.address import parse_action
    from nims_appliance.delivery.deliveries import make_delivery
    from nims_appliance.delivery.outbox import Outbox
    from nims_appliance.delivery.senders import QueuedSender

    async def main():
        action, data = parse_action(sys.argv[1]), Path(sys.argv[2])
        sender = QueuedSender(action, make_delivery(action, data), Outbox(data))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.run)
            for number in range(200):
                sender.send(b"%d" % number)

    trio.run(main)
"""


async def test_after_kill_9_everything_is_delivered_and_nothing_for_ever(tmp_path: Path) -> None:
    got: list[int] = []
    is_slow = True

    async def serve(stream: trio.SocketStream) -> None:
        while body := await asked(stream):
            if is_slow and len(got) >= 50:
                await trio.sleep_forever()
            got.append(int(body))
            await stream.send_all(OK)

    with trio.fail_after(60):
        async with listening(serve) as port:
            url = f"http://127.0.0.1:{port}/hook"
            arguments = [sys.executable, "-c", textwrap.dedent(KILLED), url, str(tmp_path)]
            process = await trio.lowlevel.open_process(arguments)
            try:
                await until(lambda: len(got) == 50 and Outbox(tmp_path).actions().get(url, 0) >= 150)
            finally:
                process.kill()
                await process.wait()
            is_slow = False
            action = parse_action(url)
            sender = QueuedSender(action, make_delivery(action, tmp_path), Outbox(tmp_path))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sender.run)
                await until(lambda: set(got) == set(range(200)))
                await until(lambda: not Outbox(tmp_path).actions())
                await trio.sleep(0.3)
                nursery.cancel_scope.cancel()
    # those on their way when it was killed come twice, at most
    assert len(got) - 200 <= senders.AT_ONCE + 1
    assert [number for number in got if got.count(number) > 2] == []


async def test_a_disk_that_cannot_be_written_any_more_repeats_nothing(tmp_path: Path, monkeypatch) -> None:
    got: list[int] = []

    async def serve(stream: trio.SocketStream) -> None:
        while body := await asked(stream):
            got.append(int(body))
            await stream.send_all(OK)

    def full(numbers: list[int]) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with trio.fail_after(20):
        async with listening(serve) as port:
            action = parse_action(f"http://127.0.0.1:{port}/hook")
            box = Outbox(tmp_path)
            box.add(str(action), [b"%d" % number for number in range(5)])
            monkeypatch.setattr(box, "remove", full)
            sender = QueuedSender(action, make_delivery(action, tmp_path), box)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sender.run)
                await until(lambda: len(got) == 5)
                sender.send(b"5")
                await until(lambda: len(got) == 6)
                await trio.sleep(0.5)
                assert "disk is full" in sender.last_error
                monkeypatch.undo()
                await until(lambda: not Outbox(tmp_path).actions())
                nursery.cancel_scope.cancel()
    assert got == list(range(6))
    assert (tmp_path / FILE_NAME).exists()


def zoned(*zones: str, **kinds: str) -> dict:
    made = {zone: ZoneSettings(kind=kinds.get(zone, "watched")) for zone in zones}
    settings = SonarSettings(profile="kongsberg-m3", link="tcp://h:1", zones=made)
    return {"pen": type("Sonar", (), {"settings": settings})()}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"on": "zone_entered", "zone": "gate"}, ""),
        ({"on": "zone_entered", "zone": "gone"}, "waits for the watched zone 'gone', which no sonar of it has"),
        ({"on": "zone_left", "zone": "pier"}, "waits for the watched zone 'pier', which no sonar of it has"),
        ({"on": "zone_entered", "zone": "gate", "sonar": "bay"}, "waits for the sonar 'bay', which there is not"),
        ({"on": "alarm", "alarm": "gone"}, "waits for the alarm 'gone', which no sonar of it has"),
        ({"on": "track", "text": "{zone}"}, "cannot say its text: there is no {zone}: there is bearing_deg"),
        ({"on": "track", "text": "{range_m:.1f} {track} {ping}"}, ""),
        ({"on": "track_ended", "text": "{duration_s:.1f}"}, ""),
        ({"on": "track", "actions": []}, "has no action"),
        ({"on": "zone_entered", "zone": "gone", "enabled": False}, ""),
    ],
)
def test_a_rule_that_can_never_act_says_why(rule: dict, expected: str) -> None:
    settings = TriggerSettings(**({"actions": ["clip"]} | rule))
    told = hindrance(settings, zoned("gate", "pier", pier="ignored"))
    assert told == expected if not expected.endswith("bearing_deg") else told.startswith(expected)


def test_messages_of_every_kind_can_be_tried() -> None:
    from nims_appliance.triggers.trial import example_values

    for kind in (
        "track",
        "track_ended",
        "zone_entered",
        "zone_left",
        "alarm",
        "alarm_ended",
        "sonar_silent",
        "sonar_back",
    ):
        assert json.dumps(example_values(TriggerSettings(on=kind)))


def test_a_port_that_nobody_listens_on(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    error = trio.run(tried, f"tcp://127.0.0.1:{port}")
    assert "refused" in str(error)


async def test_what_a_server_missed_in_an_hour_comes_in_order_when_it_is_back(
    tmp_path: Path, monkeypatch, autojump_clock
) -> None:
    """More than memory holds waits on disk, and the longest pause between two attempts is a minute."""

    async def here(work, *args, **_):
        await trio.lowlevel.checkpoint()
        return work(*args)

    # Virtual time does not wait for threads.
    monkeypatch.setattr(trio.to_thread, "run_sync", here)
    for name, value in (("FIRST_RETRY_S", 1.0), ("LONGEST_RETRY_S", 60.0), ("KEEP_S", 0.5), ("MOST_WAITING", 50)):
        monkeypatch.setattr(senders, name, value)
    attempts: list[float] = []
    arrived: list[tuple[float, bytes]] = []
    hour = trio.current_time(), trio.current_time() + 3600.0

    class Server:
        async def __call__(self, body: bytes) -> None:
            attempts.append(trio.current_time())
            if attempts[-1] < hour[1]:
                raise UndeliveredError("nobody answers", again=True)
            arrived.append((attempts[-1], body))

        async def close(self) -> None:
            return

    sender = QueuedSender(parse_action("http://there/hook"), Server(), Outbox(tmp_path))
    bodies = [b"%d" % number for number in range(600)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender.run)
        for body in bodies:
            assert sender.send(body)
            await trio.sleep(3600 / len(bodies))
        while len(arrived) < len(bodies):
            await trio.sleep(1.0)
        nursery.cancel_scope.cancel()
    assert [body for _, body in arrived] == bodies
    assert arrived[-1][0] < hour[1] + 70
    assert 60 <= len([moment for moment in attempts if moment < hour[1]]) <= 75
    assert sender.lost == 0
    assert Outbox(tmp_path).first("http://there/hook") == []
