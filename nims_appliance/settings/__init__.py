"""Every setting there is, as typed structs: the one schema that checks files, draws forms and documents itself.

A field's name carries its unit. `Meta` gives the sentence shown beside the field and its bounds. A setting that takes
effect only when its sonar restarts is marked with ``extra={"restart": "sonar"}``; one that needs a new process cannot
be changed in the browser and is marked ``extra={"restart": "appliance"}``.
"""

from __future__ import annotations

from .appliance import ApplianceSettings
from .base import Port, Settings
from .keeping import ClipSettings, RecordingSettings, StorageSettings
from .network import NavigationSettings, TrackServerSettings, WebSettings
from .pipeline import AlarmSettings, DetectorSettings, MetricsSettings, SingleTargetSettings, TrackerSettings
from .sonar import CurrentSettings, LocationSettings, MountingSettings, SonarSettings, ZoneSettings
from .triggers import TriggerSettings
from .units import split_unit

__all__ = [
    "AlarmSettings",
    "ApplianceSettings",
    "ClipSettings",
    "CurrentSettings",
    "DetectorSettings",
    "LocationSettings",
    "MetricsSettings",
    "MountingSettings",
    "NavigationSettings",
    "Port",
    "RecordingSettings",
    "Settings",
    "SingleTargetSettings",
    "SonarSettings",
    "StorageSettings",
    "TrackServerSettings",
    "TrackerSettings",
    "TriggerSettings",
    "WebSettings",
    "ZoneSettings",
    "split_unit",
]
