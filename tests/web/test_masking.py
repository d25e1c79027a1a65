"""Secrets of the settings: nobody is shown them, operators see where there are some."""

from __future__ import annotations

import json
from typing import Annotated

import httpx
import msgspec
import pytest
import trio

from nims_appliance.archive import Archive
from nims_appliance.config.masking import MASK, Masking
from nims_appliance.context import Context
from nims_appliance.health import Part
from nims_appliance.journal import keep_journal
from nims_appliance.output import Output
from nims_appliance.settings import Settings
from nims_appliance.web.health import support_text
from nims_appliance.web.state import WebState

WORD = "correct-horse"


class _Settings(Settings, frozen=True):
    enabled: bool = False
    phrase: Annotated[str, msgspec.Meta(extra={"secret": True})] = ""
    host: str = "localhost"


@pytest.fixture
def secretive(context: Context, monkeypatch) -> Context:
    output = Output("secretive", "Secretive", _Settings, lambda context, settings: trio.sleep_forever())
    monkeypatch.setitem(context.plugins.outputs, "secretive", output)
    return context


async def test_secrets_reach_nobody(secretive: Context, serve, connect, operator) -> None:
    context = secretive
    archive = context.archive = Archive(context.data, Part("archive"))
    hook = f"https://me:{WORD}@example.org/hook?key={WORD}"
    everything = []
    async with trio.open_nursery() as nursery, serve(context) as port:
        nursery.start_soon(keep_journal, context, archive)
        await trio.testing.wait_all_tasks_blocked()
        url = f"http://127.0.0.1:{port}"
        async with (
            httpx.AsyncClient(base_url=url) as viewer,
            httpx.AsyncClient(base_url=url, headers=operator) as changer,
        ):
            for word in (WORD, f"{WORD}-2"):
                changes = {"outputs.secretive.phrase": word, "triggers.t.on": "track", "triggers.t.actions": [hook]}
                answer = await changer.patch("/api/v1/config", json={"changes": changes})
                assert answer.status_code == 200, answer.text
                assert answer.json()["changes"]["outputs.secretive.phrase"] == MASK
            await trio.testing.wait_all_tasks_blocked()
            await archive._write()
            archive._close()
            for path in (
                "/api/v1/config",
                "/api/v1/config/history",
                "/api/v1/state",
                "/api/v1/health",
                "/api/v1/events",
            ):
                everything.append((await viewer.get(path)).text)
            shown = (await changer.get("/api/v1/config")).json()
            assert shown["values"]["outputs"]["secretive"]["phrase"] == MASK
            assert shown["schema"]["$defs"]["output secretive"]["properties"]["phrase"]["secret"] is True
            assert json.loads(everything[0])["values"]["outputs"]["secretive"]["phrase"] == ""
            history = await changer.get("/api/v1/config/history")
            assert MASK in history.text
            everything.append(history.text.replace(hook, ""))
            everything.append(support_text(context, WebState(context)))
            for path in ("/pagesocket", "/echosocket"):
                async with connect(port, path) as socket:
                    everything.append(await socket.get_message())
        nursery.cancel_scope.cancel()
    for told in everything:
        assert WORD not in (told if isinstance(told, str) else told.decode(errors="replace"))


async def test_dots_that_come_back_change_nothing(secretive: Context, serve, operator) -> None:
    async with serve(secretive) as port, httpx.AsyncClient(headers=operator) as client:
        url = f"http://127.0.0.1:{port}/api/v1/config"

        async def change(changes: dict, **more) -> None:
            answer = await client.patch(url, json={"changes": changes, **more})
            assert answer.status_code == 200, answer.text

        key = "outputs.secretive.phrase"
        await change({key: WORD})
        await change({key: MASK, "outputs.secretive.host": "there"}, expected={key: MASK})
        await change({key: MASK})
        await change({"outputs.secretive": {"phrase": MASK, "host": "elsewhere"}})
        settings = secretive.config.output("secretive")
        assert (settings.phrase, settings.host) == (WORD, "elsewhere")
        await change({key: ""})
        assert secretive.config.output("secretive").phrase == ""


def test_what_is_secret_is_found_in_plugins(secretive: Context) -> None:
    masking = Masking(secretive.plugins)
    assert masking.is_secret(("outputs", "secretive", "phrase"))
    assert masking.is_secret(("outputs", "mqtt", "password"))
    assert not masking.is_secret(("outputs", "secretive", "host"))
    assert not masking.is_secret(("outputs", "none", "phrase"))
    assert not masking.is_secret(("sonars", "pen", "driver", "phrase"))
