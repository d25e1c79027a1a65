"""Position and heading of sentences; made by hand, checksums included."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nims_appliance.navigation.nmea import heading_rad, position_deg


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        (b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n\0", (48.1173, 11.516667)),
        (b"$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A", (48.1173, 11.516667)),
        (b"$INGGA,1,3330.000,S,07030.000,W,2,08,,,,,,,", (-33.5, -70.5)),
        (b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*48", None),  # wrong checksum
        (b"$GPGGA,123519,4807.038,N,01131.000,E,0,08", None),  # no fix
        (b"$GPRMC,123519,V,4807.038,N,01131.000,E,022.4", None),  # warning
        (b"$GPGGA,123519,4867.038,N,01131.000,E,1,08", None),  # 67 minutes
        (b"$GPGGA,123519,nan,N,01131.000,E,1,08", None),
        (b"$GPGGA,123519,9807.038,N,01131.000,E,1,08", None),
        (b"$GPGGA,123519,4807.038,X,01131.000,E,1,08", None),
        (b"$GPGGA", None),
        (b"", None),
        (b"$SDVLW,0.000,N,0.000,N", None),
    ],
)
def test_position(sentence: bytes, expected: tuple[float, float] | None) -> None:
    position = position_deg(sentence)
    assert position == (None if expected is None else pytest.approx(expected, abs=1e-6))


@pytest.mark.parametrize(
    ("sentence", "expected_deg"),
    [(b"$GPHDT,318.4,T*3B", 318.4), (b"$GPHDT,318.4,T*3C", None), (b"$GPHDT,,T", None), (b"$GPHDT,400,T", None)],
)
def test_heading(sentence: bytes, expected_deg: float | None) -> None:
    heading = heading_rad(sentence)
    assert heading == (None if expected_deg is None else pytest.approx(math.radians(expected_deg)))


@given(st.one_of(st.binary(max_size=90), st.text(",.$*0123456789NSEWGARMCHDT", max_size=90).map(str.encode)))
def test_any_bytes_never_raise(sentence: bytes) -> None:
    for text in (sentence, b"$GPGGA," + sentence, b"$GPRMC," + sentence, b"$GPHDT," + sentence):
        position_deg(text)
        heading_rad(text)
