"""`/api/v1/sonars/NAME/replay`: the hand on a recording that is played."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from quart import Response
from quart_trio import QuartTrio
from werkzeug.exceptions import BadRequest, Conflict, NotFound

from ..times import parse_time
from .auth import current, needs
from .bodies import json_answer, read_json

if TYPE_CHECKING:
    from ..context import Context
    from ..playback import Playback

log = logging.getLogger(__name__)

EXPECTED = (
    'expected {"do": "pause"}, {"do": "play"}, {"do": "step", "pings": 1}, {"do": "speed", "speed": 4} or '
    '{"do": "seek", "time": "2026-11-22T01:36:45Z"}'
)
MOST_PINGS = 100_000


def register(app: QuartTrio, context: Context) -> None:
    """Add the route to the application."""

    @app.post("/api/v1/sonars/<name>/replay")
    @needs("operator")
    async def replay(name: str) -> Response:
        body = await read_json()
        sonar = context.sonars.get(name)
        if sonar is None:
            raise NotFound(f"there is no sonar {name!r:.80}")
        if sonar.playback is None:
            raise Conflict(f"{name} plays no recording now")
        _do(sonar.playback, body if isinstance(body, dict) else {})
        log.info("%s: %s: replay %s", current().author, name, body)
        return json_answer({"ok": True, "replay": sonar.playback.state()})


def _do(playback: Playback, body: dict[str, Any]) -> None:
    match body.get("do"):
        case "pause":
            playback.pause()
        case "play":
            playback.play()
        case "step":
            pings = body.get("pings", 1)
            if isinstance(pings, bool) or not isinstance(pings, int) or not 1 <= pings <= MOST_PINGS:
                raise BadRequest(f"pings: expected a whole number from 1 to {MOST_PINGS}, got {pings!r:.80}")
            playback.step(pings)
        case "speed":
            speed = _number(body.get("speed"))
            if speed is None or speed < 0:
                raise BadRequest(f"speed: expected 0 (as fast as possible) or more, got {body.get('speed')!r:.80}")
            playback.set_speed(speed)
        case "seek":
            playback.seek(_moment(body.get("time")))
        case _:
            raise BadRequest(EXPECTED)


def _number(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None


def _moment(value: Any) -> float:
    """Return seconds since 1970 of a number, or of a time as ISO 8601; without a zone it is UTC."""
    seconds = _number(value)
    if seconds is not None:
        return seconds
    try:
        return parse_time(value)
    except (ValueError, TypeError):
        raise BadRequest(
            f"time: expected seconds since 1970 or a time as 2026-11-22T01:36:45Z, got {value!r:.80}"
        ) from None
