"""Simulated sonars: a Kongsberg M3, a Blueprint Oculus and a Simrad EK60, with animals to see."""

from __future__ import annotations

from nims_appliance.decoder import Simulator
from nims_appliance.hookspecs import hookimpl


@hookimpl
def nims_simulators() -> list[Simulator]:
    from .devices import SimulatedEK60, SimulatedM3, SimulatedOculus

    return [
        Simulator("kongsberg-m3", "Kongsberg M3 that images the foot of a turbine", "tcp", 20001, SimulatedM3),
        Simulator("blueprint-oculus", "Blueprint Oculus that waits for a fire message", "tcp", 52100, SimulatedOculus),
        Simulator("simrad-ek60", "Simrad EK60 that sends EK500 telegrams", "udp", 3000, SimulatedEK60),
    ]
