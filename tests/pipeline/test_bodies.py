"""One track for each animal, however long, and as many tracks as animals."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from nims_appliance.frame import Frame
from nims_appliance.pipeline.measurement import polar
from nims_appliance.pipeline.results import DETECTION, TrackState
from nims_appliance.pipeline.tracker import make_tracker
from nims_appliance.settings import SonarSettings, TrackerSettings

RANGE_SD_M, BEARING_SD_RAD = 0.04, 0.004


def frame(time_s: float) -> Frame:
    return Frame(
        intensity=np.ones((100, 60), np.float32), unit="W", range_m=np.linspace(0.5, 50, 100),
        bearing_rad=np.linspace(-1, 1, 60), time_s=time_s, ping_number=1, sound_speed_m_s=1500.0, frequency_hz=1e5,
        pulse_length_s=1e-4, ping_interval_s=0.1, beam_width_rad=0.03, range_resolution_m=0.1,
    )  # fmt: skip


def echoes(places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    out = np.zeros(len(places), DETECTION)
    range_m, bearing_rad, _ = polar(places)
    out["range_m"] = range_m + rng.normal(0, RANGE_SD_M, len(out))
    out["bearing_rad"] = bearing_rad + rng.normal(0, BEARING_SD_RAD, len(out))
    out["range_sd_m"], out["bearing_sd_rad"] = RANGE_SD_M, BEARING_SD_RAD
    out["exceedance"], out["snr_db"], out["peak"] = rng.gamma(2, 8, len(out)) + 3, 14.0, 25.0
    out["length_m"] = out["width_m"] = 0.1
    out["area_m2"], out["elevation_rad"], out["ts_db"] = 0.02, math.nan, math.nan
    return out


def track(animals, *, seconds: float = 12.0, share_seen: float = 0.85, seed: int = 1, **tracker):
    """Follow animals, each a function of time to places of echoes; return the tracks of each ping, and the ended."""
    follow = make_tracker(
        SonarSettings(profile="test", link="file:///test", tracker=msgspec.convert(tracker, TrackerSettings))
    )
    rng = np.random.default_rng(seed)
    live: list[list[TrackState]] = []
    ended = []
    for time_s in np.arange(0, seconds, 0.1):
        places = np.concatenate([animal(time_s) for animal in animals])
        found = echoes(places[rng.random(len(places)) < share_seen], rng)
        tracks, over = follow.update(frame(1e9 + time_s), found)
        live.append(tracks)
        ended += over
    return live, ended + follow.finish()


def body(start, velocity, length_m: float = 0.0):
    """Return an animal of four echoes along the way that it swims, or of one."""
    start, velocity = np.array(start, float), np.array(velocity, float)
    along = velocity / np.hypot(*velocity)
    parts = np.linspace(-0.5, 0.5, 4) * length_m if length_m else np.zeros(1)
    return lambda time_s: start + velocity * time_s + parts[:, None] * along


def ids(live: list[list[TrackState]]) -> set[int]:
    return {state.id for tracks in live for state in tracks}


@pytest.mark.parametrize("velocity", [(0.1, 0.6), (0.6, 0.1)])
@pytest.mark.parametrize("length_m", [0.8, 1.5])
def test_long_body_becomes_one_track_at_its_middle(velocity, length_m):
    live, ended = track([body((0, 15), velocity, length_m)])
    settled = live[50:]
    assert {len(tracks) for tracks in settled} == {1}
    assert len(ids(settled)) == 1
    middles = np.array([np.array((0, 15)) + np.array(velocity) * 0.1 * i for i in range(50, len(live))])
    found = np.array([tracks[0].position_m[:2] for tracks in settled])
    assert np.hypot(*(found - middles).T).mean() < 0.2 * length_m
    assert [summary.id for summary in ended] == list(ids(settled))


def test_without_a_body_every_echo_is_an_animal():
    live, _ = track([body((0, 15), (0.1, 0.6), 1.5)], max_body_m=0.0)
    assert len(live[-1]) == 4


@pytest.mark.parametrize("length_m", [0.0, 0.8])
def test_animals_side_by_side_farther_apart_than_a_body_stay_two(length_m):
    live, ended = track([body((-1.5, 12), (0.1, 0.6), length_m), body((1.5, 12), (0.1, 0.6), length_m)])
    assert {len(tracks) for tracks in live[50:]} == {2}
    assert len(ids(live[50:])) == 2
    assert ids(live[50:]) <= {summary.id for summary in ended}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_animals_that_cross_stay_two(seed):
    paths = [body((-3, 15), (0.6, 0.2)), body((3, 15.3), (-0.6, 0.2))]
    live, ended = track(paths, seconds=10.0, seed=seed)
    assert len(ended) == 2
    for path in paths:
        nearest = [
            min(live[i], key=lambda t, i=i, path=path: math.dist(t.position_m[:2], path(0.1 * i)[0])).id
            for i in (15, 99)
        ]
        assert nearest[0] == nearest[1]


def test_animal_that_comes_beside_another_stays_its_own():
    live, ended = track(
        [body((0, 12), (0.3, 0.3)), lambda t: np.array([[0.3 * t + 5 - min(0.8 * t, 4.0), 12 + 0.3 * t]])]
    )
    assert len(ended) == 2
    assert len(live[-1]) == 2


def test_point_far_from_a_body_is_an_animal_of_its_own():
    lone = body((8, 30), (0.4, 0.0))
    live, _ = track([body((0, 15), (0.1, 0.6), 1.5), lone])
    assert len(live[-1]) == 2
    assert min(math.dist(t.position_m[:2], lone(11.9)[0]) for t in live[-1]) < 0.3
