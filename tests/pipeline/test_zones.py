"""Zones: what they hold, how far they are, and that nothing is found in an ignored one."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nims_appliance.frame import Frame
from nims_appliance.pipeline.chain import Chain, make_chain
from nims_appliance.pipeline.results import DETECTION, to_xyz
from nims_appliance.pipeline.zones import Zone, Zones
from nims_appliance.settings import SonarSettings, ZoneSettings

HALF = ZoneSettings(kind="watched", min_range_m=5, max_range_m=10, min_bearing_deg=-30, max_bearing_deg=30)


def sector(**changes: object) -> Zone:
    return Zone("turbine", msgspec.convert(msgspec.to_builtins(HALF) | changes, ZoneSettings))


@pytest.mark.parametrize(
    ("place", "distance_m"),
    [
        ((0, 7, 0), 0.0),
        ((0, 5, 0), 0.0),
        ((0, 3, 0), 2.0),
        ((0, 12.5, 0), 2.5),
        # beside it: square to the edge at 30 degrees, 6 (cos 30 - sin 30)
        ((6, 6, 0), 2.196),
        # level with its corner at (5, 8.66)
        ((8, 8.6603, 0), 3.0),
        # behind: the near corners at (+-2.5, 4.33)
        ((0, -2, 0), 6.806),
        # raised out of the plane: (0, hypot(5, 3))
        ((0, 3, 3), 5 - math.hypot(3, 3)),
    ],
)
def test_distances_of_a_sector(place: tuple[float, float, float], distance_m: float) -> None:
    found = sector().distance_m(np.array([place], float))[0]
    assert found == pytest.approx(distance_m, abs=1e-3)


def _nearest(place: tuple[float, float, float], zone: ZoneSettings = HALF) -> float:
    """The distance as a dense grid of the zone gives it."""
    r = np.linspace(zone.min_range_m, zone.max_range_m, 200)[:, None]
    b = np.radians(np.linspace(zone.min_bearing_deg, zone.max_bearing_deg, 1500))[None]
    x, y = r * np.sin(b), r * np.cos(b)
    flat_y = math.copysign(math.hypot(place[1], place[2]), place[1])
    return float(np.hypot(x - place[0], y - flat_y).min())


@given(
    st.tuples(*[st.floats(-30, 30)] * 2),
    st.tuples(st.floats(0, 15), st.floats(0.1, 10)),
    st.tuples(st.floats(-180, 170), st.floats(1, 350)),
)
def test_distances_agree_with_a_dense_grid(place, ranges, bearings) -> None:
    zone = ZoneSettings(
        kind="watched",
        min_range_m=ranges[0],
        max_range_m=ranges[0] + ranges[1],
        min_bearing_deg=bearings[0],
        max_bearing_deg=min(bearings[0] + bearings[1], 180.0),
    )
    where = (*place, 0.0)
    (found,) = Zone("z", zone).distance_m(np.array([where]))
    # the grid's points are 25 m * 350 degrees / 2000 apart at most
    assert found == pytest.approx(_nearest(where, zone), abs=0.06)


@given(st.floats(0.5, 30), st.floats(-1.5, 1.5), st.floats(-0.7, 0.7))
def test_a_place_is_inside_exactly_where_its_range_and_bearing_are(range_m, bearing_rad, elevation_rad) -> None:
    if math.sin(bearing_rad) ** 2 + math.sin(elevation_rad) ** 2 > 0.99:
        return
    place = np.array([to_xyz(range_m, bearing_rad, elevation_rad)])
    assert bool(sector().holds(range_m, bearing_rad)) == (5 <= range_m <= 10 and abs(bearing_rad) <= math.radians(30))
    inside = sector().distance_m(place)[0] < 1e-9
    near_edge = min(abs(range_m - 5), abs(range_m - 10), abs(abs(bearing_rad) - math.radians(30))) < 1e-6
    assert near_edge or inside == bool(sector().holds(range_m, bearing_rad))


class FixedDetector:
    """Finds the same in every ping."""

    def __init__(self, detections: np.ndarray) -> None:
        self._detections = detections

    def detect(self, frame: Frame) -> np.ndarray:
        return self._detections

    def notes(self) -> list[str]:
        return []


class RecordingTracker:
    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def update(self, frame: Frame, detections: np.ndarray):
        self.seen.append(detections)
        return [], []

    def finish(self):
        return []


def test_nothing_of_an_ignored_zone_reaches_the_tracker_whatever_the_detector(make_scene) -> None:
    found = np.zeros(4, DETECTION)
    found["range_m"] = [7, 7, 12, 7]
    found["bearing_rad"] = [0.0, 1.0, 0.0, math.radians(30)]
    found["candidate"] = [0, 1, 1, 0]
    ignored = msgspec.structs.replace(HALF, kind="ignored")
    tracker = RecordingTracker()
    chain = Chain(FixedDetector(found), tracker, Zones({"rocks": ignored, "gate": HALF}))
    (frame,) = make_scene().frames(1)
    result = chain.process(frame)
    assert tracker.seen[0]["bearing_rad"].tolist() == [1.0, 0.0]
    assert len(result.detections) == 0, "the others are only candidates"


@pytest.mark.parametrize("method", ["adaptive", "legacy"])
def test_a_busy_ignored_zone_leaves_the_places_of_others_in_the_count(make_scene, method: str) -> None:
    def run(zones: dict) -> tuple[int, int]:
        settings = {
            "profile": "test",
            "link": "file:///test",
            "zones": zones,
            "detector": {"method": method, "max_detections": 3, "background_s": 3.0, "false_alarms_per_ping": 0.01},
        }
        chain = make_chain(msgspec.convert(settings, SonarSettings))
        # six strong echoes come and go on the left, a weaker one on the right
        busy = [(lambda t, y=y: (-3.0, y) if t > 4 and int(t * 10) % 3 else None, 30.0) for y in range(4, 16, 2)]
        animal = (lambda t: (2.0, 8.0 + 0.5 * (t - 4)) if t > 4 else None, 22.0)
        left = right = 0
        for frame in make_scene(targets=(*busy, animal)).frames(60):
            for detection in chain.process(frame).detections:
                left += detection["bearing_rad"] < -0.05
                right += 0.05 < detection["bearing_rad"] < 0.4
        return left, right

    left, right = run({"kelp": {"kind": "ignored", "max_bearing_deg": 0.0}})
    assert left == 0
    assert right > 12
    assert run({})[0] > 20, "without the zone they are found"
    assert run({})[1] < right, "and take the weaker one's place"


def test_zones_without_any_ignored_one_change_nothing() -> None:
    found = np.zeros(2, DETECTION)
    assert Zones({"gate": HALF}).without_ignored(found) is found


def test_a_zone_that_is_switched_off_is_as_if_it_were_not_there() -> None:
    off = msgspec.structs.replace(HALF, enabled=False)
    ignored = msgspec.structs.replace(HALF, kind="ignored")
    assert Zones({"gate": off}).watched == ()
    assert Zones({"kelp": ignored}).ignores(np.array([5.0]), np.array([-0.5])).all()
    assert (
        not Zones({"kelp": msgspec.structs.replace(ignored, enabled=False)})
        .ignores(np.array([5.0]), np.array([-0.5]))
        .any()
    )
