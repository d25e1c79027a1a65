"""Blueprint Oculus: values of real pings, gains, commands, and streams that are damaged."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nims_oculus import nims_drivers, wire
from nims_oculus.decoder import OculusPackets, OculusSettings

from nims_appliance.framing import Rejected
from nims_appliance.profile import LimitsSettings

DRIVER = nims_drivers()[0]
LAYOUTS = {1: wire.PING_V1, 2: wire.PING_V2}
LIMITS = LimitsSettings(packet_bytes=100_000, beams=64, samples=500)


def ping(number=1, rows=12, columns=5, *, seed=0, version=1, dtype=np.uint8, gains=None, **changes):
    """A small ping; `changes` are fields of the ping, `fire_` those of the fire message in it."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, np.iinfo(dtype).max, (rows, columns), dtype=dtype, endpoint=True)
    data = bytearray(
        wire.encode_ping(
            image,
            bearing_rad=np.radians(np.linspace(-30, 30, columns) if columns > 1 else np.zeros(1)),
            range_resolution_m=0.02,
            ping_id=number,
            frequency_hz=2_100_000.0,
            sound_speed_m_s=1480.0,
            version=version,
            gains=gains,
            ping_start=number * (100_000_000 if version == 1 else 0.1),
        )
    )
    wired = np.frombuffer(data, LAYOUTS[version], 1)[0]
    for name, value in changes.items():
        if name.startswith("fire_"):
            wired["fire"][name.removeprefix("fire_")] = value
        else:
            wired[name] = value
    return bytes(data)


@pytest.fixture(scope="session")
def real_pings(recordings):
    return (recordings / "oculus" / "three_pings_8bit.raw").read_bytes()


def test_real_pings_have_their_reference_values(real_pings, recordings, make, play):
    decoder = make(DRIVER)
    frames = play(decoder, real_pings, range(0, len(real_pings), 1448))
    assert [frame.ping_number for frame in frames] == [415323, 415324, 415325]
    for number, frame in enumerate(frames):
        assert frame.frequency_hz == pytest.approx(2_098_880.6, abs=0.05)
        assert frame.sound_speed_m_s == pytest.approx(1490.6586, abs=1e-4)
        assert frame.intensity.shape == (703, 256)
        # The image lies at byte 2048 of each message, row after row; the value is an amplitude.
        image = np.frombuffer(real_pings, np.uint8, 703 * 256, number * 182_016 + 2048).reshape(703, 256)
        assert (frame.intensity == image.astype(float) ** 2).all()
        # 2 m in 703 ranges; bearings as sent, denser at the edges.
        assert frame.range_m[0] == pytest.approx(0.00142, abs=1e-5)
        assert frame.range_m[-1] == pytest.approx(1.99664, abs=1e-5)
        assert np.degrees(frame.bearing_rad[[0, 1, 2, -1]]) == pytest.approx([-30, -29.74, -29.48, 30])
        assert np.ptp(np.diff(frame.bearing_rad)) > 1e-4
        assert frame.pose is None
        assert frame.device == "Blueprint Oculus high frequency"
    assert decoder.statistics.skipped_bytes == decoder.statistics.resyncs == 0
    (alone,) = play(make(DRIVER), (recordings / "oculus" / "one_ping_8bit.raw").read_bytes())
    assert (alone.intensity == frames[0].intensity).all()


def test_encoder_writes_what_the_real_sonar_writes(real_pings):
    real = np.frombuffer(real_pings, wire.PING_V1, 1)[0]
    ours = wire.encode_ping(
        np.frombuffer(real_pings, np.uint8, 703 * 256, 2048).reshape(703, 256),
        bearing_rad=np.radians(np.frombuffer(real_pings, "<i2", 256, 122) / 100),
        range_resolution_m=float(real["range_resolution_m"]),
        ping_id=415323,
        frequency_hz=float(real["frequency_hz"]),
        sound_speed_m_s=float(real["sound_speed_m_s"]),
        ping_start=float(real["ping_start"]),
    )
    assert len(ours) == 182_016
    mine = np.frombuffer(ours, wire.PING_V1, 1)[0]
    for name in wire.PING_V1.names:
        if name not in ("fire", "temperature_c", "pressure_bar"):
            assert mine[name] == real[name], name
    assert mine["fire"]["payload_bytes"] == real["fire"]["payload_bytes"] == 182_000
    assert ours[122 : 122 + 512] == real_pings[122 : 122 + 512]
    assert ours[2048:] == real_pings[2048:182_016]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("with_gains", [False, True])
