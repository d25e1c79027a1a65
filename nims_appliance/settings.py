"""Every setting there is, as typed structs: the one schema that checks files, draws forms and documents itself.

A field's name carries its unit. `Meta` gives the sentence shown beside the field and its bounds. A setting that takes
effect only when its sonar restarts is marked with ``extra={"restart": "sonar"}``; one that needs a new process cannot
be changed in the browser and is marked ``extra={"restart": "appliance"}``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .errors import ConfigError
from .triggers.address import parse_action

Port = Annotated[int, Meta(ge=0, le=65535)]


class Settings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Base of all settings: immutable, and a misspelt key is an error."""


def _check_below(settings: Settings, low: str, high: str) -> None:
    if not getattr(settings, low) < getattr(settings, high):
        raise ValueError(f"{low} must be below {high}, got {getattr(settings, low)!r} and {getattr(settings, high)!r}")


class DetectorSettings(Settings, frozen=True):
    """How animals are told from background in one ping."""

    method: Annotated[
        str,
        Meta(
            pattern="^(adaptive|legacy)$",
            description="adaptive, or legacy: mean + k standard deviations as in NIMS 2016",
        ),
    ] = "adaptive"
    false_alarms_per_ping: Annotated[
        float,
        Meta(gt=0, le=100, description="Detections per ping that noise alone may cause; the one knob of sensitivity"),
    ] = 0.1
    background_s: Annotated[float, Meta(gt=0, le=3600, description="How far back the background looks, seconds")] = 30.0
    min_range_m: Annotated[float, Meta(ge=0, description="Ignore everything nearer, metres")] = 0.0
    max_range_m: Annotated[float, Meta(gt=0, description="Ignore everything farther, metres")] = 1e6
    max_detections: Annotated[
        int,
        Meta(ge=1, le=10_000, description="Keep the strongest so many of a ping; a flooded ping is cut and counted"),
    ] = 1000
    legacy_threshold_sd: Annotated[float, Meta(gt=0, description="legacy: threshold in standard deviations")] = 3.0
    legacy_min_cells: Annotated[int, Meta(ge=1, description="legacy: smallest group of cells")] = 1

    def __post_init__(self) -> None:
        _check_below(self, "min_range_m", "max_range_m")


class SingleTargetSettings(Settings, frozen=True):
    """Single-target detection on split-beam pings (Soule et al. 1997)."""

    min_ts_db: Annotated[float, Meta(description="Weakest compensated target strength, dB re 1 m2")] = -50.0
    min_echo_length: Annotated[float, Meta(gt=0, description="Shortest echo at -6 dB, in pulse lengths")] = 0.8
    max_echo_length: Annotated[float, Meta(gt=0, description="Longest echo at -6 dB, in pulse lengths")] = 1.8
    max_phase_sd_steps: Annotated[
        float, Meta(gt=0, description="Largest scatter of phase, steps of 180/128 electrical degrees")
    ] = 8.0
    max_gain_compensation_db: Annotated[float, Meta(gt=0, description="Largest two-way beam compensation, dB")] = 6.0

    def __post_init__(self) -> None:
        _check_below(self, "min_echo_length", "max_echo_length")

    animal_length_m: Annotated[
        float, Meta(gt=0, le=30, description="Usual length of the animals, metres; an echo wanders over the body")
    ] = 0.25


class TrackerSettings(Settings, frozen=True):
    """How detections become tracks."""

    process_noise_m2_s3: Annotated[
        float,
        Meta(gt=0, description="Spectral density of acceleration in steady swimming; turns are allowed for beside it"),
    ] = 0.01
    max_speed_m_s: Annotated[float, Meta(gt=0, le=1000, description="Fastest animal expected, metres a second")] = 5.0
    max_gap_s: Annotated[float, Meta(gt=0, description="A track ends when unseen for so long, seconds")] = 3.0
    false_tracks_per_hour: Annotated[
        float, Meta(gt=0, description="Tracks that noise alone may confirm in an hour")
    ] = 0.1
    max_body_m: Annotated[
        float,
        Meta(
            ge=0,
            description="Longest animal: echoes of an imaging sonar nearer than this that move together are one, "
            "metres; 0: every echo is an animal of its own",
        ),
    ] = 2.0


