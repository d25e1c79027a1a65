"""What pyproject.toml and README.md say of the project's files is so."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_package_is_in_the_wheel() -> None:
    """A package that is not listed works in a checkout, and is missing in the zipapp."""
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {"nims_ext", "firmware_profiles"}
    for init in [*ROOT.glob("nims_appliance/**/__init__.py"), *ROOT.glob("plugins/*/**/__init__.py")]:
        path = init.parent.relative_to(ROOT)
        found.add(".".join(path.parts).removeprefix("plugins."))
    assert listed == found


def test_every_file_that_the_readme_names_exists() -> None:
    text = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\(([^)#]+)\)", text)
    paths = re.findall(r"`((?:nims_appliance|plugins|packaging|firmware_profiles)/[\w/.]*)`", text)
    assert len(paths) > 10
    missing = [path for path in [*links, *paths] if not (ROOT / path).exists()]
    assert missing == []


def test_every_kernel_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"`nims_ext\.(\w+)`", (ROOT / "README.md").read_text()))
    assert named == {path.stem for path in (ROOT / "cython_ext" / "nims_ext").glob("*.pyx")}


def test_the_pinned_versions_are_within_the_ranges() -> None:
    """Every dependency is pinned; an unpinned one would make the zipapp differ from day to day."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[<>=~! ]", requirement)[0].lower().replace("_", "-") for requirement in wanted}
    pins = (ROOT / "packaging" / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in pins if "==" in line}
    assert names <= pinned
