"""The end of a program, and the beginning of the next on the same sockets (contract section 9, systemd)."""

import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import StartServer, StartSidecar
from tests.e2e.load import Load
from tests.e2e.passing import PassedSocket, start_with
from tests.e2e.sidecar import Sidecar, config, eventually, write_config
from tests.e2e.test_failures import does
from tests.e2e.wire import Wire, request


@pytest.fixture
def load() -> Iterator[Load]:
    with Load(clients=8) as made:
        yield made


def test_the_next_program_takes_over_the_socket_under_load_without_losing_a_request(load: Load, tmp_path: Path) -> None:
    settings = config(load.url("legacy"), load.url("target"), workers=2, logging={"access": "off"})
    file = write_config(tmp_path / "c.yaml", settings)
    with PassedSocket() as passed:
        running = passed.start(file)
        try:
            assert running.address == passed.address
            load.start(passed.address)
            for _ in range(2):
                following = passed.start(file)
                running.signal(signal.SIGTERM)
                assert running.wait() == 0
                running.stop()
                running = following
                time.sleep(0.2)
            tally = load.stop()
        finally:
            running.stop()
    assert tally.failures == []
    assert tally.requests > 500
    assert tally.reconnects >= 16


def test_sockets_passed_by_name_are_the_admin_ports_and_the_workers(load: Load, tmp_path: Path) -> None:
    file = write_config(tmp_path / "c.yaml", config(load.url("legacy"), load.url("target"), workers=2))
    with PassedSocket() as one, PassedSocket() as admin, PassedSocket() as two:
        names = {"LISTEN_FDNAMES": "web:admin:web"}
        sidecar = start_with([one.sock, admin.sock, two.sock], file, names)
        try:
            assert sidecar.admin == admin.address
            for address in (one.address, two.address):
                sidecar.address = address
                assert sidecar.ask("GET", "/images/1", {"X-User-Id": "u"}).status == 200
            assert len(sidecar.workers()) == 2
        finally:
            sidecar.stop()


def test_without_a_token_an_admin_socket_that_others_can_reach_takes_no_change(load: Load, tmp_path: Path) -> None:
    file = write_config(tmp_path / "c.yaml", config(load.url("legacy"), load.url("target")))
    with PassedSocket() as one, socket.create_server(("0.0.0.0", 0)) as admin:
        sidecar = start_with([one.sock, admin], file, {"LISTEN_FDNAMES": "web:admin"})
        try:
            sidecar.admin = f"127.0.0.1:{admin.getsockname()[1]}"
            assert sidecar.ask_admin("POST", "/rollback").status == 403
        finally:
            sidecar.stop()


def test_a_drain_waits_for_its_delay_while_every_worker_still_accepts(load: Load, start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(
        config(
            load.url("legacy"), load.url("target"), workers=2, limits={"drain_delay": "1s"}, logging={"access": "off"}
        )
    )
    load.start(sidecar.address)
    began = time.monotonic()
    sidecar.signal(signal.SIGTERM)
    assert eventually(lambda: sidecar.ask_admin("GET", "/readyz").status == 503)
    assert sidecar.ask_admin("GET", "/healthz").status == 200
    while time.monotonic() - began < 0.8:
        assert sidecar.ask("GET", "/images/1", {"X-User-Id": "u"}).status == 200
    load.stop()
    assert load.tally.failures == []
    assert sidecar.wait() == 0
    assert time.monotonic() - began < 5


def test_a_second_signal_ends_at_once_with_exit_1(start_server: StartServer, start_sidecar: StartSidecar) -> None:
    target = start_server("target")
    sidecar = start_sidecar(config(target.url, target.url, target={"timeout": "60s"}))
    with Wire(sidecar.address) as wire:
        wire.send(request("GET", "/images/1", does("black-hole")))
        assert eventually(lambda: len(target.seen) == 1)
        sidecar.signal(signal.SIGTERM)
        assert eventually(lambda: sidecar.events("draining"))
        time.sleep(0.3)
        assert sidecar.process.poll() is None
        sidecar.signal(signal.SIGINT)
        assert sidecar.wait(3) == 1
    assert [line["event"] for line in sidecar.log()][-1] == "stopped"


def test_idle_connections_of_a_worker_that_is_replaced_have_the_time_of_a_drain(
    load: Load, start_sidecar: StartSidecar
) -> None:
    sidecar = start_sidecar(config(load.url("legacy"), load.url("target")))
    with Wire(sidecar.address) as patient:
        assert patient.ask("GET", "/images/1", {"X-User-Id": "u"}).status == 200
        before = sidecar.workers()
        sidecar.signal(signal.SIGUSR2)
        assert eventually(lambda: sidecar.events("worker_started"))
        time.sleep(1.5)
        assert set(before) < set(sidecar.workers()), "the old one waits for its client"
        answer = patient.ask("GET", "/images/1", {"X-User-Id": "u"})
        assert (answer.status, answer["Connection"]) == (200, "close")
    assert eventually(lambda: set(before).isdisjoint(sidecar.workers()))


class ServiceManager:
    """What systemd is for a service of `Type=notify`."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "notify"
        self.messages: list[str] = []
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(str(self.path))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while message := self._sock.recv(4096):
            self.messages.append(message.decode())

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", str(self.path))
        self._thread.join(5)
        self._sock.close()


def test_systemd_hears_of_readiness_reloads_life_and_the_end(load: Load, tmp_path: Path) -> None:
    manager = ServiceManager(tmp_path)
    file = write_config(tmp_path / "c.yaml", config(load.url("legacy"), load.url("target"), workers=2))
    env = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "400000"}
    sidecar = Sidecar(file, env)
    try:
        assert eventually(lambda: "READY=1" in manager.messages)
        before_reload = len(manager.messages)
        sidecar.signal(signal.SIGHUP)
        assert eventually(lambda: manager.messages[before_reload:].count("READY=1") == 1)
        reloading = [line for line in manager.messages if line.startswith("RELOADING=1\nMONOTONIC_USEC=")]
        assert len(reloading) == 1
        assert eventually(lambda: manager.messages.count("WATCHDOG=1") >= 4, 3)
        sidecar.signal(signal.SIGTERM)
        assert sidecar.wait() == 0
        assert eventually(lambda: "STOPPING=1" in manager.messages)
    finally:
        sidecar.stop()
        manager.close()
