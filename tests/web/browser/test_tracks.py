"""The tracks page: live ones in place, ended ones from the archive, filtered and sorted there."""

from __future__ import annotations

import math
import time
from typing import Any

from playwright.sync_api import Page, expect

from nims_appliance.pipeline.results import TrackSummary

NOW_S = time.time()


def make_track(number: int, **changes: Any) -> TrackSummary:
    values: dict[str, Any] = {name: 1.0 for name, kind in TrackSummary.__annotations__.items() if kind == "float"}
    values |= {"id": 2**60 + number, "first_time_s": NOW_S - 100.0, "last_time_s": NOW_S - 60.0 - number, "hits": 9}
    values |= {"pings": 10, "calibrated": True, "label": "fish" if number % 2 else "debris"}
    values["positions"] = tuple((NOW_S + k, 0.1 * k, 5.0 + math.sin(k), 0.0) for k in range(20))
    return TrackSummary(**(values | changes))


def column(page: Page, number: int, body: str = "#ended-rows") -> list[str]:
    return page.locator(f"{body} td:nth-child({number})").all_inner_texts()


def test_live_tracks_change_in_place_and_ended_ones_follow(
    context, filled, serving, open_page, make_result, eventually
) -> None:
    filled(make_track(1))
    with serving(context) as server:
        page = open_page(f"{server.url}tracks", 1300, 800)
        expect(page.locator("#ended-rows tr")).to_have_count(1)
        server.call(context.results.publish, make_result(3))
        row = page.locator("#live-rows tr")
        expect(row).to_have_attribute("data-id", str(2**62 + 5))
        page.evaluate("document.querySelector('#live-rows tr').marked = true")
        server.call(context.results.publish, make_result(30, x_m=6.0))
        expect(row.locator("td").nth(6)).to_have_text("11.7")
        assert page.evaluate("document.querySelector('#live-rows tr').marked"), "the same row"
        row.click()
        expect(page.locator("#card")).to_contain_text("Live track")
        assert page.locator("#card a").get_attribute("href") == f"/#sonar=pen&track={2**62 + 5}"


def test_ended_tracks_are_filtered_and_sorted_by_the_archive(context, filled, serving, open_page, eventually) -> None:
    filled(*(make_track(k, mean_length_m=(k * 7 % 11) / 10, mean_speed_m_s=float(k)) for k in range(1, 251)))
    with serving(context) as server:
        page = open_page(f"{server.url}tracks", 1300, 800)
        expect(page.locator("#ended-rows tr").first).to_be_visible()
        page.get_by_role("button", name="Length (m)").click()
        expect(page.locator("th", has_text="Length")).to_have_attribute("aria-sort", "descending")
        eventually(page, lambda: _check(column(page, 5)[:3] == ["1.00", "1.00", "1.00"]))
        page.locator("[name=min_speed_m_s]").fill("248")
        expect(page.locator("#ended-rows tr")).to_have_count(3)
        page.locator("[name=label]").select_option("fish")
        expect(page.locator("#ended-rows tr")).to_have_count(1)
        assert "label=fish" in page.locator("#csv").get_attribute("href")
        page.reload()
        expect(page.locator("#ended-rows tr")).to_have_count(1)
        page.locator("[name=min_speed_m_s]").fill("1000")
        expect(page.locator("#empty")).to_contain_text("No track fits")
        page.get_by_role("button", name="Clear").click()
        expect(page.locator("#ended-rows tr").nth(50)).to_be_visible()
        # The next pages come when the end is near.
        page.locator("#scroll").evaluate("(element) => element.scrollTo(0, 1e6)")
        eventually(page, lambda: _check(page.locator("#ended-rows tr").count() > 100))


def test_a_card_shows_the_path_and_the_keyboard_leads_from_track_to_track(context, filled, serving, open_page) -> None:
    filled(*(make_track(k) for k in range(1, 5)))
    with serving(context) as server:
        page = open_page(f"{server.url}tracks#{2**60 + 2}", 1300, 800)
        card = page.locator("#card")
        expect(card.locator("svg polyline")).to_have_count(1)
        expect(card).to_contain_text("debris")
        expect(page.locator("#ended-rows tr")).to_have_count(4)
        page.keyboard.press("j")
        expect(card).to_contain_text(str(2**60 + 3))
        page.keyboard.press("Escape")
        expect(card).not_to_be_visible()


def test_no_tracks_yet_is_said_and_a_phone_does_not_scroll_sideways(context, serving, open_page) -> None:
    with serving(context) as server:
        page = open_page(f"{server.url}tracks", 390, 800)
        expect(page.locator("#empty")).to_contain_text("No tracks yet")
        assert page.evaluate("document.documentElement.scrollWidth") == 390


def _check(condition: bool) -> None:
    assert condition
