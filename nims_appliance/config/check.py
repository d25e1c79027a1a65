"""Checks plain values against typed structs: every error, each with its key, and a struct made of what is good."""

from __future__ import annotations

import difflib
import functools
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

Path = tuple[str, ...]
Report = Callable[[Path, str], None]
"""Takes the path of a wrong value and what is wrong with it."""

MOST_NAMED = 100
"""Sonars, and zones, alarms or triggers, in one place: nobody has more, and each costs time at every change."""
_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "keys and values",
    "array": "a list",
    "null": "nothing",
}


def check_struct(kind: type, values: Any, path: Path, report: Report) -> Any:
    """Return an instance of the struct `kind` with the good ones of `values`, and defaults for the rest.

    Unlike `msgspec.convert` it goes on after the first error and knows the name of every key. Returns None if a field
    without a default is missing or wrong, or if the struct's own `__post_init__` refuses the combination.
    """
    if values is None:  # a section with nothing in it
        values = {}
    if not isinstance(values, dict):
        report(path, f"expected keys and values, got {show(values)}")
        return None
    fields = fields_of(kind)
    good: dict[str, Any] = {}
    complete = True
    for key, value in values.items():
        if key not in fields:
            report((*path, key), f"unknown key{suggest(key, fields)}")
            continue
        field = fields[key]
        ok, converted = _check_value(field.type, value, (*path, key), report)
        if ok:
            good[field.name] = converted
        elif field.required:
            complete = False
    for key, field in fields.items():
        if field.required and key not in values:
            report((*path, key), "missing")
            complete = False
    if not complete:
        return None
    try:
        return kind(**good)
    except (TypeError, ValueError) as error:
        report(path, str(error))
        return None


def _check_value(kind: Any, value: Any, path: Path, report: Report) -> tuple[bool, Any]:
    annotated, kind = kind, bare(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        struct = check_struct(kind, value, path, report)
        return struct is not None, struct
    if typing.get_origin(kind) is dict and isinstance(value, dict):
        inner = bare(typing.get_args(kind)[1])
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            if len(value) > MOST_NAMED:
                report(path, f"expected at most {MOST_NAMED} by name, got {len(value)}")
                return False, None
            structs = {key: check_struct(inner, item, (*path, key), report) for key, item in value.items()}
            return True, {key: struct for key, struct in structs.items() if struct is not None}
    try:
        return True, msgspec.convert(value, annotated)
    except msgspec.ValidationError as error:
        expected, _, place = str(error).partition(" - at `$")
        if typing.get_origin(kind) is typing.Literal:
            expected = f"expected {' or '.join(map(repr, typing.get_args(kind)))}"
        got = "another value" if is_secret(annotated) else show(value)
        report((*path, *re.findall(r"\w+", place)), f"{_plain(expected)}, got {got}")
        return False, None


@functools.cache
def fields_of(kind: Any) -> Mapping[str, msgspec.structs.FieldInfo]:
    """Return the fields of a struct by their keys; none for any other type.

    Kept, because msgspec finds them anew each time, which takes a millisecond.
    """
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return {}
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def bare(kind: Any) -> Any:
    """Return the type in ``Annotated[...]``, or the type itself."""
    return kind.__origin__ if hasattr(kind, "__metadata__") else kind


def is_secret(kind: Any) -> bool:
    """Whether the type of a setting is marked as secret."""
    return any(
        isinstance(meta, msgspec.Meta) and bool((meta.extra or {}).get("secret"))
        for meta in getattr(kind, "__metadata__", ())
    )


def suggest(word: str, known: typing.Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" or, when nothing is close, what there is."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    if close:
        return f" (did you mean {' or '.join(map(repr, close))}?)"
    if not names:
        return ""
    return f" (there is {', '.join(names[:20])}{', ...' if len(names) > 20 else ''})"


def show(value: Any) -> str:
    """Return a value for an error text, in few characters."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _plain(message: str) -> str:
    """Return msgspec's "Expected `int` >= 0" in words that operators use."""
    message = re.sub(r", got .*", "", message)
    choice = re.fullmatch(r"Expected `str` matching regex '\^\(([^()]*)\)\$'", message)
    if choice:
        return "expected " + " or ".join(choice[1].split("|"))
    message = re.sub(
        r"`([^`]*)`", lambda match: " or ".join(_WORDS.get(part, part) for part in match[1].split(" | ")), message
    )
    return message[:1].lower() + message[1:]
