"""MQTT publisher: status, tracks, events, metrics and health of each sonar, for brokers and Home Assistant."""

from __future__ import annotations

from nims_appliance.hookspecs import hookimpl
from nims_appliance.output import Output

from .publisher import MqttSettings, publish


@hookimpl
def nims_outputs() -> list[Output]:
    """Offer the output `mqtt`."""
    return [Output("mqtt", "MQTT publisher", MqttSettings, publish)]
