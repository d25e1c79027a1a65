"""Arguments of a request's address, checked: what is wrong is named with what was expected."""

from __future__ import annotations

import math
from collections.abc import Collection

from quart import request
from werkzeug.exceptions import BadRequest


def number(name: str, default: float | None = None) -> float | None:
    """Return a finite number; `default` where it is not given or empty."""
    text = request.args.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadRequest(f"{name}: expected a number, got {text!r}")
    return value


def count(name: str, default: int, least: int, most: int) -> int:
    """Return a whole number between two bounds."""
    text = request.args.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 19 or not least <= int(text) <= most:
        raise BadRequest(f"{name}: expected a number from {least} to {most}, got {text!r}")
    return int(text)


def choice(name: str, choices: Collection[str], default: str) -> str:
    """Return one of several words."""
    text = request.args.get(name, "") or default
    if text not in choices:
        raise BadRequest(f"{name}: expected {', '.join(choices)}, got {text!r}")
    return text


def choices(name: str, known: Collection[str]) -> tuple[str, ...]:
    """Return words that stand with commas between them, each once; all of `known` where there are none."""
    words = dict.fromkeys(filter(None, request.args.get(name, "").split(",")))
    for word in words:
        if word not in known:
            raise BadRequest(f"{name}: expected some of {', '.join(known)}, got {word!r}")
    return tuple(words or known)
