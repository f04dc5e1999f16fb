"""What is shipped: the wheel and the source archive, each installed into an empty environment."""

import ast
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import proxy

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BASE = {re.split(r"[<>=\[ ]", name)[0].lower().replace(".", "-") for name in PROJECT["dependencies"]}
EXTRAS = set(PROJECT["optional-dependencies"])
# Imported only when they are needed, by what an extra is for.
WITH_AN_EXTRA = {"cli.demo", "demo", "rollout.cloudwatch"}


def run(*command: object, cwd: Path = ROOT, **env: str) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=600,
        env={**os.environ, "PIP_CONSTRAINT": str(ROOT / "constraints.txt"), **env},
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The source archive, and the wheel that is built from it and from nothing else; pure, for the speed of it."""
    directory = tmp_path_factory.mktemp("dist")
    copy = tmp_path_factory.mktemp("source")
    files = run("git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for name in (name for name in files if (ROOT / name).is_file() and not name.startswith(("tests/", "bench/"))):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    build = f"from setuptools import build_meta; print(build_meta.build_sdist({str(directory)!r}))"
    run(builder(tmp_path_factory.mktemp("builder")), "-c", build, cwd=copy, CUTOVER_PURE="1")
    sdist = next(directory.glob("*.tar.gz"))
    run(
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", directory, sdist),
        CUTOVER_PURE="1",
    )
    return {"sdist": sdist, "wheel": next(directory.glob("*.whl"))}


def builder(directory: Path) -> Path:
    """A Python that has setuptools, which this one need not have."""
    run(sys.executable, "-m", "venv", directory)
    run(directory / "bin/python", "-m", "pip", "install", "--quiet", "setuptools>=77")
    return directory / "bin/python"


@pytest.fixture(scope="module")
def installed(archives: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, what it needs, and nothing else; its `bin`."""
    directory = tmp_path_factory.mktemp("empty")
    run(sys.executable, "-m", "venv", directory)
    run(directory / "bin/python", "-m", "pip", "install", "--quiet", archives["wheel"])
    return directory / "bin"


def test_the_wheel_and_the_source_archive_hold_what_they_should(archives: dict[str, Path]) -> None:
    with zipfile.ZipFile(archives["wheel"]) as wheel:
        names = set(wheel.namelist())
    with tarfile.open(archives["sdist"]) as sdist:
        source = {name.partition("/")[2] for name in sdist.getnames()}
    package = {f"proxy/{path.relative_to(ROOT / 'proxy')}" for path in (ROOT / "proxy").rglob("*.py")}
    static = {f"proxy/admin/static/{path.name}" for path in (ROOT / "proxy/admin/static").iterdir()}
    for held in (names, source):
        assert package | static | {"proxy/py.typed"} <= held
    assert {"pyproject.toml", "setup.py", "README.md", "LICENSE"} <= source
    foreign = {name for name in names if not name.startswith(("proxy/", f"cutover-{proxy.__version__}.dist-info/"))}
    assert foreign == set(), "nothing else gets into site-packages"


def test_the_installed_command_works_without_any_extra(installed: Path, tmp_path: Path) -> None:
    assert run(installed / "cutover", "--version", cwd=tmp_path).strip() == f"cutover {proxy.__version__}"
    for name in ("cutover.yaml", "minimal.yaml"):
        assert "legacy" in run(installed / "cutover", "check", ROOT / "config" / name, cwd=tmp_path)
    assert json.loads(run(installed / "cutover", "schema", cwd=tmp_path))
    plan = run(installed / "cutover", "rollout", "plan", ROOT / "config/rollout/staging.yaml", cwd=tmp_path)
    assert "3 stages" in plan
    has = json.loads(run(installed / "python", "-m", "pip", "list", "--format", "json", cwd=tmp_path))
    assert not {"aiobotocore", "asyncpg", "moto", "matplotlib", "rich"} & {one["name"].lower() for one in has}


def test_every_module_of_the_base_install_can_be_imported(installed: Path, tmp_path: Path) -> None:
    names = sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "proxy").rglob("*.py")
        if path.name != "__main__.py"
    )
    script = (
        "import importlib, json, sys\n"
        "missing = {}\n"
        "for name in json.loads(sys.argv[1]):\n"
        "    try:\n"
        "        importlib.import_module(name)\n"
        "    except ModuleNotFoundError as error:\n"
        "        missing[name] = error.name\n"
        "print(json.dumps(missing))\n"
    )
    missing = json.loads(run(installed / "python", "-c", script, json.dumps(names), cwd=tmp_path))
    needs = {name: lacks for name, lacks in missing.items() if not is_for_an_extra(name)}
    assert needs == {}, "`cutover run` would need an extra"


def is_for_an_extra(name: str) -> bool:
    """Whether a module belongs to something that an extra is for."""
    part = name.removeprefix("proxy.")
    return part.split(".")[0] in ("demo", "migration", "report") or part in WITH_AN_EXTRA


def test_the_version_is_written_once() -> None:
    tree = ast.parse((ROOT / "proxy/__init__.py").read_text())
    written = [node for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "__version__"]
    assert [node.value.value for node in written] == [proxy.__version__]
    assert "version" in PROJECT["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", proxy.__version__)


def test_the_metadata_names_the_pythons_that_are_supported() -> None:
    said = {name.rpartition(" ")[2] for name in PROJECT["classifiers"] if name.startswith("Programming Language ::")}
    assert {"3.11", "3.12", "3.13"} <= said
    assert PROJECT["requires-python"] == ">=3.11"
    assert "Typing :: Typed" in PROJECT["classifiers"]


def test_every_extra_that_is_named_exists() -> None:
    texts = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]
    texts += [ROOT / "Makefile", ROOT / "Dockerfile", *(ROOT / "proxy").rglob("*.py")]
    for path in texts:
        for names in re.findall(r"(?:cutover|'\.|\"\.|editable '\.)\[([a-z, ]+)\]", path.read_text()):
            assert {name.strip() for name in names.split(",")} <= EXTRAS, path


def test_everything_that_is_needed_is_pinned() -> None:
    pins = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    every = [*PROJECT["dependencies"], *(one for extra in PROJECT["optional-dependencies"].values() for one in extra)]
    named = {re.split(r"[<>=\[ ;]", one)[0].lower().replace("_", "-").replace(".", "-") for one in every}
    assert named <= pins


def test_the_list_of_parts_names_every_dependency_by_its_pin(tmp_path: Path) -> None:
    """Of this environment, for the speed of it; `make sbom` makes one of what `cutover run` needs."""
    tool = Path(sys.executable).parent / "cyclonedx-py"
    if not tool.exists():
        pytest.skip("cyclonedx-bom is not installed: `make sbom` does")
    file = tmp_path / "sbom.json"
    run(tool, "environment", "--pyproject", ROOT / "pyproject.toml", "--output-file", file, sys.executable)
    made = json.loads(file.read_text())
    assert (made["bomFormat"], made["metadata"]["component"]["name"]) == ("CycloneDX", "cutover")
    found = {part["name"].lower().replace("_", "-").replace(".", "-"): part["version"] for part in made["components"]}
    pins = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    for name in BASE:
        assert pins[name] == found[name]


def test_what_is_deployed_is_this_version() -> None:
    named = []
    for path in (ROOT / "deploy").rglob("*"):
        if path.suffix in (".yaml", ".json", ".md"):
            named += re.findall(r"\bcutover:(\d[\w.]*\w)", path.read_text())
            named += re.findall(r"/cutover, newTag: ([\w.]+)", path.read_text())
    assert len(named) > 5
    assert set(named) == {proxy.__version__}
