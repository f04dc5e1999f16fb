"""The load test for deployments passes on a fast gallery behind cutover, and fails on a slow one."""

import importlib.util
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from bench.compare.processes import ROOT, Program, free_port

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("locust") is None,
    reason="the load test's extra is not installed: pip install '.[loadtest]'",
)


def run_load(directory: Path, delay_s: float) -> subprocess.CompletedProcess[str]:
    """Ten seconds of load on cutover, half of the users on a target as slow as this."""
    legacy, target, front = free_port(), free_port(), free_port()
    config = directory / "cutover.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "listen": f"127.0.0.1:{front}",
                "admin": {"listen": f"127.0.0.1:{free_port()}"},
                "legacy": {"url": f"http://127.0.0.1:{legacy}"},
                "target": {"url": f"http://127.0.0.1:{target}"},
                "rollout": {"enabled": True, "percentage": 50},
            }
        )
    )
    gallery = str(Path(__file__).with_name("gallery.py"))
    commands = {
        legacy: [sys.executable, gallery, str(legacy), "0"],
        target: [sys.executable, gallery, str(target), str(delay_s)],
        front: [sys.executable, "-m", "proxy", "run", "-c", str(config)],
    }
    with ExitStack() as stack:
        for port, command in commands.items():
            program = Program(command, cpus=os.sched_getaffinity(0), output=directory / f"{port}.out")
            stack.callback(program.stop)
            program.await_port(port)
        locust = [sys.executable, "-m", "locust", "-f", "deploy/loadtest/locustfile.py", "--headless", "--only-summary"]
        locust += ["--host", f"http://127.0.0.1:{front}", "-u", "60", "-r", "60", "-t", "10s", "--pace", "0.5"]
        locust += ["--get-p95", "300", "--list-p95", "300"]  # whatever else this machine does
        return subprocess.run(locust, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)


def test_the_load_test_passes_on_a_fast_gallery(tmp_path: Path):
    done = run_load(tmp_path, 0.0)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout


def test_the_load_test_fails_on_a_slow_target(tmp_path: Path):
    done = run_load(tmp_path, 0.6)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAIL  get p95" in done.stdout
