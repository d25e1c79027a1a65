"""Kongsberg M3: golden values of a real packet, checks of every field, and streams that are damaged."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nims_m3 import nims_drivers, wire
from nims_m3.decoder import M3Settings

from nims_appliance.profile import LimitsSettings

DRIVER = nims_drivers()[0]
OPTIONS = {
    "time_s": 1.0,
    "ping_number": 1,
    "sound_speed_m_s": 1500.0,
    "first_range_m": 1.0,
    "sample_interval_s": 1e-5,
    "frequency_hz": 5e5,
    "pulse_length_s": 2e-5,
    "ping_rate_hz": 10.0,
}
BEARINGS = np.radians([-60.0, -20.0, -5.0, 10.0, 55.0])


def packet(number=1, rows=12, columns=5, *, seed=0, **changes):
    """A small packet; `changes` are fields of the data header, `header_` and `footer_` those of the others."""
    rng = np.random.default_rng(seed)
    image = (rng.normal(size=(rows, columns)) + 1j * rng.normal(size=(rows, columns))).astype(np.complex64)
    options = {name: changes.pop(name) for name in ("data_type", "version", "bearing_rad") if name in changes}
    data = bytearray(
        wire.encode_packet(
            image,
            **({"bearing_rad": BEARINGS[:columns]} | options),
            time_s=1_700_000_000.25,
            ping_number=number,
            sound_speed_m_s=1480.0,
            first_range_m=2.0,
            sample_interval_s=1e-5,
            frequency_hz=500_000,
            pulse_length_s=20e-6,
            ping_rate_hz=8.0,
        )
    )
    for name, value in changes.items():
        if name.startswith("header_"):
            np.frombuffer(data, wire.PACKET_HEADER, 1)[0][name.removeprefix("header_")] = value
        elif name.startswith("footer_"):
            np.frombuffer(data, wire.FOOTER, 1, len(data) - 44)[0][name.removeprefix("footer_")] = value
        else:
            np.frombuffer(data, wire.DATA_HEADER, 1, 56)[0][name] = value
    return bytes(data)


@pytest.fixture(scope="session")
def real_packet(recordings):
    data = (recordings / "m3" / "m3-header14-128x1272-one-ping.imb").read_bytes()
    assert hashlib.sha256(data).hexdigest() == "7bcbd0dcda0c6f80dfa235b67352c8d39df362ee774dbe89dcf883b6a16593db"
    return data


def test_real_packet_has_its_golden_values(real_packet, make, play):
    decoder = make(DRIVER, settings=M3Settings(tail_versions=(14,)), want_samples=True)
    (frame,) = play(decoder, real_packet)

    assert frame.time_s == pytest.approx(1699948686.593, abs=1e-6)
    assert (frame.ping_number, frame.sound_speed_m_s, frame.frequency_hz) == (8722, 1469.0, 500_000)
    assert frame.pulse_length_s == pytest.approx(20e-6)
    assert frame.ping_interval_s == pytest.approx(1 / 15)
    assert frame.device == "Kongsberg M3 Imaging 3"
    assert frame.unit == "counts^2"
    assert frame.channel == ""

    assert frame.range_m[0] == pytest.approx(0.9416, abs=5e-5)
    assert np.diff(frame.range_m) == pytest.approx(7.521e-3, abs=5e-7)
    assert frame.range_m[1271] == pytest.approx(10.501, abs=5e-4)
    assert frame.range_resolution_m == pytest.approx(1469 * 20e-6 / 2)
    assert np.degrees(frame.bearing_rad) == pytest.approx(-59.53125 + 0.9375 * np.arange(128), abs=1e-4)

    magnitude = np.sqrt(frame.intensity)
    assert magnitude.shape == (1272, 128)
    assert np.median(magnitude) == pytest.approx(0.4308, abs=5e-5)
    row, beam = np.unravel_index(magnitude.argmax(), magnitude.shape)
    assert (row, beam) == (396, 70)
    assert magnitude[row, beam] == pytest.approx(119.735, abs=5e-4)
    assert frame.range_m[row] == pytest.approx(3.920, abs=5e-4)
    assert np.degrees(frame.bearing_rad[beam]) == pytest.approx(6.094, abs=5e-4)

    # Beam after beam, as the coherence of the real samples shows: neighbours along the range are alike.
    along = np.vdot(frame.samples[:-1], frame.samples[1:]) / np.vdot(frame.samples, frame.samples).real
    assert abs(along) == pytest.approx(0.70, abs=0.01)
    assert decoder.statistics.skipped_bytes == decoder.statistics.resyncs == 0


def test_encoder_writes_what_the_real_sonar_writes(real_packet):
    """The layout of the real packet, field by field where the encoder knows the values."""
    real = np.frombuffer(real_packet, wire.DATA_HEADER, 1, 56)[0]
    image = np.frombuffer(real_packet, "<c8", 128 * 1272, wire.PAYLOAD_OFFSET).reshape(128, 1272).T
    ours = wire.encode_packet(
        image,
        bearing_rad=np.radians(real["bearing_deg"][:128].astype(float)),
        time_s=1699948686.593,
        ping_number=8722,
        sound_speed_m_s=1469.0,
        first_range_m=(1.307e-3 - 2.5e-5) * 1469 / 2,
        sample_interval_s=1.024e-5,
        frequency_hz=500e3,
        pulse_length_s=20e-6,
        ping_rate_hz=15.0,
        app_name="Imaging 3",
    )
    assert len(ours) == len(real_packet)
    assert ours[:56] == real_packet[:56]
    assert ours[wire.PAYLOAD_OFFSET :] == real_packet[wire.PAYLOAD_OFFSET :]
    mine = np.frombuffer(ours, wire.DATA_HEADER, 1, 56)[0]
    for name in ("version", "time_s", "time_ms", "samples", "beams", "frequency_hz", "pulse_length_us", "ping_number"):
        assert mine[name] == real[name], name
    for name in ("sound_speed_m_s", "sample_interval_s", "ping_rate_hz", "window_length_s"):
        assert mine[name] == pytest.approx(real[name], rel=2e-4), name
    assert mine["bearing_deg"] == pytest.approx(real["bearing_deg"], abs=1e-4)


def test_magnitude_packets_are_squared(make, play):
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (40, 7)).astype(np.complex64)
    data = wire.encode_packet(image, bearing_rad=np.radians(np.arange(7.0)), data_type=wire.MAGNITUDE_U8, **OPTIONS)
    assert len(data) == wire.OVERHEAD_BYTES + 40 * 7
    (frame,) = play(make(DRIVER, want_samples=True), data)
    assert (frame.intensity == image.real**2).all()
    assert frame.samples is None


def test_range_axis_comes_from_the_sampling_window(make, play):
    data = packet(near_range_m=100.0, far_range_m=900.0, window_start_s=4e-3, transmit_start_s=1e-3)
    (frame,) = play(make(DRIVER), data)
    assert frame.range_m == pytest.approx((3e-3 + np.arange(12) * 1e-5) * 740, rel=1e-6)
    # Before version 4 these bytes meant something else.
    data = packet(window_start_s=4e-3, transmit_start_s=np.nan, version=3)
    (frame,) = play(make(DRIVER), data)
    assert frame.range_m[0] == pytest.approx(4e-3 * 740, rel=1e-6)


def test_sample_interval_of_zero_means_window_over_samples(make, play):
    (frame,) = play(make(DRIVER), packet(sample_interval_s=0.0, window_length_s=12 * 3e-5))
    assert np.diff(frame.range_m) == pytest.approx(3e-5 * 740, rel=1e-5)


def test_descending_beams_are_turned_with_their_columns(make, play):
    image = np.arange(1, 13).reshape(4, 3).astype(np.complex64)
    data = wire.encode_packet(image, bearing_rad=np.radians([30.0, 0.0, -10.0]), **OPTIONS)
    (frame,) = play(make(DRIVER, want_samples=True), data)
    assert np.degrees(frame.bearing_rad) == pytest.approx([-10, 0, 30], abs=1e-5)
    assert (frame.samples == image[:, ::-1]).all()
    assert (frame.intensity == image.real[:, ::-1] ** 2).all()


@pytest.mark.parametrize(
    ("mounting", "mirrored"),
    [
        ({"bearing_sign": 1}, False),
        ({"bearing_sign": -1}, True),
        ({"inverted": True}, True),
        ({"bearing_sign": -1, "inverted": True}, False),
    ],
)
def test_mounting_turns_bearings_and_columns_together(mounting, mirrored, make, play):
    data = packet()
    (plain,) = play(make(DRIVER), data)
    (frame,) = play(make(DRIVER, **mounting), data)
    for beam in range(5):
        bearing_rad = -plain.bearing_rad[beam] if mirrored else plain.bearing_rad[beam]
        (column,) = np.flatnonzero(frame.bearing_rad == bearing_rad)
        assert (frame.intensity[:, column] == plain.intensity[:, beam]).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sound_speed_m_s": np.nan}, "sound speed (fVelocitySound): expected 1300 to 1700 m/s, got nan"),
        ({"sound_speed_m_s": np.inf}, "sound speed (fVelocitySound): expected 1300 to 1700 m/s, got inf"),
        ({"sound_speed_m_s": 0.0}, "sound speed (fVelocitySound): expected 1300 to 1700 m/s, got 0.0"),
        ({"window_start_s": np.nan}, "window start (fSWST): expected -10 to 10 s, got nan"),
        ({"transmit_start_s": -np.inf}, "transmit start (fTXWST): expected -10 to 10 s, got -inf"),
        ({"sample_interval_s": np.nan}, "sample interval (fImageSampleInterval): expected 1e-07 to 0.001 s, got nan"),
        ({"sample_interval_s": -1e-5}, "sample interval (fImageSampleInterval): expected 1e-07 to 0.001 s"),
        ({"sample_interval_s": 0, "window_length_s": np.inf}, "(fSWL): expected 1e-07 to 0.001 s, got inf"),
        ({"beams": 0}, "expected 1 to 1024 beams (the profile's limit), got 0"),
        ({"beams": 1025}, "expected 1 to 1024 beams (the profile's limit), got 1025"),
        ({"samples": 0}, "expected 1 to 30000 samples (the profile's limit), got 0"),
        ({"samples": 2**32 - 1}, "expected 1 to 30000 samples (the profile's limit), got 4294967295"),
        ({"samples": 13}, "expected a body of 9032 bytes for 5 beams x 13 samples, got 8992"),
        ({"header_body_bytes": 2**32 - 1}, "expected a body of 8992 bytes for 5 beams x 12 samples, got 4294967295"),
        ({"footer_body_bytes": 8991}, "expected a footer that repeats the body size 8992, got 8991"),
        ({"header_data_type": 0x1001}, "expected data type 0x1002 or 0x2003, got 0x1001"),
        ({"bearing_deg": np.full(1024, np.nan)}, "beam list (fBeamList): expected finite angles of -180 to 180 deg"),
        ({"bearing_deg": np.zeros(1024)}, "beam list (fBeamList): expected angles that only rise or only fall"),
    ],
)
def test_bad_header_is_named_and_costs_one_ping(changes, said, make, play):
    decoder = make(DRIVER)
    damaged = packet(2, **changes)
    frames = play(decoder, packet(1) + damaged + packet(3))
    assert [frame.ping_number for frame in frames] == [1, 3]
    statistics = decoder.statistics
    assert said in statistics.last_error
    assert f"at byte {len(damaged)} of the stream" in statistics.last_error
    assert statistics.errors.total() == statistics.resyncs == 1
    assert statistics.skipped_bytes == len(damaged)
    assert statistics.frames == 2


def test_sizes_whose_product_exceeds_32_bits_are_no_small_packet(make, play):
    limits = LimitsSettings(samples=2**20, beams=1024, packet_bytes=2**30)
    samples, beams = 2**20, 512  # 8 x samples x beams is 2^32: nothing in 32 bits
    decoder = make(DRIVER, limits=limits)
    forged = packet(2, header_body_bytes=8512)
    data = bytearray(forged)
    header = np.frombuffer(data, wire.DATA_HEADER, 1, 56)[0]
    header["samples"], header["beams"] = samples, beams
    frames = play(decoder, bytes(data) + packet(3), limit_bytes=2**30)
    assert [frame.ping_number for frame in frames] == [3]
    assert "expected a body of 4294975808 bytes" in decoder.statistics.last_error


def test_packet_above_the_limit_is_never_waited_for(make, play):
    limits = LimitsSettings(packet_bytes=9000)
    decoder = make(DRIVER, limits=limits)
    (frame,) = play(decoder, packet(1) + packet(2, 1), limit_bytes=9000)
    assert frame.ping_number == 2
    assert "expected at most 9000 bytes (the profile's limit), got 9092" in decoder.statistics.last_error


def test_samples_that_are_no_numbers_become_zero(make, play):
    data = bytearray(packet())
    values = np.frombuffer(data, "<f4", 120, wire.PAYLOAD_OFFSET)
    values[0], values[31] = np.nan, -np.inf  # beam 0, sample 0; beam 1, sample 3
    decoder = make(DRIVER)
    (frame,) = play(decoder, bytes(data))
    (clean,) = play(make(DRIVER), packet())
    expected = clean.intensity.copy()
    expected[0, 0] = expected[3, 1] = 0
    assert (frame.intensity == expected).all()
    assert decoder.statistics.errors == {"samples not finite, set to 0": 2}


def test_position_and_attitude_where_the_sonar_has_them(make, play):
    (frame,) = play(make(DRIVER), packet())
    assert math.isnan(frame.pose.latitude_deg)
    assert math.isnan(frame.pose.heading_rad)
    data = packet(
        latitude_deg=48.15, longitude_deg=-122.7, heading_deg=90.0, pitch_deg=-2.0, roll_deg=1.0, depth_m=21.5
    )
    heave = np.frombuffer(data, wire.TAIL_14, 1, 56)[0].copy()
    heave["heave_m"] = 0.25
    data = data[:4696] + np.float32(0.25).tobytes() + data[4700:]  # 56 + 4640
    (frame,) = play(make(DRIVER), data)
    pose = frame.pose
    assert (pose.latitude_deg, pose.longitude_deg, pose.depth_m) == (48.15, -122.7, 21.5)
    assert (pose.heading_rad, pose.pitch_rad) == (math.radians(90), math.radians(-2))
    assert math.isnan(pose.heave_m), "the tail is only read for versions that the profile names"
    (frame,) = play(make(DRIVER, settings=M3Settings(tail_versions=(14,))), data)
    assert frame.pose.heave_m == 0.25
    (frame,) = play(make(DRIVER), packet(latitude_deg=np.nan, longitude_deg=500.0, heading_deg=np.inf))
    assert math.isnan(frame.pose.latitude_deg)
    assert math.isnan(frame.pose.heading_rad)


def test_zoom_windows_are_channels_of_their_own(make, play):
    first, second = play(make(DRIVER), packet(1) + packet(2, image_destination=2))
    assert (first.channel, second.channel) == ("", "zoom 2")


def test_eiq_modes_have_narrower_beams(make, play):
    (frame,) = play(make(DRIVER), packet(processing=1))
    assert frame.beam_width_rad == pytest.approx(math.radians(0.95))


def test_one_pass_over_the_links_buffer(make):
    """What is asked for is the whole packet, and then it is decoded at once."""
    data = packet()
    decoder = make(DRIVER)
    arrival = None
    assert decoder.on_connect() == b""
    answer = decoder.decode(memoryview(data)[:200], arrival)
    assert (answer.consumed, answer.need, answer.frames) == (0, len(data), [])
    answer = decoder.decode(memoryview(data), arrival)
    assert len(answer.frames) == 1
    assert answer.consumed >= len(data) - 7, "all but what could be the beginning of a sync word"


@pytest.mark.parametrize("bearing_sign", [1, -1])
def test_a_live_packet_is_decoded_while_it_comes(bearing_sign, real_packet, make, play):
    decoder = make(DRIVER, live=True, want_samples=True, bearing_sign=bearing_sign)
    shown, needs = 1, []
    while shown < len(real_packet):
        answer = decoder.decode(memoryview(real_packet)[:shown], None)
        assert (answer.consumed, answer.frames) == (0, [])
        assert answer.ahead in (0, len(real_packet))
        shown = answer.need
        needs.append(shown)
    assert len(needs) > 8
    assert max(np.diff(needs)) < 300_000
    (frame,) = decoder.decode(memoryview(real_packet), None).frames
    (whole,) = play(make(DRIVER, want_samples=True, bearing_sign=bearing_sign), real_packet)
    assert (frame.intensity == whole.intensity).all()
    assert (frame.samples == whole.samples).all()


def test_a_packet_whose_end_is_wrong_leaves_nothing_to_the_next(real_packet, make):
    """The next one has the same header, so that only its own samples tell it from the rejected one."""
    rejected = bytearray(real_packet)
    rejected[20_000:1_200_000] = bytes(1_180_000)
    rejected[-44:-40] = b"\xff\xff\xff\xff"
    stream = bytes(rejected) + real_packet
    decoder, at, shown, frames = make(DRIVER, live=True), 0, 1, []
    while at + shown <= len(stream):
        answer = decoder.decode(memoryview(stream)[at : at + shown], None)
        at, shown = at + answer.consumed, answer.need
        frames += answer.frames
    (frame,) = frames
    assert frame.intensity.max() == pytest.approx(119.735**2, rel=1e-4)
    assert decoder.statistics.errors["footer"] == 1


def test_reconnection_forgets_the_place_in_the_stream(make, play):
    decoder = make(DRIVER)
    assert play(decoder, packet(1)[5000:]) == []
    decoder.on_connect()
    (frame,) = play(decoder, packet(2))
    assert frame.ping_number == 2


def test_frames_share_axes_that_nobody_can_change(make, play):
    first, second = play(make(DRIVER), packet(1) + packet(2))
    assert first.range_m is second.range_m
    assert first.bearing_rad is second.bearing_rad
    with pytest.raises(ValueError, match="read-only"):
        first.range_m[0] = 0
    third = play(make(DRIVER), packet(1) + packet(2, sound_speed_m_s=1500.0))[1]
    assert third.range_m[0] == pytest.approx(first.range_m[0] * 1500 / 1480, rel=1e-6)


def test_frames_stay_while_later_ones_are_decoded(make, play):
    decoder = make(DRIVER)
    (kept,) = play(decoder, packet(1, seed=1))
    before = kept.intensity.copy()
    play(decoder, b"".join(packet(number, seed=number) for number in range(2, 60)))
    assert (kept.intensity == before).all()


def test_wrong_stream_says_so_and_recovers(make, play):
    decoder = make(DRIVER)
    play(decoder, bytes(range(256)) * 400)
    assert "no Kongsberg M3 packet in 65536 bytes" in decoder.statistics.last_error
    assert decoder.statistics.errors == {"no packet found": 1}
    assert decoder.statistics.resyncs == 1
    assert len(play(decoder, packet())) == 1


def test_recognise():
    assert DRIVER.recognise(b"middle of a packet" + packet())
    assert not DRIVER.recognise(b"")
    assert not DRIVER.recognise(wire.SYNC * 8000)
    assert not DRIVER.recognise(packet(sound_speed_m_s=np.nan))


@pytest.mark.parametrize("seed", range(3))
def test_no_intact_packet_is_lost_between_damaged_ones(seed, make, play, damages):
    rng = np.random.default_rng(seed)
    kinds = damages(wire.SYNC, 132)
    order = [*rng.permutation(30), *rng.integers(0, 30, 70)]
    stream = b""
    for number, kind in enumerate(order):
        rows = int(rng.integers(1, 30)) if number < 99 else 30
        stream += kinds[kind](packet(1000 + number, rows), rng) + packet(number, rows, seed=number)
    decoder = make(DRIVER)
    frames = play(decoder, stream, rng.integers(0, len(stream), 200))
    intact = [frame for frame in frames if frame.ping_number < 1000]
    assert [frame.ping_number for frame in intact] == list(range(100))
    for frame in intact:
        (alone,) = play(make(DRIVER), packet(frame.ping_number, len(frame.range_m), seed=frame.ping_number))
        assert (frame.intensity == alone.intensity).all()
    assert decoder.statistics.resyncs > 30
    assert decoder.statistics.frames == len(frames)


@pytest.mark.parametrize("live", [False, True])
def test_no_intact_real_packet_is_lost(live, real_packet, make, play, damages):
    rng = np.random.default_rng(9)
    kinds = damages(wire.SYNC, 132)
    stream = b"".join(kinds[kind](real_packet, rng) + real_packet for kind in (5, 8, 14, 17, 18, 20, 27))
    frames = play(make(DRIVER, live=live), stream, rng.integers(0, len(stream), 100))
    golden = hashlib.sha256(play(make(DRIVER), real_packet)[0].intensity).digest()
    assert sum(hashlib.sha256(frame.intensity).digest() == golden for frame in frames) >= 7


FEW = [packet(number, 3, 2, seed=number) for number in range(4)]
LIMITS = LimitsSettings(packet_bytes=100_000, beams=64, samples=500)


@given(data=st.binary(max_size=3000), cuts=st.lists(st.integers(0, 2**16), max_size=6))
def test_arbitrary_bytes_do_no_harm(data, cuts, make, play):
    for stream in (data, wire.SYNC + data, FEW[0][:56] + data, FEW[0] + data + FEW[1]):
        play(make(DRIVER, limits=LIMITS), stream, cuts, limit_bytes=LIMITS.packet_bytes)


@settings(max_examples=200)
@given(
    edits=st.lists(
        st.tuples(st.sampled_from(["flip", "insert", "cut", "swap"]), st.integers(0, 2**20), st.integers(1, 300)),
        max_size=5,
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
        elif kind == "cut":
            del stream[at : at + count]
        else:
            stream[at : at + 4] = stream[-at - 4 : -at or None][:4]
    whole = make(DRIVER, limits=LIMITS, want_samples=True)
    pieces = make(DRIVER, limits=LIMITS, want_samples=True, live=True)
    expected = play(whole, bytes(stream), limit_bytes=LIMITS.packet_bytes)
    frames = play(pieces, bytes(stream), cuts, limit_bytes=LIMITS.packet_bytes)
    assert [frame.ping_number for frame in frames] == [frame.ping_number for frame in expected]
    for frame, other in zip(frames, expected, strict=True):
        assert (frame.intensity == other.intensity).all()
        assert np.isfinite(frame.intensity).all()
    assert pieces.statistics == whole.statistics


@pytest.mark.parametrize("problem", ["bearings", "beams", "data type"])
def test_encoder_refuses_what_it_cannot_write(problem):
    beams = 1025 if problem == "beams" else 3
    with pytest.raises(ValueError, match="bearings" if problem == "bearings" else "expected|must be"):
        wire.encode_packet(
            np.zeros((2, beams), np.complex64),
            bearing_rad=np.zeros(beams + (problem == "bearings")),
            data_type=0x1001 if problem == "data type" else 0x1002,
            **OPTIONS,
        )
