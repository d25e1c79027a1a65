"""A driver for a sonar that sends nothing of use."""

from __future__ import annotations

import msgspec

from nims_appliance.decoder import Decoded, DecoderStatistics, Driver


class Settings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    scale: float = 1.0
    packet_bytes: int = 16


class Decoder:
    def __init__(self, context):
        self.context = context
        self.statistics = DecoderStatistics()

    def on_connect(self):
        return b""

    def decode(self, view, arrival):
        return Decoded(consumed=len(view))

    def finish(self, arrival):
        return []


DRIVER = Driver(
    name="fixture",
    title="Fixture sonar",
    settings_type=Settings,
    stream=Decoder,
    recognise=lambda head: head.startswith(b"FIXTURE"),
)
