"""Decoder of Simrad EK60 .raw files, and of the same bytes as a stream."""

from __future__ import annotations

import math
import re
import struct
from collections import Counter

import numpy as np

from nims_appliance.decoder import Decoded, DecoderContext, DecoderStatistics
from nims_appliance.frame import Arrival, Frame, Pose
from nims_appliance.navigation import nmea

from . import wire
from .echo import FrameMaker, PingHeader, Transducer

FRAMES_PER_CALL = 8
"""A call answers after so many pings, so that a fast file never fills the memory."""
TEXT_BYTES = 4096
"""Largest datagram that is not samples or configuration (sentences, annotations, depths): a longer one is damage."""
PADDING_BYTES = 8
"""A ping may be so much longer than its samples; more, and its length or its count is damaged."""

EK60_TYPES = (b"CON0", b"RAW0", b"NME0", b"TAG0", b"DEP0", b"BOT0", b"IDX0")
EK80_TYPES = (b"XML0", b"RAW3", b"FIL1", b"MRU0", b"MRU1", b"NME1")
_ANY_TYPE = re.compile(b"|".join(EK60_TYPES + EK80_TYPES))
_LENGTH = struct.Struct("<i")
_LENGTH_BYTES = _LENGTH.size
_EK80_TEXT = "EK80 file, not supported by this driver"


def looks_like_raw(head: bytes) -> bool:
    """Return whether the first bytes are an EK60 .raw file, or the middle of one."""
    if len(head) >= 8 and head[4:8] in (b"CON0", b"RAW0"):
        return True
    return any(
        match.start() >= _LENGTH_BYTES
        and wire.RAW0.itemsize <= _LENGTH.unpack_from(head, match.start() - _LENGTH_BYTES)[0] < 2**20
        for match in re.finditer(b"RAW0", head)
    )


