"""EK500 telegrams: pings put together from datagrams, whatever the network does to them."""

from __future__ import annotations

import importlib.resources
import math

import msgspec
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from nims_ek60 import nims_drivers, wire
from nims_ek60.ek500 import Ek500Decoder, utc_of_time_of_day
from nims_ek60.settings import Ek60Settings

from nims_appliance.decoder import DecoderContext
from nims_appliance.frame import Arrival, Frame
from nims_appliance.profile import LimitsSettings, Profile
from nims_appliance.settings import SonarSettings

NOON_S = 20_000 * 86_400.0 + 12 * 3600.0
SENDER = "192.168.1.20:50000"
POWER_DB = np.linspace(-40.0, -110.0, 1000)
ATHWART_EL_DEG = np.linspace(-50.0, 50.0, 1000)
ALONG_EL_DEG = np.linspace(20.0, -80.0, 1000)


def make_decoder(samples: int = 30_000, **changed: float | str) -> Ek500Decoder:
    profile = Profile(name="simrad-ek60", title="", driver="ek60", limits=LimitsSettings(samples=samples))
    decoder = Ek500Decoder(DecoderContext(profile, msgspec.convert(changed, Ek60Settings)))
    assert decoder.on_connect() == b""
    return decoder


def feed(
    decoder: Ek500Decoder, datagrams: list[bytes], received_s: float = NOON_S, sender: str = SENDER
) -> list[Frame]:
    arrival = Arrival(utc_s=received_s, monotonic_s=0.0)
    frames: list[Frame] = []
    for datagram in datagrams:
        frames += decoder.decode_datagram(memoryview(datagram), sender, arrival).frames
    return [frame.check() for frame in frames]


def finish(decoder: Ek500Decoder, received_s: float = NOON_S) -> list[Frame]:
    return decoder.finish(Arrival(utc_s=received_s, monotonic_s=0.0))


def ping(time_s: float = NOON_S, angles: bool = True, **keywords: object) -> list[bytes]:
    if not angles:
        return wire.encode_ek500_ping(POWER_DB, time_s=time_s, **keywords)
    return wire.encode_ek500_ping(POWER_DB, ATHWART_EL_DEG, ALONG_EL_DEG, time_s=time_s, **keywords)


def test_telegram_bytes_are_those_of_the_manual() -> None:
    """Written by hand: 3 samples of transceiver 2 at 09:05:07.25, power in one packet."""
    angles = b"B2,09050725," + bytes([0, 0x80, 0, 0, 6, 0]) + bytes([16, 0, 0xF0, 2, 127, 0x81])
    power = b"W2,09050725," + bytes([0, 0x80, 0, 0, 6, 0]) + bytes([0, 0, 0, 0xF0, 0xFF, 0xFF])
    received_s = NOON_S - 3 * 3600
    decoder = make_decoder(angle_sensitivity_along=20.0, angle_sensitivity_athwart=10.0, angle_offset_along_deg=1.0)
    (frame,) = feed(decoder, [angles, power], received_s)
    assert frame.channel == "channel 2"
    assert frame.time_s == pytest.approx(NOON_S - 12 * 3600 + 9 * 3600 + 5 * 60 + 7.25, abs=1e-6)
    # 0, -4096 and -1 steps of 10 lg(2) / 256 dB.
    assert frame.intensity[:, 0] == pytest.approx([1.0, 2.0**-16, 2.0 ** (-1 / 256)])
    # The first byte of a pair is athwart.
    assert np.degrees(frame.athwart_rad) == pytest.approx([16 * 0.140625, -16 * 0.140625, 127 * 0.140625], rel=1e-6)
    assert np.degrees(frame.along_rad) == pytest.approx([-1.0, 2 * 0.0703125 - 1.0, -127 * 0.0703125 - 1.0], rel=1e-6)


