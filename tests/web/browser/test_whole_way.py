"""From the bytes of a sonar to the screen, and from a setting in a page to the pipeline: the whole appliance runs."""

from __future__ import annotations

import itertools
import math
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
from playwright.sync_api import Page, expect

from nims_appliance.appliance import Addresses, run_appliance
from nims_appliance.bus import all_within
from nims_appliance.config.store import ConfigStore
from nims_appliance.context import Context
from nims_appliance.pipeline.results import PingResult
from nims_appliance.plugin_host.host import PluginHost

RATE_HZ = 8.0
NEAR_M = 1.5
"""An animal has a length, and a track is an estimate."""


class SimulatedSonar(threading.Thread):
    """Speaks as an M3 does, and knows where its animals are."""

    def __init__(self, plugins: PluginHost) -> None:
        super().__init__(daemon=True)
        self._device = plugins.simulators["kongsberg-m3"].make(rate_hz=RATE_HZ, beams=96, samples=400, seed=11)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.link = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.truth: dict[int, Any] = {}
        """Animals by ping number."""
        self.quiet = threading.Event()
        self.start()

    def run(self) -> None:
        client, _ = self._listener.accept()
        with client:
            for number in itertools.count(1):
                ping = self._device.ping(number, time.time())
                self.truth[number] = ping.truth
                try:
                    client.sendall(b"".join(self._device.encode(ping)))
                except OSError:
                    return
                if self.quiet.wait(1 / RATE_HZ):
                    self.quiet.wait(60)  # the appliance hangs up
                    client.recv(1)
                    return

    def close(self) -> None:
        self.quiet.set()
        self._listener.close()


class WholeAppliance:
    """The appliance in a thread, the newest result of its pipeline in `newest`."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.newest: PingResult | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._run,))

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow)
            addresses: Addresses = await nursery.start(partial(run_appliance, self.context, handle_signals=False))
            self.url = f"http://127.0.0.1:{addresses.web[0].rsplit(':', 1)[1]}/"
            self._started.set()

    async def _follow(self) -> None:
        with self.context.results.subscribe("test", all_within(8)) as results:
            async for result in results:
                self.newest = result
                if self.context.stopping.is_set():
                    return

    def __enter__(self) -> WholeAppliance:
        self._thread.start()
        assert self._started.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        trio.from_thread.run_sync(self.context.stopping.set, trio_token=self._token)
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def sonar(plugins: PluginHost) -> Iterator[SimulatedSonar]:
    made = SimulatedSonar(plugins)
    yield made
    made.close()


@pytest.fixture
def context(tmp_path: Path, plugins: PluginHost, sonar: SimulatedSonar) -> Context:
    """An appliance that is connected to the simulated sonar."""
    (tmp_path / "config.yaml").write_text(f"sonars:\n  pen:\n    profile: kongsberg-m3\n    link: {sonar.link}\n")
    config = ConfigStore.load(tmp_path, plugins=plugins, command_line={"web.port": 0, "tracks.port": 0})
    assert config.errors == []
    return Context(tmp_path, config, plugins)


def on_screen(page: Page, eventually: Any) -> Any:
    """Find, by what the read-out tells of two points, where a range and a bearing are in the view."""
    box = page.locator(".view").bounding_box()
    assert box
    points = []
    for x, y in ((0.35, 0.35), (0.6, 0.5)):
        px, py = x * box["width"], y * box["height"]
        page.mouse.move(box["x"] + px, box["y"] + py)

        def read(px: float = px, py: float = py) -> None:
            range_text, _, bearing_text = page.locator(".readout").inner_text().replace("−", "-").partition(" m ")
            bearing_rad = math.radians(float(bearing_text.partition("°")[0]))
            metres = float(range_text) * np.array([math.sin(bearing_rad), -math.cos(bearing_rad)])
            points.append((np.array([px, py]), metres))

        def readable() -> None:
            try:
                read()
            except ValueError as error:
                raise AssertionError(str(error)) from error

        eventually(page, readable)
    (pixel_a, metres_a), (pixel_b, metres_b) = points
    scale = np.linalg.norm(pixel_b - pixel_a) / np.linalg.norm(metres_b - metres_a)
    apex = pixel_a - scale * metres_a
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    return lambda range_m, bearing_rad: (
        apex + scale * range_m * np.array([math.sin(bearing_rad), -math.cos(bearing_rad)])
    )


OPAQUE = """() => {
    const canvas = document.querySelector(".view .overlay");
    const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const opaque = [];
    for (let i = 3; i < data.length; i += 4) if (data[i] > 180) opaque.push((i - 3) / 4);
    return [width, opaque];
}"""


def test_tracks_are_drawn_where_the_animals_of_the_simulator_are(
    context: Context, sonar: SimulatedSonar, open_page, eventually
) -> None:
    with WholeAppliance(context) as appliance:
        page = open_page(appliance.url, 900, 700)
        page.wait_for_selector(".pane .picture")
        place = on_screen(page, eventually)

        def tracked() -> list[Any]:
            """Animals that the newest ping has a track on."""
            result = appliance.newest
            assert result is not None
            tracks = [track for track in result.tracks if track.state == "confirmed"]
            return [
                animal
                for animal in sonar.truth[result.ping_number]
                for track in tracks
                if math.hypot(
                    track.position_m[0] - animal.range_m * math.sin(animal.bearing_rad),
                    track.position_m[1] - animal.range_m * math.cos(animal.bearing_rad),
                )
                < NEAR_M
            ]

        def two_are_tracked() -> None:
            assert len(tracked()) >= 2

        eventually(page, two_are_tracked, 300)
        sonar.quiet.set()
        page.wait_for_timeout(700)  # what is on its way arrives
        animals = tracked()
        assert animals
        width, opaque = page.evaluate(OPAQUE)
        ink = np.array([[index % width, index // width] for index in opaque], float).reshape(-1, 2)
        reach_px = 12 + NEAR_M * float(np.linalg.norm(place(1.0, 0.0) - place(0.0, 0.0)))
        for animal in animals:
            distance_px = np.linalg.norm(ink - place(animal.range_m, animal.bearing_rad), axis=1)
            assert (distance_px < reach_px).sum() > 15


def test_a_setting_saved_in_a_page_changes_the_pipeline(
    context: Context, sonar: SimulatedSonar, users, open_page, eventually, serving
) -> None:
    key = "sonars.pen.detector.min_range_m"
    with WholeAppliance(context) as appliance:
        live = open_page(appliance.url)
        settings = open_page(appliance.url + "settings", 900, 700, user="otto")
        settings.wait_for_selector("#connection[data-state=live]")

        def something_is_detected() -> None:
            assert appliance.newest is not None
            assert len(appliance.newest.detections) > 0

        eventually(settings, something_is_detected, 200)
        settings.locator("[data-key='sonars.pen.detector'] > summary").click()
        settings.locator(f"[id='setting-{key}']").fill("39.5")
        settings.locator("#pending .primary").click()

        def nothing_is_detected() -> None:
            assert context.config.sonar("pen").detector.min_range_m == 39.5
            assert appliance.newest is not None
            assert len(appliance.newest.detections) == 0

        eventually(settings, nothing_is_detected, 100)
        expect(live.locator("[data-is=tracks]")).to_have_text("0", timeout=15_000)
        serving.stopped = True  # what the pages ask for just now may meet an appliance that is gone
