"""A real Chromium, a server beside it, and eyes for its screen."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import trio
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from nims_appliance.access import passwords
from nims_appliance.access.store import Content, Role, User
from nims_appliance.archive import Archive
from nims_appliance.context import Context
from nims_appliance.frame import Frame
from nims_appliance.health import Part
from nims_appliance.pipeline.results import TrackSummary
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
PASSWORD = "a long password for tests"
EXPECTED_ERRORS = ("ERR_CONNECTION_REFUSED", "status of 400", "status of 401", "status of 403")
"""The browser itself reports a lost connection and a refused request."""
ERRORS_OF_THE_END = ("ERR_CONNECTION_RESET", "Failed to fetch", "before receiving a handshake response")
"""What a page asks for while the server stops under it; no error only then."""


class Running:
    """The web server in a thread of its own, because the browser is driven from this one."""

    stopped = False
    """Whether one has stopped in this test."""

    def __init__(self, context: Context, port: int = 0) -> None:
        self.context = context
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
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
        """Call a function on the server's trio thread."""
        return trio.from_thread.run_sync(partial(function, *args), trio_token=self._token)

    def __exit__(self, *_: object) -> None:
        Running.stopped = True
        self.call(self.context.stopping.set)
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def serving() -> type[Running]:
    """``with serving(context) as server``: `server.url`, and `server.call(function, ...)` on its thread."""
    return Running


@pytest.fixture(scope="session")
def hashed() -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_N", 16)  # a hash says itself how slow it is
        return passwords.hash_password(PASSWORD)


@pytest.fixture
def users(context: Context, hashed: str) -> dict[str, Role]:
    """The appliance's users, all with the password `PASSWORD`."""
    roles: dict[str, Role] = {"vera": "viewer", "otto": "operator", "ada": "admin"}

    def add(content: Content) -> None:
        for name, role in roles.items():
            content.users[name] = User(name, role, hashed, "1", 0.0)

    context.access.edit(add)
    return roles


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests; each test has windows of its own."""
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
    """Opens pages, each in a window with cookies and storage of its own, logged in as `user` if one is named.

    The test fails if a page reports an error.
    """
    errors: list[str] = []
    windows = []
    Running.stopped = False

    def report(error: str) -> None:
        if not (Running.stopped and any(known in error for known in ERRORS_OF_THE_END)):
            errors.append(error)

    def open_page(url: str, width: int = 640, height: int = 480, *, user: str = "", **options: Any) -> Page:
        window = browser.new_context(viewport={"width": width, "height": height}, **options)
        windows.append(window)
        if user:
            origin = "/".join(url.split("/")[:3])
            login = {"name": user, "password": PASSWORD}
            answer = window.request.post(f"{origin}/api/v1/session", data=login, headers={"Origin": origin})
            assert answer.ok, answer.text()
        page = window.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.on("pageerror", lambda error: report(str(error)))
        page.on("console", lambda message: report(message.text) if message.type == "error" else None)
        page.goto(url)
        return page

    yield open_page
    for window in windows:
        window.close()
    assert [error for error in errors if not any(known in error for known in EXPECTED_ERRORS)] == []


@pytest.fixture
def pixels() -> Callable[[Page | Locator], np.ndarray]:
    """Gives what is on the screen there, RGB (rows, columns, 3) from 0 to 255; the page itself decodes the PNG."""

    def pixels(seen: Page | Locator) -> np.ndarray:
        page = seen if isinstance(seen, Page) else seen.page
        png = base64.b64encode(seen.screenshot()).decode()
        width, height, data = page.evaluate(
            """async (png) => {
                const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0));
                const image = await createImageBitmap(new Blob([bytes], {type: 'image/png'}));
                const canvas = new OffscreenCanvas(image.width, image.height);
                const context = canvas.getContext('2d'); context.drawImage(image, 0, 0);
                const data = context.getImageData(0, 0, image.width, image.height).data;
                let text = ''; for (let i = 0; i < data.length; i += 8192) {
                    text += String.fromCharCode(...data.subarray(i, i + 8192)); }
                return [image.width, image.height, btoa(text)];
            }""",
            png,
        )
        return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)[..., :3].astype(int)

    return pixels


@pytest.fixture
def lightness() -> Callable[[np.ndarray], np.ndarray]:
    """Gives OKLab lightness (0 to 1) of RGB; Ottosson 2020."""

    def lightness(rgb: np.ndarray) -> np.ndarray:
        coded = rgb / 255
        linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
        cones = linear @ np.array(
            [[0.4122214708, 0.2119034982, 0.0883024619], [0.5363325363, 0.6806995451, 0.2817188376],
             [0.0514459929, 0.1073969566, 0.6299787005]]
        )  # fmt: skip
        return np.cbrt(cones) @ np.array([0.2104542553, 0.7936177850, -0.0040720468])

    return lightness


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Tries again until a check passes: a busy machine draws late."""

    def eventually(page: Page, check: Callable[[], None], tries: int = 40) -> None:
        for _ in range(tries):
            try:
                return check()
            except AssertionError:
                page.wait_for_timeout(100)
        return check()

    return eventually


@pytest.fixture
def centre() -> Callable[[np.ndarray], tuple[float, float]]:
    """Gives x, y of the middle of what a mask marks."""

    def centre(mask: np.ndarray) -> tuple[float, float]:
        rows, columns = np.nonzero(mask)
        assert rows.size, "nothing there"
        return float(columns.mean()), float(rows.mean())

    return centre


@pytest.fixture
def blobs_frame(make_frame: Callable[..., Frame]) -> Callable[..., Frame]:
    """A ping with bright echoes at (range, bearing) over uniform noise, on uneven beams; not old for a minute."""

    def blobs_frame(number: int, spots: list[tuple[float, float]]) -> Frame:
        frame = make_frame(number, samples=400, beams=120, received_utc_s=time.time() + 60)
        even = np.linspace(-1, 1, 120)
        frame.bearing_rad[:] = np.sign(even) * np.abs(even) ** 1.3 + np.linspace(0, 1e-6, 120)
        frame.intensity[:] = 1.0
        r, b = np.meshgrid(frame.range_m, frame.bearing_rad, indexing="ij")
        for range_m, spot_rad in spots:
            near = np.hypot(r * np.sin(b) - range_m * np.sin(spot_rad), r * np.cos(b) - range_m * np.cos(spot_rad))
            frame.intensity[near < 0.35] = 1e5
        return frame

    return blobs_frame


@pytest.fixture
def filled(context: Context) -> Callable[..., None]:
    """Makes an archive with these ended tracks."""

    def filled(*tracks: TrackSummary) -> None:
        context.archive = archive = Archive(context.data, Part("archive"))
        archive._try_to_write([[("pen", track) for track in tracks], [], [], []])
        archive._close()

    return filled
