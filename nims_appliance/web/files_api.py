"""`/api/v1/files`: plugins and firmware profiles in the data folder, for admins.

A plugin is code that runs with all rights of the appliance: whoever is admin could as well sit at its keyboard.
"""

from __future__ import annotations

import logging
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from quart import Response
from quart_trio import QuartTrio
from werkzeug.exceptions import BadRequest, NotFound

from ..errors import PluginError
from ..profile import load_profile
from . import streams
from .auth import current, needs
from .bodies import json_answer

if TYPE_CHECKING:
    from ..context import Context

log = logging.getLogger(__name__)

PATH = "/api/v1/files/"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,119}")
MAX_MODULE_BYTES = 4 * 2**20
NEXT_START = "takes effect at the next start of the appliance"


def _check_plugin(path: Path, name: str) -> None:
    if name.endswith(".whl"):
        if not zipfile.is_zipfile(path):
            raise PluginError(f"{name}: expected a wheel, which is a zip file")
        return
    if path.stat().st_size > MAX_MODULE_BYTES:
        raise PluginError(f"{name}: a module has at most {MAX_MODULE_BYTES / 2**20:g} MiB")
    try:
        compile(path.read_bytes(), name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise PluginError(f"{name}: expected a Python module: {error}") from None


def _check_profile(path: Path, name: str) -> None:
    load_profile(path.read_bytes(), name)


FOLDERS: dict[str, tuple[tuple[str, ...], int, Callable[[Path, str], None]]] = {
    "plugins": ((".py", ".whl"), 200 * 2**20, _check_plugin),
    "profiles": ((".yaml", ".yml"), 2**20, _check_profile),
}
"""Folder -> (endings of names, most bytes, what looks at a file before it is taken)."""


def register(app: QuartTrio, context: Context) -> None:
    """Add the routes to the application."""
    streams.install(app, PATH)
    streams.forget_uploads(context.data)

    def find(folder: str, name: str) -> Path:
        """Return the path of a file, which need not be there; nothing outside its folder has one."""
        if folder not in FOLDERS:
            raise NotFound(f"there is no folder {folder!r}; there are: {', '.join(FOLDERS)}")
        if not NAME.fullmatch(name) or not name.endswith(FOLDERS[folder][0]):
            endings = " or ".join(FOLDERS[folder][0])
            raise BadRequest(f"{name!r}: expected a name of letters, digits and ._+-, ending in {endings}")
        return context.data / folder / name

    def existing(folder: str, name: str) -> Path:
        path = find(folder, name)
        if path.is_symlink() or not path.is_file():
            raise NotFound(f"there is no {name!r} in {folder}")
        return path

    @app.get("/api/v1/files")
    @needs("admin")
    async def list_files() -> Response:
        return json_answer({"files": await trio.to_thread.run_sync(_list, context.data)})

    @app.get("/api/v1/files/<folder>/<name>")
    @needs("admin")
    async def get_file(folder: str, name: str) -> Response:
        return await streams.send_file(existing(folder, name))

    @app.put("/api/v1/files/<folder>/<name>")
    @needs("admin")
    async def put_file(folder: str, name: str) -> Response:
        path = find(folder, name)
        _, max_bytes, check = FOLDERS[folder]
        size = await streams.receive_file(path, max_bytes, lambda temporary: check(temporary, name))
        log.info("%s put %s into %s: %d bytes", current().author, name, folder, size)
        return json_answer({"name": name, "size_bytes": size, "note": NEXT_START}, 201)

    @app.delete("/api/v1/files/<folder>/<name>")
    @needs("admin")
    async def remove_file(folder: str, name: str) -> Response:
        try:
            await trio.to_thread.run_sync(existing(folder, name).unlink)
        except OSError as error:
            raise BadRequest(f"{name}: cannot be removed: {error.strerror}") from None
        log.info("%s removed %s from %s", current().author, name, folder)
        return json_answer({"ok": True, "note": NEXT_START})


def _list(data: Path) -> list[dict[str, Any]]:
    found = []
    for folder, (suffixes, _, _) in FOLDERS.items():
        for path in sorted((data / folder).glob("*")):
            if path.is_file() and NAME.fullmatch(path.name) and path.name.endswith(suffixes):
                status = path.stat()
                found.append(
                    {"folder": folder, "name": path.name, "size_bytes": status.st_size, "changed_s": status.st_mtime}
                )
    return found
