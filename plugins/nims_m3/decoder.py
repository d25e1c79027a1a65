"""Decoder of the Kongsberg M3 beamformed stream, and of .imb files, which hold the same packets."""

from __future__ import annotations

import math
import struct
from typing import Annotated

import numpy as np
from msgspec import Meta
from nims_ext.decode import TILE_LINES, to_intensity
from nims_ext.pool import Pool

from nims_appliance.decoder import Decoded, DecoderContext, DecoderStatistics
from nims_appliance.frame import Arrival, Frame, Pose
from nims_appliance.framing import Axis, Rejected, StreamFramer, is_mirrored
from nims_appliance.profile import LimitsSettings
from nims_appliance.settings import Settings

from . import wire

HEAD = struct.Struct("<8xH42xI48xfI8xf4xH")
"""From the start of the packet: data type, body bytes, sound speed, samples, window start, beams."""
SOUND_SPEED_M_S = (1300.0, 1700.0)
SAMPLE_INTERVAL_S = (1e-7, 1e-3)
WINDOW_START_S = (-10.0, 10.0)
PIECE_BYTES = 128 * 1024
"""A packet is decoded in pieces of about this size while it comes: 0.1 ms each, and still in the processor's cache."""


class M3Settings(Settings, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Settings of the driver `m3`."""

    tail_versions: Annotated[
        tuple[int, ...], Meta(description="Header versions whose reserved tail has the fields of version 14")
    ] = ()
    beam_width_deg: Annotated[float, Meta(gt=0, le=90, description="-3 dB width of one beam, degrees")] = 1.6
    eiq_beam_width_deg: Annotated[float, Meta(gt=0, le=90, description="The same in EIQ modes, degrees")] = 0.95


class M3Packets:
    """What the headers of M3 packets look like, as `StreamFramer` asks it."""

    title = "Kongsberg M3"
    sync = wire.SYNC
    head_bytes = HEAD.size
    proves_end = True
    is_sure = True

    def __init__(self, limits: LimitsSettings) -> None:
        self._limits = limits

    def packet_bytes(self, head: memoryview, in_step: bool) -> int:
        """Return the size of the packet; every size from the wire is checked against the limits and the others."""
        if len(head) < HEAD.size:
            return HEAD.size
        data_type, body_bytes, sound_speed_m_s, samples, window_start_s, beams = HEAD.unpack_from(head)
        element_bytes = wire.ELEMENT_BYTES.get(data_type)
        if element_bytes is None:
            raise Rejected("data type", f"M3 packet: expected data type 0x1002 or 0x2003, got {data_type:#06x}")
        limits = self._limits
        for name, count, most in (
            ("beams", beams, min(limits.beams, wire.MAX_BEAMS)),
            ("samples", samples, limits.samples),
        ):
            if not 1 <= count <= most:
                raise Rejected(name, f"M3 packet: expected 1 to {most} {name} (the profile's limit), got {count}")
        expected_bytes = wire.DATA_HEADER.itemsize + element_bytes * beams * samples
        if body_bytes != expected_bytes:
            raise Rejected(
                "body size",
                f"M3 packet: expected a body of {expected_bytes} bytes for {beams} beams x {samples} samples, "
                f"got {body_bytes}",
            )
        packet_bytes = wire.PACKET_HEADER.itemsize + body_bytes + wire.FOOTER.itemsize
        if packet_bytes > limits.packet_bytes:
            raise Rejected(
                "packet size",
                f"M3 packet: expected at most {limits.packet_bytes} bytes (the profile's limit), got {packet_bytes}",
            )
        _expect("sound speed (fVelocitySound)", "m/s", sound_speed_m_s, *SOUND_SPEED_M_S)
        _expect("window start (fSWST)", "s", window_start_s, *WINDOW_START_S)
        return packet_bytes


class _Image:
    """The samples of one packet as a frame holds them, decoded as far as they have come.

    Args:
      head: the packet up to its samples.
      intensity: float32 (samples, beams), written.
      samples: complex64 of the same shape, written too, if wanted.
      flip: whether the packet has the beams in falling order.
    """

    def __init__(self, head: bytes, intensity: np.ndarray, samples: np.ndarray | None, flip: bool) -> None:
        self.head = head
        self.intensity = intensity
        self.samples = samples
        self.flip = flip
        self.invalid = 0
        """Samples that were no numbers."""
        data_type = int(np.frombuffer(head, wire.PACKET_HEADER, 1)["data_type"][0])
        self._element = "cf32" if data_type == wire.COMPLEX_F32 else "u8"
        self._beam_bytes = len(intensity) * wire.ELEMENT_BYTES[data_type]
        self._decoded = 0
        """Beams."""
        self._piece = -(-PIECE_BYTES // (self._beam_bytes * TILE_LINES)) * TILE_LINES

    def decode(self, packet: memoryview) -> int:
        """Decode what whole pieces have come, and all once the last beam is there; return what is needed to go on.

        Args:
          packet: as far as it has come.

        Returns: length of the packet, at least up to the end of the last beam.
        """
        beams, done = self.intensity.shape[1], self._decoded
        come = min((len(packet) - wire.PAYLOAD_OFFSET) // self._beam_bytes, beams)
        last = come if come == beams else done + (come - done) // self._piece * self._piece
        if last > done:
            self.invalid += to_intensity(
                packet,
                self.intensity,
                offset=wire.PAYLOAD_OFFSET,
                line_bytes=self._beam_bytes,
                element=self._element,
                beam_major=True,
                flip=self.flip,
                samples=self.samples,
                first=done,
                last=last,
            )
            self._decoded = last
        return wire.PAYLOAD_OFFSET + min(self._decoded + self._piece, beams) * self._beam_bytes


class M3Decoder(M3Packets):
    """Turns the stream into frames; keeps `StreamDecoder`."""

    def __init__(self, context: DecoderContext) -> None:
        super().__init__(context.profile.limits)
        self.statistics = DecoderStatistics()
        self._settings: M3Settings = context.settings
        self._want_samples = context.want_samples
        self._mirrored = is_mirrored(context.mounting)
        self._pool = Pool()
        self._framer = StreamFramer(self, self.statistics, self.ahead if context.live else None)
        self._image: _Image | None = None
        """Of the packet whose end is still to come."""
        self._range = Axis()
        self._bearing = Axis()

    def on_connect(self) -> bytes:
        """Start anew; an M3 sends without being asked."""
        self._framer.restart()
        self._image = None
        return b""

    def decode(self, view: memoryview, arrival: Arrival) -> Decoded:
        """Return the pings at the front of `view`."""
        return self._framer.decode(view, arrival)

    def finish(self, arrival: Arrival) -> list[Frame]:
        """Return nothing: every ping is given as soon as it is whole."""
        return []

    def ahead(self, packet: memoryview, size: int) -> int:
        """Decode the beams that have come; as `StreamFramer` asks it."""
        if len(packet) < wire.PAYLOAD_OFFSET:
            return wire.PAYLOAD_OFFSET
        try:
            self._image = image = self._begun(packet)
        except Rejected:
            return size  # `take` will say so
        need = image.decode(packet)
        # the footer comes with the last beams
        return need if need + wire.FOOTER.itemsize < size else size

    def _begun(self, packet: memoryview) -> _Image:
        """Return the image of a packet whose header has come, as far as it is decoded already."""
        head, image = bytes(packet[: wire.PAYLOAD_OFFSET]), self._image
        if image is not None and image.head == head:
            return image
        header = np.frombuffer(head, wire.PACKET_HEADER, 1)[0]
        data = np.frombuffer(head, wire.DATA_HEADER, 1, wire.PACKET_HEADER.itemsize)[0]
        beams, samples = int(data["beams"]), int(data["samples"])
        _, flip = self._bearings(data, beams)
        keeps = self._want_samples and header["data_type"] == wire.COMPLEX_F32
        return _Image(
            head,
            self._pool.take((samples, beams), np.float32),
            self._pool.take((samples, beams), np.complex64) if keeps else None,
            flip,
        )

    def take(self, packet: memoryview, arrival: Arrival, answer: Decoded) -> None:
        """Check what only a whole packet shows, and decode what of it is not decoded yet."""
        image, self._image = self._begun(packet), None
        header = np.frombuffer(packet, wire.PACKET_HEADER, 1)[0]
        footer = np.frombuffer(packet, wire.FOOTER, 1, len(packet) - wire.FOOTER.itemsize)[0]
        if footer["body_bytes"] != header["body_bytes"]:
            raise Rejected(
                "footer",
                f"M3 packet: expected a footer that repeats the body size {header['body_bytes']}, "
                f"got {footer['body_bytes']}",
            )
        data = np.frombuffer(packet, wire.DATA_HEADER, 1, wire.PACKET_HEADER.itemsize)[0]
        beams, samples = int(data["beams"]), int(data["samples"])
        interval_s = self._sample_interval_s(data, samples)
        sound_speed_m_s = float(data["sound_speed_m_s"])
        range_m = self._range_m(data, samples, interval_s, sound_speed_m_s)
        bearing_rad, _ = self._bearings(data, beams)
        image.decode(packet)
        if image.invalid:
            self.statistics.errors["samples not finite, set to 0"] += image.invalid
        if data["time_ms"] > 999:
            self.statistics.errors["milliseconds above 999"] += 1

        pulse_length_s = float(data["pulse_length_us"]) * 1e-6
        ping_rate_hz = float(data["ping_rate_hz"])
        settings = self._settings
        is_eiq = data["processing"] == wire.PROCESSING_EIQ
        zoom = int(data["image_destination"])
        answer.frames.append(
            Frame(
                intensity=image.intensity,
                unit="counts^2",
                range_m=range_m,
                bearing_rad=bearing_rad,
                time_s=int(data["time_s"]) + int(data["time_ms"]) / 1000,
                ping_number=int(data["ping_number"]),
                sound_speed_m_s=sound_speed_m_s,
                frequency_hz=float(data["frequency_hz"]),
                pulse_length_s=pulse_length_s,
                ping_interval_s=1 / ping_rate_hz if 0 < ping_rate_hz < math.inf else math.nan,
                beam_width_rad=math.radians(settings.eiq_beam_width_deg if is_eiq else settings.beam_width_deg),
                range_resolution_m=sound_speed_m_s / 2 * max(pulse_length_s, interval_s),
                channel=f"zoom {zoom}" if zoom else "",
                samples=image.samples,
                pose=self._pose(packet, data),
                device=f"Kongsberg M3 {_text(data['app_name'])}".strip(),
            )
        )

    def _sample_interval_s(self, data: np.void, samples: int) -> float:
        interval_s = float(data["sample_interval_s"])
        if interval_s == 0:  # simulators and old headers give the length of the window only
            interval_s = float(data["window_length_s"]) / samples
            return _expect("window length over samples (fSWL)", "s", interval_s, *SAMPLE_INTERVAL_S)
        return _expect("sample interval (fImageSampleInterval)", "s", interval_s, *SAMPLE_INTERVAL_S)

    def _range_m(self, data: np.void, samples: int, interval_s: float, sound_speed_m_s: float) -> np.ndarray:
        """Range of each sample from the sampling window; the nominal near and far range are up to 0.5 m off."""
        start_s = float(data["window_start_s"])
        if data["version"] >= 4:
            start_s -= _expect("transmit start (fTXWST)", "s", float(data["transmit_start_s"]), *WINDOW_START_S)
        return self._range.get(
            (start_s, interval_s, sound_speed_m_s, samples),
            lambda: (start_s + np.arange(samples) * interval_s) * (sound_speed_m_s / 2),
        )

    def _bearings(self, data: np.void, beams: int) -> tuple[np.ndarray, bool]:
        """Bearings in ascending order, and whether that is the reverse of the order of the packet."""
        sent_deg = data["bearing_deg"][:beams]
        steps = np.diff(sent_deg)
        descending = beams > 1 and bool((steps < 0).all())
        flip = descending != self._mirrored

        def ascending() -> np.ndarray:
            if not np.isfinite(sent_deg).all() or (np.abs(sent_deg) > 180).any():
                raise Rejected(
                    "beam list", "M3 packet: beam list (fBeamList): expected finite angles of -180 to 180 deg"
                )
            if not (descending or (steps > 0).all()):
                raise Rejected(
                    "beam list", "M3 packet: beam list (fBeamList): expected angles that only rise or only fall"
                )
            bearing_rad = np.radians(sent_deg.astype(np.float64)) * (-1 if self._mirrored else 1)
            return bearing_rad[::-1] if flip else bearing_rad

        return self._bearing.get(sent_deg.tobytes(), ascending), flip

    def _pose(self, packet: memoryview, data: np.void) -> Pose:
        """Position and attitude as far as the sonar has sensors for them: zeros throughout are the lack of one."""
        latitude_deg, longitude_deg = float(data["latitude_deg"]), float(data["longitude_deg"])
        if (latitude_deg, longitude_deg) == (0, 0) or not (abs(latitude_deg) <= 90 and abs(longitude_deg) <= 180):
            latitude_deg = longitude_deg = math.nan
        attitude_deg = [float(data[name]) for name in ("heading_deg", "pitch_deg", "roll_deg")]
        if not any(attitude_deg) or not all(abs(angle) <= 360 for angle in attitude_deg):
            attitude_deg = [math.nan] * 3
        depth_m = float(data["depth_m"])
        heave_m = math.nan
        if int(data["version"]) in self._settings.tail_versions:
            heave_m = float(np.frombuffer(packet, wire.TAIL_14, 1, wire.PACKET_HEADER.itemsize)[0]["heave_m"])
        return Pose(
            latitude_deg=latitude_deg,
            longitude_deg=longitude_deg,
            depth_m=depth_m if depth_m and math.isfinite(depth_m) else math.nan,
            heading_rad=math.radians(attitude_deg[0]),
            pitch_rad=math.radians(attitude_deg[1]),
            roll_rad=math.radians(attitude_deg[2]),
            heave_m=heave_m if math.isfinite(heave_m) else math.nan,
        )


def _expect(name: str, unit: str, value: float, least: float, most: float) -> float:
    if not least <= value <= most:  # false for NaN too
        raise Rejected("header value", f"M3 packet: {name}: expected {least:g} to {most:g} {unit}, got {value!r}")
    return value


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("ascii", "replace")
