"""The tracker on detections that the tests make, and on whole scenes."""

from __future__ import annotations

import dataclasses
import math

import msgspec
import numpy as np
import pytest
from nims_ext.measure import places

from nims_appliance.frame import Frame
from nims_appliance.pipeline.chain import make_chain
from nims_appliance.pipeline.describe import smooth
from nims_appliance.pipeline.measurement import polar
from nims_appliance.pipeline.results import DETECTION, to_xyz
from nims_appliance.pipeline.strength import SHARES, odds, seen
from nims_appliance.pipeline.tracker import make_tracker
from nims_appliance.settings import SonarSettings, TrackerSettings


def settings_with(**tracker: object) -> SonarSettings:
    return SonarSettings(profile="test", link="file:///test", tracker=msgspec.convert(tracker, TrackerSettings))


def empty_frame(time_s: float, split_beam: bool = False) -> Frame:
    samples, beams = 100, 1 if split_beam else 60
    angle = np.zeros(samples, np.float32) if split_beam else None
    return Frame(
        intensity=np.ones((samples, beams), np.float32), unit="W", range_m=np.linspace(0.5, 50, samples),
        bearing_rad=np.linspace(-1, 1, beams) if beams > 1 else np.zeros(1), time_s=time_s, ping_number=1,
        sound_speed_m_s=1500.0, frequency_hz=1e5, pulse_length_s=1e-4, ping_interval_s=0.1, beam_width_rad=0.03,
        range_resolution_m=0.1, along_rad=angle, athwart_rad=angle,
    )  # fmt: skip


def detections(*xyz: tuple[float, ...], exceedance: float = 16.0) -> np.ndarray:
    out = np.zeros(len(xyz), DETECTION)
    for row, place in zip(out, xyz, strict=True):
        x, y, z = (*place, 0.0)[:3]
        row["range_m"], row["bearing_rad"] = math.hypot(x, y, z), math.asin(x / math.hypot(x, y, z))
        row["elevation_rad"] = math.asin(z / math.hypot(x, y, z)) if len(place) == 3 else math.nan
    out["range_sd_m"], out["bearing_sd_rad"] = 0.05, 0.01
    out["elevation_sd_rad"] = 0.01
    out["exceedance"], out["snr_db"], out["peak"] = exceedance, 12.0, 16.0
    out["length_m"] = out["width_m"] = 0.1
    out["area_m2"], out["ts_db"] = 0.02, math.nan
    return out


def swim(tracker, path, times, rng=None, split_beam=False, exceedance=16.0):
    """Feed the path; return for each ping the tracks, and all that ended."""
    live, ended = [], []
    for time_s in times:
        place = path(time_s)
        found = detections(*([place] if place is not None else []), exceedance=exceedance)
        if rng is not None and len(found):
            found["range_m"] += rng.normal(0, 0.05, len(found))
            found["bearing_rad"] += rng.normal(0, 0.01, len(found))
        tracks, over = tracker.update(empty_frame(1e9 + time_s, split_beam), found)
        live.append(tracks)
        ended += over
    return live, ended


def steps(count: int, rate_hz: float = 10.0, first: float = 0.0) -> list[float]:
    return [first + n / rate_hz for n in range(count)]


@pytest.mark.parametrize("rate_hz", [5.0, 10.0, 40.0])
def test_an_animal_becomes_one_track_with_its_place_and_speed(rate_hz: float) -> None:
    tracker = make_tracker(settings_with())
    path = lambda t: (-5 + 0.8 * t, 20 + 0.5 * t)  # noqa: E731
    live, _ = swim(tracker, path, steps(int(8 * rate_hz), rate_hz), np.random.default_rng(1))
    assert len({track.id for tracks in live for track in tracks}) == 1
    (track,) = live[-1]
    t = 8 - 1 / rate_hz
    assert math.dist(track.position_m[:2], path(t)) < 0.3
    assert track.velocity_m_s[0] == pytest.approx(0.8, abs=0.15)
    assert track.velocity_m_s[1] == pytest.approx(0.5, abs=0.15)
    assert track.range_m == pytest.approx(math.hypot(*track.position_m[:2]))
    assert track.bearing_rad == pytest.approx(math.atan2(track.position_m[0], track.position_m[1]))
    radial = (track.position_m[0] * track.velocity_m_s[0] + track.position_m[1] * track.velocity_m_s[1]) / track.range_m
    assert track.range_rate_m_s == pytest.approx(radial)
    # the first message comes within a second
    assert next(n for n, tracks in enumerate(live) if tracks) <= max(4, rate_hz * 0.6)


