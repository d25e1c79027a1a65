"""What the pages are made of: templates and static files, read once at the start.

A name that is not in these tables does not exist, so no path from outside ever reaches the disk. Static files are
served below a folder named by what all of them contain, so that a browser may keep them for ever: another version of
the appliance has another folder, and modules that import each other by relative paths come from one version.
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

import jinja2

from .auth import Needed
from .compression import MIN_BYTES, compress, is_text


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the interface; `title` is its name in the bar, empty: it is not shown there."""

    name: str
    path: str
    title: str
    role: Needed = "viewer"
    """Who may open it; the bar shows it to nobody else."""


PAGES = (
    Page("live", "/", "Live"),
    Page("charts", "/charts", "Charts"),
    Page("history", "/history", "History"),
    Page("tracks", "/tracks", "Tracks"),
    Page("health", "/health", "Health"),
    Page("settings", "/settings", "Settings"),
    Page("users", "/users", "Users", role="admin"),
    Page("login", "/login", "", role="anybody"),
)
"""In the order of the bar. A page's template, module and style sheet bear its name."""
MOVED = {"/index.html": "live", "/config": "settings", "/config.html": "settings"}
"""Paths of earlier versions, and the pages that they lead to now."""


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file as it is sent; `etag` says what it contains."""

    data: bytes
    content_type: str
    etag: str
    gzipped: bytes | None = None
    """Its compressed form, where that is smaller."""


def _walk(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif not entry.name.startswith("."):
            yield prefix + entry.name, entry


class Assets:
    """Static files by name, and pages as they are sent."""

    def __init__(self) -> None:
        folder = resources.files(__package__)
        self.files = {name: _static_file(name, entry.read_bytes()) for name, entry in _walk(folder / "static")}
        everything = hashlib.sha256("".join(f"{name}{file.etag}" for name, file in self.files.items()).encode())
        self.version = everything.hexdigest()[:12]
        """The folder below which static files may be kept for ever."""
        sources = {name: entry.read_text("utf-8") for name, entry in _walk(folder / "templates")}
        self._templates = jinja2.Environment(
            loader=jinja2.DictLoader(sources),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        paths = {page.name: page.path for page in PAGES}
        self._templates.globals.update(static=self.url, page=paths.__getitem__, pages=PAGES)
        self.pages = {page.name: self.make_page(page.name, title=page.title) for page in PAGES}

    def url(self, name: str) -> str:
        """Return the path of a static file.

        Raises:
          KeyError: there is no such file.
        """
        self.files[name]
        return f"/static/{self.version}/{name}"

    def make_page(self, name: str, **values: object) -> StaticFile:
        """Return the page of template `name`, filled with `values`, which are escaped."""
        text = self._templates.get_template(f"{name}.html").render(name=name, **values)
        return _static_file(f"{name}.html", text.encode())


def _static_file(name: str, data: bytes) -> StaticFile:
    content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    if content_type.startswith("text/") or content_type.endswith(("javascript", "json")):
        content_type += "; charset=utf-8"
    gzipped = compress(data, 9) if is_text(content_type) and len(data) >= MIN_BYTES else None
    return StaticFile(data, content_type, hashlib.sha256(data).hexdigest()[:16], gzipped)
