"""Packets described by YAML: the example profile, and an M3 that needs no code."""

from __future__ import annotations

import binascii
import functools
from pathlib import Path

import msgspec
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from nims_layout import nims_drivers
from nims_layout.expression import Expression
from nims_layout.layout import CHECKSUMS, LayoutSettings
from nims_m3 import nims_drivers as m3_drivers
from nims_m3 import wire as m3_wire

import firmware_profiles
from nims_appliance.decoder import DecoderContext
from nims_appliance.errors import ProfileError
from nims_appliance.frame import Arrival
from nims_appliance.profile import LimitsSettings, Profile

DRIVER = nims_drivers()[0]
ARRIVAL = Arrival(utc_s=1_700_000_000.0, monotonic_s=100.0)
LIMITS = LimitsSettings(packet_bytes=100_000, beams=64, samples=500)

M3_IN_YAML = """
sync: 00 80 00 80 00 80 00 80
device: Described M3
fields:
  data_type: {at: 8, type: u16, equals: 4098}
  body: {at: 52, type: u32, equals: 8512 + 8 * beams * samples}
  version: {at: 56, type: u32, min: 4, max: 100}
  seconds: {at: 96, type: u32}
  milliseconds: {at: 100, type: u32, max: 999}
  sound_speed: {at: 104, type: f32, min: 1300, max: 1700}
  samples: {at: 108, type: u32, min: 1, max: 30000}
  start: {at: 120, type: f32, min: -10, max: 10}
  beams: {at: 128, type: u16, min: 1, max: 1024}
  interval: {at: 4228, type: f32, min: 1.0e-7, max: 1.0e-3}
  frequency: {at: 4256, type: u32}
  pulse_us: {at: 4260, type: u32}
  ping: {at: 4264, type: u32}
  rate: {at: 4276, type: f32}
  transmit_start: {at: 4552, type: f32}
packet_bytes: body + 100
payload: {at: 56 + 8512, beams: beams, samples: samples, element: cf32, order: beam-major}
range_m: {first: (start - transmit_start) * sound_speed / 2, step: interval * sound_speed / 2}
bearing_deg: {array: {at: 132, type: f32}}
ping:
  sound_speed_m_s: sound_speed
  beam_width_deg: 1.6
  time_s: seconds + milliseconds / 1000
  ping_number: ping
  frequency_hz: frequency
  pulse_length_s: pulse_us / 1000000
  ping_interval_s: 1 / rate
  range_resolution_m: pulse_us / 1000000 * sound_speed / 2
footer: {at: 56 + body, type: u32, equals: body}
"""

MADE_UP_BIG_ENDIAN = """
sync: CAFE
byte_order: big
fields:
  kind: {at: 2, type: u16, equals: 7}
  count: {at: 4, type: u16, min: 1, max: 400, scale: 2}
  heading: {at: 6, type: i16, scale: 0.1, shift: 5}
packet_bytes: 12 + 33 * count + 1
payload:
  {at: 12, beams: 16, samples: count, element: i16, order: range-major, meaning: power, line_bytes: 33, scale: 0.5,
   shift: 1000, unit: relative}
range_m: {first: 0.5, step: 0.1}
bearing_deg: {first: 15, step: -2}
ping: {sound_speed_m_s: 1500, beam_width_deg: 2, ping_number: count, range_resolution_m: 0.2}
checksum: {kind: xor8, at: 12 + 33 * count, first: 2}
"""


@functools.cache
def parsed(text):
    return yaml.safe_load(text)


def settings_of(text, **changes):
    return msgspec.convert(parsed(text) | changes, LayoutSettings)


@functools.cache
def example():
    text = (Path(firmware_profiles.__file__).parent / "example-layout.yaml").read_text(encoding="utf-8")
    profile = msgspec.convert(yaml.safe_load(text), Profile)
    return DecoderContext(profile=profile, settings=msgspec.convert(profile.settings, LayoutSettings))


