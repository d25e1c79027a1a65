"""Plugins of every kind are found; whatever one does wrong is listed, and costs nobody else anything."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from nims_appliance import hookspecs
from nims_appliance.errors import ConfigError, PluginError, ProfileError
from nims_appliance.plugin_host.host import PluginHost, make_decoder_context
from nims_appliance.plugin_host.wheels import check_wheel_fits, unpack_wheel
from nims_appliance.settings import SonarSettings

FIXTURES = Path(__file__).parent / "plugins_fixtures"
PYTHON = f"cp{sys.version_info.major}{sys.version_info.minor}"
MACHINE = sysconfig.get_platform().replace("-", "_").replace(".", "_")

DRIVER = """
import msgspec
from nims_appliance.decoder import Driver
from nims_appliance.hookspecs import hookimpl

class Settings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    gain: float = 1.0

def make(name):
    return Driver(name=name, title=name.upper(), settings_type=Settings, stream=lambda context: None)

@hookimpl
def nims_drivers():
    return [make({name!r})]
"""


@pytest.fixture
def data(tmp_path):
    """An empty data folder; what plugins did to the interpreter is undone."""
    (tmp_path / "plugins").mkdir()
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    importlib.invalidate_caches()


def drop_in(data: Path, name: str, text: str) -> None:
    path = data / "plugins" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def record(host: PluginHost, name: str) -> dict:
    (found,) = [entry for entry in host.describe() if entry["name"] == name]
    return found


def make_wheel(
    folder: Path, name: str, files: dict[str, str | bytes], entry_point: str = "", tags: str = "py3-none-any"
) -> Path:
    wheel = folder / f"{name}-1.2.3-{tags}.whl"
    info = f"{name}-1.2.3.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2.3\n")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tags}\n")
        if entry_point:
            archive.writestr(f"{info}/entry_points.txt", f"[nims_appliance.plugins]\n{name} = {entry_point}\n")
    return wheel


def test_built_in_plugins_come_by_entry_points(data):
    host = PluginHost.load(data)
    declared = {entry.name for entry in importlib.metadata.entry_points(group="nims_appliance.plugins")}
    assert {entry["name"] for entry in host.describe()} == declared
    assert all(entry["origin"] == "built-in" and entry["version"] for entry in host.describe())
    assert host.errors == []


def test_package_folder_imports_its_own_modules(data):
    shutil.copytree(FIXTURES / "package" / "fixture_package", data / "plugins" / "fixture_package")
    host = PluginHost.load(data)
    entry = record(host, "fixture_package")
    assert (entry["state"], entry["version"], entry["error"]) == ("loaded", "2.1", "")
    assert entry["hooks"] == {"nims_drivers": ["fixture"], "nims_profiles": ["fixture-sonar"]}
    assert host.profile_origins["fixture-sonar"] == "plugin fixture_package"


def test_package_folder_loads_again_in_a_second_host(data):
    shutil.copytree(FIXTURES / "package" / "fixture_package", data / "plugins" / "fixture_package")
    PluginHost.load(data)
    assert record(PluginHost.load(data), "fixture_package")["error"] == ""


def test_single_file_shadows_no_module(data):
    shutil.copy(FIXTURES / "files" / "json.py", data / "plugins")
    import json

    host = PluginHost.load(data)
    assert record(host, "json")["error"] == ""
    assert sys.modules["json"] is json
    assert importlib.import_module("json") is json
    assert host.classifiers["stone"].classify(None) == ("stone", 0.5)


def test_wheel_and_the_wheel_that_it_depends_on(data):
    make_wheel(
        data / "plugins",
        "acme_sonar",
        {"acme_sonar.py": "import zz_acme_tools\n" + DRIVER.format(name="acme")},
        "acme_sonar",
    )
    make_wheel(data / "plugins", "zz_acme_tools", {"zz_acme_tools/__init__.py": "value = 1\n"})
    host = PluginHost.load(data)
    assert record(host, "acme_sonar")["hooks"] == {"nims_drivers": ["acme"]}
    assert record(host, "acme_sonar")["version"] == "1.2.3"
    assert record(host, "zz_acme_tools")["state"] == "library"
    assert host.errors == []


def test_second_host_does_not_find_a_wheel_twice(data):
    make_wheel(data / "plugins", "acme_sonar", {"acme_sonar.py": DRIVER.format(name="acme")}, "acme_sonar")
    PluginHost.load(data)
    assert PluginHost.load(data).errors == []


def test_wheel_with_a_compiled_module(data, tmp_path):
    source = tmp_path / "acme_fast.c"
    source.write_text(
        "#include <Python.h>\n"
        'static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "acme_fast"};\n'
        "PyMODINIT_FUNC PyInit_acme_fast(void) {\n"
        "  PyObject *module = PyModule_Create(&definition);\n"
        '  PyModule_AddIntConstant(module, "answer", 42);\n'
        "  return module;\n}\n"
    )
    library = tmp_path / ("acme_fast" + sysconfig.get_config_var("EXT_SUFFIX"))
    include = sysconfig.get_path("include")
    subprocess.run(["gcc", "-shared", "-fPIC", f"-I{include}", str(source), "-o", str(library)], check=True, timeout=60)
    plugin = "import acme_fast\n" + DRIVER.replace("{name!r}", "f'acme-{acme_fast.answer}'")
    files = {"acme_plugin.py": plugin, library.name: library.read_bytes()}
    make_wheel(data / "plugins", "acme_plugin", files, "acme_plugin", f"{PYTHON}-{PYTHON}-{MACHINE}")
    host = PluginHost.load(data)
    assert record(host, "acme_plugin")["error"] == ""
    assert "acme-42" in host.drivers


def test_wheel_cannot_replace_a_package_of_the_appliance(data):
    make_wheel(
        data / "plugins", "evil", {"msgspec/__init__.py": "raise RuntimeError('taken over')\n", "evil.py": ""}, "evil"
    )
    assert record(PluginHost.load(data), "evil")["error"] == ""
    assert "cache" not in importlib.util.find_spec("msgspec").origin


def test_replaced_wheel_is_unpacked_anew_and_the_old_one_forgotten(data):
    make_wheel(data / "plugins", "acme_sonar", {"acme_sonar.py": DRIVER.format(name="old")}, "acme_sonar")
    assert "old" in PluginHost.load(data).drivers
    make_wheel(data / "plugins", "acme_sonar", {"acme_sonar.py": DRIVER.format(name="new")}, "acme_sonar")
    (first,) = (data / "cache" / "plugins").iterdir()
    host = PluginHost.load(data)
    assert first.is_dir()
    host.forget_old_wheels()
    (second,) = (data / "cache" / "plugins").iterdir()
    assert first != second
    assert (second / "acme_sonar.py").is_file()


@pytest.mark.parametrize(
    "tags",
    [
        "py3-none-any",
        "py2.py3-none-any",
        f"{PYTHON}-none-any",
        f"{PYTHON}-{PYTHON}-{MACHINE}",
        f"cp38-abi3-{MACHINE}",
        f"py3-none-manylinux1_{MACHINE.removeprefix('linux_')}.manylinux_2_5_{MACHINE.removeprefix('linux_')}",
    ],
)
def test_fitting_wheel_tags(tags):
    check_wheel_fits(f"acme-1.0-{tags}.whl")
    check_wheel_fits(f"acme-1.0-1-{tags}.whl")


@pytest.mark.parametrize(
    ("tags", "what"),
    [
        ("cp27-none-any", "this is Python 3"),
        ("cp310-cp310-linux_x86_64", "ask the vendor"),
        ("cp399-abi3-any", "this is Python 3"),
        ("py3-none-win_amd64", "built for win_amd64"),
        ("py3-none-manylinux_9_99_x86_64", "built for manylinux_9_99"),
        ("py3-none-linux_sparc", "built for linux_sparc"),
        ("any", "expected name-version"),
    ],
)
def test_wheel_for_something_else_is_refused(tags, what):
    with pytest.raises(PluginError, match=what):
        check_wheel_fits(f"acme-1.0-{tags}.whl")


def test_fitting_tags_are_those_that_pip_accepts():
    tags = pytest.importorskip("packaging.tags")
    for tag in tags.sys_tags():
        if tag.interpreter != "py3" and not tag.interpreter.startswith("py"):
            check_wheel_fits(f"acme-1.0-{tag}.whl")


@pytest.mark.parametrize(
    "member", ["../outside.py", "/etc/outside.py", "acme/../../outside.py", "C:/outside.py", "a\\b.py"]
)
def test_wheel_with_a_file_outside_of_it_is_refused(tmp_path, member):
    wheel = make_wheel(tmp_path, "acme", {member: "x"})
    with pytest.raises(PluginError, match="outside"):
        unpack_wheel(wheel, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_damaged_wheel_is_listed(data):
    (data / "plugins" / "acme-1.0-py3-none-any.whl").write_bytes(b"PK\x03\x04 not a zip")
    error = record(PluginHost.load(data), "acme")["error"]
    assert "not a readable wheel" in error
    assert "copy it again" in error


def test_wheel_with_a_wrong_checksum_is_listed(data):
    wheel = make_wheel(data / "plugins", "acme", {"acme.py": "marker = 'abcdefgh'\n"}, "acme")
    wheel.write_bytes(wheel.read_bytes().replace(b"abcdefgh", b"abcdefgX"))
    assert "not a readable wheel" in record(PluginHost.load(data), "acme")["error"]


def test_cache_that_cannot_be_written_is_listed(data):
    make_wheel(data / "plugins", "acme", {"acme.py": ""}, "acme")
    (data / "cache").write_text("a file in the way")
    assert "cannot be unpacked" in record(PluginHost.load(data), "acme")["error"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("import nonexistent_sdk\n", "bad: cannot be loaded: it needs the package 'nonexistent_sdk'"),
        ("def f(:\n", "bad: cannot be loaded: bad.py:1: not valid Python"),
        ("import sys\nsys.exit(3)\n", "bad: cannot be loaded: it tried to end the process (exit 3)"),
        ("x = 1\nraise RuntimeError('no licence')\n", "bad: cannot be loaded: RuntimeError: no licence (bad.py:2)"),
        ("class Odd(BaseException): pass\nraise Odd('x')\n", "bad: cannot be loaded: Odd: x (bad.py:2)"),
        ("raise GeneratorExit\n", "bad: cannot be loaded: GeneratorExit"),
        (DRIVER.format(name="a") + "    sys.exit(1)\n", ""),
        (
            "from nims_appliance.hookspecs import hookimpl\n@hookimpl\ndef nims_driver(): return []\n",
            "bad: there is no hook nims_driver (did you mean 'nims_drivers'",
        ),
        ("def nims_drivers(): return []\n", "bad: nims_drivers is not marked with @hookimpl"),
        (
            "from nims_appliance.hookspecs import hookimpl\n@hookimpl\ndef nims_drivers(config): return []\n",
            "bad: cannot be loaded: PluginValidationError",
        ),
        (
            "from nims_appliance.hookspecs import hookimpl\n@hookimpl\ndef nims_drivers(): raise SystemExit('bye')\n",
            "bad: nims_drivers: it tried to end the process (exit bye)",
        ),
        (
            "from nims_appliance.hookspecs import hookimpl\n@hookimpl\ndef nims_drivers(): return 1 / 0\n",
            "bad: nims_drivers: ZeroDivisionError: division by zero (bad.py:3)",
        ),
        (
            "from nims_appliance.hookspecs import hookimpl\n@hookimpl\ndef nims_drivers(): return None\n",
            "bad: nims_drivers: expected a list, got NoneType",
        ),
        (
            "from nims_appliance.hookspecs import hookimpl\n@hookimpl\ndef nims_drivers(): return ['m3']\n",
            "bad: nims_drivers: expected Driver, got str",
        ),
        (
            "from nims_appliance.hookspecs import hookimpl\n@hookimpl\ndef nims_outputs(): return [print]\n",
            "bad: nims_outputs: expected an async function",
        ),
        (
            "from nims_appliance.hookspecs import hookimpl\n@hookimpl(wrapper=True)\ndef nims_drivers(): yield\n",
            "bad: nims_drivers: wrappers are not supported",
        ),
        (
            "from nims_appliance.hookspecs import hookimpl\n@hookimpl\ndef nims_profiles(): return ['name: [']\n",
            "bad: nims_profiles: plugin bad:1",
        ),
    ],
)
def test_bad_plugin_is_listed_and_costs_nobody_else_anything(data, text, error):
    drop_in(data, "bad.py", text)
    drop_in(data, "good.py", DRIVER.format(name="good"))
    host = PluginHost.load(data)
    assert record(host, "bad")["error"].startswith(error)
    assert bool(record(host, "bad")["error"]) == bool(error) == (record(host, "bad")["state"] == "failed")
    assert record(host, "good")["state"] == "loaded"
    assert "good" in host.drivers
    assert "nims_dropin_bad" not in sys.modules or not error.startswith("bad: cannot be loaded")


def test_ctrl_c_during_an_import_is_not_swallowed(data):
    drop_in(data, "slow.py", "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        PluginHost.load(data)


def test_second_offer_of_a_name_is_refused_and_names_both(data):
    drop_in(data, "a_first.py", DRIVER.format(name="twice"))
    drop_in(data, "b_second.py", DRIVER.format(name="twice"))
    host = PluginHost.load(data)
    assert record(host, "a_first")["error"] == ""
    assert record(host, "b_second")["error"] == (
        "b_second: nims_drivers: driver 'twice': plugin a_first has offered one already; this one is left out"
    )


def test_second_plugin_of_a_name_is_refused_and_the_first_stays(data):
    drop_in(data, "nims_m3.py", DRIVER.format(name="m4"))
    host = PluginHost.load(data)
    first, second = [entry for entry in host.describe() if entry["name"] == "nims_m3"]
    assert (first["origin"], first["error"]) == ("built-in", "")
    assert "comes from built-in already" in second["error"]
    assert "m4" not in host.drivers


@pytest.mark.parametrize(
    ("folder", "files", "error"),
    [
        ("empty", {"readme.txt": ""}, "without __init__.py"),
        ("my-plugin", {"__init__.py": ""}, "cannot be imported; rename"),
        ("numpy", {"__init__.py": ""}, "is there already; rename"),
        ("wave", {"__init__.py": ""}, "already; rename"),
    ],
)
def test_folder_that_cannot_be_a_package_is_listed(data, folder, files, error):
    for name, text in files.items():
        drop_in(data, f"{folder}/{name}", text)
    assert error in record(PluginHost.load(data), folder)["error"]


def test_hidden_files_and_caches_are_no_plugins(data):
    drop_in(data, ".hidden.py", "raise RuntimeError\n")
    drop_in(data, "__pycache__/x.py", "raise RuntimeError\n")
    drop_in(data, "notes.txt", "")
    assert PluginHost.load(data).errors == []


def test_load_without_a_data_folder(tmp_path):
    assert PluginHost.load(None).errors == []
    assert PluginHost.load(tmp_path / "not there").errors == []


def test_trace_prints_every_hook_call(data, monkeypatch, capsys):
    drop_in(data, "traced.py", DRIVER.format(name="traced"))
    monkeypatch.setenv("NIMS_TRACE_PLUGINS", "1")
    PluginHost.load(data)
    assert "plugin traced: nims_drivers() -> [Driver(name='traced'" in capsys.readouterr().err


def test_recognise_names_the_driver_and_survives_one_that_raises(data):
    shutil.copytree(FIXTURES / "package" / "fixture_package", data / "plugins" / "fixture_package")
    broken = DRIVER.format(name="broken").replace("stream=", "recognise=lambda head: 1 / 0, stream=")
    drop_in(data, "a_broken.py", broken)
    host = PluginHost.load(data)
    assert host.recognise(b"FIXTURE and more") == "Fixture sonar"
    assert host.recognise(b"nothing known") == ""
    assert record(host, "a_broken")["error"].count("ZeroDivisionError") == 1


def test_driver_settings_are_the_operators_over_the_profiles(data):
    shutil.copytree(FIXTURES / "package" / "fixture_package", data / "plugins" / "fixture_package")
    host = PluginHost.load(data)
    profile = host.profile("fixture-sonar")
    driver = host.driver(profile)
    settings = SonarSettings(profile="fixture-sonar", link="tcp://a:1", driver={"packet_bytes": 32})
    context = make_decoder_context(profile, settings, driver, live=True)
    assert (context.settings.scale, context.settings.packet_bytes, context.live) == (3.0, 32, True)
    wrong = SonarSettings(profile="fixture-sonar", link="tcp://a:1", driver={"scael": 1, "packet_bytes": "x"})
    with pytest.raises(ConfigError, match=r"driver.scael: unknown key \(did you mean 'scale'\?\); driver.packet_bytes"):
        make_decoder_context(profile, wrong, driver)


def test_unknown_profile_and_driver_name_what_is_close(data):
    host = PluginHost.load(data)
    with pytest.raises(ProfileError, match="did you mean 'kongsberg-m3'"):
        host.profile("konsberg-m3")
    (data / "profiles").mkdir()
    (data / "profiles" / "x.yaml").write_text("name: x\ntitle: X\ndriver: m33\n")
    host = PluginHost.load(data)
    assert host.profile_errors == ["profiles/x.yaml: profile x: no plugin offers the driver 'm33' (did you mean 'm3'?)"]


def test_hook_nims_drivers(data):
    drop_in(data, "p.py", DRIVER.format(name="p"))
    assert PluginHost.load(data).drivers["p"].title == "P"


def test_hook_nims_profiles(data):
    shutil.copytree(FIXTURES / "package" / "fixture_package", data / "plugins" / "fixture_package")
    assert PluginHost.load(data).profiles["fixture-sonar"].settings == {"scale": 3.0}


def test_hook_nims_simulators(data):
    simulator = (
        "from nims_appliance.decoder import Simulator\nfrom nims_appliance.hookspecs import hookimpl\n"
        "@hookimpl\ndef nims_simulators():\n"
        "    kinds = (('tcp', print), ('ip', print), ('tcp', 3))\n"
        "    return [Simulator('p', 'P', transport, 1, make) for transport, make in kinds]\n"
    )
    drop_in(data, "p.py", simulator)
    host = PluginHost.load(data)
    assert host.simulators["p"].transport == "tcp"
    assert "expected tcp or udp, got 'ip'" in record(host, "p")["error"]
    assert "make: expected a function, got 3" in record(host, "p")["error"]


def test_hook_nims_track_classifiers(data):
    shutil.copy(FIXTURES / "files" / "json.py", data / "plugins")
    assert set(PluginHost.load(data).classifiers) == {"motion", "stone"}


def test_hook_nims_outputs(data):
    shutil.copy(FIXTURES / "files" / "json.py", data / "plugins")
    assert "json.publish" in PluginHost.load(data).outputs


def test_hook_nims_commands(data):
    shutil.copy(FIXTURES / "files" / "json.py", data / "plugins")
    assert list(PluginHost.load(data).commands) == ["hello"]


def test_every_hook_has_a_test():
    hooks = [name for name in vars(hookspecs) if name.startswith("nims_")]
    assert [hook for hook in hooks if f"test_hook_{hook}" not in globals()] == []


def test_importing_the_host_makes_no_manager():
    code = "import gc, pluggy, nims_appliance.plugin_host.host\n"
    code += "print([o for o in gc.get_objects() if type(o) is pluggy.PluginManager])"
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environ, timeout=60, check=True
    )
    assert run.stdout.strip() == "[]"
