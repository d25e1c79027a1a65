"""`/echosocket`: pings, echo metrics, tracks and configuration for pages and programs written for NIMS 2016.

Message types and keys are the original's; values are what the names say: numbers as numbers, all beam angles, angles
in degrees, times in UTC. The picture of a ping follows its message as a binary message (see `pipeline.display`),
described by `intensity`; with ``?intensity=json`` that is a flat list of linear values at full resolution instead,
which is slow and sent at most once a second. ``?sonar=NAME`` chooses among several; without it the first one is sent.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import trio
from quart import websocket
from quart_trio import QuartTrio
from werkzeug.exceptions import BadRequest, NotFound

from .. import __version__
from ..bus import LATEST, all_within
from ..outputs.track_message import describe_result, iso_time
from .auth import current, needs
from .hypercorn_streams import Message, text_message
from .pagesocket import config_message
from .sockets import follow_sonars, ignore, serve_socket
from .state import WebState, to_json

if TYPE_CHECKING:
    from ..context import Context, Sonar
    from ..frame import Frame
    from ..pipeline.display import Picture
    from ..pipeline.metrics import MetricsBin
    from ..pipeline.results import PingResult

FULL_INTERVAL_S = 1.0
"""Between two pings at full resolution: 256 x 1500 numbers are 4 MB of text and cost 60 ms."""


def describe_ping(frame: Frame, intensity: object) -> dict[str, Any]:
    """Return the `ping` message of a frame."""
    samples, beams = frame.range_m.size, frame.bearing_rad.size
    angles_deg = np.degrees(frame.bearing_rad)
    whole_s = math.floor(frame.time_s)
    return {
        "type": "ping",
        "device": frame.device,
        "version": __version__,
        "sonar_id": frame.sonar_id,
        "pingid": frame.ping_number,
        "ping_sec": whole_s,
        "ping_ms": math.floor((frame.time_s - whole_s) * 1000),
        "ts": iso_time(frame.time_s),
        "soundspeed": frame.sound_speed_m_s,
        "num_samples": samples,
        "range_min": float(frame.range_m[0]),
        "range_max": float(frame.range_m[-1]),
        "num_beams": beams,
        "freq": frame.frequency_hz,
        "pulse_len": frame.pulse_length_s,
        "pulse_rep": 1 / frame.ping_interval_s if frame.ping_interval_s > 0 else None,
        "min_angle": float(angles_deg[0]),
        "max_angle": float(angles_deg[-1]),
        "beam_angles": angles_deg.tolist(),
        "sector_size": float(angles_deg[-1] - angles_deg[0]),
        "unit": frame.unit,
        "intensity": intensity,
    }


def describe_metrics(done: MetricsBin) -> dict[str, Any]:
    """Return the `metrics` message of a bin; `sv_area` is Sa and `sv_volume` is Sv, in dB."""
    return {
        "type": "metrics",
        "sonar_id": done.sonar_id,
        "channel": done.channel,
        "pingid": done.ping_number,
        "ts": iso_time(done.end_s),
        "calibrated": done.calibrated,
        "center_of_mass": done.center_of_mass_m,
        "sv_area": done.sa_db,
        "sv_volume": done.sv_db,
        "inertia": done.inertia_m2,
        "proportion_occupied": done.proportion_occupied,
        "aggregation_index": done.aggregation_index_per_m,
        "equivalent_area": done.equivalent_area_m,
    }


def describe_tracks(result: PingResult) -> dict[str, Any]:
    """Return the `tracks` message of a ping; the tracks are those of the track server."""
    return {"type": "tracks", **describe_result(result)}


def _descriptor(picture: Picture) -> dict[str, Any]:
    (length,) = np.frombuffer(picture.payload, "<u4", 1).tolist()
    head = msgspec.json.decode(memoryview(picture.payload)[4 : 4 + length])
    kept = ("rows", "columns", "db_min", "db_max", "quantity", "unit", "frame")
    return {"message": "next", "encoding": "u8 dB", "offset": 4 + length, **{key: head[key] for key in kept}}


def register(app: QuartTrio, context: Context, state: WebState) -> None:
    """Add the socket to the application."""
    full: dict[str, tuple[Frame, Message]] = {}
    full_lock = trio.Lock()

    async def full_message(frame: Frame) -> Message:
        async with full_lock:  # several clients: encoded once
            known = full.get(frame.sonar_id)
            if known is None or known[0] is not frame:
                text = await trio.to_thread.run_sync(_encode_full, frame)
                known = full[frame.sonar_id] = (frame, text_message(text))
            return known[1]

    @app.websocket("/echosocket")
    @needs("viewer")
    async def echo() -> None:
        wanted = websocket.args.get("sonar")
        intensity = websocket.args.get("intensity", "binary")
        if intensity not in ("binary", "json"):
            raise BadRequest(f"intensity: expected binary or json, got {intensity!r}")
        if wanted is not None and wanted not in context.sonars:
            raise NotFound(f"there is no sonar {wanted!r}")

        async def send(message: dict[str, Any]) -> None:
            await websocket.send(text_message(to_json(message)))

        def chosen(name: str) -> bool:
            return name == (wanted if wanted is not None else next(iter(context.sonars), None))

        async def send_pings() -> None:
            await follow_sonars(context, chosen, send_full_pings if intensity == "json" else send_pictures)

        async def send_full_pings(sonar: Sonar) -> None:
            with sonar.frames.subscribe("echosocket", LATEST) as frames:
                async for frame in frames:
                    await websocket.send(await full_message(frame))
                    await trio.sleep(FULL_INTERVAL_S)

        async def send_pictures(sonar: Sonar) -> None:
            with sonar.pictures.subscribe("echosocket", LATEST) as pictures:
                async for picture in pictures:
                    await send(describe_ping(picture.ping, _descriptor(picture)))
                    await websocket.send(state.picture_message(picture))

        async def send_metrics() -> None:
            with context.metrics.subscribe("echosocket", all_within(64)) as bins:
                async for done in bins:
                    if chosen(done.sonar_id):
                        await send(describe_metrics(done))

        async def send_tracks() -> None:
            with context.results.subscribe("echosocket", all_within(64)) as results:
                async for result in results:
                    if chosen(result.sonar_id):
                        await send(describe_tracks(result))

        async def send_config() -> None:
            with context.config.changes.subscribe("echosocket", all_within(64)) as changes:
                await send(config_message(context.config, operator=current().may("operator")))
                async for _ in changes:
                    await send(config_message(context.config, operator=current().may("operator")))

        await serve_socket(context, [send_pings, send_metrics, send_tracks, send_config], ignore)


def _encode_full(frame: Frame) -> bytes:
    return to_json(describe_ping(frame, frame.intensity.ravel().tolist()))
