"""What of the settings goes to whom: secrets to nobody, only that there are some, and that to operators alone.

A setting is secret when its `Meta` says ``extra={"secret": True}``. Who sends the mask back changes nothing.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ..delivery.address import parse_action, without_login
from ..errors import ConfigError
from ..output import Output
from ..settings import ApplianceSettings
from .check import bare

if TYPE_CHECKING:
    from ..plugin_host.host import PluginHost

MASK = "\N{BULLET}" * 8
Path = tuple[str, ...]


class Masking:
    """Masks settings as the plugins describe them."""

    def __init__(self, plugins: PluginHost) -> None:
        self._plugins = plugins

    def is_secret(self, path: Path) -> bool:
        """Whether a setting is secret, or below one that is."""
        kinds: list[Any] = [ApplianceSettings]
        for depth, key in enumerate(path):
            kinds = [inner for kind in kinds for inner in _inside(kind, key)]
            if any(_marked_secret(kind) for kind in kinds):
                return True
            if path[0] == "outputs" and depth == 1:
                output = self._plugins.outputs.get(key)
                kinds = [output.settings_type] if isinstance(output, Output) else []
            elif path[0] == "sonars" and depth == 2 and key == "driver":
                kinds = [driver.settings_type for driver in self._plugins.drivers.values()]
        return False

    def mask(self, value: Any, path: Path = (), *, operator: bool) -> Any:
        """Return the value of a setting, or of all below it, without secrets.

        Operators are shown MASK where there is one; others are not told whether there is.
        """
        if self.is_secret(path):
            return MASK if operator and value not in (None, "") else None if value is None else ""
        if isinstance(value, Mapping):
            return {key: self.mask(one, (*path, key), operator=operator) for key, one in value.items()}
        if not operator and len(path) == 3 and path[0] == "triggers" and path[2] == "actions":
            return [_for_everybody(text) for text in value] if isinstance(value, list) else value
        return value

    def mask_key(self, key: str, value: Any, *, operator: bool) -> Any:
        """Return the value of a dotted key without secrets."""
        return self.mask(value, tuple(key.split(".")), operator=operator)

    def unmasked(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return changes, by dotted key, without those that only give a mask back."""
        kept: dict[str, Any] = {}
        for key, value in changes.items():
            if isinstance(value, dict):
                # A part of the settings at once: what of it is masked stays as it is, the rest is set one by one.
                flat = dict(_leaves(key, value))
                kept |= flat if MASK in flat.values() else {key: value}
            else:
                kept[key] = value
        return {key: value for key, value in kept.items() if not (value == MASK and self._is_secret_key(key))}

    def without_secret_keys(self, values: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Return what a page says that it saw, without secrets: it has not seen them."""
        if values is None:
            return None
        return {key: value for key, value in values.items() if not self._is_secret_key(key)}

    def _is_secret_key(self, key: str) -> bool:
        return self.is_secret(tuple(key.split(".")))


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, one in value.items():
            yield from _leaves(f"{key}.{name}", one)
    else:
        yield key, value


def _inside(kind: Any, key: str) -> list[Any]:
    kind = bare(kind)
    if typing.get_origin(kind) is dict:
        return [typing.get_args(kind)[1]]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [field.type for field in msgspec.structs.fields(kind) if field.encode_name == key]
    return []


def _marked_secret(kind: Any) -> bool:
    return any(
        isinstance(meta, msgspec.Meta) and bool((meta.extra or {}).get("secret"))
        for meta in getattr(kind, "__metadata__", ())
    )


def _for_everybody(text: Any) -> Any:
    try:
        return without_login(parse_action(text)) if isinstance(text, str) else text
    except ConfigError:
        return text
