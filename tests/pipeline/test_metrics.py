"""Echo metrics over time: cells, bins, and everything that can change in the middle of one."""

from __future__ import annotations

import dataclasses
import math
from contextlib import nullcontext
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nims_ek60 import nims_drivers

from nims_appliance.acoustics.calibration import sv_linear
from nims_appliance.decoder import DecoderContext
from nims_appliance.frame import Arrival, Calibration, Frame
from nims_appliance.pipeline.metrics import EchoMetrics, MetricsBin
from nims_appliance.profile import Profile
from nims_appliance.settings import MetricsSettings

SETTINGS = MetricsSettings(depth_bin_m=0.5, time_bin_s=5.0, min_range_m=0.0)
CALIBRATION = Calibration(1000.0, 27.0, -0.3, -21.0, 0.0387, 64e-6, 0.1, 0.12, 0.12)


def make_frame(
    intensity: np.ndarray, time_s: float, *, number: int = 1, channel: str = "", far_m: float = 20.0
) -> Frame:
    samples, beams = intensity.shape
    cell_m = far_m / samples
    return Frame(
        intensity=intensity.astype(np.float32), unit="counts^2", range_m=(np.arange(samples) + 0.5) * cell_m,
        bearing_rad=np.linspace(-1.0, 1.0, beams) if beams > 1 else np.zeros(1), time_s=time_s, ping_number=number,
        sound_speed_m_s=1500.0, frequency_hz=120e3, pulse_length_s=256e-6, ping_interval_s=0.1, beam_width_rad=0.1,
        range_resolution_m=0.2, channel=channel, sonar_id="pen",
    )  # fmt: skip


