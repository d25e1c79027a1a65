"""The settings page: what is typed is checked, saved, taken by the appliance, and seen by all who look."""

from __future__ import annotations

import numpy as np
from playwright.sync_api import expect

from nims_appliance.context import Context
from nims_appliance.pipeline.display import DisplayEncoder


def test_a_setting_changed_in_one_page_appears_in_the_other(context: Context, users, serving, open_page) -> None:
    key = "sonars.pen.detector.min_range_m"
    with serving(context) as server:
        author, other = (open_page(server.url + "settings", user="otto") for _ in range(2))
        for page in (author, other):
            page.wait_for_selector("#connection[data-state=live]")
            page.locator("[data-key='sonars.pen.detector'] > summary").click()
        field = author.locator(f"[id='setting-{key}']")
        field.fill("-4")
        assert "at least 0" in author.locator(f"[id='setting-{key}-error']").inner_text()
        assert author.locator("#pending .primary").is_disabled()
        field.fill("2.5")
        author.locator("#pending .primary").click()
        expect(other.locator(f"[id='setting-{key}']")).to_have_value("2.5")
        author.wait_for_selector("#pending", state="hidden")
        assert "overrides.yaml" in other.locator(f".field:has([id='setting-{key}']) .origin").inner_text()
        assert context.config.sonar("pen").detector.min_range_m == 2.5


def test_a_sonar_is_added_and_removed_in_the_browser(context: Context, users, serving, open_page) -> None:
    with serving(context) as server:
        page = open_page(server.url + "settings", user="otto")
        page.on("dialog", lambda dialog: dialog.accept())
        page.fill("#add [name=name]", "dam")
        page.select_option("#add [name=profile]", "blueprint-oculus")
        page.fill("#add [name=link]", "tcp://127.0.0.1:52100")
        page.click("#add button")
        group = page.locator('details[data-key="sonars.dam"]')
        expect(group).to_be_attached()
        assert context.config.sonar("dam").link == "tcp://127.0.0.1:52100"
        page.get_by_role("button", name="Remove dam", include_hidden=True).evaluate("button => button.click()")
        expect(group).not_to_be_attached()
        assert set(context.config.current.sonars) == {"pen"}


def test_a_zone_is_added_changed_drawn_and_removed(
    context: Context, users, serving, open_page, blobs_frame, pixels, eventually
) -> None:
    sonar = context.sonars["pen"]
    sonar.last_picture = DisplayEncoder().encode(blobs_frame(1, []))
    gate = "sonars.pen.zones.gate"
    with serving(context) as server:
        page = open_page(server.url + "settings", user="otto")
        page.on("dialog", lambda dialog: dialog.accept())
        page.wait_for_selector("#connection[data-state=live]")
        name = page.get_by_label("Name of a new zone")
        name.fill("the gate")
        page.get_by_role("button", name="Add zone").click()
        expect(page.locator(".adder", has=name).locator(".error")).to_contain_text("expected a name of letters")
        name.fill("gate")
        name.press("Enter")
        page.locator(f"[data-key='{gate}'] > summary").click()
        for setting, value in (("min_range_m", "8"), ("max_range_m", "12"), ("min_bearing_deg", "-17")):
            page.locator(f"[id='setting-{gate}.{setting}']").fill(value)
        page.locator("#pending .primary").click()
        page.wait_for_selector("#pending", state="hidden")
        zone = context.config.sonar("pen").zones["gate"]
        assert (zone.kind, zone.min_range_m, zone.max_range_m, zone.min_bearing_deg) == ("watched", 8.0, 12.0, -17.0)

        sonar.settings = context.config.sonar("pen")
        live = open_page(server.url)

        def is_outlined() -> None:
            colours = pixels(live.locator(".view"))
            assert (np.abs(colours - (127, 200, 232)).sum(axis=2) < 90).sum() > 100

        eventually(live, is_outlined)
        page.get_by_role("button", name="Remove gate").click()
        expect(page.locator(f"[data-key='{gate}']")).not_to_be_attached()
        assert context.config.sonar("pen").zones == {}
