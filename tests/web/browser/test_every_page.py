"""What holds for every page: usable by all, on a phone, at night, by keyboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from nims_appliance.context import Context
from nims_appliance.pipeline.display import DisplayEncoder
from nims_appliance.web.assets import PAGES

AXE = Path(__file__).parents[3] / "node_modules" / "axe-core" / "axe.min.js"
PALETTES = ["day", "dusk", "night"]
PATHS = [page.path for page in PAGES]


@pytest.fixture
def open_path(context: Context, users, serving, open_page, blobs_frame) -> Iterator[Callable[..., Page]]:
    """Opens a page of an appliance with one sonar, as an admin; it is there when the appliance has told of itself."""
    context.sonars["pen"].last_picture = DisplayEncoder().encode(blobs_frame(1, [(9.0, 0.3), (14.0, -0.4)]))
    with serving(context) as server:

        def open_path(path: str, *size: int, palette: str = "dusk", **options: object) -> Page:
            page = open_page(server.url + path[1:], *size, user="" if path == "/login" else "ada", **options)
            # as another tab tells it, so that what is drawn on canvases follows
            page.evaluate(
                "(newValue) => dispatchEvent(new StorageEvent('storage', { key: 'nims.palette', newValue }))", palette
            )
            if path != "/login":
                page.wait_for_selector("#connection[data-state=live]", state="attached")
            page.wait_for_timeout(300)  # what is loaded after that
            return page

        yield open_path


@pytest.mark.parametrize("path", PATHS)
def test_nothing_serious_stands_in_the_way_of_anybody(open_path, path: str) -> None:
    page = open_path(path, 1000, 800)
    page.evaluate(AXE.read_text())
    found = []
    for palette in PALETTES:
        page.evaluate("(name) => { document.documentElement.dataset.palette = name; }", palette)
        violations = page.evaluate("async () => (await axe.run({ resultTypes: ['violations'] })).violations")
        found += [
            f"{palette}: {violation['id']}: {node['target']} {node['failureSummary']}"
            for violation in violations
            if violation["impact"] in ("serious", "critical")
            for node in violation["nodes"]
        ]
    assert found == []


CUT = """() => {
    const scrolls = (element) => {
        for (let at = element.parentElement; at && at !== document.body; at = at.parentElement) {
            if (/auto|scroll/.test(getComputedStyle(at).overflowX) && at.scrollWidth > at.clientWidth) return true;
        }
        return false;
    };
    const cut = [];
    const all = "a, button, input, select, textarea, label, h1, h2, h3, p, dt, dd, td, th";
    const visible = { visibilityProperty: true, opacityProperty: true };
    for (const element of document.body.querySelectorAll(all)) {
        const { left, right, width, height } = element.getBoundingClientRect();
        if (!width || !height || !element.checkVisibility(visible)) continue;
        const hidden = getComputedStyle(element).clipPath !== "none" || width <= 1;
        if (!hidden && (left < -1 || right > innerWidth + 1) && !scrolls(element)) {
            cut.push(`${element.tagName} "${element.textContent.trim().slice(0, 40)}" from ${left} to ${right}`);
        }
    }
    return cut;
}"""


@pytest.mark.parametrize("path", PATHS)
def test_a_phone_shows_all_of_it(open_path, path: str) -> None:
    page = open_path(path, 360, 740, is_mobile=True, has_touch=True, device_scale_factor=2)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(CUT) == []


@pytest.mark.parametrize("path", PATHS)
def test_at_night_nothing_blinds(open_path, pixels, path: str) -> None:
    page = open_path(path, palette="night")
    screen = pixels(page)
    red, green, blue = (np.quantile(screen[..., channel], 0.9999) for channel in range(3))
    assert blue < 64
    assert green < 110
    assert screen.mean() < 40
    assert red > 90  # there is something to see


def test_echoes_are_told_from_noise_at_night(open_path, pixels, lightness, eventually) -> None:
    page = open_path("/", palette="night")

    def echoes_stand_out() -> None:
        seen = lightness(pixels(page.locator(".view canvas.picture")))
        assert np.quantile(seen, 0.999) - np.median(seen) > 0.3

    eventually(page, echoes_stand_out)


def test_the_keyboard_leads_everywhere_and_says_how(open_path) -> None:
    page = open_path("/")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    assert page.locator("#help kbd").count() > 10
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    palettes = set()
    for _ in range(3):
        page.keyboard.press("n")
        palettes.add(page.evaluate("document.documentElement.dataset.palette"))
    assert palettes == set(PALETTES)
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.wait_for_url("**/settings")
    page.wait_for_selector("#connection[data-state=live]", state="attached")
    page.keyboard.press("g")
    page.keyboard.press("l")
    page.wait_for_url(lambda url: url.endswith("/"))


@pytest.mark.parametrize("path", PATHS)
def test_the_focus_is_always_seen(open_path, path: str) -> None:
    page = open_path(path)
    unseen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        told = page.evaluate(
            """() => {
                const { activeElement: active } = document;
                if (!active || active === document.body) return null;
                const shows = (element) => {
                    const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
                    return (outlineStyle !== "none" && parseFloat(outlineWidth) > 0) || boxShadow !== "none";
                };
                const shown = shows(active) || (active.parentElement && shows(active.parentElement));
                return shown ? "" : active.outerHTML.slice(0, 120);
            }"""
        )
        if told:
            unseen.append(told)
    assert unseen == []
