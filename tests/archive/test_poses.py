"""Poses: what is kept of a vessel's way tells where it was at any moment; truth is computed on a sphere, by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import trio

from nims_appliance.archive import PoseLookup
from nims_appliance.archive.poses import PoseRow, PoseTrail, forget_poses, insert_poses, pose_at
from nims_appliance.archive.schema import connect
from nims_appliance.frame import Pose
from nims_appliance.pipeline.results import DETECTION, PingResult

METRE_DEG = 1 / 111_195.0
"""A metre of a great circle of a sphere of 6371 km."""


def on_a_circle(time_s: float) -> Pose:
    """A vessel that turns to starboard at 6 degrees a second, 3 m/s: a circle of 28.6 m around (60, 20)."""
    turned = math.radians(6.0) * time_s
    radius_m = 3.0 / math.radians(6.0)
    north_m, east_m = radius_m * math.sin(turned), -radius_m * math.cos(turned)
    east_deg = east_m * METRE_DEG / math.cos(math.radians(60.0))
    return Pose(60.0 + north_m * METRE_DEG, 20.0 + east_deg, heading_rad=turned % math.tau)


def kept_of(poses: list[tuple[float, Pose | None]]) -> list[PoseRow]:
    trail, kept = PoseTrail(), []
    for time_s, pose in poses:
        kept += trail.add(time_s, pose)
    return kept + trail.flush()


def test_a_turning_vessel_is_told_within_the_tolerances_from_few_poses() -> None:
    moments = np.arange(0.0, 120.0, 0.1)
    kept = kept_of([(moment, on_a_circle(moment)) for moment in moments])
    assert len(kept) < len(moments) / 5
    for moment in moments:
        pose, truth = pose_at(kept, moment), on_a_circle(moment)
        assert pose is not None
        assert abs(pose.latitude_deg - truth.latitude_deg) < 0.3 * METRE_DEG
        assert abs(pose.longitude_deg - truth.longitude_deg) < 0.6 * METRE_DEG
        off = (pose.heading_rad - truth.heading_rad + math.pi) % math.tau - math.pi
        assert abs(math.degrees(off)) < 0.45


def test_what_lies_still_is_kept_every_ten_minutes() -> None:
    here = Pose(54.0, 10.0, heading_rad=1.0)
    kept = kept_of([(float(moment), here) for moment in range(0, 3601)])
    assert 6 <= len(kept) <= 8
    for moment in (0.0, 599.0, 1234.5, 3600.0):
        assert repr(pose_at(kept, moment)) == repr(here)


def test_nothing_is_said_of_times_without_a_pose() -> None:
    here = Pose(54.0, 10.0, heading_rad=1.0)
    assert kept_of([(1.0, None), (2.0, None)]) == []
    kept = kept_of([(0.0, None), (10.0, here), (11.0, here), (12.0, None), (20.0, None), (30.0, here)])
    assert pose_at(kept, 9.9) is None
    assert pose_at(kept, 11.5) is not None
    assert pose_at(kept, 12.0) is None
    assert pose_at(kept, 25.0) is None
    assert pose_at(kept, 30.0) is not None
    assert pose_at(kept, 30.0 + 1300.0) is None  # the appliance did not run, as far as is known
    # a day later elsewhere: the way between is not known
    kept = kept_of([(0.0, here), (86400.0, Pose(55.0, 10.0, heading_rad=1.0))])
    assert pose_at(kept, 43200.0) is None
    assert pose_at(kept, 86400.0).latitude_deg == 55.0


def test_a_heading_that_comes_later_does_not_reach_back() -> None:
    kept = kept_of([(0.0, Pose(54.0, 10.0)), (10.0, Pose(54.0, 10.0, heading_rad=2.0))])
    assert math.isnan(pose_at(kept, 9.0).heading_rad)
    assert pose_at(kept, 10.0).heading_rad == pytest.approx(2.0)


@pytest.mark.parametrize(("before_deg", "after_deg"), [(359.0, 1.0), (1.0, 359.0)])
def test_lines_go_the_short_way_round(before_deg: float, after_deg: float) -> None:
    rows = [PoseRow(0.0, 0.0, 179.999, before_deg), PoseRow(1.0, 0.0, -179.999, after_deg)]
    pose = pose_at(rows, 0.5)
    assert abs(pose.longitude_deg) == pytest.approx(180.0)
    assert math.cos(pose.heading_rad) == pytest.approx(1.0)


def test_a_tilt_that_is_set_begins_a_new_line() -> None:
    kept = kept_of(
        [(0.0, Pose(54.0, 10.0)), (10.0, Pose(54.0, 10.0, tilt_rad=1.5)), (20.0, Pose(54.0, 10.0, tilt_rad=1.5))]
    )
    assert [pose_at(kept, moment).tilt_rad for moment in (9.0, 10.0, 15.0)] == pytest.approx([0.0, 1.5, 1.5])


def test_a_clock_that_steps_back_begins_a_new_line() -> None:
    kept = kept_of([(100.0 + moment, on_a_circle(moment)) for moment in range(10)] + [(50.0, on_a_circle(0.0))])
    assert kept[-1].time_s == 50.0


def result(time_s: float, pose: Pose | None, *ended) -> PingResult:
    return PingResult("pen", 1, 1, time_s, 0.0, 0.0, "", np.zeros(0, DETECTION), (), ended, pose=pose)


async def test_poses_are_written_with_the_tracks_that_need_them(tmp_path: Path, make_running, make_track) -> None:
    running = make_running(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.archive.run, running.results, running.metrics)
        for moment in np.arange(0.0, 10.0, 0.1):
            running.results.publish(result(1.7e9 + moment, on_a_circle(moment)))
        running.results.publish(result(1.7e9 + 10.0, on_a_circle(10.0), make_track(1)))
        await running.until_written(1)
        # asked while it runs: the way up to the track's end is there
        lookup = PoseLookup(running.archive.reader)
        for moment in (0.0, 3.3, 9.95, 10.0):
            pose, truth = lookup("pen", 1.7e9 + moment), on_a_circle(moment)
            assert pose.latitude_deg == pytest.approx(truth.latitude_deg, abs=0.3 * METRE_DEG)
        assert lookup("gate", 1.7e9) is None
        running.close()


def test_old_poses_go_but_those_that_younger_tracks_need(tmp_path: Path) -> None:
    database = connect(tmp_path / "nims.sqlite3")
    with database:
        rows = [(sonar, PoseRow(600.0 * n, 1.0, 2.0, 3.0)) for sonar in ("a", "b") for n in range(100)]
        insert_poses(database, rows)
        assert forget_poses(database, 30_000.0, 10) == 20
        while forget_poses(database, 30_000.0, 10):
            pass
        left = database.execute("SELECT sonar, MIN(time_s), COUNT(*) FROM poses GROUP BY sonar").fetchall()
    database.close()
    assert left == [("a", 28_800.0, 52), ("b", 28_800.0, 52)]
