"""The main flows in Firefox, as it comes with Debian, driven by WebDriver BiDi (w3.org/TR/webdriver-bidi)."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from nims_appliance.context import Context
from nims_appliance.pipeline.display import DisplayEncoder

FIREFOX = os.environ.get("NIMS_FIREFOX") or shutil.which("firefox-esr") or shutil.which("firefox") or ""
PREFERENCES = """\
user_pref("app.update.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("toolkit.telemetry.reportingpolicy.firstRun", false);
"""
START_S = 60
ANSWER_S = 30
STEP_S = 0.2


@pytest.fixture(scope="module")
def firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running Firefox's BiDi socket."""
    if not FIREFOX:
        if os.environ.get("CI"):
            pytest.fail("no firefox: install firefox-esr, or set NIMS_FIREFOX")
        pytest.skip("no firefox: install firefox-esr, or set NIMS_FIREFOX")
    profile = tmp_path_factory.mktemp("profile")
    (profile / "user.js").write_text(PREFERENCES)
    told = profile / "told"
    with told.open("w") as output:
        process = subprocess.Popen(
            [FIREFOX, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HOME": str(profile), "MOZ_CRASHREPORTER_DISABLE": "1"},
            start_new_session=True,
        )
    try:
        yield _address(process, told)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def _address(process: subprocess.Popen[bytes], told: Path) -> str:
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s and process.poll() is None:
        if found := re.search(r"WebDriver BiDi listening on (ws://\S+)", told.read_text()):
            return found[1]
        time.sleep(STEP_S)
    pytest.fail(f"firefox did not start: {told.read_text()[-2000:]}")


class Tab:
    """One tab; what its page reports as errors is kept."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self._socket = socket
        self._numbers = count(1)
        self._answers: dict[int, trio.MemorySendChannel[dict[str, Any]]] = {}
        self.context = ""
        self.errors: list[str] = []

    async def listen(self) -> None:
        with suppress(ConnectionClosed):
            while True:
                message = json.loads(await self._socket.get_message())
                if message.get("method") == "log.entryAdded" and message["params"]["level"] == "error":
                    self.errors.append(message["params"]["text"])
                elif message.get("id") in self._answers:
                    self._answers.pop(message["id"]).send_nowait(message)

    async def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._answers[number], answer = trio.open_memory_channel[dict[str, Any]](1)
        await self._socket.send_message(json.dumps({"id": number, "method": method, "params": parameters}))
        with trio.fail_after(ANSWER_S):
            message = await answer.receive()
        assert message["type"] == "success", message
        return message["result"]

    async def open(self, url: str) -> None:
        await self.command("browsingContext.navigate", context=self.context, url=url, wait="complete")

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression, by way of JSON; of a promise what it comes to."""
        result = await self.command(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({expression})) ?? 'null')()",
            target={"context": self.context},
            awaitPromise=True,
        )
        assert result["type"] == "success", result
        return json.loads(result["result"]["value"])

    async def until(self, expression: str) -> Any:
        """Wait until an expression is true, and give its value."""
        with trio.move_on_after(ANSWER_S):
            while True:
                if value := await self.evaluate(expression):
                    return value
                await trio.sleep(STEP_S)
        pytest.fail(f"never true: {expression}; errors of the page: {self.errors}")

    async def press(self, *keys: str) -> None:
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        source = {"type": "key", "id": "keyboard", "actions": actions}
        await self.command("input.performActions", context=self.context, actions=[source])


