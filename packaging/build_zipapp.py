"""Build the zipapp from a wheel: install it with its pinned dependencies, drop what is never run, hand it to shiv.

    python packaging/build_zipapp.py WHEEL CONSTRAINTS OPTION_OF_SHIV...

Run by `make appliance` with the Python that the zipapp is for.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import shiv.builder
import shiv.cli

HERE = Path(__file__).resolve().parent
STAGING = HERE.parent / "build" / "zipapp"
# Not run by an appliance, and half of the files to unpack: tests, type stubs, what is only for compiling against NumPy.
# direct_url.json and bin/ hold paths of the machine that builds.
DROPPED = ["**/tests", "**/__pycache__", "**/*.pyi", "**/*.pxd", "**/*.a", "numpy/f2py", "numpy/_core/include"]
DROPPED += ["bin", "*.dist-info/direct_url.json"]


def install(wheel: Path, constraints: Path, target: Path) -> None:
    """Install `wheel` and its dependencies, in the versions of `constraints`, into the empty folder `target`."""
    shutil.rmtree(target, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-compile"]
    pip += ["--no-warn-script-location", "--only-binary=:all:"]
    subprocess.run([*pip, "--target", str(target), "--constraint", str(constraints), str(wheel)], check=True)


def trim(folder: Path) -> None:
    """Remove what `DROPPED` names, and give every file the same permissions on every machine."""
    for pattern in DROPPED:
        for path in list(folder.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    for record in folder.glob("*.dist-info/RECORD"):
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(line for line in lines if (folder / line.split(",")[0].strip('"')).exists()))
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() or path.suffix == ".so" else 0o644)


def needs_of(folder: Path) -> dict[str, str]:
    """What the compiled modules in `folder` need of the machine; checked by packaging/start.py."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    if not list(folder.glob(f"nims_ext/*{suffix}")):
        raise SystemExit(f"no kernels for this Python in {folder}: expected nims_ext/*{suffix}")
    glibc = [(0, 0)]
    for module in folder.rglob("*.so*"):
        found = re.findall(rb"\0GLIBC_(\d+)\.(\d+)", module.read_bytes())
        glibc += [(int(major), int(minor)) for major, minor in found]
    return {
        "python": sysconfig.get_python_version(),
        "suffix": suffix,
        "system": "linux" if sys.platform.startswith("linux") else sys.platform,
        "processor": platform.machine(),
        "glibc": "{}.{}".format(*max(glibc)) if sys.platform.startswith("linux") else "",
    }


def write(site_packages: Path, needs: dict[str, str], options: list[str]) -> None:
    """Write the zipapp that shiv's `options` name, of the installed packages in `site_packages`."""
    # shiv has no option for the zipapp's first code, and its preamble comes too late (packaging/start.py says why).
    start = (HERE / "start.py").read_text() + f"\n\nmain({needs!r})\n"
    shiv.builder.MAIN_TEMPLATE = start.replace("{", "{{").replace("}", "}}")
    shiv.cli.main(["--site-packages", str(site_packages), *options], standalone_mode=False)


def main(wheel: str, constraints: str, *options: str) -> None:
    """Build the zipapp that `options` name."""
    site_packages = STAGING / "site-packages"
    install(Path(wheel), Path(constraints), site_packages)
    trim(site_packages)
    write(site_packages, needs_of(site_packages), list(options))


if __name__ == "__main__":
    main(*sys.argv[1:])