def layer(s_v: float = 1e-6, samples: int = 400, beams: int = 1) -> np.ndarray:
    """Return `s_v` between 5 and 10 m of 20."""
    image = np.zeros((samples, beams))
    image[samples // 4 : samples // 2] = s_v
    return image


def test_one_layer_gives_the_values_of_its_profile() -> None:
    metrics = EchoMetrics(SETTINGS)
    assert metrics.add(make_frame(layer(), 101.0, number=7)) == []
    (done,) = metrics.finish()
    assert (done.sonar_id, done.channel, done.ping_number, done.pings) == ("pen", "", 7, 1)
    assert (done.start_s, done.end_s, done.calibrated) == (101.0, 101.0, False)
    assert done.sv_db == pytest.approx(-66.0206, abs=1e-4)
    assert done.sa_db == pytest.approx(-53.0103, abs=1e-4)
    assert done.center_of_mass_m == pytest.approx(7.5)
    assert done.inertia_m2 == pytest.approx(2.0625, rel=1e-5)
    assert done.proportion_occupied == pytest.approx(0.25)
    assert done.equivalent_area_m == pytest.approx(5.0)
    assert done.aggregation_index_per_m == pytest.approx(0.2)
    assert done.layers == 1
    assert metrics.finish() == []


def test_pings_and_beams_are_averaged_in_linear_units() -> None:
    metrics = EchoMetrics(SETTINGS)
    image = layer(beams=4)
    image[:, 0] *= 4.0
    image[:, 1:] = 0.0
    metrics.add(make_frame(image, 100.0))
    metrics.add(make_frame(layer(3e-6, beams=4), 101.0))
    (done,) = metrics.finish()
    # Means over the beams are 1e-6 and 3e-6: their mean is 2e-6, 3 dB above the profile of 1e-6.
    assert done.sa_db == pytest.approx(-53.0103 + 10 * math.log10(2.0), abs=1e-4)
    assert done.pings == 2


def test_bins_end_at_multiples_of_their_length() -> None:
    metrics = EchoMetrics(SETTINGS)
    done = [
        bin_ for number in range(120) for bin_ in metrics.add(make_frame(layer(), 103.0 + 0.1 * number, number=number))
    ]
    done += metrics.finish()
    assert [bin_.pings for bin_ in done] == [20, 50, 50]
    assert [bin_.start_s for bin_ in done] == pytest.approx([103.0, 105.0, 110.0])
    assert [bin_.end_s for bin_ in done] == pytest.approx([104.9, 109.9, 114.9])


def test_calibrated_pings_give_sv() -> None:
    frame = dataclasses.replace(make_frame(np.full((400, 1), 1e-9), 100.0), calibration=CALIBRATION, unit="W")
    metrics = EchoMetrics(MetricsSettings(min_range_m=1.0, max_range_m=19.0))
    metrics.add(frame)
    (done,) = metrics.finish()
    inside = (frame.range_m >= 1.0) & (frame.range_m <= 19.0)
    assert done.calibrated
    assert done.sv_db == pytest.approx(10 * math.log10(sv_linear(frame)[inside].mean()), abs=1e-6)


def test_first_samples_without_sv_shrink_the_depth() -> None:
    frame = dataclasses.replace(
        make_frame(np.full((40, 1), 1e-9), 100.0), calibration=dataclasses.replace(CALIBRATION, range_offset_m=2.0)
    )
    metrics = EchoMetrics(SETTINGS)
    metrics.add(frame)
    (done,) = metrics.finish()
    s_v = sv_linear(frame)
    assert done.sa_db - done.sv_db == pytest.approx(10 * math.log10(18.0))
    assert done.sv_db == pytest.approx(10 * math.log10(s_v[np.isfinite(s_v)].mean()))


@pytest.mark.parametrize(
    "changed",
    [
        make_frame(layer(samples=200), 102.0),
        make_frame(layer(), 102.0, far_m=40.0),
        make_frame(layer(), 99.0),
        dataclasses.replace(make_frame(layer(), 102.0), calibration=CALIBRATION),
    ],
    ids=["samples", "range", "clock back", "calibration"],
)
def test_a_change_in_the_middle_closes_the_bin(changed: Frame) -> None:
    metrics = EchoMetrics(SETTINGS)
    metrics.add(make_frame(layer(), 101.0))
    (first,) = metrics.add(changed)
    assert first.pings == 1
    assert first.sv_db == pytest.approx(-66.0206, abs=1e-4)
    (second,) = metrics.finish()
    assert second.pings == 1


def test_channels_are_apart() -> None:
    metrics = EchoMetrics(SETTINGS)
    for channel, s_v in (("38 kHz", 1e-6), ("120 kHz", 1e-5)) * 3:
        assert metrics.add(make_frame(layer(s_v), 101.0, channel=channel)) == []
    one, two = metrics.finish()
    assert (one.channel, two.channel, one.pings) == ("38 kHz", "120 kHz", 3)
    assert two.sv_db - one.sv_db == pytest.approx(10.0)


def test_ever_new_channels_do_not_fill_the_memory() -> None:
    metrics = EchoMetrics(SETTINGS)
    done = [bin_ for number in range(500) for bin_ in metrics.add(make_frame(layer(), 101.0, channel=str(number)))]
    assert len(done) + len(metrics.finish()) == 500
    assert len(done) > 400


@pytest.mark.parametrize(
    "frame",
    [
        make_frame(np.full((400, 4), np.nan), 101.0),
        make_frame(np.full((400, 4), np.inf), 101.0),
        make_frame(layer(), 101.0, far_m=0.5),
    ],
    ids=["all NaN", "all infinite", "nothing in range"],
)
def test_nothing_to_measure_is_nan(frame: Frame) -> None:
    metrics = EchoMetrics(MetricsSettings(min_range_m=1.0))
    metrics.add(frame)
    (done,) = metrics.finish()
    assert done.pings == 1
    assert math.isnan(done.sv_db)
    assert math.isnan(done.proportion_occupied)
    assert done.layers == 0


def test_damaged_samples_are_left_out() -> None:
    image = layer(beams=4)
    image[120, 1] = np.nan
    image[130] = np.nan
    image[140, 2] = np.inf
    metrics = EchoMetrics(SETTINGS)
    metrics.add(make_frame(image, 101.0))
    (done,) = metrics.finish()
    assert done.sv_db == pytest.approx(-66.0206, abs=1e-4)


def test_zeros_are_empty_water() -> None:
    metrics = EchoMetrics(SETTINGS)
    metrics.add(make_frame(np.zeros((400, 1)), 101.0))
    (done,) = metrics.finish()
    assert done.proportion_occupied == 0.0
    assert math.isnan(done.center_of_mass_m)


def test_one_sample() -> None:
    metrics = EchoMetrics(SETTINGS)
    metrics.add(make_frame(np.full((1, 1), 1e-6), 101.0))
    (done,) = metrics.finish()
    assert done.sv_db == pytest.approx(-60.0, abs=1e-4)


def test_cells_are_never_smaller_than_the_samples() -> None:
    coarse = EchoMetrics(MetricsSettings(depth_bin_m=1e-6, min_range_m=0.0))
    coarse.add(make_frame(layer(samples=20), 101.0))
    (done,) = coarse.finish()
    assert done.sv_db == pytest.approx(-66.0206, abs=1e-4)
    assert done.sa_db == pytest.approx(-53.0103, abs=1e-4)


@settings(deadline=None)
@given(
    st.integers(1, 60),
    st.integers(1, 5),
    st.floats(0.01, 10.0),
    st.floats(0.0, 30.0),
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8),
)
def test_every_ping_is_in_one_bin(
    samples: int, beams: int, depth_bin_m: float, min_range_m: float, times_s: list[float]
) -> None:
    metrics = EchoMetrics(MetricsSettings(depth_bin_m=depth_bin_m, min_range_m=min_range_m, time_bin_s=7.0))
    image = np.arange(samples * beams, dtype=np.float32).reshape(samples, beams)
    done = [bin_ for time_s in times_s for bin_ in metrics.add(make_frame(image, time_s))]
    assert sum(bin_.pings for bin_ in done + metrics.finish()) == len(times_s)


