"""Processes that this benchmark starts, on CPUs of their own: started, weighed with all their children, ended.

Ends only what it started, by process id. Neighbours: `launch` becomes the program, `stage` keeps the processes.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LAUNCH: Final = Path(__file__).with_name("launch.py")
ROOT: Final = Path(__file__).resolve().parents[2]
TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
KIB: Final = 1024
END_S: Final = 5.0


class StartFailed(Exception):
    """A program did not start; the message says why, with the end of what it printed."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process tree has used so far, and what it holds."""

    cpu_s: float
    resident_bytes: int
    proportional_bytes: int
    processes: int


class Program:
    """A started program and its children, its output in a file."""

    def __init__(self, argv: list[str], *, cpus: Iterable[int], output: Path) -> None:
        self.argv, self.output = argv, output
        on = ",".join(map(str, sorted(cpus)))
        command = [sys.executable, "-ISE", str(LAUNCH), str(os.getpid()), on, *argv]
        with output.open("ab") as file:
            self._process = subprocess.Popen(  # noqa: S603 - the benchmark's own command lines
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
            )

    def __repr__(self) -> str:
        return f"<Program {Path(self.argv[0]).name} pid={self._process.pid} ended={self._process.poll()}>"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def printed(self) -> str:
        """The last lines of what it printed."""
        return " / ".join(self.output.read_text(errors="replace").strip().splitlines()[-2:])[-300:]

    def tree(self) -> list[int]:
        """The ids of the program and of all its living descendants."""
        children: dict[int, list[int]] = {}
        for entry in os.listdir("/proc"):  # noqa: PTH208 - names are wanted, and there are hundreds
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    children.setdefault(int(_stat(int(entry))[1]), []).append(int(entry))
        found, at = [self.pid], 0
        while at < len(found):
            found += children.get(found[at], [])
            at += 1
        return found

    def usage(self) -> Usage:
        """CPU time (children that ended and were waited for included) and memory, summed over the tree."""
        pids = self.tree()
        ticks = sum(_ticks(pid) for pid in pids)
        memory = [_memory(pid) for pid in pids]
        return Usage(ticks / TICKS_A_SECOND, sum(x for x, _ in memory), sum(x for _, x in memory), len(pids))

    def send(self, number: signal.Signals) -> None:
        """Send a signal to every process of the tree."""
        for pid in self.tree():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        """End the tree, gently at first."""
        if self.ended:
            return
        pids = self.tree()
        self.send(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            for pid in {*pids, *self.tree()}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait(END_S)

    def await_port(self, port: int, deadline_s: float = 20.0) -> None:
        """Wait until something listens there. Raises StartFailed."""

        def connects() -> bool:
            if self.ended:
                raise StartFailed(f"{Path(self.argv[0]).name} ended at once: {self.printed()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            return False

        if not await_true(connects, deadline_s):
            raise StartFailed(f"nothing listens on port {port} after {deadline_s:g} s: {self.printed()}")


def await_true(look: Callable[[], bool], deadline_s: float) -> bool:
    """Look again and again until it is true or the time is over."""
    end = time.monotonic() + deadline_s
    while not look():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third (state) on: [1] is the parent, [11:15] the four CPU times."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()


def _ticks(pid: int) -> int:
    """User and system time of a process and of its children that ended; 0 when it has ended itself."""
    try:
        return sum(int(each) for each in _stat(pid)[11:15])
    except OSError:
        return 0


def _memory(pid: int) -> tuple[int, int]:
    """Resident and proportional bytes."""
    fields: dict[str, int] = {}
    with contextlib.suppress(OSError):  # it may have ended
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, value, *_ = line.split()
            fields[name] = int(value) * KIB
    return fields.get("Rss:", 0), fields.get("Pss:", 0)
