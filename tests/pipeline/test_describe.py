"""Descriptions of ended tracks: figures of paths that are known, and memory that does not grow."""

from __future__ import annotations

import itertools
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nims_ext.table import TRACK

from nims_appliance.analysis import Analysis
from nims_appliance.pipeline import describe
from nims_appliance.pipeline.classify import Classifier
from nims_appliance.pipeline.course import MOST_POSITIONS, Course
from nims_appliance.pipeline.describe import History, smooth, state_of, summary_of
from nims_appliance.pipeline.results import TrackSummary
from nims_appliance.pipeline.track_table import TrackTable
from nims_appliance.pipeline.zones import Zones
from nims_appliance.settings import SonarSettings

NOISE_M2_S3 = 0.01
GATE = {"kind": "watched", "min_range_m": 9, "max_range_m": 11, "min_bearing_deg": -10, "max_bearing_deg": 10}


def settings_with(**values: object) -> SonarSettings:
    return msgspec.convert({"profile": "test", "link": "file:///test"} | values, SonarSettings)


class OneTrack:
    """Stands in for the table of tracks: one track whose filter is a plain Kalman filter of places with noise."""

    row = TrackTable.row

    def __init__(self, axes: int = 2, sd_m: float = 0.05, seed: int = 1) -> None:
        self.axes, self._sd_m, self._rng = axes, sd_m, np.random.default_rng(seed)
        self.rows = np.zeros(1, TRACK)
        self.rows["id"], self.rows["score"], self.rows["best"] = 7, 30.0, 30.0
        self.rows["length_m"], self.rows["width_m"] = 0.2, 0.3
        self.rows["power"] = 1.0
        self.state = np.zeros((1, 2 * axes))
        self.covariance = np.zeros((1, 2 * axes, 2 * axes))
        self._time_s = math.nan

    def step(self, time_s: float, place: tuple[float, ...] | None) -> None:
        axes, row = self.axes, self.rows
        unit = np.eye(axes)
        if math.isnan(self._time_s):
            self.state[0, :axes] = place
            self.covariance[0] = np.diag([self._sd_m**2] * axes + [1.0] * axes)
            row["first_s"] = time_s
        else:
            dt = time_s - self._time_s
            move = np.block([[unit, dt * unit], [0 * unit, unit]])
            added = NOISE_M2_S3 * np.block([[dt**3 / 3 * unit, dt**2 / 2 * unit], [dt**2 / 2 * unit, dt * unit]])
            self.state[0] = move @ self.state[0]
            self.covariance[0] = move @ self.covariance[0] @ move.T + added
        row["gap_s"] = 0.0 if place is not None else row["gap_s"] + time_s - self._time_s
        row["pings"] += 1
        if place is not None:
            row["hits"] += 1
            row["last_hit_s"] = time_s
            innovation = np.array(place) + self._rng.normal(0, self._sd_m, axes) - self.state[0, :axes]
            covariance = self.covariance[0]
            gain = covariance[:, :axes] @ np.linalg.inv(covariance[:axes, :axes] + self._sd_m**2 * unit)
            self.state[0] += gain @ innovation
            self.covariance[0] = covariance - gain @ covariance[:axes]
        self._time_s = time_s


def follow(path, count: int, rate_hz: float = 10.0, axes: int = 2, settings: SonarSettings | None = None, **noise):
    """Return the history of a track that follows a path, which gives None where it is not seen."""
    table, history = OneTrack(axes, **noise), History(axes, settings or settings_with())
    for n in range(count):
        table.step(n / rate_hz, path(n / rate_hz))
        history.add(table, 0, table.row(0), n / rate_hz)
    return history


@pytest.mark.parametrize("pings", [1, 2, 12, 200, 900])
def test_a_living_track_is_described_much_as_it_is_when_it_has_ended(pings: int) -> None:
    history = follow(lambda t: (-5 + 0.5 * t, 10.0 + math.sin(0.3 * t)), pings)
    before = len(history)
    so_far = summary_of(history.so_far())
    assert repr(summary_of(history.so_far())) == repr(so_far)  # it has been left as it was; NaN equals nothing
    assert len(history) == before
    ended = summary_of(history)
    assert (so_far.id, so_far.hits, so_far.duration_s) == (ended.id, ended.hits, ended.duration_s)
    assert so_far.quality == ended.quality
    for name in ("path_m", "net_m", "straightness", "farthest_m", "net_sd_m"):
        assert getattr(so_far, name) == pytest.approx(getattr(ended, name), rel=0.05, abs=0.05)
    assert so_far.zones == ended.zones


