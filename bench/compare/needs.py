"""What the benchmark needs, what of it is missing, and the command that installs it."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterable

from bench.compare import wrk
from bench.compare.contestants.base import Contestant, program

APT = "apt-get install "
PIP = "pip install "


class Missing(Exception):
    """Something without which nothing can be measured; the message says how to install it."""


def missing(contestants: Iterable[Contestant]) -> dict[str, str]:
    """What is not there, with the command that installs it."""
    found = {
        "wrk (the load)": wrk.missing(),
        "nginx (the upstreams)": None if program("nginx") else "apt-get install nginx-light",
        "openssl (a certificate)": None if program("openssl") else "apt-get install openssl",
        "matplotlib (the charts)": None if importlib.util.find_spec("matplotlib") else "pip install matplotlib",
        **{contestant.label: contestant.missing() for contestant in contestants},
    }
    return {name: command for name, command in found.items() if command}


def require(lacks: dict[str, str]) -> None:
    """Raises Missing when load or upstreams can't be had; contestants and charts can be done without."""
    needed = [f"{name}: {command}" for name, command in lacks.items() if name.startswith(("wrk", "nginx (", "openssl"))]
    if needed:
        raise Missing("can't measure without\n  " + "\n  ".join(needed))


def install(lacks: dict[str, str]) -> None:
    """Install what is missing, Debian's packages and PyPI's. Raises Missing when that fails."""
    debian = sorted({each for command in lacks.values() for each in _packages(command, APT)})
    python = sorted({each for command in lacks.values() for each in _packages(command, PIP)})
    commands = []
    if debian:
        sudo = [] if os.geteuid() == 0 else ["sudo"]
        commands += [[*sudo, "apt-get", "update", "-q"], [*sudo, "apt-get", "install", "-y", "-q", *debian]]
    if python:
        commands.append([sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *python])
    for command in commands:
        print("+", " ".join(command), flush=True)
        try:
            subprocess.run(command, check=True, timeout=900)  # noqa: S603 - the packages named above
        except (OSError, subprocess.SubprocessError) as error:
            raise Missing(f"{' '.join(command)}: {error}") from error


def _packages(command: str, prefix: str) -> list[str]:
    return command.removeprefix(prefix).replace('"', "").split() if command.startswith(prefix) else []