@pytest.mark.parametrize("fragment_header", [True, False])
@pytest.mark.parametrize("channel", [1, 3, 9])
def test_ping_comes_back_as_it_was(fragment_header: bool, channel: int) -> None:
    decoder = make_decoder()
    datagrams = ping(fragment_header=fragment_header, channel=channel)
    assert len(datagrams) == (4 if fragment_header else 2)
    (frame,) = feed(decoder, datagrams)
    assert frame.channel == f"channel {channel}"
    np.testing.assert_allclose(10 * np.log10(frame.intensity[:, 0]), POWER_DB, atol=wire.DB_PER_STEP / 2 + 1e-5)
    half_step_deg = wire.ELECTRICAL_DEG_PER_STEP / 2 + 1e-5
    np.testing.assert_allclose(np.degrees(frame.along_rad) * 21.0, ALONG_EL_DEG, atol=half_step_deg)
    np.testing.assert_allclose(np.degrees(frame.athwart_rad) * 21.0, ATHWART_EL_DEG, atol=half_step_deg)
    assert frame.time_s == pytest.approx(NOON_S)
    assert not decoder.statistics.errors
    assert decoder.statistics.frames == 1


def test_settings_make_the_axis_and_the_calibration() -> None:
    decoder = make_decoder(
        sample_interval_m=0.0953, sound_speed_m_s=1489.0, pulse_length_s=512e-6, frequency_hz=38e3, gain_db=26.0,
        transmit_power_w=1000.0, absorption_db_km=9.8, beamwidth_along_deg=6.0, beamwidth_athwart_deg=8.0,
    )  # fmt: skip
    (frame,) = feed(decoder, ping())
    assert frame.range_m[:3] == pytest.approx([0.0, 0.0953, 0.1906])
    assert (frame.frequency_hz, frame.pulse_length_s, frame.sound_speed_m_s) == (38e3, 512e-6, 1489.0)
    assert frame.calibration.absorption_db_m == pytest.approx(0.0098)
    assert frame.calibration.range_offset_m == pytest.approx(2 * 0.0953)
    assert math.degrees(frame.calibration.beamwidth_along_rad) == pytest.approx(6.0)
    assert frame.beam_width_rad == pytest.approx(math.radians(8.0))


def test_without_transmit_power_there_is_no_calibration() -> None:
    (frame,) = feed(make_decoder(), ping())
    assert frame.calibration is None
    assert frame.is_split_beam


def test_several_channels_of_one_ping_stay_apart() -> None:
    """All B telegrams come first, then all W."""
    one, two = ping(channel=1), ping(channel=2)
    decoder = make_decoder()
    frames = feed(decoder, one[:2] + two[:2] + one[2:] + two[2:])
    assert [frame.channel for frame in frames] == ["channel 1", "channel 2"]
    assert not decoder.statistics.errors


def test_two_sounders_on_one_port_stay_apart() -> None:
    decoder = make_decoder()
    other = wire.encode_ek500_ping(POWER_DB + 20, ATHWART_EL_DEG, ALONG_EL_DEG, time_s=NOON_S)
    frames = []
    for mine, theirs in zip(ping(), other, strict=True):
        frames += feed(decoder, [mine])
        frames += feed(decoder, [theirs], sender="192.168.1.21:3000")
    assert [frame.channel for frame in frames] == ["channel 1", "channel 1 of 192.168.1.21"]
    assert frames[1].intensity[0, 0] == pytest.approx(100 * frames[0].intensity[0, 0], rel=0.01)


def test_another_source_port_is_the_same_sounder() -> None:
    decoder = make_decoder()
    feed(decoder, ping())
    (frame,) = feed(decoder, ping(NOON_S + 1), sender="192.168.1.20:50001")
    assert (frame.channel, frame.ping_number) == ("channel 1", 2)


def test_sender_filter() -> None:
    decoder = make_decoder(sender="192.168.1.20")
    assert feed(decoder, ping(), sender="192.168.1.99:3000") == []
    assert len(feed(decoder, ping())) == 1
    assert decoder.statistics.errors == {"other sender": 4}


def test_many_senders_do_not_fill_the_memory() -> None:
    decoder = make_decoder()
    for number in range(1000):
        feed(decoder, ping()[:1], sender=f"10.0.{number // 256}.{number % 256}:3000")
    assert len(decoder._senders) <= 8


