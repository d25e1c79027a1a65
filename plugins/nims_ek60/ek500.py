"""Decoder of the EK500 telegrams that a Simrad EK60 sends over UDP: power (W1), angles (B1), changed parameters (PE).

A ping is one B and one W telegram of a channel with equal times, each in several datagrams; all B telegrams of a ping
come before the W ones. A ping whose angles were lost on the way is one of unknown angles (NaN): it counts for echo
metrics, and the channel does not become another kind of sonar for one ping. The telegrams carry no date, and no sample
interval, pulse length, sound speed or frequency unless an operator changes them: those are settings, corrected by PE
telegrams.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

import msgspec

from nims_appliance.decoder import Decoded, DecoderContext, DecoderStatistics
from nims_appliance.frame import Arrival, Frame

from . import wire
from .echo import FrameMaker, PingHeader
from .settings import Ek60Settings, transducer_of

DAY_S = 86_400.0
MAX_CLOCK_ERROR_S = 6 * 3600.0
"""A sounder whose time of day is farther from ours has another zone or a wrong clock: its date cannot be known."""
MOST_LOST_ANGLES = 10
"""A channel without angles for more pings in a row no longer sends them."""
MAX_SENDERS = 8
"""Sounders told apart on one port; the one that was silent longest makes room."""

_HEADER = re.compile(rb"([A-Z])([1-9A-Z]),(\d\d)(\d\d)(\d\d)(\d\d),")
_PARAMETER = re.compile(rb"(/[^=]{1,200})=\s*([-+0-9.]{1,20})\s*([A-Za-z/]{0,10})")
_TRANSCEIVER = re.compile(r"Transceiver-?\s*(\d)", re.IGNORECASE)


@dataclass(slots=True)
class Ek500Statistics(DecoderStatistics):
    """Counters of the EK500 decoder."""

    clock_difference_s: float = 0.0
    """Receive time minus the sounder's time of the last ping; travel and assembly of a ping are part of it."""


@dataclass(slots=True)
class _Telegram:
    """A sample telegram that is being put together, or is whole."""

    time: bytes
    data: bytearray = field(default_factory=bytearray)
    packets: int = 0
    complete: bool = False


@dataclass(slots=True)
class _Channel:
    """One transceiver of one sender."""

    digit: int
    power: _Telegram | None = None
    angles: _Telegram | None = None
    emitted: bytes = b""
    """Time of the last ping, so that a telegram that comes twice is not a second ping."""
    pings: int = 0
    without_angles: int = MOST_LOST_ANGLES
    """Pings since the last one with angles."""


@dataclass(slots=True)
class _Sender:
    """One sounder."""

    label: str
    """Put behind the channel's name; empty for the first."""
    time: bytes = b""
    """Time of the ping that is coming in."""
    fragmented: bool = False
    """Whether it was seen to use fragment headers; then a datagram without one is damaged."""
    channels: dict[int, _Channel] = field(default_factory=dict)
    changed: dict[tuple[int, str], float] = field(default_factory=dict)
    """Values of PE telegrams by (channel, setting); channel 0 is for all."""


