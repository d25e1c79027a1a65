"""What `nims check` finds in archives and recordings that were cut, damaged or whole."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from nims_m3.wire import encode_packet

from nims_appliance.archive import FILE_NAME
from nims_appliance.archive.schema import connect
from nims_appliance.cli import nims
from nims_appliance.frame import Arrival
from nims_appliance.recording.container import Header, Kind, encode, encode_header

WHEN = Arrival(1.7e9, 1.0)
NAME = "pen_20261122T013645.123Z"


def m3(number: int) -> bytes:
    return encode_packet(
        np.ones((32, 16), np.complex64),
        bearing_rad=np.linspace(-1, 1, 16),
        time_s=1.7e9 + number / 10,
        ping_number=number,
        sound_speed_m_s=1480.0,
        first_range_m=0.5,
        sample_interval_s=1e-4,
        frequency_hz=500e3,
        pulse_length_s=1e-4,
        ping_rate_hz=10.0,
    )


def container(*pieces: tuple[Kind, bytes]) -> bytes:
    parts = encode_header(Header("pen", "simrad-ek60", "udp://:2020", "datagram"), WHEN)
    for kind, payload in pieces:
        parts += encode(kind, payload, WHEN)
    return b"".join(parts)


DATAGRAM = (Kind.DATAGRAM, b"a telegram")
TORN = container(DATAGRAM, DATAGRAM)[:-3]
DAMAGED = bytearray(container(DATAGRAM, DATAGRAM, DATAGRAM))
DAMAGED[len(container(DATAGRAM)) + 40] ^= 1


@pytest.mark.parametrize(
    ("suffix", "data", "code", "said"),
    [
        (".nimsrec", container(DATAGRAM, DATAGRAM), 0, "2 records, 20 bytes, 0 bytes after"),
        (".nimsrec", TORN, 0, "1 records, 10 bytes, 39 bytes after"),
        (".nimsrec", b"", 0, "cut in its header: 0 bytes"),
        (".nimsrec", container()[:20], 0, "cut in its header: 20 bytes"),
        (".nimsrec", bytes(DAMAGED), 1, "damaged: 42 bytes between whole records"),
        (".nimsrec", container(DATAGRAM, (Kind.LOST, (77).to_bytes(8, "little")), DATAGRAM), 1, "77 bytes were not"),
        (".imb", m3(1) + m3(2), 0, "2 pings"),
        (".imb", m3(1) + m3(2)[:-5], 0, f"1 pings, {2 * len(m3(1)) - 5} bytes, {len(m3(2)) - 5} bytes after"),
        (".imb", m3(1) + m3(2)[500:] + m3(3), 1, "bytes in no packet"),
    ],
)
def test_a_recording_is_checked(tmp_path: Path, suffix: str, data: bytes, code: int, said: str) -> None:
    folder = tmp_path / "recordings" / "pen"
    folder.mkdir(parents=True)
    (folder / f"{NAME}{suffix}").write_bytes(data)
    answer = CliRunner().invoke(nims, ["check", str(tmp_path)])
    assert said in answer.output
    assert answer.exit_code == code


def test_an_archive_is_checked(tmp_path: Path) -> None:
    connect(tmp_path / FILE_NAME).close()
    answer = CliRunner().invoke(nims, ["check", str(tmp_path)])
    assert "0 tracks" in answer.output
    assert answer.exit_code == 0
    with (tmp_path / FILE_NAME).open("r+b") as file:
        file.seek(5000)
        file.write(b"rubbish" * 500)
    assert CliRunner().invoke(nims, ["check", str(tmp_path)]).exit_code == 1


def test_an_archive_that_was_moved_aside_is_told(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / f"{FILE_NAME}.damaged-20261122T010203Z").close()
    answer = CliRunner().invoke(nims, ["check", str(tmp_path)])
    assert "moved aside" in answer.output
    assert answer.exit_code == 1


def test_the_check_of_no_data_folder_says_so(tmp_path: Path) -> None:
    answer = CliRunner().invoke(nims, ["check", str(tmp_path / "nowhere")])
    assert "expected the data folder" in str(answer.exception)
