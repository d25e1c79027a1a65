"""Messages: what a trigger sends, and in which words."""

from __future__ import annotations

import string
from typing import Any

import msgspec

from ..errors import ConfigError
from .rules import Happening

_encoder = msgspec.json.Encoder()


class _Plain(string.Formatter):
    """Fills in values by name and nothing else: no attributes, no items."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> tuple[Any, str]:
        if field_name not in kwargs:
            raise ConfigError(f"there is no {{{field_name}}}: there is {', '.join(sorted(kwargs))}")
        value = kwargs[field_name]
        return ("" if value is None else value), field_name


_PLAIN = _Plain()


def message(happening: Happening, text: str) -> bytes:
    """Return what is sent: `text` with its {names} filled in, or JSON where it is empty.

    Raises:
      ConfigError: the text names a value that there is not, or asks for a format that does not fit it.
    """
    values = happening.describe()
    if not text:
        return _encoder.encode(values)
    try:
        filled = _PLAIN.vformat(text, (), values)
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise ConfigError(f"text {text!r}: {error}") from None
    return filled.encode()
