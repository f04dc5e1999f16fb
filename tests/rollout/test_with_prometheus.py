"""A rollout that sees its sidecar by way of a real Prometheus: GO, then NO_GO, and a HOLD once Prometheus is gone."""

import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.rollout.journal import Journal, JournalError
from proxy.rollout.status import read_status
from proxy.settings.edit import edit_rollout
from tests.deploy.monitored import Prometheus
from tests.e2e.conftest import StartServer, StartSidecar
from tests.e2e.sidecar import Sidecar, command, config, eventually, write_config
from tests.e2e.wire import ask as ask_once

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not there (Debian: apt-get install prometheus)"
)


class Users:
    """They never stop; `fault` is what the target is asked to do."""

    def __init__(self, address: str) -> None:
        self.fault = "answer"
        self._address = address
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join(10)

    def _run(self) -> None:
        number = 0
        while not self._end.wait(0.01):
            number += 1
            fields = {"X-User-Id": f"user-{number}", "X-Target-Does": self.fault, "X-Legacy-Does": "answer"}
            try:
                ask_once(self._address, "GET", "/images/1", fields)
            except OSError:
                continue


@pytest.fixture(scope="module")
def watched(
    lasting: tuple[StartServer, StartSidecar], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Sidecar, Users, Prometheus]]:
    start_server, start_sidecar = lasting
    idle = {"enabled": False, "percentage": 0}
    sidecar = start_sidecar(config(start_server("legacy").url, start_server("target").url, rollout=idle))
    users = Users(sidecar.address)
    prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), {"cutover": sidecar.admin})
    yield sidecar, users, prometheus
    users.stop()
    prometheus.stop()


def start(directory: Path, sidecar: Sidecar, prometheus: Prometheus) -> subprocess.Popen[str]:
    plan: dict[str, Any] = {
        "stages": [{"percentage": 50, "hold": "60s"}],
        "interval": "1s",
        "settle": "3s",
        "window": "10s",
        "observe": {"prometheus": f"http://127.0.0.1:{prometheus._port}", "selector": 'job="cutover"'},
        "apply": {"file": str(sidecar.file)},
        "journal": str(directory / "rollout.db"),
        "checks": [
            {"name": "get p95", "operation": "get", "quantile": 0.95, "below": "1s"},
            {"name": "target errors", "source": "target", "error_ratio_below": 0.05, "hard_limit": 0.2},
            {"name": "sidecars", "promql": 'sum(up{job="cutover"})', "above": 0},
        ],
    }
    words = command(
        "rollout", "start", str(write_config(directory / "plan.yaml", plan)), "--no-owner", "--no-rehearsal"
    )
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_it_goes_holds_without_prometheus_and_goes_back_with_it(
    watched: tuple[Sidecar, Users, Prometheus], tmp_path: Path
) -> None:
    sidecar, users, prometheus = watched
    edit_rollout(sidecar.file, {}, percentage=0, enabled=False)

    def status() -> dict[str, Any]:
        try:
            with Journal(tmp_path / "rollout.db", create=False) as journal:
                return read_status(journal)
        except JournalError:
            return {"verdict": "", "phase": "", "why": "", "checks": []}

    process = start(tmp_path, sidecar, prometheus)
    try:
        eventually(lambda: status()["verdict"] == "GO", 60)
        assert {check["verdict"] for check in status()["checks"]} == {"GO"}
        assert status()["checks"][1]["samples"] > 0
        prometheus._process.send_signal(signal.SIGSTOP)  # it hangs
        eventually(lambda: status()["verdict"] == "HOLD" and "in time" in status()["why"], 30)
        prometheus._process.send_signal(signal.SIGCONT)
        eventually(lambda: status()["verdict"] == "GO", 60)
        users.fault = "status:503"
        assert process.wait(30) == 1
        assert status()["phase"] == "rolled_back"
        assert "target errors: beyond the hard limit" in status()["why"]
    finally:
        process.kill()
        process.communicate()
