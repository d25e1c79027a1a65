"""The history page: what was archived, over time and over the fan, and clips as moving pictures."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from nims_appliance.context import Context

from .test_tracks import make_track

START_S = time.time() - 600
PINGS = 12


@pytest.fixture
def clip_of_pings(context: Context, add_clip: Callable) -> Callable:
    """A clip of a simulated sonar, ten pings a second."""

    def clip_of_pings(number: int = 1, **changes):
        device = context.plugins.simulators["kongsberg-m3"].make(rate_hz=10.0, beams=64, samples=200, seed=3)
        pings = (device.ping(ping, START_S + ping / 10) for ping in range(1, PINGS + 1))
        data = b"".join(packet for ping in pings for packet in device.encode(ping))
        return add_clip(number, data, start_s=START_S, end_s=START_S + PINGS / 10, **changes)

    return clip_of_pings


@pytest.fixture
def history(users, open_page):
    def history(url: str, where: str = "", user: str = "otto") -> Page:
        page = open_page(f"{url}history{where}", 1400, 900, user=user)
        page.wait_for_selector("#connection[data-state=live]")
        return page

    return history


def test_a_clip_plays_stands_still_and_is_stepped_through(
    serving, context, history, clip_of_pings, pixels, eventually
) -> None:
    clip_of_pings(tracks=[])
    with serving(context) as server:
        page = history(server.url)
        page.get_by_role("button", name="Clips").click()
        page.get_by_role("button", name="Clip of").click()
        expect(page.locator(".player output")).to_contain_text(f"of {PINGS}")
        expect(page.locator(".player output")).to_contain_text(f"{PINGS} of {PINGS}")  # it plays to its end
        page.get_by_role("button", name="Pause").click()
        page.locator(".player .back").click()
        expect(page.locator(".player output")).to_contain_text(f"{PINGS - 1} of {PINGS}")
        picture = page.locator(".player canvas.picture")
        before = pixels(picture)
        page.locator(".player input").fill("0")
        expect(page.locator(".player output")).to_contain_text(f"1 of {PINGS}")

        def is_another_picture() -> None:
            now = pixels(picture)
            assert now.max() > 150, "there are echoes"
            assert (np.abs(now - before).max(axis=2) > 20).mean() > 0.01

        eventually(page, is_another_picture)
        page.keyboard.press("Escape")
        expect(page.locator(".player")).to_have_count(0)


def test_a_clip_is_kept_and_deleted_by_who_may(serving, context, history, clip_of_pings) -> None:
    clip = clip_of_pings(tracks=[])
    with serving(context) as server:
        looking = history(server.url, f"#clip={clip.name}", user="vera")
        expect(looking.get_by_role("link", name="Download")).to_be_visible()
        expect(looking.get_by_role("button", name="Delete")).to_be_hidden()
        page = history(server.url, f"#clip={clip.name}")
        page.get_by_label("Keep").check()
        expect(page.locator("#rows .kept")).to_be_visible()
        [kept] = context.clips.all()
        assert kept.keep
        page.get_by_role("button", name="Delete").click()
        assert context.clips.path(clip).exists(), "one press is a question"
        page.get_by_role("button", name="Delete for good").click()
        expect(page.locator("#rows tr")).to_have_count(0)
        assert not context.clips.path(clip).exists()


def test_a_track_is_opened_with_its_way_and_its_clip(
    serving, context, history, filled, clip_of_pings, pixels, eventually
) -> None:
    ways = {"positions": tuple((START_S + k / 10, -3 + 0.5 * k, 12.0, 0.0) for k in range(PINGS))}
    times = {"first_time_s": START_S, "last_time_s": START_S + 1}
    filled(make_track(1, **times, **ways), make_track(2, **times))
    clip_of_pings(tracks=[2**60 + 1])
    with serving(context) as server:
        page = history(server.url)
        expect(page.locator("#rows tr")).to_have_count(2)
        page.locator("#filter [name=label]").select_option("fish")
        expect(page.locator("#rows tr")).to_have_count(1)
        page.locator("#rows tr button").first.click()
        expect(page.locator("#card h2")).to_contain_text("Track")
        expect(page.locator(".player output")).to_contain_text(f"of {PINGS}")

        def is_drawn_over_the_clip() -> None:
            page.locator(".player input").fill(str(PINGS - 1))
            assert pixels(page.locator(".player .view"))[..., 0].max() > 200

        eventually(page, is_drawn_over_the_clip)


def test_an_empty_history_says_so(serving, context, history) -> None:
    with serving(context) as server:
        page = history(server.url)
        expect(page.locator("#heat-empty")).to_be_visible()
        expect(page.locator("#empty")).to_be_visible()
        page.get_by_role("button", name="Clips").click()
        expect(page.locator("#empty")).to_contain_text("clip")