class RawDecoder:
    """Turns .raw datagrams into one frame for each ping of each channel.

    A ping before its configuration (a stream joined in the middle) gives power without calibration and angles.
    """

    def __init__(self, context: DecoderContext) -> None:
        self.statistics = DecoderStatistics()
        self._limits = context.profile.limits
        self._frames = FrameMaker(context.mounting)
        self._forget()

    def _forget(self) -> None:
        self._transceivers: list[np.void] = []
        self._pings: Counter[int] = Counter()
        self._latitude_deg = self._longitude_deg = self._heading_rad = math.nan
        self._position = 0
        self._searching = False
        self._waiting = False

    def on_connect(self) -> bytes:
        """Forget the configuration: the next stream brings its own. Nothing is sent."""
        self._forget()
        return b""

    def decode(self, view: memoryview, arrival: Arrival) -> Decoded:
        """Decode the whole datagrams at the front of `view`."""
        answer = Decoded()
        at = 0
        while len(answer.frames) < FRAMES_PER_CALL:
            if len(view) - at < _LENGTH_BYTES + wire.HEADER.itemsize:
                answer.need = _LENGTH_BYTES + wire.HEADER.itemsize
                break
            fault, size = self._inspect(view, at)
            if not fault and size > len(view) - at:
                answer.need = size
                break
            if not fault and view[at : at + _LENGTH_BYTES] != view[at + size - _LENGTH_BYTES : at + size]:
                fault = "lengths before and after the datagram differ"
            if fault:
                at = self._search(view, at, fault)
                continue
            self._searching = False
            frame = self._datagram(view[at + _LENGTH_BYTES : at + size - _LENGTH_BYTES], self._position + at)
            if frame is not None:
                self.statistics.frames += 1
                answer.frames.append(frame)
            at += size
        answer.consumed = at
        self._position += at
        self._waiting = at < len(view)
        return answer

    def finish(self, arrival: Arrival) -> list[Frame]:
        """Count a datagram that the end of the stream has cut off."""
        if self._waiting:
            self._reject("cut off at the end", f"the stream ends in the datagram at byte {self._position}")
        self._forget()
        return []

    def _inspect(self, view: memoryview, at: int) -> tuple[str, int]:
        """Return (what is wrong, 0) or ("", bytes with both lengths) of a datagram whose type and length are there.

        Judges by the first bytes as strictly as they allow, because a wrong length that is believed costs the wait
        for that many bytes.
        """
        (length,) = _LENGTH.unpack_from(view, at)
        kind = bytes(view[at + _LENGTH_BYTES : at + 2 * _LENGTH_BYTES])
        if kind not in EK60_TYPES and kind not in EK80_TYPES:
            return f"unknown datagram type {kind!r}", 0
        smallest, largest = wire.HEADER.itemsize, TEXT_BYTES
        if kind == b"RAW0":
            if len(view) - at < _LENGTH_BYTES + wire.RAW0.itemsize:
                return "", _LENGTH_BYTES + wire.RAW0.itemsize
            raw = np.frombuffer(view, wire.RAW0, 1, at + _LENGTH_BYTES)[0]
            mode, count = int(raw["mode"]), int(raw["count"])
            smallest = wire.RAW0.itemsize + 2 * max(count, 0) * ((mode & 1) + (mode >> 1 & 1))
            largest = smallest + PADDING_BYTES
        elif kind == b"CON0":
            smallest, largest = wire.CON0.itemsize, wire.CON0.itemsize + 256 * wire.TRANSCEIVER.itemsize
        elif kind in EK80_TYPES:
            largest = self._limits.packet_bytes
        largest = min(largest, self._limits.packet_bytes - 2 * _LENGTH_BYTES)
        entries = length - wire.CON0.itemsize
        if not smallest <= length <= largest or (kind == b"CON0" and entries % wire.TRANSCEIVER.itemsize):
            return f"{kind.decode()} datagram: expected {smallest}..{largest} bytes, got {length}", 0
        return "", length + 2 * _LENGTH_BYTES

    def _search(self, view: memoryview, at: int, fault: str) -> int:
        """Return where the next datagram may start, or where the search goes on when more bytes are there."""
        if not self._searching:
            self._searching = True
            self.statistics.resyncs += 1
            self._reject("lost the start of a datagram", f"{fault} at byte {self._position + at}")
        match = _ANY_TYPE.search(view, at + 1 + _LENGTH_BYTES)
        # Without a match the last bytes may still be a length and the start of a type.
        found = match.start() - _LENGTH_BYTES if match else max(at + 1, len(view) - 2 * _LENGTH_BYTES + 1)
        self.statistics.skipped_bytes += found - at
        return found

    def _reject(self, reason: str, detail: str) -> None:
        self.statistics.reject(reason, f"ek60: {detail}")

    def _datagram(self, datagram: memoryview, position: int) -> Frame | None:
        kind = bytes(datagram[:4])
        if kind == b"RAW0":
            return self._ping(datagram, position)
        if kind == b"CON0":
            self._configure(datagram, position)
        elif kind == b"NME0":
            self._navigate(bytes(datagram[wire.HEADER.itemsize :]))
        elif kind in EK80_TYPES:
            self._reject(
                _EK80_TEXT,
                f"{_EK80_TEXT}: expected EK60 datagrams (CON0, RAW0), got {kind.decode()} at byte {position}",
            )
        return None

    def _configure(self, datagram: memoryview, position: int) -> None:
        count = int(np.frombuffer(datagram, wire.CON0, 1)[0]["transceivers"])
        entries = len(datagram) - wire.CON0.itemsize
        if count < 0 or count * wire.TRANSCEIVER.itemsize != entries:
            self._reject(
                "configuration of unknown layout",
                f"CON0 at byte {position}: expected {count} transceivers of {wire.TRANSCEIVER.itemsize} bytes, "
                f"got {entries} bytes",
            )
            return
        # A copy, because the view is gone after the call.
        self._transceivers = list(np.frombuffer(datagram, wire.TRANSCEIVER, count, wire.CON0.itemsize).copy())

    def _navigate(self, sentence: bytes) -> None:
        position = nmea.position_deg(sentence)
        if position is not None:
            self._latitude_deg, self._longitude_deg = position
        heading_rad = nmea.heading_rad(sentence)
        if heading_rad is not None:
            self._heading_rad = heading_rad

    def _ping(self, datagram: memoryview, position: int) -> Frame | None:
        raw = np.frombuffer(datagram, wire.RAW0, 1)[0]
        channel, mode, count = int(raw["channel"]), int(raw["mode"]), int(raw["count"])
        where = f"RAW0 at byte {position}"
        if not mode & wire.MODE_POWER:
            self._reject("ping without power", f"{where}: expected power samples (mode 1 or 3), got mode {mode}")
            return None
        bytes_per_sample = 4 if mode & wire.MODE_ANGLE else 2
        there = (len(datagram) - wire.RAW0.itemsize) // bytes_per_sample
        if not 1 <= count <= min(there, self._limits.samples):
            self._reject(
                "wrong number of samples",
                f"{where}: expected 1..{min(there, self._limits.samples)} samples "
                f"(the datagram holds {there}, the profile allows {self._limits.samples}), got {count}",
            )
            return None
        entry = self._transceivers[channel - 1] if 1 <= channel <= len(self._transceivers) else None
        if entry is None:
            self._reject("ping without configuration", f"{where}: channel {channel} is not in the configuration (CON0)")
        header = self._header(raw, channel, entry)
        implausible = header.implausible()
        if implausible:
            self._reject("implausible header", f"{where}: {implausible}")
            return None
        self._pings[channel] += 1
        start = wire.RAW0.itemsize
        angles = (datagram, start + 2 * count) if mode & wire.MODE_ANGLE else None
        transducer = transducer_of(entry, header.pulse_length_s) if entry is not None else None
        return self._frames.frame(header, transducer, count, (datagram, start), angles)

    def _header(self, raw: np.void, channel: int, entry: np.void | None) -> PingHeader:
        name = _text(entry["channel_id"]) if entry is not None else ""
        return PingHeader(
            channel=name or f"channel {channel}",
            number=self._pings[channel] + 1,
            time_s=wire.unix_time(raw["header"]["time_low"], raw["header"]["time_high"]),
            offset=int(raw["offset"]),
            sample_interval_s=float(raw["sample_interval_s"]),
            pulse_length_s=float(raw["pulse_length_s"]),
            sound_speed_m_s=float(raw["sound_speed_m_s"]),
            frequency_hz=float(raw["frequency_hz"]),
            transmit_power_w=float(raw["transmit_power_w"]),
            absorption_db_m=float(raw["absorption_db_m"]),
            device=f"Simrad EK60 {name}".strip(),
            pose=Pose(
                latitude_deg=self._latitude_deg,
                longitude_deg=self._longitude_deg,
                depth_m=float(raw["transducer_depth_m"]),
                heading_rad=self._heading_rad,
                pitch_rad=math.radians(float(raw["pitch_deg"])),
                roll_rad=math.radians(float(raw["roll_deg"])),
                heave_m=float(raw["heave_m"]),
            ),
        )


