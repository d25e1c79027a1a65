"""PluginHost: finds plugins, loads each one guarded, and owns what they offer.

Three ways in, the same for built-in plugins and a vendor's: a package with an entry point in the group
``nims_appliance.plugins``, a wheel in the data folder, and a package folder or single file in the data folder. Whatever
a plugin does wrong is listed with its name; the others and the appliance go on.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from .. import hookspecs
from ..config.check import check_struct, suggest
from ..config.yaml import merge
from ..errors import ConfigError, PluginError, ProfileError
from ..profile import Profile, load_profile, read_profiles
from ..settings import SonarSettings
from .importing import explain, forget_module, import_file, is_from
from .offers import Offers, PluginRecord
from .wheels import forget_other_wheels, unpack_wheel

if TYPE_CHECKING:
    import click

    from ..decoder import DecoderContext, Driver, Simulator
    from ..output import Output
    from ..pipeline.classify import Classifier

GROUP = "nims_appliance.plugins"
TRACE_VARIABLE = "NIMS_TRACE_PLUGINS"
_FILE_PREFIX = "nims_dropin_"
"""Single files are modules under this prefix, so that a file ``serial.py`` does not become everybody's `serial`."""


class PluginHost:
    """All plugins and profiles of one run of the appliance. Made by `load`."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._records: dict[str, PluginRecord] = {}
        self._offers = Offers()
        self._cache: Path | None = None
        self._unpacked: dict[Path, Path] = {}
        """Wheel -> folder with its files."""
        self.profiles: dict[str, Profile] = {}
        self.profile_origins: dict[str, str] = {}
        self.notes: list[str] = []
        """What is worth knowing but no error: a profile of the data folder that replaces a built-in one."""
        self.profile_errors: list[str] = []
        """Profiles that could not be used, one text each."""

    @classmethod
    def load(cls, data: Path | None) -> PluginHost:
        """Return a host with every plugin and profile that can be used.

        Never raises for a plugin: see `describe` for what went wrong. `data` is the data folder, or None for the
        built-in and installed ones only.
        """
        host = cls()
        host._cache = data / "cache" / "plugins" if data else None
        for entry_point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
            location = Path(str(entry_point.dist.locate_file(""))) if entry_point.dist else None
            if host._cache and location and host._cache.resolve() in location.resolve().parents:
                continue  # a wheel of an earlier host in this process; found again below
            host._load_entry_point(entry_point, _origin(entry_point))
        if data:
            host._load_folder(data / "plugins")
        host._refuse_unknown_hooks()
        host._call_hooks()
        host._load_profiles(data)
        return host

    @property
    def drivers(self) -> dict[str, Driver]:
        """By the name that profiles use."""
        return self._offers.drivers

    @property
    def simulators(self) -> dict[str, Simulator]:
        """By the name of the profile whose device is simulated."""
        return self._offers.simulators

    @property
    def classifiers(self) -> dict[str, Classifier]:
        """By name."""
        return self._offers.classifiers

    @property
    def outputs(self) -> dict[str, Callable | Output]:
        """Outputs by name; those without settings by "plugin.function"."""
        return self._offers.outputs

    @property
    def commands(self) -> dict[str, click.Command]:
        """Subcommands by name."""
        return self._offers.commands

    @property
    def errors(self) -> list[str]:
        """Everything that went wrong with plugins and profiles, one text each."""
        return [error for record in self._records.values() for error in record.errors] + self.profile_errors

    def describe(self) -> list[dict[str, Any]]:
        """Return every plugin as JSON-able values, failed ones included; `error` is empty where all is well."""
        return [
            {
                "name": record.name,
                "version": record.version,
                "origin": record.origin,
                "hooks": {hook: list(names) for hook, names in record.hooks.items()},
                "state": record.state,
                "error": "\n".join(record.errors),
            }
            for record in self._records.values()
        ]

    def profile(self, name: str) -> Profile:
        """Return the profile of that name.

        Raises:
          ProfileError: there is none; names what comes close.
        """
        try:
            return self.profiles[name]
        except KeyError:
            raise ProfileError(f"no firmware profile {name!r}{suggest(name, self.profiles)}") from None

    def driver(self, profile: Profile) -> Driver:
        """Return the driver that a profile names.

        Raises:
          ProfileError: no plugin offers it.
        """
        try:
            return self.drivers[profile.driver]
        except KeyError:
            hint = suggest(profile.driver, self.drivers)
            raise ProfileError(
                f"profile {profile.name}: no plugin offers the driver {profile.driver!r}{hint}"
            ) from None

    def recognise(self, head: bytes) -> str:
        """Return the title of the driver whose data the bytes look like, or ""."""
        for driver in self.drivers.values():
            try:
                if driver.recognise(head):
                    return driver.title
            except Exception as error:  # noqa: BLE001 - a vendor's code; the others are still asked
                record = self._records[self._offers.owner("driver", driver.name)]
                text = f"{record.name}: recognise of driver {driver.name!r}: {type(error).__name__}: {error}"
                if text not in record.errors:
                    record.fail(text)
        return ""

    def _load_entry_point(self, entry_point: importlib.metadata.EntryPoint, origin: str) -> None:
        version = entry_point.dist.version if entry_point.dist else ""
        self._load(entry_point.name, origin, version, entry_point.value.partition(":")[0], entry_point.load)

    def forget_old_wheels(self) -> None:
        """Remove what is unpacked of wheels that are gone; only for who holds the data folder, lest another uses it."""
        if self._cache:
            forget_other_wheels(self._cache, set(self._unpacked.values()))

    def _load_folder(self, folder: Path) -> None:
        """Load the drop-ins. All wheels go on the path before any is imported: they may need each other."""
        try:
            entries = sorted(folder.iterdir()) if folder.is_dir() else []
        except OSError as error:
            self._record(folder.name, str(folder)).fail(f"{folder}: cannot be read: {error}")
            return
        entries = [entry for entry in entries if entry.name[0] not in "._"]
        for entry in entries:
            if entry.suffix == ".whl":
                self._unpack(entry)
        for wheel, unpacked in self._unpacked.items():
            self._load_wheel(wheel, unpacked)
        for entry in entries:
            origin = f"plugins/{entry.name}"
            if entry.is_dir():
                self._load_package(entry, origin)
            elif entry.suffix == ".py":
                module = _FILE_PREFIX + entry.stem.replace("-", "_")
                self._load(entry.stem, origin, "", module, partial(import_file, module, entry))

    def _unpack(self, wheel: Path) -> None:
        assert self._cache is not None
        try:
            unpacked = unpack_wheel(wheel, self._cache)
        except PluginError as error:
            self._record(wheel.name.split("-")[0], f"plugins/{wheel.name}").fail(str(error))
            return
        self._unpacked[wheel] = unpacked
        if str(unpacked) not in sys.path:
            # At the end: what the appliance brings itself wins over a vendor's copy of it.
            sys.path.append(str(unpacked))
            importlib.invalidate_caches()

    def _load_wheel(self, wheel: Path, unpacked: Path) -> None:
        origin = f"plugins/{wheel.name}"
        for distribution in importlib.metadata.distributions(path=[str(unpacked)]):
            entry_points = distribution.entry_points.select(group=GROUP)
            for entry_point in entry_points:
                self._load_entry_point(entry_point, origin)
            if not entry_points:
                record = self._record(distribution.name or wheel.name, origin)
                record.version, record.state = distribution.version, "library"

    def _load_package(self, folder: Path, origin: str) -> None:
        name = folder.name
        if not (folder / "__init__.py").is_file():
            self._record(name, origin).fail(f"{name}: expected a package, got a folder without __init__.py")
        elif not name.isidentifier():
            self._record(name, origin).fail(
                f"{name}: the folder's name cannot be imported; rename it with letters, digits and _"
            )
        elif name in sys.modules and not is_from(sys.modules[name], folder):
            self._record(name, origin).fail(f"{name}: a module of that name is there already; rename the folder")
        elif name not in sys.modules and importlib.util.find_spec(name) is not None:
            self._record(name, origin).fail(f"{name}: a module of that name is installed already; rename the folder")
        else:
            self._load(name, origin, "", name, lambda: import_file(name, folder / "__init__.py", folder))

    def _load(self, name: str, origin: str, version: str, module: str, load: Callable[[], Any]) -> None:
        """Import one plugin and register it; everything that goes wrong ends up in its record."""
        taken = name in self._records
        record = self._record(name, origin)
        record.version = version
        if taken:
            first = self._records[name]
            record.fail(f"{name}: a plugin of that name comes from {first.origin} already; this one is left out")
            return
        try:
            plugin = load()
            record.version = version or str(getattr(plugin, "__version__", ""))
            if self._manager.has_plugin(name):
                raise PluginError("registered already")
            self._manager.register(plugin, name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit, SyntaxError, anything: it is somebody else's code
            record.fail(f"{name}: cannot be loaded: {explain(error)}")
            forget_module(module)
            if self._manager.has_plugin(name):
                # pluggy registers before it checks the signatures of the hooks.
                self._manager.unregister(name=name)
            return
        for hook in _hook_names():
            function = getattr(plugin, hook, None)
            if callable(function) and not hasattr(function, f"{hookspecs.PROJECT}_impl"):
                record.fail(f"{name}: {hook} is not marked with @hookimpl and is never called")

    def _record(self, name: str, origin: str) -> PluginRecord:
        key = name if name not in self._records else f"{name} ({origin})"
        while key in self._records:
            key += "'"
        return self._records.setdefault(key, PluginRecord(name, origin))

    def _refuse_unknown_hooks(self) -> None:
        """List hooks that do not exist: a misspelt one would otherwise never be called, and nobody would know."""
        for name, caller in list(vars(self._manager.hook).items()):
            if isinstance(caller, pluggy.HookCaller) and not caller.has_spec():
                for implementation in caller.get_hookimpls():
                    if not implementation.optionalhook:
                        owner = implementation.plugin_name
                        self._records[owner].fail(f"{owner}: there is no hook {name}{suggest(name, _hook_names())}")

    def _call_hooks(self) -> None:
        for hook in _hook_names():
            # In the order of registration, so that a later plugin cannot displace an earlier one.
            for implementation in getattr(self._manager.hook, hook).get_hookimpls():
                self._call(hook, implementation)

    def _call(self, hook: str, implementation: pluggy.HookImpl) -> None:
        record = self._records[implementation.plugin_name]
        names = record.hooks.setdefault(hook, [])
        try:
            if implementation.hookwrapper or implementation.wrapper:
                raise PluginError("wrappers are not supported; return a list")
            offers = implementation.function()
            if os.environ.get(TRACE_VARIABLE) == "1":
                print(f"plugin {record.name}: {hook}() -> {offers!r}", file=sys.stderr)
            if not isinstance(offers, (list, tuple)):
                raise PluginError(f"expected a list, got {type(offers).__name__}")
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            record.fail(f"{record.name}: {hook}: {explain(error)}")
            return
        for offer in offers:
            try:
                if hook == "nims_profiles":
                    names.append(self._add_profile(offer, f"plugin {record.name}"))
                else:
                    names.append(self._offers.add(hook, offer, record.name))
            except (PluginError, ProfileError) as error:
                record.fail(f"{record.name}: {hook}: {error}")

    def _load_profiles(self, data: Path | None) -> None:
        """Read the profiles of files; those of plugins are there already. The data folder's replace others."""
        for origin, text in read_profiles(None):
            self._try_profile(text, origin, replace=False)
        for origin, text in read_profiles(data / "profiles") if data else []:
            self._try_profile(text, origin, replace=True)
        for name, profile in list(self.profiles.items()):
            problem = self._driver_problem(profile)
            if problem:
                self.profile_errors.append(f"{self.profile_origins[name]}: {problem}")

    def _driver_problem(self, profile: Profile) -> str:
        """Return why the driver does not take the profile; "" if a decoder can be made of it."""
        try:
            driver = self.driver(profile)
            context = make_decoder_context(profile, SonarSettings(profile=profile.name, link=""), driver)
            for make in (driver.stream, driver.datagram):
                if make is not None:
                    make(context)
        except (ConfigError, ProfileError) as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - a vendor's code
            return f"driver {profile.driver}: {explain(error)}"
        return ""

    def _try_profile(self, text: bytes | OSError, origin: str, replace: bool) -> None:
        if isinstance(text, OSError):
            self.profile_errors.append(f"{origin}: cannot be read: {text.strerror}")
            return
        try:
            self._add_profile(text, origin, replace)
        except ProfileError as error:
            self.profile_errors.append(str(error))

    def _add_profile(self, text: Any, origin: str, replace: bool = False) -> str:
        if not isinstance(text, (str, bytes)):
            raise PluginError(f"expected the text of a profile, got {type(text).__name__}")
        profile = load_profile(text, origin)
        first = self.profile_origins.get(profile.name)
        if first and not (replace and not first.startswith("profiles/")):
            raise ProfileError(f"{origin}: profile {profile.name!r} comes from {first} already")
        if first:
            self.notes.append(f"{origin} replaces profile {profile.name!r} of {first}")
        self.profiles[profile.name] = profile
        self.profile_origins[profile.name] = origin
        return profile.name