def test_bearing_rate_is_the_derivative_of_the_bearing() -> None:
    tracker = make_tracker(settings_with())
    live, _ = swim(tracker, lambda t: (-5 + 1.0 * t, 10.0), steps(60))
    before, after = live[-2][0], live[-1][0]
    assert after.bearing_rate_rad_s == pytest.approx((after.bearing_rad - before.bearing_rad) / 0.1, rel=0.05)


def test_the_filter_is_as_sure_as_it_says() -> None:
    squares = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        path = lambda t: (-4 + 0.9 * t, 25 + 0.3 * t)  # noqa: E731
        live, _ = swim(make_tracker(settings_with()), path, steps(50), rng)
        (track,) = live[-1]
        error = np.array(track.position_m[:2]) - path(4.9)
        squares.append(error @ np.linalg.solve(np.array(track.covariance), error))
    # chi-square of two degrees of freedom has mean 2; a filter that allows for turns is a little too careful
    assert 0.8 < np.mean(squares) < 3.0


def test_coasting_through_a_fade_keeps_the_track() -> None:
    tracker = make_tracker(settings_with())
    path = lambda t: None if 5 <= t < 6.5 else (-5 + 0.8 * t, 20.0)  # noqa: E731
    live, _ = swim(tracker, path, steps(100))
    assert len({track.id for tracks in live for track in tracks}) == 1
    assert [live[n][0].state for n in (45, 55, 80)] == ["confirmed", "coasting", "confirmed"]
    assert live[60][0].position_m[0] == pytest.approx(-5 + 0.8 * 6.0, abs=0.3)


def test_a_track_ends_after_the_gap_and_is_described_up_to_its_last_sight() -> None:
    tracker = make_tracker(settings_with(max_gap_s=2.0))
    path = lambda t: (0.5 * t, 20.0) if t < 8 else None  # noqa: E731
    live, ended = swim(tracker, path, steps(130))
    assert not live[-1]
    (summary,) = ended
    assert summary.last_time_s == pytest.approx(1e9 + 7.9)
    assert summary.first_time_s == pytest.approx(1e9)
    assert summary.hits == 80
    assert summary.mean_speed_m_s == pytest.approx(0.5, abs=0.1)
    assert summary.straightness > 0.95
    assert summary.heading_rad == pytest.approx(math.pi / 2, abs=0.1)
    assert summary.net_m == pytest.approx(summary.positions[-1][1] - summary.positions[0][1], abs=0.1)
    assert tracker.finish() == []


def test_a_sharp_turn_keeps_the_track() -> None:
    tracker = make_tracker(settings_with())
    path = lambda t: (-3 + 1.2 * t, 15.0) if t < 5 else (3 - 1.0 * (t - 5), 15 + 0.6 * (t - 5))  # noqa: E731
    live, _ = swim(tracker, path, steps(100))
    assert len({track.id for tracks in live for track in tracks}) == 1
    assert math.dist(live[-1][0].position_m[:2], path(9.9)) < 0.2


