"""``python -m bench [--quick] [--only PART]``: measures, prints, keeps the figures as JSON.

Medians on a machine that does nothing else are what counts: the load average is written beside the figures.
"""

from __future__ import annotations

import argparse
import traceback
from pathlib import Path

from nims_appliance.plugin_host.host import PluginHost

from . import archive, camera, endtoend, kernels, live, startup
from .report import FOLDER, Report

PARTS = {
    "kernels": kernels.measure,
    "latency": endtoend.measure,
    "camera": camera.measure,
    "live": live.measure,
    "start": startup.measure,
    "archive": archive.measure,
}


def main() -> None:
    """Run what was asked for; a part that fails is shown and the others go on."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a fifth of the pings: to see that everything works")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure only this part; may be repeated")
    parser.add_argument("--results", type=Path, default=FOLDER / "results", help="folder of the JSON files")
    arguments = parser.parse_args()
    plugins = PluginHost.load(None)
    report = Report()
    for name in arguments.only or PARTS:
        try:
            PARTS[name](report, plugins, arguments.quick)
        except Exception:  # noqa: BLE001 (shown in full)
            report.problem(name, traceback.format_exc())
    print(f"\n{report.write(arguments.results)}")


if __name__ == "__main__":
    main()
