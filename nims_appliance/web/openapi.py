"""`/api/v1/openapi.json`: what programs can ask for, as OpenAPI 3.1, made from the table `ROUTES`.

A test holds the table against the routes that there are; the role of each is that of its `auth.needs`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from quart import Response, current_app
from quart_trio import QuartTrio

from .auth import needed_role, needs
from .bodies import json_answer

JSON, BYTES, TEXT, CSV = "application/json", "application/octet-stream", "text/plain", "text/csv"


@dataclass(frozen=True, slots=True)
class Route:
    """One route; `query` and `body` are name: what it means."""

    method: str
    path: str
    """As Quart has it: "/api/v1/clips/<name>"."""
    summary: str
    query: dict[str, str] | None = None
    body: dict[str, str] | None = None
    """Keys of a JSON object; empty: any JSON."""
    gives: tuple[str, ...] = (JSON,)


_SPAN = {"from": "seconds since 1970, UTC: from then on", "to": "seconds since 1970, UTC: before then"}
_PAGE = {"limit": "most rows of one answer", "after": "what `next` of the page before was"}
_SONAR = {"sonar": "name of a sonar; left out: all"}
_TRACKS = {
    **_SONAR,
    "label": "class; empty: tracks without one",
    **_SPAN,
    "zone": "tracks that were inside this watched zone",
    **{
        f"{bound}_{name}": f"{word} {meaning}"
        for bound, word in (("min", "at least this"), ("max", "at most this"))
        for name, meaning in (("length_m", "mean length, m"), ("speed_m_s", "mean speed, m/s"))
    },
    "min_duration_s": "lasting at least so long, s",
    "sort": "column to sort by",
    "order": "asc or desc",
    "state": "all, live or ended",
    "format": "json (a page), jsonl or csv (everything, streamed)",
}

ROUTES = (
    Route("GET", "/healthz", "Whether all is well; 503 if not"),
    Route("GET", "/metrics", "Counters for Prometheus", gives=(TEXT,)),
    Route("GET", "/api/v1/openapi.json", "This document"),
    Route("GET", "/api/v1/state", "The state of the appliance"),
    Route("GET", "/api/v1/health", "The state of the appliance with all that is counted"),
    Route("GET", "/api/v1/log", "The last records of the log", {"after": "number of a record", "level": "at least"}),
    Route("GET", "/api/v1/support", "All that somebody far away needs to know", gives=(TEXT,)),
    Route("GET", "/api/v1/sonars", "The sonars with their zones"),
    Route(
        "GET",
        "/api/v1/sonars/<name>/columns",
        "Range over time of a multibeam sonar, the last minutes",
        {"channel": "of a sounder", "after": "number of a frame"},
        gives=(BYTES,),
    ),
    Route("POST", "/api/v1/sonars/<name>/record", "Switch the recording of a sonar", body={"on": "boolean"}),
    Route(
        "POST",
        "/api/v1/sonars/<name>/replay",
        "Pause, step or move the recording that a sonar plays",
        body={
            "do": "pause, play, step, speed or seek",
            "pings": "step: how many",
            "speed": "times the recorded pace; 0: as fast as possible",
            "time": "seek: seconds since 1970 or ISO 8601",
        },
    ),
    Route("POST", "/api/v1/sonars/<name>/clips", "Switch the clips of a sonar", body={"on": "boolean"}),
    Route("GET", "/api/v1/tracks", "Live and ended tracks", {**_TRACKS, **_PAGE}, gives=(JSON, CSV)),
    Route(
        "GET",
        "/api/v1/export/tracks.geojson",
        "Ended tracks as GeoJSON lines where the sonar's place is configured",
        {key: text for key, text in _TRACKS.items() if key not in ("sort", "order", "state", "format")},
        gives=("application/geo+json",),
    ),
    Route(
        "GET", "/api/v1/export/metrics.csv", "Every bin of every channel and layer", {**_SONAR, **_SPAN}, gives=(CSV,)
    ),
    Route("GET", "/api/v1/backup", "Settings, users, profiles and the archive as one file", gives=(BYTES,)),
    Route("GET", "/api/v1/tracks/<int:number>", "One ended track with all its positions"),
    Route("GET", "/api/v1/tracks/labels", "Classes of the last tracks"),
    Route(
        "GET",
        "/api/v1/tracks/counts",
        "How many tracks ended when, by class",
        {**_SONAR, **_SPAN, "points": "most buckets; they are of a length that people count in"},
    ),
    Route(
        "GET",
        "/api/v1/tracks/map",
        "How many tracks were in which part of the view, in whole hours",
        {**_SONAR, "label": "class", **_SPAN},
    ),
    Route("GET", "/api/v1/clips", "Clips, newest first", {**_SONAR, "track": "id of a track", **_SPAN, **_PAGE}),
    Route("GET", "/api/v1/clips/<name>", "A clip and its tracks with all their positions"),
    Route("PATCH", "/api/v1/clips/<name>", "Mark a clip to be kept, or not", body={"keep": "boolean"}),
    Route("DELETE", "/api/v1/clips/<name>", "Remove a clip"),
    Route("GET", "/api/v1/clips/<name>/download", "The recorded bytes of a clip", gives=(BYTES,)),
    Route(
        "GET",
        "/api/v1/clips/<name>/pictures",
        "A clip as pictures of the live socket, each after its length (uint32, little-endian), then a length of 0",
        {
            "reduction": "1, 2 or 4 cells joined to one along each axis",
            "rate_hz": "most pictures a second of the recording; 0: each ping",
            "channel": "of a sounder",
            "player": "of several players of one client, each one's own name",
        },
        gives=(BYTES,),
    ),
    Route("GET", "/api/v1/recordings", "Recordings, newest first", {**_SONAR, **_SPAN, **_PAGE}),
    Route("GET", "/api/v1/triggers", "How every trigger stands"),
    Route("POST", "/api/v1/triggers/<name>/test", "Set off a trigger; its message says `test`"),
    Route("GET", "/api/v1/metrics", "Echo metrics over time", gives=(JSON, CSV)),
    Route("GET", "/api/v1/metrics/series", "Whose echo metrics there are"),
    Route("GET", "/api/v1/events", "What happened, newest first"),
    Route("GET", "/api/v1/alarms", "How every alarm stands"),
    Route("POST", "/api/v1/alarms/acknowledge", "Say that an alarm was seen", body={"id": "string"}),
    Route("GET", "/api/v1/config", "The settings, their schema and where each value comes from"),
    Route(
        "PATCH",
        "/api/v1/config",
        "Change settings",
        body={"changes": "object", "expected": "object"},
    ),
    Route("GET", "/api/v1/config/history", "Who changed which setting when"),
    Route("POST", "/api/v1/config/undo", "Take a change of the settings back", body={"number": "integer"}),
    Route("GET", "/api/v1/session", "Who asks"),
    Route("POST", "/api/v1/session", "Log in", body={"name": "string", "password": "string"}),
    Route("DELETE", "/api/v1/session", "Log out"),
    Route("PUT", "/api/v1/session/password", "Change one's own password", body={}),
    Route("GET", "/api/v1/users", "Users and tokens"),
    Route("POST", "/api/v1/users", "Add a user", body={}),
    Route("PATCH", "/api/v1/users/<name>", "Change a user", body={}),
    Route("DELETE", "/api/v1/users/<name>", "Remove a user"),
    Route("POST", "/api/v1/tokens", "Make a token for a program", body={}),
    Route("DELETE", "/api/v1/tokens/<identity>", "Take a token back"),
    Route("GET", "/api/v1/files", "Plugins and profiles in the data folder"),
    Route("GET", "/api/v1/files/<folder>/<name>", "One of them", gives=(BYTES,)),
    Route("PUT", "/api/v1/files/<folder>/<name>", "Store one of them; the body is the file"),
    Route("DELETE", "/api/v1/files/<folder>/<name>", "Remove one of them"),
)
"""Everything that programs can ask for over HTTP."""


def register(app: QuartTrio, version: str) -> None:
    """Add the route to the application."""

    @app.get("/api/v1/openapi.json")
    @needs("viewer")
    async def get_openapi() -> Response:
        return json_answer(describe(current_app, version))  # type: ignore[arg-type]


def describe(app: QuartTrio, version: str) -> dict[str, Any]:
    """Return the OpenAPI document of the application."""
    endpoints = {
        (method, rule.rule): rule.endpoint for rule in app.url_map.iter_rules() for method in rule.methods or ()
    }
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        function = app.view_functions[endpoints[route.method, route.path]]
        role = needed_role(function, changes=route.method != "GET")
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, role)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "NIMS",
            "version": version,
            "description": "Live detection and tracking of animals in sonar pings. Times are seconds since 1970, UTC; "
            "names carry their units; ids of tracks are texts, because they have 64 bits.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Error": {
                    "type": "object",
                    "properties": {
                        "ok": {"const": False},
                        "error": {"type": "string"},
                        "errors": {"type": "array", "items": {"type": "string"}},
                        "status": {"type": "integer"},
                        "request_id": {"type": "string"},
                    },
                    "required": ["ok", "error"],
                }
            },
        },
    }


def _operation(route: Route, role: str) -> dict[str, Any]:
    in_path = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer" if kind == "int:" else "string"},
        }
        for kind, name in re.findall(r"<(\w+:)?(\w+)>", route.path)
    ]
    in_query = [
        {"name": name, "in": "query", "required": False, "description": meaning, "schema": {"type": "string"}}
        for name, meaning in (route.query or {}).items()
    ]
    inside = route.path.startswith("/api/v1/")
    words = [word for word in re.split(r"\W+", route.path.removeprefix("/api/v1")) if word not in ("", "int")]
    described: dict[str, Any] = {
        "operationId": "_".join([route.method.lower(), *([] if inside else ["server"]), *words]),
        "summary": route.summary,
        "description": "Open to everybody." if role == "anybody" else f"Needs the role {role}.",
        "x-nims-role": role,
        "security": [{}] if role == "anybody" else [{"token": []}, {}] if role == "viewer" else [{"token": []}],
        "responses": {
            "2XX": {"description": "what was asked for", "content": {kind: {} for kind in route.gives}},
            "default": {
                "description": "what was wrong",
                "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }
    if in_path or in_query:
        described["parameters"] = in_path + in_query
    if route.body is not None:
        schema: dict[str, Any] = {"type": "object"}
        if route.body:
            schema["properties"] = {name: {"type": kind} for name, kind in route.body.items()}
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    return described
