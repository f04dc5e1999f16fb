"""The closed-loop load: wrk, with a thousand users in turn."""

import json
import os
import subprocess
from pathlib import Path
from typing import Final

from bench.compare.contestants.base import first_line, program

SCRIPT: Final = Path(__file__).with_name("users.lua")
PATIENCE_S: Final = 60
GRACE_S: Final = 30


class LoadFailed(Exception):
    """The load generator did not give figures."""


def missing() -> str | None:
    return None if program("wrk") else "apt-get install wrk"


def version() -> str:
    return first_line(program("wrk") or "wrk", "-v").split()[1].split("/")[-1]


def load(port: int, path: str, connections: int, seconds: float) -> dict[str, float]:
    """Load from one thread on this process's own CPUs. Raises LoadFailed.

    Keys: requests, bytes, seconds, errors, p50_ms, p99_ms, p999_ms.
    """
    whole = max(1, round(seconds))
    argv = [program("wrk") or "wrk", "-t1", f"-c{connections}", f"-d{whole}s", f"--timeout={PATIENCE_S}s"]
    argv += ["-s", str(SCRIPT), f"http://127.0.0.1:{port}{path}"]
    try:
        done = subprocess.run(  # noqa: S603 - own arguments
            argv,
            capture_output=True,
            text=True,
            timeout=whole + GRACE_S,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as expired:
        raise LoadFailed(f"wrk did not end within {whole + GRACE_S} s") from expired
    for line in done.stdout.splitlines():
        if line.startswith("JSON "):
            found: dict[str, float] = json.loads(line.removeprefix("JSON "))
            return found
    raise LoadFailed(f"wrk: {(done.stdout + done.stderr).strip()[-300:]}")
