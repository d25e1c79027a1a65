"""Base of every settings struct, and what several of them check."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Port = Annotated[int, Meta(ge=0, le=65535)]


class Settings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Base of all settings: immutable, and a misspelt key is an error."""


def check_below(settings: Settings, low: str, high: str) -> None:
    """Check that one setting is below another.

    Raises:
      ValueError: it is not.
    """
    if not getattr(settings, low) < getattr(settings, high):
        raise ValueError(f"{low} must be below {high}, got {getattr(settings, low)!r} and {getattr(settings, high)!r}")
