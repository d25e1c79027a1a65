"""Coverage-guided fuzzing of the stream decoders, by hand: no crash, bounded memory, frames whatever the chunking.

    python -m venv /tmp/fuzz && /tmp/fuzz/bin/pip install atheris -e .
    /tmp/fuzz/bin/python tests/fuzz/fuzz_decoders.py m3 -max_total_time=600

Arguments after the decoder (m3, oculus or layout) go to libFuzzer. The first bytes of an input say where the stream is
cut; the rest is the stream. Starts from small packets of the encoders.
"""

from __future__ import annotations

import dataclasses
import struct
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["nims_m3", "nims_oculus", "nims_layout", "nims_appliance.framing"]):
    import nims_layout
    import nims_m3
    import nims_m3.wire
    import nims_oculus
    import nims_oculus.wire

import msgspec
import numpy as np
import yaml

import firmware_profiles
from nims_appliance.decoder import DecoderContext, Driver
from nims_appliance.frame import Arrival
from nims_appliance.profile import LimitsSettings, Profile

ARRIVAL = Arrival(1_700_000_000.0, 1.0)
LIMITS = LimitsSettings(packet_bytes=100_000, beams=64, samples=500)
CUTS = struct.Struct("<BHHH")


def context(driver: Driver, profile_name: str) -> DecoderContext:
    """Return what the profile of that name gives, with small limits."""
    text = (Path(firmware_profiles.__file__).parent / f"{profile_name}.yaml").read_text(encoding="utf-8")
    profile = msgspec.structs.replace(msgspec.convert(yaml.safe_load(text), Profile), limits=LIMITS)
    settings = msgspec.convert(profile.settings, driver.settings_type)
    return DecoderContext(profile=profile, settings=settings, live=True, timed=True, want_samples=True)


def frames_of(stream: bytes, chosen: DecoderContext, driver: Driver, cuts: list[int]):
    """Feed the stream as a link does; return the frames and the statistics."""
    assert driver.stream is not None
    decoder = driver.stream(chosen)
    decoder.on_connect()
    buffer, frames, need, start = bytearray(), [], 1, 0
    for end in [*sorted(cut for cut in cuts if cut < len(stream)), len(stream)]:
        buffer += stream[start:end]
        start = end
        while len(buffer) >= need:
            answer = decoder.decode(memoryview(buffer), ARRIVAL)
            assert 0 <= answer.consumed <= len(buffer)
            assert 1 <= answer.need <= LIMITS.packet_bytes
            assert answer.consumed or answer.need > len(buffer)
            del buffer[: answer.consumed]
            need = answer.need
            frames += [frame.check() for frame in answer.frames]
    for frame in frames:
        assert np.isfinite(frame.intensity).all()
        assert (frame.intensity >= 0).all()
    return frames, decoder.statistics


def seeds(name: str) -> list[bytes]:
    """Return streams of a few small good packets."""
    rng = np.random.default_rng(0)
    bearing_rad = np.radians([-5.0, 0.0, 7.0])
    if name == "m3":
        packets = [
            nims_m3.wire.encode_packet(
                rng.normal(size=(2, 3)).astype(np.complex64), bearing_rad=bearing_rad, time_s=1.0, ping_number=n,
                sound_speed_m_s=1500.0, first_range_m=1.0, sample_interval_s=1e-5, frequency_hz=5e5,
                pulse_length_s=2e-5, ping_rate_hz=10.0, data_type=data_type,
            )
            for n, data_type in enumerate((0x1002, 0x2003))
        ]  # fmt: skip
    elif name == "oculus":
        packets = [
            nims_oculus.wire.encode_ping(
                rng.integers(0, 250, (5, 3)).astype(dtype), bearing_rad=bearing_rad, range_resolution_m=0.1, ping_id=n,
                frequency_hz=1e6, sound_speed_m_s=1500.0, version=version, gains=gains,
            )
            for n, (version, dtype, gains) in enumerate(
                [(1, np.uint8, None), (2, np.uint16, np.arange(5)), (1, np.uint32, np.arange(1, 6))]
            )
        ] + [nims_oculus.wire.encode_dummy()]  # fmt: skip
    else:
        beams, samples = 3, 2
        size = 44 + 2 * beams + beams * samples + 2
        head = struct.pack("<4sHHIIIIIfffI", b"FISH", 2, beams, samples, size, 1, 2, 3, 1500, 1, 1e-5, 9)
        packets = [head + struct.pack("<3h", -5, 0, 7) + bytes(range(6)) + b"\0\0"]
    return [*packets, packets[0] + packets[-1], packets[0][:-50] + packets[-1], packets[0][:40] + packets[-1]]


def main() -> None:
    """Fuzz the decoder that the first argument names."""
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    known = {
        "m3": (nims_m3, "kongsberg-m3"),
        "oculus": (nims_oculus, "blueprint-oculus"),
        "layout": (nims_layout, "example-layout"),
    }
    if name not in known:
        sys.exit(f"usage: fuzz_decoders.py {'|'.join(known)} [libFuzzer options]")
    plugin, profile_name = known[name]
    driver = plugin.nims_drivers()[0]
    chosen = context(driver, profile_name)
    if name == "layout":  # libFuzzer cannot guess checksums
        chosen = dataclasses.replace(chosen, settings=msgspec.structs.replace(chosen.settings, checksum=None))

    def test_one_input(data: bytes) -> None:
        if len(data) < CUTS.size:
            return
        count, *cuts = CUTS.unpack_from(data)
        stream = data[CUTS.size :]
        whole, statistics = frames_of(stream, chosen, driver, [])
        pieces, other = frames_of(stream, chosen, driver, cuts[: count % 4])
        assert [frame.ping_number for frame in whole] == [frame.ping_number for frame in pieces]
        assert statistics == other

    corpus = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    for number, stream in enumerate(seeds(name)):
        (corpus / str(number)).write_bytes(CUTS.pack(2, 60, 200, 9000) + stream)
    atheris.Setup([*sys.argv, "-max_len=20000", "-timeout=10", "-rss_limit_mb=1024", str(corpus)], test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