def test_a_straight_track_is_described() -> None:
    summary = summary_of(follow(lambda t: (-5 + 0.5 * t, 10.0), 200))
    assert summary.duration_s == pytest.approx(19.9)
    assert summary.net_m == pytest.approx(9.95, abs=0.2)
    assert summary.path_m == pytest.approx(9.95, abs=0.3)
    assert summary.farthest_m == pytest.approx(summary.net_m, abs=0.05)
    assert summary.mean_speed_m_s == pytest.approx(0.5, abs=0.02)
    assert summary.peak_speed_m_s < 1.0
    assert summary.heading_rad == pytest.approx(math.pi / 2, abs=0.02)
    assert (summary.mean_length_m, summary.mean_width_m) == pytest.approx((0.2, 0.3))
    assert summary.net_sd_m == pytest.approx(0.06, abs=0.03)
    assert (math.isnan(summary.min_z_m), summary.drifting, summary.zones) == (True, None, ())
    assert math.isnan(summary.mean_speed_through_water_m_s)
    assert summary.quality == pytest.approx(200 / 205)


def test_an_end_that_was_not_seen_does_not_count() -> None:
    summary = summary_of(follow(lambda t: (0.0, 5 + t) if t < 5 else None, 90))
    assert (summary.hits, summary.pings) == (50, 50)
    assert summary.last_time_s == summary.positions[-1][0] == 4.9
    assert summary.duration_s == 4.9
    assert len(summary.positions) == 50


def test_heights_are_told_where_they_are_measured() -> None:
    summary = summary_of(follow(lambda t: (0.0, 10.0, -1 + 0.1 * t), 100, axes=3))
    assert (summary.min_z_m, summary.max_z_m) == pytest.approx((-1.0, -0.01), abs=0.1)


def test_quality_falls_with_gaps_doubt_and_shortness() -> None:
    seen = summary_of(follow(lambda t: (0.0, 5 + t), 100)).quality
    half = summary_of(follow(lambda t: (0.0, 5 + t) if round(t * 10) % 2 == 0 else None, 101)).quality
    short = summary_of(follow(lambda t: (0.0, 5 + t), 4)).quality
    assert seen > 0.9
    assert half == pytest.approx(51 / 101 * 51 / 56)
    assert short == pytest.approx(4 / 9)
    table, history = OneTrack(), History(2, settings_with())
    for n in range(100):
        table.step(n / 10, (0.0, 5.0))
        table.rows["score"] = 18.0
        history.add(table, 0, table.row(0), n / 10)
    assert summary_of(history).quality == pytest.approx((1 - 12 / 15) * 100 / 105)


def test_passages_of_watched_zones_tell_when_and_how_near() -> None:
    settings = settings_with(
        zones={"gate": GATE, "far": {"kind": "watched", "min_range_m": 40}, "no": GATE | {"kind": "ignored"}}
    )
    # crosses the gate's sides, x = 10 tan 10 degrees = 1.763, at 0.5 m/s from -5 m
    gate, far = summary_of(follow(lambda t: (-5 + 0.5 * t, 10.0), 200, settings=settings)).zones
    assert (gate.name, gate.closest_m, far.name) == ("gate", 0.0, "far")
    assert gate.entered_time_s == gate.closest_time_s == pytest.approx((5 - 1.763) / 0.5, abs=0.3)
    assert gate.inside_s == pytest.approx(2 * 1.763 / 0.5, abs=0.5)
    assert far.closest_m == pytest.approx(40 - math.hypot(5, 10), abs=0.1)
    assert math.isnan(far.entered_time_s)
    assert far.inside_s == 0.0
    assert far.closest_time_s in (0.0, 19.9) or far.closest_time_s < 0.5


def test_a_live_track_names_the_watched_zones_that_it_is_in(make_scene) -> None:
    near = GATE | {"min_range_m": 0, "max_range_m": 10.5}
    settings = settings_with(zones={"gate": GATE, "near": near, "no": GATE | {"kind": "ignored"}})
    (frame,) = make_scene().frames(1)
    for axes, place, expected in (
        (2, (0.0, 10.0), ("gate", "near")),
        (2, (0.0, 8.0), ("near",)),
        (2, (3.0, 10.0), ()),
        (3, (0.0, 8.0, 6.0), ("gate", "near")),  # 10 m away, upwards
    ):
        table, history = OneTrack(axes), History(axes, settings)
        table.step(0.0, place)
        history.add(table, 0, table.row(0), 0.0)
        assert state_of(table, 0, table.row(0), frame, history).zones == expected


