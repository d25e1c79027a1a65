"""The batch command's work: recordings in, tracks, detections and metrics out, and a clear word on bad files."""

from __future__ import annotations

import csv
import json
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from nims_m3.wire import encode_packet

from nims_appliance.cli.process import describe
from nims_appliance.config.store import ConfigStore
from nims_appliance.decoder import Decoded, DecoderStatistics, Driver
from nims_appliance.errors import ConfigError
from nims_appliance.plugin_host.host import PluginHost
from nims_appliance.process import Summary, process_files
from nims_appliance.profile import Profile
from nims_appliance.settings import Settings, SonarSettings


@pytest.fixture(scope="module")
def plugins() -> PluginHost:
    return PluginHost.load(None)


def run(plugins: PluginHost, tmp_path: Path, files: list, profile: str = "kongsberg-m3", **options) -> Summary:
    line = {"sonars.file.link": "file:/x", "sonars.file.profile": profile}
    config = ConfigStore.load(tmp_path / "nims-data", plugins=plugins, command_line=line)
    assert not config.errors
    found = config.profile(profile)
    driver = options.pop("driver", None) or plugins.driver(found)
    return process_files(files, config.sonar("file"), found, driver, recognise=plugins.recognise, **options)


def m3_packet(number: int, swimmer_m: float = 0.0) -> bytes:
    rng = np.random.default_rng(number)
    samples = (rng.standard_normal((400, 64)) + 1j * rng.standard_normal((400, 64))).astype(np.complex64)
    if swimmer_m:
        row = round((swimmer_m - 1.0) / 0.015)
        samples[row - 1 : row + 2, 30:33] += 60.0
    return encode_packet(
        samples,
        bearing_rad=np.linspace(-0.5, 0.5, 64),
        time_s=1.7e9 + number / 10,
        ping_number=number,
        sound_speed_m_s=1500.0,
        first_range_m=1.0,
        sample_interval_s=2e-5,
        frequency_hz=500e3,
        pulse_length_s=20e-6,
        ping_rate_hz=10.0,
    )


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def swim(tmp_path_factory) -> list[Path]:
    """Two recordings, 15 s: after 10 s something strong swims away from the sonar, from the first into the second."""
    folder = tmp_path_factory.mktemp("swim")
    packets = [m3_packet(number, 2.0 + 0.03 * (number - 100) if number >= 100 else 0.0) for number in range(1, 151)]
    paths = [folder / "first.imb", folder / "second.imb"]
    paths[0].write_bytes(b"".join(packets[:125]))
    paths[1].write_bytes(b"".join(packets[125:]))
    return paths


def test_what_swims_is_tracked_from_one_file_into_the_next(plugins, tmp_path: Path, swim: list[Path]) -> None:
    progress: list[tuple[int, int]] = []
    summary = run(
        plugins,
        tmp_path,
        swim,
        tracks=tmp_path / "tracks.jsonl",
        detections=tmp_path / "detections.jsonl",
        metrics=tmp_path / "metrics.csv",
        progress=lambda done, total: progress.append((done, total)),
    )
    total = sum(path.stat().st_size for path in swim)
    assert (summary.files, summary.pings, summary.frames, summary.bytes) == (2, 150, 150, total)
    assert (summary.resyncs, summary.failures, summary.errors) == (0, 0, [])
    assert summary.seconds > 0

    messages = read_lines(tmp_path / "tracks.jsonl")
    assert [message["ping_num_sonar"] for message in messages] == list(range(1, 151))
    seen = {
        message["ping_num_sonar"]: track
        for message in messages
        for track in message["tracks"]
        if abs(track["last_pos_range"] - (2.0 + 0.03 * (message["ping_num_sonar"] - 100))) < 0.3
    }
    assert {120, 125, 126, 140} <= set(seen)
    assert seen[120]["id"] == seen[140]["id"], "a track goes on in the next file"
    assert summary.tracks >= 1

    detections = read_lines(tmp_path / "detections.jsonl")
    assert sum(message["num_detections"] for message in detections) == summary.detections > 30
    strongest = max(detections[119]["detections"], key=lambda found: found["peak"])
    assert strongest["range_m"] == pytest.approx(2.6, abs=0.05)
    assert strongest["bearing_deg"] == pytest.approx(np.degrees(-0.5 + 31 / 63), abs=1)

    with open(tmp_path / "metrics.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert {"start_iso", "sv_db", "center_of_mass_m", "inertia_m2"} <= set(table[0])
    assert table[0]["calibrated"] == "False"

    assert progress[-1] == (total, total)
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)


