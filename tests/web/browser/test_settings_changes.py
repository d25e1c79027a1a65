"""The settings page: what is about to change, who was faster, who changed what, and back again."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from playwright.sync_api import Page, expect

from nims_appliance.context import Context

MIN, MAX = (f"sonars.pen.detector.{name}" for name in ("min_range_m", "max_range_m"))


def field(page: Page, key: str):
    return page.locator(f"[id='setting-{key}']")


@pytest.fixture
def settings(open_page, users):
    def settings(url: str, **options) -> Page:
        page = open_page(url + "settings", 1100, 900, user="otto", **options)
        page.wait_for_selector("#connection[data-state=live]")
        page.locator("[data-key='sonars.pen.detector'] > summary").click()
        return page

    return settings


def test_what_does_not_go_together_is_told_while_typing(context: Context, serving, settings) -> None:
    with serving(context) as server:
        page = settings(server.url)
        field(page, MIN).fill("50")
        field(page, MAX).fill("40")
        expect(page.locator(f"[id='setting-{MAX}-error']")).to_contain_text("must be below")
        expect(page.locator("#pending .primary")).to_be_disabled()
        field(page, MAX).fill("60")
        expect(page.locator(f"[id='setting-{MAX}-error']")).to_be_hidden()
        expect(page.locator("#pending .primary")).to_be_enabled()
        assert not (context.data / "overrides.yaml").exists(), "nothing is saved yet"


def test_old_and_new_values_and_restarts_are_shown_before_saving(context: Context, serving, settings) -> None:
    with serving(context) as server:
        page = settings(server.url)
        field(page, MIN).fill("2.5")
        field(page, "sonars.pen.enabled").uncheck()
        expect(page.locator("#pending li").first).to_contain_text("Min range0 m → 2.5 m")
        expect(page.locator("#pending")).to_contain_text("Sonar pen will start anew")
        page.keyboard.press("Control+s")
        page.wait_for_selector("#pending", state="hidden")
        assert context.config.sonar("pen").enabled is False
        page.get_by_role("button", name="Changed").click()
        expect(field(page, MIN)).to_be_visible()
        expect(field(page, MAX)).to_be_hidden()


def test_of_two_pages_that_change_one_setting_the_later_is_asked(context: Context, serving, settings) -> None:
    with serving(context) as server:
        first, second = settings(server.url), settings(server.url)
        field(second, MIN).fill("7")
        field(first, MIN).fill("3")
        first.locator("#pending .primary").click()
        conflict = second.locator(".field", has=field(second, MIN)).locator(".conflict")
        expect(conflict).to_contain_text("Changed to 3")
        expect(field(second, MIN)).to_have_value("7")
        conflict.get_by_role("button").click()
        expect(field(second, MIN)).to_have_value("3")
        expect(second.locator("#pending")).to_be_hidden()


def test_a_change_is_undone_from_the_history(context: Context, serving, settings) -> None:
    with serving(context) as server:
        page = settings(server.url)
        field(page, MIN).fill("3")
        page.locator("#pending .primary").click()
        entry = page.locator("#history > li").first
        expect(entry).to_contain_text("otto, browser")
        expect(entry).to_contain_text(f"{MIN} 0 → 3")
        entry.get_by_role("button", name="Undo").click()
        expect(page.locator("#history > li").first).to_contain_text("undid change 1")
        expect(field(page, MIN)).to_have_value("0")
        assert context.config.sonar("pen").detector.min_range_m == 0.0


def test_what_others_change_shows_with_its_author(context: Context, serving, settings) -> None:
    with serving(context) as server:
        page = settings(server.url)
        change = partial(context.config.change, {MIN: 4.0}, "token logger")
        trio.from_thread.run(change, trio_token=server._token)
        expect(field(page, MIN)).to_have_value("4")
        expect(page.locator("#history > li").first).to_contain_text("token logger, API")


def test_settings_are_found_by_their_words(context: Context, serving, settings) -> None:
    with serving(context) as server:
        page = settings(server.url)
        page.keyboard.press("/")
        page.keyboard.type("farthest speed")
        expect(page.locator("#search-note")).to_have_text("No setting is like that.")
        page.locator("#search").fill("fastest animal")
        expect(field(page, "sonars.pen.tracker.max_speed_m_s")).to_be_visible()
        expect(page.locator("#search-note")).to_have_text("1 setting")
        page.locator("#search").press("Escape")
        expect(field(page, "sonars.pen.tracker.max_speed_m_s")).to_be_hidden()
        expect(field(page, MIN)).to_be_visible()


def test_what_is_held_elsewhere_or_stands_in_config_yaml_says_so(context: Context, serving, settings) -> None:
    with serving(context) as server:
        page = settings(server.url)
        expect(page.locator(f".field:has([id='setting-sonars.pen.link']) .origin")).to_have_text("config.yaml:4")
        expect(field(page, "web.port")).to_be_disabled()
        (context.data / "config.yaml").write_text("# edited\n")
        page.reload()
        expect(page.locator("#notes")).to_contain_text("config.yaml was edited")


def test_who_may_only_look_is_asked_for_a_login_when_saving(context: Context, users, serving, open_page) -> None:
    with serving(context) as server:
        page = open_page(server.url + "settings", 1100, 900)
        expect(page.locator("#viewing")).to_be_visible()
        page.locator("[data-key='sonars.pen.detector'] > summary").click()
        field(page, MIN).fill("3")
        page.locator("#pending .primary").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert context.config.sonar("pen").detector.min_range_m == 0.0
