"""`nims backup` and `nims restore`."""

from __future__ import annotations

from pathlib import Path

import click

from .common import data_option


@click.command("backup")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@data_option
def backup_command(file: Path, data: Path) -> None:
    """Write settings, users, profiles and the archive as one FILE; the appliance may run meanwhile.

    Recordings, clips and plugins are not in it. Keep FILE as you keep a password: it lets its reader log in.
    """
    from ..backup import make_backup

    manifest = make_backup(data, file.absolute())
    click.echo(f"{file}: {len(manifest.files)} files, {file.stat().st_size / 1e6:.1f} MB")
    if manifest.plugins:
        click.echo(f"not in it: the plugins {', '.join(manifest.plugins)}")


@click.command("restore")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@data_option
@click.option("--force", is_flag=True, help="Move what is in the data folder aside.")
def restore_command(file: Path, data: Path, force: bool) -> None:
    """Put a backup into a data folder that no appliance uses."""
    from ..backup import restore_backup

    manifest, aside = restore_backup(file, data, force=force)
    click.echo(f"{data}: {len(manifest.files)} files of {manifest.made}, version {manifest.version}")
    if aside is not None:
        click.echo(f"what was there is in {aside}")
    missing = [name for name in manifest.plugins if not (data / "plugins" / name).exists()]
    if missing:
        click.echo(f"plugins that were there and are not in the backup: {', '.join(missing)}")
