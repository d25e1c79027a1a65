"""Settings of what is kept on disk, and for how long."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from .base import Settings


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
    tracks_days: Annotated[
        float, Meta(ge=0, description="Tracks stay in the archive so long, by their sonar's clock; 0: for ever")
    ] = 0.0
    metrics_days: Annotated[
        float, Meta(ge=0, description="Echo metrics stay in the archive so long, by their sonar's clock; 0: for ever")
    ] = 0.0
    events_days: Annotated[float, Meta(ge=0, description="Events stay in the archive so long; 0: for ever")] = 0.0
