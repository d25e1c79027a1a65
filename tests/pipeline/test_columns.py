"""Range over time of multibeam pings: against NumPy, over a change of gain, and for how long it is kept."""

from __future__ import annotations

import dataclasses
import json
import struct
from collections import deque

import numpy as np
import pytest

from nims_appliance.frame import Frame
from nims_appliance.pipeline.columns import (
    KEPT_COLUMNS,
    ColumnMaker,
    PingColumn,
    encode_columns,
    keep_column,
)


def ping(number: int, db: np.ndarray, **changes: object) -> Frame:
    samples, beams = db.shape
    return Frame(
        intensity=(10 ** (db / 10)).astype(np.float32),
        unit="counts^2",
        range_m=1.0 + 0.05 * np.arange(samples),
        bearing_rad=np.linspace(-1, 1, beams),
        time_s=1000.0 + number / 10,
        ping_number=500 + number,
        sound_speed_m_s=1500.0,
        frequency_hz=500e3,
        pulse_length_s=1e-4,
        ping_interval_s=0.1,
        beam_width_rad=0.02,
        range_resolution_m=0.05,
        sonar_id="pen",
        frame_number=number,
        received_utc_s=1000.5 + number / 10,
        **changes,  # type: ignore[arg-type]
    ).check()


def decode(message: bytes) -> tuple[dict, np.ndarray]:
    (length,) = struct.unpack_from("<I", message)
    assert (4 + length) % 8 == 0
    head = json.loads(message[4 : 4 + length])
    cells = np.frombuffer(message, np.uint8, offset=4 + length).reshape(head["columns"], head["rows"])
    return head, cells


def in_db(head: dict, cells: np.ndarray) -> np.ndarray:
    return head["db_min"] + cells * (head["db_max"] - head["db_min"]) / 255


def test_a_column_holds_the_strongest_echo_of_each_range() -> None:
    rng = np.random.default_rng(3)
    db = rng.normal(40, 6, (1100, 64))
    head, cells = decode(encode_columns("pen", [ColumnMaker().make(ping(7, db))]))
    expected = [db[first : first + 3].max() for first in range(0, 1100, 3)]  # 1100 samples in at most 512 rows
    assert in_db(head, cells[0]) == pytest.approx(expected, abs=0.21)
    assert (head["frames"], head["times_s"], head["received_utc_s"]) == ([7], [1000.7], [1001.2])
    assert head["range_first_m"] == pytest.approx(0.975)
    assert head["range_last_m"] == pytest.approx(0.975 + 367 * 3 * 0.05)
    assert head["unit"] == "dB re 1 counts^2"


def test_columns_of_another_gain_are_told_on_the_scale_of_the_newest() -> None:
    maker = ColumnMaker()
    weak, strong = np.full((40, 8), 10.0), np.full((40, 8), 75.0)
    weak[5, 3], strong[6, 2] = 45.0, 100.0
    columns = [maker.make(ping(number, db)) for number, db in enumerate([weak, strong, strong])]
    assert columns[1].db_min != columns[2].db_min  # 65 dB more: the foot follows at the next ping
    head, cells = decode(encode_columns("pen", columns))
    levels = in_db(head, cells)
    assert levels[1:, 0] == pytest.approx([75.0, 75.0], abs=0.4)
    assert levels[2, 6] == pytest.approx(100.0, abs=0.4)
    assert levels[0, 5] == pytest.approx(max(45.0, head["db_min"]), abs=0.4)
    assert cells[0, 0] == 0  # below what the newest scale tells


@pytest.mark.parametrize("fill", [0.0, np.nan, np.inf, -1.0])
def test_pings_of_nothing_have_columns_too(fill: float) -> None:
    frame = ping(1, np.zeros((30, 4)))
    frame.intensity[:] = fill
    maker = ColumnMaker()
    for _ in range(3):
        _, cells = decode(encode_columns("pen", [maker.make(frame)]))
        assert cells.shape == (1, 30)


def kept(columns: list[PingColumn]) -> list[int]:
    there: deque[PingColumn] = deque()
    for column in columns:
        keep_column(there, column)
    return [column.frame_number for column in there]


def test_columns_are_kept_while_they_are_young_few_and_of_the_same_ranges() -> None:
    maker = ColumnMaker()
    first = maker.make(ping(0, np.full((20, 4), 30.0)))
    later = [dataclasses.replace(first, frame_number=n, received_utc_s=n / 10) for n in range(1, 2500)]
    assert kept([first, *later])[0] == 2499 - 1800
    quick = [dataclasses.replace(first, frame_number=n, received_utc_s=n / 100) for n in range(1, 2500)]
    assert kept(quick) == list(range(2500 - KEPT_COLUMNS, 2500))
    other = maker.make(ping(2500, np.full((25, 4), 30.0)))
    assert kept([*later, other]) == [2500]
    assert kept([*later, dataclasses.replace(first, frame_number=3)]) == [3]  # the sonar began anew


def test_no_columns_are_no_message() -> None:
    with pytest.raises(ValueError, match="no columns"):
        encode_columns("pen", [])
