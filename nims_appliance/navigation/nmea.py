"""NMEA 0183: what sentences of a vessel's instruments say, and those that tell radars and plotters of targets.

A sentence has at most 82 characters, from `$` to the line's end. Behind the `*` is the exclusive or of what is between
it and the `$`, as two hexadecimal digits. Positions here are in degrees, north and east positive; times are in seconds
since 1970.
"""

from __future__ import annotations

import calendar
import math
import time


def is_sentence(line: bytes) -> bool:
    """Return whether a line is a sentence whose checksum, where it has one, is right."""
    return _fields(line) is not None


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


def time_utc_s(sentence: bytes) -> float | None:
    """Return the time of a ZDA or RMC sentence, seconds since 1970-01-01 UTC; None as for positions."""
    fields = _fields(sentence)
    if fields is None:
        return None
    kind = fields[0][-3:]
    if kind == "ZDA" and len(fields) > 4:
        clock, day, month, year = fields[1], *fields[2:5]
    elif kind == "RMC" and len(fields) > 9 and fields[2] == "A" and len(fields[9]) == 6:
        clock, day, month, year = fields[1], fields[9][:2], fields[9][2:4], f"20{fields[9][4:]}"
    else:
        return None
    if _number(clock) is None or not (len(clock) >= 6 and all(part.isdecimal() for part in (day, month, year))):
        return None
    hour, minute, second = int(clock[:2]), int(clock[2:4]), float(clock[4:])
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31 and 1980 <= int(year) <= 2100):
        return None
    if hour > 23 or minute > 59 or second >= 61:
        return None
    return calendar.timegm((int(year), int(month), int(day), hour, minute, 0)) + second


def time_of_day_s(sentence: bytes) -> float | None:
    """Return when the position of a GGA or RMC sentence was true, seconds since midnight UTC; None as for positions."""
    fields = _fields(sentence)
    if fields is None or fields[0][-3:] not in ("GGA", "RMC") or len(fields) < 2:
        return None
    clock = fields[1]
    if _number(clock) is None or not clock[:6].isdecimal() or len(clock) < 6:
        return None
    return int(clock[:2]) * 3600 + int(clock[2:4]) * 60 + float(clock[4:])


def encode(*fields: str) -> bytes:
    """Return a sentence with its checksum and line end, "$NMTTM,..." from "NMTTM", ...

    Raises:
      ValueError: it would be longer than the 82 characters that are allowed, or not plain ASCII.
    """
    body = ",".join(fields).encode("ascii")
    sentence = b"$%b*%02X\r\n" % (body, checksum(body))
    if len(sentence) > 82:
        raise ValueError(f"a sentence of {len(sentence)} characters; 82 are allowed")
    return sentence


def checksum(body: bytes) -> int:
    """Return the exclusive or of all bytes between `$` and `*`."""
    total = 0
    for byte in body:
        total ^= byte
    return total


def target_ttm(
    number: int,
    *,
    distance_m: float,
    bearing_deg: float,
    speed_m_s: float,
    course_deg: float,
    name: str,
    true: bool,
    lost: bool,
    time_s: float,
) -> bytes:
    """Return a TTM sentence, tracked target, in km and km/h; angles are true, or relative to the bow."""
    reference = "T" if true else "R"
    return encode(
        "NMTTM",
        f"{number:02d}",
        f"{distance_m / 1000:.3f}",
        f"{bearing_deg % 360:.1f}",
        reference,
        f"{speed_m_s * 3.6:.1f}",
        f"{course_deg % 360:.1f}",
        reference,
        "",
        "",
        "K",
        name,
        "L" if lost else "T",
        "",
        _clock(time_s),
        "A",
    )


def target_tll(
    number: int, *, latitude_deg: float, longitude_deg: float, name: str, lost: bool, time_s: float
) -> bytes:
    """Return a TLL sentence, target latitude and longitude."""
    return encode(
        "NMTLL",
        f"{number:02d}",
        _degrees_text(latitude_deg, 2),
        "N" if latitude_deg >= 0 else "S",
        _degrees_text(longitude_deg, 3),
        "E" if longitude_deg >= 0 else "W",
        name,
        _clock(time_s),
        "L" if lost else "T",
        "",
    )


def _clock(time_s: float) -> str:
    centiseconds = round(time_s * 100)
    return time.strftime("%H%M%S", time.gmtime(centiseconds // 100)) + f".{centiseconds % 100:02d}"


def _degrees_text(value_deg: float, digits: int) -> str:
    # counted in ten-thousandths of a minute, so that 59.99996 minutes become the next degree and not 60 minutes
    total = round(abs(value_deg) * 600_000)
    degrees, rest = divmod(total, 600_000)
    return f"{degrees:0{digits}d}{rest // 10_000:02d}.{rest % 10_000:04d}"


def _fields(sentence: bytes) -> list[str] | None:
    """Return the fields of a sentence whose checksum, where it has one, is right."""
    text = sentence.split(b"\0")[0].strip()
    if not text.startswith((b"$", b"!")):
        return None
    body, star, checksum_text = text[1:].partition(b"*")
    if star and checksum_text[:2].upper() != b"%02X" % checksum(body):
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
