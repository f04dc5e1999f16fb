"""The program's own use of the machine, in the usual `process_*` metrics: all of its processes together.

Reads /proc. Neighbour: `exposition` registers it beside our own families.
"""

import os
import resource
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_PROC: Final = Path("/proc")
_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
# Where /proc/PID/stat has its values, counted from the state that follows the name.
_UTIME, _STIME, _START, _VSIZE, _RSS = 11, 12, 19, 20, 21


class ProcessTree(Collector):
    """This process and those that `pids` names, its children."""

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self._pids = pids
        self._cpu_s = 0.0

    def __repr__(self) -> str:
        return f"<ProcessTree cpu_s={self._cpu_s:.2f}>"

    def describe(self) -> Iterable[Metric]:
        """Nothing: spares a collection at registration."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The sums; a process that has just ended counts with what the kernel kept of it."""
        stats = [stat for pid in (os.getpid(), *self._pids()) if (stat := _stat(pid)) is not None]
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        ticks = sum(stat[_UTIME] + stat[_STIME] for stat in stats)
        cpu_s = ticks / _TICKS_A_SECOND + ended.ru_utime + ended.ru_stime
        self._cpu_s = max(self._cpu_s, cpu_s)  # between an end and its reaping a process is in neither
        yield CounterMetricFamily(
            "process_cpu_seconds", "User and system CPU time of all processes.", value=self._cpu_s
        )
        yield _gauge("process_resident_memory_bytes", "Resident memory.", sum(s[_RSS] for s in stats) * _PAGE_BYTES)
        yield _gauge("process_virtual_memory_bytes", "Virtual memory.", sum(s[_VSIZE] for s in stats))
        yield _gauge("process_open_fds", "Open file descriptors.", sum(map(_descriptors, (os.getpid(), *self._pids()))))
        yield _gauge("process_max_fds", "Open files that each process may have.", _most_descriptors())
        if stats:
            started = _boot_time() + stats[0][_START] / _TICKS_A_SECOND
            yield _gauge("process_start_time_seconds", "When the program was started, since the epoch.", started)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _stat(pid: int) -> list[int] | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    values = text.rpartition(")")[2].split()  # the name in front may hold anything
    return [0, *map(int, values[1:])]


def _descriptors(pid: int) -> int:
    try:
        return len(os.listdir(_PROC / str(pid) / "fd"))  # noqa: PTH208 - no Path objects for what is only counted
    except OSError:
        return 0


def _most_descriptors() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _boot_time() -> float:
    for line in (_PROC / "stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return 0.0
