"""Packets described by a firmware profile: the driver for simple formats, without any code."""

from __future__ import annotations

from nims_appliance.decoder import Driver
from nims_appliance.hookspecs import hookimpl

from .decoder import LayoutDecoder
from .layout import LayoutSettings


@hookimpl
def nims_drivers() -> list[Driver]:
    """Offer the driver `layout`. It recognises nothing: it knows no packets but those of its profile."""
    return [
        Driver(
            name="layout",
            title="Packets described by the profile",
            settings_type=LayoutSettings,
            stream=LayoutDecoder,
            datagram=LayoutDecoder,
        )
    ]
