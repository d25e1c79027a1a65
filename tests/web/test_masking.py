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
from nims_appliance.config.store import ConfigStore
from nims_appliance.context import Context
from nims_appliance.errors import ConfigError
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
            everything.append(history.text)
            everything.append((await changer.get("/api/v1/config")).text)
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


HOOK = f"https://me:{WORD}@example.org/hook?key={WORD}"
SHOWN = f"https://{MASK}@example.org/hook?{MASK}"


async def test_logins_of_webhooks_are_kept_though_nobody_is_shown_them(context: Context, serve, operator) -> None:
    actions, seen = "triggers.t.actions", {"triggers.t.actions": [SHOWN, "clip"]}
    async with serve(context) as port, httpx.AsyncClient(headers=operator) as client:
        url = f"http://127.0.0.1:{port}/api/v1/config"

        async def change(changes: dict, **more) -> httpx.Response:
            return await client.patch(url, json={"changes": changes, **more})

        assert (await change({"triggers.t.on": "track", actions: [HOOK, "clip"]})).is_success
        assert (await client.get(url)).json()["values"]["triggers"]["t"]["actions"] == [SHOWN, "clip"]
        assert (await change({actions: ["clip", SHOWN, "udp://10.0.0.9:5000"]}, expected=seen)).is_success
        assert context.config.current.triggers["t"].actions == ["clip", HOOK, "udp://10.0.0.9:5000"]
        assert (await change({"triggers.t": {"on": "track_ended", "actions": [SHOWN]}})).is_success
        assert context.config.current.triggers["t"].actions == [HOOK]

        late = await change({actions: ["clip"]}, expected=seen)
        elsewhere = await change({actions: [SHOWN.replace("hook", "other")]})
        for refused in (late, elsewhere):
            assert refused.status_code == 400
            assert list(refused.json()["problems"]) == [actions]
            assert WORD not in refused.text
        assert context.config.current.triggers["t"].actions == [HOOK]


@pytest.mark.parametrize(
    "wrong", [f"htp://me:{WORD}@host/x", f"https://me:{WORD}@host:port", f"udp://{WORD}@host?{WORD}"]
)
async def test_errors_of_the_file_do_not_tell_logins(tmp_path, plugins, wrong: str) -> None:
    (tmp_path / "config.yaml").write_text(f'triggers: {{t: {{"on": track, actions: ["{wrong}"]}}}}\n')
    (error,) = ConfigStore.load(tmp_path, plugins=plugins).errors
    assert "host" in error
    assert WORD not in error


async def test_errors_do_not_tell_secrets(secretive: Context) -> None:
    with pytest.raises(ConfigError, match="phrase: expected text, got another value"):
        await secretive.config.change({"outputs.secretive.phrase": 90210}, "test")
