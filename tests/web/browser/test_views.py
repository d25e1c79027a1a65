"""What a viewer can do with the picture: other views, levels and colours, zoom, pause and steps back, saving it."""

from __future__ import annotations

import dataclasses
import struct
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from nims_appliance.bus import Bus
from nims_appliance.context import Context, Sonar
from nims_appliance.pipeline.columns import ColumnMaker
from nims_appliance.pipeline.display import DisplayEncoder

HIDE_OTHERS = """() => { for (const part of document.querySelectorAll('.overlay, .view .colours, .readout, .notice'))
    part.style.visibility = 'hidden'; }"""
CORNERS = [(4.0, -0.8), (16.0, 0.8)]


@pytest.fixture
def open_live(context: Context, open_page: Callable[..., Page], blobs_frame: Callable[..., Any]) -> Callable[..., Page]:
    """Opens the live page of a server whose sonar has three echoes; what lies over the picture is left out."""

    def open_live(server: Any, query: str = "", **options: Any) -> Page:
        if context.sonars["pen"].last_picture is None:
            frame = blobs_frame(1, [*CORNERS, (10.0, 0.3)])
            context.sonars["pen"].last_picture = DisplayEncoder().encode(frame)
        page = open_page(server.url + query, **options)
        page.wait_for_selector("#connection[data-state=live]")
        page.wait_for_selector(".pane[data-view]")
        page.evaluate(HIDE_OTHERS)
        return page

    return open_live


@pytest.fixture
def echoes(pixels: Any, lightness: Any) -> Callable[[Page], np.ndarray]:
    return lambda page: lightness(pixels(page.locator(".view"))) > 0.8


def blobs(mask: np.ndarray, centre: Any) -> list[tuple[float, float]]:
    """Middles of the three echoes: lower left, between, upper right."""
    width = mask.shape[1]
    x = np.arange(width)
    thirds = [x < width * 0.35, (x >= width * 0.35) & (x < width * 0.75), x >= width * 0.75]
    return [centre(mask & third) for third in thirds]


@pytest.mark.parametrize("query", ["", "?renderer=2d"])
def test_a_b_scan_is_straight_in_range_and_bearing(
    context: Context, serving: Any, open_live: Any, echoes: Any, centre: Any, eventually: Any, query: str
) -> None:
    with serving(context) as server:
        page = open_live(server, query)
        page.get_by_text("B-scan", exact=True).click()

        def echo_is_between() -> None:
            (left, low), (x, y), (right, high) = blobs(echoes(page), centre)
            # Range 10 of 4 to 16 m is in the middle; 0.3 of -0.8 to 0.8 rad at 11/16.
            assert (x - left) / (right - left) == pytest.approx(11 / 16, abs=0.015)
            assert (y - high) / (low - high) == pytest.approx(0.5, abs=0.015)

        eventually(page, echo_is_between)


def test_range_over_time_shows_what_passed_before_the_page_was_opened(
    context: Context, serving: Any, open_live: Any, echoes: Any, eventually: Any, blobs_frame: Any
) -> None:
    maker = ColumnMaker()
    past = [blobs_frame(number, [(5.0 + number / 10, 0.2)]) for number in range(1, 101)]
    sonar = context.sonars["pen"]
    sonar.strongest[""] = deque(maker.make(frame) for frame in past)
    sonar.last_picture = DisplayEncoder().encode(past[-1])
    with serving(context) as server:
        page = open_live(server)
        page.get_by_text("Time", exact=True).click()

        def echo_swims_away() -> None:
            rows, columns = np.nonzero(echoes(page))
            assert columns.size
            assert np.ptp(columns) == pytest.approx(2 * 100, abs=8)  # two pixels a ping
            first, last = rows[columns < columns.min() + 6].mean(), rows[columns > columns.max() - 6].mean()
            height = page.locator(".view").bounding_box()["height"] - 14 - 28  # without the axes
            assert (last - first) / height == pytest.approx(9.9 / 19.5, abs=0.03)  # 5.1 to 15 m of 19.5 m

        eventually(page, echo_swims_away)


