"""The simulated devices: what the scene sounds like, in the bytes that the real ones send."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from nims_ek60.wire import encode_ek500_ping
from nims_m3.wire import encode_packet
from nims_oculus import wire as oculus

from nims_appliance.decoder import SimulatedPing

from .scene import ImagingScene, SplitBeamScene

SOUND_SPEED_M_S = 1500.0


class SimulatedM3:
    """A Kongsberg M3 in imaging mode: pings by itself, sends beamformed complex packets (0x1002)."""

    NEAR_M, FAR_M = 1.0, 40.0
    SECTOR_RAD = math.radians(120.0)
    FREQUENCY_HZ = 500_000.0
    pinging = True

    def __init__(
        self, *, rate_hz: float | None = None, beams: int | None = None, samples: int | None = None, seed: int = 1
    ) -> None:
        self.rate_hz = rate_hz or 10.0
        range_m = np.linspace(self.NEAR_M, self.FAR_M, samples or 1500)
        half_rad = self.SECTOR_RAD / 2
        self._step_m = float(range_m[1] - range_m[0]) if len(range_m) > 1 else 0.01
        self._scene = ImagingScene(range_m, np.linspace(-half_rad, half_rad, beams or 256), seed=seed)

    def ping(self, number: int, time_s: float) -> SimulatedPing:
        return self._scene.ping(number, time_s)

    def encode(self, ping: SimulatedPing) -> list[bytes]:
        return [
            encode_packet(
                ping.samples,
                bearing_rad=ping.bearing_rad,
                time_s=ping.time_s,
                ping_number=ping.number,
                sound_speed_m_s=SOUND_SPEED_M_S,
                first_range_m=float(ping.range_m[0]),
                sample_interval_s=2 * self._step_m / SOUND_SPEED_M_S,
                frequency_hz=self.FREQUENCY_HZ,
                # As in the real one's modes, the pulse is about two samples long.
                pulse_length_s=4 * self._step_m / SOUND_SPEED_M_S,
                ping_rate_hz=self.rate_hz,
                app_name="Simulated imaging",
            )
        ]

    def idle(self) -> bytes:
        return b""

    def receive(self, data: bytes) -> tuple[int, bytes]:
        return len(data), b""  # the data port takes no commands


class SimulatedOculus:
    """A Blueprint Oculus: sends dummy messages until a fire message starts it, then pings as that message asks.

    Rate, number of beams and of samples given here win over what the client asks for.
    """

    MODES: ClassVar = {
        1: (1.2e6, math.radians(130.0), 40.0, math.radians(0.6)),
        2: (2.1e6, math.radians(80.0), 10.0, math.radians(0.4)),
    }
    """By masterMode: frequency, sector, farthest range, -3 dB beam width."""
    CLOCK_TICKS_S = 1_000_000_000
    """The ping clock of version 1; it wraps at 32 bits."""
    NEAREST_RANGE_M = 0.3
    LARGEST_MESSAGE = 1024
    """No client sends more in one message; a longer one is garbage."""

    def __init__(
        self, *, rate_hz: float | None = None, beams: int | None = None, samples: int | None = None, seed: int = 1
    ) -> None:
        self.rate_hz = rate_hz or 10.0
        self._fixed_rate, self._fixed_beams, self._samples = rate_hz is not None, beams, samples or 800
        self._seed = seed
        self._fire: oculus.Fire | None = None
        self._version = 1
        self._pinged_fire, self._pinged_version = oculus.Fire(), 1
        self._scene: ImagingScene | None = None
        self._scene_key: tuple[object, ...] = ()

    @property
    def pinging(self) -> bool:
        return self._fire is not None

    def ping(self, number: int, time_s: float) -> SimulatedPing:
        # A new fire message may come while this ping is made and encoded; it takes effect with the next one.
        fire, self._pinged_version = self._fire or self._pinged_fire, self._version
        self._pinged_fire = fire
        _, sector_rad, _, beam_width_rad = self.MODES[fire.mode]
        beams = self._fixed_beams or (512 if fire.beams_512 else 256)
        key = (beams, sector_rad, fire.range_m)
        if self._scene is None or key != self._scene_key:
            # Beams of a line array are equally spaced in the sine of the bearing.
            bearing_rad = np.arcsin(np.linspace(-1.0, 1.0, beams) * math.sin(sector_rad / 2))
            step_m = fire.range_m / self._samples
            range_m = (np.arange(self._samples) + 0.5) * step_m
            # A Gaussian of amplitude is 3 dB down at 0.8326 standard deviations.
            spread_rad = beam_width_rad / 2 / 0.8326
            self._scene = ImagingScene(range_m, bearing_rad, seed=self._seed, bearing_spread_rad=spread_rad)
            self._scene_key = key
        return self._scene.ping(number, time_s)

    def encode(self, ping: SimulatedPing) -> list[bytes]:
        fire = self._pinged_fire
        samples = len(ping.range_m)
        gains = None
        # Middle gain puts the speckle at a tenth of full scale in 8 bit and leaves 16 bit their dynamic range.
        amplitude = np.abs(ping.samples) * (
            (64.0 if fire.wide_samples else 24.0) * 10 ** ((fire.gain_percent - 50) / 100)
        )
        if fire.send_gain:
            gains = np.rint(100 * (1 + np.arange(samples) / samples) ** 2)
            amplitude *= (np.sqrt(gains) / 10).astype(np.float32)[:, None]
        element: type[np.unsignedinteger] = np.uint16 if fire.wide_samples else np.uint8
        image = np.minimum(np.rint(amplitude), np.iinfo(element).max).astype(element)
        clock_s = ping.number / self.rate_hz
        frequency_hz, *_ = self.MODES[fire.mode]
        return [
            oculus.encode_ping(
                image,
                bearing_rad=ping.bearing_rad,
                range_resolution_m=fire.range_m / samples,
                ping_id=ping.number,
                frequency_hz=frequency_hz,
                sound_speed_m_s=fire.sound_speed_m_s or SOUND_SPEED_M_S,
                version=self._pinged_version,
                gains=gains,
                ping_start=clock_s if self._pinged_version == 2 else int(clock_s * self.CLOCK_TICKS_S) % 2**32,
                fire=fire,
            )
        ]

    def idle(self) -> bytes:
        return oculus.encode_dummy()

    def receive(self, data: bytes) -> tuple[int, bytes]:
        consumed = 0
        while True:
            start = data.find(oculus.SYNC, consumed)
            if start < 0:
                # The last byte may be the first half of a message's start.
                return (len(data) - 1 if data[-1:] == oculus.SYNC[:1] else len(data)), b""
            if len(data) - start < oculus.HEADER.itemsize:
                return start, b""
            header = np.frombuffer(data, oculus.HEADER, count=1, offset=start)[0]
            size = oculus.HEADER.itemsize + int(header["payload_bytes"])
            if size > self.LARGEST_MESSAGE:
                consumed = start + 1
                continue
            if len(data) - start < size:
                return start, b""
            if header["message"] == oculus.SIMPLE_FIRE:
                self._take_fire(data[start : start + size], int(header["version"]))
            consumed = start + size

    def _take_fire(self, message: bytes, version: int) -> None:
        try:
            fire = oculus.parse_fire(message)
        except ValueError:
            return  # as the real one: a message that is not understood changes nothing
        flags = int(np.frombuffer(message, oculus.FIRE_V1, count=1)[0]["flags"])
        if fire.mode not in self.MODES or not math.isfinite(fire.range_m) or not math.isfinite(fire.gain_percent):
            return
        farthest_m = self.MODES[fire.mode][2]
        range_m = fire.range_m if flags & oculus.FLAG_RANGE_IN_METRES else fire.range_m / 100 * farthest_m
        fields = {name: getattr(fire, name) for name in oculus.Fire.__dataclass_fields__}
        fields["range_m"] = min(max(range_m, self.NEAREST_RANGE_M), farthest_m)
        fields["gain_percent"] = min(max(fire.gain_percent, 0.0), 100.0)
        if fire.ping_rate_hz == 0:
            self._fire = None
            return
        self._version = 2 if version == 2 else 1
        if not self._fixed_rate:
            self.rate_hz = float(fire.ping_rate_hz)
        self._fire = oculus.Fire(**fields)


class SimulatedEK60:
    """A Simrad EK60 with one split-beam channel that sends EK500 telegrams (angles B1, power W1) over UDP.

    It runs with the settings that the EK60 driver assumes where the telegrams do not tell; transmit power, which the
    driver cannot guess, has to be configured as `TRANSMIT_POWER_W` to see calibrated target strengths.
    """

    SOUND_SPEED_M_S = 1490.0
    FREQUENCY_HZ = 120_000.0
    TRANSMIT_POWER_W = 250.0
    GAIN_DB = 27.0
    ABSORPTION_DB_M = 0.038
    PULSE_LENGTH_S = 128e-6
    SAMPLE_INTERVAL_M = 0.0238
    BEAMWIDTH_RAD = math.radians(7.0)
    SENSITIVITY = 21.0
    """Electrical over mechanical angle, along and athwart."""
    pinging = True

    def __init__(
        self, *, rate_hz: float | None = None, beams: int | None = None, samples: int | None = None, seed: int = 1
    ) -> None:
        if beams not in (None, 1):
            raise ValueError(f"beams: a split-beam sounder has 1, got {beams}")
        self.rate_hz = rate_hz or 4.0
        wavelength_m = self.SOUND_SPEED_M_S / self.FREQUENCY_HZ
        self._scene = SplitBeamScene(
            np.arange(samples or 1500) * self.SAMPLE_INTERVAL_M,
            seed=seed,
            source_db=10 * math.log10(self.TRANSMIT_POWER_W * wavelength_m**2 / (16 * math.pi**2)) + 2 * self.GAIN_DB,
            absorption_db_m=self.ABSORPTION_DB_M,
            beamwidth_rad=self.BEAMWIDTH_RAD,
            pulse_m=self.PULSE_LENGTH_S * self.SOUND_SPEED_M_S / 2,
        )

    def ping(self, number: int, time_s: float) -> SimulatedPing:
        return self._scene.ping(number, time_s)

    def encode(self, ping: SimulatedPing) -> list[bytes]:
        assert ping.along_rad is not None
        assert ping.athwart_rad is not None
        power_db = 20 * np.log10(np.maximum(np.abs(ping.samples[:, 0]), 1e-15))
        return encode_ek500_ping(
            power_db,
            np.degrees(ping.athwart_rad) * self.SENSITIVITY,
            np.degrees(ping.along_rad) * self.SENSITIVITY,
            time_s=ping.time_s,
        )

    def idle(self) -> bytes:
        return b""

    def receive(self, data: bytes) -> tuple[int, bytes]:
        return len(data), b""
