"""The settings page: what is about to change, who was faster, who changed what, and back again."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from playwright.sync_api import Page, expect

from nims_appliance.config.masking import MASK
from nims_appliance.config.store import ConfigStore
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
        expect(page.locator(".field:has([id='setting-sonars.pen.link']) .origin")).to_have_text("config.yaml:4")
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


def save(page: Page) -> None:
    page.locator("#pending .primary").click()
    page.wait_for_selector("#pending", state="hidden")


def test_a_trigger_is_added_and_its_actions_are_edited_line_by_line(context: Context, serving, settings) -> None:
    actions = "triggers.camera.actions"
    with serving(context) as server:
        page = settings(server.url)
        page.get_by_label("Name of a new trigger").fill("camera")
        page.get_by_role("button", name="Add trigger").click()
        lines = field(page, actions).locator("input")
        page.get_by_role("button", name="Add to Actions").click()
        page.keyboard.type("htp://10.0.0.9:5000")
        error = page.locator(f"[id='setting-{actions}-error']")
        expect(error).to_contain_text("'htp://10.0.0.9:5000': expected udp://host:port")
        expect(lines).to_have_attribute("aria-invalid", "true")
        expect(page.locator("#pending .primary")).to_be_disabled()
        lines.fill("udp://10.0.0.9:5000")
        expect(error).to_be_hidden()
        page.keyboard.press("Enter")  # another line
        page.keyboard.type("https://me:secret@example.org/hook?key=secret")
        page.keyboard.press("Enter")
        page.keyboard.type("clip")
        save(page)
        hook = "https://me:secret@example.org/hook?key=secret"
        assert context.config.current.triggers["camera"].actions == ["udp://10.0.0.9:5000", hook, "clip"]
        expect(lines.nth(1)).to_have_value(f"https://{MASK}@example.org/hook?{MASK}")
        page.get_by_role("button", name="Remove Actions 1").click()
        expect(lines).to_have_count(2)
        save(page)
        assert context.config.current.triggers["camera"].actions == [hook, "clip"]
        assert "secret" not in page.content()
        expect(page.locator("#history > li")).to_have_count(3)
        assert "secret" not in page.locator("#history").inner_text()


def test_an_output_is_set_up_without_showing_its_password(context: Context, serving, settings) -> None:
    with serving(context) as server:
        page = settings(server.url)
        page.locator("[data-key='outputs.mqtt'] > summary").click()
        page.locator("[data-key='outputs.mqtt']").evaluate("(group) => { group.open = true; }")
        field(page, "outputs.mqtt.host").fill("broker.example.org")
        field(page, "outputs.mqtt.password").fill("secret")
        field(page, "outputs.mqtt.port").fill("0.5")
        expect(page.locator("[id='setting-outputs.mqtt.port-error']")).to_have_text("expected a whole number")
        field(page, "outputs.mqtt.port").fill("1884")
        save(page)
        settings_now = context.config.output("mqtt")
        assert (settings_now.host, settings_now.port, settings_now.password) == ("broker.example.org", 1884, "secret")
        expect(field(page, "outputs.mqtt.password")).to_have_value(MASK)
        assert "secret" not in page.content()


def test_what_config_yaml_has_is_removed_and_restored(context: Context, users, plugins, serving, settings) -> None:
    file = context.data / "config.yaml"
    file.write_text(file.read_text() + "    zones: {gate: {kind: watched, max_range_m: 9}}\n")
    context.config = ConfigStore.load(context.data, plugins=plugins)
    with serving(context) as server:
        page = settings(server.url)
        asked: list[str] = []
        page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept()))
        zone, gone = page.locator("[data-key='sonars.pen.zones.gate']"), page.locator("[data-removed]")
        page.locator("[data-key='sonars.pen.zones.gate'] > summary").click()
        page.get_by_role("button", name="Remove gate").click()
        expect(zone).to_have_count(0)
        assert "It stays in config.yaml" in asked[0]
        assert context.config.sonar("pen").zones == {}
        expect(gone).to_have_text("Zone gate removed here; it stands in config.yaml:5 Restore")
        page.get_by_role("button", name="Restore gate").click()
        expect(zone).to_have_count(1)
        expect(gone).to_have_count(0)
        assert context.config.sonar("pen").zones["gate"].max_range_m == 9.0
        page.get_by_role("button", name="Undo change 2").click()
        expect(gone).to_have_count(1)
