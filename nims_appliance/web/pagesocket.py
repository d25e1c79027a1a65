"""`/pagesocket`: the configuration, both ways, for every open settings page.

On connect the page gets the configuration. It sends changes back, either as ``{"type": "change", "changes":
{"dotted.key": value}, "id": ...}`` or, as pages of NIMS 2016 do, the whole configuration or a part of it. What was
changed is pushed to every other page; the author gets ``{"type": "saved", "id", "changes"}`` or ``{"type": "error",
"id", "error", "errors", "problems"}``, where `problems` tells by dotted key what is wrong. Changes take the role of an
operator; without it the error has a `status`, 401 or 403. With ``"expected": {"dotted.key": value}``, the values that
the page showed, a change is refused where somebody else was faster.

``{"type": "check", "changes", "id"}`` changes nothing: the answer ``{"type": "checked", "id", "rows", "problems"}``
says what would become of it.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from quart import websocket
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from ..bus import all_within
from ..config.masking import Masking
from ..config.store import ChangeError, Preview
from ..config.yaml import MAX_DEPTH
from ..errors import ConfigError
from .auth import access, check_settings, current, current_again, needs
from .hypercorn_streams import text_message
from .sockets import serve_socket
from .state import from_json, to_json

if TYPE_CHECKING:
    from ..config.store import ConfigChange, ConfigStore
    from ..context import Context

_page_numbers = itertools.count(1)


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested values by dotted key; an empty dict is a leaf.

    Raises:
      ConfigError: nested deeper than a configuration can be.
    """
    if prefix.count(".") > MAX_DEPTH:
        raise ConfigError(f"{prefix:.60}...: nested deeper than {MAX_DEPTH} levels")
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and value:
            leaves.update(flatten(value, f"{key}."))
        else:
            leaves[key] = value
    return leaves


def describe_config(config: ConfigStore, *, operator: bool) -> dict[str, Any]:
    """Return the configuration with all that a form needs: schema, where each value comes from, what is wrong.

    Without secrets; `operator`: whether their places are told.
    """
    values = Masking(config.plugins).mask(config.values(), operator=operator)
    return {
        "values": values,
        "schema": config.schema(),
        "origins": {key: config.origin(key) for key in flatten(values)},
        "removed": config.removed(),
        "profiles": {
            name: {"title": profile.title, "driver": profile.driver, "default_link": profile.default_link}
            for name, profile in config.plugins.profiles.items()
        },
        "errors": list(config.errors),
        "warnings": list(config.warnings),
        "edited": config.config_file_edited,
    }


def describe_history(config: ConfigStore, limit: int, *, operator: bool) -> list[dict[str, Any]]:
    """Return the last changes, newest first, without secrets, each with why it cannot be taken back ("": it can)."""
    mask = partial(Masking(config.plugins).mask_key, operator=operator)
    return [
        {
            "number": entry.number,
            "time_utc_s": entry.time_utc_s,
            "author": entry.author,
            "source": entry.source,
            "undoes": entry.undoes,
            "rows": [
                {"key": row.key, "old": mask(row.key, row.old), "new": mask(row.key, row.new)} for row in entry.rows
            ],
            "undo_problem": config.undo_problem(entry),
        }
        for entry in reversed(config.history.entries[-limit:])
    ]


def differences(current: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return what `wanted` changes, by dotted key. Keys that it lacks stay as they are.

    Forms of old pages send every number as a string: where a number stands now, such a string is read as one.
    """
    now = flatten(current)
    changes = {}
    for key, value in flatten({name: value for name, value in wanted.items() if name != "type"}).items():
        before = now.get(key)
        if isinstance(value, str) and isinstance(before, (int, float)):
            value = _read_value(value, before)
        if key not in now or value != before or isinstance(value, bool) != isinstance(before, bool):
            changes[key] = value
    return changes


def _read_value(text: str, before: int | float) -> Any:
    try:
        read = from_json(text.strip())
    except ValueError:
        return text  # the check of the configuration names it
    expected = bool if isinstance(before, bool) else (int, float)
    return read if isinstance(read, expected) else text


def config_message(config: ConfigStore, *, operator: bool) -> dict[str, Any]:
    """Return the whole configuration as pages get it, without secrets."""
    return {**Masking(config.plugins).mask(config.values(), operator=operator), "type": "config"}


def register(app: QuartTrio, context: Context) -> None:
    """Add the socket to the application."""
    config = context.config

    @app.websocket("/pagesocket")
    @needs("viewer")
    async def page() -> None:
        number = next(_page_numbers)
        masking = Masking(config.plugins)
        changing = trio.Lock()
        own: ConfigChange | None = None

        async def send(message: dict[str, Any]) -> None:
            await websocket.send(text_message(to_json(message)))

        async def send_config() -> None:
            with config.changes.subscribe(f"page {number}", all_within(64)) as changes:
                await send(config_message(config, operator=current().may("operator")))
                async for change in changes:
                    async with changing:  # until it is known whose it is
                        from_elsewhere = change is not own
                    if from_elsewhere:
                        await send(config_message(config, operator=current().may("operator")))

        def checked(message: dict[str, Any]) -> dict[str, Any]:
            changes = message.get("changes")
            if not isinstance(changes, dict):
                preview = Preview([], {"": 'changes: expected an object {"dotted.key": value}'})
            else:
                try:
                    preview = config.check(masking.unmasked(changes, config.current))
                except ChangeError as error:
                    preview = Preview([], error.problems)
            rows = [
                row | {name: masking.mask_key(row["key"], row[name], operator=True) for name in ("old", "new")}
                for row in preview.rows
            ]
            return {"type": "checked", "id": message.get("id"), "rows": rows, "problems": preview.problems}

        async def take(text: str) -> None:
            nonlocal own
            try:
                message = from_json(text)
            except ValueError as error:
                message = None
                problem = f"malformed JSON: {error}"
            else:
                problem = "expected a JSON object: a change, or the configuration"
            if not isinstance(message, dict):
                await send({"type": "error", "id": None, "error": problem, "errors": [problem]})
                return
            reference = message.get("id") if message.get("type") in ("change", "check") else None
            expected = None
            identity = await current_again()
            try:
                access().check(identity, "operator", changes=False, csrf=None)
                if message.get("type") == "check":
                    await send(checked(message))
                    return
                if message.get("type") == "change":
                    changes = message.get("changes")
                    if not isinstance(changes, dict):
                        raise ConfigError('changes: expected an object {"dotted.key": value}')
                    expected = message.get("expected")
                    if not isinstance(expected, (dict, type(None))):
                        raise ConfigError('expected: expected an object {"dotted.key": value}')
                else:
                    changes = differences(config.values(), message)
                changes, expected = masking.unmasked(changes, config.current), masking.seen(expected, config.current)
                if changes:
                    async with changing:
                        check_settings(identity, changes)
                        own = await config.change(changes, identity.author, source="browser", expected=expected)
            except HTTPException as error:
                problem = error.description or error.name
                await send(
                    {"type": "error", "id": reference, "error": problem, "errors": [problem], "status": error.code}
                )
            except ConfigError as error:
                await send(
                    {
                        "type": "error",
                        "id": reference,
                        "error": str(error),
                        "errors": str(error).split("; "),
                        "problems": getattr(error, "problems", {}),
                    }
                )
            else:
                told = {key: masking.mask_key(key, value, operator=True) for key, value in changes.items()}
                await send({"type": "saved", "id": reference, "changes": told})

        await serve_socket(context, [send_config], take)
