"""The pages in a real browser: the picture is where it should be, tracks are on it, settings travel between pages."""

from __future__ import annotations

import base64
import math
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
from playwright.sync_api import Browser, Page, expect, sync_playwright

from nims_appliance.context import Context
from nims_appliance.pipeline.display import DisplayEncoder
from nims_appliance.web.server import serve_web

CHROMIUM = os.environ.get("NIMS_CHROMIUM") or shutil.which("chromium") or ""
FLAGS = [
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TIMEOUT_MS = 15_000


class Running:
    """The web server in a thread of its own, because the browser is driven from this one."""

    def __init__(self, context: Context, port: int = 0) -> None:
        self.context = context
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self._started = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._run,))

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve_web, self.context, [self._socket]))
            self._started.set()

    def __enter__(self) -> Running:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        return trio.from_thread.run_sync(partial(function, *args), trio_token=self._token)

    def __exit__(self, *_: object) -> None:
        self.call(self.context.stopping.set)
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM:
        if os.environ.get("CI"):
            pytest.fail("no chromium: install it, or set NIMS_CHROMIUM")
        pytest.skip("no chromium: install it, or set NIMS_CHROMIUM")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages; the test fails if one of them reports an error."""
    errors: list[str] = []
    contexts = []

    def open_page(url: str, width: int = 900, height: int = 640) -> Page:
        window = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(window)
        page = window.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(url)
        return page

    yield open_page
    for window in contexts:
        window.close()
    # A lost connection and a refused change are reported by the browser itself.
    own = ("ERR_CONNECTION_REFUSED", "status of 400")
    assert [error for error in errors if not any(known in error for known in own)] == []


def pixels(page: Page, selector: str) -> np.ndarray:
    """What is on the screen there, RGBA (rows, columns, 4); the page itself decodes the PNG."""
    png = base64.b64encode(page.locator(selector).screenshot()).decode()
    width, height, data = page.evaluate(
        """async (url) => {
            const image = new Image(); image.src = url; await image.decode();
            const canvas = new OffscreenCanvas(image.width, image.height);
            const context = canvas.getContext('2d'); context.drawImage(image, 0, 0);
            const bytes = context.getImageData(0, 0, image.width, image.height).data;
            let text = ''; for (let i = 0; i < bytes.length; i += 8192) {
                text += String.fromCharCode(...bytes.subarray(i, i + 8192)); }
            return [image.width, image.height, btoa(text)];
        }""",
        f"data:image/png;base64,{png}",
    )
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)


def eventually(page: Page, check: Callable[[], None]) -> None:
    """A busy machine draws late: retry until the check passes."""
    for _ in range(30):
        try:
            return check()
        except AssertionError:
            page.wait_for_timeout(100)
    check()


def centre(mask: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    assert rows.size, "nothing there"
    return float(columns.mean()), float(rows.mean())


def blobs_frame(make_frame: Callable[..., Any], number: int, spots: list[tuple[float, float]]) -> Any:
    """A ping with bright echoes at (range, bearing) over uniform noise, on an uneven beam axis."""
    frame = make_frame(number, samples=400, beams=120, received_utc_s=time.time() + 60)  # not old while the test runs
    bearing_rad = np.sign(np.linspace(-1, 1, 120)) * np.abs(np.linspace(-1, 1, 120)) ** 1.3
    frame.bearing_rad[:] = bearing_rad + np.linspace(0, 1e-6, 120)
    frame.intensity[:] = 1.0
    r, b = np.meshgrid(frame.range_m, frame.bearing_rad, indexing="ij")
    for range_m, spot_rad in spots:
        near = np.hypot(r * np.sin(b) - range_m * np.sin(spot_rad), r * np.cos(b) - range_m * np.cos(spot_rad))
        frame.intensity[near < 0.35] = 1e5
    return frame


@pytest.mark.parametrize("renderer", ["webgl2", "canvas2d"])
def test_the_fan_shows_echoes_and_tracks_where_they_are(
    context: Context, open_page, make_frame, make_result, renderer: str
) -> None:
    encoder = DisplayEncoder()
    corners = [(18.0, -0.8), (18.0, 0.8)]
    context.sonars["pen"].last_picture = encoder.encode(blobs_frame(make_frame, 1, [*corners, (9.0, 0.3)]))
    with Running(context) as server:
        page = open_page(f"http://127.0.0.1:{server.port}/{'?renderer=2d' if renderer == 'canvas2d' else ''}")
        page.wait_for_selector(f".pane[data-renderer={renderer}] .picture")
        page.wait_for_selector("#connection[data-state=live]")
        page.evaluate("document.querySelector('.view canvas:last-of-type').hidden = true")

        def bright() -> np.ndarray:
            return pixels(page, ".view")[..., :3].astype(int).sum(axis=2) > 600

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

        moved = encoder.encode(blobs_frame(make_frame, 2, [*corners, (9.0, -0.2)]))
        server.call(context.sonars["pen"].pictures.publish, moved)

        def echo_has_moved() -> None:
            assert centre(bright() & low) == pytest.approx(on_screen(9.0, -0.2), abs=4)

        eventually(page, echo_has_moved)

        page.evaluate("document.querySelector('.view canvas:last-of-type').hidden = false")
        server.call(context.results.publish, make_result(2, x_m=-2.0, y_m=6.0))
        expect(page.locator("[data-is=tracks]")).to_have_text("1")
        x, y = on_screen(math.hypot(2, 6), math.atan2(-2, 6))

        def track_is_ringed() -> None:
            colours = pixels(page, ".view")[..., :3].astype(int)
            orange = np.abs(colours - (255, 138, 92)).sum(axis=2) < 40
            rows, columns = np.nonzero(orange)
            assert (np.hypot(columns - x, rows - y) < 9).sum() > 15

        eventually(page, track_is_ringed)


def test_an_echogram_scrolls_and_old_pictures_are_greyed(context: Context, open_page, make_frame) -> None:
    encoder = DisplayEncoder()
    sonar = context.sonars["pen"]
    sonar.last_picture = encoder.encode(make_frame(0, samples=200, beams=1))
    with Running(context) as server:
        page = open_page(f"http://127.0.0.1:{server.port}/", 390, 700)
        page.wait_for_selector(".pane .picture")
        for number in range(1, 40):
            server.call(sonar.pictures.publish, encoder.encode(make_frame(number, samples=200, beams=1)))
        expect(page.locator("[data-is=shown]")).to_have_text("38 of 38")
        before = pixels(page, ".picture")
        for number in range(40, 60):
            server.call(sonar.pictures.publish, encoder.encode(make_frame(number, samples=200, beams=1)))

        def has_scrolled() -> None:
            assert (pixels(page, ".picture") != before).any()

        eventually(page, has_scrolled)
        # The times of these pings are years ago: as old as that they must look.
        page.wait_for_selector(".pane.stale")
        assert "no ping for" in page.locator(".notice").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_page_says_that_the_connection_is_lost_and_comes_back(context: Context, open_page) -> None:
    with Running(context) as server:
        port = server.port
        page = open_page(f"http://127.0.0.1:{port}/")
        page.wait_for_selector("#connection[data-state=live]")
    page.wait_for_selector("#connection[data-state=lost]")
    again = Context(context.data, context.config, context.plugins, sonars=context.sonars)
    with Running(again, port):
        page.wait_for_selector("#connection[data-state=live]")


def test_a_setting_changed_in_one_page_appears_in_the_other(context: Context, open_page) -> None:
    key = "sonars.pen.detector.min_range_m"
    with Running(context) as server:
        author, other = (open_page(f"http://127.0.0.1:{server.port}/settings") for _ in range(2))
        for page in (author, other):
            page.wait_for_selector("#connection[data-state=live]")
            page.locator("[data-key='sonars.pen.detector'] > summary").click()
        field = author.locator(f"[id='setting-{key}']")
        field.fill("-4")
        assert "at least 0" in author.locator(f"[id='setting-{key}-error']").inner_text()
        assert author.locator("button.primary").is_disabled()
        field.fill("2.5")
        author.locator("button.primary").click()
        expect(other.locator(f"[id='setting-{key}']")).to_have_value("2.5")
        author.wait_for_selector("#pending", state="hidden")
        assert "overrides.yaml" in other.locator(f".field:has([id='setting-{key}']) .origin").inner_text()
        assert context.config.sonar("pen").detector.min_range_m == 2.5


def test_safe_mode_is_told_on_the_page(context: Context, open_page, tmp_path: Path) -> None:
    context.config.errors.append("config.yaml:3: sonars.pen.link: expected tcp://, got '<b>'")
    context.sonars.clear()
    with Running(context) as server:
        page = open_page(f"http://127.0.0.1:{server.port}/")
        page.wait_for_selector("#problems:not([hidden])")
        assert "config.yaml:3" in page.locator("#problems").inner_text()
        assert "<b>" in page.locator("#problems").inner_text()


def test_a_sonar_is_added_and_removed_in_the_browser(context: Context, open_page: Callable[..., Page]) -> None:
    with Running(context) as running:
        page = open_page(f"http://127.0.0.1:{running.port}/settings")
        page.on("dialog", lambda dialog: dialog.accept())
        page.fill("#add [name=name]", "dam")
        page.select_option("#add [name=profile]", "blueprint-oculus")
        page.fill("#add [name=link]", "tcp://127.0.0.1:52100")
        page.click("#add button")
        group = page.locator('details[data-key="sonars.dam"]')
        expect(group).to_be_attached()
        assert context.config.sonar("dam").link == "tcp://127.0.0.1:52100"
        expect(page.get_by_role("button", name="Remove pen", include_hidden=True)).to_have_count(0)  # of config.yaml
        page.get_by_role("button", name="Remove dam", include_hidden=True).evaluate("button => button.click()")
        expect(group).not_to_be_attached()
        assert set(context.config.current.sonars) == {"pen"}


def test_the_echogram_of_the_last_minutes_is_there_when_the_page_opens(
    context: Context, open_page: Callable[..., Page], make_frame: Callable[..., Any]
) -> None:
    encoder = DisplayEncoder()
    sonar = context.sonars["pen"]
    start_s = time.time() - 20

    def column(number: int) -> Any:
        frame = make_frame(number, samples=200, beams=1, received_utc_s=start_s + number / 10)
        frame.intensity[:] = 1.0
        frame.intensity[80:120] = 1e4
        return encoder.encode(frame)

    sonar.columns.extend(column(number) for number in range(200))
    with Running(context) as running:
        page = open_page(f"http://127.0.0.1:{running.port}/")

        def band_is_long() -> None:
            screen = pixels(page, ".view").astype(int)
            middle = screen[screen.shape[0] // 2, :, :3].sum(axis=1)
            assert (middle > 400).sum() == pytest.approx(2 * 200, abs=12)

        eventually(page, band_is_long)
        for number in range(200, 230):
            running.call(sonar.pictures.publish, column(number))
        expect(page.locator('[data-is="shown"]')).to_contain_text(" of ")
        shown, _, pings = page.locator('[data-is="shown"]').inner_text().partition(" of ")
        assert shown == pings


def test_a_zone_is_added_changed_drawn_and_removed(context: Context, open_page, make_frame) -> None:
    sonar = context.sonars["pen"]
    sonar.last_picture = DisplayEncoder().encode(blobs_frame(make_frame, 1, []))
    gate = "sonars.pen.zones.gate"
    with Running(context) as running:
        page = open_page(f"http://127.0.0.1:{running.port}/settings")
        page.on("dialog", lambda dialog: dialog.accept())
        page.wait_for_selector("#connection[data-state=live]")
        name = page.get_by_label("Name of a new zone")
        name.fill("the gate")
        page.get_by_role("button", name="Add zone").click()
        expect(page.locator(".adder .error")).to_contain_text("expected a name of letters")
        name.fill("gate")
        name.press("Enter")
        page.locator(f"[data-key='{gate}'] > summary").click()
        for setting, value in (("min_range_m", "8"), ("max_range_m", "12"), ("min_bearing_deg", "-17")):
            page.locator(f"[id='setting-{gate}.{setting}']").fill(value)
        page.locator("button.primary").click()
        page.wait_for_selector("#pending", state="hidden")
        zone = context.config.sonar("pen").zones["gate"]
        assert (zone.kind, zone.min_range_m, zone.max_range_m, zone.min_bearing_deg) == ("watched", 8.0, 12.0, -17.0)

        sonar.settings = context.config.sonar("pen")
        live = open_page(f"http://127.0.0.1:{running.port}/")

        def is_outlined() -> None:
            colours = pixels(live, ".view")[..., :3].astype(int)
            assert (np.abs(colours - (127, 200, 232)).sum(axis=2) < 90).sum() > 100

        eventually(live, is_outlined)
        page.get_by_role("button", name="Remove gate").click()
        expect(page.locator(f"[data-key='{gate}']")).not_to_be_attached()
        assert context.config.sonar("pen").zones == {}
