"""What every contestant is told and must say of itself."""

import shutil
import subprocess
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from bench.compare.upstreams import Upstream


@dataclass(frozen=True, slots=True)
class Setup:
    """What a contestant is to do: listen on a port and split between two upstreams."""

    directory: Path
    port: int
    legacy: Upstream
    target: Upstream
    percentage: int = 50
    workers: int = 1
    tls: bool = False
    connect_timeout_s: float = 1.0
    attempt_timeout_s: float = 5.0
    failures: int = 5
    """After so many failures in a row the target is left alone,"""
    rest_s: float = 5.0
    """for so long."""

    @property
    def ports(self) -> tuple[int, int]:
        """Of legacy and target."""
        if self.tls:
            return self.legacy.tls_port, self.target.tls_port
        return self.legacy.port, self.target.port

    @property
    def certificate(self) -> Path:
        return self.target.certificate

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        return path


class Contestant(ABC):
    """One proxy under test."""

    name: str
    label: str
    description: str
    falls_back: bool = True
    logs: str = "access.log"
    """The file in `Setup.directory` that its access log goes to, which is emptied between measurements."""

    @abstractmethod
    def missing(self) -> str | None:
        """How to install it, when it is not there."""

    @abstractmethod
    def version(self) -> str: ...

    @abstractmethod
    def prepare(self, setup: Setup) -> list[str]:
        """Write the configuration; return the command line."""

    def can(self, setup: Setup) -> str | None:  # noqa: ARG002 - most can do everything
        """Why it can't do this, or None."""
        return None


def program(name: str) -> str | None:
    """The path of an installed program, /usr/sbin looked at too."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def first_line(*argv: str) -> str:
    """The first line a program prints, on either stream."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603 - own arguments
    return (done.stdout + done.stderr).strip().splitlines()[0]
