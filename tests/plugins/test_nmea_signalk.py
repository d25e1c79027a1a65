"""Targets for plotters and deltas for the vessel's hub, over real sockets."""

from __future__ import annotations

import json
import math
import socket
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import trio
from nims_nmea.publisher import NmeaSettings, Targets
from nims_nmea.publisher import publish as publish_nmea
from nims_signalk.publisher import Deltas, SignalKSettings
from nims_signalk.publisher import publish as publish_signalk

from nims_appliance.config.store import ConfigStore
from nims_appliance.context import Context
from nims_appliance.frame import Pose
from nims_appliance.links.connection import now
from nims_appliance.navigation.nmea import is_sentence
from nims_appliance.pipeline.results import PingResult, TrackState
from nims_appliance.plugin_host.host import PluginHost

POSE = Pose(54.5, -3.5, heading_rad=math.radians(90.0))


def track(number: int, *zones: str, x_m: float = 3.0, y_m: float = 4.0) -> TrackState:
    values = dict.fromkeys(TrackState.__slots__, 0.0)
    values |= {"id": number, "state": "confirmed", "position_m": (x_m, y_m, 0.0), "velocity_m_s": (0.0, 1.0, 0.0)}
    values |= {"covariance": (), "calibrated": False, "channel": "", "zones": zones, "hits": 5, "range_m": 5.0}
    return TrackState(**values | {"speed_m_s": 1.0})


def result(*tracks: TrackState, pose: Pose | None = None) -> PingResult:
    arrival = now()
    return PingResult("pen", 1, 1, 45319.0, 45319.0, arrival.monotonic_s, "", np.zeros(0), tracks, (), pose=pose)


def fields(sentence: bytes) -> list[str]:
    assert is_sentence(sentence)
    return sentence.decode().split("*")[0].split(",")


def test_a_target_is_told_relative_to_the_bow_or_to_north() -> None:
    (ttm,) = Targets().sentences(result(track(7)), NmeaSettings(), axis_deg=-90.0)
    assert fields(ttm)[:10] == ["$NMTTM", "00", "0.005", "306.9", "R", "3.6", "270.0", "R", "", ""]
    ttm, tll = Targets().sentences(result(track(7), pose=POSE), NmeaSettings(), axis_deg=-90.0)
    assert fields(ttm)[3:8] == ["126.9", "T", "3.6", "90.0", "T"]
    assert fields(tll)[:6] == ["$NMTLL", "00", "5429.9984", "N", "00329.9963", "W"]


def test_a_lost_target_is_told_once_and_its_number_rests() -> None:
    targets, settings = Targets(), NmeaSettings(tll=False)
    targets.sentences(result(track(7)), settings, 0.0)
    (lost,) = targets.sentences(result(), settings, 0.0)
    assert fields(lost)[12] == "L"
    assert targets.sentences(result(), settings, 0.0) == []
    (fresh,) = targets.sentences(result(track(8)), settings, 0.0)
    assert fields(fresh)[1] == "01"


def test_there_are_a_hundred_numbers() -> None:
    targets, settings = Targets(), NmeaSettings(tll=False)
    told = targets.sentences(result(*(track(number) for number in range(150))), settings, 0.0)
    assert [fields(sentence)[1] for sentence in told] == [f"{number:02d}" for number in range(100)]


def values_of(lines: list[bytes]) -> dict[str, object]:
    updates = [json.loads(line)["updates"][0] for line in lines]
    assert all(update["timestamp"] == "1970-01-01T12:35:19.000Z" for update in updates)
    return {item["path"]: item["value"] for update in updates for item in update["values"]}


def test_deltas_tell_tracks_and_zones() -> None:
    deltas = Deltas("pen-1")
    told = values_of(deltas.of(result(track(2**60 + 1, "gate"), pose=POSE)))
    assert told["environment.sonar.pen-1.count"] == 1
    assert told["environment.sonar.pen-1.tracks.0"]["id"] == str(2**60 + 1)
    assert told["environment.sonar.pen-1.tracks.0"]["speed"] == 1.0
    assert told["environment.sonar.pen-1.tracks.0"]["position"]["latitude"] == pytest.approx(54.499973, abs=1e-6)
    assert told["notifications.sonar.pen-1.gate"]["state"] == "alert"


def test_that_something_is_over_is_told_three_times_but_not_of_what_has_begun_since() -> None:
    deltas = Deltas("pen")
    deltas.of(result(track(7, "gate"), track(8)))
    for _ in range(2):
        told = values_of(deltas.of(result()))
        assert told["environment.sonar.pen.tracks.0"] is None
        assert told["notifications.sonar.pen.gate"]["state"] == "normal"
    told = values_of(deltas.of(result(track(9, "gate"))))
    assert told["environment.sonar.pen.tracks.0"]["id"] == "9"
    assert told["environment.sonar.pen.tracks.1"] is None
    assert told["notifications.sonar.pen.gate"]["state"] == "alert"
    assert values_of(deltas.of(result(track(9, "gate")))).keys() == {
        "environment.sonar.pen.count",
        "environment.sonar.pen.tracks.0",
    }


def test_many_tracks_are_shared_out_over_lines_that_fit_into_packets() -> None:
    lines = Deltas("pen").of(result(*(track(2**62 + number) for number in range(300)), pose=POSE))
    assert max(map(len, lines)) < 1400
    assert len(values_of(lines)) == 301


@pytest.fixture
def context(tmp_path: Path) -> Context:
    plugins = PluginHost.load(None)
    return Context(tmp_path, ConfigStore.load(tmp_path, plugins=plugins), plugins)


@pytest.mark.parametrize(("publish", "kind"), [(publish_nmea, NmeaSettings), (publish_signalk, SignalKSettings)])
async def test_lines_go_to_udp_and_tcp(context: Context, publish, kind) -> None:
    lines: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        async for chunk in stream:
            lines.append(chunk)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plotter, trio.fail_after(20):
        plotter.bind(("127.0.0.1", 0))
        plotter.settimeout(10)
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
            port = listener.socket.getsockname()[1]
            destinations = [
                f"udp://127.0.0.1:{plotter.getsockname()[1]}",
                f"tcp://127.0.0.1:{port}",
                "tcp://127.0.0.1:1",
            ]
            nursery.start_soon(publish, context, kind(enabled=True, destinations=destinations))
            while not context.results.subscribers:
                await trio.sleep(0.01)
            context.results.publish(result(track(7)))
            datagram = await trio.to_thread.run_sync(plotter.recv, 65536)
            while not lines:
                await trio.sleep(0.01)
            part = context.health.part(f"output {publish.__module__.split('.')[0].removeprefix('nims_')}")
            context.results.publish(result(track(7)))
            nursery.cancel_scope.cancel()
    assert datagram == lines[0]
    assert datagram.endswith(b"\r\n")
    assert datagram.startswith(b"$NMTTM" if kind is NmeaSettings else b'{"context":"vessels.self"')
    if kind is SignalKSettings:
        json.loads(datagram)
    assert part.state in ("running", "waiting")


def test_a_destination_that_is_none_is_refused() -> None:
    for kind in (NmeaSettings, SignalKSettings):
        with pytest.raises(ValueError, match="destinations"):
            kind(destinations=["http://example.org"])
