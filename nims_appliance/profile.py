"""Firmware profiles: all that differs between sonar models and firmwares without code, as YAML."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from .config.check import Report, check_struct
from .config.yaml import Document, read_document
from .errors import LinkError, ProfileError
from .links.address import parse_link
from .settings import Settings, SonarSettings

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class LimitsSettings(Settings, frozen=True):
    """Largest packet that a sonar of this profile may send; everything above is refused before it is allocated."""

    packet_bytes: Annotated[int, Meta(ge=1, le=2**30)] = 64 * 2**20
    beams: Annotated[int, Meta(ge=1, le=65535)] = 1024
    samples: Annotated[int, Meta(ge=1, le=2**20)] = 30_000


class Profile(Settings, frozen=True):
    """One firmware profile, as read from YAML; docs/profiles.md describes every key."""

    name: str
    title: str
    driver: str
    """Name of the driver that decodes it."""
    default_link: str = ""
    notes: str = ""
    """For the operator: how to set the sonar up, in a few sentences."""
    limits: LimitsSettings = LimitsSettings()
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    """The driver's own, checked against `Driver.settings_type`."""
    sonar: dict[str, Any] = msgspec.field(default_factory=dict)
    """Defaults for SonarSettings of such a sonar: mounting, detector, single_target, tracker, metrics."""


def load_profile(text: str | bytes, origin: str) -> Profile:
    """Return the profile that a YAML text describes.

    `origin` names the text in errors: a file's name, or a plugin's. The driver's own `settings` are checked later,
    when the driver is known.

    Raises:
      ProfileError: the text is not valid; names every wrong line and key.
    """
    document = read_document(text, origin)
    errors = list(document.errors)

    def report(path: tuple[str, ...], problem: str) -> None:
        errors.append(f"{document.where(path)}: {'.'.join(path)}: {problem}" if path else f"{origin}: {problem}")

    profile: Profile | None = check_struct(Profile, document.values, (), report)
    if profile is not None:
        if not _NAME.fullmatch(profile.name):
            report(("name",), f"expected letters, digits, . - and _, got {profile.name!r}")
        if profile.default_link:
            try:
                parse_link(profile.default_link)
            except LinkError as error:
                report(("default_link",), str(error))
        _check_sonar_defaults(profile, document, report)
    if errors or profile is None:
        raise ProfileError("\n".join(dict.fromkeys(errors)))
    return profile


def _check_sonar_defaults(profile: Profile, document: Document, report: Report) -> None:
    """Check `sonar:` as if an operator had written it, all but what only the operator can know."""
    for key in ("profile", "link", "enabled", "driver"):
        if key in profile.sonar:
            hint = {"link": "; use default_link", "driver": "; use settings"}.get(key, "")
            report(("sonar", key), f"belongs to the operator's configuration{hint}")
    values = {"profile": profile.name, "link": "", **profile.sonar}
    check_struct(SonarSettings, values, ("sonar",), report)


def read_profiles(folder: Path | None) -> list[tuple[str, bytes | OSError]]:
    """Return (origin, text) of every ``*.yaml`` in a folder, or of the built-in profiles for None; sorted by name.

    In place of the text of a file that cannot be read is the reason.
    """
    if folder is None:
        files = [entry for entry in resources.files("firmware_profiles").iterdir() if entry.name.endswith(".yaml")]
        return [(f"built-in {entry.name}", entry.read_bytes()) for entry in sorted(files, key=lambda entry: entry.name)]
    profiles: list[tuple[str, bytes | OSError]] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            profiles.append((f"{folder.name}/{path.name}", path.read_bytes()))
        except OSError as error:
            profiles.append((f"{folder.name}/{path.name}", error))
    return profiles
