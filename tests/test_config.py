"""Settings: layers, places, errors with file, line and key, and changes that take effect or change nothing."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from nims_appliance.bus import all_within
from nims_appliance.config import file as config_file
from nims_appliance.config.build import REMOVED, build
from nims_appliance.config.schema import restart_of
from nims_appliance.config.store import ConfigStore, one_sonar
from nims_appliance.config.yaml import leaves, read_document
from nims_appliance.decoder import Driver, Simulator
from nims_appliance.errors import ConfigError
from nims_appliance.plugin_host.host import PluginHost
from nims_appliance.profile import load_profile
from nims_appliance.settings import ApplianceSettings, TrackerSettings, ZoneSettings, split_unit
from nims_appliance.sonar import RESTART_SETTINGS


class DriverSettings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    gain_db: float = 0.0
    mode: str = "low"

    def __post_init__(self) -> None:
        if self.mode == "low" and self.gain_db > 50:
            raise ValueError("gain_db: at most 50 in low mode")


def never(*arguments):
    """A maker that no test of settings calls."""
    raise AssertionError


@pytest.fixture(scope="module")
def plugins() -> PluginHost:
    """Plugins with two made-up sonars: one speaks in a stream, one in datagrams."""
    host = PluginHost()
    stream = Driver(name="s", title="S", settings_type=DriverSettings, stream=never)
    datagram = Driver(name="d", title="D", settings_type=DriverSettings, datagram=never)
    host.drivers.update(s=stream, d=datagram)
    host.simulators["stream-sonar"] = Simulator("stream-sonar", "S", "tcp", 1, make=never)
    for text in (
        "name: stream-sonar\ntitle: S\ndriver: s\ndefault_link: tcp://10.0.0.5:1\nsettings: {gain_db: 20}\n"
        "sonar:\n  detector: {background_s: 12}\n  mounting: {inverted: true}\n",
        "name: datagram-sonar\ntitle: D\ndriver: d\n",
    ):
        profile = load_profile(text, "test")
        host.profiles[profile.name] = profile
    return host


def load(
    data: Path, plugins: PluginHost, config: str | bytes | None = None, overrides: str | None = None, **more
) -> ConfigStore:
    if config is not None:
        (data / "config.yaml").write_bytes(config if isinstance(config, bytes) else config.encode())
    if overrides is not None:
        (data / "overrides.yaml").write_text(overrides)
    return ConfigStore.load(data, plugins=plugins, **more)


PEN = "sonars:\n  pen:\n    profile: stream-sonar\n    link: tcp://10.0.0.9:20001\n"


def test_three_lines_configure_a_sonar(tmp_path, plugins):
    store = load(tmp_path, plugins, PEN)
    assert (store.errors, store.warnings) == ([], [])
    pen = store.sonar("pen")
    assert (pen.link, pen.detector.background_s, pen.mounting.inverted) == ("tcp://10.0.0.9:20001", 12.0, True)
    assert store.current.sonars["pen"] == pen
    assert store.profile(pen.profile).driver == "s"


def test_default_link_of_the_profile_counts_where_none_is_given(tmp_path, plugins):
    store = load(tmp_path, plugins, "sonars: {pen: {profile: stream-sonar}}")
    assert store.sonar("pen").link == "tcp://10.0.0.5:1"
    assert store.origin("sonars.pen.link") == "profile stream-sonar"


@pytest.mark.parametrize("config", [None, "", "# nothing\n", "sonars:\n", "web:\ntracks:\nsonars:\n", "sonars: {}\n"])
def test_no_or_empty_file_gives_the_defaults(tmp_path, plugins, config):
    store = load(tmp_path, plugins, config)
    assert (store.errors, store.current) == ([], ApplianceSettings())


def test_data_folder_need_not_exist(tmp_path, plugins):
    assert load(tmp_path / "not there", plugins).errors == []


def test_every_layer_lies_over_the_one_before_and_says_so(tmp_path, plugins):
    config = PEN + "    detector:\n      min_range_m: 1\n      max_range_m: 50\n      false_alarms_per_ping: 1\n"
    store = load(
        tmp_path,
        plugins,
        config,
        "# header\nsonars:\n  pen:\n    detector:\n      max_range_m: 60\n      false_alarms_per_ping: 2\n",
        environ={"NIMS_SONARS__PEN__DETECTOR__FALSE_ALARMS_PER_PING": "3", "NIMS_WEB__PORT": "81", "HOME": "/"},
        command_line={"web.port": 82},
    )
    assert store.errors == []
    detector = store.sonar("pen").detector
    assert (detector.background_s, detector.min_range_m, detector.max_range_m) == (12, 1, 60)
    assert (detector.false_alarms_per_ping, store.current.web.port) == (3, 82)
    origins = {
        "sonars.pen.detector.max_detections": "default",
        "sonars.pen.detector.background_s": "profile stream-sonar",
        "sonars.pen.driver.gain_db": "profile stream-sonar",
        "sonars.pen.link": "config.yaml:4",
        "sonars.pen.detector.min_range_m": "config.yaml:6",
        "sonars.pen.detector.max_range_m": "overrides.yaml:5",
        "sonars.pen.detector.false_alarms_per_ping": "environment NIMS_SONARS__PEN__DETECTOR__FALSE_ALARMS_PER_PING",
        "web.port": "command line",
        "web.host": "default",
    }
    assert {key: store.origin(key) for key in origins} == origins


def test_environment_finds_sonars_whatever_their_case_and_ignores_what_is_not_a_setting(tmp_path, plugins):
    store = load(
        tmp_path,
        plugins,
        PEN.replace("pen", "NorthPen"),
        environ={
            "NIMS_SONARS__NORTHPEN__ENABLED": "false",
            "NIMS_DATA": "/data",
            "NIMS_WEB__PORT": "",
            "NIMS_WEB_PORT": "81",
        },
    )
    assert store.errors == []
    assert store.sonar("NorthPen").enabled is False
    assert store.current.web.port == 8080
    assert store.warnings == [
        "environment NIMS_WEB_PORT: ignored; write two underscores between levels: NIMS_WEB__PORT"
    ]


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ("web:\n  prot: 1\n", "config.yaml:2: web.prot: unknown key (did you mean 'port'?)"),
        ("webb:\n  port: 1\n", "config.yaml:1: webb: unknown key (did you mean 'web'?)"),
        ("web:\n  port: 70000\n", "config.yaml:2: web.port: expected a whole number <= 65535, got 70000"),
        ("web:\n  port: eighty\n", "config.yaml:2: web.port: expected a whole number, got 'eighty'"),
        ("web: 8080\n", "config.yaml:1: web: expected keys and values, got 8080"),
        ("sonars: [pen]\n", "config.yaml:1: sonars: expected keys and values, got ['pen']"),
        ("sonars:\n  pen: tcp://x:1\n", "config.yaml:2: sonars.pen: expected keys and values, got 'tcp://x:1'"),
        ("sonars:\n  pen:\n    link: tcp://x:1\n", "config.yaml:2: sonars.pen.profile: missing"),
        ("sonars:\n  pen:\n    profile: datagram-sonar\n", "config.yaml:2: sonars.pen.link: missing"),
        (
            "sonars:\n  pen:\n    profile: steam-sonar\n    link: tcp://x:1\n",
            "config.yaml:3: sonars.pen.profile: no firmware profile 'steam-sonar' (did you mean 'stream-sonar'",
        ),
        (
            PEN.replace("tcp://10", "tpc://10"),
            "config.yaml:4: sonars.pen.link: 'tpc://10.0.0.9:20001': expected tcp://",
        ),
        (
            PEN.replace("tcp://10.0.0.9", "udp://"),
            "config.yaml:4: sonars.pen.link: the s driver reads no datagrams: use",
        ),
        (
            "sonars:\n  pen:\n    profile: datagram-sonar\n    link: tcp://x:1\n",
            "config.yaml:4: sonars.pen.link: the d driver reads only datagrams: use udp://",
        ),
        (
            PEN.replace("tcp://10.0.0.9:20001", "simulator:m4"),
            "config.yaml:4: sonars.pen.link: no plugin simulates 'm4'",
        ),
        (PEN.replace("pen", "north pen"), "config.yaml:2: sonars.north pen: expected a name of letters"),
        (PEN.replace("pen", "a.b"), "config.yaml:2: sonars.a.b: expected a name of letters"),
        (
            PEN + "    mounting:\n      bearing_sign: 0\n",
            "config.yaml:6: sonars.pen.mounting.bearing_sign: expected -1 or 1, got 0",
        ),
        (
            PEN + "    detector:\n      method: magic\n",
            "config.yaml:6: sonars.pen.detector.method: expected adaptive or legacy, got 'magic'",
        ),
        (
            PEN + "    mounting:\n      inverted: yes\n",
            "config.yaml:6: sonars.pen.mounting.inverted: expected true or false, got 'yes'",
        ),
        (
            PEN + "    driver:\n      gian_db: 3\n",
            "config.yaml:6: sonars.pen.driver.gian_db: unknown key (did you mean 'gain_db'?)",
        ),
        (
            PEN + "    driver:\n      gain_db: loud\n",
            "config.yaml:6: sonars.pen.driver.gain_db: expected a number, got 'loud'",
        ),
        (PEN + "    driver:\n      gain_db: 60\n", "config.yaml:5: sonars.pen.driver: gain_db: at most 50 in low mode"),
        (
            PEN + "    detector:\n      min_range_m: 9\n      max_range_m: 8\n",
            "config.yaml:5: sonars.pen.detector: min_range_m must be below max_range_m, got 9.0 and 8.0",
        ),
        ("tracks:\n  port: 8080\n", "config.yaml:2: tracks.port: expected another than web.port, got 8080 for both"),
        ("web:\n  port: 1\n  port: 2\n", "config.yaml:3: web.port: given twice, first in line 2"),
        (b"web:\n  host: \xe9\n", "config.yaml:2: expected UTF-8 text"),
    ],
)
def test_broken_file_is_safe_mode_with_file_line_and_key(tmp_path, plugins, config, error):
    store = load(tmp_path, plugins, config)
    assert len(store.errors) == 1
    assert store.errors[0].startswith(error)
    assert store.current.sonars == {}


def test_all_errors_are_named_and_good_values_beside_them_count(tmp_path, plugins):
    store = load(
        tmp_path, plugins, PEN + "    channle: x\nweb:\n  port: -1\n  picture_rate_hz: 5\ntracks: {port: 9001}\n"
    )
    assert [error.partition(": ")[0] for error in store.errors] == ["config.yaml:5", "config.yaml:7"]
    assert (store.current.web.port, store.current.web.picture_rate_hz, store.current.tracks.port) == (8080, 5, 9001)
    assert store.current.sonars == {}


def test_unreadable_file_is_safe_mode(tmp_path, plugins):
    (tmp_path / "config.yaml").mkdir()
    assert load(tmp_path, plugins).errors == ["config.yaml: cannot be read: Is a directory"]


def test_a_pipe_in_place_of_the_file_is_safe_mode(tmp_path, plugins):
    os.mkfifo(tmp_path / "config.yaml")
    assert load(tmp_path, plugins).errors == ["config.yaml: expected a file, got a pipe"]


def test_errors_of_environment_and_command_line_name_them(tmp_path, plugins):
    store = load(tmp_path, plugins, environ={"NIMS_WEB__PROT": "1"}, command_line={"tracks.port": "x"})
    assert sorted(store.errors) == [
        "command line: tracks.port: expected a whole number, got 'x'",
        "environment NIMS_WEB__PROT: web.prot: unknown key (did you mean 'port'?)",
    ]


async def test_broken_overrides_are_ignored_and_set_aside_by_the_next_change(tmp_path, plugins):
    store = load(tmp_path, plugins, PEN, "sonars: [")
    assert store.errors == []
    assert "pen" in store.current.sonars
    assert store.warnings[0].startswith("overrides.yaml:1: ")
    assert (tmp_path / "overrides.yaml").read_text() == "sonars: ["
    await store.change({"web.picture_rate_hz": 4}, "x")
    (kept,) = tmp_path.glob("overrides.yaml.broken-*")
    assert kept.read_text() == "sonars: ["
    assert load(tmp_path, plugins).current.web.picture_rate_hz == 4


def test_override_that_no_longer_fits_is_ignored_alone(tmp_path, plugins):
    overrides = "sonars:\n  old:\n    detector: {min_range_m: 1}\n  pen:\n    tracker: {max_gap_s: 2, max_gpa_s: 3}\n"
    store = load(tmp_path, plugins, PEN, overrides)
    assert store.errors == []
    assert store.sonar("pen").tracker.max_gap_s == 2
    assert len(store.warnings) == 2
    assert "overrides.yaml:2: sonars.old.profile: missing; ignored, though" in "\n".join(store.warnings)
    assert "overrides.yaml:5: sonars.pen.tracker.max_gpa_s: unknown key" in "\n".join(store.warnings)
    assert (tmp_path / "overrides.yaml").read_text() == overrides


async def test_change_takes_effect_is_saved_and_published(tmp_path, plugins):
    store = load(tmp_path, plugins, PEN)
    with store.changes.subscribe("test", all_within(10)) as changes:
        change = await store.change({"sonars.pen.detector.min_range_m": 2.5, "web.picture_rate_hz": 4}, "page 1")
        assert await changes.receive() is change
    assert (change.author, change.changes["web.picture_rate_hz"]) == ("page 1", 4)
    assert change.before.sonars["pen"].detector.min_range_m == 0
    assert change.after is store.current
    assert store.sonar("pen").detector.min_range_m == 2.5
    document = read_document((tmp_path / "overrides.yaml").read_bytes(), "x")
    assert document.values == {"sonars": {"pen": {"detector": {"min_range_m": 2.5}}}, "web": {"picture_rate_hz": 4}}
    line = document.lines["sonars", "pen", "detector", "min_range_m"]
    assert store.origin("sonars.pen.detector.min_range_m") == f"overrides.yaml:{line}"
    again = load(tmp_path, plugins)
    assert again.current == store.current
    assert (tmp_path / "config.yaml").read_text() == PEN


async def test_only_differences_are_kept(tmp_path, plugins):
    store = load(tmp_path, plugins, PEN + "    detector: {min_range_m: 1}\n")
    await store.change({"sonars.pen.detector.min_range_m": 2, "sonars.pen.tracker.max_gap_s": 33}, "x")
    await store.change(
        {"sonars.pen.detector.min_range_m": 1, "sonars.pen.tracker.max_gap_s": TrackerSettings().max_gap_s}, "x"
    )
    assert read_document((tmp_path / "overrides.yaml").read_bytes(), "x").values == {}
    assert store.origin("sonars.pen.detector.min_range_m") == "config.yaml:5"
    assert store.origin("sonars.pen.tracker.max_gap_s") == "default"


async def test_none_takes_a_change_back(tmp_path, plugins):
    store = load(tmp_path, plugins, PEN)
    await store.change({"sonars.pen.detector.background_s": 40, "web.picture_rate_hz": 4}, "x")
    await store.change({"sonars.pen.detector.background_s": None}, "x")
    assert store.sonar("pen").detector.background_s == 12
    assert store.origin("sonars.pen.detector.background_s") == "profile stream-sonar"
    assert store.current.web.picture_rate_hz == 4


async def test_sonar_is_added_and_taken_away(tmp_path, plugins):
    store = load(tmp_path, plugins)
    await store.change({"sonars.new": {"profile": "stream-sonar", "link": "tcp://x:1"}}, "x")
    assert store.sonar("new").link == "tcp://x:1"
    await store.change({"sonars.new": None}, "x")
    assert store.current.sonars == {}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (
            {"sonars.pen.detector.min_range": 1},
            "sonars.pen.detector.min_range: unknown key (did you mean 'min_range_m'",
        ),
        ({"sonars.pen.detector.min_range_m": "far"}, "sonars.pen.detector.min_range_m: expected a number, got 'far'"),
        (
            {"sonars.pen.detector.min_range_m": float("nan")},
            "sonars.pen.detector.min_range_m: expected a finite number",
        ),
        ({"sonars.pen.tracker.max_speed_m_s": 1e300}, "sonars.pen.tracker.max_speed_m_s: expected a number <= 1000"),
        ({"sonars.pen.driver.gain_db": 99}, "sonars.pen.driver: gain_db: at most 50"),
        ({"sonars.hen.detector.min_range_m": 1}, "sonars.hen.profile: missing"),
        (
            {"web.picture_rate_hz": 3, "tracks.max_clients": 0},
            "tracks.max_clients: expected a whole number >= 1, got 0",
        ),
        ({"web.port": 8088}, "web.port: takes effect at the start only: set it in config.yaml and restart"),
        ({"tracks.port": 1}, "tracks.port: held by the command line"),
        ({"tracks": {"port": 1}}, "tracks: "),
        ({"tracks.host": "0.0.0.0"}, "tracks.host: held by the environment NIMS_TRACKS__HOST"),
        ({"": 1}, "expected a key like"),
        ({"web..x": 1}, "expected a key like"),
        ({"web": 3}, "web: expected keys and values, got 3"),
        ({"sonars.pen.channel": object()}, "sonars.pen.channel: "),
    ],
)
async def test_refused_change_names_the_key_and_changes_nothing(tmp_path, plugins, changes, error):
    store = load(tmp_path, plugins, PEN, environ={"NIMS_TRACKS__HOST": "127.0.0.1"}, command_line={"tracks.port": 9001})
    before = store.current
    with store.changes.subscribe("test", all_within(10)), pytest.raises(ConfigError) as raised:
        await store.change(changes, "x")
    assert error in str(raised.value)
    assert store.current is before
    assert store.changes.statistics().published == 0
    assert not (tmp_path / "overrides.yaml").exists()


async def test_change_in_safe_mode_is_refused_with_the_errors(tmp_path, plugins):
    store = load(tmp_path, plugins, "web: {prot: 1}")
    with pytest.raises(ConfigError, match=r"config.yaml:1: web.prot: unknown key"):
        await store.change({"web.picture_rate_hz": 4}, "x")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("call", ["fsync", "replace"])
async def test_disk_that_cannot_be_written_changes_nothing(tmp_path, plugins, monkeypatch, call, number):
    store = load(tmp_path, plugins, PEN)
    await store.change({"web.picture_rate_hz": 4}, "x")
    saved, before = (tmp_path / "overrides.yaml").read_text(), store.current

    def fail(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(config_file.os, call, fail)
    with pytest.raises(
        ConfigError, match=rf"overrides.yaml: cannot be written: {os.strerror(number)} \(nothing was changed\)"
    ):
        await store.change({"web.picture_rate_hz": 5}, "x")
    monkeypatch.undo()
    assert (tmp_path / "overrides.yaml").read_text() == saved
    assert store.current is before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")], "no temporary file is left"
    await store.change({"web.picture_rate_hz": 6}, "x")
    assert load(tmp_path, plugins).current.web.picture_rate_hz == 6


async def test_changes_at_once_wait_for_each_other_and_none_is_lost(tmp_path, plugins):
    store = load(tmp_path, plugins, PEN)
    keys = ["sonars.pen.tracker.max_gap_s", "sonars.pen.detector.min_range_m", "web.picture_rate_hz"]
    async with trio.open_nursery() as nursery:
        for round_number in range(1, 6):
            for key in keys:
                nursery.start_soon(store.change, {key: round_number + 0.5}, key)
    assert load(tmp_path, plugins).current == store.current
    assert all(store.origin(key).startswith("overrides.yaml:") for key in keys)


async def test_file_on_disk_is_whole_at_every_moment(tmp_path, plugins, monkeypatch):
    store = load(tmp_path, plugins, PEN)
    await store.change({"web.picture_rate_hz": 4}, "x")
    seen = []
    replace = os.replace

    def watch(source, target):
        if Path(target).name == "overrides.yaml":
            seen.append((read_document(Path(source).read_bytes(), "x").errors, Path(target).read_text()))
        replace(source, target)

    monkeypatch.setattr(config_file.os, "replace", watch)
    old = (tmp_path / "overrides.yaml").read_text()
    await store.change({"web.picture_rate_hz": 5}, "x")
    assert seen == [([], old)]


def test_schema_describes_every_setting_for_forms(tmp_path, plugins):
    schema = load(tmp_path, plugins).schema()
    detector = schema["$defs"]["DetectorSettings"]["properties"]
    assert detector["min_range_m"]["title"] == "Min range"
    assert detector["min_range_m"]["unit"] == "m"
    assert (detector["min_range_m"]["minimum"], detector["min_range_m"]["default"]) == (0, 0.0)
    assert schema["$defs"]["WebSettings"]["properties"]["port"]["restart"] == "appliance"
    assert schema["$defs"]["driver s"]["properties"]["gain_db"]["unit"] == "dB"
    missing = [
        f"{name}.{key}"
        for name, definition in schema["$defs"].items()
        for key, entry in definition.get("properties", {}).items()
        if "title" not in entry
    ]
    assert missing == []


def test_every_setting_says_what_it_is():
    schema = msgspec.json.schema(ApplianceSettings)
    silent = [
        f"{name}.{key}"
        for name, definition in schema["$defs"].items()
        for key, entry in definition["properties"].items()
        if not entry.get("description") and "$ref" not in entry
    ]
    assert silent == []


def test_settings_that_restart_a_sonar_are_those_that_the_sonar_restarts_for():
    marked = {
        key
        for key in ("profile", "link", "enabled", "channel", "mounting", "detector", "driver", "tracker")
        if restart_of(("sonars", "pen", key)) == "sonar"
    }
    assert marked == set(RESTART_SETTINGS)


@pytest.mark.parametrize(
    ("name", "stem", "unit"),
    [
        ("min_range_m", "min_range", "m"),
        ("max_speed_m_s", "max_speed", "m/s"),
        ("method", "method", ""),
        ("rate_hz", "rate", "Hz"),
    ],
)
def test_units_come_from_the_names(name, stem, unit):
    assert split_unit(name) == (stem, unit)


@pytest.mark.parametrize(
    ("zone", "error"),
    [
        ("{min_range_m: 2}", "sonars.pen.zones.rocks.kind: missing"),
        ("{kind: hidden}", "sonars.pen.zones.rocks.kind: expected watched or ignored, got 'hidden'"),
        (
            "{kind: ignored, max_range: 2}",
            "sonars.pen.zones.rocks.max_range: unknown key (did you mean 'max_range_m' or ",
        ),
        (
            "{kind: ignored, min_range_m: 5, max_range_m: 5}",
            "sonars.pen.zones.rocks: min_range_m must be below max_range_m",
        ),
        ("{kind: ignored, min_bearing_deg: 30, max_bearing_deg: -30}", "rocks: min_bearing_deg must be below"),
        ("{kind: ignored, max_bearing_deg: 200}", "sonars.pen.zones.rocks.max_bearing_deg: expected a number <= 180"),
        ("3", "sonars.pen.zones.rocks: expected keys and values, got 3"),
    ],
)
def test_mistakes_in_zones_are_named_by_key(tmp_path, plugins, zone, error):
    store = load(tmp_path, plugins, f"{PEN}    zones:\n      gate: {{kind: watched}}\n      rocks: {zone}\n")
    assert len(store.errors) == 1
    assert store.errors[0].startswith("config.yaml:")
    assert error in store.errors[0]


def test_zones_have_names_that_keys_can_have(tmp_path, plugins):
    store = load(tmp_path, plugins, f"{PEN}    zones:\n      the.gate: {{kind: watched}}\n")
    assert store.errors == [
        "config.yaml:6: sonars.pen.zones.the.gate: expected a name of letters, digits, - and _, at most 32"
    ]


async def test_zone_is_added_changed_and_taken_away(tmp_path, plugins):
    store = load(tmp_path, plugins, PEN)
    await store.change({"sonars.pen.zones.gate.kind": "watched"}, "test")
    await store.change({"sonars.pen.zones.gate.max_range_m": 9.5}, "test")
    gate = store.sonar("pen").zones["gate"]
    assert (gate.kind, gate.max_range_m, gate.max_bearing_deg) == ("watched", 9.5, 180.0)
    assert store.origin("sonars.pen.zones.gate.kind").startswith("overrides.yaml:")
    await store.change({"sonars.pen.zones.gate": None}, "test")
    assert store.sonar("pen").zones == {}


NAMED = """\
    zones: {gate: {kind: watched, max_range_m: 9}, kelp: {kind: ignored}}
    metrics: {alarms: {dense: {metric: sv_db, value: -60}}}
