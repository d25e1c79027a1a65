"""Decoder of packets that a firmware profile describes, from streams and from datagrams."""

from __future__ import annotations

import math

import numpy as np
from nims_ext.decode import to_intensity
from nims_ext.pool import Pool

from nims_appliance.decoder import Decoded, DecoderContext, DecoderStatistics
from nims_appliance.frame import Arrival, Frame
from nims_appliance.framing import Rejected, StreamFramer, is_mirrored

from .expression import Expression, Number
from .layout import Axis, Layout

Fields = dict[str, Number]
MAX_RANGE_M = 1e5
MAX_TIME_S = 1e11


class LayoutDecoder:
    """Turns described packets into frames; keeps `StreamDecoder` and `DatagramDecoder` (one packet a datagram)."""

    def __init__(self, context: DecoderContext) -> None:
        """Compile the layout.

        Raises:
          ProfileError: the layout is wrong; names the key.
        """
        self.statistics = DecoderStatistics()
        self._limits = context.profile.limits
        self._want_samples = context.want_samples
        self._mirrored = is_mirrored(context.mounting)
        self._layout = layout = Layout(context.settings, context.profile.name)
        self._pool = Pool()
        self.title = layout.settings.device or context.profile.title
        self.sync = layout.sync
        self.head_bytes = layout.header.itemsize
        self.proves_end = layout.footer is not None or layout.checksum is not None
        self.is_sure = layout.is_sure
        self._framer = StreamFramer(self, self.statistics)

    def on_connect(self) -> bytes:
        """Start anew; a described sonar sends without being asked."""
        self._framer.restart()
        return b""

    def decode(self, view: memoryview, arrival: Arrival) -> Decoded:
        """Return the pings at the front of `view`."""
        return self._framer.decode(view, arrival)

    def decode_datagram(self, datagram: memoryview, sender: str, arrival: Arrival) -> Decoded:
        """Return the ping of one datagram."""
        answer = Decoded()
        try:
            if datagram[: len(self.sync)] != self.sync:
                raise Rejected("sync", f"{self.title} datagram: expected it to start with {self.sync.hex(' ')}")
            size = self.packet_bytes(datagram, True)
            if size > len(datagram):
                raise Rejected("size", f"{self.title} datagram: expected {size} bytes, got {len(datagram)}")
            self.take(datagram[:size], arrival, answer)
        except Rejected as problem:
            self.statistics.reject(problem.reason, f"{problem.detail} (from {sender})")
            self.statistics.skipped_bytes += len(datagram)
        self.statistics.frames += len(answer.frames)
        return answer

    def finish(self, arrival: Arrival) -> list[Frame]:
        """Return nothing: every ping is given as soon as it is whole."""
        return []

    def packet_bytes(self, head: memoryview, in_step: bool) -> int:
        """Return the size of the packet, after all checks that its header allows."""
        if len(head) < self.head_bytes:
            return self.head_bytes
        layout, limits = self._layout, self._limits
        fields = layout.read_fields(head)
        for name, field in layout.settings.fields.items():
            value = fields[name]
            if not math.isfinite(value):
                raise self._rejected(f"fields.{name}", "a finite number", value)
            if field.min is not None and value < field.min:
                raise self._rejected(f"fields.{name}", f"at least {field.min:g}", value)
            if field.max is not None and value > field.max:
                raise self._rejected(f"fields.{name}", f"at most {field.max:g}", value)
            if name in layout.equals and value != (expected := layout.equals[name].value(fields)):
                raise self._rejected(f"fields.{name}", str(expected), value)
        size = self._whole("packet_bytes", layout.packet_bytes, fields, 1, limits.packet_bytes)
        if size < self.head_bytes:
            raise self._rejected("packet_bytes", f"at least the {self.head_bytes} bytes of the header", size)
        beams, samples, at, line_bytes = self._payload(fields, size)
        lines, elements = (beams, samples) if self._is_beam_major else (samples, beams)
        end = at + (lines - 1) * line_bytes + elements * layout.element_bytes
        if line_bytes < elements * layout.element_bytes or end > size:
            raise self._rejected("packet_bytes", f"at least {end} bytes for {beams} beams x {samples} samples", size)
        return size

    def take(self, packet: memoryview, arrival: Arrival, answer: Decoded) -> None:
        """Decode one whole packet in one pass over its samples."""
        layout, payload = self._layout, self._layout.settings.payload
        fields = layout.read_fields(packet)
        self._check_end(packet, fields)
        beams, samples, at, line_bytes = self._payload(fields, len(packet))
        range_m, away = self._axis("range_m", layout.range_m, packet, fields, samples, MAX_RANGE_M)
        bearing_deg, flip = self._axis("bearing_deg", layout.bearing_deg, packet, fields, beams, 180.0)
        if away:
            raise self._rejected("range_m", "rising values", "falling ones")
        if self._mirrored:
            bearing_deg, flip = -bearing_deg[::-1], not flip
        sound_speed_m_s = self._number("ping.sound_speed_m_s", layout.sound_speed_m_s, fields, 100, 10_000)
        beam_width_deg = self._number("ping.beam_width_deg", layout.beam_width_deg, fields, 1e-3, 360)
        resolution_m = float(np.diff(range_m).max()) if samples > 1 else abs(float(range_m[0]))
        if layout.range_resolution_m is not None:
            resolution_m = self._number("ping.range_resolution_m", layout.range_resolution_m, fields, 0, MAX_RANGE_M)
        time_s = arrival.utc_s
        if layout.time_s is not None:
            time_s = self._number("ping.time_s", layout.time_s, fields, 0, MAX_TIME_S)
        ping_number = self._whole("ping.ping_number", layout.ping_number, fields, -(2**63), 2**63)

        intensity = self._pool.take((samples, beams), np.float32)
        is_complex = payload.element in ("ci16", "cf32")
        complex_samples = self._pool.take((samples, beams), np.complex64) if is_complex and self._want_samples else None
        invalid = to_intensity(
            packet if layout.swap_dtype is None else self._little_endian(packet, at, line_bytes, beams, samples),
            intensity,
            offset=at,
            line_bytes=line_bytes,
            element=payload.element,
            law=payload.meaning,
            scale=payload.scale,
            shift=payload.shift,
            beam_major=self._is_beam_major,
            flip=flip,
            samples=complex_samples,
        )
        if invalid:
            self.statistics.errors["samples not finite or negative, set to 0"] += invalid
        answer.frames.append(
            Frame(
                intensity=intensity,
                unit=payload.unit,
                range_m=range_m,
                bearing_rad=np.ascontiguousarray(np.radians(bearing_deg)),
                time_s=time_s,
                ping_number=ping_number,
                sound_speed_m_s=sound_speed_m_s,
                frequency_hz=float(layout.frequency_hz.value(fields)),
                pulse_length_s=_optional(layout.pulse_length_s, fields),
                ping_interval_s=_optional(layout.ping_interval_s, fields),
                beam_width_rad=math.radians(beam_width_deg),
                range_resolution_m=resolution_m,
                samples=complex_samples,
                device=self.title,
            )
        )

    @property
    def _is_beam_major(self) -> bool:
        return self._layout.settings.payload.order == "beam-major"

    def _payload(self, fields: Fields, size: int) -> tuple[int, int, int, int]:
        """Beams, samples, offset and bytes of a line, each within the limits."""
        layout = self._layout
        beams = self._whole("payload.beams", layout.beams, fields, 1, self._limits.beams)
        samples = self._whole("payload.samples", layout.samples, fields, 1, self._limits.samples)
        at = self._whole("payload.at", layout.payload_at, fields, 0, size)
        line_bytes = layout.element_bytes * (samples if self._is_beam_major else beams)
        if layout.line_bytes is not None:
            line_bytes = self._whole("payload.line_bytes", layout.line_bytes, fields, 1, size)
        return beams, samples, at, line_bytes

    def _check_end(self, packet: memoryview, fields: Fields) -> None:
        layout = self._layout
        if layout.footer is not None:
            at, dtype, equals = layout.footer
            value, expected = self._read("footer.at", at, dtype, packet, fields), equals.value(fields)
            if value != expected:
                raise self._rejected("footer", str(expected), value)
        if layout.checksum is not None:
            at, dtype, first, end, function = layout.checksum
            value = self._read("checksum.at", at, dtype, packet, fields)
            begin = self._whole("checksum.first", first, fields, 0, len(packet))
            stop = self._whole("checksum.end", at if end is None else end, fields, begin, len(packet))
            if value != (expected := function(packet[begin:stop])):
                raise self._rejected("checksum", f"{expected:#x}", f"{value:#x}")

    def _read(self, key: str, at: Expression, dtype: np.dtype, packet: memoryview, fields: Fields) -> Number:
        offset = self._whole(key, at, fields, 0, len(packet) - dtype.itemsize)
        return np.frombuffer(packet, dtype, 1, offset)[0].item()

    def _axis(
        self, key: str, axis: Axis, packet: memoryview, fields: Fields, count: int, most: float
    ) -> tuple[np.ndarray, bool]:
        """Axis in ascending order, and whether that is the reverse of the order of the packet."""
        values: np.ndarray
        if axis.array is not None:
            array = axis.array
            last = len(packet) - count * array.dtype.itemsize
            offset = self._whole(f"{key}.array.at", array.at, fields, 0, last)
            values = np.frombuffer(packet, array.dtype, count, offset).astype(np.float64) * array.scale
        else:
            assert axis.first is not None and axis.step is not None  # noqa: PT018 - as compiled
            first = self._number(f"{key}.first", axis.first, fields, -most, most)
            values = first + np.arange(count) * self._number(f"{key}.step", axis.step, fields, -most, most)
        steps = np.diff(values)
        descending = count > 1 and bool((steps < 0).all())
        if not (np.abs(values) <= most).all():  # false for NaN too
            raise self._rejected(key, f"values of -{most:g} to {most:g}", "others")
        if not (descending or (steps > 0).all()):
            raise self._rejected(key, "values that only rise or only fall", "others")
        return (values[::-1], True) if descending else (values, False)

    def _little_endian(self, packet: memoryview, at: int, line_bytes: int, beams: int, samples: int) -> memoryview:
        """Return a copy with the bytes of every sample turned; only big-endian sonars pay for it."""
        dtype = self._layout.swap_dtype
        assert dtype is not None
        lines, elements = (beams, samples) if self._is_beam_major else (samples, beams)
        numbers = elements * self._layout.element_bytes // dtype.itemsize
        turned = bytearray(packet)
        np.ndarray((lines, numbers), dtype, turned, at, (line_bytes, dtype.itemsize)).byteswap(inplace=True)
        return memoryview(turned)

    def _whole(self, key: str, expression: Expression, fields: Fields, least: int, most: int) -> int:
        value = expression.value(fields)
        if not least <= value <= most or value != int(value):  # false for NaN first
            raise self._rejected(key, f"a whole number of {least} to {most}", value)
        return int(value)

    def _number(self, key: str, expression: Expression, fields: Fields, least: float, most: float) -> float:
        value = expression.value(fields)
        if not least <= value <= most:  # false for NaN too
            raise self._rejected(key, f"{least:g} to {most:g}", value)
        return float(value)

    def _rejected(self, key: str, expected: str, value: object) -> Rejected:
        return Rejected(key, f"{self.title} packet: {key}: expected {expected}, got {value}")


def _optional(expression: Expression | None, fields: Fields) -> float:
    return math.nan if expression is None else float(expression.value(fields))
