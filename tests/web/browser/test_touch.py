"""Fingers on the picture, as the browser gets them from a touch screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from nims_appliance.context import Context
from nims_appliance.pipeline.display import DisplayEncoder

STEPS = 8
Point = tuple[float, float]


class Fingers:
    """Fingers on the glass of one page."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._devtools = page.context.new_cdp_session(page)

    def _touch(self, kind: str, points: list[Point]) -> None:
        touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        self._devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    def move(self, *ways: tuple[Point, Point]) -> None:
        """Put a finger down at the beginning of each way, move all of them together, lift them."""
        begins = [begin for begin, _ in ways]
        for number in range(len(ways)):  # nobody puts two down at once
            self._touch("touchStart", begins[: number + 1])
        for step in np.linspace(0, 1, STEPS + 1)[1:]:
            self._touch("touchMove", [(x0 + step * (x1 - x0), y0 + step * (y1 - y0)) for (x0, y0), (x1, y1) in ways])
            self._page.wait_for_timeout(16)
        self._touch("touchEnd", [])


@pytest.fixture
def phone(context: Context, users, serving, open_page, blobs_frame) -> Iterator[Callable[..., Page]]:
    """The live page of a phone."""
    context.sonars["pen"].last_picture = DisplayEncoder().encode(blobs_frame(1, [(9.0, 0.0)]))
    with serving(context) as server:

        def phone() -> Page:
            page = open_page(server.url, 390, 844, user="otto", has_touch=True, is_mobile=True)
            page.locator(".tools .save").wait_for()
            # Only echoes are bright then.
            page.evaluate(
                "() => { for (const part of document.querySelectorAll('.overlay, .colours, .whole, .readout'))"
                " Object.assign(part.style, { opacity: 0, pointerEvents: 'none' }); }"
            )
            page.wait_for_timeout(300)
            return page

        yield phone


def spot(page: Page, right: float, down: float) -> Point:
    box = page.locator(".view").bounding_box()
    assert box
    return box["x"] + right * box["width"], box["y"] + down * box["height"]


def blob(page: Page, pixels, lightness, centre) -> tuple[float, float, float]:
    """x and y of the echo in the view, from 0 to 1, and its area in pixels."""
    seen = lightness(pixels(page.locator(".view canvas.picture")))
    bright = seen > 0.8
    x, y = centre(bright)
    return x / seen.shape[1], y / seen.shape[0], float(bright.sum())


@pytest.mark.parametrize("way", ["across", "along"])
def test_two_fingers_enlarge_and_shrink_the_picture(phone, pixels, lightness, centre, eventually, way: str) -> None:
    page = phone()
    fingers = Fingers(page)
    x, y, small = blob(page, pixels, lightness, centre)
    right, down = (0.3, 0.0) if way == "across" else (0.0, 0.2)

    def around(part: float) -> tuple[Point, Point]:
        return spot(page, x - part * right, y - part * down), spot(page, x + part * right, y + part * down)

    fingers.move(*zip(around(0.3), around(0.9), strict=True))
    whole = page.get_by_role("button", name="Whole picture")
    expect(whole).to_be_visible()

    def is_larger_where_it_was() -> None:
        now_x, now_y, large = blob(page, pixels, lightness, centre)
        assert large > 4 * small  # three times as wide and high
        assert (now_x, now_y) == pytest.approx((x, y), abs=0.06)

    eventually(page, is_larger_where_it_was)
    assert page.evaluate("visualViewport.scale") == 1, "the page itself stays as large as it is"
    fingers.move(*zip(around(0.9), around(0.2), strict=True))
    expect(whole).to_be_hidden()


def test_one_finger_moves_an_enlarged_picture(phone, pixels, lightness, centre, eventually) -> None:
    page = phone()
    fingers = Fingers(page)
    x, y, _ = blob(page, pixels, lightness, centre)
    ends = [(spot(page, x - part, y), spot(page, x + part, y)) for part in (0.1, 0.2)]
    fingers.move(*zip(*ends, strict=True))
    expect(page.get_by_role("button", name="Whole picture")).to_be_visible()
    from_x, from_y, _ = blob(page, pixels, lightness, centre)
    fingers.move((spot(page, 0.5, 0.5), spot(page, 0.65, 0.6)))

    def has_followed() -> None:
        now_x, now_y, _ = blob(page, pixels, lightness, centre)
        assert (now_x - from_x, now_y - from_y) == pytest.approx((0.15, 0.1), abs=0.05)

    eventually(page, has_followed)


def test_one_finger_on_the_whole_picture_does_nothing_to_it(phone, pixels, lightness, centre) -> None:
    page = phone()
    before = blob(page, pixels, lightness, centre)
    Fingers(page).move((spot(page, 0.5, 0.7), spot(page, 0.5, 0.3)))
    page.wait_for_timeout(200)
    assert blob(page, pixels, lightness, centre) == pytest.approx(before, rel=0.02)
    expect(page.get_by_role("button", name="Whole picture")).to_be_hidden()


def test_a_finger_draws_a_zone(phone) -> None:
    page = phone()
    page.get_by_role("button", name="Zones", exact=True).tap()
    expect(page.locator(".zone-editor")).to_be_visible()
    Fingers(page).move((spot(page, 0.4, 0.45), spot(page, 0.6, 0.52)))
    expect(page.locator(".zones .zone")).to_have_text(["zone-1watched"])
    assert float(page.locator(".zone-editor [data-key=max_range_m]").input_value()) > 1
