"""What plugins offer, each offer checked at the door: right type, usable, and nobody has offered the same before."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import PluginError
from ..output import Output

if TYPE_CHECKING:
    import click

    from ..decoder import Driver, Simulator
    from ..pipeline.classify import Classifier


OWN_COMMANDS = (
    "run",
    "process",
    "simulate",
    "plugins",
    "profiles",
    "config",
    "users",
    "export",
    "backup",
    "restore",
    "check",
    "doctor",
)


@dataclass(slots=True)
class PluginRecord:
    """One plugin as people see it."""

    name: str
    origin: str
    """"built-in", "installed <distribution>", or the path below the data folder."""
    version: str = ""
    state: str = "loaded"
    """"loaded"; "library" for a wheel that others need; "failed" when nothing or not all of it could be used."""
    hooks: dict[str, list[str]] = field(default_factory=dict)
    """What each implemented hook offered, by name."""
    errors: list[str] = field(default_factory=list)

    def fail(self, error: str) -> None:
        self.state = "failed"
        self.errors.append(error)


class Offers:
    """What plugins have offered so far, by kind and name."""

    def __init__(self) -> None:
        self.drivers: dict[str, Driver] = {}
        self.simulators: dict[str, Simulator] = {}
        self.classifiers: dict[str, Classifier] = {}
        self.outputs: dict[str, Callable | Output] = {}
        self.commands: dict[str, click.Command] = {}
        self._owners: dict[tuple[str, str], str] = {}
        self._add: dict[str, Callable[[Any, str], str]] = {
            "nims_drivers": self._add_driver,
            "nims_simulators": self._add_simulator,
            "nims_track_classifiers": self._add_classifier,
            "nims_outputs": self._add_output,
            "nims_commands": self._add_command,
        }

    def add(self, hook: str, offer: Any, plugin: str) -> str:
        """Take one offer of a hook and return its name.

        Raises:
          PluginError: it is not what the hook returns, or another plugin has offered the same.
        """
        return self._add[hook](offer, plugin)

    def owner(self, kind: str, name: str) -> str:
        """Return the plugin that offered the "driver", "simulator", ... of that name."""
        return self._owners[kind, name]

    def _claim(self, kind: str, name: Any, plugin: str) -> str:
        if not isinstance(name, str) or not name:
            raise PluginError(f"{kind}: expected a name, got {name!r}")
        first = self._owners.get((kind, name))
        if first is not None:
            raise PluginError(f"{kind} {name!r}: plugin {first} has offered one already; this one is left out")
        self._owners[kind, name] = plugin
        return name

    def _add_driver(self, driver: Any, plugin: str) -> str:
        from ..decoder import Driver

        _check_type(driver, Driver)
        if not (isinstance(driver.settings_type, type) and issubclass(driver.settings_type, msgspec.Struct)):
            raise PluginError(
                f"driver {driver.name!r}: settings_type: expected a msgspec.Struct, got {driver.settings_type!r}"
            )
        for kind in ("stream", "datagram"):
            if getattr(driver, kind) is not None and not callable(getattr(driver, kind)):
                raise PluginError(f"driver {driver.name!r}: {kind}: expected a function, got {getattr(driver, kind)!r}")
        if driver.stream is None and driver.datagram is None:
            raise PluginError(f"driver {driver.name!r}: expected a stream or a datagram decoder, got neither")
        name = self._claim("driver", driver.name, plugin)
        self.drivers[name] = driver
        return name

    def _add_simulator(self, simulator: Any, plugin: str) -> str:
        from ..decoder import Simulator

        _check_type(simulator, Simulator)
        if simulator.transport not in ("tcp", "udp"):
            raise PluginError(
                f"simulator {simulator.profile!r}: transport: expected tcp or udp, got {simulator.transport!r}"
            )
        if not callable(simulator.make):
            raise PluginError(f"simulator {simulator.profile!r}: make: expected a function, got {simulator.make!r}")
        name = self._claim("simulator", simulator.profile, plugin)
        self.simulators[name] = simulator
        return name

    def _add_classifier(self, classifier: Any, plugin: str) -> str:
        from ..pipeline.classify import Classifier

        _check_type(classifier, Classifier)
        if not callable(classifier.classify):
            raise PluginError(
                f"classifier {classifier.name!r}: classify: expected a function, got {classifier.classify!r}"
            )
        name = self._claim("classifier", classifier.name, plugin)
        self.classifiers[name] = classifier
        return name

    def _add_output(self, output: Any, plugin: str) -> str:
        if isinstance(output, Output):
            return self._add_output_with_settings(output, plugin)
        function = output.func if isinstance(output, partial) else output
        if not inspect.iscoroutinefunction(function):
            raise PluginError(f"expected an async function, got {output!r}")
        name = self._claim("output", f"{plugin}.{function.__name__}", plugin)
        self.outputs[name] = output
        return name

    def _add_output_with_settings(self, output: Output, plugin: str) -> str:
        if not inspect.iscoroutinefunction(output.run):
            raise PluginError(f"output {output.name!r}: run: expected an async function, got {output.run!r}")
        try:
            enabled: Any = msgspec.convert({}, output.settings_type).enabled
        except (TypeError, AttributeError, msgspec.ValidationError) as error:
            raise PluginError(
                f"output {output.name!r}: settings_type: expected a msgspec.Struct with defaults and `enabled`: {error}"
            ) from None
        if enabled is not False:
            raise PluginError(f"output {output.name!r}: enabled: expected False as default: nothing is sent unasked")
        name = self._claim("output", output.name, plugin)
        self.outputs[name] = output
        return name

    def _add_command(self, command: Any, plugin: str) -> str:
        import click

        _check_type(command, click.Command)
        if command.name in OWN_COMMANDS:
            raise PluginError(f"command {command.name!r}: the appliance has one of that name; choose another")
        name = self._claim("command", command.name, plugin)
        self.commands[name] = command
        return name


def _check_type(offer: Any, kind: type) -> None:
    if not isinstance(offer, kind):
        raise PluginError(f"expected {kind.__name__}, got {type(offer).__name__}")
