"""Settings of the appliance: config.yaml from its top."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from .base import Settings
from .keeping import ClipSettings, RecordingSettings, StorageSettings
from .network import NavigationSettings, TrackServerSettings, WebSettings
from .sonar import SonarSettings
from .triggers import TriggerSettings


class ApplianceSettings(Settings, frozen=True):
    """config.yaml as a whole."""

    sonars: Annotated[dict[str, SonarSettings], Meta(description="Sonars by name")] = msgspec.field(
        default_factory=dict
    )
    web: WebSettings = WebSettings()
    tracks: TrackServerSettings = TrackServerSettings()
    navigation: NavigationSettings = NavigationSettings()
    recording: RecordingSettings = RecordingSettings()
    clips: ClipSettings = ClipSettings()
    storage: StorageSettings = StorageSettings()
    outputs: Annotated[
        dict[str, dict[str, Any]], Meta(description="Outputs of plugins by name, as `nims config schema` lists them")
    ] = msgspec.field(default_factory=dict)
    triggers: Annotated[dict[str, TriggerSettings], Meta(description="Rules that act on what is seen, by name")] = (
        msgspec.field(default_factory=dict)
    )
