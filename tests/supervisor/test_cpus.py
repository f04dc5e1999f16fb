"""What `workers: auto` means."""

import os
from pathlib import Path

import pytest

from proxy.supervisor.cpus import available_cpus, worker_count


@pytest.fixture
def many_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(16)))


def made(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("own", "files", "cpus"),
    [
        ("0::/\n", {}, 16),
        ("0::/\n", {"cpu.max": "max 100000"}, 16),
        ("0::/\n", {"cpu.max": "200000 100000"}, 2),
        ("0::/\n", {"cpu.max": "250000 100000"}, 2),
        ("0::/\n", {"cpu.max": "50000 100000"}, 1),
        ("0::/pod/one\n", {"pod/one/cpu.max": "max 100000", "pod/cpu.max": "300000 100000"}, 3),
        ("0::/seen/from/outside\n", {"cpu.max": "400000 100000"}, 4),
        (
            "4:cpu,cpuacct:/a\n",
            {"cpu,cpuacct/a/cpu.cfs_quota_us": "300000", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"},
            3,
        ),
        ("4:cpu:/a\n", {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"}, 16),
        ("4:memory:/a\n0::/\n", {"cpu.max": "nonsense"}, 16),
    ],
)
@pytest.mark.usefixtures("many_cpus")
def test_a_cpu_quota_of_either_version_counts(tmp_path: Path, own: str, files: dict[str, str], cpus: int) -> None:
    (tmp_path / "own").write_text(own)
    assert available_cpus(made(tmp_path / "root", files), tmp_path / "own") == cpus


@pytest.mark.usefixtures("many_cpus")
def test_without_any_cgroup_the_affinity_counts(tmp_path: Path) -> None:
    assert available_cpus(tmp_path / "none", tmp_path / "none") == 16


def test_a_number_is_that_number() -> None:
    assert worker_count(7) == 7
    assert worker_count("auto") >= 1