def test_layers_have_their_own_metrics() -> None:
    """Metrics of a part are those of its cells, and the parts' NASC add up to the column's."""
    metrics = EchoMetrics(MetricsSettings(depth_bin_m=0.5, min_range_m=1.0, max_range_m=19.0, layer_m=4.0))
    frame = dataclasses.replace(make_frame(np.full((400, 1), 1e-9), 100.0), calibration=CALIBRATION)
    metrics.add(frame)
    (column,) = metrics.finish()
    s_v = sv_linear(frame)
    assert (column.part, column.top_m, column.bottom_m) == (0, 1.0, 19.0)
    assert [part.part for part in column.by_layer] == [1, 2, 3, 4, 5]
    assert [(part.top_m, part.bottom_m) for part in column.by_layer] == [(1, 4), (4, 8), (8, 12), (12, 16), (16, 19)]
    for part in column.by_layer:
        mean = s_v[(frame.range_m >= part.top_m) & (frame.range_m < part.bottom_m)].mean()
        height_m = part.bottom_m - part.top_m
        assert part.sv_db == pytest.approx(10 * math.log10(mean), abs=1e-6)
        # 4 pi (1852 m)^2 is 43,101,445 m2 in a square nautical mile's worth of backscatter.
        assert part.nasc_m2_nmi2 == pytest.approx(43_101_445 * mean * height_m, rel=1e-6)
        assert (part.pings, part.start_s, part.by_layer) == (1, 100.0, ())
    assert sum(part.nasc_m2_nmi2 for part in column.by_layer) == pytest.approx(column.nasc_m2_nmi2)


def test_relative_pings_have_no_nasc_and_empty_water_has_none() -> None:
    metrics = EchoMetrics(SETTINGS)
    metrics.add(make_frame(layer(), 101.0))
    metrics.add(dataclasses.replace(make_frame(np.zeros((400, 1)), 101.0), channel="a", calibration=CALIBRATION))
    relative, empty = metrics.finish()
    assert math.isnan(relative.nasc_m2_nmi2)
    assert empty.nasc_m2_nmi2 == 0.0
    assert [part.nasc_m2_nmi2 for part in empty.by_layer] == [0.0] * 4


