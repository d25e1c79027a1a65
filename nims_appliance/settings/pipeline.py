"""Settings of what is done with a ping: detection, tracking, echo metrics."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .base import Settings, check_below


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
        check_below(self, "min_range_m", "max_range_m")


class SingleTargetSettings(Settings, frozen=True):
    """Single-target detection on split-beam pings (Soule et al. 1997)."""

    min_ts_db: Annotated[float, Meta(description="Weakest compensated target strength, dB re 1 m2")] = -50.0
    min_echo_length: Annotated[float, Meta(gt=0, description="Shortest echo at -6 dB, in pulse lengths")] = 0.8
    max_echo_length: Annotated[float, Meta(gt=0, description="Longest echo at -6 dB, in pulse lengths")] = 1.8
    max_phase_sd_steps: Annotated[
        float, Meta(gt=0, description="Largest scatter of phase, steps of 180/128 electrical degrees")
    ] = 8.0
    max_gain_compensation_db: Annotated[float, Meta(gt=0, description="Largest two-way beam compensation, dB")] = 6.0
    animal_length_m: Annotated[
        float, Meta(gt=0, le=30, description="Usual length of the animals, metres; an echo wanders over the body")
    ] = 0.25

    def __post_init__(self) -> None:
        check_below(self, "min_echo_length", "max_echo_length")


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
        check_below(self, "min_range_m", "max_range_m")
