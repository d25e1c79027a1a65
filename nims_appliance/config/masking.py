"""What of the settings goes to whom: secrets to nobody, only that there are some, and that to operators alone.

A setting is secret when its `Meta` says ``extra={"secret": True}``. Of an action of a trigger it is what lets in to a
webhook: user, password and query. Who sends the mask back changes nothing.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..delivery.address import hide_login
from ..errors import ConfigError
from ..output import Output
from ..settings import ApplianceSettings
from .check import bare, fields_of, is_secret
from .store import ChangeError

if TYPE_CHECKING:
    from ..plugin_host.host import PluginHost

MASK = "\N{BULLET}" * 8
ACTIONS_DEPTH = 3
"""Keys of a path to the actions of a trigger: triggers.NAME.actions."""
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
            if any(is_secret(kind) for kind in kinds):
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
        if _are_actions(path) and isinstance(value, list):
            hidden = MASK if operator else ""
            return [hide_login(text, hidden) if isinstance(text, str) else text for text in value]
        return value

    def mask_key(self, key: str, value: Any, *, operator: bool) -> Any:
        """Return the value of a dotted key without secrets."""
        return self.mask(value, tuple(key.split(".")), operator=operator)

    def unmasked(self, changes: Mapping[str, Any], current: ApplianceSettings) -> dict[str, Any]:
        """Return changes, by dotted key, without those that only give a mask back.

        Raises:
          ConfigError: the login of an action is masked, and the current settings have no such action.
        """
        kept: dict[str, Any] = {}
        for key, value in changes.items():
            value = _with_logins(tuple(key.split(".")), value, current)
            if isinstance(value, dict):
                # A part of the settings at once: what of it is masked stays as it is, the rest is set one by one.
                flat = dict(_leaves(key, value))
                kept |= flat if MASK in flat.values() else {key: value}
            else:
                kept[key] = value
        return {key: value for key, value in kept.items() if not (value == MASK and self._is_secret_key(key))}

    def seen(self, values: Mapping[str, Any] | None, current: ApplianceSettings) -> dict[str, Any] | None:
        """Return what a page says that it saw: without secrets, it has not seen them, and with logins of actions."""
        if values is None:
            return None
        seen: dict[str, Any] = {}
        for key, value in values.items():
            if self._is_secret_key(key):
                continue
            try:
                seen[key] = _with_logins(tuple(key.split(".")), value, current)
            except ConfigError:
                seen[key] = value  # another counts by now, as the page will be told
        return seen

    def _is_secret_key(self, key: str) -> bool:
        return self.is_secret(tuple(key.split(".")))


def _with_logins(path: Path, value: Any, current: ApplianceSettings) -> Any:
    """Return a value with the logins of the actions in it, where masks stand for those of saved ones."""
    if isinstance(value, Mapping) and len(path) < ACTIONS_DEPTH:  # what anybody sends may be nested without end
        return {name: _with_logins((*path, name), one, current) for name, one in value.items()}
    if not _are_actions(path) or not isinstance(value, list):
        return value
    trigger = current.triggers.get(path[1])
    return [_unmask_action(text, trigger.actions if trigger else [], ".".join(path)) for text in value]


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
    field = fields_of(kind).get(key)
    return [field.type] if field else []


def _are_actions(path: Path) -> bool:
    return len(path) == ACTIONS_DEPTH and path[0] == "triggers" and path[2] == "actions"


def _unmask_action(text: Any, saved: list[str], key: str) -> Any:
    """Return an action with its login.

    Raises:
      ConfigError: its login is masked, and none of the saved ones is like it.
    """
    if not isinstance(text, str) or MASK not in text:
        return text
    for action in saved:
        if hide_login(action, MASK) == text:
            return action
    problem = f"{text!r}: its login is not shown: type the address anew, with its login"
    raise ChangeError(f"{key}: {problem}", {key: problem})
