"""What the pages and the API tell about the appliance, and the messages that are made once for all viewers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
import trio

from ..bus import all_within
from ..outputs.track_summary import describe_summary
from ..pipeline.display import reduced
from ..pipeline.results import PingResult, TrackState
from .detail import REDUCTIONS
from .hypercorn_streams import Message, binary_message, text_message

if TYPE_CHECKING:
    from ..context import Context, Sonar
    from ..pipeline.display import Picture

T = TypeVar("T")
STATE_INTERVAL_S = 1.0


def to_json(value: object) -> bytes:
    """Return UTF-8 JSON; NaN and infinities become null, bytes of file names that are not UTF-8 question marks."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_encodable(msgspec.to_builtins(value)))


def _encodable(value: Any) -> Any:
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case dict():
            return {_encodable(key): _encodable(item) for key, item in value.items()}
        case list() | tuple():
            return [_encodable(item) for item in value]
    return value


def from_json(text: str | bytes, kind: type[T] | Any = Any) -> T | Any:
    """Return what JSON from outside says.

    Raises:
      ValueError: it is malformed, or nested too deeply to be read.
    """
    try:
        return msgspec.json.decode(text, type=kind)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None


class _MadeOnce(Generic[T]):
    """Makes something of the newest item of each key, and gives the same to all who ask while it is the newest."""

    def __init__(self, make: Callable[[T], Message]) -> None:
        self._make = make
        self._newest: dict[Hashable, tuple[T, Message]] = {}

    def of(self, key: Hashable, item: T) -> Message:
        known = self._newest.get(key)
        if known is None or known[0] is not item:
            known = self._newest[key] = (item, self._make(item))
        return known[1]


def _reduced_message(reduction: int, picture: Picture) -> Message:
    return binary_message(reduced(picture.payload, reduction))


def describe_track(track: TrackState) -> dict[str, Any]:
    """Return a live track as the live page and the API give it."""
    x_m, y_m, z_m = track.position_m
    vx_m_s, vy_m_s, vz_m_s = track.velocity_m_s
    return {
        "id": str(track.id),  # 64 bits do not fit a number of JavaScript
        "state": track.state,
        "x_m": x_m,
        "y_m": y_m,
        "z_m": z_m,
        "vx_m_s": vx_m_s,
        "vy_m_s": vy_m_s,
        "vz_m_s": vz_m_s,
        "range_m": track.range_m,
        "bearing_rad": track.bearing_rad,
        "elevation_rad": track.elevation_rad,
        "speed_m_s": track.speed_m_s,
        "strength_db": track.strength_db,
        "calibrated": track.calibrated,
        "hits": track.hits,
        "first_time_s": track.first_time_s,
        "length_m": track.length_m,
        "width_m": track.width_m,
        "channel": track.channel,
        "zones": track.zones,
        "label": track.label,
        "probability": track.probability,
    }


def _tracks_message(result: PingResult) -> Message:
    return text_message(
        to_json(
            {
                "type": "tracks",
                "sonar": result.sonar_id,
                "channel": result.channel,
                "frame": result.frame_number,
                "ping": result.ping_number,
                "time_s": result.time_s,
                "received_utc_s": result.received_utc_s,
                "detections": len(result.detections),
                "tracks": [describe_track(track) for track in result.tracks],
                "ended": [str(track.id) for track in result.ended],
                "descriptions": [
                    describe_summary(result.sonar_id, track) | {"id": str(track.id)} for track in result.ended
                ],
            }
        )
    )


