"""`/metrics`: the health as Prometheus reads it (text exposition format 0.0.4).

Every figure comes from the snapshot of the health: nothing is counted twice. A counter of a part that is not in the
table below, such as a vendor's, is shown as `nims_part_value` under its own name.

Source of the format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATES = ("starting", "running", "waiting", "failed", "stopped")


@dataclass(frozen=True, slots=True)
class Metric:
    """How one counter of the parts is told; `label` names the keys where the counter is a mapping."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    scale: float = 1.0
    label: str = ""


PART_METRICS = {
    # sonars
    "connects": Metric("nims_link_connects_total", "counter", "Connections made to a sonar."),
    "received_bytes": Metric("nims_link_received_bytes_total", "counter", "Bytes received from a sonar."),
    "pings": Metric("nims_pings_total", "counter", "Pings received."),
    "frames": Metric("nims_frames_total", "counter", "Frames received: of a ping, one for each channel."),
    "rate_hz": Metric("nims_ping_rate_hertz", "gauge", "Pings a second, over the last seconds."),
    "age_s": Metric("nims_last_ping_age_seconds", "gauge", "Time since the newest ping came."),
    "clock_offset_s": Metric(
        "nims_sonar_clock_offset_seconds", "gauge", "System clock at the arrival of a ping minus the sonar's clock."
    ),
    "samples": Metric("nims_ping_samples", "gauge", "Samples in range of the newest ping."),
    "beams": Metric("nims_ping_beams", "gauge", "Beams of the newest ping."),
    "resyncs": Metric("nims_decoder_resyncs_total", "counter", "Times a decoder lost and found the stream."),
    "skipped_bytes": Metric("nims_decoder_skipped_bytes_total", "counter", "Bytes that belonged to no packet."),
    "packet_errors": Metric(
        "nims_decoder_packet_errors_total", "counter", "Packets that were not used.", label="reason"
    ),
    "bad_frames": Metric("nims_bad_frames_total", "counter", "Frames of a driver that were refused.", label="reason"),
    "decoder_crashes": Metric("nims_decoder_crashes_total", "counter", "Times a driver raised."),
    "dropped_by": Metric(
        "nims_frames_dropped_total", "counter", "Frames that a stage was too slow for.", label="stage"
    ),
    "detections": Metric("nims_detections_total", "counter", "Detections."),
    "tracks": Metric("nims_tracks_total", "counter", "Tracks that were confirmed."),
    "pipeline_failures": Metric("nims_pipeline_failures_total", "counter", "Pings whose analysis failed."),
    "metrics_failures": Metric("nims_metrics_failures_total", "counter", "Pings whose echo metrics failed."),
    "display_failures": Metric("nims_display_failures_total", "counter", "Pings that could not be drawn."),
    "latency_p50_ms": Metric(
        "nims_latency_median_seconds",
        "gauge",
        "From the last byte of a ping to its tracks or its trigger, median.",
        1e-3,
    ),
    "latency_p99_ms": Metric(
        "nims_latency_p99_seconds", "gauge", "From the last byte of a ping to its tracks or its trigger, 99 %.", 1e-3
    ),
    # recorders
    "recording": Metric("nims_recording", "gauge", "1 while the bytes of a sonar are to be kept on disk."),
    "written_bytes": Metric("nims_recorded_bytes_total", "counter", "Bytes of sonars that were kept on disk."),
    "waiting_bytes": Metric("nims_recorder_waiting_bytes", "gauge", "Bytes that wait for the disk."),
    "lost_bytes": Metric("nims_recorder_lost_bytes_total", "counter", "Bytes that could not be kept on disk."),
    # archive and track server
    "written_tracks": Metric("nims_archive_written_tracks_total", "counter", "Tracks written to the archive."),
    "waiting_tracks": Metric("nims_archive_waiting_tracks", "gauge", "Tracks that wait to be written."),
    "lost_tracks": Metric("nims_archive_lost_tracks_total", "counter", "Tracks that could not be written."),
    "written_bins": Metric("nims_archive_written_bins_total", "counter", "Bins of echo metrics written."),
    "waiting_bins": Metric("nims_archive_waiting_bins", "gauge", "Bins of echo metrics that wait to be written."),
    "lost_bins": Metric("nims_archive_lost_bins_total", "counter", "Bins of echo metrics that could not be written."),
    "written_events": Metric("nims_archive_written_events_total", "counter", "Events written."),
    "waiting_events": Metric("nims_archive_waiting_events", "gauge", "Events that wait to be written."),
    "lost_events": Metric("nims_archive_lost_events_total", "counter", "Events that could not be written."),
    "removed_files": Metric("nims_storage_removed_files_total", "counter", "Recordings and clips that made room."),
    "removed_bytes": Metric("nims_storage_removed_bytes_total", "counter", "Room that they made."),
    "removed_rows": Metric("nims_storage_removed_rows_total", "counter", "Rows of the archive that had grown too old."),
    "clips": Metric("nims_storage_clips", "gauge", "Clips of events that are kept."),
    "watched": Metric("nims_alarms", "gauge", "Alarms that are watched."),
    "raised": Metric("nims_alarms_raised", "gauge", "Alarms that are raised."),
    "unacknowledged": Metric("nims_alarms_unacknowledged", "gauge", "Raised alarms that nobody has acknowledged."),
    "silent": Metric("nims_alarms_silent", "gauge", "Alarms whose sonar brings nothing."),
    "clients": Metric("nims_clients", "gauge", "Programs that are connected."),
    "dropped_messages": Metric(
        "nims_client_dropped_messages_total", "counter", "Messages that a program did not take."
    ),
    "refused_clients": Metric("nims_refused_clients_total", "counter", "Programs that were turned away."),
    "stalled_clients": Metric("nims_stalled_clients_total", "counter", "Programs that were disconnected: too slow."),
    # triggers and their actions
    "fired": Metric("nims_triggers_fired_total", "counter", "Times a trigger was set off.", label="trigger"),
    "sent": Metric("nims_actions_sent_total", "counter", "Actions that were carried out.", label="action"),
    "failed": Metric("nims_actions_failed_total", "counter", "Tries of an action that failed.", label="action"),
    "waiting": Metric("nims_actions_waiting", "gauge", "Messages that wait to be sent.", label="action"),
    "lost": Metric("nims_actions_lost_total", "counter", "Messages that were not sent any more.", label="action"),
    "given_up": Metric("nims_actions_given_up_total", "counter", "Kept messages that were given up."),
    # navigation
    "sentences": Metric("nims_navigation_sentences_total", "counter", "Sentences of the vessel's instruments."),
    "not_understood": Metric("nims_navigation_not_understood_total", "counter", "Sentences that say nothing we know."),
    # clock, disk, process
    "synchronised": Metric("nims_clock_synchronised", "gauge", "1 while a time server keeps the system clock."),
    "estimated_error_s": Metric("nims_clock_error_seconds", "gauge", "Largest error of the clock, says the kernel."),
    "system_steps": Metric("nims_clock_steps_total", "counter", "Times the system clock was set."),
    "sonar_steps": Metric(
        "nims_sonar_clock_steps_total", "counter", "Times the clock of a sonar jumped.", label="sonar"
    ),
    "free_bytes": Metric("nims_disk_free_bytes", "gauge", "Free on the disk with the data folder."),
    "total_bytes": Metric("nims_disk_size_bytes", "gauge", "Size of the disk with the data folder."),
    "filling_bytes_s": Metric(
        "nims_disk_filling_bytes_per_second", "gauge", "What the disk has lost over the last hour, a second."
    ),
    "left_s": Metric("nims_disk_left_seconds", "gauge", "Until the disk is full, at the present rate."),
    "resident_bytes": Metric("nims_resident_memory_bytes", "gauge", "Memory of the appliance."),
    "memory_total_bytes": Metric("nims_memory_size_bytes", "gauge", "Memory of the computer."),
    "memory_available_bytes": Metric("nims_memory_available_bytes", "gauge", "Memory that is not in use."),
    "processor_s": Metric("nims_processor_seconds_total", "counter", "Processor time that the appliance took."),
    "processors": Metric("nims_processors", "gauge", "Processors of the computer."),
    "load_1min": Metric("nims_load_average", "gauge", "Tasks that want a processor, over a minute."),
    "threads": Metric("nims_threads", "gauge", "Threads of the appliance."),
    "open_files": Metric("nims_open_files", "gauge", "Open files and sockets of the appliance."),
}
SILENT = frozenset({"dropped", "processor_share", "sonar_offset_s"})
"""Counters that others tell already, in another form."""