@pytest.mark.parametrize(
    ("own_m_s", "drifting"), [((0.0, 0.0), True), ((0.02, -0.03), True), ((0.3, 0.0), False), ((-0.8, -0.4), False)]
)
def test_what_moves_with_the_water_drifts(own_m_s: tuple[float, float], drifting: bool) -> None:
    # 0.8 m/s towards 30 degrees
    settings = settings_with(current={"known": True, "speed_m_s": 0.8, "towards_deg": 30})
    vx, vy = 0.8 * math.sin(math.radians(30)) + own_m_s[0], 0.8 * math.cos(math.radians(30)) + own_m_s[1]
    summary = summary_of(follow(lambda t: (vx * t, 5 + vy * t), 100, settings=settings))
    assert summary.drifting is drifting
    assert summary.mean_speed_through_water_m_s == pytest.approx(math.hypot(*own_m_s), abs=0.1)


def test_a_current_that_is_not_known_says_nothing_and_still_water_is_known() -> None:
    unknown = settings_with(current={"speed_m_s": 0.8})
    assert summary_of(follow(lambda t: (0.0, 5 + 0.8 * t), 100, settings=unknown)).drifting is None
    still = settings_with(current={"known": True})
    assert summary_of(follow(lambda t: (0.0, 5.0), 100, settings=still)).drifting is True


def test_too_short_a_track_is_not_said_to_drift_or_not() -> None:
    settings = settings_with(current={"known": True, "speed_m_s": 0.8})
    summary = summary_of(follow(lambda t: (0.0, 5 + 0.8 * t), 5, settings=settings, sd_m=0.2))
    assert summary.drifting is None


def test_the_test_for_drifting_passes_95_of_100_drifters() -> None:
    settings = settings_with(current={"known": True, "speed_m_s": 0.5, "uncertainty_m_s": 0.05})
    rng = np.random.default_rng(8)
    passed = 0
    for seed in range(100):
        # the water at the animal differs from the configured current by as much as configured
        vx, vy = rng.normal((0.0, 0.5), 0.05)
        history = follow(lambda t, vx=vx, vy=vy: (vx * t, 5 + vy * t), 40, settings=settings, seed=seed)
        passed += summary_of(history).drifting is True
    assert 0.9 <= passed / 100 <= 1.0


@pytest.mark.parametrize("seen", [1.0, 0.6])
def test_a_long_track_is_described_as_if_everything_had_been_kept(monkeypatch, seen: float) -> None:
    rng = np.random.default_rng(5)
    visible = rng.random(3000) < seen
    visible[0] = visible[-1] = True
    settings = settings_with(zones={"gate": GATE}, current={"known": True, "speed_m_s": 0.1})

    def path(t: float) -> tuple[float, float] | None:
        return (3 * math.sin(0.2 * t), 10 + 2 * math.cos(0.13 * t)) if visible[round(t * 10)] else None

    folded = summary_of(follow(path, 3000, settings=settings))
    monkeypatch.setattr(describe, "BLOCK_PINGS", 10**6)
    whole = summary_of(follow(path, 3000, settings=settings))
    assert len(folded.positions) == len(whole.positions) == 3000
    np.testing.assert_allclose(folded.positions, whole.positions, atol=1e-6)
    for name in TrackSummary.__slots__:
        one, other = getattr(folded, name), getattr(whole, name)
        if isinstance(one, float):
            assert one == pytest.approx(other, rel=1e-6, nan_ok=True), name
    assert folded.zones[0].inside_s == pytest.approx(whole.zones[0].inside_s)
    assert folded.zones[0].entered_time_s == whole.zones[0].entered_time_s


def test_memory_of_a_track_does_not_grow_with_its_age() -> None:
    table, history = OneTrack(), History(2, settings_with())
    most = 0
    for n in range(8_000):
        visible = not 2000 < n < 3600  # hidden for longer than a block
        table.step(n / 10, (0.02 * n, 10.0) if visible else None)
        history.add(table, 0, table.row(0), n / 10)
        most = max(most, len(history))
    assert most <= 4 * describe.BLOCK_PINGS
    summary = summary_of(history)
    assert summary.path_m == pytest.approx(160.0, rel=0.05)
    assert summary.net_m == pytest.approx(160.0, abs=0.2)
    times = [position[0] for position in summary.positions]
    assert MOST_POSITIONS / 8 < len(times) <= MOST_POSITIONS + 1
    assert (times[0], times[-1]) == (0.0, 799.9)


