"""docs/live-socket.md, what the server sends, and what the page's code expects name the same things."""

from __future__ import annotations

import json
import re
import struct
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
from trio_websocket import WebSocketConnection

from nims_appliance.context import Context
from nims_appliance.pipeline.display import DisplayEncoder, reduced
from nims_appliance.web import livesocket

DOCUMENT = (Path(__file__).parents[2] / "docs" / "live-socket.md").read_text()
READER = (resources.files("nims_appliance.web") / "static" / "shared" / "connection.js").read_text("utf-8")


def codes(text: str) -> set[str]:
    """The names in a piece of the document: `like_this`, without those in parentheses."""
    while text != (without := re.sub(r"\([^()]*\)", "", text)):
        text = without
    return set(re.findall(r"`([a-z_]+)`", text))


def documented() -> dict[str, set[str]]:
    """Keys of each message from the server, of a track, and of a picture's header."""
    keys = {}
    for kind, _, told in re.findall(r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \|$", DOCUMENT, flags=re.MULTILINE):
        keys[kind] = codes(told) | {"type"}
    head = DOCUMENT.partition("## Pictures")[2].partition("## From the viewer")[0]
    keys["picture"] = set().union(*(codes(row) for row in re.findall(r"^\| (`[^|]*) \|", head, flags=re.MULTILINE)))
    keys["track"] = codes(re.search(r"^A track: (.*?)\n\n", DOCUMENT, flags=re.MULTILINE | re.DOTALL)[1])  # type: ignore[index]
    return keys


def expected_by_the_page() -> dict[str, tuple[set[str], set[str]]]:
    """Of each type that connection.js declares: the properties that must be there, and those that may."""
    types = {}
    for body, name in re.findall(r"/\*\*((?:(?!\*/).)*?@typedef \{object\} (\w+).*?)\*/", READER, flags=re.DOTALL):
        may = set(re.findall(r"@property \{.*\} \[(\w+)\]", body))
        types[name] = set(re.findall(r"@property \{.*\} (\w+)", body)), may
    for fields, name in re.findall(r"@typedef \{\{(.*?)\}\} (\w+)", READER):
        types[name] = set(re.findall(r"(\w+):", fields)), set(re.findall(r"(\w+)\?:", fields))
    return types


async def next_of_type(client: WebSocketConnection, kind: str) -> dict[str, Any]:
    while True:
        message = await client.get_message()
        if isinstance(message, str) and (decoded := json.loads(message))["type"] == kind:
            return decoded


async def sent_messages(context: Context, serve: Any, connect: Any, make_result: Any) -> dict[str, dict[str, Any]]:
    """One of each text message that the server has."""
    async with serve(context) as port, connect(port, "/livesocket") as client:
        messages = {kind: await next_of_type(client, kind) for kind in ("hello", "state")}
        while context.results.subscribers < 2 or not context.config.changes.subscribers:
            await trio.sleep(0.01)
        context.results.publish(make_result(8))
        messages["tracks"] = await next_of_type(client, "tracks")
        await context.config.change({"web.picture_rate_hz": 7}, author="a test")
        messages["config"] = await next_of_type(client, "config")
    return messages


async def test_every_message_has_the_keys_that_are_documented(context: Context, serve, connect, make_result) -> None:
    messages = await sent_messages(context, serve, connect, make_result)
    told = documented()
    assert messages["hello"]["protocol"] == livesocket.PROTOCOL
    assert f"version {livesocket.PROTOCOL}\n" in DOCUMENT
    for kind, message in messages.items():
        assert set(message) == told[kind], kind
    assert set(messages["tracks"]["tracks"][0]) == told["track"]


def test_the_header_of_a_picture_has_the_keys_that_are_documented(make_frame) -> None:
    even = DisplayEncoder().encode(make_frame(1)).payload
    uneven = DisplayEncoder().encode(make_frame(1, range_m=np.geomspace(1.0, 20.0, 40))).payload
    for payload, without in ((even, {"range_m", "pose"}), (uneven, {"pose"}), (reduced(even, 2), {"range_m", "pose"})):
        (length,) = struct.unpack_from("<I", payload)
        assert (4 + length) % 8 == 0
        assert set(json.loads(payload[4 : 4 + length])) == documented()["picture"] - without


@pytest.mark.parametrize(
    ("name", "kind"),
    [("PictureHead", "picture"), ("Track", "track"), ("TracksMessage", "tracks"), ("HelloMessage", "hello"),
     ("ConfigMessage", "config")],
)  # fmt: skip
def test_the_page_expects_what_is_documented(name: str, kind: str) -> None:
    must, may = expected_by_the_page()[name]
    assert must <= documented()[kind] <= must | may


def test_the_page_expects_of_the_state_nothing_that_is_not_documented() -> None:
    assert set().union(*expected_by_the_page()["StateMessage"]) <= documented()["state"]


def test_both_sides_speak_the_same_version() -> None:
    assert re.search(r"^const PROTOCOL = (\d+);", READER, flags=re.MULTILINE)[1] == str(livesocket.PROTOCOL)  # type: ignore[index]
