"""Firmware profiles: all that differs between sonar models and firmwares without code, as YAML."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from .settings import Settings


class LimitsSettings(Settings):
    """Largest packet that a sonar of this profile may send; everything above is refused before it is allocated."""

    packet_bytes: Annotated[int, Meta(ge=1, le=2**30)] = 64 * 2**20
    beams: Annotated[int, Meta(ge=1, le=65535)] = 1024
    samples: Annotated[int, Meta(ge=1, le=2**20)] = 30_000


class Profile(Settings):
    """One firmware profile, as read from YAML; docs/profiles.md describes every key."""

    name: str
    title: str
    driver: str
    """Name of the driver that decodes it."""
    default_link: str = ""
    notes: str = ""
    """For the operator: how to set the sonar up, in a few sentences."""
    limits: LimitsSettings = LimitsSettings()
    settings: dict[str, Any] = {}
    """The driver's own, checked against `Driver.settings_type`."""
    sonar: dict[str, Any] = {}
    """Defaults for SonarSettings of such a sonar: mounting, detector, single_target, tracker, metrics."""
