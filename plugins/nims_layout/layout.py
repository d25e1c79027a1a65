"""Packet layouts: the settings of driver `layout`, and their compilation into a table for the decoder."""

from __future__ import annotations

import binascii
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from nims_ext.decode import ELEMENT_BYTES

from nims_appliance.errors import ProfileError
from nims_appliance.settings import Settings

from .expression import Expression, Number, Text

MAX_HEADER_BYTES = 64 * 1024
SURE_BITS = 48
"""A header of so many fixed bits hardly occurs by chance within a packet."""

_FIELD_TYPES = {"u8": "u1", "i8": "i1", "u16": "u2", "i16": "i2", "u32": "u4", "i32": "i4", "u64": "u8", "i64": "i8"}
_FIELD_TYPES |= {"f32": "f4", "f64": "f8"}
FieldType = Literal["u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64"]


class FieldSettings(Settings, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """One number in the header of the packet; expressions use it by its name."""

    at: Annotated[int, Meta(ge=0, lt=MAX_HEADER_BYTES, description="Offset from the start of the packet, bytes")]
    type: FieldType
    scale: float | None = None
    """The value is ``raw * scale + shift``; without both it stays an exact integer."""
    shift: float | None = None
    equals: Text | None = None
    """What the value must be: a number, or an expression over other fields; other packets are rejected."""
    min: float | None = None
    max: float | None = None


class PayloadSettings(Settings, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The samples of the packet."""

    at: Text
    """Offset of the first sample."""
    samples: Text
    beams: Text
    element: Literal["u8", "i8", "u16", "i16", "u24", "u32", "i32", "f32", "ci16", "cf32"]
    order: Literal["beam-major", "range-major"]
    """What lies together: all samples of one beam, or all beams of one range."""
    meaning: Literal["amplitude", "power", "decibel"] = "amplitude"
    """Intensity is the square of the value, the value, or 10^(value / 10); complex samples are amplitudes."""
    scale: float = 1.0
    """The value is ``raw * scale + shift``."""
    shift: float = 0.0
    unit: str = "counts^2"
    line_bytes: Text | None = None
    """From one beam (or range) to the next, if there is more than its samples."""


class ArraySettings(Settings, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """An axis that is sent as numbers, one after the other."""

    at: Text
    type: FieldType
    scale: float = 1.0
    """Metres or degrees are ``raw * scale``."""


class AxisSettings(Settings, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """An axis: `first` and `step`, or `array`."""

    first: Text | None = None
    step: Text | None = None
    array: ArraySettings | None = None


class PingSettings(Settings, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What else is known about a ping."""

    sound_speed_m_s: Text
    beam_width_deg: Text
    time_s: Text | None = None
    """Seconds since 1970-01-01 UTC; without it a ping has the time of its arrival."""
    ping_number: Text = 0
    frequency_hz: Text = 0
    pulse_length_s: Text | None = None
    ping_interval_s: Text | None = None
    range_resolution_m: Text | None = None
    """Without it the longest step of the range axis."""


class ChecksumSettings(Settings, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A checksum over the bytes `first` to `end` (not included) of the packet, found at `at`."""

    kind: Literal["sum8", "xor8", "sum16", "crc16-ccitt", "crc32"]
    at: Text
    first: Text = 0
    end: Text | None = None
    """Without it the bytes end where the checksum is."""


class FooterSettings(Settings, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A number behind the samples that shows that the packet is whole."""

    at: Text
    type: FieldType
    equals: Text


class LayoutSettings(Settings, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Settings of the driver `layout`: the whole packet."""

    sync: Annotated[str, Meta(description="First bytes of every packet, hexadecimal")]
    packet_bytes: Annotated[Text, Meta(description="Size of the whole packet")]
    fields: dict[str, FieldSettings]
    payload: PayloadSettings
    range_m: AxisSettings
    bearing_deg: AxisSettings
    ping: PingSettings
    byte_order: Annotated[Literal["little", "big"], Meta(description="Of every number in the packet")] = "little"
    device: Annotated[str, Meta(description="Maker and model, for people")] = ""
    checksum: ChecksumSettings | None = None
    footer: FooterSettings | None = None


def _crc16_ccitt(data: memoryview) -> int:
    return binascii.crc_hqx(data, 0xFFFF)


CHECKSUMS: dict[str, tuple[str, Callable[[memoryview], int]]] = {
    "sum8": ("u1", lambda data: int(np.frombuffer(data, np.uint8).sum(dtype=np.uint64)) & 0xFF),
    "xor8": ("u1", lambda data: int(np.bitwise_xor.reduce(np.frombuffer(data, np.uint8)))),
    "sum16": ("u2", lambda data: int(np.frombuffer(data, np.uint8).sum(dtype=np.uint64)) & 0xFFFF),
    "crc16-ccitt": ("u2", _crc16_ccitt),
    "crc32": ("u4", binascii.crc32),
}
"""Type on the wire, and function; crc16-ccitt starts with 0xFFFF, polynomial 0x1021."""


@dataclass(frozen=True, slots=True)
class Array:
    """A compiled axis that is sent as numbers."""

    at: Expression
    dtype: np.dtype
    scale: float


@dataclass(frozen=True, slots=True)
class Axis:
    """A compiled axis: uniform from `first` and `step`, or `array`."""

    first: Expression | None
    step: Expression | None
    array: Array | None


class Layout:
    """A compiled layout: offsets as a NumPy dtype, arithmetic as code objects."""

    def __init__(self, settings: LayoutSettings, profile: str) -> None:
        """Compile the layout of a profile.

        Raises:
          ProfileError: names the key that does not fit.
        """
        self._profile = profile
        self._names = set(settings.fields)
        self.settings = settings
        self.order = "<" if settings.byte_order == "little" else ">"
        try:
            self.sync = bytes.fromhex(settings.sync)
        except ValueError:
            self.sync = b""
        if len(self.sync) < 2:
            raise self._error("sync", f"expected at least two bytes in hexadecimal, got {settings.sync!r}")
        for name in settings.fields:
            if not name.isidentifier():
                raise self._error(f"fields.{name}", "expected a name of letters, digits and underscores")

        self.header = self._compile_header()
        self.equals = {
            name: self._compile(f"fields.{name}.equals", field.equals)
            for name, field in settings.fields.items()
            if field.equals is not None
        }
        self.packet_bytes = self._compile("packet_bytes", settings.packet_bytes)

        payload = settings.payload
        self.payload_at = self._compile("payload.at", payload.at)
        self.samples = self._compile("payload.samples", payload.samples)
        self.beams = self._compile("payload.beams", payload.beams)
        self.line_bytes = self._compile_optional("payload.line_bytes", payload.line_bytes)
        self.element_bytes = ELEMENT_BYTES[payload.element]
        is_complex = payload.element in ("ci16", "cf32")
        if is_complex and payload.meaning != "amplitude":
            raise self._error("payload.meaning", f"complex samples are amplitudes, got {payload.meaning!r}")
        if is_complex and payload.shift:
            raise self._error("payload.shift", "complex samples have no shift")
        if self.order == ">" and payload.element == "u24":
            raise self._error("payload.element", "u24 is supported in little-endian packets only")
        # Numbers that make up one element, to turn their bytes.
        self.swap_dtype = np.dtype(f">u{self.element_bytes // (2 if is_complex else 1)}") if self.order == ">" else None

        self.range_m = self._compile_axis("range_m", settings.range_m)
        self.bearing_deg = self._compile_axis("bearing_deg", settings.bearing_deg)

        ping = settings.ping
        self.sound_speed_m_s = self._compile("ping.sound_speed_m_s", ping.sound_speed_m_s)
        self.beam_width_deg = self._compile("ping.beam_width_deg", ping.beam_width_deg)
        self.ping_number = self._compile("ping.ping_number", ping.ping_number)
        self.frequency_hz = self._compile("ping.frequency_hz", ping.frequency_hz)
        self.time_s = self._compile_optional("ping.time_s", ping.time_s)
        self.pulse_length_s = self._compile_optional("ping.pulse_length_s", ping.pulse_length_s)
        self.ping_interval_s = self._compile_optional("ping.ping_interval_s", ping.ping_interval_s)
        self.range_resolution_m = self._compile_optional("ping.range_resolution_m", ping.range_resolution_m)

        self.footer = self.checksum = None
        if settings.footer is not None:
            self.footer = (
                self._compile("footer.at", settings.footer.at),
                np.dtype(self.order + _FIELD_TYPES[settings.footer.type]),
                self._compile("footer.equals", settings.footer.equals),
            )
        if settings.checksum is not None:
            kind, function = CHECKSUMS[settings.checksum.kind]
            self.checksum = (
                self._compile("checksum.at", settings.checksum.at),
                np.dtype(self.order + kind),
                self._compile("checksum.first", settings.checksum.first),
                self._compile_optional("checksum.end", settings.checksum.end),
                function,
            )
        self.is_sure = self._fixed_bits() >= SURE_BITS

    def read_fields(self, head: memoryview) -> dict[str, Number]:
        """Return the values of the header's fields, by name."""
        values: dict[str, Number] = {}
        for (name, field), raw in zip(
            self.settings.fields.items(), np.frombuffer(head, self.header, 1)[0].item(), strict=True
        ):
            if field.scale is None and field.shift is None:
                values[name] = raw
            else:
                scale = 1.0 if field.scale is None else field.scale
                values[name] = raw * scale + (field.shift or 0.0)
        return values

    def _error(self, key: str, problem: str) -> ProfileError:
        return ProfileError(f"profile {self._profile}: settings.{key}: {problem}")

    def _compile(self, key: str, text: Text) -> Expression:
        try:
            return Expression(text, self._names)
        except ValueError as error:
            raise self._error(key, str(error)) from None

    def _compile_optional(self, key: str, text: Text | None) -> Expression | None:
        return None if text is None else self._compile(key, text)

    def _compile_axis(self, key: str, axis: AxisSettings) -> Axis:
        uniform = axis.first is not None and axis.step is not None
        if uniform == (axis.array is not None) or (axis.first is None) != (axis.step is None):
            raise self._error(key, "expected either first and step, or array")
        if axis.array is not None:
            at = self._compile(f"{key}.array.at", axis.array.at)
            dtype = np.dtype(self.order + _FIELD_TYPES[axis.array.type])
            return Axis(None, None, Array(at, dtype, axis.array.scale))
        return Axis(
            self._compile_optional(f"{key}.first", axis.first), self._compile_optional(f"{key}.step", axis.step), None
        )

    def _compile_header(self) -> np.dtype:
        fields = self.settings.fields
        ends = [len(self.sync)]
        for name, field in fields.items():
            end = field.at + np.dtype(_FIELD_TYPES[field.type]).itemsize
            if field.at < len(self.sync):
                raise self._error(f"fields.{name}.at", f"expected an offset behind the sync bytes, got {field.at}")
            if field.type.startswith("f") and field.equals is not None:
                raise self._error(f"fields.{name}.equals", "only integers can be compared for equality")
            if (field.scale, field.shift) != (None, None) and field.equals is not None:
                raise self._error(
                    f"fields.{name}.equals", "a field with scale or shift cannot be compared for equality"
                )
            ends.append(end)
        return np.dtype(
            {
                "names": list(fields),
                "formats": [self.order + _FIELD_TYPES[field.type] for field in fields.values()],
                "offsets": [field.at for field in fields.values()],
                "itemsize": max(ends),
            }
        )

    def _fixed_bits(self) -> float:
        """How many bits of a header are laid down, by the sync bytes and by what its fields must be."""
        bits = 8.0 * len(self.sync)
        for name, field in self.settings.fields.items():
            width = 8 * self.header[name].itemsize
            if field.equals is not None:
                bits += width
            elif field.min is not None and field.max is not None and not field.type.startswith("f"):
                bits += max(0.0, width - math.log2(max(field.max - field.min, 0) + 1))
        return bits
