"""cutover itself: as it is shipped, bare, and as the Python it is written in."""

import platform
import sys
from typing import Any

import yaml

from bench.compare.contestants.base import Contestant, Setup, first_line
from bench.compare.processes import ROOT, free_port
from proxy import __version__

CONNECTIONS = 12_000
COMPILED = ROOT / ".venv-compiled" / "bin" / "cutover"


class Cutover(Contestant):
    """Everything on."""

    name = "cutover"
    label = "cutover"
    description = (
        "Everything on, as by default: metrics, an access log line for every request to a file, trace ids, "
        "responses up to 256 KiB held until complete, fallback on failures and statuses, circuit breaker (5 in a "
        "row, 5 s). Pools as large as the others' (1024 connections, 512 kept idle)."
    )
    logs = "cutover.out"

    def missing(self) -> str | None:
        return None if COMPILED.exists() else "make compiled"

    def version(self) -> str:
        python = first_line(str(COMPILED.with_name("python")), "-c", "import sys; print(sys.version)")
        return f"{__version__} on Python {python}, hot modules compiled with mypyc"

    def prepare(self, setup: Setup) -> list[str]:
        path = setup.write(f"{self.name}.yaml", yaml.safe_dump(self.settings(setup)))
        return [*self.program(), "run", "-c", str(path)]

    def program(self) -> list[str]:
        """The beginning of the command line."""
        return [str(COMPILED)]

    def settings(self, setup: Setup) -> dict[str, Any]:
        legacy, target = setup.ports
        scheme = "https" if setup.tls else "http"
        common = {
            "timeout": f"{setup.attempt_timeout_s:g}s",
            "connect_timeout": f"{setup.connect_timeout_s:g}s",
            "host": "preserve",
            "pool": {"max_connections": 1024, "max_idle": 512},
            **({"tls": {"ca_file": str(setup.certificate), "server_name": "localhost"}} if setup.tls else {}),
        }
        breaker = {"enabled": True, "consecutive": setup.failures, "open_for": f"{setup.rest_s:g}s"}
        return {
            "listen": f"127.0.0.1:{setup.port}",
            "admin": {"listen": f"127.0.0.1:{free_port()}"},
            "workers": setup.workers,
            "legacy": {"url": f"{scheme}://127.0.0.1:{legacy}", **common},
            "target": {"url": f"{scheme}://127.0.0.1:{target}", **common, "circuit_breaker": breaker},
            "rollout": {"enabled": True, "percentage": setup.percentage},
            "limits": {"connections": CONNECTIONS, "keepalive_timeout": "10m", "drain_timeout": "500ms"},
        }


class CutoverPure(Cutover):
    """The same, not compiled."""

    name = "cutover-pure"
    label = "cutover, not compiled"
    description = "Everything on, but as pure Python, as it runs where there was no compiler to build it with."
    logs = "cutover-pure.out"

    def missing(self) -> str | None:
        return None

    def version(self) -> str:
        return f"{__version__} on Python {platform.python_version()}"

    def program(self) -> list[str]:
        return [sys.executable, "-m", "proxy"]


class CutoverBare(Cutover):
    """What can be switched off is off."""

    name = "cutover-bare"
    label = "cutover, bare"
    description = "As above with access log, fallback (so no response is held) and circuit breaker off; metrics stay."
    falls_back = False
    logs = "cutover-bare.out"

    def settings(self, setup: Setup) -> dict[str, Any]:
        settings = super().settings(setup)
        settings["target"]["circuit_breaker"] = {"enabled": False}
        settings["fallback"] = {"enabled": False}
        settings["logging"] = {"access": "off"}
        return settings
