"""Simulated devices speak the real protocols: the drivers find the animals where the truth has them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import nims_ek60
import nims_m3
import nims_oculus
import numpy as np
import pytest
import trio
from nims_oculus import wire as oculus
from nims_simulator import nims_simulators
from nims_simulator.devices import SimulatedEK60, SimulatedM3, SimulatedOculus

from nims_appliance.decoder import (
    DatagramDecoder,
    DecoderContext,
    Driver,
    SimulatedDevice,
    SimulatedPing,
    StreamDecoder,
)
from nims_appliance.frame import Arrival, Frame
from nims_appliance.profile import Profile
from nims_appliance.simulate import Faults, PlayerStatistics, serve_simulator

START_S = 1_700_000_000.0
SIMULATORS = {simulator.profile: simulator for simulator in nims_simulators()}


def context(driver: Driver, **settings: object) -> DecoderContext:
    profile = Profile(name="test", title="test", driver=driver.name)
    return DecoderContext(profile, driver.settings_type(**settings), live=True, timed=True, want_samples=True)


def stream_decoder(plugin: object, **settings: object) -> StreamDecoder:
    (driver,) = plugin.nims_drivers()  # type: ignore[attr-defined]
    return driver.stream(context(driver, **settings))


def decode(decoder: StreamDecoder, data: bytes) -> list[Frame]:
    frames, view = [], memoryview(data)
    while True:
        answer = decoder.decode(view, Arrival(START_S, 0.0))
        frames += answer.frames
        view = view[answer.consumed :]
        if not answer.consumed:
            return frames


def pings(device: SimulatedDevice, count: int) -> Iterator[tuple[SimulatedPing, list[bytes]]]:
    for number in range(1, count + 1):
        ping = device.ping(number, START_S + number / device.rate_hz)
        yield ping, device.encode(ping)


def echo_over_surroundings_db(frame: Frame, range_m: float, bearing_rad: float, size_m: float) -> float:
    """Strongest cell around a position over the median of a wider neighbourhood, dB."""
    near_row = np.abs(frame.range_m - range_m) < size_m / 2 + 2 * frame.range_resolution_m
    near_column = np.abs(frame.bearing_rad - bearing_rad) < size_m / 2 / range_m + frame.beam_width_rad
    around = np.abs(frame.range_m - range_m) < size_m / 2 + 3.0
    peak = frame.intensity[np.ix_(near_row, near_column)].max()
    return 10 * math.log10(peak / np.median(frame.intensity[around]))


def test_simulators_are_offered_one_for_each_profile() -> None:
    assert set(SIMULATORS) == {"kongsberg-m3", "blueprint-oculus", "simrad-ek60"}


def test_m3_decodes_to_what_was_heard() -> None:
    device, decoder = SimulatedM3(beams=128, samples=500), stream_decoder(nims_m3)
    for ping, packets in pings(device, 3):
        (frame,) = decode(decoder, b"".join(packets))
        assert frame.intensity.shape == (500, 128)
        assert frame.range_m == pytest.approx(ping.range_m, rel=1e-5)
        assert np.sort(frame.bearing_rad) == pytest.approx(ping.bearing_rad, abs=1e-5)
        assert frame.time_s == pytest.approx(ping.time_s, abs=1e-3)
        assert frame.ping_number == ping.number
        heard = np.abs(ping.samples) ** 2
        np.testing.assert_allclose(frame.intensity, heard, rtol=1e-4)


def test_m3_default_is_256_beams_of_1500_samples_at_10_hz() -> None:
    device = SimulatedM3()
    ping = device.ping(1, START_S)
    assert (ping.samples.shape, device.rate_hz) == ((1500, 256), 10.0)


@pytest.mark.parametrize("seed", [1, 2])
def test_animals_stand_out_in_decoded_m3_pings_where_they_are(seed: int) -> None:
    device, decoder = SimulatedM3(seed=seed), stream_decoder(nims_m3)
    contrasts_db = []
    for ping, packets in pings(device, 10):
        (frame,) = decode(decoder, b"".join(packets))
        contrasts_db += [
            echo_over_surroundings_db(frame, animal.range_m, animal.bearing_rad, animal.length_m)
            for animal in ping.truth
        ]
    assert len(contrasts_db) >= 40
    # Animals are 14 to 26 dB above the speckle, which itself peaks at some 10 dB in so many cells.
    assert np.median(contrasts_db) > 14


@pytest.mark.parametrize("device", [SimulatedM3, SimulatedOculus, SimulatedEK60])
def test_same_seed_sends_the_same_bytes(device: type) -> None:
    def sent(seed: int) -> bytes:
        return b"".join(b"".join(packets) for _, packets in pings(device(samples=300, seed=seed), 4))

    assert sent(5) == sent(5)
    assert sent(5) != sent(6)


FIRES = [
    oculus.Fire(range_m=20.0, beams_512=False),
    oculus.Fire(range_m=8.0, mode=2, wide_samples=False, send_gain=False),
    oculus.Fire(range_m=30.0, wide_samples=False, send_gain=True, beams_512=True),
    oculus.Fire(range_m=12.0, send_gain=False, ping_rate_hz=40, sound_speed_m_s=1470.0),
]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("fire", FIRES)
def test_oculus_pings_as_the_fire_message_asks(fire: oculus.Fire, version: int) -> None:
    device, decoder = SimulatedOculus(), stream_decoder(nims_oculus)
    assert not device.pinging
    message = oculus.encode_fire(fire, version=version)
    assert device.receive(message) == (len(message), b"")
    assert device.pinging
    assert device.rate_hz == fire.ping_rate_hz
    contrasts_db = []
    for ping, packets in pings(device, 3):
        (frame,) = decode(decoder, b"".join(packets))
        assert frame.intensity.shape[1] == (512 if fire.beams_512 else 256)
        assert frame.range_m[-1] == pytest.approx(fire.range_m, rel=0.01)
        assert frame.sound_speed_m_s == (fire.sound_speed_m_s or 1500.0)
        contrasts_db += [
            echo_over_surroundings_db(frame, animal.range_m, animal.bearing_rad, animal.length_m)
            for animal in ping.truth
        ]
    assert np.median(contrasts_db) > 12


def test_oculus_hears_more_with_more_gain() -> None:
    def mean(gain_percent: float) -> float:
        device = SimulatedOculus()
        device.receive(oculus.encode_fire(oculus.Fire(gain_percent=gain_percent, wide_samples=False, send_gain=False)))
        (frame,) = decode(stream_decoder(nims_oculus), device.encode(device.ping(1, START_S))[0])
        return float(frame.intensity.mean())

    assert mean(10.0) < mean(50.0) < mean(90.0)


def test_oculus_takes_fire_messages_in_pieces_and_between_garbage() -> None:
    device = SimulatedOculus()
    stream = b"\x53\x00garbage\x53" + oculus.encode_dummy() + oculus.encode_fire(oculus.Fire()) + b"\x53"
    pending = b""
    for byte in stream:
        pending += bytes([byte])
        consumed, _ = device.receive(pending)
        pending = pending[consumed:]
    assert device.pinging
    assert pending == b"\x53"  # may be the start of another message


def test_oculus_in_standby_sends_dummies_that_the_driver_accepts() -> None:
    device, decoder = SimulatedOculus(), stream_decoder(nims_oculus)
    assert decode(decoder, device.idle() * 3) == []
    assert not decoder.statistics.errors
    assert decoder.statistics.skipped_bytes == 0


def test_oculus_stops_on_request() -> None:
    device = SimulatedOculus()
    device.receive(oculus.encode_fire(oculus.Fire()))
    device.receive(oculus.encode_fire(oculus.Fire(ping_rate_hz=0)))
    assert not device.pinging


def test_oculus_range_in_percent_is_of_the_farthest() -> None:
    device = SimulatedOculus()
    message = bytearray(oculus.encode_fire(oculus.Fire(range_m=50.0)))
    message[20] &= ~oculus.FLAG_RANGE_IN_METRES
    device.receive(bytes(message))
    ping = device.ping(1, START_S)
    assert ping.range_m[-1] == pytest.approx(20.0, rel=0.01)


@pytest.mark.parametrize("value", [b"\0" * 8, np.float64(np.nan).tobytes(), np.float64(-1e300).tobytes()])
def test_oculus_survives_a_senseless_range(value: bytes) -> None:
    device = SimulatedOculus()
    message = bytearray(oculus.encode_fire(oculus.Fire()))
    message[21:29] = value
    device.receive(bytes(message))
    ping = device.ping(1, START_S)
    assert ping.range_m[-1] > 0.2
    assert device.encode(ping)


def test_oculus_given_options_win_over_the_client() -> None:
    device = SimulatedOculus(rate_hz=7.0, beams=64, samples=100)
    device.receive(oculus.encode_fire(oculus.Fire(ping_rate_hz=40)))
    assert device.rate_hz == 7.0
    assert device.ping(1, START_S).samples.shape == (100, 64)


def test_oculus_change_of_range_waits_for_the_next_ping() -> None:
    device, decoder = SimulatedOculus(), stream_decoder(nims_oculus)
    device.receive(oculus.encode_fire(oculus.Fire(range_m=10.0)))
    ping = device.ping(1, START_S)
    device.receive(oculus.encode_fire(oculus.Fire(range_m=20.0)))
    (frame,) = decode(decoder, device.encode(ping)[0])
    assert frame.range_m == pytest.approx(ping.range_m, rel=1e-3)


def ek60_decoder(**settings: object) -> DatagramDecoder:
    (driver,) = nims_ek60.nims_drivers()
    assert driver.datagram is not None
    return driver.datagram(context(driver, **settings))


def test_ek60_telegrams_decode_to_the_fish() -> None:
    device, decoder = SimulatedEK60(), ek60_decoder(transmit_power_w=SimulatedEK60.TRANSMIT_POWER_W)
    checked = 0
    for ping, datagrams in pings(device, 40):
        frames = []
        for datagram in datagrams:
            answer = decoder.decode_datagram(memoryview(datagram), "127.0.0.1:4000", Arrival(ping.time_s, 0.0))
            frames += answer.frames
        (frame,) = frames
        assert frame.is_split_beam
        assert frame.calibration is not None
        assert frame.time_s == pytest.approx(ping.time_s, abs=0.0051)
        for animal in ping.truth:
            if max(abs(animal.elevation_rad), abs(animal.bearing_rad)) > math.radians(3):
                continue
            others = [other.range_m for other in ping.truth if other is not animal]
            if any(abs(other - animal.range_m) < 0.5 for other in others):
                continue
            rows = np.flatnonzero(np.abs(frame.range_m - animal.range_m) < 0.2)
            row = rows[np.argmax(frame.intensity[rows, 0])]
            assert frame.range_m[row] == pytest.approx(animal.range_m, abs=0.06)
            assert frame.along_rad[row] == pytest.approx(animal.elevation_rad, abs=math.radians(0.4))
            assert frame.athwart_rad[row] == pytest.approx(animal.bearing_rad, abs=math.radians(0.4))
            checked += 1
    assert checked > 20


def test_ek60_has_one_beam() -> None:
    with pytest.raises(ValueError, match=r"^beams: a split-beam sounder has 1, got 2$"):
        SimulatedEK60(beams=2)


async def test_driver_survives_every_fault_of_a_played_m3() -> None:
    """Over a real socket: the pings that are whole arrive, everything else is counted."""
    faults = Faults(garbage_every=3, truncate_every=4, flip_every=7)
    decoder, frames, pending = stream_decoder(nims_m3), [], b""
    sent: list[int] = []
    statistics = PlayerStatistics()
    async with trio.open_nursery() as nursery:
        play = partial(
            serve_simulator,
            SIMULATORS["kongsberg-m3"],
            port=0,
            rate_hz=50.0,
            beams=16,
            samples=200,
            faults=faults,
            statistics=statistics,
            on_ping=lambda ping: sent.append(ping.number),
        )
        port = await nursery.start(play)
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            while not frames or frames[-1].ping_number - frames[0].ping_number < 40:
                pending += await stream.receive_some(65536)
                while True:
                    answer = decoder.decode(memoryview(pending), Arrival(START_S, 0.0))
                    frames += answer.frames
                    pending = pending[answer.consumed :]
                    if not answer.consumed:
                        break
        nursery.cancel_scope.cancel()
    numbers = [frame.ping_number for frame in frames]
    assert numbers == sorted(set(numbers))
    whole = {n for n in sent if numbers[0] <= n <= numbers[-1] and n % 4 and n % 7}
    assert len(whole - set(numbers)) <= statistics.dropped_pings
    assert not {n for n in numbers if n % 4 == 0}
    assert decoder.statistics.resyncs > 0
