"""The package's layers, checked from the import statements themselves."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "proxy"
SUBPACKAGES = sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists())

# What each subpackage may import of this project, itself apart.
ALLOWED = {
    "core": set(),
    "settings": {"core"},
    "telemetry": {"core"},
    "net": {"core", "settings", "tasks", "telemetry"},
    "admin": {"core", "settings", "telemetry"},
    "demo": {"core", "settings"},
    "supervisor": {
        "admin",
        "clocks",
        "core",
        "descriptors",
        "explain",
        "settings",
        "systemd",
        "tasks",
        "telemetry",
    },
    "migration": {"settings", "telemetry"},
    "rollout": {"clocks", "core", "settings", "tasks", "telemetry"},
    "report": {"core", "rollout", "settings", "telemetry"},
    "cli": {
        "clocks",
        "core",
        "demo",
        "explain",
        "migration",
        "report",
        "rollout",
        "settings",
        "supervisor",
        "telemetry",
    },
}
IMPURE = {"asyncio", "socket", "time", "random", "logging", "os", "threading", "datetime", "uvloop", "aiohttp"}


def modules(subpackage: str) -> list[Path]:
    return sorted((PACKAGE / subpackage).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Dotted names of every module that a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


def own(path: Path) -> set[str]:
    """The parts of this project that a file imports: `core`, `settings`, ..."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("proxy.")}


def test_every_subpackage_has_a_rule():
    assert set(SUBPACKAGES) == set(ALLOWED)


@pytest.mark.parametrize("subpackage", SUBPACKAGES)
def test_a_layer_imports_only_the_layers_below(subpackage):
    for path in modules(subpackage):
        assert own(path) <= ALLOWED[subpackage] | {subpackage}, path


def test_core_is_pure():
    for path in modules("core"):
        roots = {name.split(".")[0] for name in imports(path)}
        assert not roots & IMPURE, path


def test_the_data_plane_takes_no_aiohttp():
    for path in modules("net"):
        assert not {name for name in imports(path) if name.split(".")[0] == "aiohttp"}, path


def test_the_supervisor_loads_nothing_of_the_data_plane():
    """Not by way of others either: it is to stay small, and has no use for an event loop that is fast."""
    code = "import sys, proxy.supervisor.run; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "proxy.supervisor.run" in loaded
    assert not [name for name in loaded if name.startswith(("proxy.net", "proxy.engine", "proxy.worker", "uvloop"))]


def test_a_worker_loads_nothing_of_the_admin_port():
    code = "import sys, proxy.worker; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "proxy.engine" in loaded
    assert not [name for name in loaded if name.startswith(("proxy.admin", "aiohttp.", "prometheus_client", "yaml"))]


def test_metric_names_stand_in_telemetry_only():
    for path in PACKAGE.rglob("*.py"):
        if "telemetry" not in path.parts and "demo" not in path.parts:
            assert "cutover_requests_total" not in path.read_text(), path
