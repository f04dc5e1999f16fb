"""Child processes that cannot outlive the demo, and ports that stay its own.

Each child leads a session of its own (Ctrl-C reaches only the demo, which then ends the children in order) and is
ended by the kernel when the demo dies without a word. Neighbours: `gallery` and `sidecar` start everything here.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_LOG_TAIL_LINES: Final = 12
_POLL_S: Final = 0.02
_LEASH: Final = Path(__file__).with_name("leash.py")


class StartError(RuntimeError):
    """A part of the demo did not start; the message is for the person in front of it."""


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged user a child runs as."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Signals:
    """How a child is asked to stop, and what it gets from the kernel when the demo is gone."""

    stop: signal.Signals = signal.SIGTERM
    orphaned: signal.Signals = signal.SIGKILL


@dataclass(slots=True)
class Child:
    """A running child process and where its output goes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    signals: Signals = field(default_factory=Signals)

    def __repr__(self) -> str:
        return f"<Child {self.name} pid={self.process.pid} exit={self.process.returncode}>"

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        if self.process.returncode is not None:
            return False
        # Seen but not reaped: until `kill`, its pid cannot become somebody else's.
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def failure(self, what: str) -> StartError:
        """Return an error that says `what`, with the last lines the child wrote."""
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        return StartError("\n".join([f"{self.name} {what}", *(f"    {line}" for line in lines)]))

    async def wait(self) -> int:
        """Wait until it has ended by itself, and return its exit status."""
        while self.running:  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(_POLL_S)
        self.kill()
        return self.process.returncode

    def kill(self) -> None:
        """SIGKILL it and everything it started; does nothing a second time."""
        if self.process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    async def stop(self, grace_s: float = 5.0) -> None:
        """Ask it to end, and kill what is left of its group after `grace_s`."""
        if self.running:
            self.process.send_signal(self.signals.stop)
        deadline = asyncio.get_running_loop().time() + grace_s
        while self.running and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(_POLL_S)
        self.kill()


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start: a program, its surroundings, and the account it runs as (None: the demo's own)."""

    name: str
    argv: Sequence[str]
    work_dir: Path
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    account: Account | None = None
    signals: Signals = field(default_factory=Signals)


def start_child(launch: Launch) -> Child:
    """Start a child; call it on the main thread only.

    The kernel ties the child's life to the thread that made it, not to the process.
    """
    account = f"{launch.account.uid}:{launch.account.gid}" if launch.account else "-"
    leash = [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), str(int(launch.signals.orphaned)), account]
    with launch.log.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - a list of arguments, none from outside
            [*leash, *launch.argv],
            cwd=launch.work_dir,
            env={**os.environ, **launch.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return Child(launch.name, process, launch.log, launch.signals)


async def wait_listening(child: Child, port: int, timeout_s: float = 20.0) -> None:
    """Wait until somebody accepts on the loopback `port`. Raises StartError when the child ends first."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while loop.time() < deadline:
        if not child.running:
            raise child.failure("ended while starting:")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(_POLL_S)
        else:
            writer.close()
            return
    raise child.failure(f"was not ready after {timeout_s:.0f} s:")


def free_port() -> int:
    """Return a loopback port nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class ReservedPort:
    """A loopback port held by a socket that never listens.

    Connecting to it is refused while its owner is down, and nobody else can take it meanwhile.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number = int(self._socket.getsockname()[1])

    def __repr__(self) -> str:
        return f"<ReservedPort {self.number}>"

    @property
    def url(self) -> str:
        """The http URL of whoever serves here."""
        return f"http://127.0.0.1:{self.number}"

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()
