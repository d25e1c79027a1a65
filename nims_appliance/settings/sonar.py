"""Settings of one sonar: where its bytes come from, how and where it is mounted, what is done with its pings."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .base import Settings, check_below
from .pipeline import DetectorSettings, MetricsSettings, SingleTargetSettings, TrackerSettings


class MountingSettings(Settings, frozen=True):
    """How the head sits on its mount."""

    bearing_sign: Annotated[Literal[-1, 1], Meta(description="1 or -1: which side the sonar calls positive")] = 1
    inverted: Annotated[bool, Meta(description="The head hangs upside down: left and right are exchanged")] = False


class ZoneSettings(Settings, frozen=True):
    """A part of the view, between two ranges and two bearings (of a split beam: athwartship angles)."""

    kind: Annotated[
        str,
        Meta(
            pattern="^(watched|ignored)$",
            description="watched: tracks tell how near they came, and when inside; ignored: nothing in it is detected",
        ),
    ]
    enabled: Annotated[bool, Meta(description="Whether it counts; false: as if it were not there")] = True
    min_range_m: Annotated[float, Meta(ge=0, description="Where it begins, metres from the sonar")] = 0.0
    max_range_m: Annotated[float, Meta(gt=0, description="Where it ends, metres from the sonar")] = 1e6
    min_bearing_deg: Annotated[
        float, Meta(ge=-180, le=180, description="Its side of smaller bearings, degrees")
    ] = -180.0
    max_bearing_deg: Annotated[float, Meta(ge=-180, le=180, description="Its side of larger bearings, degrees")] = 180.0

    def __post_init__(self) -> None:
        check_below(self, "min_range_m", "max_range_m")
        check_below(self, "min_bearing_deg", "max_bearing_deg")


class CurrentSettings(Settings, frozen=True):
    """The water's own motion past the sonar; with it tracks tell what swims from what drifts."""

    known: Annotated[bool, Meta(description="Whether it is known; if not, nothing is said of speed through water")] = (
        False
    )
    speed_m_s: Annotated[float, Meta(ge=0, le=10, description="How fast the water flows, metres a second")] = 0.0
    towards_deg: Annotated[
        float,
        Meta(
            ge=-180,
            le=180,
            description="Where it flows to, degrees: 0 away from the sonar along its axis, 90 to positive bearings",
        ),
    ] = 0.0
    uncertainty_m_s: Annotated[
        float, Meta(gt=0, le=10, description="Standard deviation of each component, over place and time")
    ] = 0.05


class LocationSettings(Settings, frozen=True):
    """Where the sonar is; with it tracks have positions on the map."""

    source: Annotated[
        str,
        Meta(
            pattern="^(unknown|fixed|navigation)$",
            description="fixed: as given here; navigation: from the vessel's instruments; what the sonar itself tells "
            "comes before both",
        ),
    ] = "unknown"
    latitude_deg: Annotated[float, Meta(ge=-90, le=90, description="fixed: latitude, degrees, north positive")] = 0.0
    longitude_deg: Annotated[float, Meta(ge=-180, le=180, description="fixed: longitude, degrees, east positive")] = 0.0
    axis_deg: Annotated[
        float,
        Meta(
            ge=-360,
            le=360,
            description="Where the acoustic axis points, degrees clockwise; fixed: from true north; navigation: "
            "from the bow",
        ),
    ] = 0.0
    tilt_deg: Annotated[
        float,
        Meta(
            ge=-90,
            le=90,
            description="How far the acoustic axis points below the horizontal, degrees: 0 ahead, 90 straight down, "
            "as an echosounder's; then axis_deg says where its forward side is",
        ),
    ] = 0.0


class SonarSettings(Settings, frozen=True):
    """One sonar: its profile and link are all it needs; the rest overrides the profile."""

    profile: Annotated[
        str, Meta(extra={"restart": "sonar"}, description="Name of the firmware profile, as `nims profiles` lists it")
    ]
    link: Annotated[
        str,
        Meta(
            extra={"restart": "sonar"},
            description="tcp://host:port, udp://:port, file:///path?speed=1&loop=yes or simulator:profile",
            examples=["tcp://192.168.1.234:20001"],
        ),
    ]
    enabled: Annotated[bool, Meta(extra={"restart": "sonar"}, description="Whether it runs")] = True
    record: Annotated[bool, Meta(description="Whether its bytes are kept on disk, as they come")] = False
    clips: Annotated[bool, Meta(description="Whether the bytes around each confirmed track are kept on disk")] = False
    channel: Annotated[
        str,
        Meta(
            description="Multi-channel sounder: use the channel whose name contains this; empty: the first with angles"
        ),
    ] = ""
    mounting: Annotated[MountingSettings, Meta(extra={"restart": "sonar"})] = MountingSettings()
    detector: DetectorSettings = DetectorSettings()
    single_target: SingleTargetSettings = SingleTargetSettings()
    tracker: TrackerSettings = TrackerSettings()
    metrics: MetricsSettings = MetricsSettings()
    zones: Annotated[
        dict[str, ZoneSettings], Meta(description="Parts of the view that are ignored or watched, by name")
    ] = msgspec.field(default_factory=dict)
    current: CurrentSettings = CurrentSettings()
    location: LocationSettings = LocationSettings()
    driver: Annotated[
        dict[str, Any],
        Meta(extra={"restart": "sonar"}, description="The driver's own settings, as `nims config schema` lists them"),
    ] = msgspec.field(default_factory=dict)
    """Checked against `Driver.settings_type`."""
