"""How many workers `workers: auto` means: the CPUs that this program may really use."""

import math
import os
from pathlib import Path
from typing import Final, Literal

_CGROUP_ROOT: Final = Path("/sys/fs/cgroup")
_OWN_CGROUPS: Final = Path("/proc/self/cgroup")


def worker_count(configured: int | Literal["auto"]) -> int:
    """The number of worker processes."""
    return available_cpus() if configured == "auto" else configured


def available_cpus(root: Path = _CGROUP_ROOT, own: Path = _OWN_CGROUPS) -> int:
    """The CPUs of the affinity mask, or fewer under a CPU quota (rounded down), at least 1."""
    cpus = float(len(os.sched_getaffinity(0)))
    for quota in _quotas(root, own):
        cpus = min(cpus, quota)
    return max(1, math.floor(cpus))


def _quotas(root: Path, own: Path) -> list[float]:
    """The quotas, in CPUs, of this process's cgroup and those around it, of both versions."""
    found: list[float | None] = []
    for line in _text(own).splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if not controllers:
            found += [_quota_v2(place) for place in _upwards(root, path)]
        elif "cpu" in controllers.split(","):
            found += [_quota_v1(place) for place in _upwards(root / controllers, path) + _upwards(root / "cpu", path)]
    return [quota for quota in found if quota is not None]


def _quota_v2(place: Path) -> float | None:
    quota, _, period = _text(place / "cpu.max").partition(" ")
    return _quota(quota, period)


def _quota_v1(place: Path) -> float | None:
    return _quota(_text(place / "cpu.cfs_quota_us"), _text(place / "cpu.cfs_period_us"))


def _upwards(root: Path, path: str) -> list[Path]:
    """From the cgroup up to the root; inside a container the path may be seen from outside, and the root be ours."""
    place = root / path.strip("/")
    return [place, *(parent for parent in place.parents if parent.is_relative_to(root))]


def _quota(quota: str, period: str) -> float | None:
    try:
        limit = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None  # `max`, or there is no such file
    return limit if limit > 0 else None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
