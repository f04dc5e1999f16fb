"""Connecting over real sockets, and how long it may take."""

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from proxy.core.model import FailureKind
from proxy.net.connector import ConnectFailed, Connector, _Patience
from proxy.settings.addresses import parse_upstream


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as sock:
        yield sock


def connector(listener: socket.socket, timeout_s: float) -> Connector:
    url = parse_upstream(f"http://127.0.0.1:{listener.getsockname()[1]}")
    return Connector(url, timeout_s, time.monotonic)


class HangsUp(asyncio.Protocol):
    """Closes as soon as it is connected."""

    made = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made = True
        transport.close()


async def test_a_connection_made_while_the_process_paused_is_not_given_up(listener):
    """The timer is due before the loop has looked at the socket, which was connected long ago."""
    opening = asyncio.ensure_future(connector(listener, 0.05).open(HangsUp))
    for _ in range(3):  # until it waits for the connection
        await asyncio.sleep(0)
    time.sleep(0.2)  # noqa: ASYNC251 - the pause
    assert (await opening).made


async def test_a_peer_that_does_not_answer_is_given_up_in_time(listener):
    full = []
    for _ in range(4):  # a backlog of one takes two; what comes after that gets no answer
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(listener.getsockname())
        full.append(sock)
    start = time.monotonic()
    with pytest.raises(ConnectFailed) as failed:
        await connector(listener, 0.1).open(asyncio.Protocol)
    assert failed.value.kind is FailureKind.CONNECT_ERROR
    assert "too long" in str(failed.value)
    assert 0.1 <= time.monotonic() - start < 0.6
    for sock in full:
        sock.close()


async def test_a_loop_that_is_always_late_gives_up_all_the_same():
    """One more look at the sockets, not one after another."""
    ended = []

    class Scope:
        def reschedule(self, when: float) -> None:
            ended.append(when)

    patience = _Patience(Scope(), 60.0)  # type: ignore[arg-type]
    patience._due -= 100.0  # the loop is 40 s late, now and the next time
    patience.end()
    patience._pass()
    assert ended == []
    patience.end()
    patience._pass()
    assert len(ended) == 1


V4, V6 = socket.AF_INET, socket.AF_INET6
HERE_V6 = (V6, "::1")


def names(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[int, str]) -> None:
    """Let every name mean these addresses, in this order."""

    async def getaddrinfo(host: str, port: int, **_: object) -> list[Any]:
        return [
            (family, socket.SOCK_STREAM, 6, "", (address, port) if family == V4 else (address, port, 0, 0))
            for family, address in addresses
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


def serving(family: int, address: str) -> socket.socket:
    try:
        return socket.create_server((address, 0), family=family, backlog=1)
    except OSError as error:
        pytest.skip(f"nothing can listen on {address}: {error.strerror}")


@pytest.mark.parametrize(
    "addresses",
    [
        [(V4, "127.0.0.2"), (V4, "127.0.0.3"), (V4, "127.0.0.1")],
        [HERE_V6, (V4, "127.0.0.2"), (V4, "127.0.0.1")],
        [(V4, "127.0.0.2"), (V4, "127.0.0.1"), HERE_V6],
        [(V4, "127.0.0.1"), (V4, "127.0.0.2"), HERE_V6],
    ],
    ids=["the last of IPv4", "IPv4 after IPv6", "IPv6 after IPv4", "IPv6 last"],
)
async def test_every_address_of_a_name_is_tried_of_both_families(monkeypatch, addresses):
    """Whichever of them answers, and whichever comes first."""
    for family, address in addresses:
        with serving(family, address) as sock:
            names(monkeypatch, *addresses)  # nobody listens on the others' ports
            url = parse_upstream(f"http://images.example:{sock.getsockname()[1]}")
            protocol = await Connector(url, 5.0, time.monotonic).open(HangsUp)
            assert protocol.made


async def test_an_address_that_does_not_answer_holds_up_the_next_for_a_quarter_second_only(monkeypatch):
    with serving(V4, "127.0.0.2") as silent:
        port = silent.getsockname()[1]
        full = [socket.socket() for _ in range(4)]
        for sock in full:  # see above
            sock.setblocking(False)
            sock.connect_ex(silent.getsockname())
        with socket.create_server(("127.0.0.1", port)):
            names(monkeypatch, (V4, "127.0.0.2"), (V4, "127.0.0.1"))
            start = time.monotonic()
            url = parse_upstream(f"http://images.example:{port}")
            assert (await Connector(url, 30.0, time.monotonic).open(HangsUp)).made
            assert 0.2 < time.monotonic() - start < 5.0
        for sock in full:
            sock.close()
