"""Accepts clients, keeps time for all connections with one coarse timer, and drains at the end.

Neighbours: `app` starts and stops it, `downstream` is made for each connection.
"""

import asyncio
import errno
import socket
from pathlib import Path
from typing import Final

from proxy.net.downstream import Downstream
from proxy.net.plane import DataPlane
from proxy.settings.addresses import ListenAddress, TcpAddress, UnixAddress

SWEEP_S: Final = 0.05  # how late a deadline may be acted on; a sweep was measured at 18 ns a connection
_DRAIN_CHECK_S: Final = 0.02
_IDLE_GRACE_S: Final = 1.0  # for clients with a kept connection to send one more request, answered with "close"


class Listener:
    """The listening socket of one process. Every call is made on the event loop."""

    __slots__ = ("_address", "_backlog", "_plane", "_server", "_sweeper")

    def __init__(self, plane: DataPlane, address: ListenAddress, backlog: int) -> None:
        self._plane = plane
        self._backlog = backlog
        self._address = address
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        state = "accepting" if self._server is not None else "closed"
        return f"<Listener {self._address} {state} connections={len(self._plane.connections)}>"

    async def start(self) -> None:
        """Listen. Raises OSError when the address can't be had (EADDRINUSE when it is taken)."""
        loop = asyncio.get_running_loop()
        sock = open_listener(self._address, self._backlog)
        if isinstance(self._address, UnixAddress):
            self._server = await loop.create_unix_server(self._accept, sock=sock, backlog=self._backlog)
        else:
            self._server = await loop.create_server(self._accept, sock=sock, backlog=self._backlog)
        self._sweeper = loop.call_later(SWEEP_S, self._sweep)

    @property
    def bound(self) -> str:
        """Where it listens, a port 0 replaced by the real one."""
        if isinstance(self._address, UnixAddress) or self._server is None:
            return str(self._address)
        host, port = self._server.sockets[0].getsockname()[:2]
        return str(TcpAddress(host, port))

    def _accept(self) -> Downstream:
        return Downstream(self._plane)

    def _sweep(self) -> None:
        plane = self._plane
        now = plane.clock()
        for connection in tuple(plane.connections):
            if connection.deadline <= now:
                connection.on_deadline(now)
            exchange = connection.exchange
            if exchange is not None:
                exchange.check_deadlines(now)
        for probe in tuple(plane.probes):
            probe.check_deadlines(now)
        for pool in plane.pools.values():
            pool.sweep(now)
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    async def drain(self, timeout_s: float) -> None:
        """Stop accepting, let requests in flight end, close idle connections last, and what is left at the timeout."""
        plane = self._plane
        plane.draining = True
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in plane.connections:
            connection.drain()
        await self._await_quiet(timeout_s)
        for connection in tuple(plane.connections):
            connection.end()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for probe in tuple(plane.probes):
            probe.cancel()
        for pool in plane.pools.values():
            pool.close()
        if isinstance(self._address, UnixAddress):
            _remove_socket(self._address.path)

    async def _await_quiet(self, timeout_s: float) -> None:
        """Wait until nothing is under way, for `timeout_s` at most.

        Clients that keep a connection get a moment to send one more request on it, which is answered with "close":
        a connection closed under a request that is on its way would be an error to its client.
        """
        plane = self._plane
        start = plane.clock()
        while plane.connections and (waited := plane.clock() - start) < timeout_s:
            if waited >= _IDLE_GRACE_S and all(connection.idle for connection in plane.connections):
                return
            await asyncio.sleep(_DRAIN_CHECK_S)


def open_listener(address: ListenAddress, backlog: int) -> socket.socket:
    """Bind and listen. Raises OSError; a Unix socket left behind by a dead process is replaced."""
    if isinstance(address, UnixAddress):
        return _open_unix(address.path, backlog)
    family, kind, proto, _, where = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(where)
        sock.listen(backlog)
        sock.setblocking(False)  # noqa: FBT003 - the socket module takes it so
    except BaseException:
        sock.close()
        raise
    return sock


def _open_unix(path: str, backlog: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if Path(path).is_socket() and not _is_answered(path):
            Path(path).unlink()
        sock.bind(path)
        sock.listen(backlog)
        sock.setblocking(False)  # noqa: FBT003 - the socket module takes it so
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_socket(path: str) -> None:
    Path(path).unlink(missing_ok=True)


def _is_answered(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError as error:
            return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
    return True
