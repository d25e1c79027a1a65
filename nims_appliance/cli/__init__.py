"""The command line `nims`. Each command's module is imported when it is used, so that help comes at once."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from .. import __version__
from ..errors import NimsError

_COMMANDS = {
    "run": ("run", "Run the appliance: sonars, detection, tracks, pages."),
    "process": ("process", "Find tracks in recordings, as fast as this computer can."),
    "simulate": ("simulate", "Play a sonar: the device's side of the wire."),
    "plugins": ("show", "List plugins, and what is wrong with them."),
    "profiles": ("show", "List firmware profiles."),
    "config": ("config", "Check and show the settings."),
    "users": ("users", "Say who may log in; new passwords; tokens for programs."),
    "export": ("export", "Write tracks, metrics and recordings in the formats of others."),
    "backup": ("backup", "Write settings, users, profiles and the archive as one file."),
    "restore": ("backup", "Put a backup into a data folder."),
    "check": ("check", "Check archive and recordings after a crash or a power cut."),
    "doctor": ("doctor", "Check this computer, and say what to do."),
}
"""Name -> (module, one line of help)."""


class _Commands(click.Group):
    """The built-in commands, then those of plugins, which are loaded only for a name that is not built in."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _COMMANDS:
            module = importlib.import_module(f".{_COMMANDS[cmd_name][0]}", __name__)
            command: click.Command = getattr(module, f"{cmd_name}_command")
            return command
        from ..data_folder import default_data
        from ..plugin_host.host import PluginHost

        return PluginHost.load(default_data()).commands.get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])
        formatter.write_paragraph()
        formatter.write_text("Plugins may add commands; `nims plugins` lists them.")


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nims")
def nims() -> None:
    """NIMS: live detection and tracking of animals in sonar pings."""


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; ends the process. An operator's mistake is one sentence and exit code 2."""
    try:
        nims.main(arguments, prog_name="nims")
    except NimsError as error:
        click.echo(f"nims: {error}", err=True)
        sys.exit(2)
    except BaseExceptionGroup as group:
        mistakes, defects = group.split(NimsError)
        if defects or not mistakes:
            raise
        mistake: BaseException = mistakes
        while isinstance(mistake, BaseExceptionGroup):
            mistake = mistake.exceptions[0]
        click.echo(f"nims: {mistake}", err=True)
        sys.exit(2)
    except BrokenPipeError:
        # `nims config schema | head`: the reader has seen enough.
        sys.stderr.close()
        sys.exit(0)