def test_animals_layers_are_counted_where_their_crests_are() -> None:
    image = np.full((2000, 1), 1e-9)
    image[700:800] = image[1500:1600] = 1e-5
    metrics = EchoMetrics(MetricsSettings(min_range_m=0.0, layer_m=20.0))
    metrics.add(make_frame(image, 101.0, far_m=100.0))
    (column,) = metrics.finish()
    assert column.layers == 2
    assert [part.layers for part in column.by_layer] == [0, 1, 0, 1, 0]


def test_no_layers_on_request() -> None:
    metrics = EchoMetrics(MetricsSettings(layer_m=0.0))
    metrics.add(make_frame(layer(), 101.0))
    assert metrics.finish()[0].by_layer == ()


def test_relative_threshold_follows_the_gain() -> None:
    """What is occupied in a picture without calibration does not depend on the gain of the sonar."""
    found = []
    for gain in (1e-6, 1.0, 1e9):
        metrics = EchoMetrics(SETTINGS)
        metrics.add(make_frame(gain * (layer(100.0, beams=4) + 1.0), 101.0))
        found += metrics.finish()
    assert [done.proportion_occupied for done in found] == [0.25] * 3
    assert [done.layers for done in found] == [1] * 3


def noisy_frames(pings: int, noise_db: float, *, s_v: float = 1e-7, far_m: float = 200.0) -> list[Frame]:
    """Return calibrated pings of a layer at 20 to 30 m and of noise, each sample the sum of two exponential powers."""
    rng = np.random.default_rng(5)
    frame = dataclasses.replace(make_frame(np.ones((800, 1)), 100.0, far_m=far_m), calibration=CALIBRATION)
    s_v_of_one_watt = sv_linear(frame)
    range_m = frame.range_m - CALIBRATION.range_offset_m
    gain = np.maximum(range_m, 1.0) ** 2 * 10 ** (2 * CALIBRATION.absorption_db_m * range_m / 10)
    animals = np.where((frame.range_m > 20.0) & (frame.range_m < 30.0), s_v, 0.0)
    frames = []
    for number in range(pings):
        total = 10 ** (noise_db / 10) * gain * rng.exponential(size=800) + animals * rng.exponential(size=800)
        power = (total / s_v_of_one_watt).astype(np.float32)[:, np.newaxis]
        frames.append(dataclasses.replace(frame, intensity=power, time_s=100.0 + number, ping_number=number))
    return frames


def test_noise_is_removed_from_the_metrics() -> None:
    raw_settings = MetricsSettings(time_bin_s=100.0, layer_m=10.0)
    clean_settings = MetricsSettings(
        time_bin_s=100.0, layer_m=10.0, noise_removal=True, noise_pings=20, noise_cell_m=10.0, noise_min_snr_db=3.0
    )
    noise_db = -130.0
    raw, clean = EchoMetrics(raw_settings), EchoMetrics(clean_settings)
    for frame in noisy_frames(50, noise_db):
        assert raw.add(frame) == clean.add(frame) == []
    (with_noise,), (without,) = raw.finish(), clean.finish()
    truth = 1e-7 * 10.0
    assert without.pings == 50
    assert math.isnan(with_noise.noise_db)
    # The smallest of 20 means of 800 values lies a little below the mean of the noise.
    assert -130.4 < without.noise_db < -130.0
    assert 10 ** (with_noise.sa_db / 10) > 3 * truth
    # Of the noise at long range every seventh sample is a peak of over 3 dB and stays.
    assert without.by_layer[2].part == 3
    assert 10 ** (without.by_layer[2].sa_db / 10) == pytest.approx(truth, rel=0.1)
    assert 10 ** (without.sa_db / 10) < 0.5 * 10 ** (with_noise.sa_db / 10)
    strict = EchoMetrics(MetricsSettings(time_bin_s=100.0, layer_m=10.0, noise_removal=True, noise_min_snr_db=12.0))
    for frame in noisy_frames(50, noise_db):
        strict.add(frame)
    (column,) = strict.finish()
    assert 10 ** (column.sa_db / 10) == pytest.approx(truth, rel=0.1)
    # What was masked is empty water, which does not shrink the depth.
    assert column.sa_db - column.sv_db == pytest.approx(10 * math.log10(199.0), abs=1e-6)


