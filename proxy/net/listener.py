"""Accepts clients, keeps time for all connections with one coarse timer, and drains at the end.

Neighbours: `worker` starts and stops it on a socket that it was given, `downstream` is made for each connection.
"""

import asyncio
import socket
from typing import Final

from proxy.net.downstream import Downstream
from proxy.net.plane import DataPlane

SWEEP_S: Final = 0.05  # how late a deadline may be acted on; a sweep was measured at 18 ns a connection
_LATE_S: Final = 0.25
_DRAIN_CHECK_S: Final = 0.02
_FAREWELL_S: Final = 0.25


class Listener:
    """The accepting end of one process. Every call is made on the event loop."""

    __slots__ = (
        "_backlog",
        "_ends_at",
        "_idle_end_at",
        "_plane",
        "_server",
        "_sock",
        "_spared",
        "_sweeper",
        "_swept_at",
    )

    def __init__(self, plane: DataPlane, sock: socket.socket, backlog: int) -> None:
        """`sock` is bound; other processes may hold and accept from it too."""
        self._plane = plane
        self._sock = sock
        self._backlog = backlog
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._swept_at = plane.clock()
        self._spared = False
        self._ends_at = self._idle_end_at = float("inf")

    def __repr__(self) -> str:
        state = "accepting" if self._server is not None else "closed"
        return f"<Listener {state} connections={len(self._plane.connections)}>"

    async def start(self) -> None:
        """Accept from here on."""
        loop = asyncio.get_running_loop()
        if self._sock.family == socket.AF_UNIX:
            self._server = await loop.create_unix_server(self._accept, sock=self._sock, backlog=self._backlog)
        else:
            self._server = await loop.create_server(self._accept, sock=self._sock, backlog=self._backlog)
        self._swept_at = self._plane.clock()
        self._sweeper = loop.call_later(SWEEP_S, self._sweep)

    def _accept(self) -> Downstream:
        return Downstream(self._plane)

    def _sweep(self) -> None:
        """Act on what is due; but when this process has just paused, let it read first what came meanwhile, once."""
        now = self._plane.clock()
        self._spared = now - self._swept_at > SWEEP_S + _LATE_S and not self._spared
        self._swept_at = now
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
        if not self._spared:
            self._act_on_deadlines(now)

    def _act_on_deadlines(self, now: float) -> None:
        plane = self._plane
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

    def hasten(self, timeout_s: float, idle_grace_s: float) -> None:
        """Let a drain, begun or about to begin, end within these times from now, if it would not do so earlier."""
        now = self._plane.clock()
        self._ends_at = min(self._ends_at, now + timeout_s)
        self._idle_end_at = min(self._idle_end_at, now + idle_grace_s)

    async def drain(self, timeout_s: float, idle_grace_s: float) -> None:
        """Stop accepting, let requests in flight end, close idle connections last, and what is left at the timeout.

        Clients that keep a connection have `idle_grace_s` to send one more request on it, which is answered with
        "close": a connection closed under a request that is on its way would be an error to its client.
        """
        plane = self._plane
        plane.draining = True
        self.hasten(timeout_s, idle_grace_s)
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in plane.connections:
            connection.drain()
        while plane.connections and plane.clock() < self._ends_at:
            if plane.clock() >= self._idle_end_at and all(connection.idle for connection in plane.connections):
                break
            await asyncio.sleep(_DRAIN_CHECK_S)
        await self._part()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for probe in tuple(plane.probes):
            probe.cancel()
        for pool in plane.pools.values():
            pool.close()

    async def _part(self) -> None:
        """Close what is left: what is under way is cut off, idle clients get a moment to see the end."""
        plane = self._plane
        for connection in tuple(plane.connections):
            connection.end()
        parted_at = plane.clock() + _FAREWELL_S
        while plane.connections and plane.clock() < parted_at:  # noqa: ASYNC110 - as in `drain`
            await asyncio.sleep(_DRAIN_CHECK_S)
        for connection in tuple(plane.connections):
            connection.end()
