"""What a simulated sonar hears: speckle, structure and animals as complex samples.

Speckle is correlated between neighbouring cells by the same Gaussian point spread that animals are seen with. A
correlation of exp(-d^2 / 4 s^2) at a distance of d cells belongs to a point spread of s cells in amplitude. A packet of
a Kongsberg M3 (128 beams, 20 us) has a coherence of 0.65 between samples and 0.72 between beams, hence the defaults.

A ping of 256 beams x 1500 samples must cost a few milliseconds, because simulator and appliance often share a small
computer. Speckle is therefore cut from two fields made at the start, at random places, and added: the sum of two
independent Gaussian fields is Gaussian, and the same sum practically never comes back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nims_appliance.decoder import SimulatedPing

from .swarm import Animal, Swarm, Waters

RECEIVER_NOISE = 0.05
"""Part of the speckle's power that is white: the receiver's own."""
RANGE_SPREAD_CELLS = 0.81
"""With the white part, a coherence of 0.65 between samples."""
BEARING_SPREAD_RAD = math.radians(0.89)
"""With the white part, a coherence of 0.72 between beams 0.9375 degrees apart."""


class ImagingScene:
    """A fan of beams that looks at the foot of a turbine, with animals that swim past it."""

    SPARE_SAMPLES, SPARE_BEAMS = 256, 64
    """How much larger the speckle fields are than the image: the choice of places to cut from."""

    def __init__(
        self,
        range_m: np.ndarray,
        bearing_rad: np.ndarray,
        *,
        seed: int,
        residents: int = 4,
        passers: int = 2,
        snr_db: tuple[float, float] = (14.0, 26.0),
        structure: bool = True,
        bearing_spread_rad: float = BEARING_SPREAD_RAD,
    ) -> None:
        """Args:
        range_m: middles of the samples, increasing, uniform, shape (samples,).
        bearing_rad: increasing, shape (beams,).
        snr_db: least and most strength of an animal, peak power over mean speckle power.
        """
        self._range_m, self._bearing_rad = range_m, bearing_rad
        samples, beams = len(range_m), len(bearing_rad)
        fixed, swim, self._rng = np.random.default_rng(seed).spawn(3)
        spacing_rad = (bearing_rad[-1] - bearing_rad[0]) / max(beams - 1, 1)
        self._spread = (RANGE_SPREAD_CELLS, max(bearing_spread_rad / max(spacing_rad, 1e-9), 0.3))
        self._power = _mean_speckle_power(fixed, range_m, bearing_rad)
        # Pairs of floats and not complex numbers: real times real is several times faster than complex times real.
        self._amplitude = np.repeat(np.sqrt(self._power).astype(np.float32), 2, axis=1)
        shape = (samples + self.SPARE_SAMPLES, beams + self.SPARE_BEAMS)
        self._fields = [
            (speckle(fixed, shape, self._spread) * np.float32(math.sqrt(0.5))).view(np.float32) for _ in range(2)
        ]
        self._structure = self._make_structure(fixed) if structure else []
        waters = Waters(float(range_m[0]), float(range_m[-1]), float(min(-bearing_rad[0], bearing_rad[-1])))
        self._swarm = Swarm(swim, waters, residents=residents, passers=passers, strength_db=snr_db)
        self._time_s = math.nan

    def ping(self, number: int, time_s: float) -> SimulatedPing:
        """Return what is heard at `time_s`; animals have swum since the last ping, at most one second."""
        self._swarm.move(_elapsed_s(self._time_s, time_s))
        self._time_s = time_s
        field = self._speckle()
        for rows, columns, echo in self._structure:
            phase = np.complex64(np.exp(1j * self._rng.normal(0.0, 0.05)))
            field[rows, columns] += echo * phase
        animals = self._swarm.animals()
        for animal in animals:
            self._add_animal(field, animal)
        return SimulatedPing(number, time_s, field, self._range_m, self._bearing_rad, truth=animals)

    def _speckle(self) -> np.ndarray:
        samples, beams = len(self._range_m), len(self._bearing_rad)
        cuts = []
        for field in self._fields:
            row = int(self._rng.integers(self.SPARE_SAMPLES))
            column = 2 * int(self._rng.integers(self.SPARE_BEAMS))
            cuts.append(field[row : row + samples, column : column + 2 * beams])
        combine = np.add if self._rng.random() < 0.5 else np.subtract
        sum_ = combine(cuts[0], cuts[1])
        sum_ *= self._amplitude
        return sum_.view(np.complex64)

    def _add_animal(self, field: np.ndarray, animal: Animal) -> None:
        """Add an animal as points along its body; most of its power comes from one, its swim bladder or lungs."""
        spacing_m = self._range_m[1] - self._range_m[0] if len(self._range_m) > 1 else 1.0
        points = min(max(round(animal.length_m / (4 * spacing_m)), 1), 5)
        heading = np.asarray(animal.velocity_m_s[:2])
        heading = heading / max(float(np.hypot(*heading)), 1e-9)
        centre = animal.range_m * np.array([math.sin(animal.bearing_rad), math.cos(animal.bearing_rad)])
        power = self._power[self._cell(animal.range_m, animal.bearing_rad)] * 10 ** (animal.strength_db / 10)
        shares = np.full(points, 0.3 / max(points - 1, 1))
        shares[points // 2] = 0.7 if points > 1 else 1.0
        for share, offset in zip(shares, np.linspace(-0.5, 0.5, points) if points > 1 else [0.0], strict=True):
            x, y = centre + offset * animal.length_m * heading
            # Between pings an animal moves by many wavelengths: every phase is as likely.
            phase = np.exp(1j * self._rng.uniform(0.0, 2 * math.pi))
            self._add_point(
                field, math.hypot(x, y), math.atan2(x, y), math.sqrt(share * power) * animal.tail_gain * phase
            )

    def _add_point(self, field: np.ndarray, range_m: float, bearing_rad: float, amplitude: complex) -> None:
        samples, beams = field.shape
        row = float(np.interp(range_m, self._range_m, np.arange(samples), left=-99.0, right=samples + 99.0))
        column = float(np.interp(bearing_rad, self._bearing_rad, np.arange(beams), left=-99.0, right=beams + 99.0))
        weights, windows = [], []
        for centre, spread, length in ((row, self._spread[0], samples), (column, self._spread[1], beams)):
            first, last = max(math.floor(centre - 4 * spread), 0), min(math.ceil(centre + 4 * spread) + 1, length)
            if first >= last:
                return
            windows.append(slice(first, last))
            weights.append(np.exp(-0.5 * ((np.arange(first, last) - centre) / spread) ** 2))
        field[windows[0], windows[1]] += (amplitude * np.outer(weights[0], weights[1])).astype(np.complex64)

    def _cell(self, range_m: float, bearing_rad: float) -> tuple[int, int]:
        row = min(int(np.searchsorted(self._range_m, range_m)), len(self._range_m) - 1)
        return row, min(int(np.searchsorted(self._bearing_rad, bearing_rad)), len(self._bearing_rad) - 1)

    def _make_structure(self, rng: np.random.Generator) -> list[tuple[slice, slice, np.ndarray]]:
        """Return (rows, beams, complex64 echo) of a foundation, two legs and the bottom."""
        range_m, bearing_rad = self._range_m[:, None], self._bearing_rad[None, :]
        near, span = range_m[0, 0], range_m[-1, 0] - range_m[0, 0]
        side = max(-self._bearing_rad[0], self._bearing_rad[-1], 0.01)
        amplitude = math.sqrt(float(self._power.mean()))

        def at(part: float) -> float:
            return float(near + part * span)

        def bump(values: np.ndarray, centre: float, width: float) -> np.ndarray:
            return np.exp(-0.5 * ((values - centre) / width) ** 2)

        def box(values: np.ndarray, low: float, high: float, edge: float) -> np.ndarray:
            # Bounded exponents: far from the edge nothing but 0 or 1 is meant.
            rise = np.clip((low - values) / edge, -50, 50)
            fall = np.clip((values - high) / edge, -50, 50)
            return 1 / (1 + np.exp(rise)) / (1 + np.exp(fall))

        bottom_m = at(0.93) - 0.02 * span * bearing_rad / side
        envelopes = [
            30 * bump(range_m, at(0.42), 0.012 * span) * box(bearing_rad, -0.2 * side, 0.1 * side, 0.012 * side),
            18 * bump(range_m, at(0.47), 0.014 * span) * bump(bearing_rad, -0.5 * side, 0.02 * side),
            18 * bump(range_m, at(0.47), 0.014 * span) * bump(bearing_rad, 0.37 * side, 0.02 * side),
            5 * bump(range_m - bottom_m, 0.0, 0.014 * span) * np.ones_like(bearing_rad),
        ]
        parts = []
        for envelope in envelopes:
            strong = envelope > 0.02
            rows, columns = np.flatnonzero(strong.any(axis=1)), np.flatnonzero(strong.any(axis=0))
            if rows.size and columns.size:
                window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
                texture = speckle(rng, envelope[window].shape, self._spread)
                parts.append((*window, (amplitude * envelope[window] * texture).astype(np.complex64)))
        return parts


class SplitBeamScene:
    """A downward split beam: fish that swim through it above the bottom.

    Amplitudes are in root watts: `received_db` of the device's sonar equation turns target strength into power.
    """

    def __init__(
        self,
        range_m: np.ndarray,
        *,
        seed: int,
        source_db: float,
        absorption_db_m: float,
        beamwidth_rad: float,
        pulse_m: float,
        residents: int = 4,
        passers: int = 2,
        ts_db: tuple[float, float] = (-44.0, -32.0),
        noise_db: float = -125.0,
    ) -> None:
        """Args:
        range_m: middles of the samples, increasing, shape (samples,).
        source_db: 10 lg(Pt G^2 lambda^2 / (16 pi^2)), so that P = TS + source - 40 lg r - 2 alpha r.
        beamwidth_rad: full one-way -3 dB width, the same along and athwart.
        pulse_m: length of the pulse in range, c tau / 2.
        noise_db: power of the noise, dB re 1 W.
        """
        self._range_m = range_m
        self._source_db, self._absorption_db_m = source_db, absorption_db_m
        self._beamwidth_rad, self._pulse_m = beamwidth_rad, pulse_m
        self._noise = 10 ** (noise_db / 20)
        swim, self._rng = np.random.default_rng(seed).spawn(2)
        waters = Waters(
            max(float(range_m[0]), 1.0), 0.85 * float(range_m[-1]), 0.9 * beamwidth_rad, 0.9 * beamwidth_rad
        )
        self._swarm = Swarm(
            swim, waters, residents=residents, passers=passers, strength_db=ts_db, speed_m_s=(0.05, 0.4)
        )
        self._bottom_m = 0.9 * float(range_m[-1])
        self._time_s = math.nan

    def received_db(self, ts_db: float, range_m: float) -> float:
        """Return the power of a target on the axis, dB re 1 W."""
        return ts_db + self._source_db - 40 * math.log10(range_m) - 2 * self._absorption_db_m * range_m

    def beam_loss_db(self, along_rad: float, athwart_rad: float) -> float:
        """Return the two-way loss off the axis, dB: 6.0206 (x^2 + y^2 - 0.18 x^2 y^2), x and y in half beam widths."""
        x, y = (2 * angle_rad / self._beamwidth_rad for angle_rad in (along_rad, athwart_rad))
        return 6.0206 * (x * x + y * y - 0.18 * x * x * y * y)

    def ping(self, number: int, time_s: float) -> SimulatedPing:
        """Return what is heard at `time_s`; animals have swum since the last ping, at most one second."""
        self._swarm.move(_elapsed_s(self._time_s, time_s))
        self._time_s = time_s
        samples = len(self._range_m)
        # Row 0 is the sum of the beam's quadrants, rows 1 and 2 are weighted with the angles that they see.
        fields = self._complex_noise((3, samples)) * self._noise
        fields[1:] *= 0.5 * self._beamwidth_rad
        animals = self._swarm.animals()
        for animal in animals:
            along_rad, athwart_rad = animal.elevation_rad, animal.bearing_rad
            loss_db = self.beam_loss_db(along_rad, athwart_rad)
            power_db = self.received_db(animal.strength_db, animal.range_m) - loss_db
            amplitude = 10 ** (power_db / 20) * animal.tail_gain * np.exp(1j * self._rng.uniform(0, 2 * math.pi))
            echo = amplitude * self._pulse(animal.range_m)
            fields += np.array([[1.0], [along_rad], [athwart_rad]]) * echo
        bottom_db = self._source_db - 20 * math.log10(self._bottom_m) - 2 * self._absorption_db_m * self._bottom_m - 20
        after = np.clip(self._range_m - self._bottom_m, -1e3, 1e3)
        envelope = np.where(after < 0, np.exp(-0.5 * (after / (0.5 * self._pulse_m)) ** 2), np.exp(-after / 2.0))
        fields += 10 ** (bottom_db / 20) * envelope * self._complex_noise((3, samples)) * [[1.0], [0.01], [0.01]]
        total = fields[0]
        ratio = fields[1:] * total.conj() / np.maximum(np.abs(total) ** 2, 1e-30)
        along_rad_, athwart_rad_ = np.clip(ratio.real, -1.5 * self._beamwidth_rad, 1.5 * self._beamwidth_rad)
        return SimulatedPing(
            number,
            time_s,
            total.astype(np.complex64)[:, None],
            self._range_m,
            np.zeros(1),
            along_rad=along_rad_.astype(np.float32),
            athwart_rad=athwart_rad_.astype(np.float32),
            truth=animals,
        )

    def _pulse(self, range_m: float) -> np.ndarray:
        """Amplitude of an echo over range: a pulse that is 6 dB down half its length from its middle, on both sides."""
        spread_m = 0.5 * self._pulse_m / math.sqrt(2 * math.log(2))
        return np.exp(-0.5 * ((self._range_m - range_m) / spread_m) ** 2)

    def _complex_noise(self, shape: tuple[int, ...]) -> np.ndarray:
        pair = self._rng.standard_normal((2, *shape))
        return (pair[0] + 1j * pair[1]) * math.sqrt(0.5)


def speckle(rng: np.random.Generator, shape: tuple[int, ...], spread_cells: Sequence[float]) -> np.ndarray:
    """Return complex64 circular Gaussian noise of unit power, correlated as by a Gaussian point spread.

    Args:
      spread_cells: standard deviation of the point spread (amplitude) along each axis, cells. The field wraps around.
    """
    white = rng.standard_normal((2, 2, *shape), dtype=np.float32)
    smooth = np.fft.fft2(white[0, 0] + 1j * white[0, 1])
    for axis, (length, spread) in enumerate(zip(shape, spread_cells, strict=True)):
        transfer = np.exp(-2 * (math.pi * np.fft.fftfreq(length) * spread) ** 2).astype(np.float32)
        smooth *= transfer.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    smooth = np.fft.ifft2(smooth)
    smooth *= math.sqrt(1 - RECEIVER_NOISE) / np.sqrt(np.mean(np.abs(smooth) ** 2))
    noise = (white[1, 0] + 1j * white[1, 1]) * math.sqrt(RECEIVER_NOISE / 2)
    return np.ascontiguousarray(smooth + noise, dtype=np.complex64)


def _mean_speckle_power(rng: np.random.Generator, range_m: np.ndarray, bearing_rad: np.ndarray) -> np.ndarray:
    """Return the mean power of each cell: reverberation that fades with range, beams of unequal gain, fixed texture."""
    span_m = max(float(range_m[-1] - range_m[0]), 1e-6)
    over_range = 0.06 + 0.5 * np.exp(-(range_m - range_m[0]) / (0.2 * span_m))
    over_beam = np.cos(0.6 * bearing_rad) ** 4 * 10 ** (rng.normal(0.0, 0.4, len(bearing_rad)) / 10)
    texture = speckle(rng, (len(range_m), len(bearing_rad)), (6.0, 4.0)).real * math.sqrt(2)
    return over_range[:, None] * over_beam[None, :] * 10 ** (2.0 * texture / 10)


def _elapsed_s(before_s: float, now_s: float) -> float:
    """Time that passed for the animals; a clock that jumps moves nobody far."""
    return 0.0 if math.isnan(before_s) else min(max(now_s - before_s, 0.0), 1.0)