def test_ended_tracks_are_described_as_csv_and_as_json_lines(plugins, tmp_path: Path, swim: list[Path]) -> None:
    summary = run(plugins, tmp_path, swim, summaries=tmp_path / "ended.CSV", classifiers=plugins.classifiers.values())
    run(plugins, tmp_path, swim, summaries=tmp_path / "ended.jsonl", classifiers=plugins.classifiers.values())
    with open(tmp_path / "ended.CSV", newline="") as file:
        table = list(csv.DictReader(file))
    lines = read_lines(tmp_path / "ended.jsonl")
    assert len(table) == len(lines) == summary.tracks >= 1
    swimmer = max(lines, key=lambda track: track["net_m"])
    row = max(table, key=lambda track: float(track["net_m"]))
    assert swimmer["mean_speed_m_s"] == pytest.approx(0.3, abs=0.05)
    assert swimmer["max_range_m"] == pytest.approx(3.5, abs=0.1)
    assert swimmer["heading_deg"] == pytest.approx(0, abs=10)
    assert swimmer["sonar"] == "file"
    assert swimmer["label"] == row["label"] == "possible animal"
    assert float(row["net_m"]) == pytest.approx(swimmer["net_m"])
    assert row["zones"] == "[]"
    assert set(row) == set(swimmer) - {"positions"}
    first, last = swimmer["positions"][0], swimmer["positions"][-1]
    assert last["time_s"] == swimmer["last_time_s"]
    assert last["y_m"] - first["y_m"] == pytest.approx(swimmer["net_m"], rel=0.05)


def test_damage_costs_only_the_damaged_packet(plugins, tmp_path: Path) -> None:
    damaged = bytearray(m3_packet(2))
    damaged[52] ^= 0x40
    path = tmp_path / "damaged.imb"
    path.write_bytes(b"junk" + m3_packet(1) + bytes(damaged) + m3_packet(3) + m3_packet(4)[:5000])
    summary = run(plugins, tmp_path, [path], tracks=tmp_path / "tracks.jsonl")
    assert [message["ping_num_sonar"] for message in read_lines(tmp_path / "tracks.jsonl")] == [1, 3]
    assert summary.resyncs >= 2
    assert summary.errors == []


def test_bad_files_are_named_and_the_others_read(plugins, tmp_path: Path) -> None:
    good = tmp_path / "good.imb"
    good.write_bytes(m3_packet(1))
    empty = tmp_path / "empty.imb"
    empty.write_bytes(b"")
    noise = tmp_path / "noise.imb"
    noise.write_bytes(bytes(range(256)) * 100)
    summary = run(plugins, tmp_path, [tmp_path / "nowhere.imb", empty, noise, tmp_path, good])
    assert summary.pings == 1
    missing, nothing, strange, folder = summary.errors
    assert missing == f"{tmp_path}/nowhere.imb: No such file or directory"
    assert nothing == f"{empty}: the file is empty"
    assert strange.startswith(f"{noise}: no ping of Kongsberg M3")
    assert folder == f"{tmp_path}: Is a directory"