@given(st.lists(st.floats(1e-3, 1e4), min_size=1, max_size=60), st.integers(1, 400))
def test_positions_are_bounded_in_order_and_keep_their_ends(gaps_s: list[float], repeat: int) -> None:
    course = Course(Zones({}).watched, None)
    times = np.cumsum(np.array(gaps_s * repeat))
    for part in np.array_split(times, 7):
        course.add(part, np.stack([part, part, part], 1), np.ones(len(part)))
    positions = course.positions()
    assert len(positions) <= MOST_POSITIONS + 1
    assert (positions[0][0], positions[-1][0]) == (times[0], times[-1])
    assert all(one[0] < other[0] for one, other in itertools.pairwise(positions))
    assert len(times) > MOST_POSITIONS or len(positions) == len(times)
    assert course.path_m == pytest.approx(math.sqrt(3) * (times[-1] - times[0]), rel=1e-6)


def slow_smooth(times_s, states, covariances, noise: float) -> np.ndarray:
    """Rauch, Tung and Striebel's recursion as it is printed."""
    out = [np.array(state) for state in states]
    axes = len(out[0]) // 2
    unit = np.eye(axes)
    for i in range(len(out) - 2, -1, -1):
        dt = times_s[i + 1] - times_s[i]
        move = np.block([[unit, dt * unit], [0 * unit, unit]])
        added = noise * np.block([[dt**3 / 3 * unit, dt**2 / 2 * unit], [dt**2 / 2 * unit, dt * unit]])
        predicted = move @ covariances[i] @ move.T + added
        gain = covariances[i] @ move.T @ np.linalg.inv(predicted)
        out[i] = states[i] + gain @ (out[i + 1] - move @ states[i])
    return np.array(out)


@pytest.mark.parametrize("axes", [2, 3])
def test_smoothing_is_the_published_recursion(axes: int) -> None:
    table = OneTrack(axes)
    times, states, covariances = [], [], []
    for n in range(50):
        time_s = n / 10 + (5.0 if n > 20 else 0.0)
        table.step(time_s, tuple(0.3 * time_s + axis for axis in range(axes)))
        times.append(time_s)
        states.append(table.state[0].copy())
        covariances.append(table.covariance[0].copy())
    found = smooth(np.array(times), states, covariances, NOISE_M2_S3)
    np.testing.assert_allclose(found, slow_smooth(times, states, covariances, NOISE_M2_S3), atol=1e-9)


def test_smoothing_stops_at_a_turn_that_the_filter_saw() -> None:
    table = OneTrack()
    times, states, covariances, truth = [], [], [], []
    for n in range(60):
        time_s = n / 10
        place = (time_s, 10.0) if n < 30 else (3.0 - (time_s - 3.0), 10.0)
        if n == 30:
            table.covariance[0, 2:, 2:] += np.eye(2) * 2.0
        table.step(time_s, place)
        times.append(time_s)
        truth.append(place)
        states.append(table.state[0].copy())
        covariances.append(table.covariance[0].copy())
    error = lambda x: float(np.sqrt(((x[20:40, :2] - np.array(truth)[20:40]) ** 2).sum(1)).max())  # noqa: E731
    through = slow_smooth(times, states, covariances, NOISE_M2_S3)
    found = smooth(np.array(times), states, covariances, NOISE_M2_S3)
    assert error(found) < 0.75 * error(through)


def test_a_living_track_is_named_about_every_second_by_what_is_known_so_far(make_scene) -> None:
    asked: list[TrackSummary] = []

    def by_hits(track: TrackSummary) -> tuple[str, float]:
        asked.append(track)
        return f"{track.hits} hits", 0.5

    analysis = Analysis("pen", settings_with(), [Classifier("hits", by_hits)])
    scene = make_scene(targets=((lambda t: (-4 + 0.3 * t, 8 + 0.1 * t), 14.0),))
    told = []
    for frame in scene.frames(150):
        result = analysis.process(frame)
        assert result is not None
        told += result.tracks
    assert told[0].label == ""
    assert math.isnan(told[0].probability)
    assert int(told[-1].label.split()[0]) > 60
    assert told[-1].probability == 0.5
    named = [track for track in told if track.label]
    assert all(track.hits - 20 < int(track.label.split()[0]) <= track.hits for track in named)
    times = [track.last_time_s for track in asked if track.id == told[-1].id]
    assert 0.7 < np.diff(times).mean() < 1.7
    ended = analysis.finish()
    assert ended is not None
    assert [track.label for track in ended.ended if track.id == told[-1].id] == [f"{told[-1].hits} hits"]
