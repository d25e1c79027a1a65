"""Settings of what the appliance serves and hears: pages, track server, the vessel's instruments."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .base import Port, Settings


class WebSettings(Settings, frozen=True):
    """The browser's side."""

    host: Annotated[
        str,
        Meta(
            extra={"restart": "appliance"},
            description="Address to listen on: 127.0.0.1 is this computer only, 0.0.0.0 everybody; automatic: "
            "everybody once there is a user who can log in, until then this computer only",
        ),
    ] = "automatic"
    port: Annotated[Port, Meta(extra={"restart": "appliance"}, description="TCP port of the pages")] = 8080
    picture_rate_hz: Annotated[float, Meta(gt=0, le=50, description="Most pictures a second sent to one browser")] = (
        10.0
    )
    names: Annotated[
        list[str],
        Meta(
            description="Other names under which browsers reach this computer, beside its own name and addresses",
            examples=["nims.example.org"],
        ),
    ] = msgspec.field(default_factory=list)
    login_to_view: Annotated[bool, Meta(description="Whether a login is needed to see anything at all")] = False
    tls: Annotated[
        Literal["off", "generated", "given"],
        Meta(
            extra={"restart": "appliance"},
            description="Encrypted pages (https): off; generated: with a certificate that the appliance makes, of "
            "which browsers warn once; given: with that of tls_certificate",
        ),
    ] = "off"
    tls_certificate: Annotated[
        str, Meta(extra={"restart": "appliance"}, description="File of the certificate and those above it, PEM")
    ] = ""
    tls_key: Annotated[
        str, Meta(extra={"restart": "appliance"}, description="File of the certificate's key, PEM; without a password")
    ] = ""

    def __post_init__(self) -> None:
        if self.tls == "given" and not (self.tls_certificate and self.tls_key):
            raise ValueError("tls: given needs tls_certificate and tls_key")


class TrackServerSettings(Settings, frozen=True):
    """The track server for programs."""

    host: Annotated[str, Meta(extra={"restart": "appliance"}, description="Address to listen on")] = "127.0.0.1"
    port: Annotated[Port, Meta(extra={"restart": "appliance"}, description="TCP port of the track server")] = 8001
    max_clients: Annotated[int, Meta(extra={"restart": "appliance"}, ge=1, description="Most clients at a time")] = 64


class NavigationSettings(Settings, frozen=True):
    """The vessel's instruments: position, heading and time by NMEA 0183 (GGA, RMC, ZDA, HDT, THS)."""

    sources: Annotated[
        list[str],
        Meta(
            description="Where they send: udp://:10110, tcp://host:port, serial:///dev/ttyUSB0?baud=4800",
            examples=["udp://:10110"],
        ),
    ] = msgspec.field(default_factory=list)
    max_age_s: Annotated[float, Meta(gt=0, description="What is older does not count, seconds")] = 10.0