def test_the_wrong_profile_is_found_out(plugins, tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(m3_packet(1))
    (error,) = run(plugins, tmp_path, [path], "blueprint-oculus").errors
    assert "this looks like Kongsberg M3" in error
    assert error.endswith("check the profile")


class BreaksDown:
    """A driver with a defect: it cannot stand an X at the start of what it is shown."""

    def __init__(self, context) -> None:
        self.statistics = DecoderStatistics()

    def on_connect(self) -> bytes:
        return b""

    def decode(self, view: memoryview, arrival) -> Decoded:
        if view[:1] == b"X":
            raise ZeroDivisionError("its own mistake")
        self.statistics.skipped_bytes += len(view)
        return Decoded(len(view))

    def finish(self, arrival) -> list:
        return []


class NoSettings(Settings, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """None."""


def test_a_driver_that_breaks_down_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(b"X" + bytes(3 * 2**20))
    driver = Driver("broken", "Broken", NoSettings, BreaksDown)
    settings = SonarSettings(profile="broken", link=f"file:{path}")
    summary = process_files([path], settings, Profile(name="broken", title="", driver="broken"), driver)
    assert summary.errors[0] == (
        f"{path}: the driver broke down (ZeroDivisionError: its own mistake); some of the file is left out"
    )
    assert summary.skipped_bytes == 2 * 2**20 + 1, "a new decoder goes on behind what was read"


class Greedy(BreaksDown):
    """Wants more than any packet can be."""

    def decode(self, view: memoryview, arrival) -> Decoded:
        return Decoded(need=2**31)


def test_a_driver_that_wants_the_impossible_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(b"abc")
    settings = SonarSettings(profile="greedy", link=f"file:{path}")
    profile = Profile(name="greedy", title="", driver="greedy")
    summary = process_files([path], settings, profile, Driver("greedy", "Greedy", NoSettings, Greedy))
    assert summary.errors[0].startswith(f"{path}: the decoder needs 2147483648 bytes at once, the profile allows")


def test_a_driver_of_datagrams_reads_no_files(plugins, tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(b"abc")
    driver = Driver("udp", "Only datagrams", NoSettings, None, BreaksDown)
    settings = SonarSettings(profile="udp", link=f"file:{path}")
    with pytest.raises(ConfigError, match="Only datagrams comes in datagrams"):
        process_files([path], settings, Profile(name="udp", title="", driver="udp"), driver)


def test_one_output_never_overwrites_another(plugins, tmp_path: Path) -> None:
    (tmp_path / "a.imb").write_bytes(m3_packet(1))
    with pytest.raises(ConfigError, match="given for two kinds of results"):
        run(plugins, tmp_path, [tmp_path / "a.imb"], tracks=tmp_path / "out", detections=f"{tmp_path}/./out")
    assert not (tmp_path / "out").exists()


def test_a_reader_that_has_gone_ends_it(plugins, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "a.imb").write_bytes(m3_packet(1))
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", buffering=1) as gone:
        monkeypatch.setattr("sys.stdout", gone)
        with pytest.raises(BrokenPipeError):
            run(plugins, tmp_path, [tmp_path / "a.imb"] * 3, tracks="-")
        with suppress(BrokenPipeError):
            gone.close()


def test_an_output_never_overwrites_a_recording(plugins, tmp_path: Path) -> None:
    path = tmp_path / "a.imb"
    path.write_bytes(m3_packet(1))
    with pytest.raises(ConfigError, match="is one of the recordings"):
        run(plugins, tmp_path, [path], tracks=path)
    assert path.read_bytes() == m3_packet(1)


def test_an_output_that_cannot_be_written_is_named(plugins, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"cannot write {tmp_path}/nowhere/tracks.jsonl: No such file"):
        run(plugins, tmp_path, [], tracks=tmp_path / "nowhere" / "tracks.jsonl")


def test_a_full_disk_ends_the_run_with_a_sentence(plugins, tmp_path: Path) -> None:
    path = tmp_path / "a.imb"
    path.write_bytes(b"".join(map(m3_packet, range(1, 60))))
    with pytest.raises(ConfigError, match="cannot write the results: No space left on device"):
        run(plugins, tmp_path, [path], tracks="/dev/full")


def test_tracks_can_go_to_standard_output(plugins, tmp_path: Path, capsys) -> None:
    path = tmp_path / "a.imb"
    path.write_bytes(m3_packet(1) + m3_packet(2))
    run(plugins, tmp_path, [path], tracks="-")
    assert [json.loads(line)["ping_num_sonar"] for line in capsys.readouterr().out.splitlines()] == [1, 2]


def test_the_fish_pen_is_read_to_its_end(plugins, tmp_path: Path, recordings: Path) -> None:
    path = recordings / "ek60" / "RedSlip-D20160915-T120914.raw"
    summary = run(plugins, tmp_path, [path], "simrad-ek60", tracks=tmp_path / "tracks.jsonl")
    assert (summary.pings, summary.resyncs, summary.skipped_bytes, summary.errors) == (1205, 0, 0, [])
    assert len(read_lines(tmp_path / "tracks.jsonl")) == 1205
    assert summary.tracks > 0


def test_every_channel_is_read_but_one_detected_on(plugins, tmp_path: Path, recordings: Path) -> None:
    path = recordings / "ek60" / "DY1801_EK60-D20180211-T164025.raw"
    summary = run(plugins, tmp_path, [path], "simrad-ek60", metrics=tmp_path / "metrics.csv")
    assert (summary.frames, summary.pings) == (42 * 5, 42)
    with open(tmp_path / "metrics.csv", newline="") as file:
        assert len({row["channel"] for row in csv.DictReader(file)}) == 5


def test_what_happened_to_the_detector_is_told_once_for_each_kind(plugins, tmp_path: Path) -> None:
    def packet(number: int, time_s: float) -> bytes:
        return encode_packet(
            np.random.default_rng(number).standard_normal((400, 64)).astype(np.complex64),
            bearing_rad=np.linspace(-0.5, 0.5, 64),
            time_s=time_s,
            ping_number=number,
            sound_speed_m_s=1500.0,
            first_range_m=1.0,
            sample_interval_s=2e-5,
            frequency_hz=500e3,
            pulse_length_s=20e-6,
            ping_rate_hz=10.0,
        )

    # the clock is set back by a minute, twice
    times = [1.7e9 + number / 10 - 60 * (number >= 20) - 60 * (number >= 40) for number in range(60)]
    (tmp_path / "steps.imb").write_bytes(b"".join(packet(number, time_s) for number, time_s in enumerate(times)))
    summary = run(plugins, tmp_path, [tmp_path / "steps.imb"])
    steps = summary.notes["clock stepped back"]
    assert (steps.pings, steps.first_ping, steps.last_ping, steps.file) == (2, 20, 40, "steps.imb")
    expected = "note: clock stepped back at ping 20 of steps.imb, 2023-11-14T22:12:22.000Z; 2 pings, the last 40"
    assert expected in describe(summary)
