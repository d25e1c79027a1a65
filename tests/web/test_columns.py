"""The last minutes of a multibeam sonar over HTTP."""

from __future__ import annotations

import json
import struct
from collections import deque

import httpx
import numpy as np
import pytest

from nims_appliance.context import Context
from nims_appliance.pipeline.columns import ColumnMaker


@pytest.fixture
def kept(context: Context, make_frame) -> Context:
    maker = ColumnMaker()
    context.sonars["pen"].strongest[""] = deque(maker.make(make_frame(number)) for number in range(1, 30))
    return context


async def test_columns_are_sent_as_one_message(kept: Context, serve, make_frame) -> None:
    async with serve(kept) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        answer = await client.get("/api/v1/sonars/pen/columns", params={"after": 20})
        assert answer.headers["content-type"] == "application/octet-stream"
        (length,) = struct.unpack_from("<I", answer.content)
        head = json.loads(answer.content[4 : 4 + length])
        cells = np.frombuffer(answer.content, np.uint8, offset=4 + length).reshape(head["columns"], head["rows"])
        assert head["frames"] == list(range(20, 30))
        assert np.argmax(cells, axis=1).tolist() == [number % 40 for number in range(20, 30)]  # as `make_frame` echoes
        for nothing in ({"after": 30}, {"channel": "38 kHz"}):
            answer = await client.get("/api/v1/sonars/pen/columns", params=nothing)
            assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/api/v1/sonars/dam/columns", 404, "there is no sonar 'dam'"),
        ("/api/v1/sonars/pen/columns?after=-1", 400, "after: expected the number of a frame, got '-1'"),
        ("/api/v1/sonars/pen/columns?after=%C2%B2", 400, "after: expected the number of a frame"),
    ],
)
async def test_what_is_not_there_is_told(kept: Context, serve, path: str, status: int, error: str) -> None:
    async with serve(kept) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        answer = await client.get(path)
        assert answer.status_code == status
        assert error in answer.json()["error"]
