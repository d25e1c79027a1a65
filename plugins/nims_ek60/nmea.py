"""Position and heading from the NMEA 0183 sentences that a sounder logs beside its pings."""

from __future__ import annotations

import math


def position_deg(sentence: bytes) -> tuple[float, float] | None:
    """Return (latitude, longitude) in degrees, north and east positive, of a GGA or RMC sentence.

    None for other sentences, without a fix, with a wrong checksum, or where a field is malformed.
    """
    fields = _fields(sentence)
    if fields is None:
        return None
    kind = fields[0][-3:]
    if kind == "GGA" and len(fields) > 6 and fields[6] not in ("", "0"):
        place = fields[2:6]
    elif kind == "RMC" and len(fields) > 6 and fields[2] == "A":
        place = fields[3:7]
    else:
        return None
    latitude, longitude = _degrees(place[0], place[1], "N", "S"), _degrees(place[2], place[3], "E", "W")
    if latitude is None or longitude is None or abs(latitude) > 90.0 or abs(longitude) > 180.0:
        return None
    return latitude, longitude


def heading_rad(sentence: bytes) -> float | None:
    """Return the true heading of an HDT or THS sentence; None as for positions."""
    fields = _fields(sentence)
    if fields is None or fields[0][-3:] not in ("HDT", "THS") or len(fields) < 2:
        return None
    heading_deg = _number(fields[1])
    if heading_deg is None or not 0.0 <= heading_deg <= 360.0:
        return None
    return math.radians(heading_deg)


def _fields(sentence: bytes) -> list[str] | None:
    """Return the fields of a sentence whose checksum, where it has one, is right."""
    text = sentence.split(b"\0")[0].strip()
    if not text.startswith((b"$", b"!")):
        return None
    body, star, checksum = text[1:].partition(b"*")
    if star:
        total = 0
        for byte in body:
            total ^= byte
        if checksum[:2].upper() != b"%02X" % total:
            return None
    try:
        return body.decode("ascii").split(",")
    except UnicodeDecodeError:
        return None


def _number(text: str) -> float | None:
    # float() would take "nan", "inf", "1_0" and blanks too.
    if not text.replace(".", "", 1).isdecimal():
        return None
    return float(text)


def _degrees(text: str, side: str, positive: str, negative: str) -> float | None:
    """Return the degrees of "dddmm.mmmm" and a letter."""
    value = _number(text)
    if value is None or side not in (positive, negative):
        return None
    degrees, minutes = divmod(value, 100.0)
    if minutes >= 60.0:
        return None
    return (degrees + minutes / 60.0) * (1.0 if side == positive else -1.0)
