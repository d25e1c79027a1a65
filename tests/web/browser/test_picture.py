"""The live picture: where echoes are, that it changes, and that it equals a rendering made here from the geometry."""

from __future__ import annotations

import dataclasses
import json
import math
import struct
import time
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from nims_appliance.context import Context
from nims_appliance.pipeline.display import DisplayEncoder, reduced

RENDERERS = ["webgl2", "canvas2d"]


def open_live(open_page, server, renderer: str = "webgl2", **options: Any) -> Page:
    page = open_page(server.url + ("?renderer=2d" if renderer == "canvas2d" else ""), **options)
    page.wait_for_selector(f".pane[data-renderer={renderer}] .picture")
    page.wait_for_selector("#connection[data-state=live]")
    return page


def hide_overlay(page: Page, hidden: bool = True) -> None:
    over = "document.querySelectorAll('.overlay, .colours')"
    page.evaluate(f"(hidden) => {{ for (const part of {over}) part.hidden = hidden; }}", hidden)


@pytest.mark.parametrize("renderer", RENDERERS)
def test_the_fan_equals_a_rendering_from_its_geometry(
    context: Context, serving, open_page, pixels, lightness, make_frame, eventually, renderer: str
) -> None:
    # Uneven beams, not symmetrical, first range not zero; levels turn smoothly, edges are bright.
    samples, beams = 300, 90
    bearing_rad = np.cumsum(np.linspace(0.5, 2.0, beams))
    bearing_rad = -0.9 + 1.5 * (bearing_rad - bearing_rad[0]) / (bearing_rad[-1] - bearing_rad[0])
    range_m = 4.0 + 0.05 * np.arange(samples)
    frame = make_frame(1, samples=samples, beams=beams, received_utc_s=time.time() + 60)
    frame.bearing_rad[:] = bearing_rad
    frame.range_m[:] = range_m

    step = np.diff(bearing_rad)
    first, last = bearing_rad[0] - step[0] / 2, bearing_rad[-1] + step[-1] / 2  # half a beam beyond the outer beams
    near, far = range_m[0] - 0.025, range_m[-1] + 0.025
    assert first < 0 < last

    def level_db(r: np.ndarray, b: np.ndarray) -> np.ndarray:
        to_edge_m = np.minimum(np.minimum(r - near, far - r), r * np.minimum(b - first, last - b))
        return 20.0 + 15 * np.sin(1.3 * r) * np.cos(6 * b) + 25 * np.exp(-np.maximum(to_edge_m, 0) / 0.4)

    frame.intensity[:] = 10 ** (level_db(*np.meshgrid(range_m, bearing_rad, indexing="ij")) / 10)
    picture = DisplayEncoder().encode(frame)
    (length,) = struct.unpack_from("<I", picture.payload)
    head = json.loads(picture.payload[4 : 4 + length])
    context.sonars["pen"].last_picture = picture
    with serving(context) as server:
        page = open_live(open_page, server, renderer)
        hide_overlay(page)
        background = lightness(np.array(pixels(page.locator(".view"))[2, 2]))

        # The outlines of the fan give the scale.
        left_m, right_m = far * math.sin(first), far * math.sin(last)

        def drawn() -> tuple[np.ndarray, np.ndarray]:
            seen = lightness(pixels(page.locator(".view")))
            inside = np.abs(seen - background) > 0.05
            assert inside.mean() > 0.1
            return seen, inside

        eventually(page, lambda: drawn() and None, 3)
        seen, inside = drawn()
        columns = np.flatnonzero(inside.any(axis=0))
        rows = np.flatnonzero(inside.any(axis=1))
        scale = (columns[-1] + 1 - columns[0]) / (right_m - left_m)
        apex_x, apex_y = columns[0] - scale * left_m, rows[0] + scale * far

        y, x = np.mgrid[0 : seen.shape[0], 0 : seen.shape[1]]
        x_m, y_m = (x + 0.5 - apex_x) / scale, (apex_y - y - 0.5) / scale
        r, b = np.hypot(x_m, y_m), np.arctan2(x_m, y_m)
        margin_m = 2 / scale
        fan = (r > near + margin_m) & (r < far - margin_m) & (r * (b - first) > margin_m) & (r * (last - b) > margin_m)
        outside = (
            (r < near - margin_m) | (r > far + margin_m) | (r * (b - first) < -margin_m) | (r * (last - b) < -margin_m)
        )
        assert inside[outside].mean() < 0.005

        # A colour map of even lightness shows equal steps of dB as equal steps of lightness.
        level = np.clip((level_db(r, b)[fan] - head["low_db"]) / (head["high_db"] - head["low_db"]), 0, 1)
        slope, foot = np.polyfit(level, seen[fan], 1)
        error = np.abs(seen[fan] - (slope * level + foot)) / abs(slope)
        assert abs(slope) > 0.5
        assert np.median(error) < 0.02
        assert np.quantile(error, 0.99) < 0.1


