"""`nims plugins` and `nims profiles`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..plugin_host.host import PluginHost
from .common import data_option


@click.command("plugins")
@data_option
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def plugins_command(data: Path, as_json: bool) -> None:
    """List plugins, what they offer, and what is wrong with them; exit code 1 if anything is."""
    host = PluginHost.load(data)
    records = host.describe()
    if as_json:
        click.echo(json.dumps(records, indent=2))
    else:
        for record in records:
            click.echo(f"{record['name']} {record['version']}  {record['state']}  ({record['origin']})")
            for hook, names in record["hooks"].items():
                click.echo(f"    {hook.removeprefix('nims_').replace('_', ' ')}: {', '.join(names) or 'nothing'}")
            for line in record["error"].splitlines():
                click.echo(f"    error: {line}")
    raise SystemExit(1 if any(record["error"] for record in records) else 0)


@click.command("profiles")
@data_option
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def profiles_command(data: Path, as_json: bool) -> None:
    """List firmware profiles and where they come from; exit code 1 if one cannot be used."""
    host = PluginHost.load(data)
    if as_json:
        rows = [
            {
                "name": profile.name,
                "title": profile.title,
                "driver": profile.driver,
                "default_link": profile.default_link,
                "notes": profile.notes,
                "origin": host.profile_origins[name],
            }
            for name, profile in sorted(host.profiles.items())
        ]
        click.echo(json.dumps({"profiles": rows, "errors": host.profile_errors, "notes": host.notes}, indent=2))
    else:
        width = max((len(name) for name in host.profiles), default=0)
        for name, profile in sorted(host.profiles.items()):
            click.echo(f"{name:{width}}  {profile.title}  (driver {profile.driver}, {host.profile_origins[name]})")
        for note in host.notes:
            click.echo(f"note: {note}")
        for error in host.profile_errors:
            click.echo(f"error: {error}")
    raise SystemExit(1 if host.profile_errors else 0)
