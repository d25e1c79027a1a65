"""ConfigStore: every setting, typed, with the place that it came from; changed while the appliance runs.

Layers, each over the one before: defaults, firmware profile, config.yaml (the operator's, never written here),
overrides.yaml (what was changed in the browser), environment, command line. A file that cannot be used never raises:
`errors` says why, line by line, and the appliance runs in safe mode, without sonars.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from ..bus import Bus
from ..errors import ConfigError
from ..output import Output
from ..settings import ApplianceSettings, SonarSettings
from .build import REMOVED, Built, Layer, blank, build, plain, type_of_thing
from .environment import environment_layer
from .file import HEADER, read_config_file, set_aside, write_overrides
from .history import Entry, History, Row
from .schema import make_schema, restart_of
from .yaml import MAX_DEPTH, dump_document, leaves, merge, read_document

if TYPE_CHECKING:
    from ..plugin_host.host import PluginHost
    from ..profile import Profile

CONFIG_FILE = "config.yaml"
OVERRIDES_FILE = "overrides.yaml"
MOST_CHANGES = 1000
"""Settings in one change; a page that sends all of its settings back has fewer."""


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """Settings that have just taken effect."""

    changes: dict[str, Any]
    """By dotted key; None for one that went back to what lies below."""
    author: str
    """Who changed them, as given to `ConfigStore.change`; a page does not need its own change back."""
    before: ApplianceSettings
    after: ApplianceSettings


class ChangeError(ConfigError):
    """A change that is refused."""

    def __init__(self, text: str, problems: Mapping[str, str]) -> None:
        super().__init__(text)
        self.problems = dict(problems)
        """What is wrong, by dotted key: that of a setting, or of the section whose settings do not go together."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a change would do."""

    rows: list[dict[str, Any]]
    """`key`, `old`, `new` (None: there is none), `origin` of the new value, `restart` ("", "sonar")."""
    problems: dict[str, str]
    """Why it is refused, by dotted key; empty: it can be saved."""


