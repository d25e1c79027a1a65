"""What the tests of exports share: an archive with tracks and bins made by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from nims_appliance.archive import ArchiveReader
from nims_appliance.archive.rows import bin_rows, track_row
from nims_appliance.archive.schema import BINS, FILE_NAME, TRACKS, connect
from nims_appliance.pipeline.metrics import MetricsBin
from nims_appliance.pipeline.results import TrackSummary


def _make_track(number: int, **changes: Any) -> TrackSummary:
    known = {
        "id": number,
        "first_time_s": 1700000000.0,
        "last_time_s": 1700000000.0 + number % 2**20,
        "hits": 20,
        "pings": 25,
        "mean_speed_m_s": 0.5,
        "heading_rad": math.radians(-90),
        "mean_width_m": math.nan,
        "calibrated": True,
        "label": "fish",
        "positions": ((1700000000.25, 1.0, 2.0, 0.0), (1700000000.5, 1.5, 2.5, 0.25)),
    }
    numbers = (
        "peak_speed_m_s", "path_m", "net_m", "straightness", "min_range_m", "max_range_m", "min_bearing_rad",
        "max_bearing_rad", "min_elevation_rad", "max_elevation_rad", "mean_length_m", "mean_area_m2", "strength_db",
        "quality", "probability",
    )  # fmt: skip
    return TrackSummary(**(dict.fromkeys(numbers, 0.25) | known | changes))


def _make_bin(end_s: float, sv_db: float, *, layers: int = 0, **changes: Any) -> MetricsBin:
    numbers = (
        "sa_db", "center_of_mass_m", "inertia_m2", "proportion_occupied", "equivalent_area_m",
        "aggregation_index_per_m",
    )  # fmt: skip
    known = {"sonar_id": "pen", "channel": "", "ping_number": 7, "start_s": end_s - 5.0, "end_s": end_s, "pings": 50}
    known |= {"calibrated": True, "sv_db": sv_db, "layers": 1, "nasc_m2_nmi2": 12.5, "top_m": 1.0, "bottom_m": 11.0}
    values = dict.fromkeys(numbers, 0.25) | known | changes
    below = tuple(
        MetricsBin(**(values | {"part": k, "top_m": 5.0 * k - 5.0, "bottom_m": 5.0 * k})) for k in range(1, layers + 1)
    )
    return MetricsBin(**(values | {"by_layer": below}))


def _fill_archive(
    data: Path, tracks: Iterable[tuple[str, TrackSummary]] = (), bins: Iterable[MetricsBin] = ()
) -> ArchiveReader:
    database = connect(data / FILE_NAME)
    with database:
        insert = f"INSERT INTO tracks ({', '.join(TRACKS)}) VALUES ({', '.join('?' * len(TRACKS))})"
        database.executemany(insert, (track_row(sonar, track) for sonar, track in tracks))
        ids: dict[tuple, int | None] = {}
        for series, values in (row for column in bins for row in bin_rows(column)):
            if series not in ids:
                insert = "INSERT INTO series (sonar, channel, layer) VALUES (?, ?, ?)"
                ids[series] = database.execute(insert, series).lastrowid
            insert = f"INSERT INTO metrics_bins ({', '.join(BINS)}) VALUES ({', '.join('?' * len(BINS))})"
            database.execute(insert, (ids[series], *values))
    database.close()
    return ArchiveReader(data / FILE_NAME)


@pytest.fixture
def make_track() -> Callable[..., TrackSummary]:
    return _make_track


@pytest.fixture
def make_bin() -> Callable[..., MetricsBin]:
    return _make_bin


@pytest.fixture
def fill_archive() -> Callable[..., ArchiveReader]:
    """fill_archive(data, tracks=[(sonar, track)], bins=[bin]): an archive of this version, and its reader."""
    return _fill_archive
