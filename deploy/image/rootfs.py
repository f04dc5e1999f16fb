"""Puts the image's file system together: what Python and the program load, and nothing else.

Run in the build stage, with the Python of the program's virtual environment. Two trees come out: `--runtime` (Python,
libraries, certificates, a small shell; the same as long as the base image is) and `--program` (the virtual
environment). Bytecode is made here, because the user can't write it later; it is never checked against the source's
time, which a reproducible build changes. Neighbour: the Dockerfile copies both into an empty image.
"""

import argparse
import compileall
import importlib
import os
import py_compile
import re
import shutil
import ssl
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

# For people who look into a container at night; each is some tens of KiB.
SHELL = ("sh", "cat", "env", "grep", "head", "id", "ls", "sleep", "stat", "touch")
NOT_SHIPPED = shutil.ignore_patterns(
    *("__pycache__", "test", "tests", "idlelib", "tkinter", "turtle.py", "turtledemo", "lib2to3", "ensurepip"),
    *("pydoc_data", "config-3*", "site-packages", "dist-packages", "_test*.so", "_ctypes_test*.so", "xxlimited*.so"),
    "*.a",
)
NOT_SHIPPED_OF_PROGRAM = shutil.ignore_patterns("__pycache__", "*.pyx", "*.pxd", "*.pxi", "*.c", "*.h")
# What imports of the standard library whatever is used of it, beside the commands themselves.
IMPORTED = ("proxy.worker", "proxy.healthcheck")
CERTIFICATES = Path("/usr/share/ca-certificates/mozilla")
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
ACCOUNTS = {
    "passwd": "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\ncutover:x:65532:65532::/:/bin/sh\n",
    "group": "root:x:0:\nnogroup:x:65534:\ncutover:x:65532:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


class Tree:
    """A file system that is being put together; it remembers what came from the base image."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.taken: set[Path] = set()
        root.mkdir(parents=True, exist_ok=True)

    def at(self, path: Path) -> Path:
        """Where a path of the base image is in here."""
        return self.root / path.relative_to("/")

    def take(self, path: Path) -> None:
        """Copy a file under each of its names: symbolic links stay, and what they lead to comes along."""
        path = Path(os.path.realpath(path.parent)) / path.name
        if path in self.taken:
            return
        self.taken.add(path)
        self.at(path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, self.at(path), follow_symlinks=False)
        if path.is_symlink():
            self.take(path.parent / path.readlink())

    def take_tree(self, path: Path, ignore: object) -> None:
        """Copy a directory."""
        shutil.copytree(path, self.at(path), symlinks=True, ignore=ignore, dirs_exist_ok=True)
        self.taken.update(path / file.relative_to(self.at(path)) for file in self.at(path).rglob("*"))

    def write(self, path: str, text: str) -> None:
        """Write a file of our own."""
        place = self.at(Path(path))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(0o644)


def libraries_of(files: Iterable[Path]) -> set[Path]:
    """The shared libraries that these files are linked with, the dynamic linker among them."""
    lines = subprocess.run(["ldd", *map(str, files)], capture_output=True, text=True, check=False).stdout
    if "not found" in lines:
        raise SystemExit(f"a library is missing: {lines}")
    return {Path(found) for found in re.findall(r"(?:=> |^\s)(/\S+) \(0x", lines, re.MULTILINE)}


def loaded(tree: Path) -> list[Path]:
    """Everything below that the dynamic linker loads."""
    return sorted(path for path in tree.rglob("*.so*") if path.is_file())


def build_runtime(tree: Tree, program: Path) -> None:
    """Python and what it and the program are linked with."""
    for name in ("bin", "sbin", "lib", "lib64"):
        link = Path("/", name)
        if link.is_symlink():
            (tree.root / link.readlink()).mkdir(parents=True, exist_ok=True)
            tree.at(link).symlink_to(link.readlink())
    python = program / "bin/python"
    while python.is_symlink():
        python = python.parent / python.readlink()
        if program not in python.parents:
            tree.take(python)
    stdlib = Path(sysconfig.get_path("stdlib"))
    tree.take_tree(stdlib, NOT_SHIPPED)
    shell = [Path(found) for name in SHELL if (found := shutil.which(name))]
    for path in (*shell, *libraries_of([python, *shell, *loaded(stdlib / "lib-dynload"), *loaded(program)])):
        tree.take(path)
    for pattern in ("lib/*/libgcc_s.so.1", "lib/locale/C.utf8/**/*"):  # loaded by name, so that nothing is linked
        for path in sorted(Path("/usr").glob(pattern)):
            if path.is_file():
                tree.take(path)
    for name, text in ACCOUNTS.items():
        tree.write(f"/etc/{name}", text)
    tree.at(Path("/tmp")).mkdir()
    tree.at(Path("/tmp")).chmod(0o1777)
    add_certificates(tree)
    add_linker_cache(tree)
    add_packages(tree)
    drop_bytecode(tree)


def add_certificates(tree: Tree) -> None:
    """The authorities that Debian trusts, and not those that the machine of the build may."""
    found = sorted(CERTIFICATES.glob("*.crt"))
    if not found:
        sys.stderr.write(f"no ca-certificates in the base image: {BUNDLE} as it is in the build\n")
        found = [BUNDLE]
    tree.write(str(BUNDLE), "".join(path.read_text() for path in found))
    default = Path(ssl.get_default_verify_paths().openssl_cafile)
    tree.at(default).parent.mkdir(parents=True, exist_ok=True)
    tree.at(default).symlink_to(BUNDLE)
    tree.taken.update(found)


def add_linker_cache(tree: Tree) -> None:
    """Python's own image keeps libpython where only the cache says."""
    for path in (Path("/etc/ld.so.conf"), *sorted(Path("/etc/ld.so.conf.d").glob("*.conf"))):
        tree.take(path)
    subprocess.run(["ldconfig", "-r", str(tree.root)], check=True)
    shutil.rmtree(tree.root / "var/cache", ignore_errors=True)


def add_packages(tree: Tree) -> None:
    """What the copied files' packages are: for scanners, and their licences."""
    names = {str(path) for path in tree.taken} | {str(path).removeprefix("/usr") for path in tree.taken}
    packages = set()
    for start in range(0, len(every := sorted(names)), 2000):
        found = subprocess.run(
            ["dpkg-query", "-S", *every[start : start + 2000]], capture_output=True, text=True, check=False
        )
        for line in found.stdout.splitlines():
            packages.update(re.split(r", ", line.partition(": ")[0]))
    packages = {name for name in packages if not name.startswith("diversion by")}
    if not packages:
        raise SystemExit("dpkg knows none of the files")
    status = subprocess.run(["dpkg-query", "-s", *sorted(packages)], capture_output=True, text=True, check=True)
    tree.write("/var/lib/dpkg/status", status.stdout)
    for name in sorted(packages):
        text = Path("/usr/share/doc", name.partition(":")[0], "copyright")
        if text.is_file():
            tree.write(str(text), text.read_text())
    shutil.copy2("/etc/os-release", tree.root / "etc/os-release")


def drop_bytecode(tree: Tree) -> None:
    """Bytecode for the part of the standard library that is imported."""
    commands = importlib.import_module("proxy.cli.main").MODULES.values()
    for name in (*IMPORTED, *(f"proxy.cli.{command}" for command in commands)):
        importlib.import_module(name)
    sources = {Path(found) for module in list(sys.modules.values()) if (found := getattr(module, "__file__", None))}
    for source in sorted(sources):
        if source.suffix == ".py" and tree.at(source).is_file():
            py_compile.compile(
                str(tree.at(source)),
                dfile=str(source),
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )


def build_program(tree: Tree, program: Path) -> None:
    """The virtual environment, with bytecode."""
    tree.take_tree(program, NOT_SHIPPED_OF_PROGRAM)
    done = compileall.compile_dir(
        tree.at(program),
        maxlevels=50,
        stripdir=str(tree.root),
        quiet=1,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    if not done:
        raise SystemExit("something of the program can't be compiled")


def set_times(tree: Tree) -> None:
    """One time for everything: not every builder sees to that. A file's time says nothing here."""
    at = int(os.environ.get("SOURCE_DATE_EPOCH") or 0)
    for directory, _, names in os.walk(tree.root, topdown=False):
        for path in (*(Path(directory, name) for name in names), Path(directory)):
            os.utime(path, (at, at), follow_symlinks=False)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("program", type=Path, help="the virtual environment")
    parser.add_argument("--runtime", type=Path, required=True, help="a directory to make")
    parser.add_argument("--program", dest="out", type=Path, required=True, help="a directory to make")
    args = parser.parse_args()
    runtime, program = Tree(args.runtime), Tree(args.out)
    build_runtime(runtime, args.program)
    build_program(program, args.program)
    set_times(runtime)
    set_times(program)


if __name__ == "__main__":
    main()