def test_levels_and_colours_are_chosen_and_kept(
    context: Context, serving: Any, open_live: Any, pixels: Any, lightness: Any, eventually: Any
) -> None:
    with serving(context) as server:
        page = open_live(server)

        def brightness() -> float:
            return float(np.median(lightness(pixels(page.locator(".view")))[200:300, 250:400]))

        def noise_is(dark: bool) -> None:
            assert (brightness() < 0.3) is dark

        eventually(page, lambda: noise_is(True))
        page.get_by_role("button", name="Colours and levels").click()
        expect(page.get_by_role("button", name="Automatic")).to_be_disabled()
        low = page.get_by_label("Level of the weakest colour")
        low.fill(low.get_attribute("min"))
        page.get_by_label("Level of the strongest colour").fill("2")
        eventually(page, lambda: noise_is(False))
        page.get_by_text("Grey", exact=True).click()
        page.reload()
        page.wait_for_selector(".pane[data-view]")
        page.evaluate(HIDE_OTHERS)
        eventually(page, lambda: noise_is(False))
        page.keyboard.press("c")
        expect(page.get_by_role("radio", name="Grey")).to_be_checked()
        page.get_by_role("button", name="Back to automatic").click()
        eventually(page, lambda: noise_is(True))
        page.keyboard.press("Escape")
        expect(page.locator(".panel")).to_be_hidden()


def test_the_wheel_zooms_about_the_pointer_and_a_double_click_shows_all(
    context: Context, serving: Any, open_live: Any, echoes: Any, centre: Any, eventually: Any, blobs_frame: Any
) -> None:
    context.sonars["pen"].last_picture = DisplayEncoder().encode(blobs_frame(1, [(10.0, 0.3)]))
    with serving(context) as server:
        page = open_live(server)
        box = page.locator(".view").bounding_box()

        def around(x: float, y: float, reach: int) -> np.ndarray:
            mask = echoes(page)
            rows, columns = np.indices(mask.shape)
            return mask & (np.hypot(columns - x, rows - y) < reach)

        eventually(page, lambda: centre(echoes(page)) and None)
        x, y = centre(echoes(page))
        whole = around(x, y, 40).sum()
        page.mouse.move(box["x"] + x, box["y"] + y)
        page.mouse.wheel(0, -240)

        def is_larger_at_its_place() -> None:
            shown = around(x, y, 60)
            assert shown.sum() > 1.5 * whole
            assert centre(shown) == pytest.approx((x, y), abs=3)

        eventually(page, is_larger_at_its_place)
        expect(page.get_by_role("button", name="Whole picture")).to_be_visible()
        page.mouse.down()
        page.mouse.move(box["x"] + x + 40, box["y"] + y, steps=4)
        page.mouse.up()

        def has_moved() -> None:
            assert centre(around(x + 40, y, 60)) == pytest.approx((x + 40, y), abs=4)

        eventually(page, has_moved)
        page.mouse.dblclick(box["x"] + 100, box["y"] + 100)
        expect(page.get_by_role("button", name="Whole picture")).to_be_hidden()


def test_paused_pictures_are_stepped_through_while_pings_go_on(
    context: Context, serving: Any, open_live: Any, echoes: Any, centre: Any, eventually: Any, blobs_frame: Any
) -> None:
    encoder = DisplayEncoder()
    sonar = context.sonars["pen"]
    places = [-0.4, -0.2, 0.0, 0.2, 0.4]
    frames = [
        dataclasses.replace(blobs_frame(number, [(10.0, bearing)]), received_utc_s=time.time() + 60 + number / 10)
        for number, bearing in enumerate(places, 1)
    ]
    sonar.last_picture = encoder.encode(frames[0])
    with serving(context) as server:
        page = open_live(server)

        def shows(least: float, most: float) -> Callable[[], None]:
            def check() -> None:
                x, _ = centre(echoes(page))
                assert least < x - 320 < most  # of the middle; the bar of time takes some of the height

            return check

        for frame in frames[1:]:
            server.call(sonar.pictures.publish, encoder.encode(frame))
        eventually(page, shows(38, 70))
        page.keyboard.press("Space")
        expect(page.locator("#timeline")).to_be_visible()
        page.keyboard.press(",")
        page.keyboard.press(",")
        eventually(page, shows(-6, 6))
        expect(page.locator("#timeline output")).to_contain_text("0.2 s before the pause")
        server.call(sonar.pictures.publish, encoder.encode(blobs_frame(9, [(10.0, 0.0)])))
        page.get_by_role("button", name="One ping forward").click()
        eventually(page, shows(16, 34))
        page.get_by_role("button", name="Live").click()
        eventually(page, shows(-6, 6))  # the newest lies there, too
        expect(page.locator("#timeline")).to_be_hidden()


