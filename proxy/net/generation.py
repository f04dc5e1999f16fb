"""What a request works with from its start to its end: a snapshot, and the pools and the breaker that belong to it.

A reload makes the next generation. What its settings did not change is carried over, so that a change of the
percentage costs no connection; what they did change is made anew, and the old one is closed as its requests end.
Neighbours: `worker` asks `Succession` for each generation, `downstream` hands the current one to each request.
"""

import math
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from proxy.core.breaker import Breaker
from proxy.core.model import Role
from proxy.net.connector import Connector
from proxy.net.memory import BodyMemory
from proxy.net.pool import Pool, PoolLimits
from proxy.net.tls import client_context
from proxy.settings.schema import Source
from proxy.settings.snapshot import Snapshot
from proxy.tasks import TaskKeeper

_MOST_AGE_S: Final = 20.0  # with the resolver's 10 s, a name that changes is followed within 30 s


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Generation:
    """One snapshot with what lives as long as its settings do. A request takes one, once."""

    snapshot: Snapshot
    legacy: Pool
    target: Pool
    breaker: Breaker

    def __repr__(self) -> str:
        return f"<Generation {self.snapshot.revision} legacy={self.legacy!r} target={self.target!r}>"

    def pool(self, role: Role) -> Pool:
        """The connections to a source."""
        return self.legacy if role is Role.LEGACY else self.target


class Succession:
    """Makes each generation from the one before it.

    `retired` are pools of earlier generations that still have connections lent. `tls_files` says for each role
    which contents the TLS files have: other contents make another pool.
    """

    __slots__ = ("_clock", "_current", "_memory", "_pools_made_of", "_tasks", "connectors", "retired")

    def __init__(self, tasks: TaskKeeper, clock: Callable[[], float], memory: BodyMemory) -> None:
        self._tasks = tasks
        self._clock = clock
        self._memory = memory
        self._current: Generation | None = None
        self._pools_made_of: dict[Role, tuple[object, ...]] = {}
        self.connectors: dict[Role, Connector] = {}
        self.retired: list[tuple[Role, Pool]] = []

    def __repr__(self) -> str:
        return f"<Succession {self._current!r} retired={self.retired!r}>"

    def succeed(self, snapshot: Snapshot, tls_files: Mapping[Role, str]) -> tuple[Generation, list[Role]]:
        """Make the next generation; the roles are those whose pools are new.

        Raises OSError, naming the key, when a TLS file can't be used: nothing has changed then.
        """
        made: dict[Role, tuple[tuple[object, ...], Connector, Pool]] = {}
        for role, source in ((Role.LEGACY, snapshot.settings.legacy), (Role.TARGET, snapshot.settings.target)):
            files = tls_files.get(role, "")
            made_of: tuple[object, ...] = (source.url, source.connect_timeout, source.tls, source.pool, files)
            if self._pools_made_of.get(role) != made_of:
                connector = _connector(source, role, self._clock)
                made[role] = made_of, connector, _pool(connector, source, self._tasks, self._clock, self._memory)
        before = self._current
        pools = {role: pool for role, (_, _, pool) in made.items()}
        for role in Role:
            if before is not None and role not in pools:
                pools[role] = before.pool(role)
        self._current = Generation(snapshot, pools[Role.LEGACY], pools[Role.TARGET], _breaker(snapshot, before))
        for role, (made_of, connector, _) in made.items():
            self._pools_made_of[role] = made_of
            self.connectors[role] = connector
            if before is not None:
                self._retire(role, before.pool(role))
        return self._current, list(made)

    def _retire(self, role: Role, pool: Pool) -> None:
        pool.close()
        self.retired = [(each, old) for each, old in (*self.retired, (role, pool)) if old.busy]

    def busy_retired(self, role: Role) -> int:
        """How many connections of earlier generations are still lent."""
        self.retired = [(each, old) for each, old in self.retired if old.busy]
        return sum(old.busy for each, old in self.retired if each is role)


def _breaker(snapshot: Snapshot, before: Generation | None) -> Breaker:
    """What is known of the target counts on while it is the same target, judged in the same way."""
    if before is not None:
        same_target = before.snapshot.settings.target.url == snapshot.settings.target.url
        if same_target and before.snapshot.breaker == snapshot.breaker:
            return before.breaker
    return Breaker(snapshot.breaker)


def _connector(source: Source, role: Role, clock: Callable[[], float]) -> Connector:
    tls: ssl.SSLContext | None = None
    if source.url.scheme == "https":
        try:
            tls = client_context(source.tls)
        except OSError as error:
            raise OSError(error.errno, f"{role}.tls: {error.strerror or error}") from error
    return Connector(source.url, source.connect_timeout, clock, tls, source.tls.server_name)


def _pool(
    connector: Connector, source: Source, tasks: TaskKeeper, clock: Callable[[], float], memory: BodyMemory
) -> Pool:
    limits = PoolLimits(
        max_connections=source.pool.max_connections,
        max_idle=source.pool.max_idle,
        idle_timeout_s=source.pool.idle_timeout,
        max_pending=source.pool.max_pending,
        most_age_s=_MOST_AGE_S if source.url.is_name else math.inf,
    )
    return Pool(connector, limits, tasks, clock, memory)
