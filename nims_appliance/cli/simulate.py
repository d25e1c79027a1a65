"""`nims simulate`: the device's side of the wire."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
import trio

from ..config.check import suggest
from ..errors import ConfigError
from ..plugin_host.host import PluginHost
from ..simulate import serve_simulator
from .common import WhenStarted, data_option


@click.command("simulate")
@click.argument("profile")
@data_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on (TCP) or to send to (UDP).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port. [default: the device's own]")
@click.option("--rate", type=click.FloatRange(0, 1000, min_open=True), metavar="HZ", help="Pings a second.")
@click.option("--beams", type=click.IntRange(min=1), help="Beams of a ping.")
@click.option("--samples", type=click.IntRange(min=1), help="Samples of a beam.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, another scene.")
def simulate_command(
    profile: str,
    data: Path,
    host: str,
    port: int | None,
    rate: float | None,
    beams: int | None,
    samples: int | None,
    seed: int,
) -> None:
    """Play the device of PROFILE, speaking its real protocol, until Ctrl-C."""
    plugins = PluginHost.load(data)
    simulators = plugins.simulators
    if profile not in simulators:
        raise ConfigError(f"no plugin simulates {profile!r}{suggest(profile, simulators)}")
    simulator, limits = simulators[profile], plugins.profile(profile).limits
    for name, wanted, limit in (("beams", beams, limits.beams), ("samples", samples, limits.samples)):
        if wanted is not None and wanted > limit:
            raise ConfigError(f"--{name}: expected at most {limit}, the limit of the profile, got {wanted}")
    verb = "listening on" if simulator.transport == "tcp" else "sending to"
    where = f"{simulator.title}: {verb} {simulator.transport}://{host}"
    announce = WhenStarted[int](lambda bound: click.echo(f"{where}:{bound}; Ctrl-C stops"))
    serve = partial(serve_simulator, simulator, host=host, port=port, rate_hz=rate, beams=beams, samples=samples)
    try:
        trio.run(partial(serve, seed=seed, task_status=announce))
    except* KeyboardInterrupt:
        click.echo("stopped")
    except* ValueError as errors:
        raise ConfigError("; ".join(map(str, errors.exceptions))) from None
