"""Firmware profiles: read, checked to the key, and found in the data folder."""

from __future__ import annotations

import pytest

from nims_appliance.errors import ProfileError
from nims_appliance.plugin_host.host import PluginHost
from nims_appliance.profile import load_profile, read_profiles

GOOD = """\
name: acme-9
title: Acme 9000
driver: m3
default_link: tcp://192.168.1.2:20001
limits: {beams: 64}
sonar:
  tracker:
    max_speed_m_s: 3
"""


def test_profile_is_read():
    profile = load_profile(GOOD, "acme.yaml")
    assert (profile.name, profile.driver, profile.limits.beams, profile.limits.samples) == ("acme-9", "m3", 64, 30_000)
    assert profile.sonar == {"tracker": {"max_speed_m_s": 3}}


@pytest.mark.parametrize(
    ("before", "after", "error"),
    [
        ("driver: m3\n", "", "acme.yaml: driver: missing"),
        ("title:", "titel:", "acme.yaml:2: titel: unknown key (did you mean 'title'?)"),
        ("beams: 64", "beams: many", "acme.yaml:5: limits.beams: expected a whole number, got 'many'"),
        (
            "max_speed_m_s",
            "max_speed",
            "acme.yaml:8: sonar.tracker.max_speed: unknown key (did you mean 'max_speed_m_s'?)",
        ),
        (
            "max_speed_m_s: 3",
            "max_speed_m_s: -3",
            "acme.yaml:8: sonar.tracker.max_speed_m_s: expected a number > 0.0, got -3",
        ),
        (
            "  tracker:",
            "  link: tcp://x:1\n  tracker:",
            "acme.yaml:7: sonar.link: belongs to the operator's configuration; use default_link",
        ),
        (
            "tcp://192.168.1.2:20001",
            "tcp//192.168.1.2",
            "acme.yaml:4: default_link: 'tcp//192.168.1.2': expected tcp://",
        ),
        ("name: acme-9", "name: acme 9", "acme.yaml:1: name: expected letters, digits, . - and _, got 'acme 9'"),
        ("name: acme-9", "name: [", "acme.yaml:3: while parsing"),
        ("name: acme-9", "name: x\nname: y", "acme.yaml:2: name: given twice, first in line 1"),
    ],
)
def test_broken_profile_names_file_line_and_key(before, after, error):
    assert before in GOOD
    with pytest.raises(ProfileError) as raised:
        load_profile(GOOD.replace(before, after), "acme.yaml")
    assert error in str(raised.value).splitlines()[0]


def test_all_errors_of_a_profile_are_named():
    with pytest.raises(ProfileError) as raised:
        load_profile("name: x\ntitel: y\nlimits: {beams: 0}\n", "p.yaml")
    assert len(str(raised.value).splitlines()) == 4


def test_built_in_profiles_all_load_with_their_drivers():
    host = PluginHost.load(None)
    assert {"kongsberg-m3", "simrad-ek60", "blueprint-oculus"} <= set(host.profiles)
    assert host.profile_errors == []
    assert len(read_profiles(None)) == len(host.profiles)


def test_profile_of_the_data_folder_wins_and_is_noted(tmp_path):
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "mine.yaml").write_text(GOOD.replace("acme-9", "kongsberg-m3"))
    host = PluginHost.load(tmp_path)
    assert host.profile("kongsberg-m3").title == "Acme 9000"
    assert host.profile_origins["kongsberg-m3"] == "profiles/mine.yaml"
    assert host.notes == ["profiles/mine.yaml replaces profile 'kongsberg-m3' of built-in kongsberg-m3.yaml"]
    assert host.errors == []


def test_bad_profiles_of_the_data_folder_are_listed_and_the_others_load(tmp_path):
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "a.yaml").write_text(GOOD)
    (folder / "b.yaml").write_text(GOOD)
    (folder / "c.yaml").write_text("name: [")
    (folder / "d.yaml").write_text(GOOD.replace("acme-9", "acme-10") + "settings: {speed_of_light: 3}\n")
    (folder / "e.yaml").mkdir()
    host = PluginHost.load(tmp_path)
    assert "acme-9" in host.profiles
    errors = "\n".join(host.profile_errors)
    assert "profiles/b.yaml: profile 'acme-9' comes from profiles/a.yaml already" in errors
    assert "profiles/c.yaml:1: while parsing" in errors
    assert "profiles/d.yaml: driver.speed_of_light: unknown key" in errors
    assert "profiles/e.yaml: cannot be read: Is a directory" in errors
    assert len(host.profile_errors) == 4
