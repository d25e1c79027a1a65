"""Files of the EK60: real recordings against values made by others, and damage of every kind."""

from __future__ import annotations

import math
import struct
from collections import defaultdict
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nims_ek60 import nims_drivers, wire
from nims_ext.ek60 import decode_angles, decode_power

from nims_appliance.acoustics.calibration import sv_db, ts_db
from nims_appliance.decoder import DecoderContext, StreamDecoder
from nims_appliance.frame import Arrival, Frame
from nims_appliance.profile import LimitsSettings, Profile
from nims_appliance.settings import MountingSettings

ARRIVAL = Arrival(utc_s=0.0, monotonic_s=0.0)
DRIVER = nims_drivers()[0]
DY1801 = "ek60/DY1801_EK60-D20180211-T164025"


def make_decoder(mounting: MountingSettings | None = None, **limits: int) -> StreamDecoder:
    profile = Profile(name="simrad-ek60", title="", driver="ek60", limits=LimitsSettings(**limits))
    context = DecoderContext(profile, DRIVER.settings_type(), mounting=mounting or MountingSettings())
    assert DRIVER.stream is not None
    decoder = DRIVER.stream(context)
    assert decoder.on_connect() == b""
    return decoder


def decode(decoder: StreamDecoder, data: bytes, chunk: int | None = None) -> list[Frame]:
    """Feed `data` as a link does: in chunks, again until nothing is consumed, and no call before `need` is there."""
    frames, pending, need = [], bytearray(), 1
    chunk = chunk or max(len(data), 1)
    for start in range(0, len(data), chunk):
        pending += data[start : start + chunk]
        while len(pending) >= need:
            with memoryview(pending) as view:
                answer = decoder.decode(view, ARRIVAL)
            frames += [frame.check() for frame in answer.frames]
            assert 0 <= answer.consumed <= len(pending)
            del pending[: answer.consumed]
            need = answer.need
            if not answer.consumed:
                assert need > len(pending), "asks for another call without consuming and without needing more"
                break
    frames += decoder.finish(ARRIVAL)
    return frames


def small_file(pings: int = 4, samples: int = 16) -> list[bytes]:
    """Return the datagrams of a file of one channel; the power of ping n is -(50 + n) dB."""
    angles = np.linspace(-40.0, 40.0, samples)
    datagrams = [wire.encode_con0([wire.transceiver("GPT 120 kHz test")], time_s=1000.0)]
    for number in range(pings):
        power = np.full(samples, -50.0 - number)
        datagrams.append(wire.encode_raw0(power, angles, -angles, time_s=1000.0 + number))
        datagrams.append(wire.encode_nme0("$GPGLL,,", time_s=1000.0 + number))
    return datagrams


def same(one: list[Frame], other: list[Frame]) -> bool:
    return len(one) == len(other) and all(
        a.time_s == b.time_s
        and a.channel == b.channel
        and a.ping_number == b.ping_number
        and np.array_equal(a.intensity, b.intensity)
        and np.array_equal(a.along_rad, b.along_rad)
        for a, b in zip(one, other, strict=True)
    )


@pytest.fixture(scope="module")
def dy1801(recordings: Path) -> dict[str, list[Frame]]:
    channels = defaultdict(list)
    for frame in decode(make_decoder(), (recordings / f"{DY1801}.raw").read_bytes()):
        channels[frame.channel].append(frame)
    return channels


def test_five_channels_agree_with_matlab(recordings: Path, dy1801: dict[str, list[Frame]]) -> None:
    """Power, angles, Sv and TS of a survey vessel's file, computed by others."""
    assert [len(frames) for frames in dy1801.values()] == [42] * 5
    with (
        h5py.File(recordings / f"{DY1801}.matlab.nc") as samples,
        h5py.File(recordings / f"{DY1801}.matlab_Sv_TS.nc") as strengths,
    ):
        for row, frames in enumerate(dy1801.values()):
            power_db = np.array([10 * np.log10(frame.intensity[:, 0].astype(float)) for frame in frames])
            np.testing.assert_allclose(power_db, samples["power"][row], rtol=0, atol=1e-4)
            along_deg = np.degrees([frame.along_rad.astype(float) for frame in frames])
            athwart_deg = np.degrees([frame.athwart_rad.astype(float) for frame in frames])
            np.testing.assert_allclose(along_deg, samples["alongship"][row], rtol=0, atol=1e-5)
            np.testing.assert_allclose(athwart_deg, samples["athwartship"][row], rtol=0, atol=1e-5)
            # The reference holds the range at 1 m where it is less.
            far = frames[0].range_m - frames[0].calibration.range_offset_m >= 1.0
            assert far.sum() > 1370
            sv = np.array([sv_db(frame)[far] for frame in frames])
            np.testing.assert_allclose(sv, strengths["Sv"][row][:, far], rtol=0, atol=1e-4)
            ts = np.array([ts_db(frame)[far] for frame in frames])
            np.testing.assert_allclose(ts, strengths["TS"][row][:, far], rtol=0, atol=1e-4)