class AlarmSettings(Settings, frozen=True):
    """When an echo metric is out of its bounds."""

    metric: Annotated[
        Literal[
            "sv_db",
            "sa_db",
            "nasc_m2_nmi2",
            "center_of_mass_m",
            "inertia_m2",
            "proportion_occupied",
            "equivalent_area_m",
            "aggregation_index_per_m",
            "layers",
        ],
        Meta(description="Which metric, by its name in the archive"),
    ]
    value: Annotated[float, Meta(description="The limit, in the unit of the metric")] = 0.0
    when: Annotated[Literal["above", "below"], Meta(description="On which side of the limit it is out of bounds")] = (
        "above"
    )
    for_s: Annotated[
        float, Meta(ge=0, description="Raised after it has been out of bounds for so long, seconds; 0: at once")
    ] = 0.0
    hysteresis: Annotated[
        float, Meta(ge=0, description="Ends when the metric is back behind the limit by so much, in its unit")
    ] = 0.0
    layer: Annotated[int, Meta(ge=0, description="Of which layer, 1 is the nearest; 0: the whole column")] = 0
    channel: Annotated[
        str, Meta(description="Multi-channel sounder: of the channels whose name contains this; empty: of each")
    ] = ""


class MetricsSettings(Settings, frozen=True):
    """Echo metrics (Urmy et al. 2012)."""

    depth_bin_m: Annotated[float, Meta(gt=0, description="Height of a depth bin, metres; 0.5 in the paper")] = 0.5
    time_bin_s: Annotated[float, Meta(gt=0, description="Length of a time bin, seconds; 5 in the paper")] = 5.0
    layer_m: Annotated[
        float, Meta(ge=0, description="Height of the layers reported beside the whole column, metres; 0: none")
    ] = 5.0
    occupied_threshold_db: Annotated[
        float, Meta(description="A cell counts as occupied above this Sv, dB; for calibrated sonars")
    ] = -90.0
    relative_threshold_db: Annotated[
        float, Meta(ge=0, description="The same where not calibrated: so far above the median cell of the column, dB")
    ] = 6.0
    min_range_m: Annotated[float, Meta(ge=0, description="Nearest range that counts, metres")] = 1.0
    max_range_m: Annotated[float, Meta(gt=0, description="Farthest range that counts, metres")] = 1e6
    noise_removal: Annotated[
        bool,
        Meta(description="Take background noise from Sv (De Robertis 2007); needs a stretch of range without animals"),
    ] = False
    noise_pings: Annotated[int, Meta(ge=1, le=200, description="Noise is estimated anew every so many pings")] = 20
    noise_cell_m: Annotated[float, Meta(gt=0, description="Height of a cell for the estimate of noise, metres")] = 10.0
    noise_max_db: Annotated[
        float, Meta(description="Noise is never taken for louder than this, dB re 1 m-1, before time-varied gain")
    ] = -125.0
    noise_min_snr_db: Annotated[
        float, Meta(description="A sample counts as empty if less remains above the noise, dB; 10 in the paper")
    ] = 10.0
    alarms: Annotated[dict[str, AlarmSettings], Meta(description="Bounds of metrics, by name")] = msgspec.field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        _check_below(self, "min_range_m", "max_range_m")


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
        _check_below(self, "min_range_m", "max_range_m")
        _check_below(self, "min_bearing_deg", "max_bearing_deg")


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


class WebSettings(Settings, frozen=True):
    """The browser's side."""

    host: Annotated[
        str,
        Meta(
            extra={"restart": "appliance"},
            description="Address to listen on: 127.0.0.1 is this computer only, 0.0.0.0 everybody; automatic: "
            "everybody once there is a user who can log in, until then this computer only",
        ),
    ] = "automatic"
    port: Annotated[Port, Meta(extra={"restart": "appliance"}, description="TCP port of the pages")] = 8080
    picture_rate_hz: Annotated[float, Meta(gt=0, le=50, description="Most pictures a second sent to one browser")] = (
        10.0
    )
    names: Annotated[
        list[str],
        Meta(description="Other names under which browsers reach this computer, beside its own name and addresses"),
    ] = []
    login_to_view: Annotated[bool, Meta(description="Whether a login is needed to see anything at all")] = False
    tls: Annotated[
        Literal["off", "generated", "given"],
        Meta(
            extra={"restart": "appliance"},
            description="Encrypted pages (https): off; generated: with a certificate that the appliance makes, of "
            "which browsers warn once; given: with that of tls_certificate",
        ),
    ] = "off"
    tls_certificate: Annotated[
        str, Meta(extra={"restart": "appliance"}, description="File of the certificate and those above it, PEM")
    ] = ""
    tls_key: Annotated[
        str, Meta(extra={"restart": "appliance"}, description="File of the certificate's key, PEM; without a password")
    ] = ""

    def __post_init__(self) -> None:
        if self.tls == "given" and not (self.tls_certificate and self.tls_key):
            raise ValueError("tls: given needs tls_certificate and tls_key")


class TrackServerSettings(Settings, frozen=True):
    """The track server for programs."""

    host: Annotated[str, Meta(extra={"restart": "appliance"}, description="Address to listen on")] = "127.0.0.1"
    port: Annotated[Port, Meta(extra={"restart": "appliance"}, description="TCP port of the track server")] = 8001
    max_clients: Annotated[int, Meta(extra={"restart": "appliance"}, ge=1, description="Most clients at a time")] = 64


