"""The page's reader of the live socket, given bytes that were made by hand and bytes of the appliance."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nims_appliance.context import Context
from nims_appliance.pipeline.display import DisplayEncoder


@pytest.fixture
def read(context: Context, serving, open_page) -> Iterator[Callable[[bytes], Any]]:
    """Gives what `readPicture` makes of the bytes; an error is a text."""
    with serving(context) as server:
        page = open_page(server.url)

        def read(message: bytes) -> Any:
            return page.evaluate(
                """async (text) => {
                    const { readPicture } = await import("/static/shared/connection.js");
                    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
                    try {
                        const { head, bytes: cells } = readPicture(bytes.buffer);
                        return { head, cells: [...cells] };
                    } catch (error) {
                        return String(error);
                    }
                }""",
                base64.b64encode(message).decode(),
            )

        yield read


def test_a_picture_written_by_hand_is_read(read) -> None:
    head = b'{"type":"picture","rows":2,"columns":3,"device":"caf\xc3\xa9"}'
    message = struct.pack("<I", len(head) + 5) + head + b"     " + bytes([0, 1, 2, 253, 254, 255])
    assert read(message) == {
        "head": {"type": "picture", "rows": 2, "columns": 3, "device": "café"},
        "cells": [0, 1, 2, 253, 254, 255],
    }


def test_a_picture_of_the_appliance_is_read(read, make_frame) -> None:
    payload = DisplayEncoder().encode(make_frame(5, samples=9, beams=7)).payload
    (length,) = struct.unpack_from("<I", payload)
    assert read(payload) == {"head": json.loads(payload[4 : 4 + length]), "cells": list(payload[4 + length :])}


@pytest.mark.parametrize("message", [b"", b"\x01\x00", struct.pack("<I", 99) + b"{}", struct.pack("<I", 2) + b"{]"])
def test_a_torn_message_is_an_error_and_nothing_worse(read, message: bytes) -> None:
    assert "Error" in read(message)