def test_every_channel_has_its_calibration_and_position(dy1801: dict[str, list[Frame]]) -> None:
    frames = [channel[-1] for channel in dy1801.values()]
    assert [frame.frequency_hz for frame in frames] == [18e3, 38e3, 70e3, 120e3, 200e3]
    # Gain and Sa correction of the 1.024 ms pulse, which is at another place of each table.
    assert [round(frame.calibration.gain_db, 2) for frame in frames] == [22.89, 22.63, 26.41, 27.17, 26.3]
    corrections = [round(frame.calibration.sa_correction_db, 2) for frame in frames]
    assert corrections == [-0.51, -0.67, -0.37, -0.42, -0.23]
    assert all(frame.ping_number == 42 for frame in frames)
    assert frames[0].pose.latitude_deg == pytest.approx(54.58, abs=0.01)
    assert frames[0].pose.longitude_deg == pytest.approx(-162.65, abs=0.01)
    assert frames[0].pose.depth_m == pytest.approx(9.15)


def test_fish_pen_recording(recordings: Path) -> None:
    decoder = make_decoder()
    frames = decode(decoder, (recordings / "ek60/RedSlip-D20160915-T120914.raw").read_bytes(), chunk=100_000)
    assert len(frames) == 1205
    assert {frame.intensity.shape for frame in frames} == {(837, 1)}
    assert all(frame.is_split_beam and frame.unit == "W" for frame in frames)
    assert frames[0].time_s == pytest.approx(1473941354.888728, abs=1e-6)
    assert np.median(np.diff([frame.time_s for frame in frames])) == pytest.approx(0.041, abs=0.001)
    assert frames[0].range_m[-1] == pytest.approx(836 * 32e-6 * 1493.8888 / 2, rel=1e-6)
    assert decoder.statistics.frames == 1205
    assert not decoder.statistics.errors


def test_ek80_file_is_named(recordings: Path) -> None:
    decoder = make_decoder(packet_bytes=4 * 2**20)
    assert decode(decoder, (recordings / "ek80/tutorial-20k.raw").read_bytes()) == []
    assert decoder.statistics.resyncs == 0
    assert "EK80 file, not supported by this driver" in decoder.statistics.last_error


def test_recognises_its_own_data_only(recordings: Path) -> None:
    assert DRIVER.recognise((recordings / f"{DY1801}.raw").read_bytes()[:65536])
    assert DRIVER.recognise(b"".join(small_file())[700:])
    assert DRIVER.recognise(wire.encode_ek500_ping(np.zeros(4), time_s=0.0)[0])
    assert not DRIVER.recognise((recordings / "ek80/tutorial-20k.raw").read_bytes()[:65536])
    assert not DRIVER.recognise(b"")
    assert not DRIVER.recognise(b"GET / HTTP/1.1\r\n\r\n")


