"""Signal K publisher: live tracks and alarms of each sonar as deltas, for the vessel's data hub."""

from __future__ import annotations

from nims_appliance.hookspecs import hookimpl
from nims_appliance.output import Output

from .publisher import SignalKSettings, publish


@hookimpl
def nims_outputs() -> list[Output]:
    """Offer the output `signalk`."""
    return [Output("signalk", "Signal K deltas", SignalKSettings, publish)]