@asynccontextmanager
async def tab_of(firefox: str) -> AsyncIterator[Tab]:
    host, port = firefox.removeprefix("ws://").partition("/")[0].split(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream, trio.open_nursery() as nursery:
        tab = Tab(await wrap_client_stream(nursery, stream, f"{host}:{port}", "/session", max_message_size=2**26))
        nursery.start_soon(tab.listen)
        await tab.command("session.new", capabilities={})
        try:
            await tab.command("session.subscribe", events=["log.entryAdded"])
            user_context = (await tab.command("browser.createUserContext"))["userContext"]
            created = await tab.command("browsingContext.create", type="tab", userContext=user_context)
            tab.context = created["context"]
            size = {"width": 800, "height": 600}
            await tab.command("browsingContext.setViewport", context=tab.context, viewport=size)
            yield tab
            await tab.command("browser.removeUserContext", userContext=user_context)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                await tab.command("session.end")
            nursery.cancel_scope.cancel()


CONNECTED = "document.querySelector('#connection')?.dataset.state === 'live'"
SHARE_THAT_IS_BRIGHT = """(() => {
    const seen = document.querySelector("canvas.picture");
    if (!seen?.width) return null;
    const copy = new OffscreenCanvas(seen.width, seen.height).getContext("2d");
    copy.drawImage(seen, 0, 0);
    const { data } = copy.getImageData(0, 0, seen.width, seen.height);
    let bright = 0;
    for (let i = 0; i < data.length; i += 4) bright += data[i] + data[i + 1] + data[i + 2] > 550;
    return bright / (data.length / 4);
})()"""


async def test_firefox_shows_the_picture_and_its_tracks(
    context: Context, serve, firefox: str, blobs_frame, make_result
) -> None:
    encoder = DisplayEncoder()
    pen = context.sonars["pen"]
    pen.last_picture = encoder.encode(blobs_frame(1, []))
    async with serve(context) as port, tab_of(firefox) as tab:
        await tab.open(f"http://127.0.0.1:{port}/?renderer=2d")
        await tab.until(CONNECTED)
        await tab.until("document.querySelector('canvas.picture') !== null")
        assert (await tab.evaluate(SHARE_THAT_IS_BRIGHT)) < 1e-4
        pen.pictures.publish(encoder.encode(blobs_frame(2, [(9.0, 0.3), (15.0, -0.4)])))
        await tab.until(f"{SHARE_THAT_IS_BRIGHT} > 5e-4")
        context.results.publish(make_result(2))
        await tab.until("document.querySelector('[data-is=tracks]').textContent === '1'")
        assert tab.errors == []


async def test_firefox_draws_with_or_without_a_graphics_chip(
    context: Context, serve, firefox: str, blobs_frame
) -> None:
    context.sonars["pen"].last_picture = DisplayEncoder().encode(blobs_frame(1, [(9.0, 0.3)]))
    async with serve(context) as port, tab_of(firefox) as tab:
        await tab.open(f"http://127.0.0.1:{port}/")
        assert await tab.until("document.querySelector('.pane')?.dataset.renderer") in ("webgl2", "canvas2d")
        assert tab.errors == []


async def test_firefox_lets_an_operator_change_a_setting(context: Context, users, serve, firefox: str) -> None:
    key = "sonars.pen.detector.min_range_m"
    async with serve(context) as port, tab_of(firefox) as tab:
        await tab.open(f"http://127.0.0.1:{port}/login")
        await tab.until("document.querySelector('#login form') !== null")
        await tab.evaluate(
            """(() => {
                const [name, password] = document.querySelectorAll("#login input");
                name.value = "otto";
                password.value = "a long password for tests";
                document.querySelector("#login form").requestSubmit();
            })()"""
        )
        await tab.until("location.pathname === '/'")
        await tab.open(f"http://127.0.0.1:{port}/settings")
        await tab.until(CONNECTED)
        await tab.until(f"document.getElementById('setting-{key}') !== null")
        await tab.evaluate(
            f"""(() => {{
                const field = document.getElementById("setting-{key}");
                for (let at = field; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
                field.focus();
                field.select();
            }})()"""
        )
        await tab.press(*"4.25")
        await tab.until("!document.querySelector('#pending .primary').disabled")
        await tab.evaluate("document.querySelector('#pending .primary').click()")
        with trio.fail_after(ANSWER_S):
            while context.config.sonar("pen").detector.min_range_m != 4.25:
                await trio.sleep(0.05)
        assert tab.errors == []


async def test_firefox_knows_the_keys(context: Context, serve, firefox: str) -> None:
    async with serve(context) as port, tab_of(firefox) as tab:
        await tab.open(f"http://127.0.0.1:{port}/")
        await tab.until(CONNECTED)
        before = await tab.evaluate("document.documentElement.dataset.palette")
        await tab.press("n")
        await tab.until(f"document.documentElement.dataset.palette !== '{before}'")
        await tab.press("?")
        await tab.until("document.querySelector('#help').open")
        assert tab.errors == []