def test_every_kind_of_ping(version, dtype, with_gains, make, play):
    rng = np.random.default_rng(4)
    image = rng.integers(0, np.iinfo(dtype).max, (30, 9), dtype=dtype, endpoint=True)
    gains = rng.integers(1, 5000, 30) if with_gains else None
    data = wire.encode_ping(
        image, bearing_rad=np.radians(np.arange(-4.0, 5)), range_resolution_m=0.01, ping_id=7, frequency_hz=1.2e6,
        sound_speed_m_s=1500.0, version=version, gains=gains, heading_deg=90, pitch_deg=2, roll_deg=-3,
    )  # fmt: skip
    (frame,) = play(make(DRIVER), data)
    amplitude = image / np.sqrt(gains)[:, None] if with_gains else image.astype(float)
    np.testing.assert_allclose(frame.intensity, amplitude**2, rtol=1e-6)
    assert frame.range_m == pytest.approx((np.arange(30) + 0.5) * 0.01)
    if version == 2:
        assert (frame.pose.heading_rad, frame.pose.roll_rad) == (math.radians(90), math.radians(-3))


def test_24_bit_samples(make, play):
    data = bytearray(ping(rows=4, columns=8, dtype=np.uint32))
    wired = np.frombuffer(data, wire.PING_V1, 1)[0]
    wired["data_size"], wired["image_bytes"] = 2, 4 * 8 * 3
    wired["fire"]["payload_bytes"] = wired["message_bytes"] = 2048 + 96 - 16
    del wired
    del data[2048 + 96 :]
    values = np.frombuffer(data, np.uint8, 96, 2048).reshape(4, 8, 3).astype(float) @ [1, 256, 65536]
    (frame,) = play(make(DRIVER), bytes(data))
    np.testing.assert_allclose(frame.intensity, values**2, rtol=1e-6)


def test_rows_without_gain_have_no_data(make, play):
    gains = np.array([4, 0, 1])
    decoder = make(DRIVER)
    (frame,) = play(decoder, ping(rows=3, gains=gains))
    (plain,) = play(make(DRIVER), ping(rows=3))
    np.testing.assert_allclose(frame.intensity[0], plain.intensity[0] / 4)
    assert (frame.intensity[1] == 0).all()
    assert (frame.intensity[2] == plain.intensity[2]).all()
    assert decoder.statistics.errors == {"rows with gain 0, set to 0": 1}