def test_a_picture_is_saved_with_its_name_time_and_scale(
    context: Context, serving: Any, open_live: Any, tmp_path: Path
) -> None:
    with serving(context) as server:
        page = open_live(server)
        page.wait_for_selector(".colours .gradient[style]", state="attached")
        with page.expect_download() as download:
            page.get_by_role("button", name="Save the picture").click()
        assert download.value.suggested_filename == "pen-2023-11-14T221320Z.png"  # the sonar's time, in UTC
        download.value.save_as(tmp_path / "picture.png")
        data = (tmp_path / "picture.png").read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        box = page.locator(".view").bounding_box()
        assert struct.unpack(">II", data[16:24]) == (box["width"], box["height"] + 56)  # a foot below the picture
        assert len(data) > 10_000  # an empty picture has far less


def test_by_night_everything_is_red(
    context: Context, serving: Any, open_live: Any, pixels: Any, eventually: Any
) -> None:
    with serving(context) as server:
        page = open_live(server)
        page.keyboard.press("n")  # from dusk to night

        def only_red_shines() -> None:
            red, green, blue = np.moveaxis(pixels(page), -1, 0)
            assert red.max() > 240
            assert max(green.max(), blue.max()) < 80
            seen = pixels(page.locator(".view"))
            assert (seen[..., 1:].max(), seen[..., 0].max() > 200) == (0, True)

        eventually(page, only_red_shines)


def test_one_of_several_sonars_is_enlarged(context: Context, serving: Any, open_live: Any) -> None:
    settings = context.sonars["pen"].settings
    profile = context.sonars["pen"].profile
    for name in ("dam", "weir"):
        context.sonars[name] = Sonar(name, settings, profile, Bus("frames"), Bus("pictures"))
    with serving(context) as server:
        page = open_live(server, width=1000, height=700)

        def width(name: str) -> float:
            return page.locator(f".pane[data-sonar={name}]").bounding_box()["width"]

        expect(page.locator(".pane")).to_have_count(3)
        assert width("pen") == pytest.approx(width("dam"), abs=2)
        assert width("weir") == pytest.approx(1000, abs=2)  # the last one fills its row
        page.locator(".pane[data-sonar=weir]").get_by_role("button", name="Enlarge").click()
        assert width("weir") > 2 * width("pen")
        page.keyboard.press("f")
        assert width("pen") == pytest.approx(width("dam"), abs=2)


# Machado, Oliveira and Fernandes 2009: full deuteranopia and protanopia, on linear RGB.
COLOUR_BLIND = {
    "none": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
}


def test_colour_maps_are_even_and_tell_levels_to_colour_blind_people(
    context: Context, serving: Any, open_live: Any, lightness: Any
) -> None:
    with serving(context) as server:
        page = open_live(server)
        script = page.evaluate("document.querySelector('script[type=module][src*=live]').src")
        maps = page.evaluate(
            """async (script) => {
                const { echoColours, MAP_NAMES } = await import(script.replace('live.js', 'colormap.js'));
                const made = {};
                for (const palette of ['day', 'dusk', 'night']) for (const name of Object.keys(MAP_NAMES)) {
                    made[`${name} ${palette}`] = [...echoColours(name, palette)]; }
                return made; }""",
            script,
        )
    assert len(maps) == 15
    for name, colours in maps.items():
        rgb = np.array(colours).reshape(256, 4)[:, :3]
        shown = lightness(rgb)
        total = shown[-1] - shown[0]
        even = shown[0] + total * np.arange(256) / 255
        assert abs(total) > (0.5 if name.endswith("night") else 0.75), name
        assert np.abs(shown - even).max() < 0.035, name  # nowhere more than a thirtieth from even steps
        for kind, matrix in COLOUR_BLIND.items():
            coded = rgb / 255
            linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4) @ matrix.T
            linear = np.clip(linear, 0, 1)
            seen = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
            steps = np.diff(lightness(seen)[::8]) * np.sign(total)
            assert steps.min() > 0, (name, kind)  # stronger echoes never look weaker
