"""Fixtures of driver tests: a link without I/O, and streams that were damaged in thirty ways."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest

from nims_appliance.decoder import DecoderContext, Driver, StreamDecoder
from nims_appliance.frame import Arrival, Frame
from nims_appliance.profile import LimitsSettings, Profile
from nims_appliance.settings import MountingSettings

ARRIVAL = Arrival(utc_s=1_700_000_000.0, monotonic_s=100.0)


def _make(driver: Driver, *, settings=None, limits=None, live=False, want_samples=False, **mounting) -> StreamDecoder:
    """Return a decoder as the core makes it."""
    context = DecoderContext(
        profile=Profile(name="test", title="Test", driver=driver.name, limits=limits or LimitsSettings()),
        settings=driver.settings_type() if settings is None else settings,
        live=live,
        timed=live,
        want_samples=want_samples,
        mounting=MountingSettings(**mounting),
    )
    assert driver.stream is not None
    return driver.stream(context)


def _play(decoder: StreamDecoder, stream: bytes, cuts: Iterable[int] = (), limit_bytes: int = 64 * 2**20):
    """Feed the stream as a link does, cut at the given places; return the frames, each checked."""
    buffer = bytearray()
    frames: list[Frame] = []
    need, start = 1, 0
    for end in [*sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]:
        buffer += stream[start:end]
        start = end
        while len(buffer) >= need:
            view = memoryview(buffer).toreadonly()
            answer = decoder.decode(view, ARRIVAL)
            view.release()
            assert 0 <= answer.consumed <= len(buffer)
            assert 1 <= answer.need <= limit_bytes
            assert answer.consumed or answer.need > len(buffer), "neither took bytes nor asked for more"
            del buffer[: answer.consumed]  # fails if anything still refers to the buffer
            need = answer.need
            frames += [frame.check() for frame in answer.frames]
    return frames + decoder.finish(ARRIVAL)


def _damages(sync: bytes, head_bytes: int) -> list[Callable[[bytes, np.random.Generator], bytes]]:
    """Return thirty kinds of damage of one packet whose headers have `head_bytes`."""

    def flip(at: int, mask: int = 0xFF):
        def damaged(packet: bytes, rng: np.random.Generator) -> bytes:
            index = at % len(packet)
            return packet[:index] + bytes([packet[index] ^ mask]) + packet[index + 1 :]

        return damaged

    def random_flips(packet: bytes, rng: np.random.Generator) -> bytes:
        damaged = bytearray(packet)
        for at in rng.integers(0, len(packet), 20):
            damaged[at] ^= 1 << int(rng.integers(8))
        return bytes(damaged)

    def head_flips(packet: bytes, rng: np.random.Generator) -> bytes:
        return random_flips(packet[:head_bytes], rng) + packet[head_bytes:]

    def middle(packet: bytes) -> int:
        return len(packet) // 2

    return [
        lambda p, rng: p[1:],
        lambda p, rng: p[len(sync) :],
        lambda p, rng: p[head_bytes:],
        lambda p, rng: p[middle(p) :],
        lambda p, rng: p[:-1],
        lambda p, rng: p[:-7],
        lambda p, rng: p[:-44],
        lambda p, rng: p[: -head_bytes + 3],
        lambda p, rng: p[: middle(p)],
        lambda p, rng: p[: head_bytes + 1],
        lambda p, rng: p[:head_bytes],
        lambda p, rng: p[: head_bytes - 1],
        lambda p, rng: p[: len(sync)],
        lambda p, rng: p[:1],
        lambda p, rng: p[: middle(p)] + p[middle(p) + 1 :],
        lambda p, rng: p[: middle(p)] + p[middle(p) + int(rng.integers(2, 400)) :],
        lambda p, rng: p[: middle(p)] + b"\xa5" + p[middle(p) :],
        lambda p, rng: p[: middle(p)] + rng.bytes(int(rng.integers(2, 3000))) + p[middle(p) :],
        lambda p, rng: p[: middle(p)] + sync * 3 + p[middle(p) :],
        lambda p, rng: p[:head_bytes] + p,
        lambda p, rng: p[: middle(p)] + p[: middle(p)],
        lambda p, rng: p[::-1],
        lambda p, rng: bytes(len(p)),
        lambda p, rng: b"\xff" * len(p),
        lambda p, rng: sync * 200 + sync[:1],
        lambda p, rng: rng.bytes(int(rng.integers(1, 5000))),
        flip(0, 0x01),
        head_flips,
        random_flips,
        flip(-1),
    ]


@pytest.fixture(scope="session")
def make() -> Callable[..., StreamDecoder]:
    """make(driver, settings=, limits=, live=, want_samples=, bearing_sign=, inverted=): a decoder."""
    return _make


@pytest.fixture(scope="session")
def play() -> Callable[..., list[Frame]]:
    """play(decoder, stream, cuts): the frames of a stream that arrives in pieces."""
    return _play


@pytest.fixture(scope="session")
def damages() -> Callable[..., list[Callable[[bytes, np.random.Generator], bytes]]]:
    """damages(sync, head_bytes): thirty functions (packet, generator) -> damaged packet."""
    return _damages