def test_descending_bearings_and_mounting(make, play):
    image = np.arange(1, 7, dtype=np.uint8).reshape(2, 3)
    data = wire.encode_ping(
        image, bearing_rad=np.radians([20.0, 5.0, -10.0]), range_resolution_m=0.01, ping_id=1, frequency_hz=1e6,
        sound_speed_m_s=1500.0,
    )  # fmt: skip
    (frame,) = play(make(DRIVER), data)
    assert np.degrees(frame.bearing_rad) == pytest.approx([-10, 5, 20])
    assert (frame.intensity == image[:, ::-1].astype(float) ** 2).all()
    (frame,) = play(make(DRIVER, inverted=True), data)
    assert np.degrees(frame.bearing_rad) == pytest.approx([-20, -5, 10])
    assert (frame.intensity == image.astype(float) ** 2).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sound_speed_m_s": np.nan}, "speed of sound: expected 1300 to 1700 m/s, got nan"),
        ({"range_resolution_m": np.inf}, "range resolution: expected 1e-05 to 10 m, got inf"),
        ({"frequency_hz": -1e194}, "frequency: expected 10000 to 1e+07 Hz, got -1e+194"),
        ({"beams": 0}, "expected 1 to 1024 beams (the profile's limit), got 0"),
        ({"ranges": 0}, "expected 1 to 30000 ranges (the profile's limit), got 0"),
        ({"ranges": 65535}, "expected 1 to 30000 ranges (the profile's limit), got 65535"),
        ({"data_size": 4}, "expected data size 0 to 3 (8 to 32 bit), got 4"),
        ({"image_bytes": 61}, "expected an image of 60 bytes for 12 ranges x 5 beams (108 with gains), got 61"),
        ({"image_offset": 2049}, "expected an image offset of 132 to 2048, got 2049"),
        ({"image_offset": 2**32 - 10}, "expected an image offset of 132 to 2048, got 4294967286"),
        ({"image_offset": 131}, "expected an image offset of 132 to 2048, got 131"),
        ({"fire_payload_bytes": 2**32 - 1}, "expected a payload of about 2108 bytes, got 4294967295"),
        ({"fire_version": 3}, "expected version 0, 1 or 2, got 3"),
        ({"fire_message": 0x22}, "expected simple ping results (0x23), got a full one"),
        ({"fire_message": 0x99}, "expected one of the known ids, got 0x0099"),
    ],
)
def test_bad_ping_is_named_and_costs_one_ping(changes, said, make, play):
    decoder = make(DRIVER)
    damaged = ping(2, **changes)
    frames = play(decoder, ping(1) + damaged + ping(3))
    assert [frame.ping_number for frame in frames] == [1, 3]
    statistics = decoder.statistics
    assert said in statistics.last_error
    assert f"at byte {len(damaged)} of the stream" in statistics.last_error
    assert statistics.errors.total() == statistics.resyncs == 1
    assert statistics.skipped_bytes == len(damaged)


def test_bearings_that_do_not_rise_are_refused(make, play):
    data = bytearray(ping(2))
    np.frombuffer(data, "<i2", 5, 122)[3] = -3000
    decoder = make(DRIVER)
    assert [frame.ping_number for frame in play(decoder, ping(1) + bytes(data) + ping(3))] == [1, 3]
    assert "bearings: expected only rising or only falling angles" in decoder.statistics.last_error


def test_ping_above_the_limit_is_never_waited_for(make, play):
    decoder = make(DRIVER, limits=LIMITS)
    big = ping(2, rows=500, columns=64, dtype=np.uint32)
    assert [frame.ping_number for frame in play(decoder, big + ping(3), limit_bytes=100_000)] == [3]
    assert "expected at most 100000 bytes (the profile's limit), got 130048" in decoder.statistics.last_error


def test_live_sonar_is_told_to_fire(make):
    settings = OculusSettings(
        mode=2, ping_rate_hz=15, range_m=12.5, gain_percent=30.0, salinity_ppt=33.0, beams_512=False, gain_assist=True
    )
    decoder = make(DRIVER, settings=settings, live=True)
    message = decoder.on_connect()
    assert len(message) == 53
    # By the published layout: id, fire, version 1, payload 37; then mode, rate code, ..., flags, range and gain.
    assert message[:2] == b"\x53\x4f"
    assert message[6:8] == b"\x15\x00"
    assert message[8:14] == b"\x01\x00\x25\x00\x00\x00"
    assert (message[16], message[17], message[19]) == (2, 1, 255)
    assert message[20] == 0b0001_1111  # range in m, 16 bit, send gain, simple return, gain assist; 256 beams
    assert np.frombuffer(message, "<f8", 4, 21).tolist() == [12.5, 30.0, 0.0, 33.0]
    fire = wire.parse_fire(message)
    assert (fire.range_m, fire.ping_rate_hz, fire.beams_512) == (12.5, 15, False)

    answer = decoder.decode(memoryview(wire.encode_dummy() * 3), None)
    assert answer.send == message
    assert answer.frames == []
    assert len(make(DRIVER, settings=OculusSettings(fire_version=2), live=True).on_connect()) == 89