def test_header_fields_reach_the_frame() -> None:
    entry = wire.transceiver(
        "GPT 38 kHz", frequency_hz=38e3, gain_db=25.0, gain_table_db=(21.0, 22.0, 23.0, 24.0, 25.0),
        sa_correction_db=(-0.1, -0.2, -0.3, -0.4, -0.5), angle_sensitivity_along=20.0, angle_sensitivity_athwart=10.0,
        angle_offset_along_deg=0.5, angle_offset_athwart_deg=-0.25,
    )  # fmt: skip
    data = wire.encode_con0([wire.transceiver("other"), entry], time_s=0.0) + wire.encode_raw0(
        np.array([-60.0, -120.0]),
        np.array([14.0625, -14.0625]),
        np.array([28.125, 0.0]),
        channel=2,
        offset=10,
        time_s=1.6e9 + 0.123457,
        pulse_length_s=256e-6,
        sample_interval_s=64e-6,
        sound_speed_m_s=1500.0,
        frequency_hz=38e3,
        transducer_depth_m=4.0,
        roll_deg=90.0,
    )
    (frame,) = decode(make_decoder(), data)
    assert frame.channel == "GPT 38 kHz"
    assert frame.time_s == pytest.approx(1.6e9 + 0.123457, abs=1e-6)
    assert frame.range_m == pytest.approx([10 * 0.048, 11 * 0.048])
    assert 10 * np.log10(frame.intensity[:, 0]) == pytest.approx([-60.0, -120.0], abs=0.006)
    assert np.degrees(frame.athwart_rad) == pytest.approx([1.40625 + 0.25, -1.40625 + 0.25])
    assert np.degrees(frame.along_rad) == pytest.approx([1.40625 - 0.5, -0.5])
    assert frame.calibration.gain_db == pytest.approx(23.0)
    assert frame.calibration.sa_correction_db == pytest.approx(-0.3)
    assert frame.calibration.range_offset_m == pytest.approx(2 * 0.048)
    assert frame.calibration.angle_sensitivity_along == pytest.approx(20.0)
    assert frame.pose.depth_m == 4.0
    assert frame.pose.roll_rad == pytest.approx(math.pi / 2)
    assert math.isnan(frame.pose.latitude_deg)


def test_pulse_length_outside_of_the_table_takes_the_general_gain() -> None:
    entry = wire.transceiver("x", gain_db=19.0, sa_correction_db=(-0.5,) * 5)
    data = wire.encode_con0([entry], time_s=0.0) + wire.encode_raw0(np.zeros(3), time_s=1.0, pulse_length_s=0.0037)
    (frame,) = decode(make_decoder(), data)
    assert (frame.calibration.gain_db, frame.calibration.sa_correction_db) == (19.0, 0.0)


@pytest.mark.parametrize(
    ("mounting", "signs"),
    [
        (MountingSettings(), (1, 1)),
        (MountingSettings(bearing_sign=-1), (-1, 1)),
        (MountingSettings(inverted=True), (-1, -1)),
        (MountingSettings(bearing_sign=-1, inverted=True), (1, -1)),
    ],
)
def test_mounting_turns_the_angles(mounting: MountingSettings, signs: tuple[int, int]) -> None:
    entry = wire.transceiver("x", angle_offset_along_deg=0.5, angle_offset_athwart_deg=-0.5)
    data = wire.encode_con0([entry], time_s=0.0) + wire.encode_raw0(
        np.zeros(1), np.array([23.0]), np.array([46.0]), time_s=0.0
    )
    (plain,) = decode(make_decoder(), data)
    (turned,) = decode(make_decoder(mounting), data)
    assert turned.athwart_rad == pytest.approx(signs[0] * plain.athwart_rad)
    assert turned.along_rad == pytest.approx(signs[1] * plain.along_rad)


def test_ping_before_its_configuration_gives_power_only() -> None:
    decoder = make_decoder()
    (frame,) = decode(decoder, small_file()[1])
    assert frame.channel == "channel 1"
    assert frame.calibration is None
    assert not frame.is_split_beam
    assert decoder.statistics.errors["ping without configuration"] == 1


def test_single_beam_transceiver_and_passive_ping() -> None:
    entry = wire.transceiver("single", beam_type=0)
    data = wire.encode_con0([entry], time_s=0.0) + wire.encode_raw0(
        np.zeros(3), np.zeros(3), np.zeros(3), time_s=1.0, transmit_power_w=0.0
    )
    (frame,) = decode(make_decoder(), data)
    assert not frame.is_split_beam
    assert frame.calibration is None, "without transmission there is no Sv"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sample_interval_s", 0.0),
        ("sample_interval_s", math.nan),
        ("sound_speed_m_s", math.inf),
        ("sound_speed_m_s", -1490.0),
        ("frequency_hz", math.nan),
        ("pulse_length_s", -1.0),
        ("offset", -1),
    ],
)
def test_implausible_header_is_refused_and_the_next_ping_comes(name: str, value: float) -> None:
    datagrams = small_file(pings=2)
    datagrams[1] = wire.encode_raw0(np.zeros(16), time_s=1000.0, **{name: value})
    decoder = make_decoder()
    frames = decode(decoder, b"".join(datagrams))
    assert [frame.time_s for frame in frames] == [1001.0]
    assert decoder.statistics.errors == {"implausible header": 1}