def test_noise_of_damaged_samples_and_of_a_changed_power() -> None:
    """A change of the calibration ends the block of pings; NaN stays invalid instead of becoming empty water."""
    metrics = EchoMetrics(MetricsSettings(time_bin_s=100.0, noise_removal=True))
    for number, frame in enumerate(noisy_frames(6, -130.0)):
        frame.intensity[400:] = np.nan
        power_w = 1000.0 if number < 3 else 500.0
        metrics.add(dataclasses.replace(frame, calibration=dataclasses.replace(CALIBRATION, transmit_power_w=power_w)))
    (done,) = metrics.finish()
    assert done.pings == 6
    assert done.sa_db - done.sv_db == pytest.approx(10 * math.log10(99.0), abs=0.03)
    assert len(done.by_layer) == 40
    assert math.isnan(done.by_layer[-1].sv_db)


def test_relative_pings_keep_their_noise() -> None:
    metrics = EchoMetrics(MetricsSettings(noise_removal=True, min_range_m=0.0))
    metrics.add(make_frame(layer(), 101.0))
    (done,) = metrics.finish()
    assert math.isnan(done.noise_db)
    assert done.sv_db == pytest.approx(-66.0206, abs=1e-4)


def bins_of(path: Path, settings: MetricsSettings) -> list[MetricsBin]:
    driver = nims_drivers()[0]
    assert driver.stream is not None
    decoder = driver.stream(DecoderContext(Profile(name="", title="", driver="ek60"), driver.settings_type()))
    data = memoryview(path.read_bytes())
    metrics, done, at = EchoMetrics(settings), [], 0
    while (answer := decoder.decode(data[at:], Arrival(0.0, 0.0))).consumed:
        at += answer.consumed
        done += [bin_ for frame in answer.frames for bin_ in metrics.add(frame)]
    return done + metrics.finish()


def test_survey_agrees_with_sv_computed_by_others(recordings: Path) -> None:
    """Five channels: the metrics of the decoded file equal those of the reference's Sv, averaged cell by cell."""
    name = "ek60/DY1801_EK60-D20180211-T164025"
    # From 2 m: nearer the reference holds the range at 1 m. To 200 m: before the last sample cuts the deepest cell.
    done = bins_of(recordings / f"{name}.raw", MetricsSettings(min_range_m=2.0, max_range_m=199.99, time_bin_s=1e9))
    with h5py.File(recordings / f"{name}.matlab_Sv_TS.nc") as reference:
        strengths = reference["Sv"][:]
    range_m = np.arange(1386) * 256e-6 * 1466.0 / 2
    for bin_, sv_db in zip(done, strengths, strict=True):
        s_v = (10 ** (sv_db / 10)).mean(axis=0)
        tops_m = np.arange(2.0, 200.0, 0.5)
        cells = np.array([s_v[(range_m >= top_m) & (range_m < top_m + 0.5)].mean() for top_m in tops_m])
        middle_m = tops_m + 0.25
        assert bin_.pings == 42
        assert bin_.sa_db == pytest.approx(10 * math.log10(cells.sum() * 0.5), abs=1e-3)
        assert bin_.sv_db == pytest.approx(10 * math.log10(cells.mean()), abs=1e-3)
        center_m = (cells * middle_m).sum() / cells.sum()
        assert bin_.center_of_mass_m == pytest.approx(center_m, abs=1e-2)
        assert bin_.inertia_m2 == pytest.approx((cells * (middle_m - center_m) ** 2).sum() / cells.sum(), rel=1e-3)
        assert bin_.equivalent_area_m == pytest.approx(0.5 * cells.sum() ** 2 / (cells**2).sum(), rel=1e-3)
        assert bin_.proportion_occupied == pytest.approx((cells > 1e-9).mean(), abs=0.006)


