"""`nims doctor`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from ..doctor import examine
from .common import data_option, load


@click.command("doctor")
@data_option
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def doctor_command(data: Path, as_json: bool) -> None:
    """Check Python, disk, clock, network, plugins and settings; exit code 1 if something must be done."""
    findings = examine(data, *load(data))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            click.echo(f"{finding.level:4}  {finding.name}: {finding.text}")
            if finding.remedy:
                click.echo(f"      -> {finding.remedy}")
    raise SystemExit(1 if any(finding.level == "fail" for finding in findings) else 0)
