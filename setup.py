"""Compiles the modules that every request runs through (docs/adr/0005); all else is in pyproject.toml.

Without a C compiler, with CUTOVER_PURE=1 and in an editable install they stay Python, and do the same.
"""

import atexit
import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HOT = {
    "core": "breaker bucketing errors fallback fields framing heads identity intake model request_head response_head"
    " rewrite routing",
    "net": "answers arrival attempt downstream gate generation handler memory plane pool probe record relay upstream",
    "settings": "snapshot",
    "telemetry": "access_log histogram log_format metrics tracing",
}


OPTIONS = ["--config-file=", "--follow-imports=silent", "--ignore-missing-imports"]  # `make check` is the strict one


def hot_modules(directory: str) -> list[Extension]:
    """The modules to compile, by way of `directory`; none where it can't be done or is not wanted."""
    if os.environ.get("CUTOVER_PURE") == "1" or "editable_wheel" in sys.argv or "develop" in sys.argv:
        return []
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None or not Path(sysconfig.get_path("include"), "Python.h").exists():
        sys.stderr.write("cutover: no C compiler or no Python.h: the package stays pure Python\n")
        return []
    from mypyc.build import mypycify  # noqa: PLC0415 - not there when the package stays pure

    paths = [f"proxy/{part}/{name}.py" for part, names in HOT.items() for name in names.split()]
    return mypycify([*OPTIONS, *paths], opt_level="3", debug_level="0", target_dir=directory)


class BuildOrStayPure(build_ext):
    """Where the compiler fails nothing is compiled: half of it could not be imported."""

    def run(self) -> None:
        """See setuptools."""
        try:
            super().run()
        except Exception as error:  # noqa: BLE001 - whatever it is, the Python modules do the same
            sys.stderr.write(f"cutover: not compiled, the package stays pure Python ({error})\n")
            self.extensions = []


# Not ./build: what an earlier build left there would get into the wheel.
scratch = os.environ.get("CUTOVER_SCRATCH") or tempfile.mkdtemp(prefix="cutover-build-")
atexit.register(shutil.rmtree, scratch, ignore_errors=True)
setup(
    ext_modules=hot_modules(scratch),
    cmdclass={"build_ext": BuildOrStayPure},
    options={"build": {"build_base": scratch}},
)