def example_packet(number=1, rows=6, columns=4, seed=0, **changes):
    """The packet that the comment of the example describes, written by hand."""
    image = np.random.default_rng(seed).integers(0, 256, (rows, columns), dtype=np.uint8)
    size = 44 + 2 * columns + rows * columns + 2
    head = np.zeros((), np.dtype("S4,<u2,<u2,<u4,<u4,<u4,<u4,<u4,<f4,<f4,<f4,<u4"))
    values = [b"FISH", 2, columns, rows, size, number, 1_700_000_000, 250_000, 1500.0, 1.5, 1e-5, 450_000]
    for name, value in changes.items():
        values[int(name[1:])] = value
    head[()] = tuple(values)
    bearings = np.linspace(-4500, 4500, columns).astype("<i2").tobytes()
    body = head.tobytes() + bearings + image.tobytes()
    return body + binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "little")


def big_endian_packet(pairs=3, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.integers(-1000, 1000, (2 * pairs, 16)).astype(">i2")
    rows = b"".join(bytes(row.tobytes()) + b"!" for row in values)
    body = b"\xca\xfe\x00\x07" + pairs.to_bytes(2, "big") + b"\x00\x00" + b"head" + rows
    return body + bytes([CHECKSUMS["xor8"][1](memoryview(body)[2:])]), values


def test_the_example_profile_decodes_the_packet_that_its_comment_describes(play):
    decoder = DRIVER.stream(example())
    frames = play(decoder, example_packet(1) + example_packet(2, 9, 7), range(0, 300, 7))
    assert [frame.ping_number for frame in frames] == [1, 2]
    frame = frames[0]
    image = np.random.default_rng(0).integers(0, 256, (6, 4), dtype=np.uint8)
    np.testing.assert_allclose(frame.intensity, 10 ** ((image * 0.5 - 80) / 10), rtol=1e-5)
    assert frame.range_m == pytest.approx(1.5 + np.arange(6) * 0.0075)
    assert np.degrees(frame.bearing_rad) == pytest.approx([-45, -15, 15, 45])
    assert frame.time_s == 1_700_000_000.25
    assert (frame.sound_speed_m_s, frame.frequency_hz, frame.unit) == (1500.0, 450_000, "relative")
    assert frame.device == "Example sonar"
    assert decoder.statistics.skipped_bytes == 0


def test_described_m3_gives_the_frames_of_the_m3_driver(recordings, make, play):
    data = (recordings / "m3" / "m3-header14-128x1272-one-ping.imb").read_bytes()
    (expected,) = play(make(m3_drivers()[0], want_samples=True, bearing_sign=-1), data)
    decoder = make(DRIVER, settings=settings_of(M3_IN_YAML), want_samples=True, bearing_sign=-1)
    (frame,) = play(decoder, data)
    assert (frame.intensity == expected.intensity).all()
    assert (frame.samples == expected.samples).all()
    assert frame.range_m == pytest.approx(expected.range_m, rel=1e-12)
    assert frame.bearing_rad == pytest.approx(expected.bearing_rad, rel=1e-12)
    for name in ("time_s", "ping_number", "sound_speed_m_s", "frequency_hz", "pulse_length_s", "ping_interval_s",
                 "beam_width_rad", "unit"):  # fmt: skip
        assert getattr(frame, name) == pytest.approx(getattr(expected, name)), name


def test_described_m3_loses_no_intact_packet(make, play, damages):
    rng = np.random.default_rng(2)
    options = {
        "bearing_rad": np.radians([-10.0, 0.0, 20.0]), "time_s": 1.0, "sound_speed_m_s": 1500.0, "first_range_m": 1.0,
        "sample_interval_s": 1e-5, "frequency_hz": 5e5, "pulse_length_s": 2e-5, "ping_rate_hz": 10.0,
    }  # fmt: skip
    packets = [m3_wire.encode_packet(np.full((9, 3), n, np.complex64), ping_number=n, **options) for n in range(60)]
    kinds = damages(m3_wire.SYNC, 4556) * 2
    stream = b"".join(kinds[n](packets[59 - n], rng) + packets[n] for n in range(60))
    frames = play(make(DRIVER, settings=settings_of(M3_IN_YAML)), stream, rng.integers(0, len(stream), 100))
    seen = [frame.ping_number for frame in frames]
    assert set(range(60)) <= set(seen)


def test_big_endian_power_with_gaps_and_falling_bearings(make, play):
    packet, values = big_endian_packet()
    decoder = make(DRIVER, settings=settings_of(MADE_UP_BIG_ENDIAN))
    frames = play(decoder, packet * 3, [5, 99, 100])
    assert len(frames) == 3
    frame = frames[0]
    assert np.degrees(frame.bearing_rad) == pytest.approx(np.arange(-15.0, 16, 2))
    np.testing.assert_allclose(frame.intensity, values[:, ::-1] * 0.5 + 1000, rtol=1e-6)
    assert frame.range_m == pytest.approx(0.5 + 0.1 * np.arange(6))
    assert frame.time_s == ARRIVAL.utc_s
    assert frame.range_resolution_m == 0.2


def test_checksum_shows_a_flipped_sample(play):
    damaged = bytearray(example_packet(2))
    damaged[60] ^= 4
    decoder = DRIVER.stream(example())
    frames = play(decoder, example_packet(1) + bytes(damaged) + example_packet(3))
    assert [frame.ping_number for frame in frames] == [1, 3]
    assert "Example sonar packet: checksum: expected 0x" in decoder.statistics.last_error


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"f8": np.nan}, "fields.sound_speed: expected a finite number, got nan"),
        ({"f8": 1200.0}, "fields.sound_speed: expected at least 1300, got 1200.0"),
        ({"f1": 3}, "fields.version: expected 2, got 3"),
        ({"f3": 2**32 - 1}, "fields.samples: expected at most 8192, got 4294967295"),
        ({"f4": 79}, "fields.size: expected 78, got 79"),
        ({"f10": 0.0}, "fields.sample_interval: expected at least 1e-07, got 0.0"),
    ],
)
def test_bad_field_is_named(changes, said, play):
    decoder = DRIVER.stream(example())
    frames = play(decoder, example_packet(1) + example_packet(2, **changes) + example_packet(3))
    assert [frame.ping_number for frame in frames] == [1, 3]
    assert said in decoder.statistics.last_error