@pytest.mark.parametrize(("name", "value"), [("absorption_db_m", math.nan), ("transmit_power_w", math.inf)])
def test_ping_without_usable_calibration_keeps_its_power(name: str, value: float) -> None:
    data = small_file(pings=0)[0] + wire.encode_raw0(np.zeros(4), time_s=1.0, **{name: value})
    (frame,) = decode(make_decoder(), data)
    assert frame.calibration is None


@pytest.mark.parametrize("count", [-1, 0, 3, 17, 2**31 - 1])
def test_wrong_count_costs_one_ping(count: int) -> None:
    datagrams = small_file(pings=2)
    datagrams[1] = wire.encode_raw0(np.zeros(16), time_s=1000.0, count=count)
    decoder = make_decoder()
    assert [frame.time_s for frame in decode(decoder, b"".join(datagrams))] == [1001.0]
    assert decoder.statistics.resyncs == 1


def test_ping_without_samples_is_refused() -> None:
    decoder = make_decoder()
    assert decode(decoder, small_file(pings=0)[0] + wire.encode_raw0(np.zeros(0), time_s=1.0)) == []
    assert decoder.statistics.errors == {"wrong number of samples": 1}


def test_ping_with_padding_is_read() -> None:
    padded = wire.encode_raw0(np.zeros(3), time_s=1.0, count=2)
    (frame,) = decode(make_decoder(), small_file(pings=0)[0] + padded)
    assert frame.intensity.shape == (2, 1)


def test_more_samples_than_the_profile_allows_are_refused() -> None:
    decoder = make_decoder(samples=10)
    # With angles, 11 samples are fewer bytes than 10 allow for: the count itself must be looked at.
    data = small_file(pings=0)[0] + wire.encode_raw0(np.zeros(11), time_s=1.0)
    assert decode(decoder, data) == []
    assert decoder.statistics.errors == {"wrong number of samples": 1}


def test_configuration_of_unknown_layout_is_refused() -> None:
    head = bytearray(small_file(pings=0)[0])
    struct.pack_into("<i", head, 4 + wire.CON0.fields["transceivers"][1], 2)
    decoder = make_decoder()
    frames = decode(decoder, bytes(head) + small_file(pings=1)[1])
    assert decoder.statistics.errors["configuration of unknown layout"] == 1
    assert frames[0].calibration is None


@pytest.mark.parametrize("length", [-1, 0, 11, 2**31 - 1, 500_000])
def test_wrong_length_costs_one_datagram(length: int) -> None:
    datagrams = small_file(pings=4)
    datagrams[3] = struct.pack("<i", length) + datagrams[3][4:]
    decoder = make_decoder()
    frames = decode(decoder, b"".join(datagrams), chunk=50)
    assert [frame.time_s for frame in frames] == [1000.0, 1002.0, 1003.0]
    assert decoder.statistics.resyncs == 1
    assert decoder.statistics.skipped_bytes == len(datagrams[3])