@dataclass(slots=True)
class _Family:
    kind: str
    help: str
    samples: dict[tuple[tuple[str, str], ...], float] = field(default_factory=dict)


class _Families:
    """Metrics by name, in the order in which they came; each label set once."""

    def __init__(self) -> None:
        self._families: dict[str, _Family] = {}

    def add(self, name: str, kind: str, help: str, value: object, merge: Any = sum, /, **labels: str) -> None:
        """Add a sample; those of the same labels are merged into one."""
        if isinstance(value, bool):
            value = int(value)
        if not isinstance(value, (int, float)):
            return
        samples = self._families.setdefault(name, _Family(kind, help)).samples
        key = tuple(sorted(labels.items()))
        samples[key] = merge((samples[key], value)) if key in samples else value

    def lines(self) -> Iterator[str]:
        for name, family in self._families.items():
            yield f"# HELP {name} {_escape(family.help)}"
            yield f"# TYPE {name} {family.kind}"
            for labels, value in family.samples.items():
                told = ",".join(f'{label}="{_escape(text, quotes=True)}"' for label, text in labels)
                yield f"{name}{{{told}}} {_number(value)}" if told else f"{name} {_number(value)}"


def exposition(health: dict[str, Any]) -> str:
    """Return what `web.health.describe_health` returned, in the text exposition format."""
    families = _Families()
    versions = health["versions"]
    families.add("nims_build_info", "gauge", "Versions.", 1, version=health["version"], python=versions["python"])
    families.add("nims_healthy", "gauge", "1 while no part has failed and the configuration is right.", health["ok"])
    families.add("nims_start_time_seconds", "gauge", "When the appliance started, since 1970.", health["started_utc_s"])
    families.add("nims_viewers", "gauge", "Browsers that look at the live page.", health["viewers"])
    families.add("nims_configuration_errors", "gauge", "Errors in the configuration.", len(health["errors"]))
    for level, number in health["log_counts"].items():
        families.add("nims_log_records_total", "counter", "Records of the log.", number, level=level.lower())
    for plugin in health["plugins"]:
        failed = int(bool(plugin["error"]))
        families.add("nims_plugin_failed", "gauge", "1 if a plugin has errors.", failed, max, plugin=plugin["name"])
    for bus in health["buses"]:
        _add_bus(families, bus)
    sonars = [sonar["name"] for sonar in health["sonars"]]
    for part in health["parts"]:
        _add_part(families, part, sonars)
    return "\n".join(families.lines()) + "\n"