@pytest.mark.parametrize("seed", range(5))
def test_noise_beside_a_turn_does_not_part_the_track(seed: int) -> None:
    def path(time_s: float) -> tuple[float, float] | None:
        if time_s < 6:
            return -7 + 0.8 * time_s, 25.0
        if time_s < 6.25:
            return None
        if time_s < 6.35:  # no echo of the animal, but where its new track begins
            return -3.1, 25.9
        return -2.2 - 0.8 * (time_s - 6), 25.0

    live, _ = swim(make_tracker(settings_with()), path, steps(100), np.random.default_rng(seed))
    assert len({track.id for tracks in live for track in tracks}) == 1


@pytest.mark.parametrize("seed", range(5))
def test_an_echo_ahead_after_a_turn_does_not_part_the_track(seed: int) -> None:
    rng, tracker, numbers = np.random.default_rng(seed), make_tracker(settings_with()), set()
    for time_s in steps(100):
        places = [(-7 + 1.2 * time_s, 25.0) if time_s < 6 else (0.2 - 1.2 * (time_s - 6), 25.0)]
        if 6.05 < time_s < 6.25:
            places.append((-7 + 1.2 * time_s, 25.0))
        found = detections(*places)
        found["range_m"] += rng.normal(0, 0.05, len(found))
        found["bearing_rad"] += rng.normal(0, 0.01, len(found))
        live, _ = tracker.update(empty_frame(1e9 + time_s), found)
        numbers |= {track.id for track in live}
    assert len(numbers) == 1


def test_nothing_swims_a_metre_between_two_pings() -> None:
    """In a school another animal's echoes begin where the first one's end; a sounder pings many times a second."""
    path = lambda t: (0.1 * t, 9.0 if t < 1 else 8.0, 0.0)  # noqa: E731
    tracker = make_tracker(settings_with(max_speed_m_s=2.0))
    live, _ = swim(tracker, path, steps(48, rate_hz=24.0), split_beam=True)
    ids = [
        {track.id for track in tracks if abs(track.range_m - path(n / 24)[1]) < 0.2} for n, tracks in enumerate(live)
    ]
    assert len(ids[23]) == len(ids[-1]) == 1
    assert ids[23] != ids[-1]


def test_two_that_cross_keep_their_numbers() -> None:
    tracker = make_tracker(settings_with())
    for t in steps(120):
        found = detections((-6 + t, 20.0), (6 - t, 20.6))
        live, _ = tracker.update(empty_frame(1e9 + t), found)
        if t == 4.0:
            before = {track.id: track.velocity_m_s[0] > 0 for track in live}
    after = {track.id: track.velocity_m_s[0] > 0 for track in live}
    assert before == after
    assert len(after) == 2


def test_numbers_are_never_used_again_and_fit_json() -> None:
    numbers = []
    for _ in range(3):
        tracker = make_tracker(settings_with())
        live, _ = swim(tracker, lambda t: (1.0, 20.0 + t), steps(20))
        numbers.append(live[-1][0].id)
    assert numbers == sorted(set(numbers))
    assert 0 < numbers[-1] < 2**53


def test_a_clock_that_steps_back_ends_the_tracks_and_goes_on() -> None:
    tracker = make_tracker(settings_with())
    path = lambda t: (0.0, 20 + 0.5 * (t % 100))  # noqa: E731
    before, _ = swim(tracker, path, steps(40, first=1000.0))
    after, ended = swim(tracker, path, steps(40))
    assert len(ended) == 1
    assert after[-1][0].id != before[-1][0].id
    assert after[-1][0].first_time_s >= 1e9
    for track in (before[-1][0], after[-1][0]):
        assert math.isfinite(track.speed_m_s)


def test_a_clock_that_stands_still_or_jitters_breaks_nothing() -> None:
    tracker = make_tracker(settings_with())
    rng = np.random.default_rng(4)
    times = [t + 0.03 * rng.normal() for t in steps(80)]
    times[20:24] = [times[20]] * 4
    live, ended = swim(tracker, lambda t: (0.0, 20 + 0.5 * t), times, rng)
    assert not ended
    assert len({track.id for tracks in live for track in tracks}) == 1
    assert live[-1][0].speed_m_s < 1.5