class NavigationSettings(Settings, frozen=True):
    """The vessel's instruments: position, heading and time by NMEA 0183 (GGA, RMC, ZDA, HDT, THS)."""

    sources: Annotated[
        list[str],
        Meta(description="Where they send: udp://:10110, tcp://host:port, serial:///dev/ttyUSB0?baud=4800"),
    ] = []
    max_age_s: Annotated[float, Meta(gt=0, description="What is older does not count, seconds")] = 10.0


class RecordingSettings(Settings, frozen=True):
    """How the bytes of sonars are kept on disk; which sonars' is a switch of each (`record`)."""

    file_minutes: Annotated[float, Meta(gt=0, le=1440, description="A new file is begun after so many minutes")] = 10.0
    file_mb: Annotated[float, Meta(ge=1, le=100_000, description="... or so many megabytes")] = 1000.0
    queue_mb: Annotated[
        float,
        Meta(ge=1, le=4000, description="Memory for bytes that a slow disk has not taken yet, megabytes a sonar"),
    ] = 64.0
    reserve_mb: Annotated[
        float, Meta(ge=0, description="Free space kept for the archive: recording pauses below it, megabytes")
    ] = 1000.0


class ClipSettings(Settings, frozen=True):
    """Clips: the bytes of a sonar around an event, as a recording of its own; which sonars' is a switch of each."""

    lead_in_s: Annotated[float, Meta(ge=0, le=60, description="What was before the event, seconds")] = 3.0
    lead_out_s: Annotated[float, Meta(ge=0, le=60, description="What comes after it, seconds")] = 2.0
    most_s: Annotated[float, Meta(ge=1, le=3600, description="A clip is no longer than this, seconds")] = 60.0
    memory_mb: Annotated[
        float, Meta(ge=1, le=4000, description="Memory for the lead-in, megabytes a sonar; it is shorter if need be")
    ] = 100.0


class StorageSettings(Settings, frozen=True):
    """How long things are kept. When room is needed the oldest recordings go first, then the oldest clips."""

    min_free_gb: Annotated[
        float, Meta(ge=0, description="Recordings and clips are removed to keep so much of the disk free, gigabytes")
    ] = 2.0
    recordings_gb: Annotated[float, Meta(ge=0, description="Most room for recordings, gigabytes; 0: no limit")] = 0.0
    recordings_days: Annotated[float, Meta(ge=0, description="Recordings are kept so long; 0: no limit")] = 0.0
    clips_gb: Annotated[float, Meta(ge=0, description="Most room for clips, gigabytes; 0: no limit")] = 0.0
    clips_days: Annotated[float, Meta(ge=0, description="Clips are kept so long; 0: no limit")] = 0.0


class TriggerSettings(Settings, frozen=True):
    """A rule, and what is done when something meets it."""

    on: Annotated[
        str,
        Meta(
            pattern="^(track|track_ended|zone_entered|zone_left|alarm|alarm_ended|sonar_silent|sonar_back)$",
            description="What it waits for: a confirmed track, its end, its entering or leaving a watched zone, "
            "an alarm of a metric or its end, a sonar from which no ping comes, or one that is back",
        ),
    ]
    actions: Annotated[
        list[str],
        Meta(
            description="Where messages go: udp://host:port, tcp://host:port, http://..., command:NAME (a program in "
            "the data folder's commands), clip"
        ),
    ] = []
    enabled: Annotated[bool, Meta(description="Whether it is at work")] = True
    sonar: Annotated[str, Meta(description="Only of this sonar; empty: of any")] = ""
    zone: Annotated[str, Meta(description="zone_entered, zone_left: only this zone; empty: any")] = ""
    alarm: Annotated[str, Meta(description="alarm, alarm_ended: only this one; empty: any")] = ""
    label: Annotated[str, Meta(description="track_ended: only of this class; empty: of any")] = ""
    min_length_m: Annotated[float, Meta(ge=0, description="Only tracks at least so long, metres")] = 0.0
    min_speed_m_s: Annotated[float, Meta(ge=0, description="Only tracks at least so fast, metres a second")] = 0.0
    min_duration_s: Annotated[float, Meta(ge=0, description="Only tracks seen for at least so long, seconds")] = 0.0
    silent_s: Annotated[float, Meta(gt=0, description="sonar_silent: after so long without a ping, seconds")] = 10.0
    hold_off_s: Annotated[
        float, Meta(ge=0, description="Once it has acted, it does not act again for so long, seconds")
    ] = 0.0
    text: Annotated[
        str,
        Meta(description="The message, with values in braces: fish at {range_m:.1f} m; empty: everything as JSON"),
    ] = ""

    def __post_init__(self) -> None:
        for action in self.actions:
            try:
                parse_action(action)
            except ConfigError as error:
                raise ValueError(f"actions: {error}") from None


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
