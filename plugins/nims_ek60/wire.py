"""Bytes of the Simrad EK60: .raw datagrams and EK500 telegrams, as dtypes for reading and encoders for writing.

Sources: Simrad ER60 reference manual 164692, file format chapter (.raw); EK500 instruction manual P3404E, telegram
chapter (EK500 output). Everything is little-endian; offsets of the .raw dtypes count from the start of the datagram.

    .raw file:       i32 length | type, FILETIME, body (`length` bytes) | i32 length    ... repeated
    EK500 telegram:  "W1,hhmmsscc," | packet number, end flag, first byte, bytes in packet | samples
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence

import numpy as np

DB_PER_STEP = 10.0 * math.log10(2.0) / 256.0
"""One step of a power sample, dB."""
ELECTRICAL_DEG_PER_STEP = 180.0 / 128.0
"""One step of an angle sample, electrical degrees."""

FILETIME_UNIX_S = 11_644_473_600
"""1970-01-01 on the FILETIME clock, which counts from 1601-01-01 UTC."""
FILETIME_TICKS_S = 10_000_000

HEADER = np.dtype([("type", "S4"), ("time_low", "<u4"), ("time_high", "<u4")])
"""Start of every .raw datagram; the time is a Windows FILETIME."""

CON0 = np.dtype(
    [
        ("header", HEADER),
        ("survey", "S128"),
        ("transect", "S128"),
        ("sounder", "S128"),
        ("version", "S30"),
        ("spare", "V98"),
        ("transceivers", "<i4"),
    ]
)
"""Configuration datagram of an EK60; `transceivers` entries of TRANSCEIVER follow."""

TRANSCEIVER = np.dtype(
    [
        ("channel_id", "S128"),
        ("beam_type", "<i4"),  # 0 single, 1 split
        ("frequency_hz", "<f4"),
        ("gain_db", "<f4"),
        ("equivalent_beam_angle_db", "<f4"),
        ("beamwidth_along_deg", "<f4"),
        ("beamwidth_athwart_deg", "<f4"),
        ("angle_sensitivity_along", "<f4"),
        ("angle_sensitivity_athwart", "<f4"),
        ("angle_offset_along_deg", "<f4"),
        ("angle_offset_athwart_deg", "<f4"),
        ("position_m", "<f4", (3,)),
        ("direction_deg", "<f4", (3,)),
        ("pulse_length_s", "<f4", (5,)),
        ("spare_1", "V8"),
        ("gain_table_db", "<f4", (5,)),
        ("spare_2", "V8"),
        ("sa_correction_db", "<f4", (5,)),
        ("spare_3", "V8"),
        ("gpt_version", "S16"),
        ("spare_4", "V28"),
    ]
)
"""One transceiver of CON0; the tables have one entry for each pulse length of the transceiver."""

RAW0 = np.dtype(
    [
        ("header", HEADER),
        ("channel", "<i2"),  # from 1
        ("mode", "<i2"),  # bit 0 power, bit 1 angle
        ("transducer_depth_m", "<f4"),
        ("frequency_hz", "<f4"),
        ("transmit_power_w", "<f4"),
        ("pulse_length_s", "<f4"),
        ("bandwidth_hz", "<f4"),
        ("sample_interval_s", "<f4"),
        ("sound_speed_m_s", "<f4"),
        ("absorption_db_m", "<f4"),
        ("heave_m", "<f4"),
        ("roll_deg", "<f4"),
        ("pitch_deg", "<f4"),
        ("temperature_c", "<f4"),
        ("spare", "V12"),
        ("offset", "<i4"),
        ("count", "<i4"),
    ]
)
"""One ping of one channel; i16 power and then byte pairs (athwart, along) of angles follow, as `mode` says."""

assert (HEADER.itemsize, CON0.itemsize, TRANSCEIVER.itemsize, RAW0.itemsize) == (12, 528, 320, 84)

MODE_POWER = 1
MODE_ANGLE = 2

EK500_HEADER_BYTES = 12
EK500_FRAGMENT = struct.Struct("<BBHH")
"""Packet number (from 0), end flag, first byte, bytes in packet; between header and samples on Ethernet."""
EK500_MORE = 0x00
EK500_LAST = 0x80


def power_steps(power_db: np.ndarray) -> np.ndarray:
    """Return power as it travels: "<i2", steps of DB_PER_STEP, clipped to what fits; NaN becomes the smallest."""
    steps = np.rint(np.asarray(power_db, dtype=np.float64).reshape(-1) / DB_PER_STEP)
    return np.clip(np.nan_to_num(steps, nan=-32768.0), -32768, 32767).astype("<i2")


def angle_steps(athwart_el_deg: np.ndarray, along_el_deg: np.ndarray) -> np.ndarray:
    """Return electrical angles as they travel: int8, shape (samples, 2), athwart first; NaN becomes 0."""
    pairs = np.column_stack((np.reshape(athwart_el_deg, -1), np.reshape(along_el_deg, -1))).astype(np.float64)
    return np.clip(np.rint(np.nan_to_num(pairs / ELECTRICAL_DEG_PER_STEP)), -128, 127).astype(np.int8)


def filetime(time_s: float) -> tuple[int, int]:
    """Return (low, high) words of the FILETIME of a UTC time in seconds since 1970."""
    ticks = round(time_s * FILETIME_TICKS_S) + FILETIME_UNIX_S * FILETIME_TICKS_S
    return ticks & 0xFFFFFFFF, ticks >> 32


def unix_time(low: int, high: int) -> float:
    """Return the UTC time in seconds since 1970 of a FILETIME."""
    ticks = (int(high) << 32) + int(low) - FILETIME_UNIX_S * FILETIME_TICKS_S
    return ticks / FILETIME_TICKS_S


def encode_datagram(kind: bytes, time_s: float, body: bytes) -> bytes:
    """Return a .raw datagram with both of its lengths."""
    datagram = struct.pack("<4sII", kind, *filetime(time_s)) + body
    length = struct.pack("<i", len(datagram))
    return length + datagram + length


def transceiver(channel_id: str, **fields: object) -> np.ndarray:
    """Return one TRANSCEIVER entry: a 120 kHz split beam of 7 degrees, with `fields` put in place of its values."""
    entry = np.zeros((), dtype=TRANSCEIVER)
    values: dict[str, object] = {
        "channel_id": channel_id.encode("ascii"),
        "beam_type": 1,
        "frequency_hz": 120_000.0,
        "gain_db": 27.0,
        "equivalent_beam_angle_db": -21.0,
        "beamwidth_along_deg": 7.0,
        "beamwidth_athwart_deg": 7.0,
        "angle_sensitivity_along": 23.0,
        "angle_sensitivity_athwart": 23.0,
        "pulse_length_s": (64e-6, 128e-6, 256e-6, 512e-6, 1024e-6),
        "gain_table_db": (27.0,) * 5,
        **fields,
    }
    for name, value in values.items():
        entry[name] = value
    return entry


def encode_con0(
    transceivers: Sequence[np.ndarray],
    *,
    time_s: float,
    survey: str = "",
    sounder: str = "ER60",
    version: str = "2.4.3",
) -> bytes:
    """Return the configuration datagram that starts an EK60 .raw file."""
    head = np.zeros((), dtype=CON0)
    head["survey"], head["sounder"], head["version"] = survey.encode(), sounder.encode(), version.encode()
    head["transceivers"] = len(transceivers)
    body = head.tobytes()[HEADER.itemsize :] + b"".join(entry.tobytes() for entry in transceivers)
    return encode_datagram(b"CON0", time_s, body)


def encode_raw0(
    power_db: np.ndarray | None,
    athwart_el_deg: np.ndarray | None = None,
    along_el_deg: np.ndarray | None = None,
    *,
    time_s: float,
    channel: int = 1,
    offset: int = 0,
    sample_interval_s: float = 32e-6,
    pulse_length_s: float = 128e-6,
    sound_speed_m_s: float = 1490.0,
    frequency_hz: float = 120_000.0,
    transmit_power_w: float = 250.0,
    absorption_db_m: float = 0.0387,
    **fields: object,
) -> bytes:
    """Return one ping of one channel as a .raw datagram.

    Args:
      power_db: received power, dB re 1 W, shape (samples,); None leaves the power out.
      athwart_el_deg, along_el_deg: electrical degrees, shape (samples,); None leaves the angles out.
      channel: number of the transceiver in CON0, from 1.
      offset: number of the first sample.
      fields: any other field of RAW0.
    """
    head = np.zeros((), dtype=RAW0)
    data, count, mode = b"", 0, 0
    if power_db is not None:
        steps = power_steps(power_db)
        data, count, mode = steps.tobytes(), len(steps), MODE_POWER
    if athwart_el_deg is not None and along_el_deg is not None:
        pairs = angle_steps(athwart_el_deg, along_el_deg)
        data, count, mode = data + pairs.tobytes(), len(pairs), mode | MODE_ANGLE
    values: dict[str, object] = {
        "channel": channel,
        "mode": mode,
        "frequency_hz": frequency_hz,
        "transmit_power_w": transmit_power_w,
        "pulse_length_s": pulse_length_s,
        "sample_interval_s": sample_interval_s,
        "sound_speed_m_s": sound_speed_m_s,
        "absorption_db_m": absorption_db_m,
        "offset": offset,
        "count": count,
        **fields,
    }
    for name, value in values.items():
        head[name] = value
    return encode_datagram(b"RAW0", time_s, head.tobytes()[HEADER.itemsize :] + data)


def encode_nme0(sentence: str, *, time_s: float) -> bytes:
    """Return an NMEA sentence ("$GPGGA,...*hh") as a .raw datagram."""
    body = sentence.encode("ascii") + b"\0"
    return encode_datagram(b"NME0", time_s, body + b"\0" * (-len(body) % 4))


def time_of_day(time_s: float) -> bytes:
    """Return "hhmmsscc" of a time in seconds since a midnight, rounded to 1/100 s."""
    hundredths = round(time_s * 100) % 8_640_000
    seconds = hundredths // 100
    return b"%02d%02d%02d%02d" % (seconds // 3600, seconds // 60 % 60, seconds % 60, hundredths % 100)


def encode_ek500_telegram(
    kind: str, data: bytes, *, time_s: float, fragment_header: bool = True, fragment_bytes: int = 1024
) -> Iterator[bytes]:
    """Yield the datagrams of one telegram.

    Args:
      kind: two characters, e.g. "W1".
      data: samples; with `fragment_header` at most 65,535 bytes, because the offset of a packet is 16 bit.
      time_s: UTC, or the sounder's local time; only its time of day travels.
      fragment_header: False sends all samples in one datagram behind the 12-byte header.
      fragment_bytes: most bytes of samples in one datagram.
    """
    head = b"%s,%s," % (kind.encode("ascii"), time_of_day(time_s))
    if not fragment_header:
        yield head + data
        return
    if len(data) > 0xFFFF or len(data) > fragment_bytes * 256:
        raise ValueError(f"{len(data)} bytes do not fit into one telegram of packets of {fragment_bytes} bytes")
    starts = range(0, max(len(data), 1), fragment_bytes)
    for number, start in enumerate(starts):
        part = data[start : start + fragment_bytes]
        flag = EK500_LAST if number == len(starts) - 1 else EK500_MORE
        yield head + EK500_FRAGMENT.pack(number, flag, start, len(part)) + part


def encode_ek500_ping(
    power_db: np.ndarray,
    athwart_el_deg: np.ndarray | None = None,
    along_el_deg: np.ndarray | None = None,
    *,
    channel: int = 1,
    time_s: float,
    zone_offset_hours: float = 0.0,
    fragment_header: bool = True,
    fragment_bytes: int = 1024,
) -> list[bytes]:
    """Return the EK500 telegrams of one ping: all datagrams of the angles, then all of the power.

    Args:
      power_db: received power, dB re 1 W, shape (samples,) or (samples, 1); at most 32,767 samples.
      athwart_el_deg, along_el_deg: electrical degrees, same length; None sends power only.
      channel: 1..9, the digit of "B1" and "W1".
      time_s: UTC seconds since 1970; only the time of day travels, in 1/100 s.
      zone_offset_hours: local time of the sounder minus UTC.
    """
    local_s = time_s + zone_offset_hours * 3600.0
    datagrams: list[bytes] = []
    if athwart_el_deg is not None and along_el_deg is not None:
        angles = angle_steps(athwart_el_deg, along_el_deg).tobytes()
        datagrams += encode_ek500_telegram(
            f"B{channel}", angles, time_s=local_s, fragment_header=fragment_header, fragment_bytes=fragment_bytes
        )
    power = power_steps(power_db).tobytes()
    datagrams += encode_ek500_telegram(
        f"W{channel}", power, time_s=local_s, fragment_header=fragment_header, fragment_bytes=fragment_bytes
    )
    return datagrams


def encode_ek500_parameter(path: str, value: str, *, time_s: float) -> bytes:
    """Return the telegram that tells a changed parameter, e.g. "/UTILITY MENU/Sound Velocity", "1489 m"."""
    return b"PE,%s,%s=%s\r\n" % (time_of_day(time_s), path.encode("ascii"), value.encode("ascii"))