def test_a_clock_that_steps_forward_ends_what_is_too_old() -> None:
    tracker = make_tracker(settings_with())
    swim(tracker, lambda t: (0.0, 20 + 0.5 * t), steps(40))
    live, ended = swim(tracker, lambda t: (0.0, 20 + 0.5 * (t - 3600)), steps(40, first=3600.0))
    assert len(ended) == 1
    assert len(live[-1]) == 1


def test_missing_pings_are_bridged_by_the_right_time() -> None:
    tracker = make_tracker(settings_with())
    times = [t for t in steps(100) if round(t * 10) % 3]
    live, _ = swim(tracker, lambda t: (-5 + t, 20.0), times)
    assert len({track.id for tracks in live for track in tracks}) == 1
    assert live[-1][0].velocity_m_s[0] == pytest.approx(1.0, abs=0.05)


def test_noise_at_the_stated_rate_makes_no_tracks_and_a_flood_does_not_either() -> None:
    tracker = make_tracker(settings_with())
    rng = np.random.default_rng(7)
    for n in range(400):
        count = 1000 if n == 200 else rng.poisson(60)
        r, b = rng.uniform(1, 50, count), rng.uniform(-1, 1, count)
        found = detections(*zip(r * np.sin(b), r * np.cos(b), strict=True))
        found["exceedance"] = 5 + rng.exponential(1.0, count)
        live, _ = tracker.update(empty_frame(1e9 + n / 10), found)
        assert live == []


def test_weak_candidates_that_move_like_an_animal_become_a_track() -> None:
    tracker = make_tracker(settings_with())
    rng = np.random.default_rng(7)
    confirmed = 0
    for n in range(200):
        r, b = rng.uniform(1, 50, 60), rng.uniform(-1, 1, 60)
        places_ = list(zip(r * np.sin(b), r * np.cos(b), strict=True))
        height = list(5 + rng.exponential(1.0, 60))
        if rng.random() < 0.7:
            places_.append((-5 + 0.05 * n, 20.0))
            height.append(5 + rng.exponential(3.0))
        found = detections(*places_)
        found["exceedance"] = height
        live, _ = tracker.update(empty_frame(1e9 + n / 10), found)
        confirmed += any(math.dist(t.position_m[:2], (-5 + 0.05 * n, 20.0)) < 0.5 for t in live)
    assert confirmed > 150


def test_split_beams_are_tracked_in_three_dimensions() -> None:
    tracker = make_tracker(settings_with())
    path = lambda t: (-0.2 + 0.06 * t, 12 + 0.1 * t, 0.2 - 0.05 * t)  # noqa: E731
    live, _ = swim(tracker, path, steps(60), split_beam=True, exceedance=0.0)
    (track,) = live[-1]
    assert math.dist(track.position_m, path(5.9)) < 0.1
    assert track.velocity_m_s == pytest.approx((0.06, 0.1, -0.05), abs=0.03)
    assert np.array(track.covariance).shape == (3, 3)
    assert track.elevation_rad == pytest.approx(math.asin(path(5.9)[2] / math.hypot(*path(5.9))), abs=0.01)
    ((*_, summary),) = [tracker.finish()]
    assert summary.min_elevation_rad < summary.max_elevation_rad


def test_covariances_of_places_agree_with_a_thousand_throws() -> None:
    rng = np.random.default_rng(2)
    found = detections((12.0, 18.0), (-3.0, 9.0, 2.0))
    for axes, row in ((2, 0), (3, 1)):
        _, covariance = places(found[row : row + 1], axes)
        thrown = np.repeat(found[row : row + 1], 40_000)
        for name in ("range", "bearing", "elevation"):
            unit = "m" if name == "range" else "rad"
            thrown[f"{name}_{unit}"] += rng.normal(0, thrown[f"{name}_sd_{unit}"])
        where, _ = places(thrown, axes)
        np.testing.assert_allclose(np.cov(where.T), covariance[0], atol=0.03 * np.abs(covariance).max())


