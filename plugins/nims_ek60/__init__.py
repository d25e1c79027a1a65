"""Driver of the Simrad EK60 split-beam echosounder: .raw files, and EK500 telegrams over UDP."""

from __future__ import annotations

from nims_appliance.decoder import Driver
from nims_appliance.hookspecs import hookimpl

from .ek500 import Ek500Decoder, looks_like_ek500
from .raw import RawDecoder, looks_like_raw
from .settings import Ek60Settings


@hookimpl
def nims_drivers() -> list[Driver]:
    """Offer the EK60 driver."""
    return [
        Driver(
            name="ek60",
            title="Simrad EK60 (.raw files, EK500 telegrams)",
            settings_type=Ek60Settings,
            stream=RawDecoder,
            datagram=Ek500Decoder,
            recognise=lambda head: looks_like_raw(head) or looks_like_ek500(head),
        )
    ]
