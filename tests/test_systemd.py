"""What systemd passes and hears, without a process of ours."""

import os
import socket
from pathlib import Path

import pytest

from proxy import systemd
from proxy.systemd import Notifier, take_sockets


def test_without_systemd_nothing_is_taken_and_nobody_is_told() -> None:
    env: dict[str, str] = {}
    assert take_sockets(env) == []
    notifier = Notifier(env)
    notifier.ready()
    notifier.alive()
    assert notifier.watchdog_every_s is None
    assert repr(notifier) == "<Notifier 'of nobody' watchdog_every_s=None>"


def test_sockets_for_another_process_are_left_and_the_variables_removed() -> None:
    env = {"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "web", "KEPT": "yes"}
    assert take_sockets(env) == []
    assert env == {"KEPT": "yes"}


def test_passed_sockets_have_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        first = os.dup(one.fileno())
        second = os.dup2(two.fileno(), first + 1)
        monkeypatch.setattr(systemd, "_FIRST_DESCRIPTOR", first)
        env = {"LISTEN_FDS": "2", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "web"}
        taken = take_sockets(env)
        assert [(name, sock.getsockname()) for name, sock in taken] == [
            ("web", one.getsockname()),
            ("", two.getsockname()),
        ]
        assert [sock.get_inheritable() for _, sock in taken] == [False, False]
        assert second == first + 1
        for _, sock in taken:
            sock.close()


def test_a_descriptor_that_does_not_listen_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        copy = os.dup(ours.fileno())
        monkeypatch.setattr(systemd, "_FIRST_DESCRIPTOR", copy)
        with pytest.raises(OSError, match="not a listening stream socket"):
            take_sockets({"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())})


@pytest.mark.parametrize("abstract", [False, True])
def test_the_manager_is_told_on_its_socket(tmp_path: Path, abstract: bool) -> None:
    address = f"@cutover-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    env = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace("@", "\0"))
        notifier = Notifier(env)
        notifier.ready()
        notifier.reloading()
        notifier.stopping()
        notifier.alive()
        heard = [manager.recv(200).decode() for _ in range(4)]
    assert heard[0] == "READY=1"
    assert heard[1].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert heard[2:] == ["STOPPING=1", "WATCHDOG=1"]
    assert notifier.watchdog_every_s == 1.5
    assert env == {}
    notifier.alive()  # the manager is gone: no harm


def test_a_watchdog_for_another_process_is_not_ours() -> None:
    assert Notifier({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}).watchdog_every_s is None
