"""docs/integrators.md names every key, column and address that there is, and no other."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pytest

from nims_appliance import archive
from nims_appliance.archive import schema
from nims_appliance.outputs.track_message import describe_result
from nims_appliance.pipeline.results import DETECTION, PingResult, TrackState

TEXT = (Path(__file__).parent.parent / "docs" / "integrators.md").read_text()


def documented(heading: str) -> list[str]:
    """Names in the first column of the table that follows `heading`."""
    table = TEXT[TEXT.index(heading) + len(heading) :].lstrip("\n").split("\n\n")[0]
    rows = table.splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


@pytest.fixture
def message() -> dict:
    zeros = dict.fromkeys((name for name, kind in TrackState.__annotations__.items() if kind == "float"), 0.0)
    vectors = {"position_m": (0.0, 1.0, 0.0), "velocity_m_s": (0.0, 0.0, 0.0), "covariance": ((1.0, 0.0), (0.0, 1.0))}
    track = TrackState(id=1, state="confirmed", hits=1, calibrated=False, **vectors, **zeros)
    return describe_result(PingResult("pen", 1, 1, 0.0, 0.0, 0.0, "", np.empty(0, DETECTION), (track,), ()))


def test_every_key_of_the_message_is_documented(message: dict) -> None:
    assert sorted(documented("The message:")) == sorted([*message, "dropped"])


def test_every_key_of_a_track_is_documented(message: dict) -> None:
    assert sorted(documented("A track:")) == sorted(message["tracks"][0])


@pytest.mark.parametrize(
    ("start", "end", "columns"),
    [
        ("## Ended tracks", "## Echo metrics and events", {*schema.TRACKS}),
        ("## Echo metrics and events", "Table `events`", {*schema.BINS, "sonar", "channel", "layer"}),
        ("Table `events`", "## HTTP", {*schema.EVENTS}),
    ],
)
def test_every_column_of_the_archive_is_documented(start: str, end: str, columns: set[str]) -> None:
    table = TEXT[TEXT.index(start) : TEXT.index(end)]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    documented = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    assert sorted(documented) == sorted(columns)


def test_positions_are_packed_as_documented() -> None:
    packed = archive.pack_positions(((1.5e9, 1.0, 2.0, -3.0),))
    assert len(packed) == 20
    assert struct.unpack("<d3f", packed) == (1.5e9, 1.0, 2.0, -3.0)
