"""The health page: what is wrong is seen, and can be told to others."""

from __future__ import annotations

import logging

from playwright.sync_api import expect

from nims_appliance.bus import LATEST
from nims_appliance.context import Context


def test_a_part_that_fails_is_seen_with_its_error_and_counters(context: Context, serving, open_page) -> None:
    part = context.health.part("archive")
    part.set("running", "nims.sqlite3")
    part.statistics = lambda: {"written_tracks": 1234, "notes": ["a", "b"]}
    with serving(context) as server:
        page = open_page(server.url + "health", width=1000, height=900)
        expect(page.locator("#verdict")).to_have_text("All is well")
        server.call(setattr, part, "last_error", "database is locked")
        server.call(setattr, part, "restarts", 3)
        server.call(part.set, "failed", "next try in 4 s")
        expect(page.locator("#verdict")).to_have_text("1 thing needs a look")
        row = page.locator("#parts details[data-key=archive]")
        expect(row).to_contain_text("failed")
        expect(row).to_contain_text("3 restarts")
        row.locator("summary").click()
        expect(row.locator(".trouble")).to_contain_text("database is locked")
        expect(row.locator("dl")).to_contain_text("1\u202f234")
        page.wait_for_timeout(2500)
        assert row.evaluate("row => row.open"), "stays open when the figures come again"


def test_queues_and_plugins_are_listed(context: Context, serving, open_page) -> None:
    with serving(context) as server, context.results.subscribe("archive", LATEST):
        for _ in range(3):
            server.call(context.results.publish, _Nothing())
        page = open_page(server.url + "health", width=1000, height=900)
        row = page.locator("#queues tr[data-key='results/archive/1']")
        expect(row.locator("td").nth(2)).to_have_text("2")
        expect(page.locator("#plugins")).to_contain_text("nims_m3")


class _Nothing:
    sonar_id, channel = "pen", ""


def test_the_log_is_shown_to_operators_and_filtered(context: Context, users, serving, open_page) -> None:
    log = logging.Logger("nims_appliance.test")
    log.addHandler(context.log)
    log.info("the sonar answers")
    log.error("<i>the disk</i> is full")
    with serving(context) as server:
        anybody = open_page(server.url + "health", width=1000, height=900)
        expect(anybody.locator("#log")).to_contain_text("shown to operators")
        page = open_page(server.url + "health", width=1000, height=900, user="otto")
        expect(page.locator("#log")).to_contain_text("<i>the disk</i> is full")
        page.locator("#log-level").select_option("ERROR")
        expect(page.locator("#log")).not_to_contain_text("the sonar answers")
        page.locator("#log-level").select_option("INFO")
        page.locator("#log-filter").fill("SONAR")
        expect(page.locator("#log")).not_to_contain_text("the disk")
        server.call(log.warning, "another sonar")
        expect(page.locator("#log")).to_contain_text("another sonar")


def test_everything_is_copied_for_support(context: Context, users, serving, open_page) -> None:
    context.health.part("archive").set("failed", "mqtt://me:hunter2@broker is gone")
    with serving(context) as server:
        page = open_page(server.url + "health", user="otto", permissions=["clipboard-read", "clipboard-write"])
        page.get_by_role("button", name="Copy for support").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        text = page.evaluate("navigator.clipboard.readText()")
        assert "archive: failed" in text
        assert "hunter2" not in text


def test_where_a_page_may_not_copy_the_text_is_selected(context: Context, users, serving, open_page) -> None:
    """Browsers give the clipboard to no page over plain HTTP, except on the computer itself."""
    with serving(context) as server:
        page = open_page(server.url + "health", user="otto")
        page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
        page.get_by_role("button", name="Copy for support").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        selected = dialog.locator("textarea").evaluate("t => t.value.slice(t.selectionStart, t.selectionEnd)")
        assert selected.startswith("NIMS ")
        assert "== Parts" in selected
