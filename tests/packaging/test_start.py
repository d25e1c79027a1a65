"""The zipapp's first code: which machines it accepts, where it unpacks, and what it removes."""

from __future__ import annotations

import ast
import fcntl
import importlib.util
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

PACKAGING = Path(__file__).resolve().parents[2] / "packaging"
HASH = "a" * 64
# shiv 1.0.8 under Python 3.12 and newer.
pytestmark = pytest.mark.filterwarnings("ignore:.*utcfromtimestamp:DeprecationWarning")
BUILT_FOR = {
    "python": "3.11",
    "suffix": ".cpython-311-x86_64-linux-gnu.so",
    "system": "linux",
    "processor": "x86_64",
    "glibc": "2.28",
}
HERE = {
    "python": "3.11",
    "suffixes": [".cpython-311-x86_64-linux-gnu.so", ".abi3.so", ".so"],
    "system": "linux",
    "processor": "x86_64",
    "glibc": "2.36",
}


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"packaging_{name}", PACKAGING / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


start = load("start")
preamble = load("preamble")
build_zipapp = load("build_zipapp")


def test_the_machine_it_was_made_for_is_accepted() -> None:
    assert start.why_not_here(BUILT_FOR, HERE) == ""


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        ({"python": "3.13"}, "made for Python 3.11 on linux x86_64, and this is Python 3.13 on linux x86_64"),
        ({"python": "2.7", "suffixes": []}, "and this is Python 2.7"),
        ({"processor": "aarch64"}, "and this is Python 3.11 on linux aarch64"),
        ({"system": "darwin", "glibc": ""}, "and this is Python 3.11 on darwin x86_64"),
        ({"suffixes": [".cpython-311d-x86_64-linux-gnu.so"]}, "this Python wants *.cpython-311d-x86_64-linux-gnu.so"),
        ({"glibc": "2.17"}, "needs the GNU C library 2.28 or newer, and this system has 2.17"),
        ({"glibc": ""}, "this system has another one"),
    ],
)
def test_a_wrong_machine_gets_one_sentence(difference: dict, said: str) -> None:
    sentence = start.why_not_here(BUILT_FOR, HERE | difference)
    assert said in sentence
    assert "\n" not in sentence
    assert "make appliance" in sentence


def test_libc_versions_are_compared_as_numbers() -> None:
    assert start.why_not_here(BUILT_FOR | {"glibc": "2.4"}, HERE | {"glibc": "2.28"}) == ""


def test_this_machine_is_described_by_the_same_keys() -> None:
    assert set(start.this_machine()) == set(HERE)
    assert start.this_machine()["python"] == sysconfig.get_python_version()


def test_an_old_python_can_read_the_first_code() -> None:
    """Syntax that Python 2 does not know would be answered with a syntax error instead of the sentence."""
    tree = ast.parse((PACKAGING / "start.py").read_text())
    too_new = (ast.JoinedStr, ast.AnnAssign, ast.AsyncFunctionDef, ast.NamedExpr, ast.Nonlocal, ast.Match, ast.Starred)
    for node in ast.walk(tree):
        assert not isinstance(node, too_new), f"line {node.lineno}"
        if isinstance(node, ast.FunctionDef):
            assert node.returns is None
            assert not node.args.kwonlyargs
            assert not any(argument.annotation for argument in node.args.args)


def test_unpacks_beside_the_data_first(tmp_path: Path) -> None:
    archive = str(tmp_path / "nims.pyz")
    assert start.candidates([archive], {})[0] == str(tmp_path / "nims-data" / "cache")
    assert start.candidates([archive], {"NIMS_DATA": "/d"})[0] == "/d/cache"
    assert start.candidates([archive, "run", "--data", "/e"], {"NIMS_DATA": "/d"})[0] == "/e/cache"
    assert start.candidates([archive, "run", "--data=/e"], {})[0] == "/e/cache"
    assert start.candidates([archive], {"XDG_CACHE_HOME": "/c"})[1] == "/c/nims"
    assert start.candidates([archive], {"TMPDIR": "/t"})[2] == f"/t/nims-cache-{os.getuid()}"
    assert start.candidates([archive, "--data=/e"], {"SHIV_ROOT": "/s"}) == ["/s"]


def test_a_folder_that_others_can_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(OSError, match="other users can write there"):
        start.prepare(str(tmp_path))


