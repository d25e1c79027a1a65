"""Kongsberg M3: driver of the beamformed stream and its files (IMB)."""

from __future__ import annotations

from nims_appliance.decoder import Driver
from nims_appliance.framing import recognise
from nims_appliance.hookspecs import hookimpl
from nims_appliance.profile import LimitsSettings

from .decoder import M3Decoder, M3Packets, M3Settings
from .wire import SYNC


@hookimpl
def nims_drivers() -> list[Driver]:
    """Offer the driver `m3`."""
    return [
        Driver(
            name="m3",
            title="Kongsberg M3 beamformed data (IMB)",
            settings_type=M3Settings,
            stream=M3Decoder,
            plain_suffix=".imb",
            packet_start=SYNC,
            recognise=lambda head: recognise(M3Packets(LimitsSettings()), head),
        )
    ]