class ConfigStore:
    """The settings of one appliance. Made by `load`; `change` is for the trio thread only."""

    def __init__(
        self, data: Path, plugins: PluginHost, layers: list[Layer], errors: list[str], warnings: list[str]
    ) -> None:
        self.data = data
        self.plugins = plugins
        self.changes: Bus[ConfigChange] = Bus("config changes")
        self.warnings = warnings
        """What was ignored in overrides.yaml and the environment, and why."""
        self._layers = layers
        self._file_errors = errors
        self._overrides_broken = False
        self._schema: dict[str, Any] | None = None
        self._lock = trio.Lock()
        self.history = History(data)
        """Who changed what; complete from the first start of the appliance on."""
        self._config_file_seen = _stamp(data / CONFIG_FILE)
        self._use(build(layers, plugins))

    def _use(self, built: Built) -> None:
        self._built = built
        self.errors = list(dict.fromkeys(self._file_errors + [str(problem) for problem in built.problems]))
        """All that is wrong in config.yaml, the environment and the command line; not empty: safe mode."""
        self.current = msgspec.structs.replace(built.settings, sonars={}) if self.errors else built.settings
        """Effective settings: profiles' defaults under the operator's. In safe mode without sonars."""

    @classmethod
    def load(
        cls,
        data: Path,
        *,
        plugins: PluginHost,
        environ: Mapping[str, str] | None = None,
        command_line: Mapping[str, Any] | None = None,
    ) -> ConfigStore:
        """Return the settings of a data folder, which need not exist; never raises for what is in its files.

        `environ` is usually ``os.environ`` (None: no variables count); `command_line` has dotted keys.
        """
        config = read_config_file(data / CONFIG_FILE)
        overrides = read_config_file(data / OVERRIDES_FILE)
        warnings: list[str] = []
        if overrides.errors:
            ignored = "no change made in the browser counts; the next one sets the file aside"
            warnings += [f"{text}; {ignored}" for text in overrides.errors]
        base = [Layer.of_document(config), Layer() if overrides.errors else Layer.of_document(overrides)]
        environment = environment_layer(environ or {}, merge(config.values, overrides.values), warnings)
        line = Layer.of_values({_split(key): (value, "command line") for key, value in (command_line or {}).items()})
        layers = [*base, environment, line]
        stale = [problem for problem in build(layers, plugins).problems if problem.layer is layers[1]]
        if stale:
            # What was valid when it was saved need not be any more: a sonar was renamed, a plugin is gone.
            first = {layers[1].nearest(problem.path): problem for problem in reversed(stale)}
            warnings += [f"{problem}; ignored, though it was saved in the browser" for problem in first.values()]
            layers[1] = layers[1].without(first)
        store = cls(data, plugins, layers, list(config.errors), warnings)
        store._overrides_broken = bool(overrides.errors)
        return store

    def sonar(self, name: str) -> SonarSettings:
        """Return the effective settings of a sonar: the operator's over its profile's.

        Raises:
          ConfigError: there is no sonar of that name.
        """
        try:
            return self.current.sonars[name]
        except KeyError:
            raise ConfigError(f"no sonar {name!r} is configured") from None

    def output(self, name: str) -> Any:
        """Return the effective settings of an output that has some: an instance of its settings type."""
        output = self.plugins.outputs[name]
        assert isinstance(output, Output)
        return msgspec.convert(self.current.outputs.get(name, {}), output.settings_type)

    def profile(self, name: str) -> Profile:
        """Return a firmware profile by its name.

        Raises:
          ProfileError: there is none; names what comes close.
        """
        return self.plugins.profile(name)

    def origin(self, key: str) -> str:
        """Return where the value of a dotted key comes from: "default", "config.yaml:12", "command line", ..."""
        return self._built.origin(_split(key))

    def removed(self) -> dict[str, str]:
        """Return the named things that are removed though the file or a profile has them, each with its place there."""
        found = {}
        for path in self._built.removed:
            places = [layer.places[path] for layer in self._layers if _is_given(layer.get(path))]
            places += [place for inner, place in self._built.profile_places.items() if inner[: len(path)] == path]
            if places:
                found[".".join(path)] = places[0]
        return found

    def values(self) -> dict[str, Any]:
        """Return the effective settings as JSON-able values."""
        return plain(self.current)

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of all settings; see `schema.make_schema`."""
        if self._schema is None:
            outputs = [output for output in self.plugins.outputs.values() if isinstance(output, Output)]
            self._schema = make_schema(self.plugins.drivers.values(), outputs)
        return self._schema

    @property
    def config_file_edited(self) -> bool:
        """Whether config.yaml is another than the one that was read at the start; it counts after a restart."""
        return _stamp(self.data / CONFIG_FILE) != self._config_file_seen

    async def change(
        self,
        changes: Mapping[str, Any],
        author: str,
        *,
        source: str = "API",
        expected: Mapping[str, Any] | None = None,
    ) -> ConfigChange:
        """Check settings as a whole, save them and put them into effect; all of them or none.

        `changes` has dotted keys ("sonars.pen.detector.min_range_m"). None takes a change back: what config.yaml, the
        profile or the default says counts again. `build.REMOVED` takes a named thing away, a sonar or a zone, also one
        of config.yaml: the file stays as it is, and None brings it back.

        Several at once wait for each other. `expected` has the values that the author saw: where another one counts by
        now, somebody else was faster.

        Raises:
          ConfigError: a key or value is wrong, the setting needs a restart of the appliance or is held by the
            environment or the command line, somebody else was faster, or overrides.yaml cannot be written. Nothing
            has changed then. A `ChangeError` tells which keys are wrong.
        """
        async with self._lock:
            return await self._change(changes, author, source, expected or {}, None)

    async def undo(self, number: int, author: str, *, source: str = "API") -> ConfigChange:
        """Take a change of the history back: checked, saved and noted like any other.

        Raises:
          ConfigError: as `change`; or there is no such change, or what it changed was changed again since.
        """
        async with self._lock:
            entry = self.history.entry(number)
            if problem := self.undo_problem(entry):
                raise ConfigError(f"change {number}: {problem}")
            back = {row.key: row.override_before for row in entry.rows}
            return await self._change(back, author, source, {}, number)

    def undo_problem(self, entry: Entry) -> str:
        """Return why a change cannot be taken back, or ""."""
        if entry.source not in ("browser", "API"):
            return f"made in the {entry.source}: change it there"
        for row in entry.rows:
            if not _same(self._layers[1].get(_split(row.key)), row.override_after):
                return f"{row.key} was changed again since"
        return ""

    def check(self, changes: Mapping[str, Any]) -> Preview:
        """Return what `change` would do, without doing it."""
        problems: dict[str, str] = {}
        built = self._built
        try:
            _, built, _ = self._prepare(changes)
        except ConfigError as error:
            problems = getattr(error, "problems", {}) or {"": str(error)}
        before, after = self.values(), plain(built.settings)
        rows = [
            {
                "key": key,
                "old": _get(before, _split(key)),
                "new": changes[key] if problems else _get(after, _split(key)),
                "origin": built.origin(_split(key)),
                "restart": restart_of(_split(key)),
            }
            for key in changes
        ]
        return Preview(rows, problems)

    def notice_files(self) -> list[Entry]:
        """Note in the history what was edited in the files and on the command line since the last start."""
        return self.history.notice(_places(self._layers))

    async def _change(
        self, changes: Mapping[str, Any], author: str, source: str, expected: Mapping[str, Any], undoes: int | None
    ) -> ConfigChange:
        before_values = self.values()
        late = {
            key: "somebody else has changed it meanwhile"  # without its value, which may be secret
            for key, value in expected.items()
            if key in changes and not _same(_get(before_values, _split(key)), value)
        }
        if late:
            raise ChangeError("; ".join(f"{key}: {text}" for key, text in late.items()), late)
        layers, built, changed = self._prepare(changes)
        after_values = plain(built.settings)
        rows = [
            Row(
                key,
                _get(before_values, path),
                _get(after_values, path),
                copy.deepcopy(self._layers[1].get(path)),
                copy.deepcopy(layers[1].get(path)),
            )
            for key, path in ((key, _split(key)) for key in changes)
        ]

        def save() -> None:
            self._write(dump_document(changed.values))
            self.history.add(author, source, rows, undoes)
            self.history.remember(_places(layers))

        await trio.to_thread.run_sync(save)
        before = self.current
        self._layers = layers
        self._use(built)
        change = ConfigChange(dict(changes), author, before, self.current)
        self.changes.publish(change)
        return change

    def _prepare(self, changes: Mapping[str, Any]) -> tuple[list[Layer], Built, Layer]:
        """Return the layers that a change leads to, what they make, and the new content of overrides.yaml.

        Raises:
          ConfigError: the change is refused.
        """
        if len(changes) > MOST_CHANGES:
            raise ConfigError(f"expected at most {MOST_CHANGES} settings in one change, got {len(changes)}")
        config, overrides, *fixed = self._layers
        changed = Layer(copy.deepcopy(overrides.values), {})
        for key, value in changes.items():
            path = _checked_key(key)
            _check_plain(key, value)
            for layer in fixed:
                if path in layer.places:
                    text = f"held by the {layer.places[path]}: change it there"
                    raise ChangeError(f"{key}: {text}", {key: text})
            if value is None:
                changed.remove(path)
            else:
                for length in range(1, len(path)):
                    thing = path[:length]
                    if changed.get(thing) == REMOVED and (kind := type_of_thing(thing)):
                        # It is added anew: what the file says of the old one must not come back with it.
                        changed.set(thing, blank(kind, config.get(thing)))
                changed.set(path, copy.deepcopy(value))
        self._check_buildable([config, _reread(changed), *fixed])
        below = plain(build([config], self.plugins).settings)
        for path, value in list(leaves(changed.values)):
            # Only differences are kept, so that a later edit of config.yaml is not masked by what never changed.
            given = _get(below, path)
            if _same(given, value) or (value == REMOVED and given is None and type_of_thing(path)):
                changed.remove(path)
        layers = [config, _reread(changed), *fixed]
        built = self._check_buildable(layers)
        self._check_restart(built)
        return layers, built, changed

    def _write(self, text: str) -> None:
        if self._overrides_broken:
            set_aside(self.data / OVERRIDES_FILE)
            self._overrides_broken = False
        write_overrides(self.data / OVERRIDES_FILE, text)

    def _check_buildable(self, layers: list[Layer]) -> Built:
        built = build(layers, self.plugins)
        errors = self._file_errors + [str(problem) for problem in built.problems]
        if errors:
            raise ChangeError("; ".join(errors), {".".join(problem.path): problem.text for problem in built.problems})
        return built

    def _check_restart(self, built: Built) -> None:
        before = self.values()
        for path, value in leaves(plain(built.settings)):
            if path[0] != "sonars" and restart_of(path) == "appliance" and not _same(_get(before, path), value):
                key = ".".join(path)
                text = f"takes effect at the start only: set it in {CONFIG_FILE} and restart"
                raise ChangeError(f"{key}: {text}", {key: text})


def _is_given(value: Any) -> bool:
    return value is not None and value != REMOVED


def _places(layers: list[Layer]) -> dict[str, dict[str, Any]]:
    names = (CONFIG_FILE, OVERRIDES_FILE, "environment", "command line")
    return {
        name: {".".join(path): value for path, value in leaves(layer.values)}
        for name, layer in zip(names, layers, strict=True)
    }


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _reread(layer: Layer) -> Layer:
    """Return the layer as it will be read from the file, with the lines of its keys."""
    document = read_document(HEADER + dump_document(layer.values), OVERRIDES_FILE)
    if document.errors:
        raise ConfigError("; ".join(document.errors))
    return Layer.of_document(document)


def _split(key: str) -> tuple[str, ...]:
    return tuple(key.split("."))


def _checked_key(key: str) -> tuple[str, ...]:
    if not all(key.split(".")):
        raise ConfigError(f"{key!r}: expected a key like web.picture_rate_hz")
    return _split(key)


def _check_plain(key: str, value: Any) -> None:
    """Refuse what YAML could not hold, before anything is written."""
    if key.count(".") > MAX_DEPTH:
        raise ConfigError(f"{key:.60}...: nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        for name, item in value.items():
            _check_plain(f"{key}.{name}", item)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _check_plain(f"{key}.{number}", item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{key}: expected a finite number, got {value}")
    elif value is not None and not isinstance(value, (str, int, float, bool)):
        raise ConfigError(f"{key}: expected text, a number, true or false, got {type(value).__name__}")


def _get(values: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        values = values.get(key) if isinstance(values, dict) else None
    return values


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def one_sonar(plugins: PluginHost, profile: str, settings: Mapping[str, Any]) -> SonarSettings:
    """Return the settings of a sonar that is in no file and has no link: its profile's, and over them dotted keys.

    A key is as below the name of a sonar: "detector.min_range_m".

    Raises:
      ConfigError: a key or value is wrong, or there is no such profile; names each.
    """
    base = ("sonars", "sonar")
    link = (*base, "link")
    values = {(*base, *_split(key)): (value, "") for key, value in settings.items()}
    # Required by the schema, and of no matter here, whatever the driver thinks of it.
    values = {(*base, "profile"): (profile, ""), **values, link: ("file:recording", "")}
    built = build([Layer.of_values(values)], plugins)
    problems = [problem for problem in built.problems if problem.path != link]
    if problems:
        raise ConfigError("; ".join(f"{'.'.join(problem.path[len(base) :])}: {problem.text}" for problem in problems))
    return built.settings.sonars["sonar"]
