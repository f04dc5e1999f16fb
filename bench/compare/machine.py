"""Which CPUs do what, and what machine this is."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Pinning:
    """The CPUs of the proxy, of the load with the upstreams, and of a proxy with two workers."""

    proxy: frozenset[int]
    load: frozenset[int]
    pair: frozenset[int]
    cores: int

    def __str__(self) -> str:
        proxy, load, pair = _listed(self.proxy), _listed(self.load), _listed(self.pair)
        return f"proxy on CPU {proxy}, load and upstreams on CPU {load}, two workers on CPU {pair}"


def choose_pinning() -> Pinning:
    """The first CPU for the proxy and the second for the rest; a third one joins the first for two workers."""
    cpus = sorted(os.sched_getaffinity(0))
    first, second, *others = cpus if len(cpus) > 1 else cpus * 2
    return Pinning(frozenset({first}), frozenset({second}), frozenset({first, *others[:1]}), len(cpus))


def machine_facts(pinning: Pinning) -> dict[str, str | int]:
    """What a reader of the figures wants to know of the machine."""
    model = _value("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()
    total_kib = int((_value("/proc/meminfo", "MemTotal") or "0 kB").split()[0])
    return {
        "cpu": model,
        "cores": pinning.cores,
        "memory_gib": round(total_kib / 1024**2),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "pinning": str(pinning),
    }


def _value(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _listed(cpus: frozenset[int]) -> str:
    return " and ".join(map(str, sorted(cpus)))
