"""The publisher: one connection for each sonar, because a connection has one last will."""

from __future__ import annotations

import itertools
import logging
import sqlite3
import sys
from collections import deque
from typing import Annotated

import paho.mqtt.client as mqtt
import trio
from msgspec import Meta
from paho.mqtt.enums import CallbackAPIVersion

from nims_appliance import __version__
from nims_appliance.bus import all_within
from nims_appliance.context import Context
from nims_appliance.delivery.outbox import Outbox
from nims_appliance.errors import NimsError
from nims_appliance.links.connection import now
from nims_appliance.pipeline.results import PingResult
from nims_appliance.settings import Port, Settings

from .messages import Events, discovery, encode, metrics_message, topic, tracks_message, trigger_message

log = logging.getLogger(__name__)

LOOK_INTERVAL_S = 1.0
HEALTH_INTERVAL_S = 10.0
MOST_WAITING = 1000
"""Events in memory while the broker is away; they go to disk every second."""
LAST_S = 1.0
KEEP_ALIVE_S = 15
"""A broker that says nothing for one and a half times as long is gone, and so is a sonar to the broker."""


class MqttSettings(Settings, frozen=True):
    """MQTT: where to publish, and what."""

    enabled: Annotated[bool, Meta(description="Whether anything is published")] = False
    host: Annotated[str, Meta(description="Address of the broker")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Its port; 8883 is usual with TLS")] = 1883
    tls: Annotated[bool, Meta(description="Encrypt, and check the broker's certificate")] = False
    ca_file: Annotated[
        str, Meta(description="PEM file of the authority that signed it; empty: those that this computer trusts")
    ] = ""
    username: Annotated[str, Meta(description="Name to log in with; empty: none")] = ""
    password: Annotated[str, Meta(description="Its password", extra={"secret": True})] = ""
    site: Annotated[str, Meta(pattern="^[a-z0-9_-]{1,64}$", description="Name of this place in the topics")] = "site"
    tracks: Annotated[bool, Meta(description="Publish the tracks of every ping, not only what begins and ends")] = True
    home_assistant: Annotated[bool, Meta(description="Announce the sonars to Home Assistant")] = False


async def publish(context: Context, settings: MqttSettings) -> None:
    """Publish until cancelled."""
    publishers: dict[str, SonarPublisher] = {}
    outbox = Outbox(context.data)
    try:
        async with trio.open_nursery() as nursery:

            def of(sonar: str) -> SonarPublisher:
                if sonar not in publishers:
                    publishers[sonar] = SonarPublisher(context, settings, sonar, outbox)
                    nursery.start_soon(publishers[sonar].run)
                return publishers[sonar]

            async def results() -> None:
                with context.results.subscribe("mqtt", all_within(256)) as pings:
                    async for result in pings:
                        of(result.sonar_id).take(result)

            async def metrics() -> None:
                with context.metrics.subscribe("mqtt", all_within(256)) as bins:
                    async for done in bins:
                        of(done.sonar_id).send("metrics", metrics_message(done), retain=True)

            async def triggers() -> None:
                with context.happenings.subscribe("mqtt", all_within(256)) as happenings:
                    async for happening in happenings:
                        of(happening.sonar).event("trigger", trigger_message(happening))

            for task in (results, metrics, triggers):
                nursery.start_soon(task)
            part = context.health.part("output mqtt")
            while True:
                for name in context.sonars:
                    of(name)
                for name in publishers.keys() - context.sonars.keys():
                    await publishers.pop(name).stop()
                away = [publisher.error for publisher in publishers.values() if not publisher.connected]
                sent = sum(publisher.sent for publisher in publishers.values())
                part.last_error = away[0] if away else part.last_error
                where = f"{settings.host}:{settings.port}"
                part.set("waiting" if away else "running", away[0] if away else f"{where}, {sent} messages sent")
                await trio.sleep(LOOK_INTERVAL_S)
    finally:
        with trio.move_on_after(LAST_S) as scope:
            scope.shield = True
            for publisher in publishers.values():
                await publisher.stop()


class SonarPublisher:
    """The connection of one sonar."""

    def __init__(self, context: Context, settings: MqttSettings, sonar: str, outbox: Outbox) -> None:
        self.sent = 0
        self.connected = False
        self.error = f"{settings.host}:{settings.port}: connecting"
        self._context = context
        self._settings = settings
        self._sonar = sonar
        self._outbox = outbox
        self._events = Events()
        self._live = 0
        self._waiting: deque[tuple[str, bytes]] = deque(maxlen=MOST_WAITING)
        self._box = f"mqtt:{topic(settings.site, sonar)}"
        self._client = client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
        client.max_queued_messages_set(MOST_WAITING)
        client.reconnect_delay_set(1, 60)
        client.will_set(self._topic("status"), "offline", qos=1, retain=True)
        if settings.username:
            client.username_pw_set(settings.username, settings.password or None)
        if settings.tls:
            try:
                client.tls_set(settings.ca_file or None)
            except (OSError, ValueError) as error:  # of ssl too
                raise NimsError(f"ca_file {settings.ca_file}: {getattr(error, 'strerror', None) or error}") from error
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect

    def _topic(self, *levels: str) -> str:
        return topic(self._settings.site, self._sonar, *levels)

    # Both are called in the client's own thread: they set plain attributes, and publishing is safe from any thread.
    def _on_connect(
        self, client: mqtt.Client, userdata: object, flags: object, reason: object, properties: object
    ) -> None:
        if getattr(reason, "is_failure", False):
            self.error = f"{self._settings.host}:{self._settings.port}: {reason}; trying again"
            return
        client.publish(self._topic("status"), "online", qos=1, retain=True)
        if self._settings.home_assistant:
            for name, body in discovery(self._settings.site, self._sonar, __version__):
                client.publish(name, body, qos=1, retain=True)
        self.connected = True

    def _on_connect_fail(self, client: mqtt.Client, userdata: object) -> None:
        # Called where the error is handled, which is not handed over.
        error = sys.exc_info()[1]
        why = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or error
        self.error = f"{self._settings.host}:{self._settings.port}: {why or 'no connection'}; trying again"

    def _on_disconnect(
        self, client: mqtt.Client, userdata: object, flags: object, reason: object, properties: object
    ) -> None:
        if self.connected:  # else it was refused, and why has been told already
            self.error = f"{self._settings.host}:{self._settings.port}: {reason}; trying again"
        self.connected = False

    async def run(self) -> None:
        """Keep the connection, tell the health, deliver what waits; until cancelled."""
        settings = self._settings
        try:
            self._client.connect_async(settings.host, settings.port, keepalive=KEEP_ALIVE_S)
            self._client.loop_start()
        except (OSError, ValueError) as error:
            raise NimsError(f"{settings.host}:{settings.port}: {error}") from error
        told_s = -HEALTH_INTERVAL_S
        while True:
            await self._work_off()
            if trio.current_time() - told_s >= HEALTH_INTERVAL_S:
                told_s = trio.current_time()
                self._tell_health()
            await trio.sleep(LOOK_INTERVAL_S)

    async def stop(self) -> None:
        """Say that the sonar is offline, and disconnect."""
        await self._put_on_disk()
        if self.connected:
            self._client.publish(self._topic("status"), "offline", qos=1, retain=True)
        self._client.disconnect()
        await trio.to_thread.run_sync(self._client.loop_stop, abandon_on_cancel=True)

    def take(self, result: PingResult) -> None:
        """Publish what a ping has brought."""
        self._live = len(result.tracks)
        if self._settings.tracks and not result.final:
            self.send("tracks", tracks_message(result))
        for kind, body in self._events.of(result):
            self.event(kind, body)

    def send(self, name: str, body: bytes, *, retain: bool = False) -> None:
        """Publish something that is of no use later; nothing while the broker is away."""
        if self.connected:
            self._client.publish(self._topic(name), body, qos=0, retain=retain)
            self.sent += 1

    def event(self, kind: str, body: bytes) -> None:
        """Publish an event; it waits while the broker is away."""
        if not (self.connected and not self._waiting and self._publish(kind, body)):
            self._waiting.append((kind, body))

    def _publish(self, kind: str, body: bytes) -> bool:
        """Hand an event to the client; return whether it took it: not while the broker confirms nothing any more."""
        told = self._client.publish(self._topic("events", kind), body, qos=1)
        if told.rc == mqtt.MQTT_ERR_QUEUE_SIZE:
            return False
        self.sent += 1
        return True

    async def _work_off(self) -> None:
        if not self.connected:
            await self._put_on_disk()
            return
        try:
            while self.connected and (kept := await trio.to_thread.run_sync(self._outbox.first, self._box)):
                taken = list(itertools.takewhile(self._takes, kept))
                await trio.to_thread.run_sync(self._outbox.remove, [number for number, _ in taken])
                if len(taken) < len(kept):
                    return
        except (OSError, sqlite3.Error) as error:
            log.error("mqtt: outbox: %s", error)
        while self._waiting and self._publish(*self._waiting[0]):
            self._waiting.popleft()

    def _takes(self, kept: tuple[int, bytes]) -> bool:
        kind, _, body = kept[1].partition(b" ")
        return self._publish(kind.decode(), body)

    async def _put_on_disk(self) -> None:
        if not self._waiting:
            return
        events = list(self._waiting)
        try:
            bodies = [kind.encode() + b" " + body for kind, body in events]
            await trio.to_thread.run_sync(self._outbox.add, self._box, bodies)
        except (OSError, sqlite3.Error) as error:
            log.error("mqtt: outbox: %s", error)
            return
        for _ in events:
            if self._waiting:
                self._waiting.popleft()

    def _tell_health(self) -> None:
        part = self._context.health.part(f"sonar {self._sonar}")
        counted = part.count()
        values = {
            "state": part.state,
            "detail": part.detail,
            "last_error": part.last_error,
            "live_tracks": self._live,
            **{key: counted.get(key) for key in ("pings", "rate_hz", "age_s", "dropped", "tracks", "detections")},
        }
        self.send("health", encode(now().utc_s, values), retain=True)
