"""The track server's message: what one ping's tracks look like to programs.

The keys and units of the original NIMS are kept: degrees for bearings and elevations, metres for everything else, m2
for `size_sq_m`. Newer keys are additions. Numbers that are not finite are null.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from ..frame import Pose
from ..navigation.fixes import locate
from ..pipeline.results import PingResult, TrackState
from ..times import iso_time

VERSION = 2
"""1 was the original's."""

_encoder = msgspec.json.Encoder()  # writes null for numbers that are not finite


def encode_message(result: PingResult) -> bytes:
    """Return the message of a ping as compact UTF-8 JSON, without a terminator."""
    return _encoder.encode(describe_result(result))


def describe_result(result: PingResult) -> dict[str, Any]:
    """Return the message of a ping, JSON-able but for numbers that are not finite."""
    return {
        "frame_num": result.frame_number,
        "ping_num_sonar": result.ping_number,
        "ping_time": result.time_s,
        "num_tracks": len(result.tracks),
        "tracks": [_describe_track(track, result.pose) for track in result.tracks],
        "version": VERSION,
        "sonar_id": result.sonar_id,
        "channel": result.channel,
        "ping_time_iso": iso_time(result.time_s),
    }


def _describe_track(track: TrackState, pose: Pose | None) -> dict[str, Any]:
    x_m, y_m, z_m = track.position_m
    latitude_deg, longitude_deg = locate(pose, x_m, y_m, z_m) or (None, None)
    vx_m_s, vy_m_s, vz_m_s = track.velocity_m_s
    return {
        "id": track.id,
        "size_sq_m": track.mean_area_m2,
        "speed_mps": track.speed_m_s,
        "target_strength": track.strength_db,
        "min_range_m": track.min_range_m,
        "max_range_m": track.max_range_m,
        "min_bearing_deg": math.degrees(track.min_bearing_rad),
        "max_bearing_deg": math.degrees(track.max_bearing_rad),
        "min_elevation_deg": math.degrees(track.min_elevation_rad),
        "max_elevation_deg": math.degrees(track.max_elevation_rad),
        "first_detect": track.first_time_s,
        "pings_visible": track.hits,
        "last_pos_range": track.range_m,
        "last_pos_bearing": math.degrees(track.bearing_rad),
        "last_pos_elevation": math.degrees(track.elevation_rad),
        "last_vel_range": track.range_rate_m_s,
        "last_vel_bearing": math.degrees(track.bearing_rate_rad_s),
        "last_vel_elevation": math.degrees(track.elevation_rate_rad_s),
        "width": track.width_m,
        "length": track.length_m,
        "height": track.height_m,
        "state": track.state,
        "x_m": x_m,
        "y_m": y_m,
        "z_m": z_m,
        "vx_m_s": vx_m_s,
        "vy_m_s": vy_m_s,
        "vz_m_s": vz_m_s,
        "covariance": track.covariance,
        "calibrated": track.calibrated,
        "class": track.label or None,
        "class_probability": track.probability,
        "zones": track.zones,
        "latitude_deg": latitude_deg,
        "longitude_deg": longitude_deg,
    }
