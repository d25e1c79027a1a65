"""A viewer on a slow link gets fewer and smaller pictures, and full ones on a better one. Links are simulated."""

from __future__ import annotations

import dataclasses
import json
import struct
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from nims_appliance.context import Context
from nims_appliance.pipeline.display import DisplayEncoder, reduced
from nims_appliance.web.detail import Detail
from nims_appliance.web.livesocket import _Viewer
from nims_appliance.web.state import WebState


class SlowLink:
    """Carries what is sent at some rate, in order; pictures are acknowledged when the last byte has come."""

    waiting_bytes = 0

    def __init__(self, bytes_per_s: float, delay_s: float) -> None:
        self.bytes_per_s = bytes_per_s
        self.delay_s = delay_s
        self.send_soon, self._come = trio.open_memory_channel[bytes](100)
        self.send_soon = self.send_soon.send_nowait
        self.drawn: list[dict[str, Any]] = []

    async def carry(self, viewer: _Viewer) -> None:
        async for message in self._come:
            await trio.sleep(len(message) / self.bytes_per_s)
            head, _ = message_of(message)
            self.drawn.append({**head, "age_s": trio.current_time() + self.delay_s - head["time_s"]})
            seen = {"type": "seen", "sonar": "pen", "frame": head["frame"]}
            trio.lowlevel.spawn_system_task(self._answer, viewer, json.dumps(seen))

    async def _answer(self, viewer: _Viewer, text: str) -> None:
        await trio.sleep(2 * self.delay_s)
        viewer.take(text)


def message_of(message: bytes) -> tuple[dict[str, Any], np.ndarray]:
    """The header and the cells of a picture, as a WebSocket frame."""
    start = 2 + {126: 2, 127: 8}.get(message[1], 0)
    return picture_of(message[start:])


def picture_of(payload: bytes) -> tuple[dict[str, Any], np.ndarray]:
    (length,) = struct.unpack_from("<I", payload)
    head = json.loads(payload[4 : 4 + length])
    return head, np.frombuffer(payload, np.uint8, offset=4 + length).reshape(head["rows"], head["columns"])


@pytest.fixture
def pen(context: Context) -> Any:
    return context.sonars["pen"]


