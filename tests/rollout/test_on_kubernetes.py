"""A rollout by way of a ConfigMap, as processes: a real sidecar and controller; API server and kubelet are played."""

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from proxy.rollout.journal import Journal, JournalError
from proxy.rollout.status import read_status
from tests.e2e.conftest import StartServer, StartSidecar
from tests.e2e.sidecar import OPERATIONS, Sidecar, command, config, eventually, write_config
from tests.rollout.test_end_to_end import WAIVED, Users


class Cluster:
    """One ConfigMap of the API server, and the directory that a kubelet makes of it, when it is told to."""

    def __init__(self, directory: Path) -> None:
        self.data = {"percentage": "0", "enabled": "false"}
        self.version = 1
        self.directory = directory
        self.account = directory / "account"
        self.account.mkdir()
        (self.account / "token").write_text("a-token")
        (self.account / "namespace").write_text("gallery")
        self.pod = directory / "pod"
        self.pod.mkdir()
        self.syncs = 0
        self.sync()
        (self.pod / "rollout").symlink_to("..data/rollout")
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                assert self.path == "/api/v1/namespaces/gallery/configmaps/cutover-rollout"
                assert self.headers["Authorization"] == "Bearer a-token"
                answer = {"metadata": {"resourceVersion": str(cluster.version)}, "data": cluster.data}
                body = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_PATCH(self) -> None:
                wish = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert wish["metadata"]["resourceVersion"] == str(cluster.version)
                cluster.data = {**cluster.data, **wish["data"]}
                cluster.version += 1
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def sync(self) -> None:
        """What a kubelet does once a minute: the new version beside the old one, then one link is replaced."""
        self.syncs += 1
        version = self.pod / f"..{self.syncs}"
        (version / "rollout").mkdir(parents=True)
        for key, value in self.data.items():
            (version / "rollout" / key).write_text(value)
        link = self.pod / "..next"
        link.symlink_to(version.name)
        link.rename(self.pod / "..data")

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    opened = Cluster(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def sidecar(cluster: Cluster, lasting: tuple[StartServer, StartSidecar]) -> Iterator[Sidecar]:
    start_server, _ = lasting
    files = {"enabled": "${file:rollout/enabled}", "percentage": "${file:rollout/percentage}"}
    operations = [operation for operation in OPERATIONS if operation.get("route") != "target"]
    said = config(start_server("legacy").url, start_server("target").url, rollout=files, operations=operations)
    started = Sidecar(write_config(cluster.pod / "cutover.yaml", said))
    yield started
    started.stop()


def plan(cluster: Cluster, sidecar: Sidecar) -> dict[str, Any]:
    place = {
        "name": "cutover-rollout",
        "sidecars": f"http://{sidecar.admin}",
        "api": f"http://127.0.0.1:{cluster.server.server_port}",
        "account": str(cluster.account),
    }
    return {
        "stages": [{"percentage": 50, "hold": "60s"}, {"percentage": 100, "hold": "60s"}],
        "interval": "300ms",
        "settle": "500ms",
        "window": "1s",
        "observe": {"sidecars": [f"http://{sidecar.admin}"]},
        "apply": {"configmap": place},
        "journal": str(cluster.directory / "rollout.db"),
        "checks": [
            {"name": "get p95", "operation": "get", "quantile": 0.95, "below": "1s"},
            {"name": "target errors", "source": "target", "error_ratio_below": 0.05, "hard_limit": 0.2},
        ],
    }


def in_force(sidecar: Sidecar) -> tuple[int, bool, bool]:
    """Percentage, enabled, and whether by an override."""
    status = sidecar.ask_admin("GET", "/status").json()
    return status["percentage"], status["enabled"], status["override"] is not None


def test_forward_it_waits_for_the_kubelet_and_back_it_does_not(cluster: Cluster, sidecar: Sidecar) -> None:
    file = write_config(cluster.directory / "plan.yaml", plan(cluster, sidecar))
    start = command("rollout", "start", str(file), "--once", *WAIVED)
    users = Users(sidecar.address)
    users.start()
    controller = subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert eventually(lambda: cluster.data == {"percentage": "50", "enabled": "true"}, 20)
        assert phase_of(cluster, "settling")
        assert in_force(sidecar) == (0, False, False), "the kubelet has not brought it yet"
        cluster.sync()
        assert phase_of(cluster, "judging")
        assert in_force(sidecar) == (50, True, False)
        users.fault = "status:503"
        assert phase_of(cluster, "rolled_back")
        assert in_force(sidecar) == (0, False, True), "in force, though the file still says 50"
        assert cluster.data == {"percentage": "0", "enabled": "false"}
        cluster.sync()
        assert eventually(lambda: in_force(sidecar) == (0, False, False), 10), "the file leads again"
        assert controller.poll() is None, "it stays, so that nobody starts it again"
        controller.send_signal(signal.SIGTERM)
        assert controller.wait(20) == 1
        again = subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert again.stdout is not None
        assert again.stdout.readline().startswith("rolled_back: over")
        again.terminate()
        again.communicate(timeout=20)
        assert cluster.version == 3, "one step forward, one back, and nothing since"
        assert all(code == 200 for _, _, _, code in users.answers), "nobody saw an error"
    finally:
        users.stop()
        controller.kill()
        controller.communicate()


def phase_of(cluster: Cluster, wanted: str) -> bool:
    def look() -> bool:
        try:
            with Journal(cluster.directory / "rollout.db", create=False) as journal:
                return bool(read_status(journal)["phase"] == wanted)
        except JournalError:
            return False

    return bool(eventually(look, 20))