def test_polar_undoes_places() -> None:
    found = detections((12.0, 18.0, 3.0), (-3.0, 9.0, -2.0), (0.0, 5.0, 0.0))
    where, _ = places(found, 3)
    np.testing.assert_allclose(where[0], to_xyz(*(found[0][n] for n in ("range_m", "bearing_rad", "elevation_rad"))))
    range_m, bearing_rad, elevation_rad = polar(where)
    np.testing.assert_allclose(range_m, found["range_m"])
    np.testing.assert_allclose(bearing_rad, found["bearing_rad"])
    np.testing.assert_allclose(elevation_rad, found["elevation_rad"], atol=1e-12)


def test_strengths_are_probabilities() -> None:
    u = np.linspace(0.001, 9000, 2_000_000)
    noise = np.exp(-u) + 1e-3 / (1 + u) ** 2
    density = odds(u) * noise[:, None]
    np.testing.assert_allclose(density.sum(0) * (u[1] - u[0]), 1.0, atol=0.01)
    above = density[u > 9.0].sum(0) * (u[1] - u[0])
    np.testing.assert_allclose(above, seen(9.0), atol=0.01)
    assert SHARES.sum() == pytest.approx(1.0)
    assert (odds(np.array([0.0])) == 1.0).all()


def test_smoothing_is_nearer_the_truth_than_filtering() -> None:
    rng = np.random.default_rng(3)
    times = np.arange(60) * 0.1
    truth = np.stack([0.5 * times, 20 - 0.3 * times], 1)
    state, covariance, states, covariances = np.array([*truth[0], 0, 0]), np.diag([1.0, 1, 1, 1]), [], []
    move = np.eye(4) + 0.1 * np.eye(4, k=2)
    for place in truth:
        noise = 0.01 * np.block([[1e-3 / 3 * np.eye(2), 5e-3 * np.eye(2)], [5e-3 * np.eye(2), 0.1 * np.eye(2)]])
        state, covariance = move @ state, move @ covariance @ move.T + noise
        gain = covariance[:, :2] @ np.linalg.inv(covariance[:2, :2] + 0.04 * np.eye(2))
        state = state + gain @ (place + rng.normal(0, 0.2, 2) - state[:2])
        covariance = covariance - gain @ covariance[:2]
        states.append(state)
        covariances.append(covariance)
    smoothed = smooth(times, states, covariances, 0.01)
    error = lambda x: np.sqrt(((x[:, :2] - truth) ** 2).sum(1).mean())  # noqa: E731
    assert error(smoothed) < 0.7 * error(np.array(states))


def test_the_chain_finds_the_animals_of_a_scene_and_nothing_else(make_scene) -> None:
    paths = (lambda t: (-4 + 0.3 * t, 8 + 0.1 * t), lambda t: (3 - 0.2 * t, 15 - 0.3 * t))
    chain = make_chain(settings_with())
    near = 0
    numbers = set()
    for frame in make_scene(targets=tuple((path, 14.0) for path in paths)).frames(220):
        result = chain.process(frame)
        assert (result.detections["candidate"] == 0).all()
        t = frame.ping_number / 10
        numbers |= {track.id for track in result.tracks}
        for path in paths:
            near += any(math.dist(track.position_m[:2], path(t)) < 0.4 for track in result.tracks)
    assert len(numbers) <= 3
    assert near > 2 * 220 * 0.7


def test_a_frozen_picture_makes_no_track(make_scene) -> None:
    chain = make_chain(settings_with())
    frames = list(make_scene(targets=((lambda t: (2.0, 10.0) if t > 4.9 else None, 18.0),)).frames(51))
    for frame in frames:
        chain.process(frame)
    for number in range(51, 120):
        result = chain.process(dataclasses.replace(frames[-1], time_s=1e9 + number / 10, ping_number=number))
        assert result.tracks == ()
        assert result.notes == ("frozen picture",)