def make_unpacked(root: Path, name: str) -> Path:
    folder = root / name
    (folder / "site-packages").mkdir(parents=True)
    (folder / start.STAMP).touch()
    return folder


def test_only_complete_unpackings_are_used(tmp_path: Path) -> None:
    folder = make_unpacked(tmp_path, f"nims.pyz_{HASH}")
    held = start.hold(str(folder))
    assert held is not None
    os.close(held)
    (folder / start.STAMP).unlink()
    assert start.hold(str(folder)) is None
    assert start.hold(str(tmp_path / "absent")) is None


def test_an_unpacking_that_others_can_write_is_not_used(tmp_path: Path) -> None:
    folder = make_unpacked(tmp_path, f"nims.pyz_{HASH}")
    folder.chmod(0o777)
    assert start.hold(str(folder)) is None


def test_old_unpackings_are_removed_unless_in_use(tmp_path: Path) -> None:
    current = make_unpacked(tmp_path, f"nims.pyz_{HASH}")
    old = make_unpacked(tmp_path, "nims.pyz_" + "b" * 64)
    running = make_unpacked(tmp_path, "nims.pyz_" + "c" * 64)
    half = tmp_path / ("nims.pyz_" + "d" * 64 + ".tmp")
    (half / "site-packages").mkdir(parents=True)
    held = start.hold(str(running))
    assert preamble.remove_old(tmp_path, keep=current) == [old, half]
    assert sorted(tmp_path.iterdir()) == sorted([current, running])
    os.close(held)
    assert preamble.remove_old(tmp_path, keep=current) == [running]


def test_what_others_put_beside_the_unpackings_stays(tmp_path: Path) -> None:
    current = make_unpacked(tmp_path, f"nims.pyz_{HASH}")
    (tmp_path / ("other.pyz_" + "e" * 64) / "site-packages").mkdir(parents=True)
    (tmp_path / "pictures" / start.STAMP).mkdir(parents=True)
    (tmp_path / ("nims.pyz_" + "f" * 64)).symlink_to(current)
    assert preamble.remove_old(tmp_path, keep=current) == []


def test_nothing_is_removed_while_another_start_unpacks(tmp_path: Path) -> None:
    current = make_unpacked(tmp_path, f"nims.pyz_{HASH}")
    old = make_unpacked(tmp_path, "nims.pyz_" + "b" * 64)
    root = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(root, fcntl.LOCK_EX)
    assert preamble.remove_old(tmp_path, keep=current) == []
    os.close(root)
    assert preamble.remove_old(tmp_path, keep=current) == [old]


def test_an_installed_python_that_fits_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = start.this_machine()
    wanted = {**machine, "suffix": machine["suffixes"][0]}
    name = f"python{machine['python']}"
    for folder in ("stub", "real"):
        (tmp_path / folder).mkdir()
    (tmp_path / "stub" / name).write_text("#!/bin/sh\nexit 127\n")
    (tmp_path / "stub" / name).chmod(0o755)
    (tmp_path / "real" / name).symlink_to(sys.executable)
    monkeypatch.setenv("PATH", f"{tmp_path}/stub:{tmp_path}/real")
    elsewhere = {**machine, "python": "3.99", "suffixes": [".cpython-399.so"]}
    assert start.find_fitting_python(wanted, elsewhere) == str(tmp_path / "real" / name)
    assert start.find_fitting_python(wanted, machine) is None, "no second try when Python is not the trouble"
    monkeypatch.setenv("PATH", f"{tmp_path}/stub")
    assert start.find_fitting_python(wanted, elsewhere) is None


def make_zipapp(folder: Path, says: str, **needs: str) -> Path:
    """A zipapp built as the real one is, of one small module."""
    source = folder / f"source-{says}"
    source.mkdir(parents=True)
    program = f"import os, sys\ndef main():\n    print('{says}', sys.argv[1:], os.environ.get('SHIV_ROOT'), __file__)\n"
    (source / "hello.py").write_text(program)
    machine = start.this_machine()
    fits = {key: machine[key] for key in ("python", "system", "processor", "glibc")} | {
        "suffix": machine["suffixes"][0]
    }
    out = folder / "hello.pyz"
    options = ["-e", "hello.main", "-o", str(out), "--reproducible", "--preamble", str(PACKAGING / "preamble.py")]
    build_zipapp.write(source, fits | needs, options)
    return out