def test_power_only_comes_out_when_the_next_ping_begins() -> None:
    decoder = make_decoder()
    assert feed(decoder, ping(angles=False)) == []
    (first,) = feed(decoder, ping(NOON_S + 0.1, angles=False))
    assert first.time_s == pytest.approx(NOON_S)
    assert not first.is_split_beam
    (second,) = finish(decoder)
    assert second.time_s == pytest.approx(NOON_S + 0.1)
    assert decoder.statistics.frames == 2


def test_unequal_counts_give_power_only() -> None:
    decoder = make_decoder()
    short = wire.encode_ek500_ping(POWER_DB[:500], ATHWART_EL_DEG[:500], ALONG_EL_DEG[:500], time_s=NOON_S)
    (frame,) = feed(decoder, [datagram for datagram in short if datagram[:1] == b"B"] + ping(angles=False))
    assert not frame.is_split_beam
    assert frame.intensity.shape == (1000, 1)
    assert decoder.statistics.errors == {"angles and power differ": 1}


@pytest.mark.parametrize("lost", [0, 1])
def test_lost_angle_packet_costs_the_angles(lost: int) -> None:
    decoder = make_decoder()
    datagrams = ping()
    del datagrams[lost]
    assert feed(decoder, datagrams) == []
    frames = feed(decoder, ping(NOON_S + 1))
    assert [frame.is_split_beam for frame in frames] == [False, True]


def test_channel_that_loses_angles_stays_a_split_beam() -> None:
    """For one lost packet the channel must not become another kind of sonar, whose tracks would end."""
    decoder = make_decoder()
    feed(decoder, ping())
    frames = [frame for number in range(1, 13) for frame in feed(decoder, ping(NOON_S + number)[1:])] + finish(decoder)
    assert [frame.is_split_beam for frame in frames] == [True] * 10 + [False] * 2
    for frame in frames[:10]:
        assert np.isnan(frame.along_rad).all()
        assert np.isnan(frame.athwart_rad).all()
        assert frame.intensity[:, 0] == pytest.approx(10 ** (POWER_DB / 10), rel=2e-3)
    (back,) = feed(decoder, ping(NOON_S + 20))
    assert np.isfinite(back.along_rad).all()


@pytest.mark.parametrize("lost", [2, 3])
def test_lost_power_packet_costs_the_ping(lost: int) -> None:
    decoder = make_decoder()
    datagrams = ping()
    del datagrams[lost]
    frames = feed(decoder, datagrams + ping(NOON_S + 1))
    assert [frame.time_s for frame in frames] == [pytest.approx(NOON_S + 1)]
    assert decoder.statistics.errors["incomplete ping"] == 1


def test_doubled_datagrams_change_nothing() -> None:
    decoder = make_decoder()
    doubled = [datagram for datagram in ping() for _ in range(2)]
    frames = feed(decoder, doubled + ping())
    assert len(frames) == 1
    assert frames[0].is_split_beam
    assert decoder.statistics.errors["repeated packet"] == len(doubled)


def test_straggler_of_the_last_ping_does_not_end_this_one() -> None:
    decoder = make_decoder()
    last, this = ping(), ping(NOON_S + 0.1)
    frames = feed(decoder, last[:3] + this[:2] + last[3:] + this[2:])
    assert [frame.time_s for frame in frames] == [pytest.approx(NOON_S + 0.1)]
    assert frames[0].is_split_beam


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"W1,0905072",
        b"W1,25000000," + bytes(100),
        b"W1,12006100," + bytes(100),
        b"W1,12xx0000," + bytes(100),
        b"\0" * 100,
        b"\x01" * 65_000,
    ],
)
def test_garbage_is_counted(datagram: bytes) -> None:
    decoder = make_decoder()
    assert feed(decoder, [datagram, *ping()])
    assert decoder.statistics.errors == {"no EK500 header": 1}


@pytest.mark.parametrize("body", [b"", b"\x01", b"\x01\x02\x03"])
def test_telegram_of_no_or_half_samples_is_refused(body: bytes) -> None:
    decoder = make_decoder()
    assert feed(decoder, [b"W1,12000000," + body]) == []
    assert finish(decoder) == []
    assert decoder.statistics.errors == {"odd telegram": 1}