@pytest.mark.parametrize("renderer", RENDERERS)
def test_echoes_and_tracks_are_where_they_should_be_and_move(
    context: Context, serving, open_page, pixels, eventually, centre, blobs_frame, make_result, renderer: str
) -> None:
    encoder = DisplayEncoder()
    corners = [(18.0, -0.8), (18.0, 0.8)]
    context.sonars["pen"].last_picture = encoder.encode(blobs_frame(1, [*corners, (9.0, 0.3)]))
    with serving(context) as server:
        page = open_live(open_page, server, renderer)
        hide_overlay(page)

        def bright() -> np.ndarray:
            return pixels(page.locator(".view")).sum(axis=2) > 600

        eventually(page, lambda: centre(bright()) and None)
        shown = bright()
        height, width = shown.shape
        half = np.arange(width) < width / 2
        low = np.arange(height)[:, None] > height * 0.45
        left = centre(shown & half & ~low)
        right = centre(shown & ~half & ~low)
        scale = (right[0] - left[0]) / (2 * 18 * math.sin(0.8))
        apex_x, apex_y = (left[0] + right[0]) / 2, (left[1] + right[1]) / 2 + scale * 18 * math.cos(0.8)

        def on_screen(range_m: float, bearing_rad: float) -> tuple[float, float]:
            return (
                apex_x + scale * range_m * math.sin(bearing_rad),
                apex_y - scale * range_m * math.cos(bearing_rad),
            )

        assert centre(shown & low) == pytest.approx(on_screen(9.0, 0.3), abs=4)

        moved = encoder.encode(blobs_frame(2, [*corners, (9.0, -0.2)]))
        server.call(context.sonars["pen"].pictures.publish, moved)

        def echo_has_moved() -> None:
            assert centre(bright() & low) == pytest.approx(on_screen(9.0, -0.2), abs=4)

        eventually(page, echo_has_moved)

        without = pixels(page.locator(".view"))
        hide_overlay(page, False)
        with_grid = pixels(page.locator(".view"))
        assert (with_grid != without).any()
        server.call(context.results.publish, make_result(2, x_m=-2.0, y_m=6.0))
        expect(page.locator("[data-is=tracks]")).to_have_text("1")
        x, y = on_screen(math.hypot(2, 6), math.atan2(-2, 6))

        def track_is_ringed() -> None:
            changed = np.abs(pixels(page.locator(".view")) - with_grid).sum(axis=2) > 60
            rows, columns = np.nonzero(changed)
            near = np.hypot(columns - x, rows - y) < 10
            assert near.sum() > 15
            assert (columns[near].mean(), rows[near].mean()) == pytest.approx((x, y), abs=3)

        eventually(page, track_is_ringed)


