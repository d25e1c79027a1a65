"""Builds the settings from their layers, and knows for every value which layer it came from."""

from __future__ import annotations

import copy
import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import LinkError, ProfileError
from ..links.address import LinkSettings, SimulatorLink, UdpLink, parse_link
from ..output import Output
from ..settings import ApplianceSettings
from .check import bare, check_struct, fields_of, suggest
from .yaml import Document, Path, leaves, merge

if TYPE_CHECKING:
    from ..decoder import Driver
    from ..plugin_host.host import PluginHost
    from ..profile import Profile

REMOVED = "removed"
"""In the place of a named thing (a sonar, zone, alarm or trigger): what the layers below say of it does not count."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


@dataclass(slots=True, eq=False)
class Layer:
    """Values that one place gives, and where exactly in it each key is."""

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[Path, str] = field(default_factory=dict)
    """"config.yaml:12", "environment NIMS_WEB__PORT", ...; keys of mappings have one too."""

    @classmethod
    def of_document(cls, document: Document) -> Layer:
        """Return the layer of a file."""
        return cls(document.values, {path: f"{document.origin}:{line}" for path, line in document.lines.items()})

    @classmethod
    def of_values(cls, values: Mapping[Path, tuple[Any, str]]) -> Layer:
        """Return a layer of single values by path, each with its place."""
        layer = cls()
        for path, (value, place) in values.items():
            layer.set(path, value)
            for length in range(1, len(path) + 1):
                layer.places.setdefault(path[:length], place)
        return layer

    def get(self, path: Path) -> Any:
        """Return the value of a path; None where there is none."""
        value: Any = self.values
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def set(self, path: Path, value: Any) -> None:
        """Put a value in; mappings above it are made as needed."""
        values = self.values
        for key in path[:-1]:
            if not isinstance(values.get(key), dict):
                values[key] = {}
            values = values[key]
        values[path[-1]] = value

    def remove(self, path: Path) -> None:
        """Take a value out, and the mappings above it that are empty then."""
        parent = self.get(path[:-1])
        if isinstance(parent, dict):
            parent.pop(path[-1], None)
            if not parent and len(path) > 1:
                self.remove(path[:-1])

    def without(self, paths: Iterable[Path]) -> Layer:
        """Return a copy without these values; for a path that is not there, the nearest key above it goes."""
        layer = Layer(copy.deepcopy(self.values), self.places)
        for path in paths:
            if self.nearest(path):
                layer.remove(self.nearest(path))
        return layer

    def nearest(self, path: Path) -> Path:
        """Return the path itself if the layer has it, else that of the nearest key above."""
        while path and path not in self.places:
            path = path[:-1]
        return path


@dataclass(frozen=True, slots=True)
class Problem:
    """One value that cannot be used."""

    path: Path
    text: str
    place: str
    layer: Layer | None
    """Whose value it is; None for a default of a profile."""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.place, ".".join(self.path), self.text) if part)


@dataclass(slots=True, eq=False)
class Built:
    """What came out of the layers."""

    settings: ApplianceSettings
    problems: list[Problem]
    layers: list[Layer]
    profile_places: dict[Path, str]
    removed: list[Path] = field(default_factory=list)
    """Named things that a layer takes away."""

    def place(self, path: Path) -> tuple[str, Layer | None]:
        """Return the place that gave a value, or the nearest key above it, and its layer."""
        for layer in reversed(self.layers):
            if path in layer.places:
                return layer.places[path], layer
        if path in self.profile_places:
            return self.profile_places[path], None
        for length in range(len(path) - 1, 0, -1):
            # The lowest layer is the one that introduced it.
            for layer in self.layers:
                if path[:length] in layer.places:
                    return layer.places[path[:length]], layer
        return "", None

    def origin(self, path: Path) -> str:
        """Return the place of a value, or "default"."""
        for layer in reversed(self.layers):
            if path in layer.places:
                return layer.places[path]
        return self.profile_places.get(path, "default")


def build(layers: list[Layer], plugins: PluginHost) -> Built:
    """Return the settings that layers make, lowest first; what cannot be used is a problem and has its default."""
    built = Built(ApplianceSettings(), [], layers, {})

    def report(path: Path, text: str) -> None:
        built.problems.append(Problem(path, text, *built.place(path)))

    values: dict[str, Any] = {}
    for layer in layers:
        values = merge(values, layer.values)
    values = {key: value for key, value in values.items() if value is not None}
    sonars = values.get("sonars", {})
    if isinstance(sonars, dict):
        values["sonars"] = {
            name: sonar if sonar == REMOVED else _lay_over_profile(name, sonar, plugins, built, report)
            for name, sonar in sonars.items()
        }
    values = _without_removed(values, ApplianceSettings, (), built.removed)
    _check_outputs(values, plugins, report)
    settings = check_struct(ApplianceSettings, values, (), report)
    if settings is not None:
        built.settings = settings
        if settings.web.port == settings.tracks.port != 0:
            report(("tracks", "port"), f"expected another than web.port, got {settings.tracks.port} for both")
        for source in settings.navigation.sources:
            try:
                parse_link(source)
            except LinkError as error:
                report(("navigation", "sources"), str(error))
        for name, sonar in settings.sonars.items():
            if sonar.profile in plugins.profiles:
                _check_link(("sonars", name, "link"), sonar.link, plugins.profiles[sonar.profile], plugins, report)
    return built


def item_type(kind: Any) -> type | None:
    """Return the struct that each value of a mapping of named things is; None for any other type."""
    kind = bare(kind)
    item = bare(typing.get_args(kind)[1]) if typing.get_origin(kind) is dict else None
    return item if isinstance(item, type) and issubclass(item, msgspec.Struct) else None


def type_of_thing(path: Path) -> type | None:
    """Return the struct of something with a name of its own, which can be removed: a sonar, a zone; else None."""
    kind: Any = ApplianceSettings
    thing: type | None = None
    for key in path:
        thing = item_type(kind)
        setting = fields_of(kind).get(key)
        kind = thing or (bare(setting.type) if setting else None)
    return thing


def blank(kind: Any, below: Any) -> dict[str, Any]:
    """Return what makes a thing as if it were new, laid over what a layer below says of it: defaults, removals."""
    over: dict[str, Any] = {}
    for key, setting in fields_of(kind).items():
        if not isinstance(below, dict) or key not in below:
            continue
        inner = bare(setting.type)
        if item_type(inner) is not None:
            over[key] = dict.fromkeys(below[key] or {}, REMOVED)
        elif isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            over[key] = blank(inner, below[key])
        elif not setting.required:
            over[key] = msgspec.to_builtins(
                setting.default if setting.default is not msgspec.NODEFAULT else setting.default_factory()
            )
    return over


def _without_removed(values: Any, kind: Any, path: Path, removed: list[Path]) -> Any:
    """Return the values without the named things that a layer removes; appends the paths of those."""
    kind = bare(kind)
    if not isinstance(values, dict):
        return values
    if (item := item_type(kind)) is not None:
        removed += [(*path, name) for name, value in values.items() if value == REMOVED]
        return {
            name: _without_removed(value, item, (*path, name), removed)
            for name, value in values.items()
            if value != REMOVED
        }
    fields = fields_of(kind)
    return {
        key: _without_removed(value, fields[key].type, (*path, key), removed) if key in fields else value
        for key, value in values.items()
    }


def _lay_over_profile(name: str, sonar: Any, plugins: PluginHost, built: Built, report: Any) -> Any:
    """Return the values of one sonar over the defaults of its profile; check what only the profile knows."""
    path = ("sonars", name)
    _check_name(path, report)
    if not isinstance(sonar, dict) or not isinstance(sonar.get("profile"), str):
        return sonar
    try:
        profile = plugins.profile(sonar["profile"])
        driver = plugins.driver(profile)
    except ProfileError as error:
        report((*path, "profile"), str(error))
        return sonar
    below = {**profile.sonar, "driver": profile.settings}
    if profile.default_link:
        below["link"] = profile.default_link
    for inner, _ in leaves(below):
        built.profile_places[(*path, *inner)] = f"profile {profile.name}"
    merged = merge(below, sonar)
    metrics = merged.get("metrics")
    for inner, named in (
        (("zones",), merged.get("zones")),
        (("metrics", "alarms"), metrics.get("alarms") if isinstance(metrics, dict) else None),
    ):
        for key in named if isinstance(named, dict) else ():
            _check_name((*path, *inner, key), report)
    if isinstance(merged.get("driver"), dict):
        check_struct(driver.settings_type, merged["driver"], (*path, "driver"), report)
    return merged


def _check_outputs(values: dict[str, Any], plugins: PluginHost, report: Any) -> None:
    """Lay the settings of outputs over their defaults, so that all of them are there to be seen; check them."""
    known = {name: output for name, output in plugins.outputs.items() if isinstance(output, Output)}
    given = values.get("outputs", {})
    if not isinstance(given, dict):
        return
    values["outputs"] = {name: msgspec.to_builtins(output.settings_type()) for name, output in known.items()}
    for name, own in given.items():
        if name not in known:
            report(("outputs", name), f"no plugin offers an output of that name{suggest(name, known)}")
        elif not isinstance(own, dict):
            values["outputs"][name] = own
        elif check_struct(known[name].settings_type, own, ("outputs", name), report) is not None:
            values["outputs"][name] |= own


def _check_name(path: Path, report: Any) -> None:
    if not _NAME.fullmatch(path[-1]):
        report(path, "expected a name of letters, digits, - and _, at most 32")


def _check_link(path: Path, text: str, profile: Profile, plugins: PluginHost, report: Any) -> None:
    try:
        link = parse_link(text)
    except LinkError as error:
        report(path, str(error))
        return
    problem = (
        _link_problem(link, profile, plugins.driver(profile), plugins) if profile.driver in plugins.drivers else ""
    )
    if problem:
        report(path, problem)


def _link_problem(link: LinkSettings, profile: Profile, driver: Driver, plugins: PluginHost) -> str:
    datagrams = isinstance(link, UdpLink)
    if isinstance(link, SimulatorLink):
        simulator = plugins.simulators.get(link.profile)
        if simulator is None:
            known = ", ".join(sorted(plugins.simulators)) or "none"
            return f"no plugin simulates {link.profile!r} (there is {known})"
        datagrams = simulator.transport == "udp"
    if datagrams and driver.datagram is None:
        return f"the {profile.driver} driver reads no datagrams: use tcp:// or file://, got {str(link)!r}"
    if not datagrams and driver.stream is None:
        return f"the {profile.driver} driver reads only datagrams: use udp://, got {str(link)!r}"
    return ""


def plain(settings: ApplianceSettings) -> dict[str, Any]:
    """Return settings as JSON-able values."""
    values: dict[str, Any] = msgspec.to_builtins(settings)
    return values
