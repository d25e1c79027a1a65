"""Who may do what, as the pages show it."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from nims_appliance.context import Context

KEY = "sonars.pen.detector.min_range_m"


def change(page: Page, value: str) -> None:
    page.wait_for_selector("#connection[data-state=live]", state="attached")
    group = page.locator("[data-key='sonars.pen.detector']")
    if group.get_attribute("open") is None:
        group.locator("> summary").click()
    page.locator(f"[id='setting-{KEY}']").fill(value)
    page.locator("#pending .primary").click()


def test_a_viewer_looks_and_an_operator_changes(context: Context, users, serving, open_page) -> None:
    before = context.config.sonar("pen").detector.min_range_m
    with serving(context) as server:
        viewer = open_page(server.url + "settings", 900, 700, user="vera")
        viewer.wait_for_selector("#connection[data-state=live]", state="attached")
        field = viewer.locator(f"[id='setting-{KEY}']")
        expect(field).to_be_attached()
        refused = viewer.evaluate(
            """async (key) => (await fetch("/api/v1/config", { method: "PATCH",
                headers: { "Content-Type": "application/json" },
                body: JSON.stringify({ changes: { [key]: 9.5 } }) })).status""",
            KEY,
        )
        assert refused == 403
        assert context.config.sonar("pen").detector.min_range_m == before

        operator = open_page(server.url + "settings", 900, 700, user="otto")
        change(operator, "3.5")
        expect(operator.locator("#pending")).to_be_hidden()
        expect(field).to_have_value("3.5")
        assert context.config.sonar("pen").detector.min_range_m == 3.5


def test_somebody_logs_in_and_out(context: Context, users, serving, open_page) -> None:
    with serving(context) as server:
        page = open_page(server.url + "login", 900, 700)
        page.get_by_label("Name").fill("otto")
        page.get_by_label("Password", exact=True).fill("wrong, and long enough")
        page.locator("#login").get_by_role("button", name="Log in").click()
        expect(page.locator(".login-form .error")).to_be_visible()
        page.get_by_label("Password", exact=True).fill("a long password for tests")
        page.locator("#login").get_by_role("button", name="Log in").click()
        page.wait_for_url(lambda url: not url.endswith("/login"))
        expect(page.locator("#account")).to_contain_text("otto")
