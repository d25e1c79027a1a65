"""Tracks by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from nims_appliance.pipeline.results import TrackState


def _track(number: int, *zones: str, **changes) -> TrackState:
    values = dict.fromkeys((field.name for field in dataclasses.fields(TrackState)), 0.0)
    values |= {"id": number, "state": "confirmed", "hits": 5, "position_m": (1.0, 2.0, 0.0), "calibrated": False}
    return TrackState(**values | {"channel": "", "zones": zones} | changes)


@pytest.fixture
def track() -> Callable[..., TrackState]:
    """track(id, *zones, **fields): a live track."""
    return _track