async def watch(context: Context, make_frame: Any, link: SlowLink, seconds: int, changes: dict[int, float]) -> None:
    """Ten pings of 256 x 500 cells a second; the link's bytes per second change at some seconds."""
    sonar = context.sonars["pen"]
    viewer = _Viewer(link, WebState(context))  # type: ignore[arg-type]
    viewer.catch_up(sonar)
    noise = np.random.default_rng(1).exponential(1.0, (500, 256)).astype(np.float32)
    picture = DisplayEncoder().encode(make_frame(0, samples=500, beams=256, intensity=noise))
    head, cells = picture_of(picture.payload)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.carry, viewer)
        for number in range(1, 10 * seconds):
            link.bytes_per_s = changes.get(number // 10, link.bytes_per_s)
            text = json.dumps({**head, "frame": number, "time_s": trio.current_time()}).encode()
            payload = struct.pack("<I", len(text)) + text + cells.tobytes()
            viewer.show(dataclasses.replace(picture, frame_number=number, payload=payload), sonar)
            await trio.sleep(0.1)
        nursery.cancel_scope.cancel()


async def test_a_quick_link_carries_every_picture_in_full(
    context: Context, make_frame, autojump_clock: MockClock
) -> None:
    link = SlowLink(4e6, 0.02)
    await watch(context, make_frame, link, 20, {})
    assert {head["reduction"] for head in link.drawn} == {1}
    assert [head["frame"] for head in link.drawn] == list(range(1, 200))


async def test_a_slow_link_carries_smaller_pictures_that_are_less_old(
    context: Context, make_frame, autojump_clock: MockClock
) -> None:
    link = SlowLink(120e3, 0.05)  # about 1 Mbit/s; a full picture is 131 kB
    await watch(context, make_frame, link, 60, {})
    first = [head for head in link.drawn if head["time_s"] < link.drawn[0]["time_s"] + 5]
    last = [head for head in link.drawn if head["time_s"] > link.drawn[-1]["time_s"] - 20]
    assert {head["reduction"] for head in first} >= {1}
    assert {head["reduction"] for head in last} <= {2, 4}
    assert max(head["age_s"] for head in last) < 0.4 < max(head["age_s"] for head in first)
    assert len(last) / 20 > 3  # a second; of full pictures it would be one


async def test_a_link_that_gets_better_has_full_pictures_again(
    context: Context, make_frame, autojump_clock: MockClock
) -> None:
    link = SlowLink(120e3, 0.01)
    await watch(context, make_frame, link, 90, {30: 10e6})
    assert {head["reduction"] for head in link.drawn[-100:]} == {1}


async def test_pictures_on_a_link_between_two_sizes_do_not_change_all_the_time(
    context: Context, make_frame, autojump_clock: MockClock
) -> None:
    link = SlowLink(700e3, 0.01)  # five full pictures a second
    await watch(context, make_frame, link, 120, {})
    sizes = [head["reduction"] for head in link.drawn]
    assert 0 < sum(a != b for a, b in pairwise(sizes)) < 12
    assert Counter(sizes)[2] > 0.7 * len(sizes)


def test_a_page_that_comes_back_from_the_background_keeps_its_size() -> None:
    detail = Detail(0.0)
    for sent_s in (10.0, 10.1, 10.2):
        detail.answered(sent_s, 100.0)
    for number in range(200):
        detail.answered(100.0 + number / 10, 100.02 + number / 10)
        assert detail.reduction == 1


@pytest.mark.parametrize(("samples", "beams"), [(40, 16), (41, 15), (1, 2), (7, 1), (512, 512)])
@pytest.mark.parametrize("reduction", [2, 4])
def test_a_smaller_picture_loses_no_echo_and_lies_where_the_full_one_does(
    make_frame, samples: int, beams: int, reduction: int
) -> None:
    rng = np.random.default_rng(3)
    frame = make_frame(1, samples=samples, beams=max(beams, 2))
    frame.intensity[:] = rng.exponential(1.0, frame.intensity.shape)
    full = DisplayEncoder().encode(frame)
    head, cells = picture_of(full.payload)
    small_head, small = picture_of(reduced(full.payload, reduction))
    assert small.shape == (-(-cells.shape[0] // reduction), -(-cells.shape[1] // reduction))
    for row in range(small.shape[0]):
        for column in range(0, small.shape[1], 7):
            block = cells[row * reduction :, column * reduction :][:reduction, :reduction]
            assert small[row, column] == block.max()
    step_m = (head["range_last_m"] - head["range_first_m"]) / head["rows"]
    small_step_m = (small_head["range_last_m"] - small_head["range_first_m"]) / small_head["rows"]
    assert small_head["range_first_m"] == head["range_first_m"]
    assert small_step_m == pytest.approx(reduction * step_m, rel=1e-4)
    for column, bearing_rad in enumerate(small_head["bearing_rad"]):
        joined = head["bearing_rad"][column * reduction : (column + 1) * reduction]
        assert bearing_rad == pytest.approx(sum(joined) / len(joined), abs=2e-6)
    same = {"type", "sonar", "frame", "ping", "time_s", "db_min", "db_max", "low_db", "high_db", "quantity", "unit"}
    assert {key: small_head[key] for key in same} == {key: head[key] for key in same}


def test_a_smaller_picture_keeps_uneven_ranges(make_frame) -> None:
    frame = make_frame(1, samples=50, beams=8, range_m=np.geomspace(1.0, 40.0, 50))
    head, _ = picture_of(DisplayEncoder().encode(frame).payload)
    small_head, _ = picture_of(reduced(DisplayEncoder().encode(frame).payload, 4))
    assert small_head["range_m"][0] == pytest.approx(np.mean(head["range_m"][:4]), abs=1e-5)
    assert len(small_head["range_m"]) == small_head["rows"] == 13
    assert small_head["range_last_m"] == head["range_last_m"]