def test_damage_of_every_kind_loses_nothing_else() -> None:
    clean = small_file(pings=6)
    truncated = clean[5][: len(clean[5]) // 2]
    data = b"".join(
        [b"garbage at the start", *clean[:4], b"\0" * 1000, clean[4], truncated, *clean[6:9], b"RAW0", *clean[9:]]
    )
    decoder = make_decoder()
    frames = decode(decoder, data)
    assert [frame.time_s for frame in frames] == [1000.0, 1001.0, 1003.0, 1004.0, 1005.0]
    assert decoder.statistics.resyncs == 4
    assert decoder.statistics.skipped_bytes == 20 + 1000 + len(truncated) + 4


def test_file_that_ends_in_a_ping_is_counted() -> None:
    decoder = make_decoder()
    assert len(decode(decoder, b"".join(small_file(pings=3)[:-1])[:-10])) == 2
    assert decoder.statistics.errors == {"cut off at the end": 1}


def test_reconnecting_forgets_the_partial_datagram() -> None:
    decoder = make_decoder()
    data = b"".join(small_file(pings=2))
    answer = decoder.decode(memoryview(data[:-80]), ARRIVAL)
    assert len(answer.frames) == 1
    decoder.on_connect()
    assert len(decode(decoder, data)) == 2
    assert not decoder.statistics.errors


def test_a_call_gives_few_frames() -> None:
    data = memoryview(b"".join(small_file(pings=100)))
    answer = make_decoder().decode(data, ARRIVAL)
    assert 1 <= len(answer.frames) <= 10
    assert 0 < answer.consumed < len(data)


@settings(max_examples=60, deadline=None)
@given(chunk=st.integers(1, 3000), damage=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6))
def test_chunks_do_not_change_what_is_decoded(chunk: int, damage: list[tuple[int, int]]) -> None:
    data = bytearray(b"".join(small_file(pings=6)))
    for place, value in damage:
        data[place % len(data)] = value
    whole, parts = make_decoder(), make_decoder()
    assert same(decode(whole, bytes(data)), decode(parts, bytes(data), chunk))
    assert whole.statistics.resyncs == parts.statistics.resyncs
    assert whole.statistics.skipped_bytes == parts.statistics.skipped_bytes


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=300), st.sampled_from(small_file(pings=2))), max_size=12))
def test_any_bytes_between_datagrams_never_raise(parts: list[bytes]) -> None:
    decoder = make_decoder(samples=100, packet_bytes=10_000)
    data = b"".join(parts)
    for frame in decode(decoder, data, chunk=97):
        assert frame.intensity.shape[0] <= 100
    assert decoder.statistics.skipped_bytes <= len(data)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_header_values_never_raise(data: st.DataObject) -> None:
    """A RAW0 whose framing is right but whose numbers are anything, behind a configuration of the same kind."""
    entry = np.frombuffer(
        data.draw(st.binary(min_size=wire.TRANSCEIVER.itemsize, max_size=wire.TRANSCEIVER.itemsize)), wire.TRANSCEIVER
    )[0]
    body = data.draw(st.binary(min_size=72, max_size=72 + 4 * 20))
    decoder = make_decoder()
    stream = wire.encode_con0([entry], time_s=0.0) + wire.encode_datagram(b"RAW0", 0.0, body)
    assert len(decode(decoder, stream)) <= 1


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=50), st.integers(0, 3))
def test_power_kernel_equals_numpy(steps: list[int], start: int) -> None:
    out = np.empty((len(steps), 1), np.float32)
    decode_power(b"\xff" * start + np.array(steps, "<i2").tobytes(), start, out)
    expected = 10.0 ** (np.array(steps) * wire.DB_PER_STEP / 10.0)
    np.testing.assert_allclose(out[:, 0], expected, rtol=2e-7, atol=2e-45)


@given(st.binary(min_size=2, max_size=60).filter(lambda data: len(data) % 2 == 0))
def test_angle_kernel_equals_numpy(data: bytes) -> None:
    pairs = np.frombuffer(data, np.int8).reshape(-1, 2)
    athwart, along = np.empty((2, len(pairs)), np.float32)
    decode_angles(data, 0, 0.067, 0.1, -0.061, -0.2, athwart, along)
    np.testing.assert_allclose(athwart, np.radians(pairs[:, 0] * 0.067 - 0.1), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(along, np.radians(pairs[:, 1] * -0.061 + 0.2), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("length", "start"), [(7, 0), (8, 1), (8, 9), (8, -1), (8, 2**62)])
def test_kernels_refuse_to_read_beyond_the_data(length: int, start: int) -> None:
    out = np.empty((4, 1), np.float32)
    with pytest.raises(ValueError, match="expected 4 samples"):
        decode_power(bytes(length), start, out)
    with pytest.raises(ValueError, match="expected 4 samples"):
        decode_angles(bytes(length), start, 1.0, 0.0, 1.0, 0.0, out[:, 0].copy(), out[:, 0].copy())
