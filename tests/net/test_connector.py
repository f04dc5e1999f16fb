"""Connecting over real sockets, and how long it may take."""

import asyncio
import socket
import time
from collections.abc import Iterator

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
