"""Detector of split-beam pings: echoes of single targets, with their place in three dimensions and their TS.

Criteria of M. Soule, M. Barange, H. Solli, I. Hampton, "Performance of a new phase algorithm for discriminating between
single and overlapping echoes in a split-beam echosounder", ICES J. Mar. Sci. 54 (1997) 934-938, and of E. Ona, M.
Barange, "Single target recognition", ICES Coop. Res. Rep. 235 (1999) 28-43: an echo of one target is as long as the
pulse, comes from one direction throughout, and is near enough to the axis for its compensation to be trusted.

Walls, nets, the bottom and dense schools pass these criteria by chance in every ping. An echo must therefore also stand
out of the past of its range, as far as what is usual there does no more than `false_alarms_per_ping` times a ping.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..acoustics.calibration import beam_compensation_db, to_db, ts_linear
from ..frame import Frame
from ..settings import SonarSettings
from .range_background import RangeBackground, pulse_samples_of
from .results import DETECTION

PHASE_STEP_DEG = 180.0 / 128.0
"""Electrical; the unit of `max_phase_sd_steps`."""
USUAL_SENSITIVITY_DEG = 150.0
"""Sensitivity times beam width of Simrad's split-beam transducers, within 3 %: stands in where the sonar is silent."""
MIN_SAMPLES = 3
"""Fewer samples between the -6 dB points give no scatter of phase."""
GLINT = 0.2
"""Standard deviation of the apparent place of an extended target, in its lengths: radar's angular glint, 0.15..0.25."""
MOST_EXCEEDANCE = 500.0
"""27 dB above the noise: a stronger echo is no better proof that it is no noise."""
ODD_PINGS = 3
"""So many pings in a row of another level, and the sounder was switched over."""
HALF = 10.0**-0.6
"""-6 dB."""


