"""The connections to one source: kept, lent, queued for, replaced.

A pool decides only who gets which connection; what travels on it is `attempt`'s and `upstream`'s business.
An attempt asks with `acquire` and either gets a connection at once or is called back. Waiting is bounded by
`max_pending` places, each for no longer than its attempt lives.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from proxy.core.model import FailureKind
from proxy.net.connector import ConnectFailed, Connector
from proxy.net.memory import BodyMemory
from proxy.net.upstream import UpstreamConnection
from proxy.tasks import TaskKeeper


class Waiter(Protocol):
    """An attempt as the pool sees it."""

    def on_connection(self, connection: UpstreamConnection) -> None:
        """Take the connection that was waited for."""

    def on_unconnected(self, kind: FailureKind) -> None:
        """Learn that there will be none; nothing was sent."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Counts of connections and waiters; times in seconds.

    An unused connection is kept for `idle_timeout_s`; one older than `most_age_s` is closed after its request, so
    that an upstream whose name leads elsewhere is followed however busy its connections are.
    """

    max_connections: int
    max_idle: int
    idle_timeout_s: float
    max_pending: int
    most_age_s: float = float("inf")


class Pool:
    """Lends upstream connections, the most recently used first, so that spare ones grow old and go."""

    __slots__ = (
        "_busy",
        "_closed",
        "_connecting",
        "_connector",
        "_idle",
        "_limits",
        "_pending",
        "_tasks",
        "memory",
        "now",
    )

    def __init__(
        self,
        connector: Connector,
        limits: PoolLimits,
        tasks: TaskKeeper,
        clock: Callable[[], float],
        memory: BodyMemory,
    ) -> None:
        self.now = clock
        self.memory = memory
        self._connector = connector
        self._limits = limits
        self._tasks = tasks
        self._idle: deque[UpstreamConnection] = deque()
        self._busy: set[UpstreamConnection] = set()
        self._connecting = 0
        self._pending: dict[Waiter, float] = {}  # and when it came, in order of arrival
        self._closed = False

    def __repr__(self) -> str:
        return (
            f"<Pool idle={len(self._idle)} busy={len(self._busy)} connecting={self._connecting}"
            f" pending={len(self._pending)}>"
        )

    @property
    def idle(self) -> int:
        """How many connections wait for use."""
        return len(self._idle)

    @property
    def busy(self) -> int:
        """How many connections are lent or being made."""
        return len(self._busy) + self._connecting

    @property
    def full(self) -> bool:
        """Whether no further connection may be opened."""
        return self.busy >= self._limits.max_connections

    def acquire(self, waiter: Waiter, now: float, idle_at_most_s: float) -> UpstreamConnection | None:
        """Lend a connection unused for at most `idle_at_most_s`, or None: then the waiter is called back.

        The call-back may come before this returns (`on_unconnected` with overload, when no place is left).
        """
        idle = self._idle
        if idle:
            connection = idle[-1]  # the youngest: if it is too old, all are
            if now - connection.idle_since <= idle_at_most_s:
                idle.pop()
                self._busy.add(connection)
                return connection
        queued = len(self._pending) - self._connecting  # the others have a connection coming
        if self.full and queued >= self._limits.max_pending:
            waiter.on_unconnected(FailureKind.OVERLOAD)
            return None
        self._pending[waiter] = now
        self._connect_if_room()
        return None

    def give_up(self, waiter: Waiter) -> None:
        """Forget a waiter that waits no longer; a connection on its way goes to the next."""
        self._pending.pop(waiter, None)

    def _connect_if_room(self) -> None:
        """Open one more connection if the waiters outnumber those being made and the limit allows."""
        if self._connecting >= len(self._pending):
            return
        if self.busy + len(self._idle) >= self._limits.max_connections:
            if not self._idle:
                return
            self._idle.popleft().close()
        self._connecting += 1
        self._tasks.spawn(self._connect())

    async def _connect(self) -> None:
        started = self.now()
        try:
            connection = await self._connector.open(lambda: UpstreamConnection(self))
        except ConnectFailed as failure:
            self._connecting -= 1
            self._fail_next(failure.kind, started)
            return
        except BaseException:
            self._connecting -= 1
            raise
        self._connecting -= 1
        if connection.closed:  # dead on arrival
            self._fail_next(FailureKind.CONNECT_ERROR, started)
        else:
            self._lend_or_keep(connection)

    def _fail_next(self, kind: FailureKind, started: float) -> None:
        """Fail the one who has waited longest, but nobody who came after this attempt to connect had begun."""
        if next(iter(self._pending.values()), math.inf) <= started:
            waiter = self._next_waiter()
            if waiter is not None:
                waiter.on_unconnected(kind)
        self._connect_if_room()

    def _lend_or_keep(self, connection: UpstreamConnection) -> None:
        waiter = self._next_waiter()
        if waiter is not None:
            self._busy.add(connection)
            waiter.on_connection(connection)
        elif not self._closed and len(self._idle) < self._limits.max_idle:
            connection.rest()
            self._idle.append(connection)
        else:
            connection.close()

    def _next_waiter(self) -> Waiter | None:
        if not self._pending:
            return None
        waiter = next(iter(self._pending))
        del self._pending[waiter]
        return waiter

    def release(self, connection: UpstreamConnection) -> None:
        """Take back a connection on which everything was in order, and lend it on."""
        self._busy.discard(connection)
        if self._closed or self.now() - connection.made_at > self._limits.most_age_s:
            connection.close()
            self._connect_if_room()
        elif self._pending:
            connection.rest()
            self._lend_or_keep(connection)
        elif len(self._idle) < self._limits.max_idle:
            connection.rest()
            self._idle.append(connection)
        else:
            connection.close()

    def discard(self, connection: UpstreamConnection) -> None:
        """Forget a connection that has closed or is not to be used again; its place is free."""
        if connection in self._busy:
            self._busy.discard(connection)
        else:
            try:
                self._idle.remove(connection)
            except ValueError:
                return  # never lent: it closed while being made
        self._connect_if_room()

    def sweep(self, now: float) -> None:
        """Close connections that were idle for too long."""
        oldest = now - self._limits.idle_timeout_s
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.popleft().close()

    def close(self) -> None:
        """Close the idle connections now and the busy ones as they come back; who asks is still served."""
        self._closed = True
        while self._idle:
            self._idle.popleft().close()
