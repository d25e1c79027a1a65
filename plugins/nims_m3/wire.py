"""Layout of Kongsberg M3 beamformed packets (IMB), for reading and for writing.

A packet is header, data header, payload and footer, little-endian without padding; the payload is beam-major. The data
header always has 8512 bytes: newer versions carve their fields from its reserved tail.

Sources: the public IMB readers of pnnl/nims (`data_source_m3.cpp`) and vortexntnu/vortex-m3-sonar-driver
(`ImbFormat.hpp`), checked against a recorded packet of header version 14.
"""

from __future__ import annotations

import numpy as np

SYNC = b"\x00\x80" * 4
COMPLEX_F32 = 0x1002
MAGNITUDE_U8 = 0x2003
ELEMENT_BYTES = {COMPLEX_F32: 8, MAGNITUDE_U8: 1}
"""Size of one sample by data type."""
PROCESSING_EIQ = 1
"""`processing` of the high-resolution beamformer."""
MAX_BEAMS = 1024
"""Length of the beam list in the data header."""


def _layout(size: int, fields: list[tuple[str, object, int]]) -> np.dtype:
    return np.dtype(
        {
            "names": [name for name, _, _ in fields],
            "formats": [kind for _, kind, _ in fields],
            "offsets": [offset for _, _, offset in fields],
            "itemsize": size,
        }
    )


PACKET_HEADER = _layout(56, [("sync", "S8", 0), ("data_type", "<u2", 8), ("body_bytes", "<u4", 52)])

DATA_HEADER = _layout(
    8512,
    [
        ("version", "<u4", 0),
        ("sonar_id", "<u4", 4),
        ("sonar_info", ("<u4", (8,)), 8),
        ("time_s", "<u4", 40),
        ("time_ms", "<u4", 44),
        ("sound_speed_m_s", "<f4", 48),
        ("samples", "<u4", 52),
        ("near_range_m", "<f4", 56),
        ("far_range_m", "<f4", 60),
        ("window_start_s", "<f4", 64),
        ("window_length_s", "<f4", 68),
        ("beams", "<u2", 72),
        ("processing", "<u2", 74),
        ("bearing_deg", ("<f4", (MAX_BEAMS,)), 76),
        ("sample_interval_s", "<f4", 4172),
        ("image_destination", "<u2", 4176),
        ("mode", "<u4", 4180),
        ("hybrid_intervals", "<i4", 4184),
        ("hybrid_index", "<i4", 4188),
        ("phase_sequence_length", "<u2", 4192),
        ("phase_sequence_index", "<u2", 4194),
        ("images", "<u2", 4196),
        ("image_index", "<u2", 4198),
        ("frequency_hz", "<u4", 4200),
        ("pulse_length_us", "<u4", 4204),
        ("ping_number", "<u4", 4208),
        ("bandwidth_hz", "<f4", 4212),
        ("resolution_m", "<f4", 4216),
        ("ping_rate_hz", "<f4", 4220),
        ("app_name", "S128", 4224),
        ("pulse_name", "S64", 4352),
        ("tvg_spreading_db", "<u2", 4416),
        ("tvg_absorption_db_km", "<u2", 4418),
        ("tvg_offset_db", "<f4", 4420),
        ("tvg_limit_db", "<f4", 4424),
        ("heading_deg", "<f4", 4428),
        ("magnetic_variation_deg", "<f4", 4432),
        ("pitch_deg", "<f4", 4436),
        ("roll_deg", "<f4", 4440),
        ("depth_m", "<f4", 4444),
        ("temperature_c", "<f4", 4448),
        ("offset_m", ("<f4", (3,)), 4452),
        ("rotation_deg", ("<f4", (3,)), 4464),
        ("mounting", "<u4", 4476),
        ("latitude_deg", "<f8", 4480),
        ("longitude_deg", "<f8", 4488),
        ("transmit_start_s", "<f4", 4496),
        ("head_status", "u1", 4501),
        ("internal_heading_deg", "<f4", 4504),
        ("internal_pitch_deg", "<f4", 4508),
        ("internal_roll_deg", "<f4", 4512),
        ("first_element", "<u2", 4564),
        ("last_element", "<u2", 4566),
        ("text_1", "S32", 4568),
        ("text_2", "S32", 4600),
        ("local_time_offset_h", "<f4", 4632),
    ],
)
"""Offsets valid in every version; `near_range_m` and `far_range_m` are nominal and not the ends of the samples."""