def test_datagrams_hold_one_packet_each():
    decoder = DRIVER.datagram(example())
    good = decoder.decode_datagram(memoryview(example_packet(5)), "10.0.0.9:5000", ARRIVAL)
    assert [frame.check().ping_number for frame in good.frames] == [5]
    for datagram, said in (
        (b"", "expected it to start with 46 49 53 48"),
        (b"FISH", "expected 44 bytes, got 4"),
        (example_packet(5)[:-1], "expected 78 bytes, got 77"),
    ):
        assert decoder.decode_datagram(memoryview(datagram), "10.0.0.9:5000", ARRIVAL).frames == []
        assert said in decoder.statistics.last_error
        assert "10.0.0.9:5000" in decoder.statistics.last_error
    assert decoder.statistics.frames == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sync": "GG"}, "settings.sync: expected at least two bytes in hexadecimal, got 'GG'"),
        ({"sync": "00"}, "settings.sync: expected at least two bytes"),
        ({"packet_bytes": "bodi + 1"}, "settings.packet_bytes: unknown field 'bodi'"),
        ({"packet_bytes": "body +"}, "settings.packet_bytes: expected arithmetic over the fields, got 'body +'"),
        ({"packet_bytes": "body ** 9"}, "settings.packet_bytes: expected only names, numbers"),
        ({"packet_bytes": "open('x')"}, "settings.packet_bytes: "),
        ({"packet_bytes": "body.real"}, "settings.packet_bytes: expected only names, numbers"),
        ({"range_m": {"first": 1}}, "settings.range_m: expected either first and step, or array"),
        ({"range_m": {}}, "settings.range_m: expected either first and step, or array"),
        ({"footer": {"at": "x", "type": "u8", "equals": 1}}, "settings.footer.at: unknown field 'x'"),
        ({"fields": {"a b": {"at": 8, "type": "u8"}}}, "settings.fields.a b: expected a name"),
        ({"fields": {"a": {"at": 7, "type": "u8"}}}, "settings.fields.a.at: expected an offset behind the sync bytes"),
        ({"fields": {"a": {"at": 8, "type": "f32", "equals": 1}}}, "settings.fields.a.equals: only integers"),
    ],
)
def test_wrong_layout_names_the_key(changes, said, make):
    with pytest.raises(ProfileError) as error:
        make(DRIVER, settings=settings_of(M3_IN_YAML, **changes))
    assert str(error.value).startswith("profile test: ")
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * a", 15),
        ("(a - 1) / 4", 1.5),
        ("-a", -7),
        (3, 3),
        ("a * b", 7 * 2**62),
        ("1 / (a - 7)", None),
        (0.5, 0.5),
    ],
)
def test_expressions(text, value):
    result = Expression(text, {"a", "b"}).value({"a": 7, "b": 2**62})
    assert np.isnan(result) if value is None else result == value


