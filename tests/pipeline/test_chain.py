"""Detection and tracking together, on pings as no sane sonar sends them."""

from __future__ import annotations

import random

import numpy as np
import pytest

from nims_appliance.frame import Frame
from nims_appliance.pipeline.chain import make_chain
from nims_appliance.settings import DetectorSettings, SonarSettings

SETTINGS = SonarSettings(profile="any", link="file:any", detector=DetectorSettings(false_alarms_per_ping=30))


def noise(number: int, time_s: float, samples: int = 300, beams: int = 64) -> Frame:
    power = np.random.default_rng(number).exponential(2.0, (samples, beams)).astype(np.float32)
    return Frame(
        intensity=power,
        unit="counts^2",
        range_m=1.0 + 0.0148 * np.arange(samples),
        bearing_rad=np.radians(np.linspace(-30, 30, beams)) if beams > 1 else np.zeros(1),
        time_s=time_s,
        ping_number=number,
        sound_speed_m_s=1480.0,
        frequency_hz=500e3,
        pulse_length_s=2e-5,
        ping_interval_s=0.1,
        beam_width_rad=0.0167,
        range_resolution_m=0.0148,
        sonar_id="pen",
        frame_number=number + 1,
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_no_clock_and_no_geometry_brings_the_analysis_down(seed: int) -> None:
    random_numbers = random.Random(seed)
    chain, time_s = make_chain(SETTINGS), 1.7e9
    for number in range(250):
        jump = random_numbers.random()
        time_s += 0.1
        for chance, step_s in ((0.02, 3600.0), (0.04, -3600.0), (0.06, -0.1), (0.08, 2.0), (0.09, 1e8), (0.10, -1e8)):
            if jump < chance:
                time_s = max(1.0, time_s + step_s)
                break
        strange = random_numbers.random() > 0.97
        shape = (random_numbers.choice((1, 5, 200)), random_numbers.choice((1, 2, 32))) if strange else (300, 64)
        result = chain.process(noise(number, time_s, *shape))
        assert result.ping_number == number
    chain.finish()
