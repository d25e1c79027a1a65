"""What lies over the live picture: read-out, tracks and their card, zones that an operator draws, the measure tool."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from nims_appliance.access import passwords
from nims_appliance.access.store import Content, User
from nims_appliance.context import Context
from nims_appliance.pipeline.display import DisplayEncoder
from nims_appliance.pipeline.results import TrackSummary

PASSWORD = "correct horse"
LOG_IN = """async (password) => {
    const page = document.querySelector("script[type=module]").src;
    const { logIn } = await import(page.replace("live/live.js", "shared/session.js"));
    await logIn("otto", password);
}"""


@pytest.fixture
def operated(context: Context, monkeypatch: pytest.MonkeyPatch) -> Context:
    """The appliance with an operator, `otto`."""
    monkeypatch.setattr(passwords, "_N", 16)  # quick: a hash says itself how slow it is
    hashed = passwords.hash_password(PASSWORD)

    def add(content: Content) -> None:
        content.users["otto"] = User("otto", "operator", hashed, "1", 0.0)

    context.access.edit(add)
    return context


@pytest.fixture
def live(context: Context, open_page, blobs_frame) -> Callable[..., Page]:
    """Opens the live page, a bright echo at 9 m and 0.3 rad on it."""
    context.sonars["pen"].last_picture = DisplayEncoder().encode(blobs_frame(1, [(9.0, 0.3)]))

    def live(server: Any, operator: bool = False, width: int = 900, height: int = 640, **options: Any) -> Page:
        page = open_page(server.url, width, height, **options)
        page.wait_for_selector("#connection[data-state=live]")
        if operator:
            page.evaluate(LOG_IN, PASSWORD)
            page.wait_for_selector(".edit-zones:not([hidden])")
        page.wait_for_selector(".pane .picture")
        return page

    return live


def read_at(page: Page, x: float, y: float) -> tuple[float, float, str]:
    """What the read-out says at a point of the view: range (m), bearing (degrees), and all of it."""
    box = page.locator(".view").bounding_box()
    assert box
    page.mouse.move(box["x"] + x, box["y"] + y)
    readout = page.locator(".readout")
    expect(readout).to_be_visible()
    text = readout.inner_text().replace("−", "-")
    found = re.match(r"([\d.]+) m +(-?[\d.]+)°", text)
    assert found, text
    return float(found[1]), float(found[2]), text


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    box = page.locator(".view").bounding_box()
    assert box
    page.mouse.move(box["x"] + start[0], box["y"] + start[1])
    page.mouse.down()
    page.mouse.move(box["x"] + (start[0] + end[0]) / 2, box["y"] + (start[1] + end[1]) / 2)
    page.mouse.move(box["x"] + end[0], box["y"] + end[1])
    page.mouse.up()


def test_the_read_out_tells_place_and_level_under_the_cursor(
    context: Context, serving, live, pixels, centre, eventually
) -> None:
    with serving(context) as server:
        page = live(server)
        page.keyboard.press("r")  # no rings
        eventually(page, lambda: centre(pixels(page.locator(".view")).sum(axis=2) > 600) and None)
        screen = pixels(page.locator(".view")).sum(axis=2)
        screen[:, :80] = 0  # the bar of colours
        x, y = centre(screen > 600)
        range_m, bearing_deg, text = read_at(page, x, y)
        assert range_m == pytest.approx(9.0, abs=0.15)
        assert bearing_deg == pytest.approx(math.degrees(0.3), abs=1.0)
        assert float(re.search(r"(-?[\d.]+) dB", text)[1]) == pytest.approx(50.0, abs=0.5)  # type: ignore[index]
        dark = read_at(page, x - 150, y)[2]
        assert float(re.search(r"(-?[\d.]+) dB", dark)[1]) == pytest.approx(0.0, abs=0.5)  # type: ignore[index]


def test_a_track_is_chosen_by_click_and_keys_and_its_card_follows_it_to_the_end(
    context: Context, serving, live, make_result
) -> None:
    numbers = {field.name: 0.5 for field in dataclasses.fields(TrackSummary) if field.type == "float"}
    exact = {"id": 2**62 + 5, "hits": 9, "pings": 12, "calibrated": False, "label": "probable animal"}
    summary = TrackSummary(**(numbers | exact | {"probability": 0.83}))
    short = str((2**62 + 5) % 10_000)
    with serving(context) as server:
        page = live(server)
        server.call(context.results.publish, make_result(2))
        card = page.locator(".card")
        expect(page.locator("[data-is=tracks]")).to_have_text("1")
        page.keyboard.press("t")
        expect(card).to_be_visible()
        expect(card.locator("h3")).to_have_text(f"Track {short}")
        expect(card).to_contain_text("1.10 m/s")
        expect(card).to_contain_text("63°")  # of velocity (1, 0.5)
        expect(card).to_contain_text("−35.0 dB relative")
        assert card.locator("a").get_attribute("href") == f"/tracks#{2**62 + 5}"
        page.keyboard.press("Escape")
        expect(card).to_be_hidden()

        options = page.get_by_role("listbox", name="Tracks of pen")
        options.focus()
        options.press("ArrowRight")
        expect(card).to_be_visible()
        expect(options.get_by_role("option", selected=True)).to_contain_text(f"Track {short}")
        page.get_by_role("button", name="Close").click()
        expect(card).to_be_hidden()

        # a click finds it where it swims: under the place that the read-out calls (3, 10)
        box = page.locator(".view").bounding_box()
        assert box
        place = page.evaluate(
            """async ([width, height, range, bearing]) => {
                const { FanPlace, Viewport, geometryOf } = await import("/static/live/place.js");
                const bearing_rad = Array.from({ length: 120 }, (_, i) => {
                    const even = -1 + (2 * i) / 119; return Math.sign(even) * Math.abs(even) ** 1.3; });
                const head = { bearing_rad, range_first_m: 0.97556, range_last_m: 20.52444, beam_width_rad: 0.02 };
                return new FanPlace(head, geometryOf(head), width, height, new Viewport()).toScreen(range, bearing);
            }""",
            [box["width"], box["height"], math.hypot(3, 10), math.atan2(3, 10)],
        )
        range_m, bearing_deg, _ = read_at(page, place["x"], place["y"])
        assert (range_m, bearing_deg) == (
            pytest.approx(math.hypot(3, 10), abs=0.05),
            pytest.approx(math.degrees(math.atan2(3, 10)), abs=0.2),
        )
        page.mouse.click(box["x"] + place["x"], box["y"] + place["y"])
        expect(card).to_be_visible()

        server.call(context.results.publish, dataclasses.replace(make_result(3), tracks=(), ended=(summary,)))
        expect(card.locator(".class")).to_contain_text("probable animal, 83 %")
        expect(card.locator(".class")).to_contain_text("ended")
        expect(card).to_contain_text("9 of 12 pings")


def test_an_operator_draws_a_zone_and_every_page_and_the_pipeline_have_it(operated: Context, serving, live) -> None:
    with serving(operated) as server:
        page, viewer = live(server, operator=True), live(server)
        assert viewer.locator(".edit-zones").is_hidden()
        viewer.keyboard.press("z")
        assert viewer.locator(".zone-editor").is_hidden()

        page.locator(".edit-zones").click()
        start, end = (340, 200), (480, 330)
        corners = [read_at(page, *start), read_at(page, *end)]
        drag(page, start, end)
        expect(page.get_by_role("button", name="zone-1 watched")).to_have_attribute("aria-pressed", "true")
        drag(page, (600, 200), (640, 260))
        expect(page.get_by_role("button", name="zone-2 watched")).to_be_visible()
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_role("button", name="zone-2 watched")).to_be_hidden()
        page.get_by_role("button", name="zone-1 watched").click()
        page.get_by_label("Name", exact=True).fill("the gate")
        page.get_by_label("Name", exact=True).press("Tab")
        expect(page.locator(".zone-editor .error")).to_contain_text("letters, digits")
        page.get_by_label("Name", exact=True).fill("gate")
        page.get_by_label("Name", exact=True).press("Tab")
        page.get_by_label("Kind").select_option("ignored")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.locator(".zone-editor .hint").first).to_contain_text("Drag over the picture")
        zone = operated.config.sonar("pen").zones["gate"]
        assert set(operated.config.sonar("pen").zones) == {"gate"}
        assert zone.kind == "ignored"
        ranges, bearings = sorted(corner[0] for corner in corners), sorted(corner[1] for corner in corners)
        assert [zone.min_range_m, zone.max_range_m] == pytest.approx(ranges, abs=0.06)
        assert [zone.min_bearing_deg, zone.max_bearing_deg] == pytest.approx(bearings, abs=0.6)

        other = live(server, operator=True)
        other.locator(".edit-zones").click()
        expect(other.get_by_role("button", name="gate ignored")).to_be_visible()
        page.get_by_role("button", name="Delete gate").click()
        page.get_by_role("button", name="Save", exact=True).click()
        expect(other.get_by_role("button", name="gate ignored")).to_be_hidden()
        assert operated.config.sonar("pen").zones == {}


def test_keys_alone_measure_and_a_card_fits_a_phone(context: Context, serving, live, make_result) -> None:
    with serving(context) as server:
        page = live(server)
        page.keyboard.press("x")
        readout = page.locator(".readout")
        expect(readout).to_be_visible()
        places = []
        for keys in (["m", "Enter"], ["ArrowLeft"] * 6 + ["ArrowUp"] * 3 + ["Shift+ArrowUp", "Enter"]):
            for key in keys:
                page.keyboard.press(key)
            text = readout.inner_text().replace("−", "-")
            places.append([float(value) for value in re.search(r"x (-?[\d.]+) +y (-?[\d.]+) m", text).groups()])  # type: ignore[union-attr]
        expect(page.locator(".measure")).to_have_attribute("aria-pressed", "true")
        (x0, y0), (x1, y1) = places
        expect(page.locator(".measured")).to_have_text(re.compile(r"m +[−-]?\d+°"))
        told = page.locator(".measured").inner_text().replace("−", "-")
        metres, degrees = re.match(r"([\d.]+) m +(-?\d+)°", told).groups()  # type: ignore[union-attr]
        assert x1 < x0
        assert y1 > y0
        assert float(metres) == pytest.approx(math.hypot(x1 - x0, y1 - y0), abs=0.03)
        assert float(degrees) == pytest.approx(math.degrees(math.atan2(x1 - x0, y1 - y0)), abs=1.5)
        page.keyboard.press("Escape")
        expect(page.locator(".measure")).to_have_attribute("aria-pressed", "false")
        page.keyboard.press("?")
        for line in ("Measure", "Next track, with its card", "Cursor by keys, and away"):
            expect(page.locator("#help").get_by_text(line, exact=True)).to_be_visible()

        phone = live(server, width=390, height=844, has_touch=True, is_mobile=True, device_scale_factor=2)
        server.call(context.results.publish, make_result(2))
        expect(phone.locator("[data-is=tracks]")).to_have_text("1")
        phone.keyboard.press("t")
        expect(phone.locator(".card")).to_be_visible()
        assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
        parts = "[...document.querySelectorAll('.card, .card dd, .card p')]"
        assert phone.evaluate(f"{parts}.filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.outerHTML)") == []
        ratio = phone.evaluate(
            "(() => { const c = document.querySelector('.overlay'); return c.width / c.clientWidth; })()"
        )
        assert ratio == pytest.approx(2, abs=0.01)
