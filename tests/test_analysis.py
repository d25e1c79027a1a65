"""Which channel is detected on, and what classifiers say about a track."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nims_appliance.analysis import Analysis, ChannelChoice, MetricsOfChannels
from nims_appliance.frame import Frame
from nims_appliance.pipeline.chain import Chain
from nims_appliance.pipeline.classify import Classifier, classify
from nims_appliance.pipeline.results import DETECTION, TrackSummary
from nims_appliance.settings import SonarSettings


def make_frame(channel: str = "", split: bool = False, number: int = 1) -> Frame:
    angles = np.zeros(2, np.float32) if split else None
    return Frame(
        intensity=np.ones((2, 1), np.float32),
        unit="W",
        range_m=np.array([1.0, 2.0]),
        bearing_rad=np.zeros(1),
        time_s=1.7e9,
        ping_number=number,
        sound_speed_m_s=1500.0,
        frequency_hz=38e3,
        pulse_length_s=1e-3,
        ping_interval_s=math.nan,
        beam_width_rad=0.1,
        range_resolution_m=1.0,
        channel=channel,
        along_rad=angles,
        athwart_rad=angles,
    )


def make_track(**changes) -> TrackSummary:
    values: dict = dict.fromkeys(TrackSummary.__slots__, 0.0)
    return TrackSummary(**(values | {"id": 7, "channel": "", "label": "", "positions": ()} | changes))


@pytest.mark.parametrize(
    ("wanted", "channels", "expected"),
    [
        ("", ["", ""], ["", ""]),
        ("", ["18", "38*", "120*", "18", "38*", "120*"], ["38*", "38*"]),
        ("", ["18", "38", "18", "38"], ["18"]),
        ("120", ["18*", "38*", "120", "18*", "38*", "120"], ["120", "120"]),
        ("70", ["18*", "38*"], []),
    ],
    ids=[
        "single",
        "first with angles",
        "none has angles: from the second round",
        "configured",
        "configured, not there",
    ],
)
def test_one_channel_is_chosen(wanted: str, channels: list[str], expected: list[str]) -> None:
    choice = ChannelChoice(wanted)
    frames = [make_frame(name, split=name.endswith("*")) for name in channels]
    assert [frame.channel for frame in frames if choice.wants(frame)] == expected


def test_the_surest_classifier_wins() -> None:
    classifiers = [
        Classifier("no opinion", lambda track: None),
        Classifier("unsure", lambda track: ("seal", 0.4)),
        Classifier("sure", lambda track: ("fish", 0.9)),
        Classifier("later, as sure", lambda track: ("bird", 0.9)),
    ]
    track = classify(make_track(), classifiers)
    assert (track.label, track.probability) == ("fish", 0.9)


def test_without_an_opinion_a_track_stays_as_it_is() -> None:
    track = make_track(label="moving", probability=0.5)
    assert classify(track, [Classifier("no opinion", lambda track: None)]) is track


@pytest.mark.parametrize("answer", ["fish", ("fish", 2.0), ("fish", math.nan), ("fish",), 7])
def test_an_answer_that_makes_no_sense_is_no_opinion(answer: object, caplog) -> None:
    classifiers = [Classifier("odd", lambda track: answer), Classifier("good", lambda track: ("fish", 0.1))]
    assert classify(make_track(), classifiers).probability == 0.1
    assert "classifier odd" in caplog.text


def test_a_classifier_that_raises_is_no_opinion(caplog) -> None:
    def broken(track: TrackSummary) -> tuple[str, float]:
        raise KeyError("its own mistake")

    assert classify(make_track(), [Classifier("broken", broken)]).label == ""
    assert "its own mistake" in caplog.text


class Parts:
    """A detector and a tracker that end one track with every ping."""

    def detect(self, frame: Frame) -> np.ndarray:
        return np.zeros(2, DETECTION)

    def notes(self) -> list[str]:
        return []

    def update(self, frame, detections):
        return [], [make_track()]

    def describe_next(self):
        return None

    def finish(self):
        return [make_track()]


def test_ended_tracks_are_classified_and_counted() -> None:
    parts = Parts()
    analysis = Analysis(
        "pen",
        SonarSettings(profile="toy", link="file:x"),
        [Classifier("fish", lambda track: ("fish", 0.9))],
        lambda settings: Chain(parts, parts),  # type: ignore[arg-type]
    )
    result = analysis.process(make_frame())
    assert result is not None
    assert [track.label for track in result.ended] == ["fish"]
    last = analysis.finish()
    assert last is not None
    assert (last.final, [track.label for track in last.ended], last.tracks) == (True, ["fish"], ())
    assert (analysis.detections, analysis.tracks) == (2, 2)
    assert analysis.finish() is None, "nothing was processed since"


class FailingMetrics:
    """Raises on the second ping, and at the end."""

    def add(self, frame: Frame) -> list:
        if frame.ping_number == 2:
            raise ZeroDivisionError("its own mistake")
        return [frame.ping_number]

    def finish(self) -> list:
        raise ZeroDivisionError("at the end")


def test_metrics_that_raise_are_counted_and_made_anew() -> None:
    metrics = MetricsOfChannels("pen", FailingMetrics)  # type: ignore[arg-type]
    assert [metrics.add(make_frame(number=number)) for number in (1, 2, 3)] == [[1], [], [3]]
    assert metrics.finish() == []
    assert metrics.failures == 2
    assert metrics.last_error == "ZeroDivisionError: at the end"