triggers:
  camera: {"on": zone_entered, zone: gate, actions: [clip]}
"""


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("sonars.pen.zones.gate", "config.yaml:5"),
        ("sonars.pen.metrics.alarms.dense", "config.yaml:6"),
        ("triggers.camera", "config.yaml:8"),
        ("sonars.pen", "config.yaml:2"),
    ],
)
async def test_what_the_file_names_is_removed_over_it_and_comes_back(tmp_path, plugins, key, place):
    store = load(tmp_path, plugins, PEN + NAMED)
    before = store.values()
    await store.change({key: REMOVED}, "ada", source="browser")
    assert store.removed() == {key: place}
    assert (tmp_path / "config.yaml").read_text() == PEN + NAMED
    again = load(tmp_path, plugins)
    assert (again.errors, again.warnings) == ([], [])
    for one in (store, again):
        values = one.values()
        *above, name = key.split(".")
        for part in above:
            values = values[part]
        assert name not in values
    await store.undo(store.history.entries[-1].number, "ada")
    assert (store.values(), store.removed()) == (before, {})
    await store.change({key: REMOVED}, "ada")
    await store.change({key: None}, "ada")
    assert store.values() == before
    assert "removed" not in (tmp_path / "overrides.yaml").read_text()


async def test_removing_what_only_the_browser_has_leaves_nothing_behind(tmp_path, plugins):
    store = load(tmp_path, plugins, PEN)
    await store.change({"sonars.pen.zones.gate.kind": "watched"}, "test")
    await store.change({"sonars.pen.zones.gate": REMOVED}, "test")
    assert (store.sonar("pen").zones, store.removed()) == ({}, {})
    assert read_document((tmp_path / "overrides.yaml").read_bytes(), "x").values == {}
    await store.undo(store.history.entries[-1].number, "test")
    assert store.sonar("pen").zones["gate"].kind == "watched"


async def test_a_removal_outlives_what_it_removed(tmp_path, plugins):
    store = load(tmp_path, plugins, PEN + NAMED)
    await store.change({"sonars.pen.zones.gate": REMOVED}, "test")
    edited = load(tmp_path, plugins, PEN)
    assert (edited.errors, edited.warnings, edited.removed()) == ([], [], {})
    await edited.change({"web.picture_rate_hz": 4}, "test")
    assert "gate" not in (tmp_path / "overrides.yaml").read_text()


async def test_what_is_added_under_a_removed_name_is_new(tmp_path, plugins):
    store = load(tmp_path, plugins, PEN + NAMED + "storage: {tracks_days: 3}\n")
    await store.change({"sonars.pen.zones.gate": REMOVED}, "test")
    await store.change({"sonars.pen.zones.gate.kind": "ignored"}, "test")
    gate = store.sonar("pen").zones["gate"]
    assert (gate.kind, gate.max_range_m, store.removed()) == ("ignored", ZoneSettings(kind="ignored").max_range_m, {})
    await store.change({"sonars.pen": REMOVED}, "test")
    await store.change({"sonars.pen.profile": "stream-sonar", "sonars.pen.link": "tcp://10.0.0.7:1"}, "test")
    pen = store.sonar("pen")
    assert (pen.link, pen.zones, pen.metrics.alarms) == ("tcp://10.0.0.7:1", {}, {})
    assert load(tmp_path, plugins).current == store.current


@pytest.mark.parametrize("key", ["sonars.pen.detector", "web", "outputs.plain", "sonars.pen.detector.background_s"])
async def test_only_named_things_can_be_removed(tmp_path, plugins, key):
    store = load(tmp_path, plugins, PEN)
    with pytest.raises(ConfigError, match=re.escape(key)):
        await store.change({key: REMOVED}, "test")


async def test_a_change_is_bounded_so_that_nobody_holds_up_the_pings_with_it(tmp_path, plugins):
    store = load(tmp_path, plugins, PEN)
    zones = {f"sonars.pen.zones.z{number}.kind": "watched" for number in range(1001)}
    with pytest.raises(ConfigError, match="at most 1000 settings in one change, got 1001"):
        await store.change(zones, "test")
    with pytest.raises(ConfigError, match=re.escape("sonars.pen.zones: expected at most 100 by name, got 101")):
        await store.change(dict(list(zones.items())[:101]), "test")
    assert not (tmp_path / "overrides.yaml").exists()


async def test_removed_is_a_text_like_any_other_elsewhere(tmp_path, plugins):
    store = load(tmp_path, plugins, PEN + NAMED)
    await store.change({"triggers.camera.text": "removed"}, "test")
    assert load(tmp_path, plugins).current.triggers["camera"].text == "removed"


def test_one_sonar_from_a_profile_and_settings(plugins):
    sonar = one_sonar(plugins, "stream-sonar", {"detector.min_range_m": 3})
    assert (sonar.detector.min_range_m, sonar.detector.background_s) == (3, 12)
    with pytest.raises(ConfigError, match=re.escape("detector.min_range: unknown key (did you mean 'min_range_m'")):
        one_sonar(plugins, "stream-sonar", {"detector.min_range": 3})
    with pytest.raises(ConfigError, match="profile: no firmware profile 'other'"):
        one_sonar(plugins, "other", {})


def test_one_sonar_needs_no_link(plugins):
    assert one_sonar(plugins, "datagram-sonar", {"channel": "38 kHz"}).channel == "38 kHz"
    with pytest.raises(ConfigError) as caught:
        one_sonar(plugins, "other", {})
    assert "link" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["sonars", "web", "port", "pen", "profile", "link", "detector", "driver", "x"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_no_values_make_building_raise(plugins, values):
    from nims_appliance.config.build import Layer

    built = build([Layer({"sonars": {"pen": values}}), Layer(values if isinstance(values, dict) else {})], plugins)
    assert isinstance(built.settings, ApplianceSettings)


@settings(max_examples=40, deadline=None)
@given(
    port=st.integers(0, 65535).filter(lambda port: port != ApplianceSettings().tracks.port),
    rate=st.floats(0.001, 50, allow_nan=False),
    names=st.dictionaries(st.from_regex(r"[a-z][a-z0-9_-]{0,10}", fullmatch=True), st.booleans(), max_size=4),
)
def test_what_values_gives_configures_the_same_again(tmp_path_factory, plugins, port, rate, names):
    data = tmp_path_factory.mktemp("data")
    given_values = {"web.port": port, "web.picture_rate_hz": rate}
    for name, enabled in names.items():
        given_values |= {f"sonars.{name}.profile": "stream-sonar", f"sonars.{name}.enabled": enabled}
    store = load(data, plugins, command_line=given_values)
    assert store.errors == []
    again = load(data, plugins, command_line={".".join(path): value for path, value in leaves(store.values())})
    assert again.errors == []
    assert again.current == store.current
