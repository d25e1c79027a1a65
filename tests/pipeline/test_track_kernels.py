"""The kernels of tracking against slow, plain versions of themselves, on random tables in two and three dimensions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nims_ext.bodies import FAR, NOBODYS, covered, owners, unite
from nims_ext.detect import PEAK
from nims_ext.measure import dim, locate
from nims_ext.pairs import BODY, PAIR, POINT, TURN, find_pairs
from nims_ext.score import end, expect, judge
from nims_ext.table import TRACK, begin, compact, tell
from nims_ext.track import correct, predict

from nims_appliance.pipeline import strength
from nims_appliance.pipeline.bodies import THINNEST_M, Bodies
from nims_appliance.pipeline.measurement import Echoes, polar
from nims_appliance.pipeline.results import DETECTION

GATE = 16.0
SIZES = {"seed": st.integers(0, 10**6), "axes": st.sampled_from([2, 3])}


def echoes(rng: np.random.Generator, count: int, axes: int) -> Echoes:
    """Detections near each other, so that many are within reach of several tracks."""
    found = np.zeros(count, DETECTION)
    found["range_m"] = np.sort(rng.uniform(8, 14, count))
    found["bearing_rad"] = rng.uniform(-0.3, 0.3, count)
    found["elevation_rad"] = rng.uniform(-0.1, 0.1, count) if axes == 3 else math.nan
    found["range_sd_m"], found["bearing_sd_rad"] = rng.uniform(0.02, 0.1, count), rng.uniform(0.002, 0.03, count)
    found["elevation_sd_rad"] = 0.01
    found["peak"], found["snr_db"] = rng.uniform(1, 50, count), rng.uniform(3, 20, count)
    found["ts_db"] = np.where(rng.random(count) < 0.5, rng.uniform(-60, -40, count), math.nan)
    found["exceedance"] = rng.uniform(3, 20, count)
    found["length_m"], found["width_m"], found["area_m2"] = rng.uniform(0.05, 0.4, (3, count))
    return Echoes.of(found, rng.normal(-3, 1, count), axes)


@dataclass
class Tracks:
    rows: np.ndarray
    state: np.ndarray
    covariance: np.ndarray
    strengths: np.ndarray
    extent: np.ndarray


def tracks(rng: np.random.Generator, count: int, axes: int) -> Tracks:
    """Tracks of every kind among the echoes."""
    rows = np.zeros(count, TRACK)
    for name in TRACK.names or ():
        if TRACK[name] == np.float64:
            rows[name] = rng.uniform(0, 2, count)
    rows["id"] = np.where(rng.random(count) < 0.4, np.arange(count) + 100, 0)
    rows["lost"] = (rows["id"] > 0) & (rng.random(count) < 0.3)
    rows["merged"] = rng.random(count) < 0.1
    rows["visible"], rows["body_chance"] = rng.uniform(0.05, 0.95, count), rng.uniform(0.01, 0.3, count)
    rows["dimmed"] = rng.uniform(1, 8, count)
    rows["body_m2"] = rng.uniform(0.01, 0.1, count)
    rows["gap_s"] = np.where(rng.random(count) < 0.5, 0.0, rows["gap_s"])
    rows["score"], rows["best"] = rng.normal(5, 12, count), rng.normal(10, 3, count)
    rows["hits"] = rows["pings"] = rng.integers(1, 6, count)
    place = echoes(rng, count, axes).place
    mixed = rng.normal(size=(count, 2 * axes, 2 * axes)) * 0.15
    strengths = rng.uniform(0, 1, (count, len(strength.SHARES)))
    extent = np.einsum("nij,nkj->nik", *[rng.normal(size=(count, axes, axes)) * 0.2] * 2)
    extent[rng.random(count) < 0.6] = 0.0
    return Tracks(
        rows,
        np.concatenate([place, rng.normal(0, 1, (count, axes))], 1),
        mixed @ mixed.transpose(0, 2, 1) + 0.002 * np.eye(2 * axes),
        strengths / strengths.sum(1, keepdims=True),
        extent,
    )


def gaussian(away: np.ndarray, covariance: np.ndarray) -> tuple[float, float]:
    """Squared Mahalanobis distance and log density."""
    d2 = float(away @ np.linalg.solve(covariance, away))
    return d2, -0.5 * (d2 + math.log(np.linalg.det(2 * math.pi * covariance)))


@given(**SIZES)
def test_prediction_is_the_textbooks(seed: int, axes: int) -> None:
    rng = np.random.default_rng(seed)
    t = tracks(rng, 5, axes)
    dt, noise = rng.uniform(0, 2), rng.uniform(0, 1)
    unit = np.eye(axes)
    move = np.block([[unit, dt * unit], [0 * unit, unit]])
    added = noise * np.block([[dt**3 / 3 * unit, dt**2 / 2 * unit], [dt**2 / 2 * unit, dt * unit]])
    state, covariance = t.state @ move.T, move @ t.covariance @ move.T + added
    predict(t.state, t.covariance, dt, noise)
    np.testing.assert_allclose(t.state, state)
    np.testing.assert_allclose(t.covariance, covariance, rtol=1e-9, atol=1e-12)


@given(**SIZES)
def test_expectations_are_those_of_the_formulas(seed: int, axes: int) -> None:
    rng = np.random.default_rng(seed)
    t = tracks(rng, 12, axes)
    before = t.rows.copy()
    chance = rng.uniform(0, 1, t.strengths.shape)
    missed = 1 - chance * t.rows["visible"][:, None] * 0.9
    expect(
        t.rows, t.strengths, t.extent, chance, dt_s=0.1, placed=0.9, turn_speed_m_s=0.8, turns_per_s=0.2
    )  # fmt: skip
    np.testing.assert_allclose(chance, missed)
    for i, row in enumerate(t.rows):
        assert row["log_missed"] == pytest.approx(math.log((t.strengths[i] * missed[i]).sum()))
        assert row["log_seen"] == (-math.inf if row["lost"] else pytest.approx(math.log(row["visible"] * 0.9)))
        away_s = row["gap_s"] + 0.1 if row["id"] else 0.0
        assert row["turn_m2"] == pytest.approx((0.8 * away_s) ** 2)
        assert row["turn_chance"] == pytest.approx(1 - math.exp(-0.2 * away_s))
        assert row["leap_chance"] == (0.0 if row["id"] and t.extent[i].any() else row["body_chance"])
    for name in set(TRACK.names or ()) - {"log_missed", "log_seen", "turn_m2", "turn_chance", "leap_chance"}:
        np.testing.assert_array_equal(t.rows[name], before[name])


def slow_pairs(t: Tracks, e: Echoes, axes: int) -> dict[tuple[int, int], tuple[int, float, float]]:
    """All pairs by trying each track with each detection, each explanation with its own covariance."""
    pairs = {}
    for i, row in enumerate(t.rows):
        variances = {POINT: 0.0, BODY: row["body_m2"], TURN: row["turn_m2"]}
        chances = {BODY: row["leap_chance"], TURN: row["turn_chance"]}
        chances[POINT] = max(1e-9, 1 - sum(chances.values()))
        for d in range(len(e)):
            away = e.place[d] - t.state[i, :axes]
            spread = t.covariance[i, :axes, :axes] + e.noise[d]
            found = {k: gaussian(away, spread + variances[k] * np.eye(axes)) for k in variances if chances[k] > 0}
            if min(d2 for d2, _ in found.values()) > GATE or not math.isfinite(row["log_seen"]):
                continue
            shares = {k: math.log(chances[k]) + density for k, (_, density) in found.items()}
            most = max(shares.values())
            place = most + math.log(sum(math.exp(value - most) for value in shares.values()))
            place += row["log_seen"] - e.log_clutter[d]
            gain = place + math.log(t.strengths[i] @ e.odds[d]) - row["log_missed"]
            if gain > 0:
                pairs[i, d] = max(shares, key=lambda k: shares[k]), place, gain
    return pairs


@given(**SIZES, spread=st.floats(0.1, 3.0))
def test_pairs_are_those_of_trying_all(seed: int, axes: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    t, e = tracks(rng, 14, axes), echoes(rng, 25, axes)
    t.covariance *= spread
    t.rows["log_seen"] = np.where(t.rows["lost"], -math.inf, -t.rows["log_seen"])
    t.rows["log_missed"] *= -1
    t.rows["leap_chance"], t.rows["turn_chance"] = rng.choice([0.0, 0.3], (2, 14))
    expected = slow_pairs(t, e, axes)
    found = find_pairs(
        t.rows, t.state, t.covariance, t.strengths, e.place, e.noise, np.ascontiguousarray(e.detections["range_m"]),
        e.odds, e.log_clutter, GATE,
    )  # fmt: skip
    assert {(p["track"], p["detection"]) for p in found} == set(expected)
    for pair in found:
        i, d = pair["track"], pair["detection"]
        explanation, place, gain = expected[i, d]
        assert pair["explanation"] == explanation
        assert (pair["place"], pair["gain"]) == (pytest.approx(place), pytest.approx(gain))
        assert pair["apart_m2"] == pytest.approx(((e.place[d] - t.state[i, :axes]) ** 2).mean())


def some_pairs(rng: np.random.Generator, t: Tracks, e: Echoes) -> np.ndarray:
    count = min(len(t.rows), len(e)) // 2
    pairs = np.zeros(count, PAIR)
    pairs["track"] = rng.permutation(len(t.rows))[:count]
    pairs["detection"] = rng.permutation(len(e))[:count]
    pairs["explanation"] = rng.integers(0, 3, count)
    pairs["place"], pairs["apart_m2"] = rng.normal(0, 3, count), rng.uniform(0, 1, count)
    return pairs


@given(**SIZES)
def test_correction_is_the_textbooks(seed: int, axes: int) -> None:
    rng = np.random.default_rng(seed)
    t, e = tracks(rng, 9, axes), echoes(rng, 12, axes)
    pairs = some_pairs(rng, t, e)
    state, covariance = t.state.copy(), t.covariance.copy()
    unit = np.eye(axes)
    look = np.hstack([unit, 0 * unit])
    for pair in pairs:
        i, d = pair["track"], pair["detection"]
        noise = e.noise[d] + (t.rows["body_m2"][i] * unit if pair["explanation"] == BODY else 0)
        if pair["explanation"] == TURN:
            away_s = t.rows["gap_s"][i] + 0.1
            covariance[i] += 0.8**2 * np.block([[away_s**2 * unit, away_s * unit], [away_s * unit, unit]])
        gain = covariance[i] @ look.T @ np.linalg.inv(look @ covariance[i] @ look.T + noise)
        state[i] += gain @ (e.place[d] - look @ state[i])
        covariance[i] = (np.eye(2 * axes) - gain @ look) @ covariance[i]
    correct(t.state, t.covariance, t.rows, pairs, e.place, e.noise, 0.1, 0.8)
    np.testing.assert_allclose(t.state, state, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(t.covariance, covariance, rtol=1e-6, atol=1e-9)


@given(**SIZES)
def test_each_track_is_told_its_echo_or_its_miss(seed: int, axes: int) -> None:
    rng = np.random.default_rng(seed)
    t, e = tracks(rng, 9, axes), echoes(rng, 12, axes)
    pairs, missed = some_pairs(rng, t, e), rng.uniform(0.05, 1, t.strengths.shape)
    before, strengths = t.rows.copy(), t.strengths.copy()
    tell(
        t.rows, t.strengths, missed, pairs, e.detections, e.odds, axes=axes, dt_s=0.1, time_s=50.0, hidden_after_s=3.0,
        visible_after_s=0.5,
    )  # fmt: skip
    joined = {pair["track"]: pair for pair in pairs}
    for i, (row, old) in enumerate(zip(t.rows, before, strict=True)):
        assert row["age_s"] == pytest.approx(old["age_s"] + 0.1)
        assert row["pings"] == old["pings"] + 1
        assert row["joined"] == (i in joined)
        if i in joined:
            pair = joined[i]
            found, odds = e.detections[pair["detection"]], e.odds[pair["detection"]]
            likely, visible = float(strengths[i] @ odds), 1.0
            weights = strengths[i] * odds
            assert row["score"] == pytest.approx(old["score"] + math.log(likely) + pair["place"])
            assert (row["gap_s"], row["unseen_s"], row["last_hit_s"]) == (0.0, 0.0, 50.0)
            assert row["hits"] == old["hits"] + 1
            calibrated = math.isfinite(found["ts_db"])
            power = 10 ** (found["ts_db"] / 10) if calibrated else found["peak"]
            assert row["calibrated"] == calibrated
            assert row["power"] == pytest.approx(old["power"] + power)
            assert row["area_m2"] == pytest.approx(old["area_m2"] + found["area_m2"])
            background = found["peak"] / 10 ** (found["snr_db"] / 10)
            assert row["background"] == pytest.approx(old["background"] + background)
            for name in ("length_m", "width_m", "range_sd_m", "bearing_sd_rad"):
                assert row[name] == found[name]
            for name in ("range_m", "bearing_rad", "elevation_rad")[:axes]:
                assert row["min_" + name] == min(old["min_" + name], found[name])
                assert row["max_" + name] == max(old["max_" + name], found[name])
            leap = pair["explanation"] != POINT
            chance = old["body_chance"] + 0.1 * (leap - old["body_chance"])
            assert row["body_chance"] == pytest.approx(np.clip(chance, 0.005, 0.9))
            variance = old["body_m2"] + 0.1 * (pair["apart_m2"] - old["body_m2"])
            assert row["body_m2"] == pytest.approx(np.clip(variance, 0.05**2, 0.5**2) if leap else old["body_m2"])
        else:
            likely = float(strengths[i] @ missed[i])
            visible = np.clip(1 - (1 - old["visible"]) / likely, 0, 1)
            weights = strengths[i] * missed[i]
            assert row["score"] == pytest.approx(old["score"] + math.log(likely))
            assert row["gap_s"] == pytest.approx(old["gap_s"] + 0.1)
            assert row["unseen_s"] == pytest.approx(old["unseen_s"] + (0.025 if old["dimmed"] > 4 else 0.1))
            for name in ("hits", "power", "min_range_m", "body_chance", "length_m", "last_hit_s"):
                assert row[name] == old[name]
        np.testing.assert_allclose(t.strengths[i], weights / weights.sum())
        back, gone = 1 - math.exp(-0.1 / 0.5), 1 - math.exp(-0.1 / 3)
        assert row["visible"] == pytest.approx(np.clip(visible * (1 - gone) + (1 - visible) * back, 0.02, 0.99))


@given(**SIZES)
def test_scores_are_judged_row_by_row(seed: int, axes: int) -> None:
    t = tracks(np.random.default_rng(seed), 20, axes)
    before, last = t.rows.copy(), np.zeros_like(t.state)
    confirm = judge(
        t.rows, t.state, last, time_s=50.0, threshold=8.0, most=13.0, loss=15.0, doubt=4.0, least_hits=3
    )  # fmt: skip
    expected = []
    for i, (row, old) in enumerate(zip(t.rows, before, strict=True)):
        score = min(old["score"], 13.0) if old["id"] else old["score"]
        assert (row["score"], row["best"]) == (score, max(old["best"], score))
        assert row["lost"] == (old["lost"] or (old["id"] > 0 and score < -2.0))
        sure = old["gap_s"] == 0 and (old["id"] == 0 or score > 9.0)
        assert row["sure_s"] == (50.0 if sure else old["sure_s"])
        assert last[i].tolist() == (t.state[i].tolist() if sure else [0.0] * 2 * axes)
        if old["id"] == 0 and score > 8.0 and old["hits"] >= 3:
            expected.append(i)
    assert confirm.tolist() == expected


@given(**SIZES)
def test_who_ends_is_decided_row_by_row(seed: int, axes: int) -> None:
    rng = np.random.default_rng(seed)
    t = tracks(rng, 30, axes)
    t.state[:, :axes] *= rng.choice([0.5, 1, 1, 1, 2], (30, 1))
    t.state[:3, 1] *= -1
    before = t.rows.copy()
    ended = end(
        t.rows, t.state, time_s=3.0, max_gap_s=1.5, never_seen_s=0.5, single_s=0.25, loss=6.0, max_speed_m_s=2.0,
        nearest_m=7.0, farthest_m=15.0, leftmost_rad=-0.25, rightmost_rad=0.28,
    )  # fmt: skip
    for i, (row, old) in enumerate(zip(t.rows, before, strict=True)):
        place, speed = t.state[i, :axes], math.hypot(*t.state[i, axes:])
        range_m = math.hypot(*place)
        bearing_rad = math.atan2(*place[:2]) if place[1] < 0 or axes == 2 else math.asin(place[0] / range_m)
        outside = not (7.0 <= range_m <= 15.0 and -0.25 <= bearing_rad <= 0.28)
        if old["id"]:
            expected = (old["lost"] and 3.0 - old["sure_s"] > 1.5) or old["unseen_s"] > 1.5
        else:
            expected = old["score"] < 0 or old["score"] < old["best"] - 6.0 or outside
            expected = expected or old["unseen_s"] > (0.5 if old["hits"] > 1 else 0.25)
        assert ended[i] == (expected or speed > 2.0 or old["merged"])
        assert row["lost"] == (old["lost"] or (old["id"] > 0 and outside))


@given(**SIZES)
def test_tracks_begin_as_their_echoes(seed: int, axes: int) -> None:
    rng = np.random.default_rng(seed)
    e = echoes(rng, 10, axes)
    chosen, score = np.sort(rng.permutation(10)[:4]), rng.normal(size=10)
    rows, strengths = tracks(rng, 4, axes).rows, np.full((4, len(strength.SHARES)), 7.0)
    begin(rows, strengths, e.detections, chosen, e.odds, score, axes=axes, time_s=50.0)
    for row, weights, d in zip(rows, strengths, chosen, strict=True):
        found = e.detections[d]
        assert (row["id"], row["hits"], row["pings"], row["lost"], row["merged"]) == (0, 1, 1, False, False)
        assert row["score"] == row["best"] == score[d]
        assert row["first_s"] == row["last_hit_s"] == row["sure_s"] == 50.0
        assert row["age_s"] == row["gap_s"] == row["company"] == 0.0
        assert row["min_bearing_rad"] == row["max_bearing_rad"] == found["bearing_rad"]
        assert row["area_m2"] == found["area_m2"]
        np.testing.assert_allclose(weights, e.odds[d] / e.odds[d].sum())


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_rows_kept_stay_in_their_order(mask: list[bool]) -> None:
    rows = np.arange(3 * len(mask), dtype=np.float64).reshape(-1, 3)
    keep = np.array(mask)
    expected = rows[keep].copy()
    assert compact(keep.view(np.uint8), rows.view(np.uint8)) == len(expected)
    np.testing.assert_array_equal(rows[: len(expected)], expected)


@given(**SIZES)
def test_owners_are_the_likeliest_of_the_near(seed: int, axes: int) -> None:
    rng = np.random.default_rng(seed)
    t, e = tracks(rng, 6, axes), echoes(rng, 30, axes)
    which = np.flatnonzero(rng.random(6) < 0.6)
    owner, density = owners(
        e.place, e.noise, which, t.state, t.covariance, t.extent, reach_m=1.5, gate=9.0
    )  # fmt: skip
    for d in range(len(e)):
        apart = [math.dist(e.place[d], t.state[i, :axes]) for i in which]
        if min(apart, default=math.inf) >= 1.5:
            assert owner[d] == FAR
            continue
        found = {
            i: gaussian(e.place[d] - t.state[i, :axes], t.covariance[i, :axes, :axes] + t.extent[i] + e.noise[d])
            for i in which
        }
        within = {i: log_density for i, (d2, log_density) in found.items() if d2 <= 9.0}
        assert owner[d] == max(within, key=lambda i: within[i], default=NOBODYS)
        assert density[d] == pytest.approx(max(within.values(), default=-math.inf))


@given(**SIZES)
def test_places_on_bodies_are_covered(seed: int, axes: int) -> None:
    rng = np.random.default_rng(seed)
    t, e = tracks(rng, 6, axes), echoes(rng, 30, axes)
    t.rows["width_m"] *= 0.2
    which = np.flatnonzero(rng.random(6) < 0.6)
    on = covered(e.place, t.rows, which, t.state, t.extent, thinnest_m=0.05, gate=9.0)
    for d in range(len(e)):
        expected = False
        for i in which:
            away = e.place[d] - t.state[i, :axes]
            expected |= away @ away < t.rows["width_m"][i] ** 2 + t.rows["body_m2"][i]
            if t.extent[i].any():
                expected |= gaussian(away, t.extent[i] + 0.05**2 * np.eye(axes))[0] < 9.0
        assert on[d] == expected


@given(st.integers(0, 10**6), st.integers(1, 5))
def test_echoes_of_a_body_become_one(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    e, members = echoes(rng, 8, 2), rng.permutation(8)[:count]
    e.detections["cells"] = rng.integers(1, 9, 8)
    e.detections["total"] = rng.uniform(1, 9, 8)
    old, place, noise = e.detections.copy(), e.place.copy(), e.noise.copy()
    extent, scatter = np.array([[0.04, 0.01], [0.01, 0.02]]), np.full((2, 2), 7.0)
    best = unite(e.detections, e.place, e.noise, members, extent, scatter)
    assert best == members[np.argmax(old["exceedance"][members])]
    weight = np.sqrt(old["peak"][members])
    weight /= weight.sum()
    centre = weight @ place[members]
    unbiased = np.cov(place[members].T, aweights=weight) if count > 1 else np.zeros((2, 2))
    np.testing.assert_allclose(scatter, unbiased, atol=1e-12)
    np.testing.assert_allclose(e.place[best], centre)
    expected = np.einsum("n,nij->ij", weight**2, noise[members]) + (weight**2).sum() * extent / count
    np.testing.assert_allclose(e.noise[best], expected)
    found, parts = e.detections[best], old[members]
    if count == 1:
        assert found.tobytes() == old[best].tobytes()
    else:
        middle_m = math.hypot(*centre)
        assert found["range_m"] == pytest.approx(middle_m)
        assert found["bearing_rad"] == pytest.approx(math.atan2(*centre))
        for name, at in (("length_m", parts["range_m"]), ("width_m", parts["bearing_rad"] * middle_m)):
            assert found[name] == pytest.approx((at + parts[name] / 2).max() - (at - parts[name] / 2).min())
        for name in ("area_m2", "total", "cells"):
            assert found[name] == pytest.approx(parts[name].sum())
    others = np.delete(np.arange(8), best)
    assert e.detections[others].tobytes() == old[others].tobytes()
    np.testing.assert_array_equal(e.place[others], place[others])


@given(st.integers(0, 10**6), st.floats(0.01, 3.0))
def test_the_extent_of_a_body_is_limited_along_its_axes(seed: int, size: float) -> None:
    mixed = np.random.default_rng(seed).normal(size=(2, 2)) * size
    extent = mixed @ mixed.T
    variance, axis = np.linalg.eigh(extent)
    expected = (axis * np.clip(variance, THINNEST_M**2, 4.0 / 12)) @ axis.T
    np.testing.assert_allclose(Bodies(2.0)._limited(extent), expected, atol=1e-9)
    np.testing.assert_allclose(Bodies(2.0)._limited(9.0 * np.eye(2)), 4.0 / 12 * np.eye(2))


@given(**SIZES)
def test_a_track_is_dimmed_by_what_is_brighter_around_it_than_it_was(seed: int, axes: int) -> None:
    rng = np.random.default_rng(seed)
    t = tracks(rng, 20, axes)
    t.state[:, :axes] *= rng.uniform(0.2, 2.0, (20, 1))
    t.rows["background"], t.rows["hits"] = rng.uniform(0, 20, 20), rng.integers(0, 9, 20)
    picture = rng.exponential(size=(12, 9)).astype(np.float32)
    range_m, bearing_rad = np.linspace(8, 14, 12), np.linspace(-0.3, 0.3, 9)
    some = np.flatnonzero(rng.random(20) < 0.7)
    before = t.rows["dimmed"].copy()
    brighter = dim(t.rows, t.state, some, picture, range_m, bearing_rad)
    distance, bearing, _ = polar(t.state[:, :axes])
    for i in range(20):
        row, column = np.searchsorted(range_m, distance[i]), np.searchsorted(bearing_rad, bearing[i])
        around = picture[max(row - 3, 0) : max(row + 4, 0), max(column - 3, 0) : max(column + 4, 0)]
        usual = t.rows["background"][i] / max(t.rows["hits"][i], 1)
        expected = max(np.median(around) / math.log(2) / usual, 1.0) if around.size and usual > 0 else 1.0
        assert t.rows["dimmed"][i] == pytest.approx(expected if i in some else before[i])
    assert brighter.tolist() == [i for i in some if t.rows["dimmed"][i] > 1]


@given(st.integers(0, 10**6))
def test_maxima_become_detections_as_in_numpy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.exponential(size=(30, 14)).astype(np.float32)
    range_m, bearing_rad = np.cumsum(rng.uniform(0.1, 0.5, 30)), np.cumsum(rng.uniform(0.01, 0.05, 14)) - 0.3
    step_m, step_rad = np.gradient(range_m), np.gradient(bearing_rad)
    peaks = np.zeros(25, PEAK)
    peaks["peak_row"], peaks["peak_column"] = rng.integers(0, 30, 25), rng.integers(0, 14, 25)
    peaks["row"] = peaks["peak_row"] + rng.uniform(-0.5, 0.5, 25)
    peaks["column"] = peaks["peak_column"] + rng.uniform(-0.5, 0.5, 25)
    peaks["value"] = rng.uniform(0.5, 100, 25)
    out = np.zeros(25, DETECTION)
    axes = range_m, bearing_rad, step_m, step_rad
    locate(out, peaks, picture, *axes, samples=0.8, beams=0.9, placing_limit=0.12, wander_m=0.03)
    where_m = np.interp(peaks["row"], np.arange(30), range_m)
    ratio, high, wide = np.maximum(peaks["value"], 1), step_m[peaks["peak_row"]], step_rad[peaks["peak_column"]]
    expected = {
        "range_m": where_m,
        "bearing_rad": np.interp(peaks["column"], np.arange(14), bearing_rad),
        "range_sd_m": np.hypot(high * np.sqrt(0.8**2 / ratio + 0.12**2), 0.03),
        "bearing_sd_rad": np.hypot(wide * np.sqrt(0.9**2 / ratio + 0.12**2), 0.03 / np.maximum(where_m, 0.03)),
        "length_m": high,
        "width_m": wide * where_m,
        "area_m2": high * wide * where_m,
        "peak": picture[peaks["peak_row"], peaks["peak_column"]],
        "snr_db": 10 * np.log10(ratio),
        "cells": 1,
    }
    for name, values in expected.items():
        np.testing.assert_allclose(out[name], values, rtol=1e-12, err_msg=name)
    assert (out["mean"] == out["peak"]).all()
    assert (out["total"] == out["peak"]).all()
    assert np.isnan([out["elevation_rad"], out["elevation_sd_rad"], out["ts_db"]]).all()
    peaks["peak_row"][3] = 30
    with pytest.raises(ValueError, match="beyond the picture"):
        locate(out, peaks, picture, *axes, samples=0.8, beams=0.9, placing_limit=0.12, wander_m=0.03)


def test_kernels_refuse_what_does_not_fit() -> None:
    rng = np.random.default_rng(1)
    t, e = tracks(rng, 4, 2), echoes(rng, 5, 2)
    pairs = np.zeros(1, PAIR)
    told = {"axes": 2, "dt_s": 0.1, "time_s": 1.0, "hidden_after_s": 3.0, "visible_after_s": 0.5}
    for name in ("track", "detection"):
        pairs[:] = 0
        pairs[name] = 5
        with pytest.raises(ValueError, match="index out of range"):
            correct(t.state, t.covariance, t.rows, pairs, e.place, e.noise, 0.1, 1.0)
        with pytest.raises(ValueError, match="index out of range"):
            tell(t.rows, t.strengths, t.strengths, pairs, e.detections, e.odds, **told)
    with pytest.raises(ValueError, match="expected one row for each track"):
        tell(t.rows, t.strengths[:2], t.strengths, pairs, e.detections, e.odds, **told)
    with pytest.raises(ValueError, match="out of range"):
        begin(t.rows[:1], t.strengths[:1], e.detections, np.array([9]), e.odds, np.zeros(5), axes=2, time_s=0.0)
    with pytest.raises(ValueError, match="out of range"):
        owners(e.place, e.noise, np.array([4]), t.state, t.covariance, t.extent, reach_m=1.0, gate=9.0)
    with pytest.raises(ValueError, match="out of range"):
        dim(t.rows, t.state, np.array([4]), np.ones((2, 3), np.float32), np.arange(2.0), np.arange(3.0))
    with pytest.raises(ValueError, match="mismatch"):
        tell(t.rows[["id", "score"]], t.strengths, t.strengths, pairs, e.detections, e.odds, **told)
