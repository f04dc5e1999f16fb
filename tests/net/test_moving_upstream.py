"""An upstream whose name comes to mean another address is followed."""

import asyncio
import socket
from typing import Any

import aiohappyeyeballs
import pytest

from proxy.core.model import FailureKind
from proxy.net.connector import ConnectFailed, Connector
from proxy.net.memory import BodyMemory
from proxy.net.pool import Pool, PoolLimits
from proxy.net.upstream import UpstreamConnection
from proxy.settings.addresses import parse_upstream
from proxy.tasks import TaskKeeper


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Silent:
    """A transport that is only there."""

    def abort(self) -> None:
        pass

    def write(self, data: bytes) -> None:
        pass

    def get_extra_info(self, name: str) -> None:
        pass

    def set_write_buffer_limits(self, high: int) -> None:
        pass


class AtOnce:
    made = 0

    async def open(self, factory: Any) -> UpstreamConnection:
        self.made += 1
        connection = factory()
        connection.connection_made(Silent())
        return connection


class Waiter:
    connection: UpstreamConnection | None = None

    def on_connection(self, connection: UpstreamConnection) -> None:
        self.connection = connection

    def on_unconnected(self, kind: FailureKind) -> None:
        raise AssertionError(kind)


@pytest.mark.parametrize(("age", "made"), [(19.0, 1), (21.0, 2)])
async def test_a_connection_that_has_grown_old_is_not_kept_however_busy_it_is(age, made):
    clock, connector = Clock(), AtOnce()
    limits = PoolLimits(max_connections=4, max_idle=4, idle_timeout_s=4, max_pending=4, most_age_s=20)
    pool = Pool(connector, limits, TaskKeeper(), clock, BodyMemory(1, 1))  # type: ignore[arg-type]
    waiter = Waiter()
    assert pool.acquire(waiter, clock.now, 1e9) is None
    await asyncio.sleep(0)
    assert waiter.connection is not None
    clock.now += age
    pool.release(waiter.connection)
    if pool.acquire(Waiter(), clock.now, 1e9) is None:
        await asyncio.sleep(0)
    assert connector.made == made


async def test_after_a_failure_a_name_is_looked_up_again(monkeypatch):
    clock, asked, tried = Clock(), [], []
    addresses = iter(["192.0.2.1", "192.0.2.2", "192.0.2.3"])

    async def getaddrinfo(host: str, port: int, **_: object) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(addresses), port))]

    async def start_connection(infos: list[Any], **_: object) -> socket.socket:
        tried.append(infos[0][4][0])
        if len(tried) < 4:
            raise ConnectionRefusedError
        raise TimeoutError

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(aiohappyeyeballs, "start_connection", start_connection)
    connector = Connector(parse_upstream("http://images.example"), 1.0, clock)

    async def fails() -> FailureKind:
        with pytest.raises(ConnectFailed) as caught:
            await connector.open(asyncio.Protocol)
        return caught.value.kind

    assert await fails() is FailureKind.CONNECT_ERROR
    assert await fails() is FailureKind.CONNECT_ERROR, "a failure forgets the addresses"
    assert tried == ["192.0.2.1", "192.0.2.2"]


async def test_addresses_are_remembered_for_ten_seconds(monkeypatch):
    clock, asked = Clock(), []

    async def getaddrinfo(host: str, port: int, **_: object) -> list[Any]:
        asked.append(clock.now)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]

    async def start_connection(infos: list[Any], **_: object) -> socket.socket:
        here, there = socket.socketpair()
        there.close()
        return here

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(aiohappyeyeballs, "start_connection", start_connection)
    connector = Connector(parse_upstream("http://images.example"), 1.0, clock)
    for _ in range(12):
        made = await connector.open(asyncio.Protocol)
        assert isinstance(made, asyncio.Protocol)
        clock.now += 1.0
    await asyncio.sleep(0.01)
    assert asked == [100.0, 111.0]
