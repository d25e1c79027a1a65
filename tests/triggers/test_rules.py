"""Which of the things that happen a rule acts on; by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from nims_appliance.delivery.address import parse_action
from nims_appliance.errors import ConfigError
from nims_appliance.pipeline.results import PingResult, TrackState, TrackSummary, ZonePassage
from nims_appliance.settings import TriggerSettings
from nims_appliance.triggers.message import message
from nims_appliance.triggers.rules import Happening, Rules, Silence


def ended(number: int, **changes) -> TrackSummary:
    values = dict.fromkeys((field.name for field in dataclasses.fields(TrackSummary)), 0.0)
    values |= {"id": number, "calibrated": False, "channel": "", "label": "", "positions": (), "zones": ()}
    return TrackSummary(**values | changes)


def result(*tracks: TrackState, ended=(), time_s: float = 10.0, sonar: str = "pen") -> PingResult:
    return PingResult(sonar, 1, 1, time_s, time_s, time_s, "", np.zeros(0), tracks, tuple(ended))


def met(rules: Rules, rule: TriggerSettings, *args, **kwargs) -> list[int]:
    return [happening.values["track"] for happening in rules.of_result(result(*args, **kwargs), {"rule": rule})]


def test_a_track_sets_a_rule_off_once(track) -> None:
    rules, rule = Rules(), TriggerSettings(on="track")
    assert met(rules, rule, track(1)) == [1]
    assert met(rules, rule, track(1), track(2)) == [2]
    assert met(rules, rule, track(1), track(2)) == []
    assert met(rules, rule) == []


def test_a_track_meets_its_conditions_when_it_has_grown_into_them(track) -> None:
    rules, rule = Rules(), TriggerSettings(on="track", min_length_m=0.5, min_duration_s=3.0, min_speed_m_s=1.0)
    grown = {"length_m": 0.6, "speed_m_s": 1.2, "first_time_s": 8.0}
    assert met(rules, rule, track(1, **grown | {"length_m": 0.4}), time_s=12.0) == []
    assert met(rules, rule, track(1, **grown), time_s=10.5) == []
    assert met(rules, rule, track(1, **grown), time_s=11.0) == [1]
    assert met(rules, rule, track(1, **grown), time_s=12.0) == []


def test_zones_are_entered_and_left(track) -> None:
    rules, rule = Rules(), TriggerSettings(on="zone_entered", zone="gate")
    leaves = TriggerSettings(on="zone_left")
    both = {"in": rule, "out": leaves}

    def told(*tracks: TrackState) -> list[tuple[str, str]]:
        return [(happening.rule, happening.values["zone"]) for happening in rules.of_result(result(*tracks), both)]

    assert told(track(1)) == []
    assert told(track(1, "gate", "lawn")) == [("in", "gate")]
    assert told(track(1, "gate")) == [("out", "lawn")]
    assert told(track(1)) == [("out", "gate")]
    assert told(track(1, "gate")) == [("in", "gate")]


def test_an_ended_track_is_known_by_its_class(track) -> None:
    rules, rule = Rules(), TriggerSettings(on="track_ended", label="probable animal", min_duration_s=2.0)
    passage = ZonePassage("gate", 0.0, 5.0, 5.0, 1.0)
    good = ended(3, label="probable animal", first_time_s=1.0, last_time_s=9.0, zones=(passage,))
    assert met(rules, rule, ended=[good]) == [3]
    assert met(rules, rule, ended=[ended(4, label="drifting", last_time_s=9.0)]) == []
    assert met(rules, rule, ended=[dataclasses.replace(good, last_time_s=2.0)]) == []
    (happening,) = rules.of_result(result(ended=[good]), {"rule": rule})
    assert happening.describe()["zones"] == ["gate"]


def test_a_rule_of_another_sonar_and_one_that_is_switched_off_do_nothing(track) -> None:
    assert met(Rules(), TriggerSettings(on="track", sonar="gate"), track(1)) == []
    assert met(Rules(), TriggerSettings(on="track", enabled=False), track(1)) == []
    assert met(Rules(), TriggerSettings(on="track", sonar="pen"), track(1)) == [1]


def test_silence_is_told_once_and_so_is_the_return() -> None:
    rules = {
        "out": TriggerSettings(on="sonar_silent", silent_s=5.0),
        "back": TriggerSettings(on="sonar_back", silent_s=5.0),
    }
    silence = Silence()
    ages_s = [1, 4, 6, 20, 1, 1, 30]
    told = [[happening.kind for happening in silence.look({"pen": age_s}, rules)] for age_s in ages_s]
    assert told == [[], [], ["sonar_silent"], [], ["sonar_back"], [], ["sonar_silent"]]


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port"),
    [
        ("udp://10.0.0.7:5000", "udp", "10.0.0.7", 5000),
        ("tcp://[fe80::1]:9", "tcp", "fe80::1", 9),
        ("https://example.org/hook?a=b", "https", "example.org", 0),
        ("command:camera", "command", "", 0),
        ("clip", "clip", "", 0),
    ],
)
def test_actions_are_understood(text: str, scheme: str, host: str, port: int) -> None:
    action = parse_action(text)
    assert (action.scheme, action.host, action.port) == (scheme, host, port)
    assert str(action) == text


@pytest.mark.parametrize(
    "text",
    ["", "udp://host", "udp:host:5", "tcp://:9", "udp://h:99999", "command:", "command:../x", "command:a/b", "mail"],
)
def test_what_is_no_action_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected|Port"):
        parse_action(text)
    with pytest.raises(ValueError, match="actions: "):
        TriggerSettings(on="track", actions=[text])


def happening(**values) -> Happening:
    return Happening("rule", "track", "pen", 1.7e9, math.nan, values={"track": 7, "range_m": 12.345} | values)


def test_a_message_of_ones_own() -> None:
    assert message(happening(), "TRIG {track} at {range_m:.1f} m, {sonar}") == b"TRIG 7 at 12.3 m, pen"
    assert message(happening(zone=None), "[{zone}]") == b"[]"
    assert message(happening(), "{{}}") == b"{}"


@pytest.mark.parametrize("text", ["{nothing}", "{track.__class__}", "{zones[0]}", "{range_m:d}", "{", "{0}", "{}"])
def test_a_message_that_cannot_be_filled_in_is_told(text: str) -> None:
    with pytest.raises(ConfigError):
        message(happening(), text)


def test_numbers_that_are_not_finite_are_null_in_json() -> None:
    assert b'"probability":null' in message(happening(probability=math.nan), "")
