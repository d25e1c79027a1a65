"""Small modules under the live picture's overlay, by hand cases and random ones, in the page's own engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nims_appliance.context import Context


@pytest.fixture
def run(context: Context, serving, open_page) -> Iterator[Callable[..., Any]]:
    """Runs the body of a function with `load(module)` for a module of the live page, and `given`."""
    with serving(context) as server:
        page = open_page(server.url)

        def run(body: str, given: Any = None) -> Any:
            load = "const load = (name) => import(`/static/live/${name}.js`);"
            return page.evaluate(f"async (given) => {{ {load} {body} }}", given)

        yield run


def test_small_modules_of_the_overlay(run: Callable[..., Any]) -> None:
    # labels: in a crowd none covers another, and each stays where it was if nothing moves
    crowd = run(
        """const { Labels, overlap } = await load("labels");
        const labels = new Labels();
        const points = Array.from({ length: 60 }, (_, i) => [120 + (i * 97) % 360, 60 + (i * 61) % 200]);
        const draw = () => { labels.begin({ left: 0, top: 0, width: 600, height: 320 });
            return points.map(([x, y], i) => labels.place(String(i), 30 + (i % 5) * 10, x, y)); };
        const [first, second] = [draw(), draw()];
        const boxOf = ({ left, middle }, i) => [left, middle - 7, left + 30 + (i % 5) * 10, middle + 7];
        const boxes = first.flatMap((spot, i) => spot ? [boxOf(spot, i)] : []);
        let overlaps = 0;
        boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b) => { if (overlap(a, b)) overlaps++; }));
        const inside = boxes.every(([left, top, right, bottom]) => (
            left >= 0 && top >= 0 && right <= 600 && bottom <= 320));
        return { count: boxes.length, overlaps, inside, stays: JSON.stringify(first) === JSON.stringify(second) };"""
    )
    assert crowd["count"] > 30
    assert (crowd["overlaps"], crowd["inside"], crowd["stays"]) == (0, True, True)

    # round steps: 1, 2 or 5 times a power of ten, the smallest that is long enough
    assert run(
        """const { roundStep } = await load("grid"); return [0.9, 1, 1.1, 3, 6, 0.02, 700].map(roundStep);"""
    ) == (pytest.approx([1, 1, 2, 5, 10, 0.02, 1000]))

    # the finger: the nearest symbol, else a tail, else nothing
    assert run(
        """const { trackAt } = await load("trails");
        const path = [{ x: 0, y: 100 }, { x: 100, y: 100 }];
        const drawn = [{ id: "a", x: 100, y: 100, path }, { id: "b", x: 110, y: 100, path: [] }];
        return [[102, 101], [108, 100], [40, 104], [40, 130]].map(([x, y]) => trackAt(drawn, x, y, 14));"""
    ) == ["a", "b", "a", None]


def test_what_lies_between_two_places(run: Callable[..., Any]) -> None:
    body = """const { between } = await load("measure"); return given.map(([a, b]) => between(a, b));"""
    metres = [[{"x_m": 1, "y_m": 1}, {"x_m": 4, "y_m": 5}], [{"x_m": 0, "y_m": 0}, {"x_m": -1, "y_m": 0}]]
    pings = [[{"time_s": 10, "frame": 1, "range_m": 4}, {"time_s": 6, "frame": 2, "range_m": 5}]]
    assert run(body, metres + pings) == ["5.00 m  37°", "1.00 m  −90°", "1.00 m  4.0 s  0.25 m/s"]


@pytest.mark.parametrize(
    ("heading_rad", "x_m", "y_m", "north_m", "east_m"),
    [(0.0, 0, 1000, 1000, 0), (math.pi / 2, 0, 1000, 0, 1000), (0.0, 1000, 0, 0, 1000), (math.pi, 500, 0, 0, -500)],
)
def test_a_position_is_north_and_east_of_the_sonar_by_its_heading(
    run: Callable[..., Any], heading_rad: float, x_m: float, y_m: float, north_m: float, east_m: float
) -> None:
    pose = {"latitude_deg": 60.0, "longitude_deg": 5.0, "heading_rad": heading_rad}
    body = """const { positionOf } = await load("readout"); return positionOf(given.pose, given.x, given.y);"""
    found = run(body, {"pose": pose, "x": x_m, "y": y_m})
    # one minute of latitude is a nautical mile (1852 m); at 60 degrees one of longitude is half as long
    assert (found["latitude_deg"] - 60) * 60 * 1852 == pytest.approx(north_m, abs=6)
    assert (found["longitude_deg"] - 5) * 60 * 926 == pytest.approx(east_m, abs=6)
    assert run(body, {"pose": {"latitude_deg": 60.0}, "x": 1, "y": 1}) is None


def test_a_draft_of_zones_saves_what_differs_and_nothing_else(run: Callable[..., Any]) -> None:
    told = run(
        """const { ZoneDraft, moveEdges, moveZone } = await load("zonedraft");
        const draft = new ZoneDraft();
        const saved = { name: "kelp", kind: "ignored", enabled: true,
            min_range_m: 2, max_range_m: 6, min_bearing_deg: -10, max_bearing_deg: 30 };
        draft.takeSaved([saved, { ...saved, name: "old" }]);
        const unchanged = draft.changes("z.");
        draft.mark();
        moveEdges(draft.zones[0], ["max_range_m", "min_bearing_deg"], { range_m: 7.512, bearing_rad: 0.9 });
        const moved = { ...draft.zones[0] };
        draft.undo();
        const undone = draft.changes("z.");
        draft.remove(draft.zones[1]);
        draft.zones[0].enabled = false;
        draft.add({ min_range_m: 3, max_range_m: 9.5 });
        const changes = draft.changes("z.");
        const before = { ...draft.zones[1], min_bearing_deg: 150, max_bearing_deg: 175 };
        moveZone(draft.zones[1], before, { range_m: 5, bearing_rad: 0 }, { range_m: 1, bearing_rad: 1 }, true);
        draft.zones[1].name = "a b";
        return { unchanged, moved, undone, changes, shifted: draft.zones[1],
            problem: draft.problem() };"""
    )
    assert told["unchanged"] == told["undone"] == {}
    assert (told["moved"]["max_range_m"], told["moved"]["min_bearing_deg"]) == (7.5, 29.5)  # not past the other edge
    assert told["changes"] == {
        "z.old": "removed",
        "z.kelp.enabled": False,
        "z.zone-1.kind": "watched",
        "z.zone-1.min_range_m": 3,
        "z.zone-1.max_range_m": 9.5,
    }
    shifted = told["shifted"]
    assert (shifted["min_range_m"], shifted["max_range_m"]) == (0, 6.5)  # it keeps its size at the sonar
    assert (shifted["min_bearing_deg"], shifted["max_bearing_deg"]) == (155, 180)  # and at the end of the circle
    assert "a b" in told["problem"]


def test_tracks_are_known_at_every_moment_of_the_past(run: Callable[..., Any]) -> None:
    told = run(
        """const { TrackHistory } = await load("tracks");
        const history = new TrackHistory();
        const still = { id: "7", y_m: 5, vx_m_s: 1, vy_m_s: 0, range_m: 5, hits: 9, zones: [] };
        const track = (x_m, state) => ({ ...still, x_m, state });
        const take = (frame, tracks, more = {}) => history.take(
            { channel: "", frame, time_s: frame / 10, tracks, ended: [], ...more }, frame / 10);
        for (let frame = 10; frame < 20; frame++) take(frame, [track(frame / 10, "confirmed")]);
        take(20, [track(2.4, "coasting")]);
        const coasting = history.recent(2, "", null).map(
            ({ points, head, coasting }) => [points.length, head.x_m, coasting]);
        take(21, [], { descriptions: [{ id: "7", label: "drifting" }] });
        const at = (frame) => history.at(frame, "").map(({ head, points }) => [head.x_m, points.length]);
        const out = { coasting, past: at(14), before: at(9), after: at(21), live: history.live,
            fading: history.recent(2.1 + 2, "", null)[0].fade, gone: history.recent(9, "", null).length,
            kept: history.recent(9, "", "7").length, label: history.get("7").description.label };
        take(3, []);  // the sonar began anew
        out.anew = history.get("7") === undefined;
        return out;"""
    )
    assert told["coasting"] == [[10, 2.4, True]]
    assert told["past"] == [[1.4, 5]]
    assert (told["before"], told["after"], told["live"]) == ([], [], 0)
    assert told["fading"] == pytest.approx(0.5)
    assert (told["gone"], told["kept"], told["label"], told["anew"]) == (0, 1, "drifting", True)