def describe_strip(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what every page shows all the time: disk, clock and recording, drawn from the parts' counters.

    Each has a `level`: "", "warn" or "bad". What no part tells is null.
    """
    counted = {part["name"]: part for part in parts}
    strip: dict[str, Any] = {"disk": None, "clock": None, "recording": None}
    if disk := counted.get("disk"):
        level = "bad" if disk["state"] == "failed" else "warn" if disk["warning"] else ""
        told = disk["statistics"]
        strip["disk"] = {"free_bytes": told.get("free_bytes"), "left_s": told.get("left_s"), "level": level}
    if clock := counted.get("clock"):
        told = clock["statistics"]
        strip["clock"] = {
            "synchronised": told.get("synchronised"),
            "error_s": told.get("estimated_error_s"),
            "level": "warn" if clock["warning"] else "",
        }
    # Those of clips write now and then, and are no recording.
    recorders = [part for part in parts if "recording" in part["statistics"] and not part["name"].startswith("clips ")]
    if recorders:
        wanted = [part for part in recorders if part["statistics"]["recording"]]
        strip["recording"] = {
            "sonars": [part["name"].removeprefix("recorder ") for part in wanted],
            "lost_bytes": sum(part["statistics"].get("lost_bytes", 0) for part in wanted),
            "level": "bad" if any(part["state"] == "failed" for part in wanted) else "",
        }
    return strip


class WebState:
    """Shared by all connections of one web server; lives on the trio thread."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._pictures: _MadeOnce[Picture] = _MadeOnce(lambda picture: binary_message(picture.payload))
        self._reduced: dict[int, _MadeOnce[Picture]] = {
            reduction: _MadeOnce(partial(_reduced_message, reduction)) for reduction in REDUCTIONS[1:]
        }
        self._tracks: _MadeOnce[PingResult] = _MadeOnce(_tracks_message)
        self._state_message: tuple[float, Message] | None = None
        self.viewers = 0
        self.last_results: dict[tuple[str, str], PingResult] = {}
        """The newest result of each sonar and channel."""

    def picture_message(self, picture: Picture, reduction: int = 1) -> Message:
        """Return the picture as a binary WebSocket message; `reduction` is one of `REDUCTIONS`."""
        made = self._reduced.get(reduction, self._pictures)
        return made.of((picture.sonar_id, picture.channel), picture)

    def tracks_message(self, result: PingResult) -> Message:
        """Return the tracks of a ping as the live page's text message."""
        return self._tracks.of((result.sonar_id, result.channel), result)

    def state_message(self) -> Message:
        """Return the state of the appliance as the live page's text message, at most half a second old."""
        now = trio.current_time()
        if self._state_message is None or now - self._state_message[0] > STATE_INTERVAL_S / 2:
            self._state_message = (now, text_message(to_json({"type": "state", **self.state()})))
        return self._state_message[1]

    def state(self) -> dict[str, Any]:
        """Return the state of every part, JSON-able."""
        health = self._context.health.snapshot()
        errors = list(self._context.config.errors)
        return {
            "ok": health["ok"] and not errors,
            "time_s": time.time(),
            "started_utc_s": health["started_utc_s"],
            "viewers": self.viewers,
            "picture_rate_hz": self._context.config.current.web.picture_rate_hz,
            "errors": errors,
            "alarms": [
                *(
                    {"name": part["name"], "text": f"{part['name']}: {part['warning']}", "level": "warn"}
                    for part in health["parts"]
                    if part["warning"]
                ),
                *(
                    {"name": alarm["id"], "text": alarm["text"], "level": "bad"}
                    for alarm in self._context.alarm_board.describe()
                    if alarm["state"] == "raised" and not alarm["acknowledged_by"]
                ),
            ],
            "strip": describe_strip(health["parts"]),
            "parts": health["parts"],
            "sonars": [self.describe_sonar(sonar) for sonar in self._context.sonars.values()],
        }

    def describe_sonar(self, sonar: Sonar) -> dict[str, Any]:
        """Return one sonar: what it is, and the head of its newest ping (null before the first)."""
        frame = sonar.last_frame
        statistics = sonar.frames.statistics()
        last_ping = None
        if frame is not None:
            samples, beams = frame.intensity.shape
            last_ping = {
                "frame": frame.frame_number,
                "ping": frame.ping_number,
                "time_s": frame.time_s,
                "received_utc_s": frame.received_utc_s,
                "samples": samples,
                "beams": beams,
                "min_range_m": float(frame.range_m[0]),
                "max_range_m": float(frame.range_m[-1]),
                "min_bearing_deg": math.degrees(frame.bearing_rad[0]),
                "max_bearing_deg": math.degrees(frame.bearing_rad[-1]),
                "frequency_hz": frame.frequency_hz,
                "sound_speed_m_s": frame.sound_speed_m_s,
                "channel": frame.channel,
                "device": frame.device,
            }
        return {
            "name": sonar.name,
            "title": sonar.profile.title,
            "profile": sonar.settings.profile,
            "link": sonar.settings.link,
            "frames": statistics.published,
            "dropped": statistics.dropped,
            "last_ping": last_ping,
            "record": sonar.settings.record,
            "clips": sonar.settings.clips,
            "zones": [{"name": name, **msgspec.to_builtins(zone)} for name, zone in sonar.settings.zones.items()],
        }

    async def remember_results(self) -> None:
        """Keep the newest result of each sonar; runs as long as the server."""
        with self._context.results.subscribe("web", all_within(64)) as results:
            async for result in results:
                self.last_results[result.sonar_id, result.channel] = result
