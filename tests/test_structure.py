"""Arrows between the parts point down only, and the core knows no hardware."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = "nims_appliance"
PLUGINS = sorted(path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py"))


def imports(source: str, package: str) -> set[str]:
    """Return the full names of all that a module of `package` imports when it runs, also within its functions."""
    return set(_imports(ast.parse(source), package))


def _imports(node: ast.AST, package: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - child.level] if child.level else []
            base = ".".join([*above, *filter(None, [child.module])])
            yield from (f"{base}.{alias.name}" for alias in child.names)
        yield from _imports(child, package)


def modules(folder: Path, name: str) -> dict[str, set[str]]:
    """Return what every module of a package imports, by the modules' full names."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        package = ".".join([name, *path.relative_to(folder).parts[:-1]])
        module = package if path.stem == "__init__" else f"{package}.{path.stem}"
        found[module] = imports(path.read_text(encoding="utf-8"), package)
    return found


def parts_of(found: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return the arrows between the parts of the core: its folders, and its modules that are in none."""

    def part(name: str) -> str:
        return name.split(".")[1] if name.startswith(f"{CORE}.") else ""

    parts: dict[str, set[str]] = {part(name): set() for name in found if part(name)}
    for name, used in found.items():
        if part(name):
            parts[part(name)] |= {part(other) for other in used} & set(parts) - {part(name)}
    return parts


@pytest.fixture(scope="module")
def core() -> dict[str, set[str]]:
    return modules(ROOT / CORE, CORE)


@pytest.fixture(scope="module")
def parts(core: dict[str, set[str]]) -> dict[str, set[str]]:
    return parts_of(core)


def test_imports_are_found_wherever_they_stand() -> None:
    source = (
        "import nims_m3.wire\nfrom . import near\nfrom .near import thing\nfrom ..web import app\n"
        "if TYPE_CHECKING:\n    from ..cli import run\ndef later():\n    from ..archive import Archive\n"
    )
    assert imports(source, "nims_appliance.links") == {
        "nims_m3.wire",
        "nims_appliance.links.near",
        "nims_appliance.links.near.thing",
        "nims_appliance.web.app",
        "nims_appliance.archive.Archive",
    }


def test_parts_that_need_each_other_are_found() -> None:
    found = {f"{CORE}.bus": {f"{CORE}.web.app.run"}, f"{CORE}.web.app": {f"{CORE}.bus.Bus"}, f"{CORE}.web": set()}
    with pytest.raises(CycleError):
        TopologicalSorter(parts_of(found)).prepare()


def test_no_part_needs_one_that_needs_it(parts: dict[str, set[str]]) -> None:
    assert {"appliance", "web", "pipeline", "settings", "frame"} <= set(parts)
    assert {"web", "archive", "sonars"} <= parts["appliance"]
    TopologicalSorter(parts).prepare()  # a CycleError names the circle


@pytest.mark.parametrize(
    ("part", "allowed"),
    [
        ("errors", set()),
        ("bus", set()),
        ("frame", {"errors"}),
        ("delivery", {"errors"}),
        ("settings", {"errors", "delivery"}),
        ("acoustics", {"errors", "frame"}),
        ("pipeline", {"acoustics", "errors", "frame", "settings"}),
        ("decoder", {"errors", "frame", "settings"}),
        ("hookspecs", set()),
    ],
)
def test_what_everything_rests_on_rests_on_little(part: str, allowed: set[str], parts: dict[str, set[str]]) -> None:
    assert parts[part] <= allowed


def test_only_the_program_itself_imports_the_command_line(parts: dict[str, set[str]]) -> None:
    assert {name for name, used in parts.items() if "cli" in used} == {"__main__"}


def test_only_the_table_of_contents_starts_the_web(parts: dict[str, set[str]]) -> None:
    assert {name for name, used in parts.items() if "web" in used} <= {"appliance"}


def test_the_core_imports_no_plugin(core: dict[str, set[str]]) -> None:
    assert "nims_m3" in PLUGINS
    assert {
        (name, used) for name, all_used in core.items() for used in all_used if used.split(".")[0] in PLUGINS
    } == set()


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_uses_no_other_and_not_what_uses_plugins(plugin: str) -> None:
    """Only the simulator knows others: it speaks their protocols, by the modules that say what is on the wire."""
    found = set().union(*modules(ROOT / "plugins" / plugin, plugin).values())
    others = {name for name in found if name.split(".")[0] in set(PLUGINS) - {plugin}}
    above = {name.split(".")[1] for name in found if name.startswith(f"{CORE}.")}
    assert {name for name in others if plugin != "nims_simulator" or name.split(".")[1] != "wire"} == set()
    assert above & {"appliance", "archive", "cli", "sonar", "sonars", "web"} == set()