def run(zipapp: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "HOME": str(zipapp.parent / "home"), **environ}
    command = [sys.executable, str(zipapp), *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def test_unpacks_once_beside_the_data_and_starts(tmp_path: Path) -> None:
    zipapp = make_zipapp(tmp_path, "one")
    first = run(zipapp, "a", "b c")
    assert first.stderr == ""
    assert first.stdout.startswith(f"one ['a', 'b c'] None {tmp_path}/nims-data/cache/hello.pyz_")
    (unpacked,) = (tmp_path / "nims-data" / "cache").iterdir()
    before = (unpacked / start.STAMP).stat().st_mtime_ns
    assert run(zipapp, "a", "b c").stdout == first.stdout
    assert (unpacked / start.STAMP).stat().st_mtime_ns == before


def test_an_update_replaces_what_was_unpacked(tmp_path: Path) -> None:
    run(make_zipapp(tmp_path, "one"))
    updated = run(make_zipapp(tmp_path, "two"))
    assert updated.stdout.startswith("two")
    assert len(list((tmp_path / "nims-data" / "cache").iterdir())) == 1


def test_power_lost_while_unpacking_is_repaired(tmp_path: Path) -> None:
    zipapp = make_zipapp(tmp_path, "one")
    run(zipapp)
    (unpacked,) = (tmp_path / "nims-data" / "cache").iterdir()
    (unpacked / start.STAMP).unlink()
    (unpacked / "site-packages" / "hello.py").write_bytes(b"")
    assert run(zipapp).stdout.startswith("one")


def test_many_first_starts_at_once(tmp_path: Path) -> None:
    zipapp = make_zipapp(tmp_path, "one")
    command = [sys.executable, str(zipapp)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(6)]
    for process in started:
        output, _ = process.communicate(timeout=60)
        assert output.startswith("one")
        assert output.count("\n") == 1


def test_packages_of_the_user_do_not_replace_bundled_ones(tmp_path: Path) -> None:
    zipapp = make_zipapp(tmp_path, "one")
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "hello.py").write_text("def main():\n    print('evil')\n")
    assert run(zipapp, PYTHONPATH=str(tmp_path / "evil")).stdout.startswith("one")


def test_unpacks_elsewhere_when_the_data_cannot_be_written(tmp_path: Path) -> None:
    zipapp = make_zipapp(tmp_path, "one")
    (tmp_path / "file").touch()
    output = run(zipapp, NIMS_DATA=str(tmp_path / "file"))
    assert f"{tmp_path}/home/.cache/nims/hello.pyz_" in output.stdout
    output = run(zipapp, NIMS_DATA=str(tmp_path / "file"), HOME=str(tmp_path / "file"), TMPDIR=str(tmp_path / "t"))
    assert f"{tmp_path}/t/nims-cache-" in output.stdout


def test_says_what_to_set_when_nothing_can_be_written(tmp_path: Path) -> None:
    zipapp = make_zipapp(tmp_path, "one")
    (tmp_path / "file").touch()
    nowhere = str(tmp_path / "file")
    output = run(zipapp, NIMS_DATA=nowhere, HOME=nowhere, TMPDIR=nowhere)
    assert output.returncode == 1
    assert output.stderr.startswith("nims: no folder to unpack into, set NIMS_DATA to one that can be written: tried ")
    assert output.stderr.count("\n") == 1


def test_a_wrong_python_is_one_sentence_and_unpacks_nothing(tmp_path: Path) -> None:
    zipapp = make_zipapp(tmp_path, "one", python="3.99", suffix=".cpython-399.so")
    output = run(zipapp)
    assert output.returncode == 1
    assert output.stderr.startswith("nims: this file is made for Python 3.99 on ")
    assert output.stderr.count("\n") == 1
    assert not (tmp_path / "nims-data").exists()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    zipapp = make_zipapp(tmp_path, "one")
    content = bytearray(zipapp.read_bytes())
    with zipfile.ZipFile(zipapp) as opened:
        first = opened.infolist()[0]
    at = first.header_offset + 30 + len(first.filename) + 5
    content[at : at + 20] = b"\xff" * 20
    zipapp.write_bytes(content)
    output = run(zipapp)
    assert output.returncode == 1
    assert f"{zipapp} is damaged" in output.stderr
    assert output.stderr.count("\n") == 1


def test_the_same_source_gives_the_same_bits(tmp_path: Path) -> None:
    assert make_zipapp(tmp_path / "a", "one").read_bytes() == make_zipapp(tmp_path / "b", "one").read_bytes()