@given(st.text(alphabet="ab+-*/(). 0129eE_,[]'x", max_size=40))
def test_any_expression_is_a_number_or_refused(text):
    try:
        expression = Expression(text, {"a", "b"})
    except ValueError:
        return
    assert isinstance(expression.value({"a": 7, "b": 2**62}), (int, float))


def test_checksums_have_their_published_check_values():
    data = memoryview(b"123456789")
    assert CHECKSUMS["crc16-ccitt"][1](data) == 0x29B1
    assert CHECKSUMS["crc32"][1](data) == 0xCBF43926
    assert CHECKSUMS["sum8"][1](data) == 0xDD
    assert CHECKSUMS["sum16"][1](data) == 0x01DD
    assert CHECKSUMS["xor8"][1](data) == 0x31


FEW = [example_packet(n, 5 + n, 4, seed=n) for n in range(6)]


@settings(max_examples=150)
@given(
    edits=st.lists(
        st.tuples(st.sampled_from(["flip", "insert", "cut"]), st.integers(0, 2**20), st.integers(1, 90)), max_size=5
    ),
    cuts=st.lists(st.integers(0, 2**20), max_size=12),
)
def test_frames_do_not_depend_on_how_a_damaged_stream_is_cut(edits, cuts, play):
    stream = bytearray(b"".join(FEW))
    for kind, at, count in edits:
        at %= len(stream)
        if kind == "flip":
            stream[at] ^= count % 255 + 1
        elif kind == "insert":
            stream[at:at] = bytes(count)
        else:
            del stream[at : at + count]
    whole, pieces = DRIVER.stream(example()), DRIVER.stream(example())
    expected, frames = play(whole, bytes(stream)), play(pieces, bytes(stream), cuts)
    assert [frame.ping_number for frame in frames] == [frame.ping_number for frame in expected]
    assert pieces.statistics == whole.statistics


@given(data=st.binary(max_size=2000), cuts=st.lists(st.integers(0, 2**16), max_size=6))
def test_arbitrary_bytes_do_no_harm(data, cuts, make, play):
    for layout, head in ((M3_IN_YAML, m3_wire.SYNC), (MADE_UP_BIG_ENDIAN, b"\xca\xfe\x00\x07")):
        for stream in (data, head + data):
            decoder = make(DRIVER, settings=settings_of(layout), limits=LIMITS)
            play(decoder, stream, cuts, limit_bytes=LIMITS.packet_bytes)
    for head in (b"FISH\x02\x00", FEW[0][:44]):
        play(DRIVER.stream(example()), head + data, cuts)


WEAK = """
sync: 55AA
fields: {beams: {at: 2, type: u8}, samples: {at: 3, type: u8}, c: {at: 4, type: f32}, r: {at: 8, type: f64}}
packet_bytes: 16 + 4 * beams * samples + 8 * beams
payload: {at: 16 + 8 * beams, beams: beams, samples: samples, element: f32, order: beam-major, meaning: power}
range_m: {first: r, step: r / (c - 1)}
bearing_deg: {array: {at: 16, type: f64}}
ping: {sound_speed_m_s: c, beam_width_deg: c / beams, frequency_hz: r * c * c, pulse_length_s: 1 / r, time_s: r}
"""


@given(
    beams=st.integers(0, 4),
    samples=st.integers(0, 4),
    speed=st.floats(width=32),
    number=st.floats(),
    rest=st.binary(max_size=300),
)
def test_any_number_in_any_field_gives_a_good_frame_or_none(beams, samples, speed, number, rest, make, play):
    decoder = make(DRIVER, settings=settings_of(WEAK))
    head = b"\x55\xaa" + bytes([beams, samples]) + np.float32(speed).tobytes() + np.float64(number).tobytes()
    good = np.arange(float(beams)).tobytes() + rest
    with np.errstate(over="ignore", invalid="ignore"):
        play(decoder, head + good + bytes(100))
        play(decoder, head + rest + bytes(100))
