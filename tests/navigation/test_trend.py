"""What is carried on between readings, and of which instrument."""

from __future__ import annotations

import math

import pytest

from nims_appliance.frame import Arrival
from nims_appliance.navigation.fixes import Navigation
from nims_appliance.navigation.nmea import checksum
from nims_appliance.navigation.trend import Trend
from nims_appliance.settings import LocationSettings

ON_BOARD = LocationSettings(source="navigation")


def at(monotonic_s: float) -> Arrival:
    return Arrival(1.7e9 + monotonic_s, monotonic_s)


def gga(clock: str, minutes: float) -> bytes:
    body = f"GPGGA,{clock},54{minutes:07.4f},N,01000.0000,E,1,08,0.9,0,M,0,M,,".encode()
    return b"$%b*%02X" % (body, checksum(body))


def test_what_moves_is_carried_on_for_two_seconds() -> None:
    trend = Trend(0.0)
    trend.tell((10.0,), 1.0, 101.0)
    assert trend.at(101.5) == (10.0,)
    trend.tell((12.0,), 2.0, 102.0)
    assert trend.at(102.5) == (13.0,)
    assert trend.at(104.0) == (16.0,)
    assert trend.at(109.0) == (16.0,)
    assert trend.at(101.0) == (12.0,)  # asked of the past: what was told last


def test_what_goes_round_takes_the_short_way() -> None:
    trend = Trend(math.tau)
    trend.tell((math.radians(359.0),), 1.0, 1.0)
    trend.tell((math.radians(1.0),), 2.0, 2.0)
    assert math.degrees(trend.at(3.0)[0]) == pytest.approx(3.0)


@pytest.mark.parametrize("moment_s", [0.5, 30.0])
def test_after_a_gap_or_a_step_of_its_clock_it_begins_anew(moment_s: float) -> None:
    trend = Trend(0.0)
    trend.tell((10.0,), 1.0, 1.0)
    trend.tell((12.0,), 2.0, 2.0)
    trend.tell((50.0,), moment_s, 3.0)
    assert trend.at(3.9) == (50.0,)


def test_the_same_fix_in_two_sentences_counts_once() -> None:
    navigation = Navigation()
    navigation.take(gga("120000.00", 30.0), "gps", at(100.0))
    navigation.take(gga("120001.00", 30.001), "gps", at(101.0))
    rmc = b"$GPRMC,120001.00,A,5430.0010,N,01000.0000,E,3.6,0.0,211126,,"
    navigation.take(rmc, "gps", at(101.15))
    pose = navigation.pose(ON_BOARD, 101.5, 10.0)
    assert pose.latitude_deg == pytest.approx(54.5 + 0.0015 / 60, abs=1e-9)


def test_at_midnight_nothing_jumps() -> None:
    navigation = Navigation()
    for second, clock in enumerate(("235958.00", "235959.00", "000000.00", "000001.00")):
        navigation.take(gga(clock, 30.0 + 0.001 * second), "gps", at(100.0 + second))
        pose = navigation.pose(ON_BOARD, 100.9 + second, 10.0)
        assert abs(pose.latitude_deg - 54.5) * 60 < 0.006
    assert pose.latitude_deg == pytest.approx(54.5 + 0.0039 / 60, abs=1e-9)


def test_the_first_of_two_antennas_counts_until_it_is_silent() -> None:
    navigation = Navigation()
    navigation.expect(["bow", "stern"])
    for second in range(20):
        if second < 10:
            navigation.take(gga(f"1200{second:02d}.00", 30.0), "bow", at(100.0 + second))
        navigation.take(gga(f"1200{second:02d}.50", 31.0), "stern", at(100.5 + second))
        pose = navigation.pose(ON_BOARD, 100.6 + second, 10.0)
        told = navigation.describe(100.6 + second)
        expected = ("bow", 54.5) if second < 12 else ("stern", 54.0 + 31.0 / 60)
        assert (told["position_deg"]["source"], pose.latitude_deg) == (expected[0], pytest.approx(expected[1]))
    assert told["instruments"]["bow"]["age_s"] == pytest.approx(10.6)
    assert told["instruments"]["stern"]["age_s"] == pytest.approx(0.1)


def test_what_is_no_instrument_any_more_is_forgotten() -> None:
    navigation = Navigation()
    navigation.take(gga("120000.00", 30.0), "bow", at(100.0))
    navigation.expect(["stern"])
    assert navigation.pose(ON_BOARD, 100.0, 10.0) is None


def test_the_clock_goes_on_over_the_new_year() -> None:
    navigation = Navigation()
    new_year_s = 1_798_761_600  # by `date -u -d 2027-01-01 +%s`
    for second, (clock, date) in enumerate((("235959", "311226"), ("000000", "010127"), ("000001.0", "010127"))):
        line = f"$GPRMC,{clock},A,5430.0,N,01000.0,E,0,0,{date},,".encode()
        navigation.take(line, "gps", Arrival(new_year_s - 1 + second + 0.2, 100.0 + second))
        assert navigation.describe(100.0 + second)["clock_offset_s"]["value"] == pytest.approx(0.2)


def test_a_time_without_a_date_says_nothing_of_the_clock() -> None:
    navigation = Navigation()
    navigation.take(gga("120000.00", 30.0), "gps", at(100.0))
    told = navigation.describe(101.0)
    assert told["clock_offset_s"] is None
    assert told["position_deg"]["age_s"] == 1.0
