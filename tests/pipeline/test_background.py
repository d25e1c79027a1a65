"""The background and the local level on pictures whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nims_appliance.pipeline.background import Background
from nims_appliance.pipeline.chain import make_chain
from nims_appliance.settings import SonarSettings, TrackerSettings


def test_the_crest_of_a_cloud_narrower_than_a_few_beams_is_known() -> None:
    rng = np.random.default_rng(5)
    shape, crest = (240, 64), (120, 31.5)
    background = Background(30.0)
    background.reset(shape, (0.8, 0.9))
    row, column = np.indices(shape)
    cloud = 8 * np.exp(-0.5 * ((row - crest[0]) / 12) ** 2 - 0.5 * ((column - crest[1]) / 1.6) ** 2)
    shares = []
    for ping in range(180):
        level = 1 + cloud * (ping >= 120)
        background.update((rng.exponential(size=shape) * level).astype(np.float32), 0.1, 12.0)
        known = background.scale[crest[0] // background.block[0], 31 // background.block[1]]
        shares.append(known / (level[crest[0], 31] / background.mean[crest[0], 31]))
    assert np.mean(shares[-20:]) > 0.77
    assert np.mean(shares[100:120]) == pytest.approx(1.0, abs=0.2)


def test_bright_cells_beside_dark_ones_are_known_before_anything_is_detected(make_scene) -> None:
    rng = np.random.default_rng(6)
    scene = make_scene(shape=(160, 64))
    texture = np.ones(scene.sigma.shape)
    texture[5::9, 3::7] = 50.0
    chain = make_chain(
        SonarSettings(profile="test", link="", tracker=TrackerSettings(false_tracks_per_hour=100.0, max_body_m=0.0))
    )
    numbers = set()
    for ping in range(90):
        frame = scene.frame(texture * rng.exponential(size=texture.shape), ping)
        numbers |= {track.id for track in chain.process(frame).tracks}
    assert not numbers


def test_errors_common_to_the_echoes_of_a_track_are_counted_once(make_scene) -> None:
    scene = make_scene(targets=((lambda time_s: (2.0, 10.0) if time_s >= 3.5 else None, 12.0),))
    chain = make_chain(SonarSettings(profile="test", link=""))
    seen = [
        detection["exceedance"] / 10 ** (detection["snr_db"] / 10)
        for frame in scene.frames(60)
        for detection in chain._detector.detect(frame)
        if abs(detection["range_m"] - math.hypot(2, 10)) < 0.2
    ]
    early = np.median(seen)
    assert 0.2 < early < 0.7
