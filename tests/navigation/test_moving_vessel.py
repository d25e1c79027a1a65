"""A vessel that moves and turns past a buoy: its instruments speak, its sonar sees the buoy, and every output has it
where it is.

Truth is computed apart from the code under test: the buoy and the vessel are points of the ellipsoid in Cartesian
coordinates (EPSG 4978), and what the sonar sees is the difference of the two, turned into the vessel's axes.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import trio
from click.testing import CliRunner
from nims_nmea.publisher import NmeaSettings, Targets

from nims_appliance.archive import Archive
from nims_appliance.bus import Bus
from nims_appliance.cli import nims
from nims_appliance.frame import Arrival, Pose
from nims_appliance.health import Part
from nims_appliance.navigation.fixes import Navigation
from nims_appliance.navigation.nmea import checksum
from nims_appliance.outputs.track_message import describe_result
from nims_appliance.pipeline.results import DETECTION, PingResult, TrackState, TrackSummary
from nims_appliance.settings import LocationSettings

BUOY = 59.9, 10.7
STARBOARD = LocationSettings(source="navigation", axis_deg=90.0)
NOON_S = 1_795_262_400  # by `date -u -d 2026-11-21T12:00:00 +%s`
RATE_HZ, DURATION_S = 10, 60
NEAR_M = 0.25
"""A compass that tells its heading twice a second while the vessel turns by 3 degrees a second, at 40 m."""


def cartesian(latitude_deg: float, longitude_deg: float) -> np.ndarray:
    a, b = 6378137.0, 6356752.314245
    lat, lon = math.radians(latitude_deg), math.radians(longitude_deg)
    n = a * a / math.hypot(a * math.cos(lat), b * math.sin(lat))
    return np.array(
        [n * math.cos(lat) * math.cos(lon), n * math.cos(lat) * math.sin(lon), b * b / a / a * n * math.sin(lat)]
    )


def east_north(latitude_deg: float, longitude_deg: float) -> np.ndarray:
    """Unit vectors to the east and to the north."""
    lat, lon = math.radians(latitude_deg), math.radians(longitude_deg)
    return np.array(
        [
            [-math.sin(lon), math.cos(lon), 0.0],
            [-math.sin(lat) * math.cos(lon), -math.sin(lat) * math.sin(lon), math.cos(lat)],
        ]
    )


def vessel(elapsed_s: float) -> tuple[float, float, float]:
    """Latitude, longitude and heading in degrees: 2 m/s, turning to starboard at 3 degrees a second around the buoy."""
    heading_deg = 3.0 * elapsed_s
    # the circle has a radius of 38.2 m, and the buoy is in its middle: it stays abeam to starboard
    radius_m = 2.0 / math.radians(3.0)
    away = math.radians(heading_deg - 90.0)
    north_m, east_m = radius_m * math.cos(away), radius_m * math.sin(away)
    return BUOY[0] + north_m / 111_404.0, BUOY[1] + east_m / 55_971.0, heading_deg % 360.0


def seen(elapsed_s: float) -> tuple[float, float]:
    """The buoy in the coordinates of a sonar that looks to starboard: x to the right of its axis, y along it."""
    latitude_deg, longitude_deg, heading_deg = vessel(elapsed_s)
    offset = cartesian(*BUOY) - cartesian(latitude_deg, longitude_deg)
    east_m, north_m = east_north(latitude_deg, longitude_deg) @ offset
    axis = math.radians(heading_deg + 90.0)
    return (
        east_m * math.cos(axis) - north_m * math.sin(axis),
        east_m * math.sin(axis) + north_m * math.cos(axis),
    )


def metres_off(latitude_deg: float, longitude_deg: float) -> float:
    return float(np.linalg.norm(cartesian(latitude_deg, longitude_deg) - cartesian(*BUOY)))


def sentence(body: str) -> bytes:
    return b"$%b*%02X" % (body.encode(), checksum(body.encode()))


def instruments(navigation: Navigation, tick: int) -> None:
    """What GPS (once a second) and compass (twice) say at a tenth of a second."""
    elapsed_s = tick / RATE_HZ
    arrival = Arrival(NOON_S + elapsed_s, 5000.0 + elapsed_s)
    latitude_deg, longitude_deg, heading_deg = vessel(elapsed_s)
    if tick % RATE_HZ == 0:
        north = f"{int(latitude_deg):02d}{latitude_deg % 1 * 60:08.5f},N"
        east = f"{int(longitude_deg):03d}{longitude_deg % 1 * 60:08.5f},E"
        navigation.take(sentence(f"GPGGA,1200{elapsed_s:05.2f},{north},{east},1,08,0.9,0,M,0,M,,"), "gps", arrival)
    if tick % 5 == 0:
        navigation.take(sentence(f"HEHDT,{heading_deg:.1f},T"), "compass", arrival)


def track_at(elapsed_s: float) -> TrackState:
    x_m, y_m = seen(elapsed_s)
    values = dict.fromkeys((field.name for field in dataclasses.fields(TrackState)), 0.0)
    values |= {"id": 7, "state": "confirmed", "position_m": (x_m, y_m, 0.0), "velocity_m_s": (0.0, 0.0, 0.0)}
    return TrackState(**values | {"calibrated": False, "channel": "", "zones": (), "covariance": (), "label": ""})


def pings() -> list[PingResult]:
    """Every ping of the passage, with the pose that the appliance gives it; the last one ends the track."""
    navigation, results, positions = Navigation(), [], []
    for tick in range(RATE_HZ * DURATION_S):
        elapsed_s = tick / RATE_HZ
        instruments(navigation, tick)
        pose = navigation.pose(STARBOARD, 5000.03 + elapsed_s, 10.0)
        positions.append((NOON_S + elapsed_s, *seen(elapsed_s), 0.0))
        values = ("pen", tick, tick, NOON_S + elapsed_s, NOON_S + elapsed_s, 5000.0 + elapsed_s, "")
        results.append(PingResult(*values, np.zeros(0, DETECTION), (track_at(elapsed_s),), (), pose=pose))
    summary = {field.name: 0.0 for field in dataclasses.fields(TrackSummary)}
    summary |= {"id": 7, "first_time_s": positions[20][0], "last_time_s": positions[-1][0], "channel": "", "label": ""}
    ended = TrackSummary(**summary | {"positions": tuple(positions[20:]), "zones": (), "calibrated": False})
    last = dataclasses.replace(results[-1], time_s=NOON_S + DURATION_S, tracks=(), ended=(ended,))
    return [*results, last]


def test_live_messages_have_the_buoy_where_it_is() -> None:
    off_m = [
        metres_off(track["latitude_deg"], track["longitude_deg"])
        for result in pings()[20:]
        for track in describe_result(result)["tracks"]
    ]
    assert len(off_m) == RATE_HZ * DURATION_S - 20
    assert max(off_m) < NEAR_M


def test_plotters_are_told_where_the_buoy_is() -> None:
    told = [line for result in pings()[20:] for line in Targets().sentences(result, NmeaSettings(ttm=False), 90.0)]
    assert len(told) == RATE_HZ * DURATION_S - 20
    for line in told:
        _, _, latitude, _, longitude, *_ = line.decode().split(",")
        place = int(latitude[:2]) + float(latitude[2:]) / 60, int(longitude[:3]) + float(longitude[3:]) / 60
        assert metres_off(*place) < NEAR_M + 0.2  # a ten-thousandth of a minute


async def archived(data: Path) -> None:
    results, metrics = Bus("results"), Bus("metrics")
    archive = Archive(data, Part("archive"))
    async with trio.open_nursery() as nursery:
        await nursery.start(archive.run, results, metrics)
        for result in pings():
            results.publish(result)
            await trio.lowlevel.checkpoint()
        results.close()
        metrics.close()


@pytest.mark.parametrize("settings", ["navigation", "fixed, latitude_deg: 1, longitude_deg: 2"])
async def test_exports_have_it_there_too_whatever_the_settings_are_now(tmp_path: Path, settings: str) -> None:
    await archived(tmp_path)
    place = f"location: {{source: {settings}, axis_deg: 90}}"
    config = f"sonars: {{pen: {{profile: kongsberg-m3, link: 'tcp://h:1', {place}}}}}"
    (tmp_path / "config.yaml").write_text(config)
    for name in ("out.geojson", "out.csv", "out.jsonl"):
        arguments = ["export", "tracks", "--data", str(tmp_path), "-o", str(tmp_path / name)]
        assert CliRunner().invoke(nims, arguments, catch_exceptions=False).exit_code == 0
    (feature,) = json.loads((tmp_path / "out.geojson").read_text())["features"]
    points = feature["geometry"]["coordinates"]
    assert len(points) == RATE_HZ * DURATION_S - 20
    assert max(metres_off(latitude, longitude) for longitude, latitude in points) < NEAR_M + 0.3
    (line,) = (tmp_path / "out.jsonl").read_text().splitlines()
    off_m = [metres_off(p["latitude_deg"], p["longitude_deg"]) for p in json.loads(line)["positions"]]
    assert max(off_m) < NEAR_M + 0.3
    header, row = (text.split(",") for text in (tmp_path / "out.csv").read_text().splitlines())
    told = dict(zip(header, row, strict=True))
    for which in ("first", "last"):
        assert metres_off(float(told[f"{which}_latitude_deg"]), float(told[f"{which}_longitude_deg"])) < NEAR_M + 0.3


def test_the_pose_is_none_before_instruments_have_spoken() -> None:
    assert Navigation().pose(STARBOARD, 5000.0, 10.0) is None
    navigation = Navigation()
    navigation.take(sentence("HEHDT,10.0,T"), "compass", Arrival(NOON_S, 5000.0))
    pose = navigation.pose(STARBOARD, 5000.0, 10.0)
    assert isinstance(pose, Pose)
    assert math.isnan(pose.latitude_deg)
    assert math.degrees(pose.heading_rad) == pytest.approx(100.0)
