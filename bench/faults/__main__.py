"""``python -m bench.faults [--kills N] [--only kills|disks|clocks|peers] [--zipapp FILE]``: does harm, and looks.

Prints a table, keeps it as JSON beside the benchmarks' and ends with 1 where something did not hold. Faults of disks
need root for file systems of their own; without it what stands in for them is named in the table.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from nims_appliance.plugin_host.host import PluginHost

from ..report import FOLDER, Report
from . import clocks, disks, kills, peers

KILLS = 200


def main() -> None:
    """Run what was asked for; a part that breaks down is a failure, and the others go on."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=KILLS, help=f"how often it is killed [default: {KILLS}]")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument(
        "--away", type=float, default=peers.AWAY_S, help="how long the peers are, seconds [default: 20]"
    )
    parser.add_argument("--only", choices=("kills", "disks", "clocks", "peers"), action="append")
    parser.add_argument("--zipapp", type=Path, help="the appliance to be tried; else this checkout")
    parser.add_argument("--results", type=Path, default=FOLDER / "results", help="folder of the JSON files")
    arguments = parser.parse_args()
    zipapp: Path | None = arguments.zipapp
    command = [sys.executable, *(["-I", str(zipapp.resolve())] if zipapp else ["-m", "nims_appliance"])]
    plugins = PluginHost.load(None)
    report = Report()
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="nims-faults-") as name:
        folder = Path(name)
        campaigns: dict[str, Callable[[], list[str]]] = {
            "disks": lambda: disks.run(report, folder, command),
            "clocks": lambda: clocks.run(report, folder, command),
            "peers": lambda: peers.run(report, folder, command, arguments.away),
            "kills": lambda: kills.run(report, plugins, folder, command, arguments.kills, arguments.seed),
        }
        for campaign in arguments.only or campaigns:
            try:
                failures += campaigns[campaign]()
            except Exception:  # noqa: BLE001 (shown in full)
                failures.append(f"{campaign}: {traceback.format_exc()}")
    report.add("all faults", "what did not hold", len(failures), "")
    for text in failures:
        report.problem("did not hold", text)
    print(f"\n{report.write(arguments.results)}")
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    main()
