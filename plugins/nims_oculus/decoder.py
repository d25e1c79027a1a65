"""Decoder of the Blueprint Oculus TCP stream, and of files that hold the bytes of such a stream."""

from __future__ import annotations

import math
import struct
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from nims_ext.decode import to_intensity
from nims_ext.pool import Pool

from nims_appliance.decoder import Decoded, DecoderContext, DecoderStatistics
from nims_appliance.frame import Arrival, Frame, Pose
from nims_appliance.framing import Axis, Rejected, StreamFramer, is_mirrored
from nims_appliance.profile import LimitsSettings
from nims_appliance.settings import Settings

from . import wire

HEAD = struct.Struct("<6xHHI2x")
"""The message header: message, version, payload bytes."""
SOUND_SPEED_M_S = (1300.0, 1700.0)
RANGE_RESOLUTION_M = (1e-5, 10.0)
FREQUENCY_HZ = (1e4, 1e7)
MAX_OTHER_BYTES = 64 * 1024
"""Largest message that is not a ping, and most bytes behind the image of a ping."""
MAX_INTERVAL_S = 60.0
"""The ping clock is not believed over longer gaps: the sonar may have been switched off."""


class OculusSettings(Settings, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Settings of the driver `oculus`."""

    control: Annotated[
        bool, Meta(description="Command the sonar; off: only listen, while another program commands it")
    ] = True
    mode: Annotated[int, Meta(ge=1, le=2, description="1 low frequency and wide sector, 2 high frequency")] = 1
    ping_rate_hz: Annotated[Literal[0, 2, 5, 10, 15, 40], Meta(description="Highest ping rate, Hz; 0 is standby")] = 10
    range_m: Annotated[float, Meta(gt=0, le=200, description="Range, metres")] = 10.0
    gain_percent: Annotated[float, Meta(ge=0, le=100, description="Receiver gain, percent")] = 50.0
    gain_assist: Annotated[bool, Meta(description="Let the sonar change the gain by itself")] = False
    send_gain: Annotated[bool, Meta(description="Have the gain of every row sent, and undo it")] = True
    gamma: Annotated[
        int, Meta(ge=1, le=255, description="Compression of the image; 255 is none, as detection needs it")
    ] = 255
    wide_samples: Annotated[bool, Meta(description="16 bit samples instead of 8")] = True
    beams_512: Annotated[bool, Meta(description="512 beams instead of 256")] = True
    sound_speed_m_s: Annotated[
        float, Meta(ge=0, le=1700, description="Speed of sound, m/s; 0: the sonar computes it from the salinity")
    ] = 0.0
    salinity_ppt: Annotated[float, Meta(ge=0, le=42, description="Salinity, ppt; 0 is fresh water")] = 35.0
    fire_version: Annotated[int, Meta(ge=1, le=2, description="Version of the fire message")] = 1
    beam_width_deg: Annotated[float, Meta(gt=0, le=90, description="-3 dB width of a beam in mode 1, degrees")] = 0.6
    high_frequency_beam_width_deg: Annotated[float, Meta(gt=0, le=90, description="The same in mode 2, degrees")] = 0.4
    ping_clock_tick_s: Annotated[
        float, Meta(gt=0, description="Unit of the ping clock in version 1 messages, seconds; times the pings of files")
    ] = 1e-9

    def fire(self) -> wire.Fire:
        """Return what the sonar is asked for."""
        return wire.Fire(
            mode=self.mode,
            ping_rate_hz=self.ping_rate_hz,
            range_m=self.range_m,
            gain_percent=self.gain_percent,
            gamma=self.gamma,
            sound_speed_m_s=self.sound_speed_m_s,
            salinity_ppt=self.salinity_ppt,
            wide_samples=self.wide_samples,
            send_gain=self.send_gain,
            gain_assist=self.gain_assist,
            beams_512=self.beams_512,
        )


class OculusPackets:
    """What the headers of Oculus messages look like, as `StreamFramer` asks it."""

    title = "Blueprint Oculus"
    sync = wire.SYNC
    head_bytes = wire.PING_V2.itemsize
    proves_end = False
    is_sure = True

    def __init__(self, limits: LimitsSettings) -> None:
        self._limits = limits

    def packet_bytes(self, head: memoryview, in_step: bool) -> int:
        """Return the size of the message; every size of a ping is checked against the limits and the others.

        The sync word has 16 bits only: while searching, nothing but pings (whose sizes agree) and dummies are believed.
        """
        if len(head) < HEAD.size:
            return HEAD.size
        message, version, payload_bytes = HEAD.unpack_from(head)
        if message == wire.SIMPLE_PING_RESULT:
            return self._ping_bytes(head, version, payload_bytes)
        if message == wire.PING_RESULT:
            raise Rejected(
                "full ping result",
                "Oculus message 0x22: expected simple ping results (0x23), got a full one: fire with simple return",
            )
        most = MAX_OTHER_BYTES if in_step else 0
        known = wire.OTHER_MESSAGES if in_step else (wire.DUMMY,)
        if message not in known:
            raise Rejected("message id", f"Oculus message: expected one of the known ids, got {message:#06x}")
        if payload_bytes > most:
            raise Rejected(
                "payload size", f"Oculus message {message:#04x}: expected at most {most} bytes, got {payload_bytes}"
            )
        return HEAD.size + payload_bytes

    def _ping_bytes(self, head: memoryview, version: int, payload_bytes: int) -> int:
        if version > 2:
            raise Rejected("ping version", f"Oculus ping: expected version 0, 1 or 2, got {version}")
        layout = wire.ping_layout(version)
        if len(head) < layout.itemsize:
            return layout.itemsize
        ping = np.frombuffer(head, layout, 1)[0]
        limits = self._limits
        ranges, beams, data_size = int(ping["ranges"]), int(ping["beams"]), int(ping["data_size"])
        for name, count, most in (("beams", beams, limits.beams), ("ranges", ranges, limits.samples)):
            if not 1 <= count <= most:
                raise Rejected(name, f"Oculus ping: expected 1 to {most} {name} (the profile's limit), got {count}")
        if data_size >= len(wire.ELEMENT_BYTES):
            raise Rejected("data size", f"Oculus ping: expected data size 0 to 3 (8 to 32 bit), got {data_size}")
        row_bytes = beams * wire.ELEMENT_BYTES[data_size]
        image_offset, image_bytes = int(ping["image_offset"]), int(ping["image_bytes"])
        if image_bytes not in (ranges * row_bytes, ranges * (row_bytes + wire.GAIN_BYTES)):
            raise Rejected(
                "image size",
                f"Oculus ping: expected an image of {ranges * row_bytes} bytes for {ranges} ranges x {beams} beams "
                f"({ranges * (row_bytes + wire.GAIN_BYTES)} with gains), got {image_bytes}",
            )
        least = layout.itemsize + 2 * beams
        message_bytes = HEAD.size + payload_bytes
        most = message_bytes - image_bytes
        if not least <= image_offset <= most:
            raise Rejected(
                "image offset", f"Oculus ping: expected an image offset of {least} to {most}, got {image_offset}"
            )
        if image_offset + image_bytes + MAX_OTHER_BYTES < message_bytes:
            raise Rejected(
                "payload size",
                f"Oculus ping: expected a payload of about {image_offset + image_bytes} bytes, got {payload_bytes}",
            )
        if message_bytes > limits.packet_bytes:
            raise Rejected(
                "message size",
                f"Oculus ping: expected at most {limits.packet_bytes} bytes (the profile's limit), got {message_bytes}",
            )
        for name, unit, field, bounds in (
            ("speed of sound", "m/s", "sound_speed_m_s", SOUND_SPEED_M_S),
            ("range resolution", "m", "range_resolution_m", RANGE_RESOLUTION_M),
            ("frequency", "Hz", "frequency_hz", FREQUENCY_HZ),
        ):
            value, (low, high) = float(ping[field]), bounds
            if not low <= value <= high:  # false for NaN too
                raise Rejected(
                    "header value", f"Oculus ping: {name}: expected {low:g} to {high:g} {unit}, got {value!r}"
                )
        return message_bytes


class OculusDecoder(OculusPackets):
    """Turns the stream into frames and starts the pings; keeps `StreamDecoder`.

    A ping carries no time of day. Its time is that of its arrival. In a file that keeps no times the first ping has
    that of its reading, and the sonar's ping clock (since power-up) gives the intervals; where that clock makes no
    sense, the arrival again.
    """

    def __init__(self, context: DecoderContext) -> None:
        super().__init__(context.profile.limits)
        self.statistics = DecoderStatistics()
        self._settings: OculusSettings = context.settings
        self._live = context.live
        self._timed = context.timed
        self._mirrored = is_mirrored(context.mounting)
        self._pool = Pool()
        self._framer = StreamFramer(self, self.statistics)
        self._range = Axis()
        self._bearing = Axis()
        self._clock_s = math.nan
        self._time_s = -math.inf

    def on_connect(self) -> bytes:
        """Start anew, and return the fire message for a sonar that we command."""
        self._framer.restart()
        self._clock_s = math.nan
        if not (self._live and self._settings.control):
            return b""
        return wire.encode_fire(self._settings.fire(), version=self._settings.fire_version)

    def decode(self, view: memoryview, arrival: Arrival) -> Decoded:
        """Return the pings at the front of `view`, and the fire message if the sonar stands by."""
        return self._framer.decode(view, arrival)

    def finish(self, arrival: Arrival) -> list[Frame]:
        """Return nothing: every ping is given as soon as it is whole."""
        return []

    def take(self, packet: memoryview, arrival: Arrival, answer: Decoded) -> None:
        """Decode one message: a ping in one pass over its samples."""
        message, version, _ = HEAD.unpack_from(packet)
        settings = self._settings
        if message == wire.DUMMY and self._live and settings.control and settings.ping_rate_hz and not answer.send:
            answer.send = wire.encode_fire(settings.fire(), version=settings.fire_version)
        if message != wire.SIMPLE_PING_RESULT:
            return
        layout = wire.ping_layout(version)
        ping = np.frombuffer(packet, layout, 1)[0]
        ranges, beams = int(ping["ranges"]), int(ping["beams"])
        image_offset, element_bytes = int(ping["image_offset"]), wire.ELEMENT_BYTES[ping["data_size"]]
        line_bytes = int(ping["image_bytes"]) // ranges
        bearing_rad, flip = self._bearings(packet, layout.itemsize, beams)
        line_factor = None
        if line_bytes > beams * element_bytes:
            line_factor = self._gain_factors(packet, image_offset, line_bytes, ranges)
            image_offset += wire.GAIN_BYTES
        intensity = self._pool.take((ranges, beams), np.float32)
        to_intensity(
            packet,
            intensity,
            offset=image_offset,
            line_bytes=line_bytes,
            element=f"u{8 * element_bytes}",
            flip=flip,
            line_factor=line_factor,
        )
        interval_s = self._interval_s(ping, version)
        resolution_m = float(ping["range_resolution_m"])
        high_frequency = ping["fire"]["mode"] == 2
        beam_width_deg = settings.high_frequency_beam_width_deg if high_frequency else settings.beam_width_deg
        answer.frames.append(
            Frame(
                intensity=intensity,
                unit="counts^2",
                range_m=self._range.get((resolution_m, ranges), lambda: (np.arange(ranges) + 0.5) * resolution_m),
                bearing_rad=bearing_rad,
                time_s=self._ping_time_s(interval_s, arrival),
                ping_number=int(ping["ping_id"]),
                sound_speed_m_s=float(ping["sound_speed_m_s"]),
                frequency_hz=float(ping["frequency_hz"]),
                pulse_length_s=math.nan,
                ping_interval_s=interval_s,
                beam_width_rad=math.radians(beam_width_deg),
                range_resolution_m=resolution_m,
                pose=_pose(ping) if version == 2 else None,
                device=f"Blueprint Oculus {'high' if high_frequency else 'low'} frequency",
            )
        )

    def _bearings(self, packet: memoryview, offset: int, beams: int) -> tuple[np.ndarray, bool]:
        """Bearings in ascending order, and whether that is the reverse of the order of the message."""
        sent = np.frombuffer(packet, "<i2", beams, offset)
        steps = np.diff(sent.astype(np.int32))
        descending = beams > 1 and bool((steps < 0).all())
        if not (descending or (steps > 0).all()) or max(abs(int(sent[0])), abs(int(sent[-1]))) > 180_00:
            raise Rejected(
                "bearings", "Oculus ping: bearings: expected only rising or only falling angles of -180 to 180 deg"
            )
        flip = descending != self._mirrored

        def ascending() -> np.ndarray:
            bearing_rad = np.radians(sent * (-0.01 if self._mirrored else 0.01))
            return bearing_rad[::-1] if flip else bearing_rad

        return self._bearing.get(sent.tobytes(), ascending), flip

    def _gain_factors(self, packet: memoryview, offset: int, line_bytes: int, ranges: int) -> np.ndarray:
        """Amplitudes are divided by the root of the gain before their row, powers by the gain; no gain, no data."""
        gains = np.ndarray(ranges, "<u4", packet, offset, (line_bytes,))
        factors = np.zeros(ranges, np.float32)
        np.divide(1.0, gains, out=factors, where=gains > 0, casting="unsafe")
        rows_without = int(ranges - np.count_nonzero(gains))
        if rows_without:
            self.statistics.errors["rows with gain 0, set to 0"] += rows_without
        return factors

    def _interval_s(self, ping: np.void, version: int) -> float:
        """Seconds since the ping before, by the sonar's clock; NaN if it cannot be told."""
        clock_s = float(ping["ping_start"])
        if version == 2:
            interval_s = clock_s - self._clock_s
        else:  # 32 bit: wraps, with the default tick every 4.3 s
            tick_s = self._settings.ping_clock_tick_s
            clock_s *= tick_s
            interval_s = (clock_s - self._clock_s) % (2**32 * tick_s)
        self._clock_s = clock_s
        return interval_s if 0 < interval_s <= MAX_INTERVAL_S else math.nan

    def _ping_time_s(self, interval_s: float, arrival: Arrival) -> float:
        if self._timed:
            return arrival.utc_s
        if math.isfinite(interval_s) and math.isfinite(self._time_s):
            self._time_s += interval_s
        else:
            self._time_s = max(arrival.utc_s, self._time_s)
        return self._time_s


def _pose(ping: np.void) -> Pose | None:
    attitude_deg = [float(ping[name]) for name in ("heading_deg", "pitch_deg", "roll_deg")]
    if not any(attitude_deg) or not all(abs(angle) <= 360 for angle in attitude_deg):
        return None  # without the sensor there are zeros, or what the memory held
    heading_rad, pitch_rad, roll_rad = map(math.radians, attitude_deg)
    return Pose(heading_rad=heading_rad, pitch_rad=pitch_rad, roll_rad=roll_rad)