class Ek500Decoder:
    """Puts sample telegrams together and gives one frame for each ping of each channel.

    A ping without angles is known to be complete only when the next one begins, and comes out then.
    """

    def __init__(self, context: DecoderContext) -> None:
        self._clock = Ek500Statistics()
        self.statistics: DecoderStatistics = self._clock
        self._settings: Ek60Settings = context.settings
        self._limits = context.profile.limits
        self._frames = FrameMaker(context.mounting)
        self._senders: dict[str, _Sender] = {}

    def on_connect(self) -> bytes:
        """Forget partial pings and changed parameters. Nothing is sent."""
        self._senders.clear()
        return b""

    def decode_datagram(self, datagram: memoryview, sender: str, arrival: Arrival) -> Decoded:
        """Decode one datagram; the ping that it completes, or shows to be over, is in the answer."""
        answer = Decoded()
        # Without the port: it is another after each start of the sounder's program.
        sender = sender.rpartition(":")[0].strip("[]") or sender
        if self._settings.sender and sender != self._settings.sender:
            self._reject(
                "other sender", f"expected datagrams of {self._settings.sender}, got one of {sender}", datagram
            )
            return answer
        header = _HEADER.match(bytes(datagram[: wire.EK500_HEADER_BYTES]))
        if header is None or _seconds_of_day(header[0][3:11]) is None:
            self._reject(
                "no EK500 header",
                f"expected 'W1,hhmmsscc,' or the like from {sender}, got {bytes(datagram[:12])!r}",
                datagram,
            )
            return answer
        source = self._sender(sender)
        kind, digit, time = header[1], header[2], header[0][3:11]
        if kind in b"BW" and digit.isdigit():
            self._samples(source, kind, int(digit), time, datagram, sender, arrival, answer.frames)
        elif kind + digit == b"PE":
            self._parameter(source, bytes(datagram[wire.EK500_HEADER_BYTES - 1 :]), datagram)
        self.statistics.frames += len(answer.frames)
        return answer

    def finish(self, arrival: Arrival) -> list[Frame]:
        """Return the pings that were waiting for their angles."""
        frames: list[Frame] = []
        for source in self._senders.values():
            self._flush(source, arrival, frames)
        self._senders.clear()
        self.statistics.frames += len(frames)
        return frames

    def _reject(self, reason: str, detail: str, datagram: memoryview | None = None) -> None:
        self.statistics.reject(reason, f"ek60: {detail}")
        if datagram is not None:
            self.statistics.skipped_bytes += len(datagram)

    def _sender(self, sender: str) -> _Sender:
        source = self._senders.pop(sender, None)
        if source is None:
            if len(self._senders) >= MAX_SENDERS:
                # The dict is in the order of use, because a known sender is put back at its end.
                del self._senders[next(iter(self._senders))]
            taken = any(not known.label for known in self._senders.values())
            source = _Sender(label=f" of {sender}" if taken else "")
        self._senders[sender] = source
        return source

    def _samples(
        self,
        source: _Sender,
        kind: bytes,
        digit: int,
        time: bytes,
        datagram: memoryview,
        sender: str,
        arrival: Arrival,
        frames: list[Frame],
    ) -> None:
        """Add one datagram of samples to its telegram; append the pings that are over to `frames`."""
        number, last, first_byte, start = 0, True, 0, wire.EK500_HEADER_BYTES
        fragment = _fragment(datagram)
        if fragment is not None:
            source.fragmented = True
            number, last, first_byte = fragment
            start += wire.EK500_FRAGMENT.size
        elif source.fragmented:
            self._reject("damaged packet", f"{len(datagram)} bytes of {sender} do not fit their header", datagram)
            return
        if time != source.time and number == 0:
            # Only a first packet begins a ping: a straggler of the last one must not end this one.
            self._flush(source, arrival, frames)
            source.time = time
        channel = source.channels.setdefault(digit, _Channel(digit))
        telegram = channel.power if kind == b"W" else channel.angles
        name = f"{kind.decode()}{digit} of {sender}"
        if number == 0 and telegram is None and time != channel.emitted:
            telegram = _Telegram(time)
            if kind == b"W":
                channel.power = telegram
            else:
                channel.angles = telegram
        elif telegram is None or telegram.time != time or telegram.complete or number < telegram.packets:
            known = telegram is not None and telegram.time == time
            reason = "repeated packet" if known or time == channel.emitted else "lost packet"
            self._reject(reason, f"{name}: packet {number} of {time.decode()} was not expected", datagram)
            return
        if number != telegram.packets or first_byte != len(telegram.data):
            self._reject(
                "lost packet",
                f"{name}: expected packet {telegram.packets} from byte {len(telegram.data)}, "
                f"got packet {number} from byte {first_byte}",
                datagram,
            )
            self._drop(channel, kind)
            return
        if len(telegram.data) + len(datagram) - start > 2 * self._limits.samples:
            self._reject("too many samples", f"{name}: the profile allows {self._limits.samples} samples", datagram)
            self._drop(channel, kind)
            return
        telegram.data += datagram[start:]
        telegram.packets += 1
        telegram.complete = last
        if last and (not telegram.data or len(telegram.data) % 2):
            self._reject(
                "odd telegram", f"{name}: expected two bytes a sample, got {len(telegram.data)} bytes", datagram
            )
            self._drop(channel, kind)
            return
        power, angles = channel.power, channel.angles
        if power is not None and angles is not None and power.complete and angles.complete:
            self._emit(source, channel, power, angles, arrival, frames)

    def _drop(self, channel: _Channel, kind: bytes) -> None:
        """Give up a damaged telegram; what remains of it is then counted as lost packets."""
        if kind == b"W":
            channel.power = None
        else:
            channel.angles = None

    def _flush(self, source: _Sender, arrival: Arrival, frames: list[Frame]) -> None:
        """A new ping begins: give what has power only, drop what is not whole."""
        for channel in source.channels.values():
            power, angles = channel.power, channel.angles
            if power is not None and power.complete:
                self._emit(source, channel, power, None, arrival, frames)
            elif power is not None or angles is not None:
                self._reject("incomplete ping", f"channel {channel.digit}: the next ping began before all of it came")
            channel.power = channel.angles = None

    def _emit(
        self,
        source: _Sender,
        channel: _Channel,
        power: _Telegram,
        angles: _Telegram | None,
        arrival: Arrival,
        frames: list[Frame],
    ) -> None:
        channel.power = channel.angles = None
        channel.emitted = power.time
        if angles is not None and len(angles.data) != len(power.data):
            self._reject(
                "angles and power differ",
                f"channel {channel.digit}: expected as many angles as power samples ({len(power.data) // 2}), "
                f"got {len(angles.data) // 2}",
            )
            angles = None
        seconds = _seconds_of_day(power.time)
        assert seconds is not None, "the header was checked"
        time_s = utc_of_time_of_day(seconds, arrival.utc_s, self._settings.zone_offset_hours)
        if time_s is None:
            self._reject(
                "clock of the sounder",
                f"the sounder's time of day {power.time.decode()} is over {MAX_CLOCK_ERROR_S / 3600:g} h from this "
                f"computer's clock: set its clock, or zone_offset_hours (now {self._settings.zone_offset_hours:g})",
            )
            return
        channel.without_angles = 0 if angles is not None else channel.without_angles + 1
        self._clock.clock_difference_s = arrival.utc_s - time_s
        channel.pings += 1
        settings = self._effective(source, channel.digit)
        header = PingHeader(
            channel=f"channel {channel.digit}{source.label}",
            number=channel.pings,
            time_s=time_s,
            offset=0,
            sample_interval_s=2.0 * settings.sample_interval_m / settings.sound_speed_m_s,
            pulse_length_s=settings.pulse_length_s,
            sound_speed_m_s=settings.sound_speed_m_s,
            frequency_hz=settings.frequency_hz,
            transmit_power_w=settings.transmit_power_w,
            absorption_db_m=settings.absorption_db_km / 1000.0,
            device="Simrad EK60 (EK500 telegrams)",
        )
        implausible = header.implausible()
        if implausible:
            self._reject("implausible header", implausible)
            return
        frames.append(
            self._frames.frame(
                header,
                transducer_of(settings),
                len(power.data) // 2,
                (memoryview(power.data), 0),
                (memoryview(angles.data), 0) if angles is not None else None,
                angles_lost=angles is None and channel.without_angles <= MOST_LOST_ANGLES,
            )
        )

    def _parameter(self, source: _Sender, text: bytes, datagram: memoryview) -> None:
        """Take one "PE,hhmmsscc,/MENU/item=value unit"."""
        match = _PARAMETER.search(text)
        if match is None:
            return
        path = match[1].decode("latin-1")
        name = path.rpartition("/")[2].strip().lower()
        known = _PARAMETERS.get(name)
        if known is None:
            return
        unit = match[3].decode("latin-1").lower()
        scale = known.units.get(unit)
        try:
            value = float(match[2]) * (scale if scale is not None else math.nan)
        except ValueError:
            value = math.nan
        if not known.low <= value <= known.high:
            self._reject(
                "implausible parameter",
                f"{path}: expected {known.low:g}..{known.high:g} ({known.setting}), got {text.strip()!r}",
                datagram,
            )
            return
        transceiver = _TRANSCEIVER.search(path)
        source.changed[int(transceiver[1]) if transceiver else 0, known.setting] = value

    def _effective(self, source: _Sender, digit: int) -> Ek60Settings:
        """Return the settings with what the sounder has changed: for all transceivers, then for this one."""
        changed = {setting: value for (number, setting), value in source.changed.items() if number == 0}
        changed |= {setting: value for (number, setting), value in source.changed.items() if number == digit}
        return msgspec.structs.replace(self._settings, **changed) if changed else self._settings


