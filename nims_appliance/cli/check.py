"""`nims check`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import ConfigError
from .common import data_option, load

if TYPE_CHECKING:
    from ..plugin_host.host import PluginHost
    from ..profile import Profile


@click.command("check")
@click.argument("folder", required=False, metavar="[DATA]")
@data_option
@click.option("--json", "as_json", is_flag=True, help="Write JSON, one object a line.")
def check_command(folder: str | None, data: Path, as_json: bool) -> None:
    """Check the archive and the recordings of a data folder, while no appliance uses it.

    Exit code 0: nothing is missing but, after a crash, the last record that was being written. 1: more is.
    """
    from ..archive import FILE_NAME
    from ..file_decoder import FileDecoder
    from ..integrity import check_archive, check_recording
    from ..plugin_host.host import make_decoder_context
    from ..recording.files import Recording, list_recordings
    from ..settings import SonarSettings

    data = Path(folder).expanduser().absolute() if folder else data
    if not data.is_dir():
        raise ConfigError(f"{data}: expected the data folder of an appliance")
    plugins, config = load(data)

    def decoder(recording: Recording) -> FileDecoder:
        configured = config.current.sonars.get(recording.sonar)
        profile = plugins.profiles.get(configured.profile) if configured else None
        driver = plugins.drivers.get(profile.driver) if profile else None
        if profile is None or driver is None or driver.plain_suffix != recording.path.suffix:
            profile = _profile_of(plugins, recording.path.suffix)
            driver = plugins.drivers[profile.driver]
        settings = SonarSettings(profile=profile.name, link="")
        return FileDecoder(driver, make_decoder_context(profile, settings, driver), profile.limits.packet_bytes)

    ok = True
    recordings = list_recordings(data)
    findings = list(check_archive(data / FILE_NAME))
    for finding in [*findings, *(check_recording(recording, decoder) for recording in recordings)]:
        ok = ok and finding.ok
        if as_json:
            click.echo(json.dumps(dataclasses.asdict(finding)))
        else:
            click.echo(f"{'ok  ' if finding.ok else 'BAD '}  {finding.name}: {finding.text}")
    if not as_json:
        click.echo(f"{len(recordings)} recordings: {'nothing is missing' if ok else 'something is missing, see above'}")
    raise SystemExit(0 if ok else 1)


def _profile_of(plugins: PluginHost, suffix: str) -> Profile:
    for profile in plugins.profiles.values():
        driver = plugins.drivers.get(profile.driver)
        if driver is not None and driver.plain_suffix == suffix:
            return profile
    raise ConfigError(f"no driver reads files that end in {suffix}")
