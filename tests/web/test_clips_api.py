"""Clips, recordings, switches, triggers, and the document that tells of them, over HTTP."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import pytest
import trio

from nims_appliance.archive import Archive
from nims_appliance.context import Context
from nims_appliance.file_decoder import FileDecoder
from nims_appliance.health import Part
from nims_appliance.pipeline.display import DisplayEncoder
from nims_appliance.plugin_host.host import make_decoder_context
from nims_appliance.triggers.engine import Triggers
from nims_appliance.web import clip_pictures, openapi
from nims_appliance.web.app import make_app
from nims_appliance.web.clip_pictures import Players
from nims_appliance.web.livesocket import Viewers
from nims_appliance.web.state import WebState

START_S = 1_700_000_000.0


@pytest.fixture
def asking(context: Context, serve, operator):
    @asynccontextmanager
    async def asking() -> AsyncIterator[httpx.AsyncClient]:
        async with serve(context) as port:
            url = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=url, headers=operator, timeout=20) as client:
                yield client

    return asking


async def test_clips_come_newest_first_in_pages(asking, add_clip) -> None:
    clips = [add_clip(number) for number in range(5)]
    async with asking() as client:
        found, after = [], ""
        while after is not None:
            answer = (await client.get("/api/v1/clips", params={"limit": 2, "after": after})).json()
            found += [clip["name"] for clip in answer["clips"]]
            after = answer["next"]
        assert found == [clip.name for clip in reversed(clips)]

        async def names(**params) -> list[str]:
            answer = await client.get("/api/v1/clips", params=params)
            return [clip["name"] for clip in answer.json()["clips"]]

        assert await names(track=2**61 + 3) == [clips[3].name]
        assert await names(sonar="other") == []
        assert await names(**{"from": START_S + 10, "to": START_S + 21}) == [clips[2].name, clips[1].name]
        assert (await client.get("/api/v1/clips", params={"after": "nonsense"})).status_code == 400


async def test_a_clip_that_is_gone_does_not_disturb_the_pages_behind_it(asking, add_clip) -> None:
    clips = [add_clip(number) for number in range(4)]
    async with asking() as client:
        first = (await client.get("/api/v1/clips", params={"limit": 2})).json()
        assert (await client.delete(f"/api/v1/clips/{first['clips'][1]['name']}")).status_code == 200
        second = (await client.get("/api/v1/clips", params={"limit": 2, "after": first["next"]})).json()
        assert [clip["name"] for clip in second["clips"]] == [clips[1].name, clips[0].name]


async def test_a_clip_is_kept_downloaded_and_removed(context: Context, asking, add_clip) -> None:
    clip = add_clip(1, b"\x00\x01\x02" * 1000)
    told = context.clips.path(clip).with_name(f"{clip.name}.json")
    async with asking() as client:
        answer = await client.patch(f"/api/v1/clips/{clip.name}", json={"keep": True})
        assert answer.json()["keep"] is True
        assert json.loads(told.read_bytes())["keep"] is True
        assert (await client.patch(f"/api/v1/clips/{clip.name}", json={"keep": "maybe"})).status_code == 400
        answer = await client.get(f"/api/v1/clips/{clip.name}/download")
        assert answer.content == b"\x00\x01\x02" * 1000
        assert clip.name in answer.headers["content-disposition"]
        assert (await client.delete(f"/api/v1/clips/{clip.name}")).json() == {"ok": True}
        assert not [*context.clips.path(clip).parent.iterdir()]
        for path in ("", "/download", "/pictures"):
            assert (await client.get(f"/api/v1/clips/{clip.name}{path}")).status_code == 404
        assert (await client.get("/api/v1/clips/..%2F..%2Fconfig/download")).status_code == 404


def messages(body: bytes) -> list[tuple[dict, bytes]]:
    found, at = [], 0
    while True:
        (length,) = struct.unpack_from("<I", body, at)
        at += 4
        if not length:
            assert at == len(body)
            return found
        (head_length,) = struct.unpack_from("<I", body, at)
        head = msgspec.json.decode(body[at + 4 : at + 4 + head_length])
        found.append((head, body[at + 4 + head_length : at + length]))
        at += length


@pytest.fixture
def clip_bytes(recordings: Path) -> bytes:
    path = max(recordings.glob("**/*.imb"), key=lambda path: path.stat().st_size)
    return path.read_bytes()


def frames_of(context: Context, path: Path) -> list:
    settings, profile = context.config.sonar("pen"), context.config.profile("kongsberg-m3")
    driver = context.plugins.driver(profile)
    decoder = FileDecoder(driver, make_decoder_context(profile, settings, driver), profile.limits.packet_bytes)
    return [frame.stamped("pen", number, arrival) for number, (frame, arrival) in enumerate(decoder.frames(path), 1)]


async def test_a_clip_is_played_as_the_pictures_that_were_seen_live(
    context: Context, asking, add_clip, clip_bytes: bytes
) -> None:
    clip = add_clip(1, clip_bytes * 5)
    frames, display = frames_of(context, context.clips.path(clip)), DisplayEncoder()
    expected = [display.encode(frame) for frame in frames]
    async with asking() as client:
        answer = await client.get(f"/api/v1/clips/{clip.name}/pictures")
        shown = messages(answer.content)
        assert [head["time_s"] for head, _ in shown] == [picture.time_s for picture in expected]
        for (head, cells), picture in zip(shown, expected, strict=True):
            assert picture.payload.endswith(cells)
            assert len(cells) == head["rows"] * head["columns"]
        smaller = messages((await client.get(f"/api/v1/clips/{clip.name}/pictures?reduction=2")).content)
        big, small = shown[0], smaller[0]
        assert small[0]["rows"] == -(-big[0]["rows"] // 2)
        assert max(small[1]) == max(big[1])
        # five pings of one moment are one picture at any rate
        assert len(expected) == 5
        assert len(messages((await client.get(f"/api/v1/clips/{clip.name}/pictures?rate_hz=10")).content)) == 1
        assert (await client.get(f"/api/v1/clips/{clip.name}/pictures?reduction=3")).status_code == 400


async def test_a_clip_that_cannot_be_shown_says_why(context: Context, asking, add_clip) -> None:
    empty, strange = add_clip(1, b""), add_clip(2, b"no ping at all" * 1000)
    foreign = add_clip(3, profile="no-such-profile", sonar="gone")
    missing = add_clip(4)
    context.clips.path(missing).unlink()
    async with asking() as client:
        for clip, words in ((empty, "empty"), (strange, "no ping"), (foreign, "no-such-profile"), (missing, "No such")):
            answer = await client.get(f"/api/v1/clips/{clip.name}/pictures")
            assert answer.status_code == 400
            assert words in answer.json()["error"]


async def test_a_client_that_begins_another_player_ends_its_last_one(
    context: Context, add_clip, clip_bytes: bytes, monkeypatch
) -> None:
    monkeypatch.setattr(clip_pictures, "WORK_S", 0.0)  # a ping at a time
    clip, players = add_clip(1, clip_bytes * 30), Players(context)
    first = await players.play(clip, client="one")
    other = await players.play(clip, client="other")
    seen = await anext(first)
    second = await players.play(clip, client="one")
    rest = b"".join([piece async for piece in first])
    with pytest.raises(struct.error):
        messages(seen + rest)  # no end
    assert len(rest) <= len(seen)
    for player in (second, other):
        assert len(messages(b"".join([piece async for piece in player]))) == 30


async def test_a_player_that_is_left_closes_its_file(context: Context, add_clip, clip_bytes: bytes) -> None:
    clip, players = add_clip(1, clip_bytes * 30), Players(context)
    playing = await players.play(clip, client="one")
    await anext(playing)
    await playing.aclose()
    folder = Path("/proc/self/fd")
    opened = [os.readlink(folder / number) for number in os.listdir(folder) if (folder / number).is_symlink()]
    assert str(context.clips.path(clip)) not in opened


async def test_clips_come_with_their_tracks(context: Context, asking, add_clip) -> None:
    from .test_history_api import make_track

    clip = add_clip(1, tracks=[2**60 + 1, 2**60 + 7])
    context.archive = archive = Archive(context.data, Part("archive"))
    for number in (1, 2):
        archive._tracks.put(("pen", make_track(number)))
    assert await archive._write()
    archive._close()
    async with asking() as client:
        told = (await client.get(f"/api/v1/clips/{clip.name}")).json()
        assert told["tracks"] == [str(2**60 + 1), str(2**60 + 7)]
        assert [track["positions"] for track in told["described"]] == [[[1.0, 2.0, 3.0, 4.0]]]
        listed = (await client.get("/api/v1/tracks?sort=id&order=asc")).json()["ended"]
        assert [track["clip"] for track in listed] == [clip.name, None]
        lines = (await client.get("/api/v1/tracks?format=jsonl")).text.splitlines()
        assert [json.loads(line)["id"] for line in lines] == [str(2**60 + 2), str(2**60 + 1)]


async def test_recordings_are_listed(context: Context, asking) -> None:
    folder = context.data / "recordings" / "pen"
    folder.mkdir(parents=True)
    for hour in (1, 2, 3):
        (folder / f"pen_20231114T0{hour}0000.000Z.imb").write_bytes(b"x" * hour)
        (folder / f"pen_20231114T0{hour}0000.000Z.imb.index").write_bytes(b"")
    async with asking() as client:
        told = (await client.get("/api/v1/recordings?limit=2")).json()
        assert (told["files"], told["bytes"], len(told["recordings"])) == (3, 6, 2)
        assert told["recordings"][0]["name"] == "pen_20231114T030000.000Z.imb"
        more = (await client.get("/api/v1/recordings", params={"limit": 2, "after": told["next"]})).json()
        assert [file["bytes"] for file in more["recordings"]] == [1]


@pytest.mark.parametrize("setting", ["record", "clips"])
async def test_switches_are_changes_of_settings(context: Context, asking, setting: str) -> None:
    async with asking() as client:
        for on in (True, False):
            answer = await client.post(f"/api/v1/sonars/pen/{setting}", json={"on": on})
            assert answer.json() == {"ok": True, "on": on}
            assert getattr(context.config.sonar("pen"), setting) is on
        assert context.config.history.entries[-1].rows[0].key == f"sonars.pen.{setting}"
        assert (await client.post(f"/api/v1/sonars/pen/{setting}", json={"on": 1})).status_code == 400
        assert (await client.post(f"/api/v1/sonars/none/{setting}", json={"on": True})).status_code == 404


async def test_a_trigger_is_tested_and_tells_how_it_stands(context: Context, asking) -> None:
    receiver = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
    await receiver.bind(("127.0.0.1", 0))
    port = receiver.getsockname()[1]
    actions = [f"udp://127.0.0.1:{port}", "https://me:hidden@127.0.0.1:9/hook?key=hidden"]
    await context.config.change({"triggers.camera.on": "track", "triggers.camera.actions": actions}, "test")
    context.triggers = Triggers(context, Part("triggers"))
    with receiver, trio.fail_after(10):
        async with trio.open_nursery() as nursery, asking() as client:
            nursery.start_soon(context.triggers.run)
            assert (await client.post("/api/v1/triggers/none/test")).status_code == 404
            while context.triggers._nursery is None:
                assert (await client.post("/api/v1/triggers/camera/test")).status_code == 503
            answer = await client.post("/api/v1/triggers/camera/test")
            assert answer.json()["ok"] is False
            assert [action["ok"] for action in answer.json()["actions"]] == [True, False]
            assert "hidden" not in answer.text
            assert json.loads(await receiver.recv(10_000))["test"] is True
            answer = await client.get("/api/v1/triggers")
            [told] = answer.json()["triggers"]
            assert (told["name"], told["fired"], told["actions"][0]["sent"]) == ("camera", 1, 1)
            assert told["actions"][1]["action"] == "https://127.0.0.1:9/hook?..."
            assert "hidden" not in answer.text
            nursery.cancel_scope.cancel()


def test_the_document_tells_of_every_route(context: Context) -> None:
    state = WebState(context)
    app = make_app(context, state, Viewers(context, state, "0"))
    there = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.websocket and (rule.rule.startswith("/api/") or rule.rule in ("/healthz", "/metrics"))
    }
    assert {(route.method, route.path) for route in openapi.ROUTES} == there
    told = openapi.describe(app, "1.0")
    operations = [operation for path in told["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) == len(there)
    for path, methods in told["paths"].items():
        for operation in methods.values():
            in_path = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"}
            assert in_path == {part[1:-1] for part in path.split("/") if part.startswith("{")}
    assert told["paths"]["/api/v1/clips/{name}"]["delete"]["x-nims-role"] == "operator"