@dataclass(frozen=True, slots=True)
class _Parameter:
    """A menu item of the sounder that is one of our settings."""

    setting: str
    low: float
    high: float
    units: dict[str, float]
    """Factor to the setting's unit by the unit's name, lower case."""


# The sounder writes sound speed as "1489 m".
_PARAMETERS = {
    "sample interval": _Parameter("sample_interval_m", 1e-4, 10.0, {"m": 1.0, "cm": 0.01, "mm": 0.001}),
    "pulse length": _Parameter("pulse_length_s", 1e-6, 0.1, {"ms": 1e-3, "us": 1e-6, "s": 1.0}),
    "sound velocity": _Parameter("sound_speed_m_s", 1300.0, 1700.0, {"m": 1.0, "m/s": 1.0, "": 1.0}),
    "frequency": _Parameter("frequency_hz", 1e3, 1e6, {"hz": 1.0, "khz": 1e3, "": 1.0}),
}


def looks_like_ek500(head: bytes) -> bool:
    """Return whether the first bytes are an EK500 telegram."""
    return _HEADER.match(head) is not None


def utc_of_time_of_day(time_of_day_s: float, received_utc_s: float, zone_offset_hours: float = 0.0) -> float | None:
    """Return the UTC time nearest to the receive time at which a local clock showed a time of day.

    Right on both sides of midnight, whichever clock is ahead. None if even the nearest is more than
    MAX_CLOCK_ERROR_S away.
    """
    zone_s = zone_offset_hours * 3600.0
    midnight_s = math.floor((received_utc_s + zone_s) / DAY_S) * DAY_S - zone_s
    candidates = (midnight_s + day * DAY_S + time_of_day_s for day in (-1, 0, 1))
    nearest = min(candidates, key=lambda time_s: abs(time_s - received_utc_s))
    return nearest if abs(nearest - received_utc_s) <= MAX_CLOCK_ERROR_S else None


def _seconds_of_day(digits: bytes) -> float | None:
    """Return the seconds since midnight of "hhmmsscc", or None if there is no such time."""
    hours, minutes, seconds, hundredths = (int(digits[at : at + 2]) for at in (0, 2, 4, 6))
    # 60 seconds: a leap second is no reason to lose a ping.
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    return hours * 3600.0 + minutes * 60.0 + seconds + hundredths / 100.0


def _fragment(datagram: memoryview) -> tuple[int, bool, int] | None:
    """Return (packet number, whether it is the last, first byte), or None without a fragment header that fits."""
    samples_at = wire.EK500_HEADER_BYTES + wire.EK500_FRAGMENT.size
    if len(datagram) < samples_at:
        return None
    number, flag, first_byte, count = wire.EK500_FRAGMENT.unpack_from(datagram, wire.EK500_HEADER_BYTES)
    if flag not in (wire.EK500_MORE, wire.EK500_LAST) or count != len(datagram) - samples_at:
        return None
    return number, flag == wire.EK500_LAST, first_byte
