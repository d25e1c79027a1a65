"""A small appliance for the web tests: real configuration and plugins, pings and tracks made by hand."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import trio
from trio_websocket import WebSocketConnection, wrap_client_stream

from nims_appliance.bus import Bus
from nims_appliance.config.store import ConfigStore
from nims_appliance.context import Context, Sonar
from nims_appliance.frame import Frame
from nims_appliance.pipeline.results import DETECTION, PingResult, TrackState
from nims_appliance.plugin_host.host import PluginHost
from nims_appliance.recording.clips import Clip
from nims_appliance.web.server import serve_web

CONFIG = """\
sonars:
  pen:
    profile: kongsberg-m3
    link: tcp://127.0.0.1:20001
"""


@pytest.fixture(scope="session")
def plugins() -> PluginHost:
    return PluginHost.load(None)


@pytest.fixture
def context(tmp_path: Path, plugins: PluginHost) -> Context:
    """One sonar, `pen`, that nothing runs: tests publish on its buses."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    config = ConfigStore.load(tmp_path, plugins=plugins)
    assert config.errors == []
    made = Context(tmp_path, config, plugins)
    settings = config.sonar("pen")
    made.sonars["pen"] = Sonar("pen", settings, config.profile(settings.profile), Bus("frames"), Bus("pictures"))
    return made


@pytest.fixture
def operator(context: Context) -> dict[str, str]:
    """Headers of a program that may change settings."""
    _, token = context.access.add_token("test", "operator", "test")
    return {"Authorization": f"Bearer {token}"}


Serve = Callable[[Context], AbstractAsyncContextManager[int]]


@pytest.fixture
def serve() -> Serve:
    """Serves a context inside ``async with``; gives the port. The server is stopped as the appliance stops it."""

    @asynccontextmanager
    async def serve(context: Context) -> AsyncIterator[int]:
        bound = socket.create_server(("127.0.0.1", 0))
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve_web, context, [bound]))
            yield bound.getsockname()[1]
            context.stopping.set()

    return serve


@pytest.fixture
def connect() -> Callable[..., AbstractAsyncContextManager[WebSocketConnection]]:
    """Opens a WebSocket inside ``async with``; its TCP connection is gone at the end, however it ended."""

    @asynccontextmanager
    async def connect(port: int, path: str, **headers: str) -> AsyncIterator[WebSocketConnection]:
        extra = [(name.encode(), value.encode()) for name, value in headers.items()]
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream, trio.open_nursery() as nursery:
            yield await wrap_client_stream(nursery, stream, f"127.0.0.1:{port}", path, extra_headers=extra)
            nursery.cancel_scope.cancel()

    return connect


@pytest.fixture
def make_frame() -> Callable[..., Frame]:
    def make_frame(number: int = 1, samples: int = 40, beams: int = 16, **changes: object) -> Frame:
        intensity = np.full((samples, beams), 1e-3, np.float32)
        intensity[number % samples, number % beams] = 1e3
        frame = Frame(
            intensity=intensity,
            unit="relative",
            range_m=np.linspace(1.0, 20.5, samples),
            bearing_rad=np.linspace(-1.0, 1.0, beams) if beams > 1 else np.zeros(1),
            time_s=1_700_000_000.25 + number / 10,
            ping_number=1000 + number,
            sound_speed_m_s=1500.0,
            frequency_hz=500e3,
            pulse_length_s=1e-4,
            ping_interval_s=0.1,
            beam_width_rad=0.02,
            range_resolution_m=0.1,
            device="test sonar",
            sonar_id="pen",
            frame_number=number,
            received_utc_s=1_700_000_000.3 + number / 10,
            received_monotonic_s=number / 10,
        )
        return dataclasses.replace(frame, **changes).check()  # type: ignore[arg-type]

    return make_frame


@pytest.fixture
def make_result() -> Callable[..., PingResult]:
    def make_result(number: int = 1, x_m: float = 3.0, y_m: float = 10.0, tracks: int = 1) -> PingResult:
        state = TrackState(
            id=2**62 + 5,
            state="confirmed",
            position_m=(x_m, y_m, 0.0),
            velocity_m_s=(1.0, 0.5, 0.0),
            covariance=((0.1, 0.0), (0.0, 0.1)),
            range_m=float(np.hypot(x_m, y_m)),
            bearing_rad=float(np.arctan2(x_m, y_m)),
            elevation_rad=0.0,
            range_rate_m_s=0.7,
            bearing_rate_rad_s=0.1,
            elevation_rate_rad_s=0.0,
            first_time_s=1_700_000_000.0,
            hits=12,
            min_range_m=9.0,
            max_range_m=11.0,
            min_bearing_rad=0.1,
            max_bearing_rad=0.4,
            min_elevation_rad=0.0,
            max_elevation_rad=0.0,
            length_m=0.3,
            width_m=0.2,
            height_m=float("nan"),
            mean_area_m2=0.06,
            strength_db=-35.0,
            calibrated=False,
            speed_m_s=1.1,
        )
        return PingResult(
            sonar_id="pen",
            frame_number=number,
            ping_number=1000 + number,
            time_s=1_700_000_000.25 + number / 10,
            received_utc_s=1_700_000_000.3 + number / 10,
            received_monotonic_s=number / 10,
            channel="",
            detections=np.zeros(2, DETECTION),
            tracks=(state,) * tracks,
            ended=(),
        )

    return make_result


@pytest.fixture
def add_clip(context: Context) -> Callable[..., Clip]:
    """Puts a clip into the data folder, the later the higher its number."""

    def add_clip(number: int, data: bytes = b"nothing", **changes) -> Clip:
        start_s = 1_700_000_000.0 + 10 * number
        values = {
            "name": f"pen_2023111{number}T000000.000Z",
            "sonar": "pen",
            "profile": "kongsberg-m3",
            "suffix": ".imb",
            "start_s": start_s,
            "end_s": start_s + 5,
            "tracks": [2**61 + number],
            "reason": "track",
            "bytes": len(data),
        }
        clip = Clip(**(values | changes))
        path = context.clips.path(clip)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        context.clips.write(clip)
        return clip

    return add_clip
