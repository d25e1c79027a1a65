"""Sentences that are sent, and positions on the map, against values from elsewhere."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from nims_appliance.frame import Arrival, Frame, Pose
from nims_appliance.navigation import nmea
from nims_appliance.navigation.fixes import Navigation, completed, locate
from nims_appliance.settings import LocationSettings

WHEN = Arrival(1.7e9, 100.0)
FROM_INSTRUMENTS = LocationSettings(source="navigation", axis_deg=90.0)


def test_a_target_in_polar_coordinates() -> None:
    sentence = nmea.target_ttm(
        7,
        distance_m=21.0,
        bearing_deg=318.4,
        speed_m_s=2.9 / 3.6,
        course_deg=141.0,
        name="fish",
        true=True,
        lost=False,
        time_s=1_795_264_519.0 - 1_795_264_519.0 % 86400 + 12 * 3600 + 35 * 60 + 19,
    )
    assert sentence == b"$NMTTM,07,0.021,318.4,T,2.9,141.0,T,,,K,fish,T,,123519.00,A*0E\r\n"


def test_a_target_on_the_map() -> None:
    sentence = nmea.target_tll(
        7,
        latitude_deg=48 + 7.0512 / 60,
        longitude_deg=11 + 31.0104 / 60,
        name="fish",
        lost=False,
        time_s=12 * 3600 + 35 * 60 + 19,
    )
    assert sentence == b"$NMTLL,07,4807.0512,N,01131.0104,E,fish,123519.00,T,*2E\r\n"
    south_west = nmea.target_tll(0, latitude_deg=-0.9999999, longitude_deg=-9.5, name="", lost=True, time_s=0.0)
    assert b",0100.0000,S,00930.0000,W,,000000.00,L," in south_west


@pytest.mark.parametrize("body", [b"GPZDA,123519.00,21,11,2026,00,00*6E", b"GPHDT,318.4,T*3B"])
def test_checksums_of_others(body: bytes) -> None:
    text, _, told = body.partition(b"*")
    assert nmea.checksum(text) == int(told, 16)
    assert nmea.is_sentence(b"$" + body + b"\r\n")
    assert not nmea.is_sentence(b"$" + body[:-1] + b"0")


def test_the_time_of_a_clock() -> None:
    noon_s = 1_795_264_519  # by `date -u -d 2026-11-21T12:35:19 +%s`
    assert nmea.time_utc_s(b"$GPZDA,123519.00,21,11,2026,00,00*6E") == noon_s
    assert nmea.time_utc_s(b"$GPRMC,123519.5,A,4807.038,N,01131.000,E,022.4,084.4,211126,003.1,W") == noon_s + 0.5
    for bad in (
        b"$GPZDA,243519,21,11,2026,00,00",
        b"$GPZDA,,21,11,2026,,",
        b"$GPZDA,123519,41,11,2026,,",
        b"$GPRMC,1,V",
    ):
        assert nmea.time_utc_s(bad) is None


def test_a_sentence_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="82"):
        nmea.encode("NMTTM", "x" * 80)


@pytest.mark.parametrize(
    ("pose", "x_m", "y_m", "expected"),
    [
        # by hand: a minute of arc of the meridian at 45 degrees is 1852.2 m, of the parallel there 1314.2 m
        (Pose(45.0, 7.0, heading_rad=0.0), 0.0, 1852.2, (45 + 1 / 60, 7.0)),
        (Pose(45.0, 7.0, heading_rad=math.pi / 2), 0.0, 1314.2, (45.0, 7 + 1 / 60)),
        (Pose(45.0, 7.0, heading_rad=0.0), 1314.2, 0.0, (45.0, 7 + 1 / 60)),
        (Pose(45.0, 7.0, heading_rad=math.pi), 0.0, 1852.2, (45 - 1 / 60, 7.0)),
        (Pose(0.0, 179.9999, heading_rad=math.pi / 2), 0.0, 100.0, (0.0, -179.9992)),
    ],
)
def test_a_place_on_the_map(pose: Pose, x_m: float, y_m: float, expected: tuple[float, float]) -> None:
    assert locate(pose, x_m, y_m) == pytest.approx(expected, abs=2e-6)


def test_what_is_seen_by_a_sonar_that_looks_down_is_below_it() -> None:
    # forward is east; 2 m forward, 1 m to starboard, which is south, at a depth of 1852.2 m
    pose = Pose(45.0, 7.0, heading_rad=math.pi / 2, tilt_rad=math.pi / 2)
    expected = (45.0 - 1 / 1852.2 / 60, 7.0 + 2 / 1314.2 / 60)
    assert locate(pose, 1.0, 1852.2, 2.0) == pytest.approx(expected, abs=1e-8)
    assert locate(Pose(45.0, 7.0, tilt_rad=math.pi / 2), 1.0, 1852.2, 2.0) == (45.0, 7.0)
    slanting = Pose(45.0, 7.0, heading_rad=0.0, tilt_rad=math.radians(60.0))
    assert locate(slanting, 0.0, 2 * 1852.2, 0.0) == pytest.approx((45.0 + 1 / 60, 7.0), abs=2e-6)


def test_the_settings_say_how_an_axis_is_tilted() -> None:
    down = LocationSettings(source="navigation", tilt_deg=90.0)
    own = Pose(50.0, 5.0, pitch_rad=0.1)
    pose = completed(told(own), Navigation().pose(down, 0.0, 10.0))
    assert (pose.latitude_deg, pose.pitch_rad, math.degrees(pose.tilt_rad)) == (50.0, 0.1, 90.0)


def test_without_a_pose_there_is_no_place() -> None:
    assert locate(None, 1.0, 1.0) is None
    assert locate(Pose(45.0, 7.0), 1.0, 1.0) is None


def test_what_instruments_tell_has_an_age() -> None:
    navigation = Navigation()
    assert navigation.pose(FROM_INSTRUMENTS, 100.0, 10.0) is None
    navigation.take(b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47", "udp://:10110", WHEN)
    navigation.take(b"$GPHDT,318.4,T*3B", "udp://:10110", WHEN)
    navigation.take(b"$GPHDT,999.4,T*3B", "udp://:10110", WHEN)
    pose = navigation.pose(FROM_INSTRUMENTS, 105.0, 10.0)
    assert pose is not None
    assert (pose.latitude_deg, pose.longitude_deg) == pytest.approx((48.1173, 11.516667), abs=1e-6)
    assert math.degrees(pose.heading_rad) == pytest.approx(48.4)
    assert navigation.pose(FROM_INSTRUMENTS, 111.0, 10.0) is None
    told = navigation.describe(105.0)
    assert told["position_deg"]["age_s"] == 5.0
    assert told["heading_deg"]["source"] == "udp://:10110"
    assert (told["sentences"], told["not_understood"]) == (2, 1)


def told(pose: Pose | None) -> Frame:
    return SimpleNamespace(pose=pose)  # type: ignore[return-value]


def test_what_the_sonar_tells_comes_first() -> None:
    vessel = Pose(48.0, 11.0, heading_rad=1.0)
    assert completed(told(None), vessel) is vessel
    own = Pose(50.0, 5.0, depth_m=3.0, heading_rad=2.0, pitch_rad=0.0, roll_rad=0.0, heave_m=0.0)
    assert completed(told(own), vessel) == own
    assert completed(told(own), None) == own
    tilted = completed(told(Pose(pitch_rad=0.1)), vessel)
    assert tilted is not None
    assert (tilted.latitude_deg, tilted.heading_rad, tilted.pitch_rad) == (48.0, 1.0, 0.1)
    fixed = LocationSettings(source="fixed", latitude_deg=1.0, longitude_deg=2.0, axis_deg=180.0)
    # by their texts: what is not known is NaN, which equals nothing
    assert repr(Navigation().pose(fixed, 0.0, 1.0)) == repr(Pose(1.0, 2.0, heading_rad=math.pi))
