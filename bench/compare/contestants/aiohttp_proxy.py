"""A plain aiohttp proxy: what one writes in an afternoon. `plain_proxy` is the program."""

import importlib.util
import sys
from importlib.metadata import version
from pathlib import Path

from bench.compare.contestants.base import Contestant, Setup

PROGRAM = Path(__file__).with_name("plain_proxy.py")


class AiohttpProxy(Contestant):
    """One process."""

    name = "aiohttp"
    label = "aiohttp proxy"
    description = (
        "About fifty lines: `aiohttp.web`, one `ClientSession`, uvloop; the response is streamed; any failure or "
        "status of 5xx is asked of legacy again. No access log, no metrics, no breaker."
    )
    logs = "aiohttp.out"

    def missing(self) -> str | None:
        there = all(importlib.util.find_spec(each) for each in ("aiohttp", "uvloop"))
        return None if there else "pip install aiohttp uvloop"

    def version(self) -> str:
        return f"{version('aiohttp')}, uvloop {version('uvloop')}"

    def prepare(self, setup: Setup) -> list[str]:
        legacy, target = setup.ports
        scheme = "https" if setup.tls else "http"
        urls = [
            f"{scheme}://localhost:{port}" if setup.tls else f"{scheme}://127.0.0.1:{port}" for port in (legacy, target)
        ]
        trust = [str(setup.certificate)] if setup.tls else []
        numbers = [str(setup.port), str(setup.percentage), f"{setup.attempt_timeout_s:g}"]
        return [sys.executable, str(PROGRAM), *numbers, *urls, *trust]

    def can(self, setup: Setup) -> str | None:
        return "it is one process" if setup.workers > 1 else None
