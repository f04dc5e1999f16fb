"""Worker processes as the system sees them: started by exec, heard over a socket, reaped, killed.

By exec and not by fork: a fork of a program with an event loop and threads inherits locks and descriptors that
belong to nobody, and a replacement must start the same way as the first (docs/adr/0004). Neighbours: `fleet` decides
when; `proxy.worker` is what runs.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from proxy.supervisor.channel import Channel
from proxy.supervisor.messages import HELD_BACK, Message
from proxy.tasks import TaskKeeper

_PACKAGE_HOME: Final = Path(__file__).resolve().parents[2]
_INSTALLED: Final = ("site-packages", "dist-packages")
# glibc gives the memory of each large piece of a body back to the kernel, to ask for it again for the next: half of a
# megabyte's CPU time went into page faults (1,080 us; 610 so). Other C libraries ignore it; what the operator set wins.
_ALLOCATOR: Final = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20), "MALLOC_TRIM_THRESHOLD_": str(16 << 20)}


class Process:
    """One child process. `on_gone` is called once, when it has ended and all it said has been heard.

    Its argument is the exit status, negative for a signal.
    """

    def __init__(self, popen: "subprocess.Popen[bytes]") -> None:
        self._popen = popen
        self._channel: Channel | None = None
        self._heard_all = False
        self._status: int | None = None
        self._on_gone: Callable[[int], None] | None = None

    def __repr__(self) -> str:
        return f"<Process {self.pid} status={self._status}>"

    @property
    def pid(self) -> int:
        """The process id."""
        return self._popen.pid

    async def attend(
        self, control: socket.socket, on_message: Callable[[Message], None], on_gone: Callable[[int], None]
    ) -> None:
        """Hear it from now on."""
        self._on_gone = on_gone
        self._channel = await Channel.open(control, on_message, self._on_channel_end)
        self._tell_if_gone()

    def send(self, message: Message) -> None:
        """Say something to it; never waits."""
        if self._channel is not None:
            self._channel.send(message)

    def kill(self) -> None:
        """SIGKILL."""
        if self._status is None:  # afterwards the number may be somebody else's
            os.kill(self.pid, signal.SIGKILL)

    def on_exit(self, status: int) -> None:
        """Learn its exit status."""
        self._status = self._popen.returncode = status
        self._tell_if_gone()

    def _on_channel_end(self) -> None:
        self._heard_all = True
        self._tell_if_gone()

    def _tell_if_gone(self) -> None:
        if self._heard_all and self._status is not None and self._on_gone is not None:
            told, self._on_gone = self._on_gone, None
            told(self._status)


class Nursery:
    """Starts processes and learns of their ends.

    Reaps every child, also those that it did not start: as process 1 of a container it inherits orphans.
    """

    def __init__(self, tasks: TaskKeeper) -> None:
        self._tasks = tasks
        self._processes: dict[int, Process] = {}

    def __repr__(self) -> str:
        return f"<Nursery {list(self._processes.values())!r}>"

    def install(self) -> None:
        """Learn of ends from here on, and of those before."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self.reap)
        self.reap()

    def start(
        self,
        number: int,
        listening: socket.socket,
        on_message: Callable[[Message], None],
        on_gone: Callable[[int], None],
    ) -> Process:
        """Start a worker. Raises OSError when no process can be had."""
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)  # noqa: FBT003 - the socket module takes it so
            command = [*_interpreter(), "-m", "proxy.worker"]
            numbers = (theirs.fileno(), listening.fileno(), number)
            try:
                popen = _start([*command, *map(str, numbers)], (theirs.fileno(), listening.fileno()))
            except OSError:
                ours.close()
                raise
        process = self._processes[popen.pid] = Process(popen)
        self._tasks.spawn(process.attend(ours, on_message, on_gone))
        return process

    def reap(self) -> None:
        """Collect whoever has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            process = self._processes.pop(pid, None)
            if process is not None:
                process.on_exit(os.waitstatus_to_exitcode(status))


def _start(command: list[str], descriptors: tuple[int, ...]) -> "subprocess.Popen[bytes]":
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)  # which the child inherits
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and numbers
            command, stdin=subprocess.DEVNULL, pass_fds=descriptors, env=_environment()
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _interpreter() -> list[str]:
    """This interpreter, never importing from the working directory."""
    return [sys.executable, "-I"] if sys.flags.isolated else [sys.executable, "-P"]


def _environment() -> dict[str, str]:
    """The worker imports this very package, wherever it lies, and keeps the memory that bodies pass through."""
    env = {**_ALLOCATOR, **os.environ}
    if _PACKAGE_HOME.name not in _INSTALLED:
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_PACKAGE_HOME), env.get("PYTHONPATH"))))
    return env
