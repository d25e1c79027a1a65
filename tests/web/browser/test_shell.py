"""What is around every page: palettes, keys, the menu of small screens, state and problems."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import expect

from nims_appliance.context import Context

PAGES = ["health", "settings"]


@pytest.mark.parametrize("path", PAGES)
def test_the_night_palette_shows_red_alone(context: Context, serving, open_page, pixels, path: str) -> None:
    """What is not red ends the eyes' dark adaptation; each pixel counts, also those of controls that browsers draw."""
    with serving(context) as server:
        page = open_page(server.url + path, width=1000, height=900)
        page.wait_for_selector("#connection[data-state=live]")
        page.get_by_role("radio", name="Night").check()
        page.wait_for_timeout(500)
        red, green, blue = np.moveaxis(pixels(page), -1, 0)
        assert red.max() > 200, "there is something to read"
        assert green.max() < 80
        assert blue.max() < 80


def test_the_palette_is_kept_and_the_same_in_all_tabs(context: Context, serving, open_page) -> None:
    with serving(context) as server:
        first = open_page(server.url + "health", width=1000)
        second = first.context.new_page()
        second.goto(server.url + "settings")
        first.get_by_role("radio", name="Day").check()
        expect(second.locator("html[data-palette=day]")).to_be_attached()
        expect(second.get_by_role("radio", name="Day")).to_be_checked()
        second.goto(server.url + "health")
        assert second.locator("html").get_attribute("data-palette") == "day"
        second.locator("body").press("n")
        expect(first.locator("html[data-palette=dusk]")).to_be_attached()


def test_keys_are_listed_and_lead_to_other_pages(context: Context, serving, open_page) -> None:
    with serving(context) as server:
        page = open_page(server.url + "health")
        page.wait_for_selector("#connection[data-state=live]")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_contain_text("Go to Settings")
        page.keyboard.press("Escape")
        page.locator("#log-filter").fill("gs")  # typed, not meant as keys
        page.locator("#log-filter").press("Escape")
        page.locator("body").click(position={"x": 2, "y": 200})
        page.keyboard.press("g")
        page.keyboard.press("s")
        page.wait_for_url("**/settings")


def test_the_bar_is_a_menu_on_a_phone(context: Context, serving, open_page) -> None:
    with serving(context) as server:
        page = open_page(server.url + "settings", width=390, height=844)
        page.wait_for_selector("#connection[data-state=live]")
        link = page.get_by_role("link", name="Health", exact=True)
        expect(link).to_be_hidden()
        page.get_by_role("button", name="Menu").click()
        expect(link).to_be_visible()
        page.keyboard.press("Escape")
        expect(link).to_be_hidden()
        expect(page.get_by_role("button", name="Menu")).to_be_focused()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing to scroll sideways"


@pytest.mark.parametrize("path", PAGES)
def test_every_page_tells_problems_and_state(context: Context, serving, open_page, path: str) -> None:
    disk = context.health.part("disk")
    disk.statistics = lambda: {"free_bytes": 41 * 10**9, "left_s": 7200.0}
    with serving(context) as server:
        page = open_page(server.url + path, width=1300)
        expect(page.locator("#strip [data-is=disk]")).to_contain_text("2 h left")
        expect(page.locator("#problems")).to_be_hidden()
        server.call(setattr, disk, "warning", "the disk is full in 2 h at the present rate")
        server.call(context.health.part("archive").set, "failed", "<b>no room</b>")
        expect(page.locator("#problems")).to_contain_text("<b>no room</b>")
        expect(page.locator("#problems")).to_contain_text("full in 2 h")
        expect(page.locator("#strip [data-is=disk]")).to_have_attribute("data-level", "warn")


BAR = """() => {
    const shown = [...document.querySelectorAll(".bar > *, .bar nav a, .bar .menu > *, .strip a, .account > *")]
        .filter((part) => !part.matches(".menu, .strip, .bar nav, .account") && part.checkVisibility())
        .map((part) => [part.textContent.trim(), part.getBoundingClientRect()])
        .filter(([, box]) => box.width > 0).sort((a, b) => a[1].left - b[1].left);
    const faults = [];
    for (const [n, [text, box]] of shown.entries()) {
        if (box.left < 0 || box.right > innerWidth) faults.push(`${text} is outside`);
        if (box.height > 60) faults.push(`${text} is broken into lines`);
        if (n && box.left < shown[n - 1][1].right - 1) faults.push(`${text} lies over ${shown[n - 1][0]}`);
    }
    return faults;
}"""


def test_nothing_in_the_bar_is_broken_or_lies_over_another(context: Context, users, serving, open_page) -> None:
    context.health.part("disk").statistics = lambda: {"free_bytes": 41 * 10**9, "left_s": 7200.0}
    context.health.part("clock").statistics = lambda: {"synchronised": False, "error_s": None}
    with serving(context) as server:
        page = open_page(server.url + "health", 1600, user="ada")
        page.wait_for_selector("#connection[data-state=live]")
        page.evaluate("""() => { const part = document.querySelector("#strip [data-is=recording]");
            part.hidden = false; part.querySelector("b").textContent = "upstream, downstream, fish-ladder"; }""")
        expect(page.get_by_role("link", name="Users")).to_be_visible()
        for width in (1600, 1440, 1366, 1280, 1180, 1100, 1024, 993, 970, 900, 820, 600, 390, 360):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate(BAR) == [], width


def test_pages_of_admins_are_in_nobody_elses_bar(context: Context, users, serving, open_page) -> None:
    with serving(context) as server:
        anybody, admin = (
            open_page(server.url + "health", width=1300),
            open_page(server.url + "health", 1300, user="ada"),
        )
        expect(admin.get_by_role("link", name="Users")).to_be_visible()
        expect(anybody.get_by_role("button", name="Log in").first).to_be_visible()
        expect(anybody.get_by_role("link", name="Users")).to_be_hidden()