def test_truncated_packet_is_not_taken_for_samples() -> None:
    decoder = make_decoder()
    datagrams = ping()
    datagrams[1] = datagrams[1][:-7]
    feed(decoder, datagrams)
    assert decoder.statistics.errors["damaged packet"] == 1
    (frame, _) = feed(decoder, ping(NOON_S + 1))
    assert not frame.is_split_beam


def test_telegram_longer_than_the_profile_allows_is_refused() -> None:
    decoder = make_decoder(samples=600)
    assert feed(decoder, ping() + ping(NOON_S + 1)) == []
    assert finish(decoder) == []
    assert decoder.statistics.errors["too many samples"] == 4


def test_parameters_changed_on_the_sounder_override_the_settings() -> None:
    decoder = make_decoder()
    menu = "/TRANSCEIVER MENU/Transceiver-1 Menu/"
    changes = [
        wire.encode_ek500_parameter(menu + "Sample Interval", "0.0953 m", time_s=NOON_S),
        wire.encode_ek500_parameter(menu + "Pulse Length", "0.512 ms", time_s=NOON_S),
        wire.encode_ek500_parameter(menu + "Frequency", "38 kHz", time_s=NOON_S),
        wire.encode_ek500_parameter("/UTILITY MENU/Sound Velocity", "1500 m", time_s=NOON_S),
        wire.encode_ek500_parameter("/DISPLAY MENU/Colour", "3", time_s=NOON_S),
    ]
    frames = feed(decoder, [*changes, *ping(channel=1), *ping(channel=2)])
    one, two = frames
    assert one.range_m[1] == pytest.approx(0.0953)
    assert one.pulse_length_s == pytest.approx(512e-6)
    assert (one.frequency_hz, one.sound_speed_m_s) == (38e3, 1500.0)
    assert two.range_m[1] == pytest.approx(0.0238), "that was the menu of transceiver 1"
    assert two.sound_speed_m_s == 1500.0, "that is the menu of all"
    assert not decoder.statistics.errors


@pytest.mark.parametrize("value", ["-1 m", "nan m", "1e9 m", "0 m", "0.1 parsec", "1.2.3 m"])
def test_implausible_parameters_are_refused(value: str) -> None:
    decoder = make_decoder()
    change = wire.encode_ek500_parameter("/TRANSCEIVER MENU/Transceiver-1 Menu/Sample Interval", value, time_s=0.0)
    (frame,) = feed(decoder, [change, *ping()])
    assert frame.range_m[1] == pytest.approx(0.0238)


def test_other_telegrams_do_not_disturb_a_ping() -> None:
    datagrams = ping()
    for number, kind in enumerate((b"D1", b"GL", b"CS", b"Q1")):
        datagrams.insert(number + 1, kind + b",12000001,\0\0\0\0\0\0")
    decoder = make_decoder()
    (frame,) = feed(decoder, datagrams)
    assert frame.is_split_beam
    assert not decoder.statistics.errors


MIDNIGHT_S = 20_000 * 86_400.0


@pytest.mark.parametrize(
    ("ping_s", "received_s", "zone_hours"),
    [
        (MIDNIGHT_S - 0.05, MIDNIGHT_S + 0.05, 0.0),  # the ping just before, its arrival just after midnight
        (MIDNIGHT_S + 0.05, MIDNIGHT_S - 0.05, 0.0),  # the sounder's clock is ahead
        (MIDNIGHT_S, MIDNIGHT_S, 0.0),
        (MIDNIGHT_S + 600.0, MIDNIGHT_S - 600.0, 0.0),
        (MIDNIGHT_S - 3600.0, MIDNIGHT_S - 3600.0, 2.0),  # past midnight where the sounder is
        (MIDNIGHT_S + 3600.0, MIDNIGHT_S + 3600.5, -9.5),
    ],
)
def test_date_is_right_across_midnight(ping_s: float, received_s: float, zone_hours: float) -> None:
    decoder = make_decoder(zone_offset_hours=zone_hours)
    (frame,) = feed(decoder, ping(ping_s, zone_offset_hours=zone_hours), received_s)
    assert frame.time_s == pytest.approx(ping_s, abs=0.0051)
    assert decoder.statistics.clock_difference_s == pytest.approx(received_s - ping_s, abs=0.0051)


