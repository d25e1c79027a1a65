"""Blueprint Subsea Oculus: driver of the TCP stream and its files."""

from __future__ import annotations

from nims_appliance.decoder import Driver
from nims_appliance.framing import recognise
from nims_appliance.hookspecs import hookimpl
from nims_appliance.profile import LimitsSettings

from .decoder import OculusDecoder, OculusPackets, OculusSettings


@hookimpl
def nims_drivers() -> list[Driver]:
    """Offer the driver `oculus`."""
    return [
        Driver(
            name="oculus",
            title="Blueprint Oculus simple ping results",
            settings_type=OculusSettings,
            stream=OculusDecoder,
            recognise=lambda head: recognise(OculusPackets(LimitsSettings()), head),
        )
    ]
