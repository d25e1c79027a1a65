"""What the tests of the archive share: an archive that runs, and tracks and bins made by hand."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from nims_appliance.archive import Archive
from nims_appliance.bus import Bus
from nims_appliance.health import Part
from nims_appliance.pipeline.metrics import MetricsBin
from nims_appliance.pipeline.results import DETECTION, PingResult, TrackSummary


def _make_track(number: int, **changes) -> TrackSummary:
    values = {
        "id": number,
        "first_time_s": 1700000000.0,
        "last_time_s": 1700000000.0 + number,
        "hits": 20,
        "pings": 25,
        "mean_speed_m_s": 0.5,
        "peak_speed_m_s": 1.0,
        "path_m": 3.0,
        "net_m": 2.0,
        "straightness": 2 / 3,
        "heading_rad": math.radians(-90),
        "min_range_m": 4.0,
        "max_range_m": 5.0,
        "min_bearing_rad": math.radians(-10),
        "max_bearing_rad": math.radians(10),
        "min_elevation_rad": 0.0,
        "max_elevation_rad": 0.0,
        "mean_length_m": 0.3,
        "mean_width_m": math.nan,
        "mean_area_m2": math.inf,
        "strength_db": -40.0,
        "calibrated": True,
        "quality": 0.8,
        "label": "fish",
        "probability": 0.9,
        "positions": ((1700000000.25, 1.0, 2.0, 0.0), (1700000000.5, 1.5, 2.5, 0.25)),
    }
    return TrackSummary(**(values | changes))


def _make_result(*tracks: TrackSummary, sonar_id: str = "pen") -> PingResult:
    return PingResult(sonar_id, 1, 1, 1.7e9, 0.0, 0.0, "", np.zeros(0, DETECTION), (), tracks)


class _Running:
    """An archive that runs, and the bus that feeds it."""

    def __init__(self, data: Path) -> None:
        self.results: Bus[PingResult] = Bus("results")
        self.metrics: Bus[MetricsBin] = Bus("metrics")
        self.part = Part("archive")
        self.archive = Archive(data, self.part)

    def publish(self, *numbers: int) -> None:
        self.results.publish(_make_result(*(_make_track(number) for number in numbers)))

    def close(self) -> None:
        self.results.close()
        self.metrics.close()

    async def until(self, state: str) -> None:
        while self.part.state != state:
            await trio.sleep(0.05)

    async def until_written(self, count: int) -> None:
        while self.archive.written < count:
            await trio.sleep(0.05)


def _rows(data: Path, query: str = "SELECT id FROM tracks ORDER BY id") -> list[tuple]:
    database = sqlite3.connect(data / "nims.sqlite3")
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


def _make_bin(end_s: float, sv_db: float = -50.0, *, layers: int = 0, **changes: Any) -> MetricsBin:
    values = {
        "sonar_id": "pen",
        "channel": "",
        "ping_number": 7,
        "start_s": end_s - 4.9,
        "end_s": end_s,
        "pings": 50,
        "calibrated": True,
        "sv_db": sv_db,
        "sa_db": sv_db + 10.0,
        "center_of_mass_m": 5.0,
        "inertia_m2": 2.0,
        "proportion_occupied": 0.25,
        "equivalent_area_m": 4.0,
        "aggregation_index_per_m": 0.25,
        "layers": 1,
        "nasc_m2_nmi2": 12.5,
        "top_m": 1.0,
        "bottom_m": 11.0,
    }
    below = tuple(
        MetricsBin(**(values | {"part": k, "top_m": 5.0 * k - 5.0, "bottom_m": 5.0 * k} | changes))
        for k in range(1, layers + 1)
    )
    return MetricsBin(**(values | {"by_layer": below} | changes))


@pytest.fixture
def make_running() -> Callable[[Path], _Running]:
    return _Running


@pytest.fixture
def make_track() -> Callable[..., TrackSummary]:
    return _make_track


@pytest.fixture
def make_result() -> Callable[..., PingResult]:
    return _make_result


@pytest.fixture
def make_bin() -> Callable[..., MetricsBin]:
    return _make_bin


@pytest.fixture
def rows() -> Callable[..., list[tuple]]:
    return _rows
