"""NMEA 0183 publisher: live tracks as targets on radars and chart plotters, by TTM and TLL sentences."""

from __future__ import annotations

from nims_appliance.hookspecs import hookimpl
from nims_appliance.output import Output

from .publisher import NmeaSettings, publish


@hookimpl
def nims_outputs() -> list[Output]:
    """Offer the output `nmea`."""
    return [Output("nmea", "NMEA 0183 targets (TTM, TLL)", NmeaSettings, publish)]