def reference_sv(recordings: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return linear s_v (channels, pings, samples), range less the TVG start and absorption, from others' numbers only.

    Their Sv holds the range at 1 m; nearer it is made here from their power, by the line that the rest lies on.
    """
    folder = recordings / "ek60"
    with h5py.File(folder / "DY1801_EK60-D20180211-T164025.matlab_Sv_TS.nc") as file:
        sv_db = file["Sv"][:]
    with h5py.File(folder / "DY1801_EK60-D20180211-T164025.matlab.nc") as file:
        power_db = file["power"][:]
    range_m = (np.arange(1386) - 2) * 256e-6 * 1466.0 / 2
    s_v, absorption_db_m = np.full(sv_db.shape, np.nan), np.empty(5)
    for channel in range(5):
        far = range_m > 2.0
        offset_db = (sv_db - power_db)[channel, 0, far] - 20 * np.log10(range_m[far])
        slope, constant_db = np.polyfit(range_m[far], offset_db, 1)
        absorption_db_m[channel] = slope / 2
        there = range_m > 0.0
        gain_db = 20 * np.log10(range_m[there]) + slope * range_m[there] + constant_db
        s_v[channel][:, there] = 10 ** ((power_db[channel][:, there] + gain_db) / 10)
    return s_v, range_m, absorption_db_m


def cell_means(s_v: np.ndarray, range_m: np.ndarray, tops_m: np.ndarray, height_m: float) -> np.ndarray:
    return np.array([np.nanmean(s_v[:, (range_m >= top_m) & (range_m < top_m + height_m)].ravel()) for top_m in tops_m])


def survey_frames(recordings: Path, damage: np.ndarray) -> list[Frame]:
    """Return the decoded pings, NaN where `damage` (channels, pings, samples) says."""
    driver = nims_drivers()[0]
    assert driver.stream is not None
    decoder = driver.stream(DecoderContext(Profile(name="", title="", driver="ek60"), driver.settings_type()))
    data = memoryview((recordings / "ek60/DY1801_EK60-D20180211-T164025.raw").read_bytes())
    frames, at = [], 0
    while (answer := decoder.decode(data[at:], Arrival(0.0, 0.0))).consumed:
        at += answer.consumed
        frames += answer.frames
    for number, frame in enumerate(frames):
        frame.intensity[damage[number % 5, number // 5]] = np.nan
    return frames


def test_layers_and_invalid_cells_of_a_survey(recordings: Path) -> None:
    """All metrics of every layer, from the head on, with damaged samples and a stretch of none at all."""
    damage = np.random.default_rng(8).random((5, 42, 1386)) < 0.2
    damage[:, :, 330:345] = True
    metrics = EchoMetrics(MetricsSettings(min_range_m=0.0, max_range_m=199.99, time_bin_s=1e9, layer_m=20.0))
    for frame in survey_frames(recordings, damage):
        assert metrics.add(frame) == []
    s_v, reduced_m, _ = reference_sv(recordings)
    s_v[damage] = np.nan
    range_m = reduced_m + 2 * 256e-6 * 1466.0 / 2
    for column, reference in zip(metrics.finish(), s_v, strict=True):
        assert len(column.by_layer) == 10
        for part, top_m in zip(column.by_layer, np.arange(0.0, 200.0, 20.0), strict=True):
            tops_m = np.arange(top_m, top_m + 20.0, 0.5)
            with pytest.warns(RuntimeWarning, match="empty slice") if top_m in (0.0, 60.0) else nullcontext():
                cells = cell_means(reference, range_m, tops_m, 0.5)
            valid = np.isfinite(cells)
            assert valid.all() == (top_m not in (0.0, 60.0))
            cells, middle_m = cells[valid], tops_m[valid] + 0.25
            s_a = cells.sum() * 0.5
            assert part.sv_db == pytest.approx(10 * math.log10(cells.mean()), abs=2e-3)
            assert part.sa_db == pytest.approx(10 * math.log10(s_a), abs=2e-3)
            assert part.nasc_m2_nmi2 == pytest.approx(4 * math.pi * 1852**2 * s_a, rel=1e-3)
            center_m = (cells * middle_m).sum() / cells.sum()
            assert part.center_of_mass_m == pytest.approx(center_m, abs=5e-3)
            assert part.inertia_m2 == pytest.approx(
                (cells * (middle_m - center_m) ** 2).sum() / cells.sum(), rel=2e-3, abs=1e-4
            )
            assert part.equivalent_area_m == pytest.approx(0.5 * cells.sum() ** 2 / (cells**2).sum(), rel=2e-3)
            assert part.aggregation_index_per_m == pytest.approx(1 / part.equivalent_area_m)
            assert part.proportion_occupied == pytest.approx((cells > 1e-9).mean(), abs=0.03)


def test_noise_removal_of_a_survey(recordings: Path) -> None:
    """Blocks of 10 pings and 50 samples, computed here ping by ping from the Sv of others."""
    metrics = EchoMetrics(
        MetricsSettings(
            min_range_m=2.0, max_range_m=259.99, time_bin_s=1e9, layer_m=20.0, noise_removal=True, noise_pings=10,
            noise_cell_m=50 * 256e-6 * 1466.0 / 2, noise_max_db=-110.0, noise_min_snr_db=3.0,
        )
    )  # fmt: skip
    for frame in survey_frames(recordings, np.zeros((5, 42, 1386), bool)):
        assert metrics.add(frame) == []
    s_v, reduced_m, absorption_db_m = reference_sv(recordings)
    range_m = reduced_m + 2 * 256e-6 * 1466.0 / 2
    changed = 0
    for column, reference, alpha in zip(metrics.finish(), s_v, absorption_db_m, strict=True):
        gain = np.maximum(reduced_m, 1.0) ** 2 * 10 ** (2 * alpha * reduced_m / 10)
        clean, noise = np.zeros_like(reference), np.zeros(42)
        for first in range(0, 42, 10):
            block = reference[first : first + 10] / gain
            noise[first : first + 10] = min(1e-11, min(np.nanmean(block[:, at : at + 50]) for at in range(0, 1350, 50)))
        for ping in range(42):
            rest = reference[ping] - noise[ping] * gain
            clean[ping] = np.where(rest >= 10**0.3 * noise[ping] * gain, rest, 0.0)
        assert column.noise_db == pytest.approx(10 * math.log10(noise.mean()), abs=2e-3)
        for part in column.by_layer:
            cells = cell_means(clean, range_m, np.arange(part.top_m, part.bottom_m - 0.01, 0.5), 0.5)
            assert part.sa_db == pytest.approx(10 * math.log10(cells.sum() * 0.5), abs=0.01)
            before = cell_means(reference, range_m, np.arange(part.top_m, part.bottom_m - 0.01, 0.5), 0.5)
            changed += cells.sum() < 0.5 * before.sum()
    assert changed > 5


def test_real_recording(recordings: Path) -> None:
    """A fish pen: dense fish and a net, so everything is occupied, and the net holds the centre of mass."""
    done = bins_of(recordings / "ek60/RedSlip-D20160915-T120914.raw", MetricsSettings())
    assert sum(bin_.pings for bin_ in done) == 1205
    assert all(bin_.calibrated and bin_.layers >= 1 for bin_ in done)
    assert all(11.0 < bin_.center_of_mass_m < 16.0 for bin_ in done)
    assert all(bin_.proportion_occupied > 0.9 for bin_ in done)