def transducer_of(entry: np.void, pulse_length_s: float) -> Transducer:
    """Return one TRANSCEIVER entry with the gain and the Sa correction of the pulse length in use.

    A pulse length that is not in the table takes the general gain of the entry, and no Sa correction.
    """
    # The table and the ping hold the same number as float32; 1 % apart is another setting.
    table = [float(length_s) for length_s in entry["pulse_length_s"]]
    column = next(
        (i for i, length_s in enumerate(table) if abs(length_s - pulse_length_s) <= 0.01 * pulse_length_s), None
    )
    if column is not None:
        gain_db = float(entry["gain_table_db"][column])
        sa_correction_db = float(entry["sa_correction_db"][column])
    else:
        gain_db, sa_correction_db = float(entry["gain_db"]), 0.0
    return Transducer(
        gain_db=gain_db,
        sa_correction_db=sa_correction_db,
        equivalent_beam_angle_db=float(entry["equivalent_beam_angle_db"]),
        beamwidth_along_deg=float(entry["beamwidth_along_deg"]),
        beamwidth_athwart_deg=float(entry["beamwidth_athwart_deg"]),
        angle_sensitivity_along=float(entry["angle_sensitivity_along"]),
        angle_sensitivity_athwart=float(entry["angle_sensitivity_athwart"]),
        angle_offset_along_deg=float(entry["angle_offset_along_deg"]),
        angle_offset_athwart_deg=float(entry["angle_offset_athwart_deg"]),
        split_beam=int(entry["beam_type"]) == 1,
    )


def _text(field: bytes) -> str:
    """Return a NUL-padded field as text of printable characters."""
    text = field.split(b"\0")[0].decode("ascii", "replace")
    return "".join(character for character in text if character.isprintable()).strip()
