"""What the long-lived tasks share: buses, settings, plugins, health."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from .access.store import AccessStore
from .alarms import AlarmBoard, AlarmEvent
from .bus import Bus
from .frame import Frame
from .health import Health
from .navigation.fixes import Navigation
from .recent_log import RecentLog
from .recording.clips import ClipStore

if TYPE_CHECKING:
    from .archive import Archive
    from .config.store import ConfigStore
    from .pipeline.columns import PingColumn
    from .pipeline.display import Picture
    from .pipeline.metrics import MetricsBin
    from .pipeline.results import PingResult
    from .playback import Playback
    from .plugin_host.host import PluginHost
    from .profile import Profile
    from .settings import SonarSettings
    from .triggers.engine import Triggers
    from .triggers.rules import Happening


@dataclass(slots=True, eq=False)
class Sonar:
    """One configured sonar, as the outputs see it."""

    name: str
    settings: SonarSettings
    """Effective: the profile's defaults under the operator's settings."""
    profile: Profile
    frames: Bus[Frame]
    pictures: Bus[Picture]
    last_frame: Frame | None = None
    """The newest frame, for headers and for viewers that come late."""
    last_picture: Picture | None = None
    columns: deque[Picture] = field(default_factory=deque)
    """An echogram's last minutes, of all channels, oldest first, for viewers that come late."""
    playback: Playback | None = None
    """While a recording is played."""
    strongest: dict[str, deque[PingColumn]] = field(default_factory=dict)
    """A multibeam sonar's last minutes, channel by channel, oldest first: in every range the strongest echo."""


@dataclass(slots=True, eq=False)
class Context:
    """Made once by the appliance; handed to every output and to the web server."""

    data: Path
    """The data folder; writable."""
    config: ConfigStore
    """Settings; what changes is published on its bus `changes`."""
    plugins: PluginHost
    health: Health = field(default_factory=Health)
    sonars: dict[str, Sonar] = field(default_factory=dict)
    """By name; changes when the configuration changes."""
    results: Bus[PingResult] = field(default_factory=lambda: Bus("results"))
    """Detections and tracks of every sonar, ping by ping."""
    metrics: Bus[MetricsBin] = field(default_factory=lambda: Bus("metrics"))
    """Echo metrics of every sonar, per ping and per time bin."""
    alarms: Bus[AlarmEvent] = field(default_factory=lambda: Bus("alarms"))
    """Alarms of metrics as they are raised, end and are acknowledged."""
    alarm_board: AlarmBoard = field(default_factory=AlarmBoard)
    """How every alarm stands now."""
    archive: Archive | None = None
    """Tracks, metrics and events; set by the appliance before anything else runs."""
    log: RecentLog = field(default_factory=RecentLog)
    """The last records of the log."""
    navigation: Navigation = field(default_factory=Navigation)
    """Where the vessel is."""
    happenings: Bus[Happening] = field(default_factory=lambda: Bus("happenings"))
    """What triggers were set off by."""
    triggers: Triggers | None = None
    """Set by the appliance before anything else runs."""
    clips: ClipStore = field(init=False)
    """Recorded events."""
    stopping: trio.Event = field(default_factory=trio.Event)
    """Set when the appliance is asked to stop; handlers that may block watch it."""
    access: AccessStore = field(init=False)
    """Who may log in."""

    def __post_init__(self) -> None:
        self.access = AccessStore(self.data)
        self.clips = ClipStore(self.data)
