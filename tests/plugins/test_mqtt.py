"""The MQTT publisher against a real broker: what arrives, what stays, and what waits while the broker is away."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import paho.mqtt.client as mqtt
import pytest
import trio
from nims_mqtt.messages import Events, discovery, topic
from nims_mqtt.publisher import MqttSettings, SonarPublisher, publish
from paho.mqtt.enums import CallbackAPIVersion

from nims_appliance.bus import Bus
from nims_appliance.config.store import ConfigStore
from nims_appliance.context import Context, Sonar
from nims_appliance.delivery.outbox import Outbox
from nims_appliance.errors import NimsError
from nims_appliance.links.connection import now
from nims_appliance.pipeline.results import PingResult, TrackState, TrackSummary
from nims_appliance.plugin_host.host import PluginHost

BROKER = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
needs_broker = pytest.mark.skipif(
    not BROKER and not os.environ.get("CI"), reason="mosquitto is not installed (apt-get install mosquitto)"
)


def track(number: int, *zones: str) -> TrackState:
    values = dict.fromkeys(TrackState.__slots__, 0.0)
    values |= {"id": number, "state": "confirmed", "position_m": (1.0, 2.0, 0.0), "velocity_m_s": (0.1, 0.0, 0.0)}
    return TrackState(**values | {"covariance": (), "calibrated": False, "channel": "", "zones": zones, "hits": 5})


def ended(number: int) -> TrackSummary:
    values: dict = dict.fromkeys(TrackSummary.__slots__, 0.0)
    return TrackSummary(
        **values | {"id": number, "calibrated": False, "channel": "", "label": "", "positions": (), "zones": ()}
    )


def result(*tracks: TrackState, ended: tuple = ()) -> PingResult:
    arrival = now()
    return PingResult("Pen", 1, 1, 1.7e9, arrival.utc_s, arrival.monotonic_s, "", np.zeros(0), tracks, ended)


def kinds(events: list[tuple[str, bytes]]) -> list[tuple[str, object]]:
    return [(kind, json.loads(body).get("zone", "")) for kind, body in events]


def test_what_begins_and_ends_is_an_event_once() -> None:
    events = Events()
    assert kinds(events.of(result(track(1)))) == [("track_started", "")]
    assert kinds(events.of(result(track(1, "gate")))) == [("zone_entered", "gate")]
    assert kinds(events.of(result(track(1, "gate")))) == []
    assert kinds(events.of(result(track(1)))) == [("zone_left", "gate")]
    assert kinds(events.of(result(ended=(ended(1),)))) == [("track_ended", "")]


def test_topics_have_no_reserved_characters() -> None:
    assert topic("bay", "Pen #1/a+b", "status") == "nims/bay/pen__1_a_b/status"


def test_home_assistant_finds_values_that_are_published() -> None:
    for name, body in discovery("bay", "pen", "1.0"):
        told = json.loads(body)
        assert name == f"homeassistant/sensor/nims_bay_pen/{name.split('/')[3]}/config"
        assert told["state_topic"] == "nims/bay/pen/health"
        assert told["availability_topic"] == "nims/bay/pen/status"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


@contextmanager
def broker(tmp_path: Path, port: int, *more: str, anonymous: bool = True) -> Iterator[None]:
    assert BROKER, "mosquitto is not installed"
    config = tmp_path / "mosquitto.conf"
    lines = [
        f"listener {port} 127.0.0.1",
        f"allow_anonymous {str(anonymous).lower()}",
        "persistence false",
        "user root",
    ]
    config.write_text("".join(f"{line}\n" for line in (*lines, *more)))
    process = subprocess.Popen([BROKER, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "the broker did not start"
                time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def listener(port: int) -> Iterator[dict[str, list]]:
    """Everything that the broker has and gets, by topic."""
    heard: dict[str, list] = {}

    def take(client: object, userdata: object, message: mqtt.MQTTMessage) -> None:
        heard.setdefault(message.topic, []).append(message.payload.decode())

    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_message = take
    client.on_connect = lambda client, *rest: client.subscribe("#", qos=1)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()


@pytest.fixture
def context(tmp_path: Path) -> Context:
    plugins = PluginHost.load(None)
    line = {"sonars.Pen.profile": "kongsberg-m3", "sonars.Pen.link": "tcp://127.0.0.1:9"}
    config = ConfigStore.load(tmp_path, plugins=plugins, command_line=line)
    context = Context(tmp_path, config, plugins)
    settings = config.sonar("Pen")
    context.sonars["Pen"] = Sonar("Pen", settings, config.profile(settings.profile), Bus("frames"), Bus("pictures"))
    return context


async def until(condition) -> None:
    with trio.fail_after(20):
        while not condition():
            await trio.sleep(0.02)


@needs_broker
async def test_a_broker_hears_of_everything_and_of_the_end(context: Context, tmp_path: Path) -> None:
    port = free_port()
    settings = MqttSettings(enabled=True, port=port, site="bay", home_assistant=True)
    with broker(tmp_path, port), listener(port) as heard:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish, context, settings)
            await until(lambda: heard.get("nims/bay/pen/status") == ["online"])
            context.results.publish(result(track(7)))
            context.results.publish(result(ended=(ended(7),)))
            await until(lambda: "nims/bay/pen/events/track_ended" in heard)
            await until(lambda: "nims/bay/pen/health" in heard)
            nursery.cancel_scope.cancel()
        await until(lambda: heard["nims/bay/pen/status"] == ["online", "offline"])
        told = json.loads(heard["nims/bay/pen/tracks"][0])
        assert (told["schema"], told["time"], told["tracks"][0]["id"]) == (1, "2023-11-14T22:13:20.000Z", 7)
        assert json.loads(heard["nims/bay/pen/events/track_started"][0])["track"] == 7
        assert "homeassistant/sensor/nims_bay_pen/tracks/config" in heard
        with listener(port) as late:
            await until(lambda: late.get("nims/bay/pen/status") == ["offline"])
            await until(lambda: "nims/bay/pen/health" in late)
            assert "nims/bay/pen/tracks" not in late, "only what is true for long is retained"


@needs_broker
async def test_events_wait_on_disk_while_the_broker_is_away(context: Context, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("nims_mqtt.publisher.LOOK_INTERVAL_S", 0.05)
    port = free_port()
    settings = MqttSettings(enabled=True, port=port, site="bay")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(publish, context, settings)
        part = context.health.part("output mqtt")
        await until(lambda: part.state == "waiting" and context.results.subscribers)
        for number in (1, 2, 3):
            context.results.publish(result(track(number)))
        await until(lambda: Outbox(tmp_path).actions() == {"mqtt:nims/bay/pen": 3})
        with broker(tmp_path, port), listener(port) as heard:
            await until(lambda: len(heard.get("nims/bay/pen/events/track_started", [])) == 3)
            numbers = [json.loads(body)["track"] for body in heard["nims/bay/pen/events/track_started"]]
            assert numbers == [1, 2, 3]
            await until(lambda: part.state == "running")
            nursery.cancel_scope.cancel()


@needs_broker
def test_the_last_will_is_told_when_the_appliance_dies(context: Context, tmp_path: Path) -> None:
    port = free_port()
    program = (
        "import sys, trio; sys.path[:0] = sys.argv[3:]\n"
        "from pathlib import Path\n"
        "from nims_mqtt.publisher import *\n"
        "from nims_appliance.delivery.outbox import Outbox\n"
        "from nims_appliance.health import Health\n"
        "from types import SimpleNamespace\n"
        "context = SimpleNamespace(health=Health())\n"
        "publisher = SonarPublisher(context, MqttSettings(port=int(sys.argv[1])), 'pen', Outbox(Path(sys.argv[2])))\n"
        "trio.run(publisher.run)\n"
    )
    with broker(tmp_path, port), listener(port) as heard:
        process = subprocess.Popen([sys.executable, "-c", program, str(port), str(tmp_path), *sys.path])
        try:
            trio.run(partial(until, lambda: heard.get("nims/site/pen/status") == ["online"]))
        finally:
            process.kill()
            process.wait()
        trio.run(partial(until, lambda: heard["nims/site/pen/status"] == ["online", "offline"]))


@pytest.fixture
def quickly(monkeypatch) -> None:
    monkeypatch.setattr("nims_mqtt.publisher.LOOK_INTERVAL_S", 0.05)


@needs_broker
async def test_a_broker_that_is_killed_and_started_again_is_found_again(context, tmp_path, quickly) -> None:
    port = free_port()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(publish, context, MqttSettings(enabled=True, port=port, site="bay"))
        part = context.health.part("output mqtt")
        with broker(tmp_path, port), listener(port) as heard:
            await until(lambda: heard.get("nims/bay/pen/status") == ["online"])
            context.results.publish(result(track(1)))
            await until(lambda: "nims/bay/pen/events/track_started" in heard)
        await until(lambda: part.state == "waiting")
        assert "trying again" in part.detail
        context.results.publish(result(track(1), track(2)))
        with broker(tmp_path, port), listener(port) as heard:
            await until(lambda: heard.get("nims/bay/pen/status") == ["online"])
            await until(lambda: "nims/bay/pen/events/track_started" in heard)
            assert [json.loads(body)["track"] for body in heard["nims/bay/pen/events/track_started"]] == [2]
            await until(lambda: part.state == "running")
            nursery.cancel_scope.cancel()


def secured(tmp_path: Path) -> tuple[str, ...]:
    """Settings of a broker that wants a password, behind TLS; its authority is tmp_path/ca.pem."""
    assert BROKER
    tool = shutil.which("mosquitto_passwd") or "/usr/bin/mosquitto_passwd"
    subprocess.run([tool, "-b", "-c", tmp_path / "passwords", "sonar", "se cret"], check=True, capture_output=True)
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    make += ["-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1"]
    make += ["-keyout", tmp_path / "key.pem", "-out", tmp_path / "ca.pem"]
    subprocess.run(make, check=True, capture_output=True)
    return (f"password_file {tmp_path}/passwords", f"certfile {tmp_path}/ca.pem", f"keyfile {tmp_path}/key.pem")


# paho leaves a socket whose TLS handshake failed to the garbage collector, which closes it
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@needs_broker
async def test_a_broker_that_wants_a_password_and_tls(context, tmp_path, quickly) -> None:
    port = free_port()
    ca_file = str(tmp_path / "ca.pem")
    good = {"username": "sonar", "password": "se cret", "tls": True, "ca_file": ca_file}
    with broker(tmp_path, port, *secured(tmp_path), anonymous=False):
        part = context.health.part("output mqtt")
        for change, said in (
            ({"password": "wrong"}, "uthori"),
            ({"ca_file": ""}, "certificate"),
            ({"host": "localhost"}, "mismatch"),
            ({}, ""),
        ):
            settings = MqttSettings(enabled=True, port=port, site="bay", **good | change)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(publish, context, settings)
                await until(lambda said=said: part.state == "running" if not said else said in part.detail)
                nursery.cancel_scope.cancel()


async def test_an_authority_that_cannot_be_read_is_named(context: Context, tmp_path: Path) -> None:
    settings = MqttSettings(enabled=True, tls=True, ca_file=str(tmp_path / "none.pem"))
    with pytest.raises(NimsError, match=r"none.pem: No such file"):
        SonarPublisher(context, settings, "pen", Outbox(tmp_path))


def test_an_event_that_the_client_has_no_room_for_waits(context: Context, tmp_path: Path, monkeypatch) -> None:
    publisher = SonarPublisher(context, MqttSettings(enabled=True), "pen", Outbox(tmp_path))
    publisher.connected = True
    answers = iter([mqtt.MQTT_ERR_QUEUE_SIZE])
    told = type("Told", (), {"rc": property(lambda self: next(answers, mqtt.MQTT_ERR_SUCCESS))})
    monkeypatch.setattr(publisher._client, "publish", lambda *args, **more: told())
    publisher.event("track_started", b"1")
    publisher.event("track_started", b"2")
    assert list(publisher._waiting) == [("track_started", b"1"), ("track_started", b"2")]
    trio.run(publisher._work_off)
    assert (publisher.sent, len(publisher._waiting)) == (2, 0)
