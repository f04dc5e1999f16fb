"""Sidecars on a listening socket that outlives them, passed as systemd passes it (sd_listen_fds(3))."""

import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from unittest.mock import patch

from tests.e2e import sidecar as launcher
from tests.e2e.sidecar import Sidecar

# Becomes the command with the descriptors that follow `--` moved to 3, 4, ..., and says for whom they are.
_BECOME: Final = """
import fcntl, os, sys
cut = sys.argv.index("--")
passed, command = [int(number) for number in sys.argv[1:cut]], sys.argv[cut + 1:]
high = [fcntl.fcntl(number, fcntl.F_DUPFD, 100) for number in passed]
for index, number in enumerate(high):
    os.dup2(number, 3 + index, inheritable=True)
    os.close(number)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execvp(command[0], command)
"""


def start_with(sockets: Sequence[socket.socket], file: Path, env: Mapping[str, str] | None = None) -> Sidecar:
    """A sidecar that is given these sockets; `env` may name them (LISTEN_FDNAMES)."""
    numbers = [sock.fileno() for sock in sockets]
    usual, popen = launcher.command, launcher.subprocess.Popen

    def command(*words: str) -> list[str]:
        return [sys.executable, "-c", _BECOME, *map(str, numbers), "--", *usual(*words)]

    def start(*arguments: object, **options: object) -> object:
        return popen(*arguments, **options, pass_fds=numbers)  # type: ignore[call-overload]

    with patch.object(launcher, "command", command), patch.object(launcher.subprocess, "Popen", start):
        return Sidecar(file, {"LISTEN_FDS": str(len(numbers)), **(env or {})})


class PassedSocket:
    """One listening TCP socket, as a service manager holds it."""

    def __init__(self) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.address = f"127.0.0.1:{self.sock.getsockname()[1]}"

    def start(self, file: Path) -> Sidecar:
        """Start one more program on it."""
        return start_with([self.sock], file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()
