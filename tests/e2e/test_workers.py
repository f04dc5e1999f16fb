"""Several worker processes behind one port and one admin port: figures, deaths, hangs, renewal."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import StartServer, StartSidecar
from tests.e2e.load import Load
from tests.e2e.sidecar import ROOT, Sample, Sidecar, children, command, config, eventually, write_config
from tests.e2e.wire import ask

SECOND_S = 1.2  # a heartbeat and some


@pytest.fixture
def load() -> Iterator[Load]:
    with Load(clients=8) as made:
        yield made


def settings(load: Load, workers: int = 2, **changes: Any) -> dict[str, Any]:
    return config(load.url("legacy"), load.url("target"), workers=workers, logging={"access": "off"}, **changes)


def counters(sample: Sample) -> dict[Any, float]:
    return {
        key: value for key, value in sample.values.items() if key[0].endswith(("_total", "_bucket", "_count", "_sum"))
    }


def assert_none_went_back(before: Sample, after: Sample) -> None:
    later = counters(after)
    gone_back = {
        key: (value, later.get(key)) for key, value in counters(before).items() if later.get(key, -1.0) < value
    }
    assert gone_back == {}


def died(sidecar: Sidecar) -> list[dict[str, Any]]:
    return sidecar.events("worker_died")


def test_all_workers_share_one_port_and_one_admin_port(load: Load, start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(settings(load, 3))
    status = sidecar.ask_admin("GET", "/status").json()
    pids = [worker["pid"] for worker in status["workers"]]
    assert sorted(pids) == sorted(children(sidecar.process.pid))
    assert [worker["worker"] for worker in status["workers"]] == [0, 1, 2]
    assert {worker["state"] for worker in status["workers"]} == {"serving"}
    for _ in range(90):
        assert sidecar.ask("GET", "/images/1", {"X-User-Id": "u"}).status == 200
    metrics = sidecar.metrics()
    assert metrics.total("cutover_requests_total") == 90
    assert metrics.total("cutover_config_info") == 1
    assert metrics.total("cutover_config_reloads_total", result="applied") == 1
    status = sidecar.ask_admin("GET", "/status").json()
    assert status["sources"]["image_service"]["get"]["1m"]["requests"] == 90
    assert len(sidecar.events("started")) == 1
    assert sidecar.events("started")[0]["workers"] == 3
    assert metrics.total("process_resident_memory_bytes") > 100e6


def test_no_counter_goes_back_when_a_worker_is_killed_under_load(load: Load, start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(settings(load))
    load.start(sidecar.address)
    time.sleep(SECOND_S)
    for _ in range(3):
        before = sidecar.metrics()
        os.kill(sidecar.workers()[0], signal.SIGKILL)
        for _ in range(10):
            after = sidecar.metrics()
            assert_none_went_back(before, after)
            before = after
            time.sleep(0.05)
        assert eventually(lambda: len(sidecar.workers()) == 2)
    load.running = False
    assert len(died(sidecar)) == 3
    assert {line["signal"] for line in died(sidecar)} == {9}
    assert all(line["pid"] > 0 for line in died(sidecar))
    assert eventually(lambda: sidecar.events("worker_started"))
    assert before.total("cutover_requests_total") > 100


def test_the_others_serve_on_and_a_dead_worker_is_replaced_in_its_slot(load: Load, start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(settings(load))
    before = sidecar.workers()
    os.kill(before[0], signal.SIGKILL)
    for _ in range(40):  # those that fall to the empty slot wait in its backlog
        assert sidecar.ask("GET", "/images/1", {"X-User-Id": "u"}).status == 200
    assert eventually(lambda: len(sidecar.workers()) == 2)
    assert before[1] in sidecar.workers()
    assert before[0] not in sidecar.workers()
    assert sidecar.ask_admin("GET", "/readyz").status == 200


def test_a_worker_that_hangs_is_killed_and_replaced(load: Load, start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(settings(load))
    hung = sidecar.workers()[1]
    os.kill(hung, signal.SIGSTOP)
    began = time.monotonic()
    assert sidecar.ask_admin("GET", "/metrics").status == 200
    assert time.monotonic() - began < 2
    assert eventually(lambda: died(sidecar), 12)
    assert 3.5 < time.monotonic() - began < 9
    assert died(sidecar)[0]["pid"] == hung
    assert "hung" in died(sidecar)[0]["why"]
    assert eventually(lambda: len(set(sidecar.workers()) - {hung}) == 2)


def test_a_supervisor_that_was_stopped_for_a_while_kills_nobody(load: Load, start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(settings(load))
    before = sidecar.workers()
    sidecar.signal(signal.SIGSTOP)
    time.sleep(5.7)
    assert sidecar.ask("GET", "/images/1", {"X-User-Id": "u"}).status == 200
    sidecar.signal(signal.SIGCONT)
    time.sleep(SECOND_S)
    assert sorted(sidecar.workers()) == sorted(before)
    assert died(sidecar) == []


def test_a_terminals_ctrl_c_and_hangup_are_the_supervisors_business(load: Load, start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(settings(load))
    before = sidecar.workers()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        for worker in before:
            os.kill(worker, number)
    time.sleep(0.5)
    assert sidecar.workers() == before


def test_a_worker_that_is_told_to_end_is_replaced_and_no_request_fails(load: Load, start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(settings(load))
    load.start(sidecar.address)
    first = sidecar.workers()[0]
    os.kill(first, signal.SIGTERM)
    assert eventually(lambda: first not in sidecar.workers())
    assert load.stop().failures == []
    assert died(sidecar) == []


def test_workers_renewed_under_load_lose_no_request(load: Load, start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(settings(load))
    load.start(sidecar.address)
    metrics = sidecar.metrics()
    for _ in range(2):
        before = set(sidecar.workers())
        sidecar.signal(signal.SIGUSR2)
        assert eventually(lambda before=before: len(now := sidecar.workers()) == 2 and before.isdisjoint(now), 20)  # type: ignore[misc]
        after = sidecar.metrics()
        assert_none_went_back(metrics, after)
        metrics = after
    tally = load.stop()
    assert tally.failures == []
    assert tally.requests > 500
    assert eventually(lambda: sidecar.metrics().total("cutover_requests_total") == tally.requests)
    assert died(sidecar) == []


def test_workers_drain_and_end_when_their_supervisor_is_killed(load: Load, start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(settings(load))
    workers = sidecar.workers()
    sidecar.process.kill()
    assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 10)
    with pytest.raises(OSError):
        sidecar.ask("GET", "/images/1")


def test_a_port_that_somebody_else_would_share_is_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        file = write_config(
            tmp_path / "c.yaml", config("http://127.0.0.1:1", "http://127.0.0.1:1", listen=address, workers=2)
        )
        ended = subprocess.run(
            command("run", "-c", str(file)), cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
        )
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert address in ended.stderr


def test_workers_share_a_unix_socket(load: Load, start_sidecar: StartSidecar, tmp_path: Path) -> None:
    sidecar = start_sidecar(settings(load, listen=f"unix:{tmp_path / 's'}"))
    for _ in range(20):
        assert sidecar.ask("GET", "/images/1", {"X-User-Id": "u"}).status == 200
    assert len(sidecar.workers()) == 2


_AS_PROCESS_1 = """
import os, subprocess, sys, time
# an orphan for process 1 to reap
subprocess.Popen(["sh", "-c", "sleep 0.3 & exec true"]).wait()
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.skipif(os.getuid() != 0, reason="a process namespace needs root")
def test_as_process_1_of_a_container_it_reaps_orphans_and_ends_on_sigterm(
    start_server: StartServer, tmp_path: Path
) -> None:
    if subprocess.run(["unshare", "-pf", "--mount-proc", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no process namespace can be made here")
    upstream = start_server("legacy")
    listen, admin = tmp_path / "listen", tmp_path / "admin"
    file = write_config(
        tmp_path / "c.yaml",
        config(upstream.url, upstream.url, listen=f"unix:{listen}", admin={"listen": f"unix:{admin}"}, workers=2),
    )
    inside = [sys.executable, "-c", _AS_PROCESS_1, *command("run", "-c", str(file))]
    with subprocess.Popen(["unshare", "-pf", "--mount-proc", *inside], cwd=ROOT, stdout=subprocess.PIPE) as outside:
        try:
            eventually(lambda: admin.exists() and ask(f"unix:{admin}", "GET", "/readyz").status == 200, 20)
            assert ask(f"unix:{listen}", "GET", "/images/1", {"X-User-Id": "u"}).status == 200
            first = children(outside.pid)[0]
            one = ask(f"unix:{admin}", "GET", "/status").json()["workers"][0]["pid"]
            assert one < 100, "a process id of the namespace"
            assert eventually(lambda: len(children(first)) == 2), "the orphan is still there"
            os.kill(children(first)[0], signal.SIGKILL)
            assert eventually(lambda: len(ask(f"unix:{admin}", "GET", "/status").json()["workers"]) == 2)
            os.kill(first, signal.SIGTERM)
            assert outside.wait(15) == 0
        finally:
            outside.kill()
