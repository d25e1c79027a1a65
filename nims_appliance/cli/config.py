"""`nims config check|show|schema`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..config.yaml import leaves
from .common import data_option, load


@click.group("config")
def config_command() -> None:
    """Check and show the settings."""


@config_command.command("check")
@data_option
def check(data: Path) -> None:
    """Say all that is wrong in config.yaml and elsewhere; exit code 1 if anything is."""
    _, config = load(data)
    for error in config.errors:
        click.echo(f"error: {error}")
    for warning in config.warnings:
        click.echo(f"warning: {warning}")
    if config.errors:
        raise SystemExit(1)
    count = len(config.current.sonars)
    click.echo(f"{data / 'config.yaml'}: no errors, {count} sonar{'' if count == 1 else 's'}")


@config_command.command("show")
@data_option
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def show(data: Path, as_json: bool) -> None:
    """Show every setting, its value and where that comes from; exit code 1 if the settings have errors."""
    _, config = load(data)
    rows = [(".".join(path), value, config.origin(".".join(path))) for path, value in leaves(config.values())]
    if as_json:
        click.echo(json.dumps({key: {"value": value, "origin": origin} for key, value, origin in rows}, indent=2))
    else:
        width = max(len(key) for key, _, _ in rows)
        for key, value, origin in rows:
            click.echo(f"{key:{width}}  {json.dumps(value, ensure_ascii=False):24}  {origin}")
        for key, place in config.removed().items():
            click.echo(f"{key:{width}}  {'removed':24}  {config.origin(key)}; it stands in {place}")
    for error in config.errors:
        click.echo(f"error: {error}", err=True)
    raise SystemExit(1 if config.errors else 0)


@config_command.command("schema")
@data_option
def schema(data: Path) -> None:
    """Write the JSON Schema of config.yaml, the settings of all drivers included."""
    _, config = load(data)
    click.echo(json.dumps(config.schema(), indent=2, ensure_ascii=False))