def test_a_lost_graphics_chip_is_drawn_without(
    context: Context, serving, open_page, pixels, eventually, centre, blobs_frame
) -> None:
    encoder = DisplayEncoder()
    context.sonars["pen"].last_picture = encoder.encode(blobs_frame(1, [(12.0, 0.3)]))
    with serving(context) as server:
        page = open_live(open_page, server)
        hide_overlay(page)
        page.evaluate(
            "document.querySelector('canvas.picture').getContext('webgl2').getExtension('WEBGL_lose_context').loseContext()"
        )

        def bright() -> np.ndarray:
            return pixels(page.locator(".view")).sum(axis=2) > 600

        def echo_is_right_of_the_middle() -> None:
            server.call(
                context.sonars["pen"].pictures.publish, encoder.encode(blobs_frame(next(number), [(12.0, 0.3)]))
            )
            shown = bright()
            assert centre(shown)[0] > shown.shape[1] * 0.55

        number = iter(range(2, 1000))
        eventually(page, echo_is_right_of_the_middle)
        assert page.evaluate("document.querySelector('canvas.picture').getContext('webgl2')") is None


def test_an_echogram_scrolls_and_old_pictures_are_greyed(
    context: Context, serving, open_page, pixels, eventually, make_frame
) -> None:
    encoder = DisplayEncoder()
    sonar = context.sonars["pen"]
    sonar.last_picture = encoder.encode(make_frame(0, samples=200, beams=1))
    with serving(context) as server:
        page = open_page(server.url, 390, 700)
        page.wait_for_selector(".pane .picture")
        for number in range(1, 40):
            server.call(sonar.pictures.publish, encoder.encode(make_frame(number, samples=200, beams=1)))
        expect(page.locator("[data-is=shown]")).to_have_text("38 of 38")
        before = pixels(page.locator(".picture"))
        for number in range(40, 60):
            server.call(sonar.pictures.publish, encoder.encode(make_frame(number, samples=200, beams=1)))

        def has_scrolled() -> None:
            assert (pixels(page.locator(".picture")) != before).any()

        eventually(page, has_scrolled)
        # The times of these pings are years ago: as old as that they must look.
        page.wait_for_selector(".pane.stale")
        assert "no ping for" in page.locator(".notice").inner_text()


def test_the_echogram_of_the_last_minutes_is_there_when_the_page_opens(
    context: Context, serving, open_page, pixels, eventually, make_frame
) -> None:
    encoder = DisplayEncoder()
    sonar = context.sonars["pen"]
    start_s = time.time() + 60  # not old while the test runs

    def column(number: int) -> Any:
        frame = make_frame(number, samples=200, beams=1, received_utc_s=start_s + number / 10)
        frame.intensity[:] = 1.0
        frame.intensity[80:120] = 1e4
        return encoder.encode(frame)

    sonar.columns.extend(column(number) for number in range(200))
    with serving(context) as server:
        page = open_page(server.url)

        def band_is_long() -> None:
            screen = pixels(page.locator(".view"))
            middle = screen[screen.shape[0] // 2].sum(axis=1)
            assert (middle > 400).sum() == pytest.approx(2 * 200, abs=12)

        eventually(page, band_is_long)
        for number in range(200, 230):
            server.call(sonar.pictures.publish, column(number))
        expect(page.locator('[data-is="shown"]')).to_contain_text(" of ")
        shown, _, pings = page.locator('[data-is="shown"]').inner_text().partition(" of ")
        assert shown == pings


def test_a_viewer_is_told_that_its_pictures_are_smaller(context: Context, serving, open_page, blobs_frame) -> None:
    encoder = DisplayEncoder()
    sonar = context.sonars["pen"]
    with serving(context) as server:
        sonar.last_picture = encoder.encode(blobs_frame(1, []))
        page = open_live(open_page, server)
        shown = page.locator("[data-is=shown]")
        for number in range(2, 6):
            full = encoder.encode(blobs_frame(number, []))
            small = dataclasses.replace(full, payload=reduced(full.payload, 2))
            server.call(sonar.pictures.publish, small)
            page.wait_for_timeout(100)
        expect(shown).to_contain_text("half size")
        expect(shown).to_have_attribute("data-level", "warn")
