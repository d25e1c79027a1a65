"""Layout of Blueprint Subsea Oculus messages, for reading and for writing.

Every message has a header of 16 bytes; all is little-endian and packed. The sonar pings only after a fire message
and repeats that message in each ping result. Ping results come in two versions with the same fields at other offsets.

Sources: apl-ocean-engineering/liboculus (`Oculus.h`, `Constants.h`) and its recorded pings;
ENSTABretagneRobotics/oculus_driver.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

OCULUS_ID = 0x4F53
SYNC = OCULUS_ID.to_bytes(2, "little")

SIMPLE_FIRE = 0x15
PING_RESULT = 0x22
SIMPLE_PING_RESULT = 0x23
USER_CONFIG = 0x55
LOGS = 0x80
DUMMY = 0xFF
OTHER_MESSAGES = (SIMPLE_FIRE, USER_CONFIG, LOGS, DUMMY)
"""Messages that may come between the pings."""

ELEMENT_BYTES = (1, 2, 3, 4)
"""Size of one sample by `dataSize` (8, 16, 24, 32 bit)."""
GAIN_BYTES = 4
"""Size of the gain before each row, where gains are sent."""

FLAG_RANGE_IN_METRES = 1 << 0
FLAG_16_BIT = 1 << 1
FLAG_SEND_GAIN = 1 << 2
FLAG_SIMPLE_RETURN = 1 << 3
FLAG_GAIN_ASSIST = 1 << 4
FLAG_512_BEAMS = 1 << 6

PING_RATE_CODES = {0: 5, 2: 4, 5: 3, 10: 0, 15: 1, 40: 2}
"""Code of `pingRate` by its highest rate in Hz; 0 Hz is standby."""

_HEADER = [
    ("oculus_id", "<u2"),
    ("source", "<u2"),
    ("destination", "<u2"),
    ("message", "<u2"),
    ("version", "<u2"),
    ("payload_bytes", "<u4"),
    ("spare", "<u2"),
]
_FIRE = [
    *_HEADER,
    ("mode", "u1"),
    ("ping_rate", "u1"),
    ("network_speed", "u1"),
    ("gamma", "u1"),
    ("flags", "u1"),
    ("range", "<f8"),
    ("gain_percent", "<f8"),
    ("sound_speed_m_s", "<f8"),
    ("salinity_ppt", "<f8"),
]
_SIZES = [("image_offset", "<u4"), ("image_bytes", "<u4"), ("message_bytes", "<u4")]

HEADER = np.dtype(_HEADER)
FIRE_V1 = np.dtype(_FIRE)
FIRE_V2 = np.dtype([*_FIRE, ("extended_flags", "<u4"), ("reserved", "<u4", (8,))])
PING_V1 = np.dtype(
    [
        ("fire", FIRE_V1),
        ("ping_id", "<u4"),
        ("status", "<u4"),
        ("frequency_hz", "<f8"),
        ("temperature_c", "<f8"),
        ("pressure_bar", "<f8"),
        ("sound_speed_m_s", "<f8"),
        ("ping_start", "<u4"),
        ("data_size", "u1"),
        ("range_resolution_m", "<f8"),
        ("ranges", "<u2"),
        ("beams", "<u2"),
        *_SIZES,
    ]
)
PING_V2 = np.dtype(
    [
        ("fire", FIRE_V2),
        ("ping_id", "<u4"),
        ("status", "<u4"),
        ("frequency_hz", "<f8"),
        ("temperature_c", "<f8"),
        ("pressure_bar", "<f8"),
        ("heading_deg", "<f8"),
        ("pitch_deg", "<f8"),
        ("roll_deg", "<f8"),
        ("sound_speed_m_s", "<f8"),
        ("ping_start", "<f8"),
        ("data_size", "u1"),
        ("range_resolution_m", "<f8"),
        ("ranges", "<u2"),
        ("beams", "<u2"),
        ("spare", "<u4", (4,)),
        *_SIZES,
    ]
)


def ping_layout(version: int) -> np.dtype:
    """Return the layout of a simple ping result by the `version` of its header."""
    return PING_V2 if version == 2 else PING_V1


@dataclass(frozen=True, slots=True)
class Fire:
    """What a fire message asks of the sonar."""

    mode: int = 1
    """1 low frequency, wide; 2 high frequency, narrow."""
    ping_rate_hz: int = 10
    """Highest rate: one of 0 (standby), 2, 5, 10, 15, 40."""
    range_m: float = 10.0
    gain_percent: float = 50.0
    gamma: int = 0xFF
    """0..255; 255 is 1.0: the image is not compressed."""
    sound_speed_m_s: float = 0.0
    """0: the sonar computes it from the salinity."""
    salinity_ppt: float = 0.0
    wide_samples: bool = True
    """16 bit instead of 8."""
    send_gain: bool = True
    """Each row is preceded by its gain."""
    gain_assist: bool = False
    beams_512: bool = True


def encode_fire(fire: Fire, *, version: int = 1) -> bytes:
    """Return the fire message that starts (or, at 0 Hz, stops) the pings.

    Raises:
      ValueError: the ping rate is none that the protocol has.
    """
    return _fire(fire, version).tobytes()


def parse_fire(message: bytes) -> Fire:
    """Return what a fire message asks; for simulated devices.

    Raises:
      ValueError: it is too short, is no fire message, or has a rate code that is not known.
    """
    if len(message) < FIRE_V1.itemsize:
        raise ValueError(f"fire message: expected at least {FIRE_V1.itemsize} bytes, got {len(message)}")
    wire = np.frombuffer(message, dtype=FIRE_V1, count=1)[0]
    if wire["oculus_id"] != OCULUS_ID or wire["message"] != SIMPLE_FIRE:
        raise ValueError(f"fire message: expected message 0x15, got {int(wire['message']):#x}")
    rates = {code: rate for rate, code in PING_RATE_CODES.items()}
    code = int(wire["ping_rate"])
    if code not in rates:
        raise ValueError(f"fire message: expected a rate code of {sorted(rates)}, got {code}")
    flags = int(wire["flags"])
    return Fire(
        mode=int(wire["mode"]),
        ping_rate_hz=rates[code],
        range_m=float(wire["range"]),
        gain_percent=float(wire["gain_percent"]),
        gamma=int(wire["gamma"]),
        sound_speed_m_s=float(wire["sound_speed_m_s"]),
        salinity_ppt=float(wire["salinity_ppt"]),
        wide_samples=bool(flags & FLAG_16_BIT),
        send_gain=bool(flags & FLAG_SEND_GAIN),
        gain_assist=bool(flags & FLAG_GAIN_ASSIST),
        beams_512=bool(flags & FLAG_512_BEAMS),
    )


def encode_dummy() -> bytes:
    """Return the message that a sonar in standby sends."""
    return _header(HEADER, DUMMY, 0, 0).tobytes()


def encode_ping(
    image: np.ndarray,
    *,
    bearing_rad: np.ndarray,
    range_resolution_m: float,
    ping_id: int,
    frequency_hz: float,
    sound_speed_m_s: float,
    version: int = 1,
    gains: np.ndarray | None = None,
    ping_start: float = 0.0,
    fire: Fire | None = None,
    temperature_c: float = 10.0,
    pressure_bar: float = 1.0,
    heading_deg: float = 0.0,
    pitch_deg: float = 0.0,
    roll_deg: float = 0.0,
) -> bytes:
    """Return one simple ping result as a sonar sends it: the inverse of the decoder, for simulators and tests.

    `image` is uint8, uint16 or uint32 (ranges, beams), row 0 nearest; `bearing_rad` (beams,) is rounded to 0.01 deg;
    `gains` (ranges,), if given, precede the rows. `ping_start` is the time since power-up: seconds in version 2,
    ticks else.

    Raises:
      ValueError: shapes do not fit, or samples of another type.
    """
    image = np.asarray(image)
    bearing_rad = np.asarray(bearing_rad, dtype=np.float64)
    if image.ndim != 2 or bearing_rad.shape != image.shape[1:]:
        raise ValueError(f"image {image.shape} does not fit {bearing_rad.shape} bearings")
    if image.dtype.kind != "u" or image.dtype.itemsize not in ELEMENT_BYTES:
        raise ValueError(f"image: expected uint8, uint16 or uint32, got {image.dtype}")
    ranges, beams = image.shape
    rows = np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("<")).view(np.uint8).reshape(ranges, -1)
    if gains is not None:
        prefix = np.asarray(gains).astype("<u4").reshape(ranges, 1).view(np.uint8)
        rows = np.concatenate([prefix, rows], axis=1)
    bearings = np.rint(np.degrees(bearing_rad) * 100).astype("<i2").tobytes()

    layout = ping_layout(version)
    image_offset = -(-(layout.itemsize + len(bearings)) // 2048) * 2048  # sonars align the image
    message_bytes = image_offset + rows.size
    if fire is None:
        fire = Fire(
            range_m=ranges * range_resolution_m,
            wide_samples=image.dtype.itemsize == 2,
            send_gain=gains is not None,
            beams_512=beams == 512,
        )
    ping = np.zeros((), dtype=layout)
    ping["fire"] = _fire(fire, version)
    ping["fire"]["message"] = SIMPLE_PING_RESULT
    ping["fire"]["version"] = version
    ping["fire"]["payload_bytes"] = message_bytes - HEADER.itemsize
    ping["ping_id"] = ping_id % 2**32
    ping["frequency_hz"] = frequency_hz
    ping["temperature_c"] = temperature_c
    ping["pressure_bar"] = pressure_bar
    ping["sound_speed_m_s"] = sound_speed_m_s
    ping["ping_start"] = ping_start if version == 2 else int(ping_start) % 2**32
    ping["data_size"] = ELEMENT_BYTES.index(image.dtype.itemsize)
    ping["range_resolution_m"] = range_resolution_m
    ping["ranges"], ping["beams"] = ranges, beams
    ping["image_offset"], ping["image_bytes"], ping["message_bytes"] = image_offset, rows.size, message_bytes
    if version == 2:
        ping["heading_deg"], ping["pitch_deg"], ping["roll_deg"] = heading_deg, pitch_deg, roll_deg
    return (ping.tobytes() + bearings).ljust(image_offset, b"\0") + rows.tobytes()


def _header(layout: np.dtype, message: int, version: int, payload_bytes: int) -> np.ndarray:
    wire = np.zeros((), dtype=layout)
    wire["oculus_id"], wire["message"], wire["version"] = OCULUS_ID, message, version
    wire["payload_bytes"] = payload_bytes
    return wire


def _fire(fire: Fire, version: int) -> np.ndarray:
    if fire.ping_rate_hz not in PING_RATE_CODES:
        raise ValueError(f"ping_rate_hz: expected one of {sorted(PING_RATE_CODES)}, got {fire.ping_rate_hz}")
    layout = FIRE_V2 if version == 2 else FIRE_V1
    wire = _header(layout, SIMPLE_FIRE, version, layout.itemsize - HEADER.itemsize)
    wire["mode"] = fire.mode
    wire["ping_rate"] = PING_RATE_CODES[fire.ping_rate_hz]
    wire["network_speed"] = 0xFF  # as fast as the link allows
    wire["gamma"] = fire.gamma
    wire["flags"] = (
        FLAG_RANGE_IN_METRES
        | FLAG_SIMPLE_RETURN
        | FLAG_16_BIT * fire.wide_samples
        | FLAG_SEND_GAIN * fire.send_gain
        | FLAG_GAIN_ASSIST * fire.gain_assist
        | FLAG_512_BEAMS * fire.beams_512
    )
    wire["range"] = fire.range_m
    wire["gain_percent"] = fire.gain_percent
    wire["sound_speed_m_s"] = fire.sound_speed_m_s
    wire["salinity_ppt"] = fire.salinity_ppt
    return wire
