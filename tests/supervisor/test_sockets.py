"""The listening sockets of the slots."""

import errno
import socket
from pathlib import Path

import pytest

from proxy.settings.addresses import TcpAddress, UnixAddress
from proxy.supervisor.sockets import address_of, open_sockets, share_inherited

ANY = TcpAddress("127.0.0.1", 0)


def test_all_slots_have_a_socket_of_their_own_on_one_port() -> None:
    sockets = open_sockets(ANY, 3, 16)
    try:
        assert len(set(sockets.slots)) == 3
        assert {address_of(sock) for sock in sockets.slots} == {sockets.address}
        assert all(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for sock in sockets.slots)
    finally:
        sockets.close()


def test_one_slot_needs_no_shared_port() -> None:
    sockets = open_sockets(ANY, 1, 16)
    try:
        assert sockets.slots[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0
        assert sockets.slots[0].getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    finally:
        sockets.close()


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("shared", [False, True])
def test_a_port_that_anybody_else_listens_on_is_taken_even_if_he_would_share_it(slots: int, shared: bool) -> None:
    with socket.socket() as other:
        if shared:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError) as failure:
            open_sockets(TcpAddress("127.0.0.1", other.getsockname()[1]), slots, 16)
    assert failure.value.errno == errno.EADDRINUSE


def test_a_unix_socket_is_shared_by_all_and_goes_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "s"
    sockets = open_sockets(UnixAddress(str(path)), 3, 16)
    assert len(set(sockets.slots)) == 1
    assert sockets.address == f"unix:{path}"
    sockets.close()
    sockets.close()
    assert not path.exists()


def test_a_unix_socket_that_another_program_has_put_in_its_place_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = open_sockets(UnixAddress(str(path)), 1, 16)
    path.unlink()
    second = open_sockets(UnixAddress(str(path)), 1, 16)
    first.close()
    assert path.exists()
    second.close()


def test_inherited_sockets_are_spread_over_the_slots() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        assert share_inherited([one], 3).slots == (one, one, one)
        assert share_inherited([one, two], 2).slots == (one, two)
        assert share_inherited([one, two], 1).slots == (one, two)
        assert not one.getblocking()
