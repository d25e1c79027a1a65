"""The JSON Schema of all settings, with what a form needs beside each field."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from ..settings import ApplianceSettings, split_unit
from .check import bare, fields_of
from .yaml import Path

if TYPE_CHECKING:
    from ..decoder import Driver
    from ..output import Output


def make_schema(drivers: Iterable[Driver], outputs: Iterable[Output] = ()) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of ApplianceSettings.

    Beside what the standard has, a property may have ``unit`` ("m") and ``restart`` ("sonar" or "appliance": what has
    to start anew before it takes effect; the browser cannot change the latter) and ``secret`` (true: it is never
    shown). ``$defs`` also has the settings of each driver, as "driver <name>", for ``sonars.<name>.driver``, and of
    each output, as "output <name>".
    """
    schema = msgspec.json.schema(ApplianceSettings)
    for kind in _structs(ApplianceSettings):
        _annotate(schema["$defs"][kind.__name__], kind)
    offers: list[tuple[str, Driver | Output]] = [("driver", driver) for driver in drivers]
    for kind_of_offer, offer in [*offers, *(("output", output) for output in outputs)]:
        (_, *_), components = msgspec.json.schema_components([offer.settings_type], ref_template="#/$defs/{name}")
        own = components.pop(offer.settings_type.__name__)
        _annotate(own, offer.settings_type)
        own["title"] = offer.title
        schema["$defs"][f"{kind_of_offer} {offer.name}"] = own
        for name, component in components.items():
            schema["$defs"].setdefault(name, component)
    return schema


def restart_of(path: Path) -> str:
    """Return what has to restart before a setting takes effect: "", "sonar" or "appliance"."""
    kind: Any = ApplianceSettings
    restart = ""
    for key in path:
        restart = _restart(kind) or restart
        kind = bare(kind)
        if typing.get_origin(kind) is dict:
            kind = typing.get_args(kind)[1]
            continue
        field = fields_of(kind).get(key)
        if field is None:
            break
        kind = field.type
    return _restart(kind) or restart


def _annotate(schema: dict[str, Any], kind: type) -> None:
    for field in msgspec.structs.fields(kind):
        entry = schema["properties"][field.encode_name]
        stem, unit = split_unit(field.encode_name)
        entry.setdefault("title", stem.replace("_", " ").capitalize())
        if unit:
            entry["unit"] = unit
        if _restart(field.type):
            entry["restart"] = _restart(field.type)
        if _extra(field.type, "secret"):
            entry["secret"] = True


def _structs(kind: Any) -> Iterator[type]:
    """Yield a struct and all structs in it."""
    kind = bare(kind)
    if typing.get_origin(kind) is dict:
        yield from _structs(typing.get_args(kind)[1])
    elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
        for field in msgspec.structs.fields(kind):
            yield from _structs(field.type)


def _restart(kind: Any) -> str:
    return str(_extra(kind, "restart") or "")


def _extra(kind: Any, name: str) -> Any:
    for meta in getattr(kind, "__metadata__", ()):
        if isinstance(meta, msgspec.Meta) and meta.extra and name in meta.extra:
            return meta.extra[name]
    return None