TAIL_14 = _layout(
    8512,
    [
        ("vessel_speed_kn", "<f4", 4636),
        ("heave_m", "<f4", 4640),
        ("altitude_m", "<f4", 4652),
    ],
)
"""What header version 14 keeps in the tail (as far as used); other versions put other fields there."""

FOOTER = _layout(44, [("body_bytes", "<u4", 0)])

PAYLOAD_OFFSET = PACKET_HEADER.itemsize + DATA_HEADER.itemsize
OVERHEAD_BYTES = PAYLOAD_OFFSET + FOOTER.itemsize
"""A packet is this much larger than its samples."""


def encode_packet(
    samples: np.ndarray,
    *,
    bearing_rad: np.ndarray,
    time_s: float,
    ping_number: int,
    sound_speed_m_s: float,
    first_range_m: float,
    sample_interval_s: float,
    frequency_hz: float,
    pulse_length_s: float,
    ping_rate_hz: float,
    app_name: str = "Imaging",
    version: int = 14,
    data_type: int = COMPLEX_F32,
) -> bytes:
    """Return one packet as an M3 sends it: the inverse of the decoder, for simulators and tests.

    `samples` is complex64 (samples, beams), row 0 nearest; `bearing_rad` (beams,) is written in the order given. For
    data type 0x2003 the magnitude is rounded to 0..255.

    Raises:
      ValueError: shapes do not fit, more than 1024 beams, or a data type that is not known.
    """
    samples = np.asarray(samples)
    bearing_rad = np.asarray(bearing_rad, dtype=np.float64)
    if samples.ndim != 2 or bearing_rad.shape != samples.shape[1:]:
        raise ValueError(f"samples {samples.shape} do not fit {bearing_rad.shape} bearings")
    rows, beams = samples.shape
    if not (1 <= beams <= MAX_BEAMS and rows >= 1):
        raise ValueError(f"expected 1 to {MAX_BEAMS} beams and at least one sample, got {samples.shape}")
    if data_type == COMPLEX_F32:
        payload = np.ascontiguousarray(samples.T, dtype="<c8").tobytes()
    elif data_type == MAGNITUDE_U8:
        magnitude = np.clip(np.rint(np.abs(samples)), 0, 255)
        payload = np.ascontiguousarray(magnitude.T, dtype=np.uint8).tobytes()
    else:
        raise ValueError(f"data_type must be 0x1002 or 0x2003, got {data_type:#x}")

    window_start_s = 2 * first_range_m / sound_speed_m_s
    whole_s, time_ms = divmod(round(time_s * 1000), 1000)
    data = np.zeros((), dtype=DATA_HEADER)
    data["version"] = version
    data["time_s"], data["time_ms"] = whole_s, time_ms
    data["sound_speed_m_s"] = sound_speed_m_s
    data["samples"], data["beams"] = rows, beams
    data["near_range_m"] = first_range_m
    data["far_range_m"] = first_range_m + (rows - 1) * sample_interval_s * sound_speed_m_s / 2
    data["window_start_s"] = window_start_s
    data["window_length_s"] = rows * sample_interval_s
    data["bearing_deg"][:beams] = np.degrees(bearing_rad)
    data["sample_interval_s"] = sample_interval_s
    data["phase_sequence_length"] = data["images"] = 1
    data["frequency_hz"] = round(frequency_hz)
    data["pulse_length_us"] = round(pulse_length_s * 1e6)
    data["ping_number"] = ping_number % 2**32
    data["resolution_m"] = pulse_length_s * sound_speed_m_s / 2
    data["ping_rate_hz"] = ping_rate_hz
    data["app_name"] = app_name.encode("ascii", "replace")[:127]

    header = np.zeros((), dtype=PACKET_HEADER)
    footer = np.zeros((), dtype=FOOTER)
    header["sync"], header["data_type"] = SYNC, data_type
    header["body_bytes"] = footer["body_bytes"] = DATA_HEADER.itemsize + len(payload)
    return header.tobytes() + data.tobytes() + payload + footer.tobytes()