class SingleTargetDetector:
    """Finds the echoes of single targets in split-beam pings of one channel."""

    def __init__(self, settings: SonarSettings) -> None:
        self._settings = settings.detector
        self._criteria = settings.single_target
        self._background = RangeBackground(settings.detector.background_s)
        self._notes: list[str] = []
        self._odd_pings = 0
        self._lesson: tuple[np.ndarray, float] | None = None
        """Power and time of the last ping, until it is learnt."""

    def settle(self) -> None:
        """Learn the past of each range from the last ping."""
        if self._lesson is not None:
            self._background.update(*self._lesson)
            self._lesson = None

    def notes(self) -> list[str]:
        """Return and forget what happened in the last ping."""
        notes, self._notes = self._notes, []
        return notes

    def detect(self, frame: Frame) -> np.ndarray:
        """Return the single targets of a split-beam ping, dtype DETECTION, nearest first.

        Ranges are on the axis of the frame, of the middle of the echo. Without calibration the criterion of TS does not
        apply, and TS is NaN.
        """
        self.settle()
        power = np.nan_to_num(frame.intensity[:, 0].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        if self._background.fit(frame):
            self._notes.append("geometry changed")
        pulse_samples = pulse_samples_of(frame)
        background = self._background
        if background.is_of_another_level(power):
            self._odd_pings += 1
            if self._odd_pings < ODD_PINGS:
                # A burst of interference, or a ping without echoes: nothing is learnt from it.
                self._notes.append("flooded")
                return np.zeros(0, DETECTION)
            self._notes.append("level changed")
            background.restart()
        self._odd_pings = 0
        ratio, exceedance = background.ratio(power), background.exceedance(power)
        evidence = exceedance * background.novelty()
        self._lesson = power, frame.time_s

        peaks = _local_maxima(power)
        in_range = (frame.range_m[peaks] >= self._settings.min_range_m) & (
            frame.range_m[peaks] <= self._settings.max_range_m
        )
        # One echo is as long as the pulse: a ping has so many independent chances for a false one.
        needed = math.log(max(len(power) / pulse_samples, 1.0) / self._settings.false_alarms_per_ping)
        peaks = peaks[in_range & (exceedance[peaks] > max(needed, math.log(2.0)))]
        if not len(peaks):
            return np.zeros(0, DETECTION)
        echoes = _measure(frame, power, peaks, pulse_samples, self._criteria.max_echo_length)
        echoes = echoes.keep(self._accept(frame, echoes))
        echoes = echoes.keep(_strongest_first(echoes, power, pulse_samples))
        if len(echoes.peak) > self._settings.max_detections:
            self._notes.append("flooded")
            echoes = echoes.keep(np.sort(np.argsort(-power[echoes.peak])[: self._settings.max_detections]))
        found = _describe(frame, power, ratio, echoes, GLINT * self._criteria.animal_length_m)
        found["exceedance"] = np.minimum(evidence[echoes.peak], MOST_EXCEEDANCE)
        return found

    def _accept(self, frame: Frame, echoes: _Echoes) -> np.ndarray:
        """Return which echoes are of single targets, shape (echoes,), bool."""
        criteria = self._criteria
        along_step_rad, athwart_step_rad = _phase_steps_rad(frame)
        # Near the head one animal is wider than the criterion allows: its parts may scatter as its echo may wander.
        near_rad = GLINT * criteria.animal_length_m / np.maximum(echoes.range_m, 0.01)
        good = (
            (echoes.length >= criteria.min_echo_length)
            & (echoes.length <= criteria.max_echo_length)
            & (echoes.samples >= MIN_SAMPLES)
            & (echoes.along_sd_rad <= np.maximum(criteria.max_phase_sd_steps * along_step_rad, near_rad))
            & (echoes.athwart_sd_rad <= np.maximum(criteria.max_phase_sd_steps * athwart_step_rad, near_rad))
        )
        good &= echoes.compensation_db <= criteria.max_gain_compensation_db
        if frame.calibration is not None:
            # The comparison with NaN is false: nearer than the TVG start there is no TS, and no detection.
            good &= echoes.ts_db >= criteria.min_ts_db
        return good


@dataclass(frozen=True, slots=True)
class _Echoes:
    """Candidates; all arrays have shape (echoes,)."""

    peak: np.ndarray
    """Sample of the peak."""
    first: np.ndarray
    """First and last sample within 6 dB of the peak."""
    last: np.ndarray
    length: np.ndarray
    """Between the interpolated -6 dB points, in pulse lengths; inf where it ends outside of the window."""
    samples: np.ndarray
    range_m: np.ndarray
    """Mean of the range, weighted with amplitude."""
    along_rad: np.ndarray
    """Means of the angles, weighted with power."""
    athwart_rad: np.ndarray
    along_sd_rad: np.ndarray
    """Scatter of the angles over the samples, not weighted."""
    athwart_sd_rad: np.ndarray
    athwart_span_rad: np.ndarray
    total: np.ndarray
    """Sum of the power."""
    compensation_db: np.ndarray
    ts_db: np.ndarray
    """Compensated; NaN without calibration."""

    def keep(self, which: np.ndarray) -> _Echoes:
        """Return some of the echoes, by index or by mask."""
        return _Echoes(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


def _local_maxima(power: np.ndarray) -> np.ndarray:
    """Return the samples that are higher than the one before and not lower than the one after; not the ends."""
    middle = power[1:-1]
    return np.flatnonzero((middle > power[:-2]) & (middle >= power[2:])) + 1


def _beamwidths_rad(frame: Frame) -> tuple[float, float]:
    """Return the -3 dB widths (along, athwart); without calibration that of the frame for both."""
    if frame.calibration is None:
        return frame.beam_width_rad, frame.beam_width_rad
    return frame.calibration.beamwidth_along_rad, frame.calibration.beamwidth_athwart_rad


def _phase_steps_rad(frame: Frame) -> tuple[float, float]:
    """Return (along, athwart) the mechanical angle of one phase step."""
    along = athwart = math.nan
    if frame.calibration is not None:
        along, athwart = frame.calibration.angle_sensitivity_along, frame.calibration.angle_sensitivity_athwart
    beamwidth_along_rad, beamwidth_athwart_rad = _beamwidths_rad(frame)
    if not math.isfinite(along):
        along = USUAL_SENSITIVITY_DEG / math.degrees(beamwidth_along_rad)
    if not math.isfinite(athwart):
        athwart = USUAL_SENSITIVITY_DEG / math.degrees(beamwidth_athwart_rad)
    return math.radians(PHASE_STEP_DEG / along), math.radians(PHASE_STEP_DEG / athwart)


def _measure(frame: Frame, power: np.ndarray, peaks: np.ndarray, pulse_samples: float, max_length: float) -> _Echoes:
    """Measure the echo around each peak.

    Each gets a window wide enough for the longest echo that is accepted, one row of a matrix of (echoes, window).
    """
    assert frame.along_rad is not None
    assert frame.athwart_rad is not None
    reach = math.ceil(max_length * pulse_samples) + 1
    offsets = np.arange(-reach, reach + 1)
    index = peaks[:, np.newaxis] + offsets
    outside = (index < 0) | (index >= len(power))
    index = np.clip(index, 0, len(power) - 1)
    level = np.where(outside, 0.0, power[index]) / power[peaks][:, np.newaxis]
    above = level >= HALF
    # The run of samples above -6 dB that holds the peak: cumulative products stop at the first one below.
    right = np.cumprod(above[:, reach:], axis=1).sum(axis=1) - 1
    left = np.cumprod(above[:, reach::-1], axis=1).sum(axis=1) - 1
    inside = (offsets >= -left[:, np.newaxis]) & (offsets <= right[:, np.newaxis])
    length = (left + right + _crossing(level, reach - left, -1) + _crossing(level, reach + right, 1)) / pulse_samples
    cut = (left >= reach) | (right >= reach) | (peaks - left <= 0) | (peaks + right >= len(power) - 1)

    weight = np.where(inside, level, 0.0)
    amplitude = np.sqrt(weight)
    samples = inside.sum(axis=1)
    along, athwart = frame.along_rad[index].astype(np.float64), frame.athwart_rad[index].astype(np.float64)
    along_rad = (weight * along).sum(axis=1) / weight.sum(axis=1)
    athwart_rad = (weight * athwart).sum(axis=1) / weight.sum(axis=1)
    compensation_db = beam_compensation_db(along_rad, athwart_rad, *_beamwidths_rad(frame))
    ts_db = np.full(len(peaks), np.nan)
    if frame.calibration is not None:
        ts_db = to_db(ts_linear(frame)[peaks]) + compensation_db
    return _Echoes(
        peak=peaks,
        first=peaks - left,
        last=peaks + right,
        length=np.where(cut, np.inf, length),
        samples=samples,
        range_m=(amplitude * frame.range_m[index]).sum(axis=1) / amplitude.sum(axis=1),
        along_rad=along_rad,
        athwart_rad=athwart_rad,
        along_sd_rad=_scatter(along, inside, samples),
        athwart_sd_rad=_scatter(athwart, inside, samples),
        athwart_span_rad=np.where(inside, athwart, -np.inf).max(axis=1) - np.where(inside, athwart, np.inf).min(axis=1),
        total=(weight.sum(axis=1)) * power[peaks],
        compensation_db=compensation_db,
        ts_db=ts_db,
    )


def _crossing(level: np.ndarray, column: np.ndarray, step: int) -> np.ndarray:
    """Return how far beyond the last column above -6 dB the level crosses it, 0..1, linear in dB."""
    row = np.arange(len(level))
    beyond = np.clip(column + step, 0, level.shape[1] - 1)
    tiny = 1e-30
    above_db = np.log10(np.maximum(level[row, column], tiny) / HALF)
    drop_db = above_db - np.log10(np.maximum(level[row, beyond], tiny) / HALF)
    return np.divide(above_db, drop_db, out=np.zeros(len(level)), where=drop_db > 0.0)


def _scatter(angle: np.ndarray, inside: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Return the standard deviation of the angles inside, per row."""
    mean = np.where(inside, angle, 0.0).sum(axis=1) / samples
    return np.sqrt(np.where(inside, (angle - mean[:, np.newaxis]) ** 2, 0.0).sum(axis=1) / samples)


def _strongest_first(echoes: _Echoes, power: np.ndarray, pulse_samples: float) -> np.ndarray:
    """Return the indices, increasing, of the echoes that keep off every stronger one.

    Peaks keep a pulse length, and what lies above -6 dB of two echoes does not overlap.
    """
    near, covered = np.zeros(len(power), dtype=bool), np.zeros(len(power), dtype=bool)
    distance = math.ceil(pulse_samples) - 1
    kept: list[int] = []
    for candidate in np.argsort(-power[echoes.peak], kind="stable"):
        peak, first, last = echoes.peak[candidate], echoes.first[candidate], echoes.last[candidate]
        if near[peak] or covered[first : last + 1].any():
            continue
        near[max(peak - distance, 0) : peak + distance + 1] = True
        covered[first : last + 1] = True
        kept.append(int(candidate))
    return np.array(sorted(kept), dtype=np.int64)


def _describe(frame: Frame, power: np.ndarray, ratio: np.ndarray, echoes: _Echoes, glint_m: float) -> np.ndarray:
    """Return the echoes as detections."""
    out = np.zeros(len(echoes.peak), DETECTION)
    snr = np.maximum(ratio[echoes.peak], 1.0)
    along_width_rad, athwart_width_rad = _beamwidths_rad(frame)
    along_step_rad, athwart_step_rad = _phase_steps_rad(frame)
    cell_m = float(np.median(np.diff(frame.range_m)))
    length_m = echoes.length * frame.pulse_length_s * frame.sound_speed_m_s / 2.0

    out["range_m"] = echoes.range_m
    out["bearing_rad"], out["elevation_rad"] = echoes.athwart_rad, echoes.along_rad
    # An echo's middle is known to half of a uniform error over the resolution (the body behind it is as long), the
    # direction to the scatter of its samples' mean, to what the noise does to the phase (a quarter of the beam width
    # at 0 dB, from made echoes of 13 to 30 dB), and to the wandering of the echo over the body from ping to ping.
    glint_rad = glint_m / np.maximum(echoes.range_m, glint_m)
    out["range_sd_m"] = np.hypot(cell_m / math.sqrt(12.0), frame.range_resolution_m / (2.0 * math.sqrt(12.0)))
    for name, sd_rad, width_rad, step_rad in (
        ("bearing_sd_rad", echoes.athwart_sd_rad, athwart_width_rad, athwart_step_rad),
        ("elevation_sd_rad", echoes.along_sd_rad, along_width_rad, along_step_rad),
    ):
        noise_rad2 = (width_rad / 4.0) ** 2 / snr
        out[name] = np.sqrt(sd_rad**2 / np.maximum(echoes.samples, 1) + noise_rad2 + step_rad**2 / 12.0 + glint_rad**2)
    out["length_m"] = length_m
    out["width_m"] = np.maximum(echoes.range_m * echoes.athwart_span_rad, 0.0)
    out["area_m2"] = length_m * echoes.range_m * athwart_width_rad
    out["peak"] = power[echoes.peak]
    out["total"] = echoes.total
    out["mean"] = echoes.total / np.maximum(echoes.samples, 1)
    out["snr_db"] = to_db(snr)
    out["ts_db"] = echoes.ts_db
    out["cells"] = echoes.samples
    return out