@pytest.mark.parametrize(
    ("settings", "live", "first", "to_dummy"),
    [
        (OculusSettings(), False, False, False),
        (OculusSettings(control=False), True, False, False),
        (OculusSettings(ping_rate_hz=0), True, True, False),
        (OculusSettings(), True, True, True),
    ],
)
def test_commands_are_sent_only_where_wanted(settings, live, first, to_dummy, make):
    decoder = make(DRIVER, settings=settings, live=live)
    assert bool(decoder.on_connect()) == first
    assert bool(decoder.decode(memoryview(wire.encode_dummy()), None).send) == to_dummy


def test_other_messages_pass_between_pings(make, play):
    logs = bytearray(wire.encode_dummy() + b"temperature high")
    logs[6], logs[10] = 0x80, 16
    decoder = make(DRIVER)
    frames = play(decoder, ping(1) + wire.encode_dummy() + bytes(logs) + wire.encode_fire(wire.Fire()) + ping(2))
    assert [frame.ping_number for frame in frames] == [1, 2]
    assert decoder.statistics.skipped_bytes == decoder.statistics.resyncs == 0


def test_pings_of_a_file_are_timed_by_the_ping_clock(make, play):
    for version in (1, 2):
        frames = play(make(DRIVER), b"".join(ping(n, version=version) for n in (1, 2, 4)))
        assert np.diff([frame.time_s for frame in frames]) == pytest.approx([0.1, 0.2], abs=1e-6)
        assert frames[0].time_s == 1_700_000_000.0
        assert math.isnan(frames[0].ping_interval_s)
        assert frames[2].ping_interval_s == pytest.approx(0.2)
    wrapped = play(make(DRIVER), ping(1, ping_start=2**32 - 50_000_000) + ping(2, ping_start=50_000_000))
    assert wrapped[1].ping_interval_s == pytest.approx(0.1)
    # A clock that makes no sense is not followed, and time never runs backwards.
    frames = play(
        make(DRIVER), b"".join(ping(n, version=2, ping_start=t) for n, t in enumerate([1.0, np.nan, 5.0, 2.0, 900.0]))
    )
    assert [frame.time_s for frame in frames] == [1_700_000_000.0] * 5
    assert all(math.isnan(frame.ping_interval_s) for frame in frames)


def test_live_pings_are_timed_by_their_arrival(make, play):
    frames = play(make(DRIVER, live=True), ping(1) + ping(2))
    assert [frame.time_s for frame in frames] == [1_700_000_000.0] * 2


def test_attitude_only_where_it_is_plausible(make, play):
    for changes in ({"heading_deg": np.nan}, {"pitch_deg": 1e194}, {}):
        (frame,) = play(make(DRIVER), ping(version=2, **changes))
        assert frame.pose is None


def test_wrong_stream_says_so_and_recovers(make, play):
    decoder = make(DRIVER)
    play(decoder, bytes(range(256)) * 400)
    assert "no Blueprint Oculus packet in 65536 bytes" in decoder.statistics.last_error
    assert len(play(decoder, ping())) == 1


def test_recognise(real_pings):
    assert DRIVER.recognise(real_pings[100_000:200_000])
    assert DRIVER.recognise(ping(rows=200))
    assert not DRIVER.recognise(b"")
    assert not DRIVER.recognise(b"SO" * 30_000)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("version", [1, 2])