@given(st.floats(0, 4e9), st.floats(-5.9 * 3600, 5.9 * 3600), st.floats(-14, 14))
def test_date_is_right_for_any_skew_of_less_than_six_hours(received_s: float, skew_s: float, zone_hours: float) -> None:
    time_s = received_s + skew_s
    time_of_day_s = (time_s + zone_hours * 3600) % 86_400
    assert utc_of_time_of_day(time_of_day_s, received_s, zone_hours) == pytest.approx(time_s, abs=1e-3)


def test_wrong_zone_is_said() -> None:
    decoder = make_decoder()
    assert feed(decoder, ping(NOON_S + 8 * 3600)) == []
    assert decoder.statistics.errors == {"clock of the sounder": 1}
    assert "zone_offset_hours" in decoder.statistics.last_error


def test_reconnecting_forgets_partial_pings_and_parameters() -> None:
    decoder = make_decoder()
    feed(decoder, [wire.encode_ek500_parameter("/UTILITY MENU/Sound Velocity", "1500 m", time_s=0.0), *ping()[:3]])
    decoder.on_connect()
    (frame,) = feed(decoder, ping(NOON_S + 1))
    assert frame.sound_speed_m_s == 1490.0
    assert not decoder.statistics.errors


def test_driver_offers_both_kinds_of_decoder() -> None:
    (driver,) = nims_drivers()
    assert driver.name == "ek60"
    assert driver.stream is not None
    assert driver.datagram is Ek500Decoder


def test_shipped_profile_fits_the_driver() -> None:
    document = yaml.safe_load(importlib.resources.files("firmware_profiles").joinpath("simrad-ek60.yaml").read_text())
    profile = msgspec.convert(document, Profile)
    (driver,) = nims_drivers()
    assert profile.driver == driver.name
    assert msgspec.convert(profile.settings, driver.settings_type).frequency_hz == 120e3
    sonar = msgspec.convert({"profile": profile.name, "link": profile.default_link, **profile.sonar}, SonarSettings)
    assert sonar.single_target.max_gain_compensation_db == 12.0
    # A ping of the most samples, in the largest datagram that carries it.
    assert wire.RAW0.itemsize + 4 * profile.limits.samples + 8 <= profile.limits.packet_bytes


DATAGRAMS = ping() + ping(NOON_S + 0.1) + ping(NOON_S + 0.2, angles=False) + ping(fragment_header=False, channel=2)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(range(len(DATAGRAMS))), max_size=30), st.integers(1, 2000))
def test_any_order_and_loss_gives_only_pings_that_were_sent(order: list[int], samples: int) -> None:
    decoder = make_decoder(samples=samples)
    frames = feed(decoder, [DATAGRAMS[index] for index in order]) + finish(decoder)
    # Doubled times can repeat a ping after another one came between, but nothing is mixed or cut.
    for frame in frames:
        np.testing.assert_allclose(10 * np.log10(frame.intensity[:, 0]), POWER_DB, atol=wire.DB_PER_STEP)
    assert samples >= 1000 or not frames


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.binary(max_size=80), st.sampled_from(DATAGRAMS)),
            st.lists(st.tuples(st.integers(0, 70), st.integers(0, 255)), max_size=4),
            st.integers(0, 40),
            st.sampled_from(["a:1", "b:1", "", "[::1]:3000"]),
        ),
        max_size=20,
    )
)
def test_any_bytes_never_raise(packets: list[tuple[bytes, list[tuple[int, int]], int, str]]) -> None:
    decoder = make_decoder(samples=1500)
    for datagram, damage, cut, sender in packets:
        data = bytearray(datagram)
        for place, value in damage:
            if place < len(data):
                data[place] = value
        for frame in feed(decoder, [bytes(data[: len(data) - cut])], sender=sender):
            assert 1 <= frame.intensity.shape[0] <= 1500
    finish(decoder)