def convert_driver_settings(driver: Driver, values: dict[str, Any]) -> Any:
    """Return an instance of the driver's settings type.

    Raises:
      ConfigError: a value does not fit; names every wrong key.
    """
    errors: list[str] = []
    settings = check_struct(
        driver.settings_type, values, (), lambda path, text: errors.append(f"driver.{'.'.join(path)}: {text}")
    )
    if errors:
        raise ConfigError("; ".join(errors))
    return settings


def make_decoder_context(
    profile: Profile,
    settings: SonarSettings,
    driver: Driver,
    *,
    live: bool = False,
    timed: bool = False,
    want_samples: bool = False,
) -> DecoderContext:
    """Return what a driver is told when it is asked for a decoder: the operator's settings over the profile's.

    Raises:
      ConfigError: a setting of the driver does not fit; names the key.
    """
    from ..decoder import DecoderContext

    merged = convert_driver_settings(driver, merge(profile.settings, settings.driver))
    return DecoderContext(
        profile=profile,
        settings=merged,
        live=live,
        timed=live or timed,
        want_samples=want_samples,
        mounting=settings.mounting,
    )


def _hook_names() -> list[str]:
    return [name for name in vars(hookspecs) if name.startswith("nims_")]


def _origin(entry_point: importlib.metadata.EntryPoint) -> str:
    name = (entry_point.dist.name if entry_point.dist else "") or "?"
    return "built-in" if name.replace("_", "-").lower() == "nims-appliance" else f"installed {name}"