def _add_bus(families: _Families, bus: dict[str, Any]) -> None:
    name = bus["name"]
    families.add("nims_bus_published_total", "counter", "Items published on a bus.", bus["published"], bus=name)
    families.add("nims_bus_dropped_total", "counter", "Items that subscribers of a bus lost.", bus["dropped"], bus=name)
    families.add("nims_bus_subscribers", "gauge", "Subscribers of a bus.", len(bus["subscribers"]), bus=name)
    for subscriber in bus["subscribers"]:
        # Pages and clients come and go, each with a number or an address: one name for all of a kind.
        labels = {"bus": name, "subscriber": subscriber["name"].split(" ")[0]}
        queued, lag_s = subscriber["queued"], subscriber["lag_s"]
        if " " not in subscriber["name"]:  # a sum over some that come and go would fall, as no counter may
            delivered, dropped = subscriber["delivered"], subscriber["dropped"]
            families.add("nims_subscriber_delivered_total", "counter", "Items that it took.", delivered, **labels)
            families.add(
                "nims_subscriber_dropped_total", "counter", "Items that it was too slow for.", dropped, **labels
            )
        families.add("nims_subscriber_queue", "gauge", "Items that wait for a subscriber.", queued, **labels)
        families.add(
            "nims_subscriber_lag_seconds", "gauge", "How long the oldest of them has waited.", lag_s, max, **labels
        )


def _add_part(families: _Families, part: dict[str, Any], sonars: Iterable[str]) -> None:
    labels = {"part": part["name"]}
    for sonar in sonars:
        if part["name"].endswith(f" {sonar}"):
            labels = {"part": part["name"].removesuffix(f" {sonar}"), "sonar": sonar}
    for state in STATES:
        families.add(
            "nims_part_state",
            "gauge",
            "1 for the state that a part is in.",
            part["state"] == state,
            state=state,
            **labels,
        )
    families.add("nims_part_restarts_total", "counter", "Times a part was started again.", part["restarts"], **labels)
    families.add(
        "nims_part_last_error_time_seconds",
        "gauge",
        "When a part last told an error, since 1970.",
        part["last_error_utc_s"],
        **labels,
    )
    for key, value in part["statistics"].items():
        if key in SILENT:
            continue
        metric = PART_METRICS.get(key)
        if metric is None:
            families.add(
                "nims_part_value", "gauge", "Other figures of a part, by their names there.", value, name=key, **labels
            )
        elif metric.label and isinstance(value, dict):
            for item, number in value.items():
                told = labels | {metric.label: str(item)}
                families.add(metric.name, metric.kind, metric.help, number, **told)
        elif isinstance(value, (int, float)):
            families.add(metric.name, metric.kind, metric.help, value * metric.scale, **labels)


def _escape(text: str, quotes: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)
