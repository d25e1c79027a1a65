"""Build of the compiled kernels; everything else is in pyproject.toml."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_py import build_py

# No -march: the binary runs on every x86-64 and arm64; hot loops choose their instructions at run time (target_clones).
# Without errno and traps gcc and clang may vectorise sqrt and divisions. -g0: debug information would hold the path of
# this folder, and the same source would not give the same bits elsewhere.
FLAGS = ["-O3", "-g0", "-fno-math-errno", "-fno-trapping-math", "-Wno-unused-function"]
# NIMS_SANITIZE=address builds the kernels with checks of every memory access, for fuzzing by hand.
SANITIZE = [f"-fsanitize={os.environ['NIMS_SANITIZE']}", "-g", "-O1"] if os.environ.get("NIMS_SANITIZE") else []

extensions = [
    Extension(
        f"nims_ext.{source.stem}",
        [str(source)],
        depends=[str(header) for header in sorted(source.parent.glob("*.h"))],
        extra_compile_args=FLAGS + SANITIZE,
        extra_link_args=SANITIZE,
    )
    for source in sorted(Path("cython_ext/nims_ext").glob("*.pyx"))
]


class CompleteBuild(build_py):
    """A wheel without the browser code of others would be built, installed and only then found broken."""

    def run(self):
        vendored = Path("nims_appliance/web/static/vendor/uPlot.js")
        if not self.editable_mode and not vendored.exists():
            raise SystemExit(f"{vendored} is missing: `make appliance` fetches it with npm and builds the wheel")
        super().run()


setup(
    cmdclass={"build_py": CompleteBuild},
    ext_modules=cythonize(
        extensions,
        language_level=3,
        compiler_directives={"embedsignature": True, "freethreading_compatible": False},
    ),
    # gcc takes seconds for each kernel; they do not depend on each other.
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
)