def test_no_intact_ping_is_lost_between_damaged_ones(seed, version, make, play, damages):
    rng = np.random.default_rng(seed)
    kinds = damages(wire.SYNC, LAYOUTS[version].itemsize)
    order = [*rng.permutation(30), *rng.integers(0, 30, 70)]
    stream = b""
    for number, kind in enumerate(order):
        rows = int(rng.integers(10, 300)) if number < 99 else 300
        damaged = kinds[kind](ping(1000 + number, rows, 32, version=version), rng)
        stream += damaged + ping(number, rows, 32, seed=number, version=version)
    decoder = make(DRIVER)
    frames = play(decoder, stream, rng.integers(0, len(stream), 200))
    intact = [frame for frame in frames if frame.ping_number < 1000]
    assert [frame.ping_number for frame in intact] == list(range(100))
    for frame in intact:
        alone = ping(frame.ping_number, len(frame.range_m), 32, seed=frame.ping_number, version=version)
        assert (frame.intensity == play(make(DRIVER), alone)[0].intensity).all()
    assert decoder.statistics.resyncs > 20


FEW = [ping(n, 5, 4, seed=n, version=1 + n % 2, gains=np.arange(1, 6) if n > 1 else None) for n in range(4)]
FEW.insert(2, wire.encode_dummy())


@given(data=st.binary(max_size=3000), cuts=st.lists(st.integers(0, 2**16), max_size=6))
def test_arbitrary_bytes_do_no_harm(data, cuts, make, play):
    head = wire.encode_dummy()
    for stream in (data, wire.SYNC + data, head[:6] + data, FEW[0][:53] + data, FEW[0] + data + FEW[1]):
        play(make(DRIVER, limits=LIMITS, live=True), stream, cuts, limit_bytes=LIMITS.packet_bytes)


@settings(max_examples=200)
@given(
    edits=st.lists(
        st.tuples(st.sampled_from(["flip", "insert", "cut"]), st.integers(0, 2**20), st.integers(1, 300)), max_size=5
    ),
    cuts=st.lists(st.integers(0, 2**20), max_size=12),
)
def test_frames_do_not_depend_on_how_a_damaged_stream_is_cut(edits, cuts, make, play):
    stream = bytearray(b"".join(FEW))
    for kind, at, count in edits:
        at %= len(stream)
        if kind == "flip":
            stream[at] ^= count % 255 + 1
        elif kind == "insert":
            stream[at:at] = bytes(count)
        else:
            del stream[at : at + count]
    whole, pieces = make(DRIVER, limits=LIMITS), make(DRIVER, limits=LIMITS)
    expected = play(whole, bytes(stream), limit_bytes=LIMITS.packet_bytes)
    frames = play(pieces, bytes(stream), cuts, limit_bytes=LIMITS.packet_bytes)
    assert [frame.ping_number for frame in frames] == [frame.ping_number for frame in expected]
    for frame, other in zip(frames, expected, strict=True):
        assert (frame.intensity == other.intensity).all()
        assert frame.time_s == other.time_s
    assert pieces.statistics == whole.statistics


@given(st.binary(max_size=120))
def test_simulated_devices_read_any_command(data):
    for message in (data, wire.encode_fire(wire.Fire())[:16] + data):
        with contextlib.suppress(ValueError):
            assert wire.parse_fire(message).ping_rate_hz in wire.PING_RATE_CODES


@given(st.binary(max_size=400), st.booleans())
def test_headers_are_sized_within_the_limits(data, in_step):
    packets = OculusPackets(LIMITS)
    for head in (wire.SYNC + data, ping()[:50] + data):
        with contextlib.suppress(Rejected):
            assert packets.packet_bytes(memoryview(head), in_step) <= LIMITS.packet_bytes


@pytest.mark.parametrize("problem", ["bearings", "type", "rate"])
def test_encoder_refuses_what_it_cannot_write(problem):
    with pytest.raises(ValueError, match={"bearings": "bearings", "type": "uint8", "rate": "ping_rate_hz"}[problem]):
        wire.encode_ping(
            np.zeros((2, 3), np.float32 if problem == "type" else np.uint8),
            bearing_rad=np.zeros(4 if problem == "bearings" else 3),
            range_resolution_m=0.1,
            ping_id=1,
            frequency_hz=1e6,
            sound_speed_m_s=1500.0,
            fire=wire.Fire(ping_rate_hz=11) if problem == "rate" else None,
        )
